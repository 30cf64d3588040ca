"""Episodes: runs of crossing points, cut so that no alert grows without end. What they are follows from events alone.

- A run is a chain of crossing points, each less than the window after the one before; exactly the window starts anew.
- A run of at most 24 hours is one episode. A longer one is cut at every midnight UTC. Cutting every 24 hours from its
  start would need the start, which may lie weeks back, and one late event there would move every cut after it.
- Where an alert was closed in the middle of an episode, the crossing points after the closing are another episode.

How far one has to look. A new event at t adds crossing points in [t, t + window] only. These join runs that come
within a window of them; of such a run everything can change if it was short (24 hours at most), but only the day next
to t if it was long already. So nothing further than 24 hours and two windows from t changes. With one window more on
each side, a run that t belongs to and that leaves the view is seen to be long; and the events of one further window
back make every crossing point exact. That is `reach`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise

from shared.detection.model import SEVERITIES, AlertSeverity, Crossing, Moment, Span

LONGEST = timedelta(hours=24)
MAX_MEMBERS = 500


@dataclass(frozen=True, slots=True)
class Closing:
    """An alert of the key that was closed: its first crossing point, and when it was closed."""

    anchor: Moment
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class Episode:
    """One attack on one key. `anchor` and `last` are its first and last crossing points.

    Members are the events in the windows of its crossing points: those at the positions `since` to `position`.
    """

    anchor: Moment
    last: Moment
    severity: AlertSeverity
    first_seen: datetime
    since: int
    position: int

    @property
    def last_seen(self) -> datetime:
        """When its last member happened."""
        return self.last[0]

    @property
    def count(self) -> int:
        """How many members it has."""
        return self.position - self.since + 1

    def covers(self, moment: Moment) -> bool:
        """Whether a crossing point belongs to this episode."""
        return self.anchor <= moment <= self.last


def reach(window: timedelta) -> timedelta:
    """How far from a new event the events have to be known (see above)."""
    return LONGEST + 3 * window


def merged(spans: Sequence[Span]) -> list[Span]:
    """The same time in as few spans as possible, in order."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(span.end, found[-1].end))
        else:
            found.append(span)
    return found


def episodes(
    crossings: Sequence[Crossing],
    *,
    span: Span,
    window: timedelta,
    closings: Sequence[Closing] = (),
) -> list[Episode]:
    """The episodes that can be told from all matching events of one key within `span`, in order.

    Left out is what the edge of the view may have cut; see above why nothing that a new event changed is among it.
    """
    exact = [crossing for crossing in crossings if crossing.at >= span.start + window]
    return [
        _episode(part)
        for run in _runs(exact, window)
        for piece in _pieces(run, span, window)
        for part in _parted(piece, closings)
    ]


def _runs(crossings: Sequence[Crossing], window: timedelta) -> Iterator[Sequence[Crossing]]:
    starts = [i + 1 for i, (one, other) in enumerate(pairwise(crossings)) if other.at - one.at >= window]
    for start, end in pairwise([0, *starts, len(crossings)]):
        if start < end:
            yield crossings[start:end]


def _pieces(run: Sequence[Crossing], span: Span, window: timedelta) -> list[list[Crossing]]:
    """A run, cut if it is long, without the pieces whose extent lies beyond the view."""
    # Known are the crossing points from one window after the view's start; another window on, none can join unseen.
    hidden_before = run[0].at < span.start + 2 * window
    hidden_after = run[-1].at > span.end - window
    if run[-1].at - run[0].at <= LONGEST:
        return [] if hidden_before or hidden_after else [list(run)]
    days = [list(day) for _, day in groupby(run, key=lambda crossing: crossing.at.date())]
    return days[1 if hidden_before else 0 : len(days) - 1 if hidden_after else len(days)]


def _parted(piece: Sequence[Crossing], closings: Sequence[Closing]) -> list[list[Crossing]]:
    """A piece, parted after each closing of an alert that began in it. The alert keeps its own first crossing point."""
    cuts = sorted({max(c.closed_at, c.anchor[0]) for c in closings if piece[0].moment <= c.anchor <= piece[-1].moment})
    return [list(part) for _, part in groupby(piece, key=lambda crossing: bisect_left(cuts, crossing.at))]


def _episode(part: Sequence[Crossing]) -> Episode:
    # Neighbors in a run are less than a window apart, so their windows leave no event between them out.
    return Episode(
        anchor=part[0].moment,
        last=part[-1].moment,
        severity=max((crossing.severity for crossing in part), key=SEVERITIES.index),
        first_seen=part[0].since_at,
        since=part[0].since,
        position=part[-1].position,
    )
