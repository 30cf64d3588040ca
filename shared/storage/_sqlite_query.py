"""From a typed query to SQL, and one page of its result.

JSON's types are not SQLite's: there `true` equals 1, every number is below every text, and a text ends at NUL. So each
comparison is made twice: on the extracted value, which an index serves, and on the JSON type or text, which is exact.
A query over a prefix of the partition key runs once per partition below it, and the sorted results are merged: each of
them comes from an index, and only as many rows are touched as the page needs.
"""

import heapq
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from shared.storage._checks import check_cursor, check_filters, filter_integer, filter_text, range_bounds, split_values
from shared.storage._items import to_json
from shared.storage._sqlite_operations import decode
from shared.storage._sqlite_schema import Table, field_value
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

type Condition = tuple[str, list[Any]]
"""SQL and its parameters, in the order of their marks."""

NOTHING: Condition = ("0", [])


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
    statement = compile_query(table, query, now=now)
    with ExitStack() as stack:
        connection.execute("BEGIN")
        stack.callback(connection.execute, "ROLLBACK")
        streams = []
        for full in _partitions_below(connection, table, partition):
            cursor = stack.enter_context(closing(connection.execute(statement.sql, (*full, *statement.parameters))))
            streams.append(cursor)
        merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_sort_key, reverse=query.descending)
        rows = list(islice(merged, query.limit + 1))
    following = None
    if len(rows) > query.limit:
        *_, value, item_id = rows[query.limit - 1]
        following = Cursor(value, item_id)
    return Page([_project(decode(row[:3]), query.fields) for row in rows[: query.limit]], following)


def _sort_key(row: tuple[Any, ...]) -> tuple[bool, Any, str]:
    """SQLite's own order: numbers, then text by code point, ties by id."""
    return isinstance(row[3], str), row[3], row[4]


def _project(item: Item, fields: Sequence[str] | None) -> Item:
    return item if fields is None else {name: item[name] for name in fields if name in item}


def _partitions_below(connection: sqlite3.Connection, table: Table, partition: Partition) -> Iterator[Partition]:
    """Every full partition that begins with `partition`, by hops through the key's index."""
    if len(partition) == len(table.keys):
        yield partition
        return
    given = table.keys[: len(partition)]
    key = table.keys[len(partition)]
    match = " AND ".join(f"{each} = ?" for each in given)
    sql = f"SELECT min({key}) FROM {table.name} WHERE {match} AND {key} > ?"  # noqa: S608 - names of ours
    part = ""
    while True:
        (part,) = connection.execute(sql, (*partition, part)).fetchone()
        if part is None:
            return
        yield from _partitions_below(connection, table, (*partition, part))


@dataclass(frozen=True, slots=True)
class Statement:
    """The SQL of one full partition; its first parameters are the partition."""

    sql: str
    parameters: list[Any]


def compile_query(table: Table, query: Query, *, now: int) -> Statement:
    """The statement of a query: position, ts, body, order value and id of each row. ValueError when malformed."""
    order = _Field.of(table, query.order_by)
    conditions: list[Condition] = [("+expires > ?", [now])]
    if order.type is not None:
        conditions.append((f"{order.value} IS NOT NULL", []))
    check_filters(query.where)
    conditions += [_condition(table, each) for each in query.where]
    if query.after is not None:
        conditions.append(_beyond(order.value, query.after, descending=query.descending))
    where, parameters = _all(conditions)
    partition = " AND ".join(f"{key} = ?" for key in table.keys)
    direction = "DESC" if query.descending else "ASC"
    by = f"id {direction}" if order.value == "id" else f"{order.value} {direction}, id {direction}"
    sql = (
        f"SELECT position, ts, body, {order.value}, id FROM {table.name} "  # noqa: S608 - checked names and paths
        f"WHERE {partition} AND {where} ORDER BY {by} LIMIT ?"
    )
    return Statement(sql, [*parameters, query.limit + 1])


def _all(conditions: Sequence[Condition], *, joint: str = " AND ") -> Condition:
    return joint.join(sql for sql, _ in conditions), [value for _, values in conditions for value in values]


def _beyond(order: str, cursor: Cursor, *, descending: bool) -> Condition:
    """Strictly after the cursor; the first comparison alone is what an index can use."""
    check_cursor(cursor)
    sign = "<" if descending else ">"
    sql = f"{order} {sign}= ? AND ({order} {sign} ? OR id {sign} ?)"
    return sql, [cursor.value, cursor.value, cursor.id]


def _condition(table: Table, each: Filter) -> Condition:
    if isinstance(each, AnyOf):
        parts = [_condition(table, inner) for inner in each.filters]
        sql, parameters = _all(parts, joint=" OR ")
        return (f"({sql})", parameters) if parts else NOTHING
    compiler = _COMPILERS.get(type(each))
    if compiler is None:
        raise ValueError("an unknown filter")
    return compiler(_Field.of(table, each.path), each)


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
    sql, parameters = _all(parts, joint=" OR ")
    return (f"({sql})", parameters) if parts else NOTHING


def _range(field: _Field, each: Range) -> Condition:
    conditions: list[Condition] = []
    for sign, bound in range_bounds(each):
        is_type = field.is_text() if isinstance(bound, str) else field.is_number()
        conditions.append((f"{field.value} {sign} ? AND {is_type}", [bound]))
    return _all(conditions)


def _prefix(field: _Field, each: Prefix) -> Condition:
    """A range of texts, from the prefix up to the first text beyond everything that begins with it."""
    low, high = filter_text(each.value), _successor(each.value)
    if high is None:
        return f"{field.value} >= ? AND {field.is_text()}", [low]
    return f"{field.value} >= ? AND {field.value} < ? AND {field.is_text()}", [low, high]


def _successor(prefix: str) -> str | None:
    """The least text above every text that begins with `prefix`, in the order of code points; None if there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)


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
