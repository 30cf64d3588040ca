"""Daily rollups: what was sealed of one day of a tenant, counted. Whoever holds the entries can count again.

A day is a UTC day of `recorded_at`. Counted are events by type, outcome, data class and reason together (all `custom.*`
types as one), events by type and UTC hour, distinct actors, and the first and last index in the shard. The order in
which entries are added does not matter.

Distinct actors are exact up to 1,000. Beyond, only the 1,000 smallest hashes of actors are kept, and the count is
estimated from the largest of these, h: 999·2^64 / h, rounded down (k minimum values; the usual error is 3 %). The hash
of an actor is the first 8 bytes, big-endian, of SHA-256(kind ‖ 0x0A ‖ id). Actors without an id do not count.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from typing import Any

MAX_EXACT = 1000
CUSTOM = "custom.*"
_HOURS = 24
_HASH_SPACE = 1 << 64
_MOST = 1 << 52
"""What can be counted on from, and a store keeps exactly."""

type Row = tuple[str, str, str, str | None]
"""Type, outcome, data class, reason."""


class DistinctActors:
    """Counts different actors: exactly up to MAX_EXACT, then by estimate, from a bounded state."""

    def __init__(self, hashes: Iterable[int] = (), *, exact: bool = True) -> None:
        self._kept = set(hashes)
        self._largest_first = [-each for each in self._kept]
        heapq.heapify(self._largest_first)
        self.exact = exact

    def add(self, kind: str, actor_id: str | None) -> None:
        """Count an actor, unless it was counted already."""
        if actor_id is None:
            return
        value = int.from_bytes(hashlib.sha256(f"{kind}\n{actor_id}".encode()).digest()[:8])
        if value in self._kept:
            return
        if len(self._kept) < MAX_EXACT:
            self._kept.add(value)
            heapq.heappush(self._largest_first, -value)
            return
        self.exact = False
        largest = -self._largest_first[0]
        if value < largest:
            self._kept.remove(largest)
            self._kept.add(value)
            heapq.heapreplace(self._largest_first, -value)

    @property
    def count(self) -> int:
        """How many there were: exact, or the estimate."""
        if self.exact:
            return len(self._kept)
        return (MAX_EXACT - 1) * _HASH_SPACE // max(1, -self._largest_first[0])

    def hashes(self) -> list[int]:
        """The state, ascending."""
        return sorted(self._kept)


class DayRollup:
    """The counts of one day."""

    def __init__(self, day: str) -> None:
        self.day = day
        self.first: int | None = None
        self.last: int | None = None
        self.counts: dict[Row, int] = {}
        self.hours: dict[str, list[int]] = {}
        self.actors = DistinctActors()

    @property
    def events(self) -> int:
        """How many events there were."""
        return sum(self.counts.values())

    def add(self, event: Mapping[str, Any], index: int) -> None:
        """Count the event (or its parsed entry) at `index`. ValueError for one of another day."""
        if day_of(event) != self.day:
            raise ValueError("an event of another day")
        kind = rolled_type(event["type"])
        row = (kind, event["outcome"], event["data_class"], event["reason"])
        self.counts[row] = self.counts.get(row, 0) + 1
        self.hours.setdefault(kind, [0] * _HOURS)[int(event["recorded_at"][11:13])] += 1
        self.actors.add(event["actor"]["kind"], event["actor"]["id"])
        self.first = index if self.first is None else min(self.first, index)
        self.last = index if self.last is None else max(self.last, index)

    def totals(self) -> dict[str, Any]:
        """What is published: everything but the hashes of actors."""
        return {
            "day": self.day,
            "events": self.events,
            "first": self.first,
            "last": self.last,
            "counts": [[*row, self.counts[row]] for row in sorted(self.counts, key=_order)],
            "hours": {kind: self.hours[kind] for kind in sorted(self.hours)},
            "distinct_actors": self.actors.count,
            "distinct_actors_exact": self.actors.exact,
        }

    def to_item(self) -> dict[str, Any]:
        """What is stored: the totals and what is needed to go on counting."""
        return self.totals() | {"actors": [f"{each:016x}" for each in self.actors.hashes()]}

    @classmethod
    def from_item(cls, item: Mapping[str, Any], day: str | None = None) -> DayRollup:
        """The inverse of `to_item`; other fields of the item do not matter. ValueError: it is not as we write it, or
        not of the day that is wanted."""
        try:
            rollup = cls(item["day"])
            rollup.first, rollup.last = item["first"], item["last"]
            rollup.counts = {(kind, outcome, data, reason): n for kind, outcome, data, reason, n in item["counts"]}
            rollup.hours = {kind: list(hours) for kind, hours in item["hours"].items()}
            hashes = [int(each, 16) for each in item["actors"]]
            rollup.actors = DistinctActors(hashes, exact=item["distinct_actors_exact"])
            is_formed = rollup._is_formed(hashes) and day in (None, rollup.day)
        except (KeyError, TypeError, ValueError, AttributeError):
            is_formed = False
        if not is_formed:
            raise ValueError("the counts of a day are not as a sealer writes them")
        return rollup

    def _is_formed(self, hashes: list[int]) -> bool:
        """Whether everything is of its type, so that it can be gone on from."""
        places = [self.first, self.last] if self.counts else []
        numbers = [*places, *self.counts.values(), *(n for hours in self.hours.values() for n in hours)]
        return (
            type(self.day) is str
            and all(type(each) is int and 0 <= each < _MOST for each in numbers)
            and all(type(part) is str for row in self.counts for part in row[:3])
            and all(row[3] is None or type(row[3]) is str for row in self.counts)
            and all(type(kind) is str and len(hours) == _HOURS for kind, hours in self.hours.items())
            and type(self.actors.exact) is bool
            and len(hashes) <= MAX_EXACT
            and all(0 <= each < _HASH_SPACE for each in hashes)
        )


def day_of(event: Mapping[str, Any]) -> str:
    """The day that an event is counted on, YYYY-MM-DD."""
    return str(event["recorded_at"][:10])


def rolled_type(event_type: str) -> str:
    """The type under which an event is counted: producers' own types are one."""
    return CUSTOM if event_type.startswith("custom.") else event_type


def rollups_of(events: Iterable[Mapping[str, Any]], first_index: int = 0) -> dict[str, DayRollup]:
    """The rollups, by day, of events (or parsed entries) that stand one after the other from `first_index` on."""
    days: dict[str, DayRollup] = {}
    for index, event in enumerate(events, first_index):
        day = day_of(event)
        days.setdefault(day, DayRollup(day)).add(event, index)
    return days


def _order(row: Row) -> tuple[str, ...]:
    return tuple(part or "" for part in row)
