from collections.abc import AsyncIterator

import httpx
import pytest

from devhost.host import Host
from tests.devhost.fakes import APPS


@pytest.fixture(scope="session")
async def web() -> Host:
    return await Host.load(APPS / "web")


@pytest.fixture
async def client(web: Host) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=web.asgi, client=("203.0.113.9", 50000))
    async with web, httpx.AsyncClient(transport=transport, base_url="http://kraftd.test/kraftd/api") as opened:
        yield opened
