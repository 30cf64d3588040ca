"""Delivered events on their way into the ledger: whether they are formed as events are, and stored when they say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from shared.audit.entries import entry_of
from shared.core.clock import parse_rfc3339, period_end, rfc3339
from shared.core.ids import time_of
from shared.storage.documents import Item

OWN_LAG = timedelta(hours=24)
"""What the app records of itself is stored within this time: the request does it, else a sweep every five minutes."""
PRODUCER_LAG = timedelta(days=8)
"""A producer's retry may finish, up to seven days later, what a crash left of its first attempt."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""The clock that an event was recorded by may be ahead of the store's."""
INSERTED_BEHIND: Final = "inserted_behind"
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_PRODUCED = ("data.", "consent.", "custom.")


@dataclass(frozen=True, slots=True)
class Pending:
    """A delivered event, and the entry that it has to have."""

    event: Item
    text: bytes

    @property
    def id(self) -> str:
        """The event's id."""
        return str(self.event["id"])

    @classmethod
    def of(cls, event: Item) -> Pending:
        """ValueError unless it is formed as every recorded event is, and its id, period and time agree."""
        _check(event)
        return cls(event, entry_of(event))

    def is_behind(self, covered: int) -> bool:
        """Whether the event cannot have been stored when it claims to have been recorded.

        It came so long after that no crash explains it; or before, by more than clocks differ; or its time of storage
        is one before which all that was there was sealed (`covered`, Unix time), and it was not; or its tenant was not
        there yet, as the tenant's id tells.

        What says so of another event is not asked: under a clock that is wrong each such event would bring about the
        next, without end. Nothing hides behind that, for it is itself an event that raises an alert.
        """
        if _says_so(self.event):
            return False
        lag = PRODUCER_LAG if self.event["type"].startswith(_PRODUCED) else OWN_LAG
        stored_at = self.event["_ts"]
        recorded_at = parse_rfc3339(self.event["recorded_at"])
        after = datetime.fromtimestamp(stored_at, UTC) - recorded_at
        is_older = recorded_at + CLOCKS_DIFFER < _begun(self.event["tenant_id"])
        return not -CLOCKS_DIFFER <= after <= lag or stored_at < covered or is_older


def _says_so(event: Item) -> bool:
    """Whether an event is what the sealer says of one that was inserted behind."""
    return bool(event["type"] == "ledger.verify_failed" and event.get("reason") == INSERTED_BEHIND)


@lru_cache(maxsize=512)
def _begun(tenant_id: str) -> datetime:
    """When a tenant registered; of one whose id does not tell (`platform`), the beginning of time."""
    try:
        return time_of(tenant_id)
    except ValueError:
        return _EPOCH


def _check(event: Item) -> None:
    texts = ("id", "tenant_id", "period", "type", "outcome", "data_class", "recorded_at")
    wrong = [name for name in texts if not isinstance(event.get(name), str)]
    actor = event.get("actor")
    if not isinstance(actor, dict) or not isinstance(actor.get("kind"), str) or not _is_text_or_null(actor.get("id")):
        wrong.append("actor")
    if not _is_text_or_null(event.get("reason")):
        wrong.append("reason")
    if wrong:
        raise ValueError(f"{wrong[0]}: is not of its type")
    moment, event_id = parse_rfc3339(event["recorded_at"]), event["id"]
    made_at = f"{(moment - _EPOCH) // _MILLISECOND:012x}"
    if not _UUID7.fullmatch(event_id) or event_id[:8] + event_id[9:13] != made_at:
        raise ValueError("id: was not made at recorded_at")
    recorded_at = rfc3339(moment)
    period = recorded_at[: len("YYYY-MM")]
    if event["recorded_at"] != recorded_at or event["period"] != period:
        raise ValueError("period: is not that of recorded_at")
    period_end(period)  # ValueError: a month that nothing can be kept for


def _is_text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)
