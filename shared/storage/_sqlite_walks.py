"""Along which index one partition of a table is read, so that a page is never sorted and little of it is read in vain.

A filter that an index begins with fixes the start of one walk in the wanted order, or of several: one per value of an
`In`, per text that begins with a prefix, per part of an `AnyOf`. Their rows are merged. Where several filters could
lead, each is looked at first: the one with the fewest rows ahead does, or else the one whose next thousand reach
farthest. A walk only has to cover what is wanted; every filter is checked on every row that it passes.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from shared.storage._checks import check_cursor, filter_text, range_bounds
from shared.storage._sqlite_schema import Table, field_value
from shared.storage.documents import AnyOf, Eq, Filter, Has, In, Partition, Prefix, Query, Range

type Condition = tuple[str, list[Any]]
"""SQL and its parameters, in the order of their marks."""

MAX_WALKS = 64
"""More values than that are not walked one by one."""
LOOKS = (50, 1000)
"""How many rows of each filter are looked at before one leads: the more only where all have as many as the few."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk: where from, what holds at its every step, and how it spells the ordered field and the id."""

    source: str
    where: Condition
    order: str
    item: str

    def steps(self, query: Query) -> Condition:
        """What of the walk is wanted: beyond the cursor, within the ranges of the ordered field."""
        parts = [self.where, (f"{self.order} IS NOT NULL", [])]
        for each in query.where:
            if isinstance(each, Range) and each.path == query.order_by:
                parts += [(f"{self.order} {sign} ?", [bound]) for sign, bound in range_bounds(each)]
        if query.after is not None:
            parts.append(beyond(self.order, self.item, query))
        return joined(parts)

    def ordered(self, query: Query) -> str:
        """The ORDER BY of it, which its index serves."""
        direction = "DESC" if query.descending else "ASC"
        return f"ORDER BY {self.order} {direction}, {self.item} {direction}"


@dataclass(frozen=True, slots=True)
class _Lead:
    """A filter, or several, that walks can follow: the values that each walk fixes, along one index."""

    index: tuple[str, ...]
    values: tuple[Any, ...] = ()
    prefix: str | None = None
    """Instead of values: every text that begins so."""
    array: int | None = None
    """The array index to walk, instead of `index`."""


type _Option = tuple[_Lead, ...]
"""What covers the result together."""


def joined(conditions: Sequence[Condition], *, by: str = " AND ") -> Condition:
    """Several conditions as one."""
    return by.join(sql for sql, _ in conditions), [value for _, values in conditions for value in values]


def beyond(order: str, item: str, query: Query) -> Condition:
    """Strictly after the cursor; the first comparison alone is what an index can use."""
    cursor = query.after
    if cursor is None:
        raise ValueError("a first page follows no cursor")
    check_cursor(cursor)
    sign = "<" if query.descending else ">"
    return f"{order} {sign}= ? AND ({order} {sign} ? OR {item} {sign} ?)", [cursor.value, cursor.value, cursor.id]


def successor(prefix: str) -> str | None:
    """The least text above every text that begins with `prefix`, in the order of code points; None if there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)


def walks_of(
    connection: sqlite3.Connection, table: Table, partition: Partition, query: Query
) -> tuple[Walk, ...] | None:
    """The walks that cover the result in one partition. None: no index has the order, SQLite has to see to it."""
    fixed = (*table.container.partition_key, "id")
    if query.order_by in fixed:
        return None
    options: list[tuple[Walk, ...]] = []
    for option in _options(table, query):
        walks = _expanded(connection, table, partition, option)
        if walks is not None:
            options.append(walks)
    if len(options) > 1:
        return _fewest(connection, options, query)
    if options:
        return options[0]
    whole = ordered_walk(table, partition, query)
    return None if whole is None else (whole,)


def ordered_walk(table: Table, partition: Partition, query: Query) -> Walk | None:
    """The walk along everything in a partition, where an index has the order by itself."""
    alone = (query.order_by,)
    return _walk(table, partition, _Lead(alone)) if alone in table.container.indexes else None


def _options(table: Table, query: Query) -> list[_Option]:
    """Each way to cover the result, what the container's declaration prefers first."""
    indexes = [index for index in table.container.indexes if index[-1] == query.order_by and len(index) > 1]
    equal = {each.path: (each.value,) for each in query.where if isinstance(each, Eq)}
    listed = {each.path: each.values for each in query.where if isinstance(each, In)} | equal
    served = [index for index in indexes if set(index[:-1]) <= (listed if len(index) > 2 else equal).keys()]
    found: list[_Option] = [
        tuple(_Lead(index, values) for values in dict.fromkeys(product(*(map(_value, listed[p]) for p in index[:-1]))))
        for index in served
        if not any(set(index) < set(other) for other in served)
    ]
    for each in query.where:
        if not isinstance(each, Eq | Range):
            leads = _leads(table, indexes, query.order_by, each)
            if leads is not None:
                found.append(tuple(dict.fromkeys(leads)))
    places = {index: place for place, index in enumerate(indexes)}
    return sorted(found, key=lambda option: min((places.get(lead.index, -1) for lead in option), default=-1))


def _leads(table: Table, indexes: Sequence[tuple[str, ...]], order_by: str, each: Filter) -> list[_Lead] | None:
    """What covers one filter; None where no index does."""
    if isinstance(each, AnyOf):
        parts = [_leads(table, indexes, order_by, inner) for inner in each.filters]
        return None if any(part is None for part in parts) else [lead for part in parts for lead in part or ()]
    if isinstance(each, Has):
        for number, array in enumerate(table.arrays):
            if (array.path, array.order) == (each.path, order_by) and isinstance(each.value, str):
                return [_Lead((), (filter_text(each.value),), array=number)]
        return None
    index = (each.path, order_by)
    if index not in indexes or not isinstance(each, Eq | In | Prefix):
        return None
    if isinstance(each, Prefix):
        return [_Lead(index, prefix=filter_text(each.value))]
    values = (each.value,) if isinstance(each, Eq) else each.values
    return [_Lead(index, (_value(value),)) for value in values]


