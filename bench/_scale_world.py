"""Many tenants' trails in one store, for `bench.scale`: written through the port and sealed as the change feed does.

Events come at the same pace for all of the time, so a trail that is a hundred times as large is a hundred times as
long. One company has an ORDINARY share and EXTRA events beside it: it is the one that costs are measured of.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench._compliance_world import accounts
from bench._counted import CountedStore
from bench._trail import Company
from shared.core.clock import SystemClock
from shared.core.ids import IdFactory
from shared.core.settings import Settings
from shared.identity.model import new_tenant
from shared.storage.containers import AUDIT_EVENTS, DEAD_LETTERS, IDENTITY
from shared.storage.documents import MAX_BATCH_OPERATIONS, MAX_PAGE, BatchOperation, DocumentStore, Item, Query, create
from shared.storage.sqlite import SqliteStore
from shared.wiring import Services, build_services
from tests.fakes import ManualClock

START = datetime(2024, 1, 1, tzinfo=UTC)
PER_ROUND, ORDINARY = 100, 90
"""Events of a round for each tenant, and how many of them are those of a tenant that is not the measured one."""
ROUND = timedelta(hours=19, minutes=12)
"""Five rounds are four days. The feed may be a day behind; a round is one."""
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class World:
    """An open store (a `CountedStore`) with its app, and the companies in it, the measured one first."""

    services: Services
    store: Any
    clock: ManualClock
    companies: Sequence[Company]

    @property
    def measured(self) -> Company:
        """The large one."""
        return self.companies[0]


def tenant_ids(count: int) -> list[str]:
    """The ids of the tenants, the measured one first: the same in each run."""
    ids = IdFactory(SystemClock(), random.Random(1).getrandbits)  # noqa: S311 - reproducible on purpose
    return [ids.new(START) for _ in range(count)]


def moment_after(rounds: int) -> datetime:
    """When so many rounds are over."""
    return START + ROUND * rounds


async def opened(folder: Path, tenants: int, rounds: int) -> World:
    """The world in a folder, so many rounds after its beginning; it is made if there is none."""
    clock = ManualClock(moment_after(rounds))
    store: Any = CountedStore(await SqliteStore.open(folder / "kraftd.sqlite", clock=clock))
    services = await build_services(Settings(kraftd_data=str(folder)), clock=clock, store=store)
    companies = [
        await Company.of(tenant_id, services.index, number + 1, START)
        for number, tenant_id in enumerate(tenant_ids(tenants))
    ]
    for company in companies:  # those of a company whose days begin here
        company.start = START
    if not rounds:
        await _founded(companies[0], store)
    return World(services, store, clock, companies)


async def _founded(company: Company, store: DocumentStore) -> None:
    """What a report asks of an organization beside its trail: that it is there, and its accounts."""
    await store.create(IDENTITY, (company.tenant_id,), new_tenant(company.tenant_id, "Example", START))
    for chunk in itertools.batched(accounts(company, START), MAX_BATCH_OPERATIONS, strict=False):
        steps: list[BatchOperation] = [create(item) for item in chunk]
        await store.batch(IDENTITY, (company.tenant_id,), steps)


async def play(world: World, number: int) -> int:
    """One round of all tenants, as if it was the feed's first delivery since the one before; how many events."""
    world.clock.set(moment_after(number + 1))
    free = asyncio.Semaphore(_AT_ONCE)
    extra = PER_ROUND * len(world.companies) - ORDINARY * len(world.companies)

    async def one(company: Company) -> int:
        count = ORDINARY + (extra if company is world.measured else 0)
        async with free:
            await sealed(world.services, await written(world, company, moment_after(number), count, number))
        return count

    return sum(await asyncio.gather(*map(one, world.companies)))


async def written(world: World, company: Company, start: datetime, count: int, seed: int) -> list[Item]:
    """Events of a company from a moment until now, as the feed shows them."""
    chance = random.Random(f"{company.tenant_id} {seed}")  # noqa: S311 - reproducible on purpose
    step = (world.clock.now() - start) / count
    stored: list[Item] = []
    events = company.between(start, step, count, chance)
    for period, within in itertools.groupby(events, key=lambda event: event["period"]):
        for chunk in itertools.batched(within, MAX_BATCH_OPERATIONS, strict=False):
            steps: list[BatchOperation] = [create(event) for event in chunk]
            done = await world.store.batch(AUDIT_EVENTS, (company.tenant_id, period), steps)
            stored += [item for item in done if item is not None]
    return stored


async def sealed(services: Services, events: Sequence[Item]) -> None:
    """Hand events to the sealer, as many at once as the feed has."""
    for chunk in itertools.batched(events, MAX_PAGE, strict=False):
        await services.sealer.consume(chunk)


async def checked_whole(world: World, events: int) -> None:
    """SystemExit unless every event that was written is sealed, and none of it was kept back."""
    sizes = 0
    for company in world.companies:
        heads, broken = await world.services.shards.each_head(company.tenant_id)
        sizes += sum(head.size for head in heads)
        letters = await world.store.query(DEAD_LETTERS, (company.tenant_id,), Query((), limit=1))
        if broken or letters.items:
            raise SystemExit("a ledger is broken, or an event waits to be sealed")
    if sizes < events:
        raise SystemExit(f"{sizes} of {events} events are sealed")
