from collections.abc import AsyncIterator

import pytest

from shared.storage.documents import DocumentStore
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock
from tests.ledger.world import NOW, World
from tests.storage.conftest import LOCAL, open_cosmos
from tests.streaming.support import Stage


@pytest.fixture(params=LOCAL)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Streams over an empty trail, on each store."""
    clock = ManualClock(NOW)
    store: DocumentStore
    if request.param == "cosmos":
        store = await open_cosmos(request.getfixturevalue("emulator"), clock)
    else:
        store = await SqliteStore.open(None, clock=clock)
    try:
        yield Stage(World(store, clock))
    finally:
        await store.close()


@pytest.fixture
async def quick() -> AsyncIterator[Stage]:
    """The same on SQLite alone: for what no store has a say in."""
    clock = ManualClock(NOW)
    store = await SqliteStore.open(None, clock=clock)
    try:
        yield Stage(World(store, clock))
    finally:
        await store.close()
