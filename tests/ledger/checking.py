"""Runs of the check, one by one: what each says, and where it leaves the place of a month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shared.core.clock import period_of
from shared.ledger.progress import progress_id
from shared.ledger.reconciliation import Reconciliation
from shared.ledger.shards import rollup_id
from shared.ledger.verification import Verification
from shared.storage.containers import LEDGER
from shared.storage.documents import DocumentStore, Item
from tests.faults import FaultyStore
from tests.ledger.heard import Heard, Said
from tests.ledger.world import PERIOD, RETENTION_DAYS, TENANT, World

OWN_TURN = datetime(2026, 3, 15, 11, 45, tzinfo=UTC)
"""A time at which the month whose turn it is is the present one, so that no other month is opened."""


class Stale(FaultyStore):
    """A store whose queries of a tenant tell something else of heads, as it was when they were read."""

    def __init__(self, inner: DocumentStore, items: Mapping[str, Item]) -> None:
        super().__init__(inner)
        self.items = items

    async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
        page = await super().query(container, partition, query)
        if container is not LEDGER or partition != (TENANT,):
            return page
        return replace(page, items=[self.items.get(item["id"], item) for item in page.items])


class Meanwhile(FaultyStore):
    """A store in which more is sealed once the entries of the lap were read."""

    def __init__(self, world: World) -> None:
        super().__init__(world.store)
        self.world = world

    async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
        if rollup_id("") in repr(query) and not self.failed:
            self.failed = 1
            await self.world.seal(self.world.events(2))
        return await super().query(container, partition, query)


class Checking:
    """The check of one tenant, as one instance after the other runs it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.compared: list[int] = []

    async def run(self, store: DocumentStore | None = None) -> list[Said]:
        """What one run says."""
        heard, through = Heard(self.world.statements()), store or self.world.store
        self.compared.clear()
        verification = Verification(
            store=through,
            reconciliation=Reconciliation(through, self.world.sealer(store), self.world.clock),
            statements=heard,
            checkpoints=self.world.checkpoints(store),
            keys=self.world.keys(store),
            clock=self.world.clock,
            retention_days=RETENTION_DAYS,
            verified=self.compared.append,
        )
        request = self.world.request()
        await verification.run(TENANT, request)
        assert all(each is request for each in heard.requests)
        return heard.said

    async def place(self, period: str = PERIOD) -> Item:
        """Where the check of a month is."""
        return await self.world.store.read(LEDGER, (TENANT, period), progress_id(period))

    async def put(self, period: str = PERIOD, **fields: Any) -> None:
        """Write over the place of a month; `lap`: over some of its fields."""
        held = await self.place(period)
        lap = held["lap"] | fields.pop("lap", {})
        await self.world.store.replace(LEDGER, (TENANT, period), held | fields | {"lap": lap})

    async def months(self, *counts: int) -> list[str]:
        """Seal so many events of each of some months, the last the present one; the months."""
        now = self.world.clock.now()
        made = []
        for back, count in reversed(list(enumerate(reversed(counts)))):
            self.world.clock.set(now.replace(month=now.month - back))
            await self.world.seal(self.world.events(count))
            made.append(period_of(self.world.clock.now()))
        self.world.clock.set(now)
        return made

    async def looked_at(self, *periods: str) -> list[bool]:
        """Of which months the last run took the lap further."""
        now = int(self.world.clock.now().timestamp())
        return [(await self.place(each))["looked_at"] == now for each in periods]
