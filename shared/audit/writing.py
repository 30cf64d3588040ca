"""Whether this instance can write what the trail is made of: watched at every write, at the cost of a comparison."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.clock import Clock
from shared.storage.errors import Throttled, Unavailable

SETTLED = timedelta(minutes=1)
"""How long writing has to work again until an outage is over: one that comes and goes is one."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which writes failed: from the first that did to the first after the last that did not."""

    since: datetime
    until: datetime
    failures: int


class Writing:
    """Watches the writes of one instance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: datetime | None = None
        self._until: datetime | None = None
        self._failures = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around one write. One that is not answered, or put off, is noted; any answer, a refusal too, is one."""
        try:
            yield
        except (Unavailable, Throttled, asyncio.CancelledError):
            self._since, self._until = self._since or self._clock.now(), None
            self._failures += 1
            raise
        except Exception:
            self._answered()
            raise
        self._answered()

    def _answered(self) -> None:
        if self._since is not None and self._until is None:
            self._until = self._clock.now()

    def outage(self) -> Outage | None:
        """The outage that nobody told of yet, once it is over; None: there was none, or it lasts."""
        if self._since is None or self._until is None or self._clock.now() - self._until < SETTLED:
            return None
        return Outage(self._since, self._until, self._failures)

    def told(self, outage: Outage) -> None:
        """Forget an outage that was told of; what failed since then stays."""
        self._failures -= outage.failures
        if self._failures == 0:
            self._since = self._until = None
        else:
            self._since = max(outage.until, self._since or outage.until)
