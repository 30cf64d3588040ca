"""Fixtures of the walks over a store that fails (tests/api/broken.py)."""

from collections.abc import AsyncIterator

import pytest

from devhost.host import Host
from shared.storage.sqlite import SqliteStore
from tests.api.broken import Admin, Broken
from tests.app import running
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore


@pytest.fixture
async def broken(host: Host, clock: ManualClock) -> AsyncIterator[Broken]:
    store = FaultyFeedStore(await SqliteStore.open(None, clock=clock))
    async with running(host, clock, store) as app:
        yield Broken(app, store, await app.register())


@pytest.fixture
async def admin(broken: Broken) -> Admin:
    return Admin(broken)
