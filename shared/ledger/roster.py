"""Who has a ledger, kept beside the registry of tenants: whoever strikes a tenant off has not ended its check.

Timers find tenants through the registry alone. So a list of those of which something was signed is kept in another
container, `directory`: one item for each shard of the registry. The timer that checks ledgers holds one against the
other. A tenant that is listed and not in the registry is a finding, is checked all the same, and is put back if it is
there. The list follows the registry within a run.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from shared.audit.model import PLATFORM_TENANT, RequestContext
from shared.core.clock import Clock, period_end, period_of, rfc3339
from shared.core.errors import Unready
from shared.ledger.marks import Marks
from shared.ledger.shards import BrokenShard, Shards
from shared.ledger.statements import Statements
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY
from shared.storage.documents import DocumentStore, Item, Query
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Throttled, Unavailable
from shared.telemetry import get_log

_log = get_log(__name__)

MOST_NEW = 500
"""So many tenants of a shard that are not listed are looked at in a run, the newest first."""
_TENANT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

type Work = Callable[[str], Awaitable[object]]


class Registry(Protocol):
    """The registry of tenants."""

    def enrolled(self) -> AsyncIterator[tuple[str, set[str]]]:
        """Each of its shards, and the ids of the tenants in it."""
        ...

    def shard_of(self, tenant_id: str) -> str:
        """The shard that a tenant is in."""
        ...

    async def is_there(self, tenant_id: str) -> bool:
        """Whether the tenant itself is there, registered or not."""
        ...

    async def enroll_again(self, tenant_id: str) -> None:
        """Put a tenant back. Idempotent."""
        ...


def roster_id(shard: str) -> str:
    """The id of the list of a shard of the registry."""
    return f"ledger_tenants|{shard}"


class Roster:
    """Holds the list against the registry. `retention_days`: how long a month's events are kept after its end."""

    def __init__(
        self, store: DocumentStore, registry: Registry, statements: Statements, clock: Clock, retention_days: int
    ) -> None:
        self._store = store
        self._registry = registry
        self._statements = statements
        self._shards = Shards(store)
        self._marks = Marks(store)
        self._clock = clock
        self._retention_days = retention_days

    async def each_missing(self, work: Work, request: RequestContext) -> None:
        """Do `work` for each tenant that has a ledger and is not in the registry, once that is said.

        One tenant's trouble holds up no other; the first is raised at the end. Unavailable, Throttled, Unready: at
        once.
        """
        first: Exception | None = None
        async for shard, enrolled in self._registry.enrolled():
            for tenant_id in await self._missing(shard, enrolled, request):
                try:
                    await work(tenant_id)
                except (Unavailable, Throttled, Unready):
                    raise
                except Exception as error:  # noqa: BLE001 - raised at the end
                    _log.error("missing_tenant_failed", error, tenant_id=tenant_id)
                    first = first or error
        if first is not None:
            raise first

    async def _missing(self, shard: str, enrolled: set[str], request: RequestContext) -> list[str]:
        """Whom the registry lacks; the list is brought up to it."""
        listed, etag, is_sound = await self._listed(shard, request)
        missing, over = [], set()
        for tenant_id in sorted(listed - enrolled):
            is_there = await self._registry.is_there(tenant_id)
            if not is_there and await self._is_over(tenant_id):
                over.add(tenant_id)
                continue
            await self._put_back(tenant_id, request, is_there=is_there)
            missing.append(tenant_id)
        unlisted = sorted((each for each in enrolled - listed if _TENANT.fullmatch(each)), reverse=True)
        new = {each for each in unlisted[:MOST_NEW] if await self._is_signed(each)}
        if new or over or not is_sound:
            await self._save(shard, (listed | new) - over, etag)
        return missing

    async def _put_back(self, tenant_id: str, request: RequestContext, *, is_there: bool) -> None:
        """Say that a tenant was struck off, each time anew if it can be put back; and put it back."""
        now = self._clock.now()
        found = rfc3339(now) if is_there else None
        _log.warning("tenant_not_in_registry", tenant_id=tenant_id, put_back=is_there)
        await self._statements.found(tenant_id, period_of(now), "checkpoint", "registry", request, found=found)
        if is_there:
            await self._registry.enroll_again(tenant_id)

    async def _is_signed(self, tenant_id: str) -> bool:
        """Whether something was signed of a tenant, or somebody wrote over what was."""
        try:
            return (await self._marks.of(tenant_id)).etag is not None
        except BrokenShard:
            return True

    async def _is_over(self, tenant_id: str) -> bool:
        """Whether nothing is left of a tenant: no event, and no ledger but of months whose retention is over."""
        if (await self._store.query(AUDIT_EVENTS, (tenant_id,), Query(limit=1, fields=("id",)))).items:
            return False
        heads, broken = await self._shards.each_head(tenant_id)
        try:
            months = {*broken, *(head.period for head in heads), *(await self._marks.of(tenant_id)).months}
        except BrokenShard:
            return False
        now = self._clock.now().timestamp()
        return all(period_end(month) + self._retention_days * 86_400 <= now for month in months)

    async def _listed(self, shard: str, request: RequestContext) -> tuple[set[str], str | None, bool]:
        """Who is listed, and whether it says so as we write it: if not, that is a finding in the trail of the platform,
        and what makes no sense is left out."""
        place = roster_id(shard)
        try:
            item = await self._store.read(DIRECTORY, (place,), place)
        except NotFound:
            return set(), None, True
        held = item.get("tenants")
        found = held if isinstance(held, list) else []
        listed = {each for each in found if isinstance(each, str) and self._is_of(each, shard)}
        is_sound = isinstance(held, list) and len(listed) == len(found)
        if not is_sound:
            now, said = period_of(self._clock.now()), json.dumps(held, default=str)
            await self._statements.found(PLATFORM_TENANT, now, "checkpoint", place, request, found=said)
        return listed, item["_etag"], is_sound

    def _is_of(self, tenant_id: str, shard: str) -> bool:
        return bool(_TENANT.fullmatch(tenant_id)) and self._registry.shard_of(tenant_id) == shard

    async def _save(self, shard: str, tenants: set[str], etag: str | None) -> None:
        """Write the list over the one that was read. Should another run have done so, the next one makes up for it."""
        item: Item = {"id": roster_id(shard), "tenants": sorted(tenants)}
        try:
            if etag is None:
                await self._store.create(DIRECTORY, (item["id"],), item)
            else:
                await self._store.replace(DIRECTORY, (item["id"],), item, etag)
        except (Conflict, NotFound, PreconditionFailed):
            _log.info("ledger_list_raced", shard=shard)
