"""Minutes summed up, so that a hot key need not be read again: pure functions (see docs/adr/0021).

A minute of event time tells how many events the key has in it, and its first and last crossing points. A window is at
least a minute long, so all crossing points of one minute are of one run: the two tell all that there is to know of it,
unless an alert was closed between them. Places are counted within the minute; `crossings_of` makes positions of them.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from shared.detection.history import MINUTE, minute_of
from shared.detection.model import SEVERITIES, AlertSeverity, Crossing, Observed

HOUR = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)


class Mark(NamedTuple):
    """A crossing point: its moment and place in its minute, and those of the first event of its window."""

    at: datetime
    id: str
    place: int
    since_at: datetime
    since_place: int
    severity: AlertSeverity
    """Of the first and the last for all: the highest of the minute."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What is known of one minute that has events."""

    count: int
    is_full: bool
    groups: frozenset[str] = frozenset()
    marks: tuple[Mark, ...] = ()


type Minutes = dict[datetime, Minute]


def hour_of(moment: datetime) -> datetime:
    """The hour of event time that a moment lies in."""
    return moment.replace(minute=0, second=0, microsecond=0)


def full_minutes(observed: Sequence[Observed], per_minute: int) -> set[datetime]:
    """The minutes in which there may be more than was read."""
    if len(observed) < per_minute:
        return set()
    counts = Counter((minute_of(each.at), each.selector) for each in observed)
    return {minute for (minute, _), count in counts.items() if count >= per_minute}


def summed_up(
    observed: Sequence[Observed],
    crossings: Iterable[Crossing],
    start: datetime,
    per_minute: int,
    *,
    every: bool = False,
) -> Minutes:
    """The minutes from `start` on. `every`: all crossing points of a minute instead of its first and last."""
    begins: dict[datetime, int] = {}
    counts: Counter[datetime] = Counter()
    groups: dict[datetime, set[str]] = {}
    for position, each in enumerate(observed):
        minute = minute_of(each.at)
        begins.setdefault(minute, position)
        counts[minute] += 1
        if each.group:
            groups.setdefault(minute, set()).add(each.group)
    crossed: dict[datetime, list[Crossing]] = {}
    for crossing in crossings:
        crossed.setdefault(minute_of(crossing.at), []).append(crossing)
    full = full_minutes(observed, per_minute)
    found: Minutes = {}
    for minute, count in counts.items():
        if minute < start:
            continue
        points = crossed.get(minute, [])
        if len(points) > 1 and not every:
            highest = max((each.severity for each in points), key=SEVERITIES.index)
            points = [each._replace(severity=highest) for each in (points[0], points[-1])]
        marks = tuple(_mark(each, begins) for each in points)
        found[minute] = Minute(count, minute in full, frozenset(groups.get(minute, ())), marks)
    return found


def _mark(crossing: Crossing, begins: Mapping[datetime, int]) -> Mark:
    place = crossing.position - begins[minute_of(crossing.at)]
    since_place = crossing.since - begins[minute_of(crossing.since_at)]
    return Mark(crossing.at, crossing.id, place, crossing.since_at, since_place, crossing.severity)


@dataclass(frozen=True, slots=True)
class Positions:
    """Where each minute begins when all events are counted in order."""

    minutes: list[datetime]
    begins: list[int]

    @classmethod
    def of(cls, minutes: Minutes) -> "Positions":
        """The positions of what is known."""
        ordered = sorted(minutes)
        begins, total = [], 0
        for minute in ordered:
            begins.append(total)
            total += minutes[minute].count
        return cls(ordered, begins)

    def begin(self, minute: datetime) -> int:
        """The position of the first event of a minute that has events."""
        return self.begins[bisect_left(self.minutes, minute)]

    def minute_at(self, position: int) -> datetime:
        """The minute that a position lies in (the last one for what is beyond)."""
        return self.minutes[max(0, bisect_left(self.begins, position + 1) - 1)]


def crossings_of(minutes: Minutes, positions: Positions, start: datetime) -> list[Crossing]:
    """The crossing points from `start` on, in order: of each minute the first and the last, or all that are known."""
    found = []
    for minute in positions.minutes:
        for mark in minutes[minute].marks:
            if mark.at >= start:
                since = positions.begin(minute_of(mark.since_at)) + mark.since_place
                position = positions.begin(minute) + mark.place
                found.append(Crossing(mark.at, mark.id, mark.severity, since, position, mark.since_at))
    return found


def written(hour: datetime, minutes: Minutes) -> dict[str, Any]:
    """The minutes of one hour as a document holds them, by their number."""
    told: dict[str, Any] = {}
    for minute, known in sorted(minutes.items()):
        marks = [_written_mark(minute, mark) for mark in known.marks]
        told[str((minute - hour) // MINUTE)] = [known.count, known.is_full, sorted(known.groups), marks]
    return told


def read(hour: datetime, told: Mapping[str, Any]) -> Minutes:
    """The inverse of `written`."""
    found: Minutes = {}
    for number, (count, is_full, groups, marks) in told.items():
        minute = hour + int(number) * MINUTE
        found[minute] = Minute(count, is_full, frozenset(groups), tuple(_read_mark(minute, mark) for mark in marks))
    return found


def _written_mark(minute: datetime, mark: Mark) -> list[Any]:
    return [
        (mark.at - minute) // _MICROSECOND,
        mark.id,
        mark.place,
        (minute - mark.since_at) // _MICROSECOND,
        mark.since_place,
        SEVERITIES.index(mark.severity),
    ]


def _read_mark(minute: datetime, told: Sequence[Any]) -> Mark:
    at, event_id, place, since, since_place, level = told
    since_at = minute - since * _MICROSECOND
    return Mark(minute + at * _MICROSECOND, event_id, place, since_at, since_place, SEVERITIES[level])
