"""The engine: event time, and crossing points under a sliding window. Pure functions, the same live and in a backtest.

The window of an event at time t is [t - window, t], both edges included: of five failures in 15 minutes the first
may be exactly 15 minutes older than the last, and not a microsecond more. Events of the same time follow one another
in order of their ids. Every position is evaluated, so a late event is seen by each later window that contains it.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from shared.core.clock import parse_rfc3339
from shared.detection.model import AlertSeverity, Crossing, Observed
from shared.storage.documents import Item

MAX_AHEAD = timedelta(minutes=5)
MAX_BEHIND = timedelta(days=7)


def event_time(event: Item) -> datetime:
    """When an event happened: `occurred_at`, unless it is implausible; then `recorded_at`.

    Implausible is more than five minutes after `recorded_at`, or more than seven days before it: what POST /events
    refuses. Exactly five minutes, or exactly seven days, is plausible.
    """
    occurred, recorded = parse_rfc3339(event["occurred_at"]), parse_rfc3339(event["recorded_at"])
    return occurred if -MAX_BEHIND <= occurred - recorded <= MAX_AHEAD else recorded


def crossings_by_count(
    observed: Sequence[Observed],
    *,
    threshold: int,
    window: timedelta,
    severity_of: Callable[[int], AlertSeverity],
) -> Iterator[Crossing]:
    """Every position with at least `threshold` events in its window; the severity follows from how many there are."""
    since = 0
    for position, event in enumerate(observed):
        while event.at - observed[since].at > window:
            since += 1
        count = position - since + 1
        if count >= threshold:
            yield Crossing(event.at, event.id, severity_of(count), since, position)
