"""What every adapter refuses, in the same words, before it does anything: keys, batches, filters, cursors."""

from collections.abc import Sequence
from typing import Any

from shared.storage._items import MAX_SAFE_INTEGER
from shared.storage.containers import Container
from shared.storage.documents import (
    MAX_BATCH_OPERATIONS,
    AnyOf,
    BatchOperation,
    Cursor,
    Filter,
    In,
    Partition,
    Range,
    check_partition,
)
from shared.storage.errors import TooLarge

MAX_FILTERS = 200
MAX_ORDER_NUMBER = 2**63 - 1


def check_text(*texts: str) -> None:
    """ValueError for text that is not well-formed (a lone surrogate)."""
    for text in texts:
        if not text.isascii():
            text.encode()


def check_key(container: Container, partition: Partition, item_id: str) -> None:
    """ValueError unless both could name an item of the container."""
    check_partition(container, partition)
    if not isinstance(item_id, str):
        raise ValueError("an id is text")  # noqa: TRY004 - the port's misuses are ValueErrors
    check_text(*partition, item_id)


def check_batch(container: Container, partition: Partition, operations: Sequence[BatchOperation]) -> None:
    """ValueError for a batch that is empty or whose steps are malformed; TooLarge for one of too many."""
    check_partition(container, partition)
    if not operations:
        raise ValueError("an empty batch")
    if len(operations) > MAX_BATCH_OPERATIONS:
        raise TooLarge(f"a batch of {len(operations)} operations, {MAX_BATCH_OPERATIONS} are allowed")
    for operation in operations:
        _check_step(operation)


def _check_step(operation: BatchOperation) -> None:
    kind, item, item_id = operation.kind, operation.item, operation.id
    if kind in ("create", "replace", "upsert"):
        if item is None or item_id is not None or operation.patches:
            raise ValueError(f"a {kind} step carries an item and nothing else")
    elif kind not in ("delete", "read", "patch"):
        raise ValueError("an unknown kind of step")
    elif item is not None or item_id is None or (kind == "patch") != bool(operation.patches):
        raise ValueError(f"a {kind} step carries an id{' and patches' if kind == 'patch' else ''} and no item")
    if operation.if_match is not None and kind in ("create", "upsert", "read"):
        raise ValueError(f"a {kind} step has no if_match")


def check_filters(filters: Sequence[Filter]) -> None:
    """ValueError for too many filters."""
    if _count(filters) > MAX_FILTERS:
        raise ValueError(f"a query has at most {MAX_FILTERS} filters")


def _count(filters: Sequence[Filter]) -> int:
    return sum(1 + (_count(each.filters) if isinstance(each, AnyOf) else 0) for each in filters)


def check_cursor(cursor: Cursor) -> None:
    """ValueError for a cursor that no page gave."""
    value: Any = cursor.value
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_ORDER_NUMBER:
        raise ValueError("a cursor holds what a page gave")
    check_text(cursor.id)


def filter_text(value: str) -> str:
    """A text that compares the same everywhere. ValueError otherwise."""
    if "\0" in value:
        raise ValueError("a filter's text has no NUL")
    check_text(value)
    return value


def filter_integer(value: Any) -> int:
    """An integer that compares the same everywhere. ValueError otherwise."""
    if type(value) is not int or abs(value) > MAX_SAFE_INTEGER:
        raise ValueError("a filter compares with text or with integers up to 2^53 - 1")
    return value


def split_values(each: In) -> tuple[list[str], list[Any]]:
    """The texts and the other values of an `In`. ValueError for too many of the latter."""
    texts = [filter_text(value) for value in each.values if isinstance(value, str)]
    others = [
        value if isinstance(value, bool) else filter_integer(value)
        for value in each.values
        if not isinstance(value, str)
    ]
    if len(others) > MAX_FILTERS:
        raise ValueError(f"at most {MAX_FILTERS} values that are not text")
    return texts, others


def range_bounds(each: Range) -> list[tuple[str, str | int]]:
    """The comparison sign and the value of each bound. ValueError for none, or one that stores compare differently."""
    bounds = [(">=", each.ge), (">", each.gt), ("<", each.lt), ("<=", each.le)]
    given = [
        (sign, filter_text(bound) if isinstance(bound, str) else filter_integer(bound))
        for sign, bound in bounds
        if bound is not None
    ]
    if not given:
        raise ValueError("a range has at least one bound")
    return given
