"""The adapters that the conformance suite runs on: an adapter joins by adding itself to ADAPTERS."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import pytest

from shared.storage.containers import CONTAINERS, Container
from shared.storage.documents import DocumentStore
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock

WIDE = Container(name="wide", partition_key=("region", "shop", "day"), indexes=(("kind", "n"),), default_ttl_seconds=60)
TESTED: Mapping[str, Container] = {**CONTAINERS, WIDE.name: WIDE}


@dataclass(frozen=True)
class Harness:
    """A store under test and the clock that it believes."""

    store: DocumentStore
    clock: ManualClock


async def _sqlite(clock: ManualClock) -> DocumentStore:
    return await SqliteStore.open(None, clock=clock, ttl_days=100, containers=TESTED)


ADAPTERS: dict[str, Callable[[ManualClock], Awaitable[DocumentStore]]] = {"sqlite": _sqlite}


@pytest.fixture(params=sorted(ADAPTERS))
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    clock = ManualClock()
    store = await ADAPTERS[request.param](clock)
    yield Harness(store, clock)
    await store.close()


@pytest.fixture
def store(harness: Harness) -> DocumentStore:
    return harness.store


@pytest.fixture
def clock(harness: Harness) -> ManualClock:
    return harness.clock
