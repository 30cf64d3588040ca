from collections.abc import AsyncIterator

import pytest_asyncio

from tests.identity.gate import Gate, new_gate


@pytest_asyncio.fixture
async def gate() -> AsyncIterator[Gate]:
    async with new_gate() as made:
        yield made
