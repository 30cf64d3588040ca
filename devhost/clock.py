"""A clock that stands still until it is moved: weeks of an app's life in minutes, for development only."""

from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from devhost.errors import HostError

_READING = timedelta(microseconds=1)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""No clock is moved beyond: what is reckoned from there (a retention, say) would leave the calendar."""


class SimulatedClock:
    """Starts at a moment and only moves forward. Each reading is a microsecond after the one before, as times that
    are compared with each other expect."""

    def __init__(self, start: datetime) -> None:
        self._now = _checked(start)
        self._lock = Lock()

    def now(self) -> datetime:
        """The simulated moment in UTC."""
        with self._lock:
            self._now += _READING
            return self._now

    def move(self, moment: datetime) -> bool:
        """Move forward to a moment; False, and nothing done, for one that has passed. ValueError beyond `LATEST`."""
        moment = _checked(moment)
        with self._lock:
            if moment < self._now:
                return False
            self._now = moment
            return True


def _checked(moment: datetime) -> datetime:
    if moment.utcoffset() is None or moment >= LATEST:
        raise ValueError("a simulated time has an offset, and is before the year 9000")
    return moment.astimezone(UTC)


async def build_on(clock: SimulatedClock, services: Any) -> None:
    """Have an app's services, of which nothing was built yet, go by a simulated clock. HostError where the trail is
    somebody's: a clock that can be set would let it say anything."""
    from shared.wiring import LazyServices, build_services

    if not isinstance(services, LazyServices):
        raise HostError("this app does not take a simulated clock")
    settings = services.settings
    if settings.website_site_name or settings.cosmos_db_endpoint or settings.key_vault_uri:
        raise HostError("a simulated clock is for the embedded store alone, off Azure")
    services.put(await build_services(settings, clock=clock))
