"""The engine: event time, sliding windows and crossing points. Pure functions, the same live and in a backtest.

The window of an event at time t is [t - window, t], both edges included: of five failures in 15 minutes the first
may be exactly 15 minutes older than the last, and not a microsecond more. Events of the same time follow one another
in order of their ids. Every position is evaluated, so a late event is seen by each later window that contains it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from shared.core.clock import parse_rfc3339
from shared.detection.model import AlertSeverity, Crossing, Observed, Pattern
from shared.storage.documents import Item

MAX_AHEAD = timedelta(minutes=5)
MAX_BEHIND = timedelta(days=7)
_LENGTH = len("2026-03-15T12:00:00.000000Z")


def event_time(event: Item) -> datetime:
    """When an event happened: `occurred_at`, unless it is implausible; then `recorded_at`.

    Implausible is more than five minutes after `recorded_at`, or more than seven days before it: what POST /events
    refuses. Exactly five minutes, or exactly seven days, is plausible.
    """
    occurred_at, recorded_at = event["occurred_at"], event["recorded_at"]
    recorded = _time(recorded_at)
    if occurred_at == recorded_at:
        return recorded
    occurred = _time(occurred_at)
    return occurred if -MAX_BEHIND <= occurred - recorded <= MAX_AHEAD else recorded


def _time(text: str) -> datetime:
    """As `parse_rfc3339`, and faster for what `rfc3339` wrote. Python reads other forms of the same length, too."""
    if isinstance(text, str) and len(text) == _LENGTH and text[7] + text[10] + text[19] + text[26] == "-T.Z":
        return datetime.fromisoformat(text)
    return parse_rfc3339(text)


def is_odd(event: Item) -> bool:
    """Whether an event's time of occurrence is implausible."""
    return event["occurred_at"] != event["recorded_at"] and event_time(event) != parse_rfc3339(event["occurred_at"])


def actor_of(event: Item) -> str | None:
    """A pattern's key: who did it. None for the anonymous and the system."""
    actor: str | None = event["actor"]["id"]
    return actor


def target_of(event: Item) -> str | None:
    """A pattern's key: what, or whose account, it was done to. None where that is unknown."""
    target = event.get("target")
    return target["id"] if target else None


def observe(pattern: Pattern[Any], event: Item, at: datetime | None = None) -> tuple[str, Observed] | None:
    """The key of an event and what the pattern sees of it; None when the event is none of the pattern's.

    `at`: its event time, where that is known already. Erased events are nobody's. KeyError, TypeError or ValueError for
    an event that is not formed as one.
    """
    selected = (event["type"], event["outcome"])
    if selected not in pattern.selectors or event.get("erased_at") is not None or not pattern.matches(event):
        return None
    key = pattern.key(event)
    if key is None:
        return None
    if not isinstance(key, str) or not key:
        raise ValueError("a key is text")
    group = event["tenant_id"] if pattern.across_tenants else ""
    selector = pattern.selectors.index(selected)
    return key, Observed(at or event_time(event), event["id"], pattern.fact(event), selector, group)


def windows(observed: Sequence[Observed], window: timedelta) -> Iterator[tuple[int, int, Observed]]:
    """Every position with the first position of its window, and the event there."""
    since = 0
    for position, event in enumerate(observed):
        while event.at - observed[since].at > window:
            since += 1
        yield position, since, event


def crossing(observed: Sequence[Observed], since: int, position: int, severity: AlertSeverity) -> Crossing:
    """The crossing point at a position."""
    at, event_id = observed[position].moment
    return Crossing(at, event_id, severity, since, position, observed[since].at)


def crossings_by_count(
    observed: Sequence[Observed],
    *,
    threshold: int,
    window: timedelta,
    severity_of: Callable[[int], AlertSeverity],
) -> Iterator[Crossing]:
    """Every position with at least `threshold` events in its window; the severity follows from how many there are."""
    for position, since, _ in windows(observed, window):
        count = position - since + 1
        if count >= threshold:
            yield crossing(observed, since, position, severity_of(count))


class Tally:
    """What the window holds of each value, as the window moves on."""

    def __init__(self, observed: Sequence[Observed], value_of: Callable[[Observed], Any] = lambda each: each.fact):
        self._observed = observed
        self._value_of = value_of
        self._since = 0
        self.held: Counter[Any] = Counter()

    def move(self, since: int, position: int) -> None:
        """Take the event at `position` in, and leave those before `since` out."""
        self.held[self._value_of(self._observed[position])] += 1
        while self._since < since:
            gone = self._value_of(self._observed[self._since])
            self.held[gone] -= 1
            if not self.held[gone]:
                del self.held[gone]
            self._since += 1


def crossings_by_distinct(
    observed: Sequence[Observed],
    *,
    threshold: int,
    window: timedelta,
    severity_of: Callable[[int], AlertSeverity],
    value_of: Callable[[Observed], Any] = lambda each: each.fact,
) -> Iterator[Crossing]:
    """Every position with at least `threshold` different values in its window."""
    tally = Tally(observed, value_of)
    for position, since, _ in windows(observed, window):
        tally.move(since, position)
        distinct = len(tally.held)
        if distinct >= threshold:
            yield crossing(observed, since, position, severity_of(distinct))
