"""Rounds over all tenants: what timers do for each, so that nobody is left out however many there are.

A run has some minutes. One that does not get around, or whose store fails, leaves its place, and the next run goes on
there. Without a place to be found (it expires, the store may lose it) a round begins at the start: work is idempotent.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import Clock
from shared.core.errors import Unready
from shared.storage.containers import GUARDS
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import NotFound, StoreError, Throttled, Unavailable
from shared.telemetry import get_log

_log = get_log(__name__)

RUN = timedelta(minutes=4)
"""How long a run begins work on further tenants: the timers that make rounds come every five minutes."""
SAVE_EVERY = timedelta(seconds=30)
_PLACE_SECONDS = 7 * 86_400
_TENANT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

type Work = Callable[[str], Awaitable[object]]


class Tenant(Protocol):
    """What a round needs of a tenant."""

    @property
    def id(self) -> str:
        """Its id."""
        ...


class Tenants(Protocol):
    """Where tenants are found."""

    def tenants(self, after: str | None = None, until: str | None = None) -> AsyncIterator[Tenant]:
        """Every tenant once in a fixed order: behind one id, up to and with another; they need not be there."""
        ...


class Rounds:
    """Walks the registry of tenants, and `platform`."""

    def __init__(self, store: DocumentStore, tenants: Tenants, clock: Clock) -> None:
        self._store = store
        self._tenants = tenants
        self._clock = clock

    async def run(self, name: str, work: Work) -> int:
        """Do `work` for one tenant after the other, each once at most; for how many it was done.

        One tenant's trouble holds up no other; the first is raised at the end, so that the run shows as failed.
        Unavailable, Throttled, Unready: the store does not answer, and the run is over; the next begins behind the
        tenant where it was, lest that one be the reason each time.
        """
        place = saved = await self._place(name)
        started = saved_at = self._clock.now()
        done = 0
        first: Exception | None = None
        async for tenant_id in self._ring(place):
            now = self._clock.now()
            if now - started >= RUN:
                _log.warning("round_cut", round=name, tenants=done)
                break
            if now - saved_at >= SAVE_EVERY:
                await self._save(name, place)
                saved, saved_at = place, now
            place = tenant_id
            try:
                await work(tenant_id)
                done += 1
            except (Unavailable, Throttled, Unready):
                await self._leave(name, place)
                raise
            except Exception as error:  # noqa: BLE001 - raised at the end
                _log.error("round_failed_for_tenant", error, round=name, tenant_id=tenant_id)
                first = first or error
        else:
            place = saved  # all the way around: any place is as good as this one
        if place != saved:
            await self._save(name, place)
        if first is not None:
            raise first
        return done

    async def _ring(self, place: str | None) -> AsyncIterator[str]:
        """Every tenant's id once, beginning behind `place`; `platform` stands between the last and the first."""
        at_platform = place == PLATFORM_TENANT
        behind = None if at_platform else place
        if behind is not None:
            async for tenant in self._tenants.tenants(after=behind):
                yield tenant.id
        if not at_platform:
            yield PLATFORM_TENANT
        async for tenant in self._tenants.tenants(until=behind):
            yield tenant.id
        if at_platform:
            yield PLATFORM_TENANT

    async def _place(self, name: str) -> str | None:
        """Where the last run was. What somebody else made of it is no place: it is taken away."""
        try:
            place = (await self._store.read(GUARDS, (_key(name),), _key(name))).get("after", "")
        except NotFound:
            return None
        if place is None or (isinstance(place, str) and (place == PLATFORM_TENANT or _TENANT.fullmatch(place))):
            return place
        _log.error("round_place_unusable", round=name)
        await self._leave(name, None)
        return None

    async def _save(self, name: str, place: str | None) -> None:
        item: Item = {"id": _key(name), "after": place, "ttl": _PLACE_SECONDS}
        await self._store.upsert(GUARDS, (_key(name),), item)

    async def _leave(self, name: str, place: str | None) -> None:
        """Save a place if the store lets us; if not, the run is none the worse."""
        try:
            await self._save(name, place)
        except StoreError as error:
            _log.info("round_place_not_saved", round=name, error_type=type(error).__qualname__)


def _key(name: str) -> str:
    return f"round|{name}"
