import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import pytest

from devhost.host import Host
from tests.devhost.fakes import APPS


@contextmanager
def imports_restored() -> Iterator[None]:
    """Leave neither a sample app's directory on the path nor its `function_app` among the modules."""
    path, module = sys.path[:], sys.modules.get("function_app")
    try:
        yield
    finally:
        sys.path[:] = path
        sys.modules.pop("function_app", None)
        if module is not None:
            sys.modules["function_app"] = module


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    with imports_restored():
        yield


@pytest.fixture(scope="session")
async def web() -> Host:
    with imports_restored():
        return await Host.load(APPS / "web")


@pytest.fixture
async def client(web: Host) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=web.asgi, client=("203.0.113.9", 50000))
    async with web, httpx.AsyncClient(transport=transport, base_url="http://kraftd.test/kraftd/api") as opened:
        yield opened
