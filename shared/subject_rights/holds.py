"""Legal holds: what must not go yet, of one person or of a whole tenant, with a reason and an end.

A hold defers erasures (`erasure.py`). It also keeps events from ending with their month's retention: those that would
end before the hold does get `ttl: -1`, with the whole of that month's ledger, without which nothing of them could be
proven. Once the hold is over, what is past its retention gets it back, and ends at once. What was made of the trail:
`held_records.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any

from shared.core.clock import Clock, months_after, parse_rfc3339, period_of, rfc3339
from shared.identity.model import TENANT_ITEM
from shared.identity.tenant_settings import settings_of
from shared.ledger.shards import FOREVER, HEAD
from shared.storage.containers import AUDIT_EVENTS, IDENTITY, LEDGER, Container
from shared.storage.documents import (
    MAX_BATCH_OPERATIONS,
    MAX_PAGE,
    BatchOperation,
    DocumentStore,
    Filter,
    Has,
    Item,
    Patch,
    PatchRemove,
    PatchSet,
    Query,
    pages,
)
from shared.storage.errors import NotFound, PreconditionFailed
from shared.subject_rights.held_records import HeldRecords

RUN = timedelta(minutes=2)
"""How long one tenant's items are looked through in one run; the next one passes quickly over what is kept."""


def holds_at(settings: Mapping[str, Any], moment: datetime) -> list[Item]:
    """The holds of a tenant's settings that hold at a moment."""
    now = rfc3339(moment)
    return [each for each in settings["legal_hold"] if each["since"] <= now < each["until"]]


def held_until(holds: Iterable[Item], subject: str) -> str | None:
    """Until when a person is held, by a hold of the person's own or one of the tenant; None: not at all."""
    return max((each["until"] for each in holds if each["subject"] in (None, subject)), default=None)


@dataclass(frozen=True, slots=True)
class _Month:
    """One month of a tenant, when its retention ends, and the holds that go beyond that."""

    tenant_id: str
    period: str
    ends: datetime
    holds: Sequence[Item]

    @property
    def whole(self) -> bool:
        """Whether everything of it is held."""
        return any(each["subject"] is None for each in self.holds)

    def holds_event(self, subjects: Sequence[str]) -> bool:
        """Whether an event about these persons is held."""
        return self.whole or any(each["subject"] in subjects for each in self.holds)


class Holds:
    """Keeps what is held beyond its retention, and lets go of it afterwards."""

    def __init__(self, store: DocumentStore, clock: Clock, retention: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._retention = retention
        self._records = HeldRecords(store, retention)

    async def keep(self, tenant_id: str) -> int:
        """Bring the retention of a tenant's events, ledger and records in line with its holds; how many items
        changed."""
        try:
            tenant = await self._store.read(IDENTITY, (tenant_id,), TENANT_ITEM)
        except NotFound:
            return 0
        now = self._clock.now()
        holds = holds_at(settings_of(tenant), now)
        furthest = max((each["until"] for each in holds), default=rfc3339(now))
        everything = max((each["until"] for each in holds if each["subject"] is None), default=None)
        changed = 0
        if everything or parse_rfc3339(tenant["created_at"]) < now - self._retention:
            changed += await self._records.keep(tenant_id, everything, now)
        for period in _periods(tenant["created_at"][:7], period_of(now)):
            ends = _end_of(period) + self._retention
            if rfc3339(ends) > furthest or self._clock.now() - now >= RUN:
                break
            beyond = [each for each in holds if each["until"] > rfc3339(ends)]
            month = _Month(tenant_id, period, ends, beyond)
            changed += await (self._keep(month) if ends > now else self._let_go(month))
        return changed

    async def _keep(self, month: _Month) -> int:
        """Keep what a hold needs of a month that would end before the hold does."""
        ways: list[tuple[Container, tuple[Filter, ...]]] = [(LEDGER, ())]
        if month.whole:
            ways.append((AUDIT_EVENTS, ()))
        else:
            ways += [(AUDIT_EVENTS, (Has("subjects", each["subject"]),)) for each in month.holds]
        changed = 0
        for container, where in ways:
            order_by = "recorded_at" if where else "id"
            query = Query(where, order_by=order_by, limit=MAX_PAGE, fields=("id", "ttl"))
            async for items in pages(self._store, container, (month.tenant_id, month.period), query):
                ending = [each["id"] for each in items if each.get("ttl") != FOREVER]
                changed += await self._patch(container, month, ending, PatchSet("ttl", FOREVER))
        return changed

    async def _let_go(self, month: _Month) -> int:
        """Let go of what is there beyond its retention and held no more: whatever is there was held once."""
        changed = 0
        query = Query(limit=MAX_PAGE, fields=("id", "kind", "subjects"))
        for container in (AUDIT_EVENTS, LEDGER):
            async for items in pages(self._store, container, (month.tenant_id, month.period), query):
                over = [
                    each["id"]
                    for each in items
                    if each.get("kind") != HEAD
                    and not (month.holds if container is LEDGER else month.holds_event(each["subjects"]))
                ]
                changed += await self._patch(container, month, over, PatchRemove("ttl"))
        return changed

    async def _patch(self, container: Container, month: _Month, ids: Sequence[str], patch: Patch) -> int:
        partition = (month.tenant_id, month.period)
        for chunk in batched(ids, MAX_BATCH_OPERATIONS, strict=False):
            try:
                steps = [BatchOperation("patch", id=each, patches=(patch,)) for each in chunk]
                await self._store.batch(container, partition, steps)
            except (NotFound, PreconditionFailed):  # one of them ended meanwhile: the next run does the others
                continue
        return len(ids)


def _periods(first: str, last: str) -> Iterator[str]:
    """Every month from one to another."""
    period = first
    while period <= last:
        yield period
        period = period_of(_end_of(period))


def _end_of(period: str) -> datetime:
    return months_after(datetime(int(period[:4]), int(period[5:]), 1, tzinfo=UTC), 1)
