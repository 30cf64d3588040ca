"""From a typed query to parameterised Cosmos DB SQL.

Cosmos compares without converting: values of different types are neither equal nor ordered, and a comparison with an
absent field is undefined, which no WHERE lets through. So a typed comparison needs no test of the type. Names of fields
are written `c["name"]` (some of ours are keywords), values are always parameters. The paths of the partition key stand
in every WHERE: what scopes a query is not left to a header alone.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.storage._checks import (
    check_cursor,
    check_filters,
    filter_integer,
    filter_text,
    range_bounds,
    split_values,
)
from shared.storage._items import path_parts
from shared.storage.containers import Container
from shared.storage.documents import (
    AnyOf,
    Cursor,
    Defined,
    Eq,
    Filter,
    Has,
    In,
    Item,
    Partition,
    Prefix,
    Query,
    Range,
)

NOTHING = "false"
MAX_LISTED = 64  # longer lists travel as one array parameter

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True)
class Statement:
    """The text of a query and its parameters, as azure-cosmos takes them."""

    sql: str = ""
    parameters: list[dict[str, Any]] = field(default_factory=list)

    def add(self, value: Any) -> str:
        """The name of a new parameter."""
        name = f"@p{len(self.parameters)}"
        self.parameters.append({"name": name, "value": value})
        return name


def compile_query(container: Container, partition: Partition, query: Query) -> Statement:
    """The statement of a query below a partition or a prefix of one. ValueError when it is malformed."""
    check_filters(query.where)
    statement = Statement()
    keys = zip(container.partition_key, partition, strict=False)
    conditions = [f"{expression(path)} = {statement.add(value)}" for path, value in keys]
    if query.order_by not in ("id", *container.partition_key):
        ordered = expression(query.order_by)
        conditions.append(f"IS_DEFINED({ordered}) AND NOT IS_NULL({ordered})")
    conditions += [_condition(statement, each) for each in query.where]
    if query.after is not None:
        conditions.append(_beyond(statement, query.order_by, query.after, descending=query.descending))
    direction = "DESC" if query.descending else "ASC"
    order = ", ".join(f"{expression(path)} {direction}" for path in order_paths(container, query))
    where = " AND ".join(f"({each})" for each in conditions)
    statement.sql = f"SELECT {_selected(query)} FROM c WHERE {where} ORDER BY {order}"  # noqa: S608 - checked names
    return statement


def order_paths(container: Container, query: Query) -> tuple[str, ...]:
    """What the SQL orders by: the fields that a composite index of the container fixes by equality, then the order."""
    if query.order_by == "id":
        return ("id",)
    equal = {each.path for each in query.where if isinstance(each, Eq)}
    leading = [index[:-1] for index in container.indexes if index[-1] == query.order_by and set(index[:-1]) <= equal]
    return (*max(leading, key=len, default=()), query.order_by, "id")


def composite_indexes(container: Container) -> list[list[dict[str, str]]]:
    """The composite indexes that `order_paths` relies on, as an indexing policy spells them."""
    wanted = dict.fromkeys(
        paths for index in container.indexes for paths in ((*index, "id"), (index[-1], "id")) if index[-1] != "id"
    )
    return [[{"path": "/" + path.replace(".", "/"), "order": "ascending"} for path in paths] for paths in wanted]


def expression(path: str) -> str:
    """The SQL of a field. ValueError for anything but a dotted path of plain names."""
    return "c" + "".join(f'["{name}"]' for name in path_parts(path))


def value_at(item: Item, path: str) -> Any:
    """The value at a path that is there."""
    value: Any = item
    for name in path_parts(path):
        value = value[name]
    return value


def _selected(query: Query) -> str:
    """The fields that the page shows, and those that its cursor is made of."""
    if query.fields is None or not all(_NAME.fullmatch(name) for name in query.fields):
        return "*"
    names = dict.fromkeys((*query.fields, "id", path_parts(query.order_by)[0]))
    return ", ".join(f'c["{name}"]' for name in names)


def _beyond(statement: Statement, order_by: str, cursor: Cursor, *, descending: bool) -> str:
    """Strictly after the cursor. Every number comes before every text."""
    check_cursor(cursor)
    sign = "<" if descending else ">"
    ordered, item_id = expression(order_by), expression("id")
    value, last = statement.add(cursor.value), statement.add(cursor.id)
    beyond = f"{ordered} {sign}= {value} AND ({ordered} {sign} {value} OR {item_id} {sign} {last})"
    if isinstance(cursor.value, str):
        return f"({beyond}) OR IS_NUMBER({ordered})" if descending else beyond
    return beyond if descending else f"({beyond}) OR IS_STRING({ordered})"


def _condition(statement: Statement, each: Filter) -> str:
    if isinstance(each, AnyOf):
        return " OR ".join(f"({_condition(statement, inner)})" for inner in each.filters) or NOTHING
    compiler = _COMPILERS.get(type(each))
    if compiler is None:
        raise ValueError("an unknown filter")
    return compiler(statement, expression(each.path), each)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return filter_text(value)
    return value if isinstance(value, bool) else filter_integer(value)


def _eq(statement: Statement, field_: str, each: Eq) -> str:
    return f"{field_} = {statement.add(_scalar(each.value))}"


def _in(statement: Statement, field_: str, each: In) -> str:
    texts, others = split_values(each)
    values: Sequence[Any] = [*texts, *others]
    if not values:
        return NOTHING
    if len(values) > MAX_LISTED:
        return f"ARRAY_CONTAINS({statement.add(values)}, {field_})"
    return f"{field_} IN ({', '.join(statement.add(value) for value in values)})"


def _range(statement: Statement, field_: str, each: Range) -> str:
    return " AND ".join(f"{field_} {sign} {statement.add(bound)}" for sign, bound in range_bounds(each))


def _prefix(statement: Statement, field_: str, each: Prefix) -> str:
    return f"STARTSWITH({field_}, {statement.add(filter_text(each.value))})"


def _defined(_: Statement, field_: str, each: Defined) -> str:
    return f"IS_DEFINED({field_})" if each.present else f"NOT IS_DEFINED({field_})"


def _has(statement: Statement, field_: str, each: Has) -> str:
    return f"ARRAY_CONTAINS({field_}, {statement.add(_scalar(each.value))})"


_COMPILERS: dict[type, Callable[[Statement, str, Any], str]] = {
    Eq: _eq,
    In: _in,
    Range: _range,
    Prefix: _prefix,
    Defined: _defined,
    Has: _has,
}
