"""The entry of an event: the bytes that its leaf in the tree hashes.

RFC 8785 canonical JSON of the fields below and no others: personal data, keyed hashes of the blind index, expiry and
marks of erasure stay outside, so that they can change or go while every proof holds. `commitments` stand for what was
personal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.core.canonical import canonical

ENTRY_FIELDS = (
    "schema",
    "id",
    "tenant_id",
    "period",
    "type",
    "outcome",
    "reason",
    "severity",
    "recorded_at",
    "occurred_at",
    "actor",
    "target",
    "subjects",
    "source",
    "context",
    "data_class",
    "record_count",
    "attributes",
    "commitments",
)
MAX_ENTRY_BYTES = 65_535
"""What the length of an entry in a bundle of tlog-tiles (uint16) can say."""


class EntryError(ValueError):
    """An event that cannot become an entry. `field` names what is wrong, `code` how: missing, not_canonical, too_large.

    The message holds no value of the event.
    """

    def __init__(self, field: str, code: str) -> None:
        super().__init__(f"{field}: {code}")
        self.field = field
        self.code = code


def entry_of(event: Mapping[str, Any]) -> bytes:
    """The entry of a stored event. EntryError when a field is missing, has no canonical form, or all is too large."""
    for name in ENTRY_FIELDS:
        if name not in event:
            raise EntryError(name, "missing")
    chosen = {name: event[name] for name in ENTRY_FIELDS}
    try:
        entry = canonical(chosen)
    except (ValueError, RecursionError):
        raise EntryError(_culprit(chosen), "not_canonical") from None
    if len(entry) > MAX_ENTRY_BYTES:
        raise EntryError(max(ENTRY_FIELDS, key=lambda name: len(canonical(chosen[name]))), "too_large")
    return entry


def _culprit(chosen: Mapping[str, Any]) -> str:
    """The field that has no canonical form: NaN, an integer beyond 2^53 - 1, a lone surrogate, endless nesting."""
    for name, value in chosen.items():
        try:
            canonical(value)
        except (ValueError, RecursionError):
            return name
    return "event"
