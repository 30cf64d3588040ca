"""What is not verified stays on this machine: neither an account nor a proxy leads an emulator's store away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientConnectionError

from shared.storage import _cosmos_client
from shared.storage.containers import IDENTITY
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import Query
from shared.storage.errors import Unavailable
from tests.cosmos_emulator.emulator import KEY, Emulator
from tests.fakes import ManualClock
from tests.storage.conftest import open_cosmos

T1 = ("t1",)
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


class Listener:
    """Remembers the first line of every connection, and hangs up."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.port = 0

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(b"")
        self.heard[-1] = (await reader.read(4096)).partition(b"\r\n")[0]
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.hear, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener


async def works(store: CosmosStore) -> None:
    """Calls of each kind, all of which the account answers."""
    await store.verify()
    await store.create(IDENTITY, T1, {"id": "a", "tenant_id": "t1"})
    await store.read(IDENTITY, T1, "a")
    assert len((await store.query(IDENTITY, T1, Query())).items) == 1
    await store.delete(IDENTITY, T1, "a")


async def test_an_emulator_whose_account_names_another_host_is_not_followed(emulator: Emulator) -> None:
    async with listening() as foreign:
        emulator.control("account", {"endpoint": f"https://127.0.0.1:{foreign.port}/"})
        try:
            store = await open_cosmos(emulator, ManualClock(), deadline_seconds=5)
            await works(store)
            await store.close()
        finally:
            emulator.control("account", {"endpoint": None})
        assert foreign.heard == []


async def test_an_emulator_is_spoken_to_through_no_proxy(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with listening() as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        store = await open_cosmos(emulator, ManualClock(), deadline_seconds=5)
        await works(store)
        await store.close()
        assert proxy.heard == []


async def test_an_account_is_spoken_to_through_the_proxy_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its certificate is verified, whoever passes the bytes on."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with listening() as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        store = await CosmosStore.open(
            "https://account.example.com/", clock=ManualClock(), database="d", key=KEY, deadline_seconds=2
        )
        with pytest.raises(Unavailable):
            await store.read(IDENTITY, T1, "a")
        await store.close()
        assert set(proxy.heard) == {b"CONNECT account.example.com:443 HTTP/1.1"}


async def test_an_emulator_s_session_sends_nothing_anywhere_else(emulator: Emulator) -> None:
    """Whatever the SDK may come to ask of it."""
    account = _cosmos_client.Account(emulator.endpoint, "d", KEY, accept_self_signed=True)
    async with listening() as foreign, _cosmos_client._session(account) as session:
        for url in (
            f"https://127.0.0.1:{foreign.port}/",
            f"http://127.0.0.1:{foreign.port}/",
            f"https://localhost:{foreign.port}/",
            "https://foreign.example.com:9/",
        ):
            with pytest.raises(ClientConnectionError, match="another host"):
                await session.get(url, ssl=False)
        async with session.get(emulator.endpoint, ssl=False) as answer:
            assert answer.status == 200
        assert foreign.heard == []
