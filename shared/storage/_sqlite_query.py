"""From a typed query to SQL, and one page of its result.

JSON's types are not SQLite's: there `true` equals 1, every number is below every text, and a text ends at NUL. So each
comparison is made twice: on the extracted value, which an index serves, and on the JSON type or text, which is exact.
A query over a prefix of the partition key runs once per partition below it, and the sorted results are merged: each of
them comes from an index (`_sqlite_walks.py` says which), and only as many rows are touched as the page needs.
"""

import heapq
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

from shared.storage._checks import check_filters, filter_integer, filter_text, range_bounds, split_values
from shared.storage._items import to_json
from shared.storage._sqlite_operations import decode
from shared.storage._sqlite_schema import Table, field_value
from shared.storage._sqlite_walks import (
    Condition,
    Walk,
    beyond,
    joined,
    length,
    ordered_walk,
    step,
    successor,
    walks_of,
)
from shared.storage.documents import (
    AnyOf,
    Cursor,
    Defined,
    Eq,
    Filter,
    Has,
    In,
    Item,
    Page,
    Partition,
    Prefix,
    Query,
    Range,
)

type Row = tuple[Any, ...]
"""Position, ts, body, order value and id."""

NOTHING: Condition = ("0", [])
AHEAD, GAVE_UP = "ahead", "gave up"
"""In place of a row's position: where a walk begins, and where it had looked at as much as it may."""
LEAST_EXAMINED = 100


@dataclass(frozen=True, slots=True)
class _Field:
    """How SQL sees a field: its scalar, its exact JSON text and its JSON type (None: a column, always text)."""

    value: str
    json: str | None
    type: str | None

    @classmethod
    def of(cls, table: Table, path: str) -> "_Field":
        keys = table.container.partition_key
        if path == "id":
            return cls("id", None, None)
        if path in keys:
            return cls(table.keys[keys.index(path)], None, None)
        return cls(field_value(path), f"(body -> '$.{path}')", f"json_type(body, '$.{path}')")

    def is_text(self) -> str:
        return "1" if self.type is None else f"{self.type} = 'text'"

    def is_number(self) -> str:
        return "0" if self.type is None else f"{self.type} IN ('integer', 'real')"


def page(connection: sqlite3.Connection, table: Table, partition: Partition, query: Query, *, now: int) -> Page:
    """One page, all of it from one snapshot. ValueError for a malformed query."""
    check_filters(query.where)
    budget = None if query.examine is None else _Budget(query.examine)
    with ExitStack() as stack:
        connection.execute("BEGIN")
        stack.callback(connection.execute, "ROLLBACK")
        streams = [
            stack.enter_context(closing(_partition_rows(connection, table, full, query, now, budget)))
            for full in _partitions_below(connection, table, partition, query)
        ]
        return _page(_merged(streams, query), query)


def _merged(streams: Sequence[Generator[Row]], query: Query) -> Iterable[Row]:
    if len(streams) == 1:
        return streams[0]
    return heapq.merge(*streams, key=_sort_key, reverse=query.descending)


def _partition_rows(
    connection: sqlite3.Connection,
    table: Table,
    partition: Partition,
    query: Query,
    now: int,
    budget: "_Budget | None",
) -> Generator[Row]:
    """The rows of one partition. Where an index tells its first place, nothing more is done before its turn."""
    whole = ordered_walk(table, partition, query)
    if whole is not None:
        first = step(connection, whole, query, 0)
        if first is None:
            return
        yield (AHEAD, 0, "", *first)
    walks = walks_of(connection, table, partition, query)
    if walks is None:
        yield from _unled_rows(connection, table, partition, query, now)
        return
    with ExitStack() as stack:
        led = [_Led(connection, table, query, each, now, len(walks), budget).rows() for each in walks]
        yield from _merged([stack.enter_context(closing(each)) for each in led], query)


def _page(rows: Iterable[Row], query: Query) -> Page:
    """The first rows as a page. What two walks pass comes twice in a row; where one gave up the page ends."""
    taken: list[Row] = []
    following = None
    for row in rows:
        position, _, _, value, item_id = row
        if position == AHEAD or (taken and taken[-1][3:] == (value, item_id) and position != GAVE_UP):
            continue
        if position == GAVE_UP:
            following = Cursor(value, item_id)
            break
        if len(taken) == query.limit:
            following = Cursor(*taken[-1][3:])
            break
        taken.append(row)
    return Page([_project(decode(row[:3]), query.fields) for row in taken], following)


def _unled_rows(
    connection: sqlite3.Connection, table: Table, partition: Partition, query: Query, now: int
) -> Generator[Row]:
    statement = compile_query(table, query, now=now)
    with closing(connection.execute(statement.sql, [*partition, *statement.parameters])) as cursor:
        yield from cursor


