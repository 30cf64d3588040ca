"""The app's own services over a store with a sealed trail, for tests of compliance reports."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from shared.audit.model import RequestContext
from shared.core.settings import Settings
from shared.identity.model import new_tenant
from shared.storage.containers import AUDIT_EVENTS, IDENTITY, Container
from shared.storage.documents import DocumentStore, Item, Query, pages
from shared.wiring import Services, build_services
from tests.audit.support import EXAMPLES, TENANT
from tests.fakes import ManualClock

BEGAN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
FROM, TO = date(2026, 3, 1), date(2026, 3, 4)
NOW = datetime(2026, 3, 4, 6, 0, tzinfo=UTC)
SAID = (
    *("auth.register", "auth.login", "data.read", "data.export", "user.role_change", "config.change"),
    *("access.denied", "consent.grant", "alert.raise", "audit.search", "profile.view"),
)
"""Types of the example drafts that are recorded every day."""


@dataclass
class Bureau:
    """One organization with three days of events, sealed and checked."""

    services: Services
    clock: ManualClock

    @property
    def store(self) -> DocumentStore:
        return self.services.store

    def request(self) -> RequestContext:
        return RequestContext(self.services.ids.new(), "timer/test", "test", self.clock.now())

    async def record(self, at: datetime, *types: str) -> None:
        """Record examples of event types at a moment, a second apart; the clock goes on from there."""
        self.clock.set(at)
        for kind in types:
            self.clock.advance(seconds=1)
            draft = EXAMPLES[kind]
            context = dataclasses.replace(draft.request, started_at=self.clock.now())
            await self.services.recorder.record(dataclasses.replace(draft, tenant_id=TENANT, request=context))

    async def seal(self) -> None:
        """Seal all that is in the trail."""
        await self.services.sealer.consume(await self.all(AUDIT_EVENTS))

    async def check(self) -> None:
        """Let the continuous check come by."""
        await self.services.verification.run(TENANT, self.request())

    async def all(self, container: Container, *partition: str) -> list[Item]:
        where = partition or (TENANT,)
        query = Query(limit=1000)
        return [item async for page in pages(self.store, container, where, query) for item in page]

    async def build(self, framework: str = "soc2", **given: Any) -> Item:
        """A report of the three days."""
        return await self.services.compliance.build(TENANT, framework, FROM, TO, self.request(), **given)


async def new_bureau(store: DocumentStore, clock: ManualClock) -> Bureau:
    """A bureau over an empty store."""
    clock.set(BEGAN)
    services = await build_services(Settings(kraftd_data=":memory:"), clock=clock, store=store)
    bureau = Bureau(services, clock)
    await store.create(IDENTITY, (TENANT,), new_tenant(TENANT, "Example", BEGAN))
    for day in range(3):
        await bureau.record(BEGAN + timedelta(days=day, hours=1), *SAID)
    await bureau.seal()
    clock.set(NOW)
    await bureau.check()
    return bureau
