"""A bureau that makes reports: on either store, or on the quicker one."""

from collections.abc import AsyncIterator

import pytest

from shared.storage.sqlite import SqliteStore
from tests.compliance.bureau import BEGAN, Bureau, new_bureau
from tests.fakes import ManualClock
from tests.storage.conftest import LOCAL, open_cosmos


@pytest.fixture(params=LOCAL)
async def bureau(request: pytest.FixtureRequest) -> AsyncIterator[Bureau]:
    """On either store."""
    clock = ManualClock(BEGAN)
    cosmos = request.param == "cosmos"
    store = await open_cosmos(request.getfixturevalue("emulator"), clock) if cosmos else None
    made = await new_bureau(store or await SqliteStore.open(None, clock=clock), clock)
    yield made
    await made.services.close()


@pytest.fixture
async def local() -> AsyncIterator[Bureau]:
    clock = ManualClock(BEGAN)
    made = await new_bureau(await SqliteStore.open(None, clock=clock), clock)
    yield made
    await made.services.close()