@dataclass(slots=True)
class _Budget:
    """How many items the walks of a page may still look at."""

    left: int


@dataclass(frozen=True, slots=True)
class _Led:
    """One walk at work. `walks`: how many there are in its partition, which share what is left of the budget."""

    connection: sqlite3.Connection
    table: Table
    query: Query
    walk: Walk
    now: int
    walks: int
    budget: _Budget | None

    def rows(self) -> Generator[Row]:
        """Where the walk begins (`AHEAD`), so that it is not begun before its turn; its rows; where it `GAVE_UP`."""
        first = step(self.connection, self.walk, self.query, 0)
        if first is None:
            return
        yield (AHEAD, 0, "", *first)
        examine = None if self.budget is None else max(self.budget.left // self.walks, LEAST_EXAMINED)
        statement = compile_query(self.table, self.query, now=self.now, walk=self.walk, examine=examine)
        with closing(self.connection.execute(statement.sql, statement.parameters)) as cursor:
            yield from cursor
        if self.budget is not None and examine is not None:
            end = step(self.connection, self.walk, self.query, examine - 1)
            if end is not None:
                yield (GAVE_UP, 0, "", *end)
            self.budget.left -= length(self.connection, self.walk, self.query, examine)


def _sort_key(row: tuple[Any, ...]) -> tuple[bool, Any, str]:
    """SQLite's own order: numbers, then text by code point, ties by id."""
    return isinstance(row[3], str), row[3], row[4]


def _project(item: Item, fields: Sequence[str] | None) -> Item:
    return item if fields is None else {name: item[name] for name in fields if name in item}


def _partitions_below(
    connection: sqlite3.Connection, table: Table, partition: Partition, query: Query
) -> Iterator[Partition]:
    """Every full partition that begins with `partition` and that the query's ranges do not rule out, by hops through
    the key's index."""
    if len(partition) == len(table.keys):
        yield partition
        return
    match = " AND ".join(f"{each} = ?" for each in table.keys[: len(partition)])
    key = table.keys[len(partition)]
    (sign, part), upper = _span(query, table.container.partition_key[len(partition)])
    below = "" if upper is None else f" AND {key} {upper[0]} ?"
    ends = [] if upper is None else [upper[1]]
    while True:
        sql = f"SELECT min({key}) FROM {table.name} WHERE {match} AND {key} {sign} ?{below}"  # noqa: S608 - ours
        (part,) = connection.execute(sql, (*partition, part, *ends)).fetchone()
        if part is None:
            return
        yield from _partitions_below(connection, table, (*partition, part), query)
        sign = ">"


def _span(query: Query, path: str) -> tuple[tuple[str, str], tuple[str, str] | None]:
    """The narrowest bounds that the query's ranges set a field, each with its sign: an index takes one at each end."""
    lowest, highest = ("", ">"), None
    for each in query.where:
        if isinstance(each, Range) and each.path == path:
            for sign, bound in range_bounds(each):
                if isinstance(bound, str):
                    if sign in (">", ">="):
                        lowest = max(lowest, (bound, sign), key=lambda found: (found[0], found[1] == ">"))
                    elif highest is None or (bound, sign == "<=") < (highest[0], highest[1] == "<="):
                        highest = (bound, sign)
    return (lowest[1], lowest[0]), None if highest is None else (highest[1], highest[0])


@dataclass(frozen=True, slots=True)
class Statement:
    """The SQL of one full partition. Without a walk its first parameters are the partition."""

    sql: str
    parameters: list[Any]


def compile_query(
    table: Table, query: Query, *, now: int, walk: Walk | None = None, examine: int | None = None
) -> Statement:
    """The statement of a query: position, ts, body, order value and id of each row. ValueError when malformed."""
    check_filters(query.where)
    filters = joined([("+expires > ?", [now]), *(_condition(table, each) for each in query.where)])
    if walk is None:
        return _unled(table, query, filters)
    steps, ordered = walk.steps(query), walk.ordered(query)
    if examine is None:
        where, parameters = joined([steps, filters])
        sql = (
            f"SELECT position, ts, body, {walk.order}, {walk.item} FROM {walk.source} "  # noqa: S608 - checked
            f"WHERE {where} {ordered} LIMIT ?"
        )
        return Statement(sql, [*parameters, query.limit + 1])
    inner = ", ".join(("position", "ts", "body", "expires", *table.keys, "id", f"{walk.order} AS ordered"))
    sql = (
        f"SELECT position, ts, body, ordered, id FROM (SELECT {inner} FROM {walk.source} "  # noqa: S608 - checked
        f"WHERE {steps[0]} {ordered} LIMIT ?) WHERE {filters[0]} LIMIT ?"
    )
    return Statement(sql, [*steps[1], examine, *filters[1], query.limit + 1])


def _unled(table: Table, query: Query, filters: Condition) -> Statement:
    """The statement where SQLite is to find the way: by the key's own order, or where it has to sort."""
    order = _Field.of(table, query.order_by)
    conditions = [filters]
    if order.type is not None:
        conditions.append((f"{order.value} IS NOT NULL", []))
    if query.after is not None:
        conditions.append(beyond(order.value, "id", query))
    where, parameters = joined(conditions)
    partition = " AND ".join(f"{key} = ?" for key in table.keys)
    direction = "DESC" if query.descending else "ASC"
    by = f"id {direction}" if order.value == "id" else f"{order.value} {direction}, id {direction}"
    sql = (
        f"SELECT position, ts, body, {order.value}, id FROM {table.name} "  # noqa: S608 - checked names and paths
        f"WHERE {partition} AND {where} ORDER BY {by} LIMIT ?"
    )
    return Statement(sql, [*parameters, query.limit + 1])


def _condition(table: Table, each: Filter) -> Condition:
    if isinstance(each, AnyOf):
        parts = [_condition(table, inner) for inner in each.filters]
        sql, parameters = joined(parts, by=" OR ")
        return (f"({sql})", parameters) if parts else NOTHING
    compiler = _COMPILERS.get(type(each))
    if compiler is None:
        raise ValueError("an unknown filter")
    field = _Field.of(table, each.path)
    if each.path in table.container.partition_key:
        # The partition is fixed beside it. A plus keeps SQLite from entering an index by the filter instead.
        field = replace(field, value=f"+{field.value}")
    return compiler(field, each)


def _eq(field: _Field, each: Eq) -> Condition:
    return _equals(field, each.value)


def _equals(field: _Field, value: Any) -> Condition:
    if isinstance(value, str):
        text = filter_text(value)
        if field.json is None:
            return f"{field.value} = ?", [text]
        return f"({field.value} = ? AND {field.json} = ?)", [text, to_json(text)[0]]
    if isinstance(value, bool):
        word = "true" if value else "false"
        return NOTHING if field.json is None else (f"({field.value} = {int(value)} AND {field.json} = '{word}')", [])
    return f"({field.value} = ? AND {field.is_number()})", [filter_integer(value)]


def _in(field: _Field, each: In) -> Condition:
    """Texts travel as one JSON array each (so that their number has no limit), other values one by one."""
    texts, others = split_values(each)
    parts = [_equals(field, value) for value in others]
    if len(texts) == 1:
        parts.append(_equals(field, texts[0]))
    elif texts:
        among = "IN (SELECT value FROM json_each(?))"
        values = [to_json(texts)[0]]
        if field.json is None:
            parts.append((f"{field.value} {among}", values))
        else:
            exact = to_json([to_json(text)[0] for text in texts])[0]
            parts.append((f"({field.value} {among} AND {field.json} {among})", [*values, exact]))
    sql, parameters = joined(parts, by=" OR ")
    return (f"({sql})", parameters) if parts else NOTHING


def _range(field: _Field, each: Range) -> Condition:
    conditions: list[Condition] = []
    for sign, bound in range_bounds(each):
        is_type = field.is_text() if isinstance(bound, str) else field.is_number()
        conditions.append((f"{field.value} {sign} ? AND {is_type}", [bound]))
    return joined(conditions)


def _prefix(field: _Field, each: Prefix) -> Condition:
    """A range of texts, from the prefix up to the first text beyond everything that begins with it."""
    low, high = filter_text(each.value), successor(each.value)
    if high is None:
        return f"{field.value} >= ? AND {field.is_text()}", [low]
    return f"{field.value} >= ? AND {field.value} < ? AND {field.is_text()}", [low, high]


def _defined(field: _Field, each: Defined) -> Condition:
    if field.type is None:
        return ("1", []) if each.present else NOTHING
    return f"{field.type} IS {'NOT ' if each.present else ''}NULL", []


def _has(field: _Field, each: Has) -> Condition:
    if field.type is None:
        return NOTHING
    path = field.type.removeprefix("json_type")
    parameters: list[Any] = []
    if isinstance(each.value, str):
        match, parameters = "e.value = ? AND (body -> e.fullkey) = ?", [filter_text(each.value), to_json(each.value)[0]]
    elif isinstance(each.value, bool):
        match = f"e.type = '{'true' if each.value else 'false'}'"
    else:
        match, parameters = "e.value = ? AND e.type IN ('integer', 'real')", [filter_integer(each.value)]
    sql = f"({field.type} = 'array' AND EXISTS (SELECT 1 FROM json_each{path} AS e WHERE {match}))"  # noqa: S608
    return sql, parameters


_COMPILERS: dict[type, Callable[[_Field, Any], Condition]] = {
    Eq: _eq,
    In: _in,
    Range: _range,
    Prefix: _prefix,
    Defined: _defined,
    Has: _has,
}
