"""What the process remembers of keys, so that the next batch need not read as much. Nobody needs it.

Of hot keys the last events, instead of a whole window. What is kept holds as long as the series document is the one
under which it was kept: whoever handled an event of the key since then has written it. Events that are stored but not
handled yet are missing, as they may be in any digest, until their own consumer reads their minutes anew.

Of others when they crossed last: after what comes soon, something most likely crosses, and the view tells.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.detection.model import Observed, Span

MOST_EVENTS = 200_000
"""Of all keys together: some 50 MB."""
MOST_CROSSED = 20_000
"""Keys: some 5 MB."""


@dataclass(frozen=True, slots=True)
class Kept:
    """All events within a span, as they were under a version of the series document."""

    version: int
    span: Span
    observed: Sequence[Observed]


class Recent:
    """The last events of the hot keys that were last evaluated."""

    def __init__(self, most: int = MOST_EVENTS) -> None:
        self._most = most
        self._kept: OrderedDict[object, Kept] = OrderedDict()
        self._held = 0

    def find(self, series: object, version: int, start: datetime, end: datetime) -> list[Observed] | None:
        """All events from `start` to before `end`; None when they have to be read."""
        kept = self._kept.get(series)
        if (
            kept is None
            or kept.version != version
            or kept.span.start > start
            or kept.span.end < end - timedelta.resolution
        ):
            return None
        return [each for each in kept.observed if start <= each.at < end]

    def keep(self, series: object, kept: Kept) -> None:
        """Keep what was read, in place of what was kept; the keys that were not asked for longest have to go."""
        self.drop(series)
        self._kept[series] = kept
        self._held += len(kept.observed)
        while self._held > self._most:
            self.drop(next(iter(self._kept)))

    def drop(self, series: object) -> None:
        """Forget a key."""
        former = self._kept.pop(series, None)
        if former is not None:
            self._held -= len(former.observed)


class Crossed:
    """The keys of which it was seen last that they crossed, and the last moment at which they did."""

    def __init__(self, most: int = MOST_CROSSED) -> None:
        self._most = most
        self._last: OrderedDict[object, datetime] = OrderedDict()

    def lately(self, series: object, moments: Sequence[datetime], window: timedelta) -> bool:
        """Whether all of these moments lie within a window of the last one at which the key crossed."""
        last = self._last.get(series)
        return last is not None and all(abs(moment - last) <= window for moment in moments)

    def note(self, series: object, last: datetime | None) -> None:
        """When the key crossed last; None where it does not."""
        self._last.pop(series, None)
        if last is not None:
            self._last[series] = last
            if len(self._last) > self._most:
                self._last.popitem(last=False)