def _value(value: Any) -> Any:
    """A value as SQLite's indexes hold it."""
    return filter_text(value) if isinstance(value, str) else int(value)


def _expanded(
    connection: sqlite3.Connection, table: Table, partition: Partition, option: _Option
) -> tuple[Walk, ...] | None:
    """One walk per value; None when those are too many."""
    found: dict[_Lead, None] = {}
    for lead in option:
        if lead.prefix is None:
            found[lead] = None
        else:
            for value in _texts(connection, table, partition, lead.index, lead.prefix):
                found[_Lead(lead.index, (value,))] = None
                if len(found) > MAX_WALKS:
                    return None
        if len(found) > MAX_WALKS:
            return None
    return tuple(_walk(table, partition, lead) for lead in found)


def _texts(
    connection: sqlite3.Connection, table: Table, partition: Partition, index: tuple[str, ...], prefix: str
) -> list[str]:
    """The texts that begin with `prefix`, by hops through an index: at most one more than can be walked."""
    field, high = field_value(index[0]), successor(prefix)
    matched, values = joined([(f"{key} = ?", [part]) for key, part in zip(table.keys, partition, strict=True)])
    below = f" AND {field} < ?" if high is not None else ""
    found: list[str] = []
    while len(found) <= MAX_WALKS:
        sign, low = (">", found[-1]) if found else (">=", prefix)
        sql = (
            f'SELECT min({field}) FROM {table.name} INDEXED BY "{table.index_name(index)}" '  # noqa: S608 - names of ours
            f"WHERE {matched} AND {field} {sign} ?{below}"
        )
        (value,) = connection.execute(sql, [*values, low, *([] if high is None else [high])]).fetchone()
        if not isinstance(value, str):
            break
        found.append(value)
    return found


def _walk(table: Table, partition: Partition, lead: _Lead) -> Walk:
    if lead.array is not None:
        return _array_walk(table, partition, lead, lead.array)
    order, leading = field_value(lead.index[-1]), lead.index[:-1]
    equal = [(f"{key} = ?", [part]) for key, part in zip(table.keys, partition, strict=True)]
    equal += [(f"{field_value(path)} = ?", [value]) for path, value in zip(leading, lead.values, strict=True)]
    return Walk(f'{table.name} INDEXED BY "{table.index_name(lead.index)}"', joined(equal), order, "id")


def _array_walk(table: Table, partition: Partition, lead: _Lead, number: int) -> Walk:
    array = table.arrays[number]
    same = " AND ".join(f"{own} = {other}" for own, other in zip(table.keys, array.keys, strict=True))
    source = f'"{array.name}" CROSS JOIN {table.name} INDEXED BY {table.name}_key ON {same} AND id = item'
    equal = [(f"{key} = ?", [part]) for key, part in zip(array.keys, partition, strict=True)]
    return Walk(source, joined([*equal, ("value = ?", list(lead.values))]), "sort", "item")


def _fewest(connection: sqlite3.Connection, options: Sequence[tuple[Walk, ...]], query: Query) -> tuple[Walk, ...]:
    """The option with the fewest rows ahead; where all have many, the one whose rows lie farthest apart."""
    best = options[0]
    for look in LOOKS:
        best, best_weight = options[0], _weight(connection, options[0], query, look)
        for option in options[1:]:
            weight = _weight(connection, option, query, look)
            if _lighter(weight, best_weight, query):
                best, best_weight = option, weight
        if best_weight[1] is None:
            break
    return best


type _Weight = tuple[int, Any]
"""Rows ahead, and where the nearest walk had to stop counting (None: none had to)."""


def _weight(connection: sqlite3.Connection, walks: Sequence[Walk], query: Query, look: int) -> _Weight:
    rows, reach = 0, None
    limit = max(look // max(len(walks), 1), 20)
    for walk in walks:
        end = step(connection, walk, query, limit - 1)
        rows += limit if end is not None else length(connection, walk, query, limit)
        if end is not None and (reach is None or _nearer(end[0], reach, query)):
            reach = end[0]
    return rows, reach


def step(connection: sqlite3.Connection, walk: Walk, query: Query, number: int) -> tuple[Any, ...] | None:
    """Order value and id of a step of a walk, counted from 0, from the index alone; None where it ended before."""
    where, values = walk.steps(query)
    found: tuple[Any, ...] | None = connection.execute(
        f"SELECT {walk.order}, {walk.item} FROM {walk.source} "  # noqa: S608 - checked names
        f"WHERE {where} {walk.ordered(query)} LIMIT 1 OFFSET ?",
        [*values, number],
    ).fetchone()
    return found


def length(connection: sqlite3.Connection, walk: Walk, query: Query, most: int) -> int:
    """How many steps a walk has, from the index alone, counted up to `most`."""
    where, values = walk.steps(query)
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {walk.source} WHERE {where} LIMIT ?)"  # noqa: S608 - checked names
    count: int = connection.execute(sql, [*values, most]).fetchone()[0]
    return count


def _lighter(one: _Weight, other: _Weight, query: Query) -> bool:
    if one[1] is None or other[1] is None:
        return one[0] < other[0] if one[1] is other[1] else one[1] is None
    return _nearer(other[1], one[1], query)


def _nearer(one: Any, other: Any, query: Query) -> bool:
    """Whether `one` comes before `other` in the order of the query. Numbers come before text."""
    first, second = (isinstance(one, str), one), (isinstance(other, str), other)
    return first > second if query.descending else first < second
