"""What the app asks of its account before it serves: strong consistency, and every container."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from typing import Any

import azure.functions as func
import pytest

from functions import ENDPOINTS
from functions._http import http_function
from shared.core.settings import Settings
from shared.storage._cosmos_definition import definition
from shared.storage.containers import CONTAINERS
from shared.storage.cosmos import CosmosStore
from shared.storage.errors import NotProvisioned, Unavailable
from shared.wiring import LazyServices, build_services
from shared.wiring.adapters import open_store
from tests.cosmos_emulator.emulator import KEY, Emulator
from tests.fakes import ManualClock

DATABASE = "started"


@pytest.fixture
def account(emulator: Emulator) -> Iterator[Emulator]:
    emulator.create_database(DATABASE, [definition(each, ttl_days=100) for each in CONTAINERS.values()])
    yield emulator
    emulator.control("account", {"consistency": "Strong", "refused": None})
    emulator.faults(DATABASE)
    emulator.delete_database(DATABASE)


def settings(account: Emulator, **changes: Any) -> Settings:
    chosen = {
        "kraftd_data": ":memory:",
        "cosmos_db_endpoint": account.endpoint,
        "cosmos_db_key": KEY,
        "cosmos_db_name": DATABASE,
        "cosmos_db_emulator": True,
        **changes,
    }
    return Settings(**chosen)


async def refused(chosen: Settings, caplog: pytest.LogCaptureFixture) -> str:
    """Why no store is opened; the log says it, too."""
    with caplog.at_level(logging.ERROR), pytest.raises(NotProvisioned) as caught:
        await open_store(chosen, ManualClock())
    reason = str(caught.value)
    (record,) = [each.getMessage() for each in caplog.records if each.name == "shared.wiring.adapters"]
    assert record.startswith("store_not_provisioned ")
    assert reason in record
    assert KEY not in record
    return reason


async def test_a_whole_account_is_served_from(account: Emulator) -> None:
    services = await build_services(settings(account), clock=ManualClock())
    await services.store.ping()
    assert isinstance(services.store, CosmosStore)
    await services.close()


@pytest.mark.parametrize("level", ["BoundedStaleness", "Session", "ConsistentPrefix", "Eventual"])
async def test_weaker_consistency_is_refused(account: Emulator, caplog: pytest.LogCaptureFixture, level: str) -> None:
    account.control("account", {"consistency": level})
    reason = await refused(settings(account), caplog)
    assert reason == f"the account of COSMOS_DB_ENDPOINT has {level} consistency: make Strong its default consistency"


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"cosmos_db_name": "nowhere"}, "the account has no database nowhere"),
        ({"cosmos_db_audit_container": "trail"}, f"database {DATABASE} lacks trail"),
    ],
)
async def test_what_is_missing_is_named_and_how_to_make_it(
    account: Emulator, caplog: pytest.LogCaptureFixture, changes: dict[str, str], missing: str
) -> None:
    reason = await refused(settings(account, **changes), caplog)
    assert reason == f"{missing}: run python -m shared.storage.provision"


async def test_every_container_is_looked_for(account: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    for name in CONTAINERS:
        account.request("DELETE", f"/dbs/{DATABASE}/colls/{name}")
    listed = ", ".join(sorted(CONTAINERS))
    assert f"database {DATABASE} lacks {listed}: " in await refused(settings(account), caplog)


async def test_an_account_that_is_repaired_is_served_from_without_a_restart(account: Emulator) -> None:
    services = LazyServices(settings(account))
    account.control("account", {"consistency": "Session"})
    for _ in range(2):
        with pytest.raises(NotProvisioned):
            await services.get()
    account.control("account", {"consistency": "Strong"})
    first, second = await asyncio.gather(services.get(), services.get())
    assert first is second
    await services.close()


async def test_an_account_that_is_not_there_is_unavailable(account: Emulator) -> None:
    with socket.socket() as reserved:  # bound, not listening: connections are refused
        reserved.bind(("127.0.0.1", 0))
        absent = settings(account, cosmos_db_endpoint=f"https://127.0.0.1:{reserved.getsockname()[1]}/")
        with pytest.raises(Unavailable) as caught:
            await open_store(absent, ManualClock())
    assert not isinstance(caught.value, NotProvisioned), "it may well be provisioned"


async def test_an_account_that_refuses_us_is_unavailable(account: Emulator) -> None:
    account.control("account", {"refused": {"path": "/", "status": 401}})
    with pytest.raises(Unavailable, match="401"):
        await open_store(settings(account), ManualClock())


async def store_on(account: Emulator, **options: Any) -> CosmosStore:
    options = {"database": DATABASE, "key": KEY, "accept_self_signed": True, "clock": ManualClock(), **options}
    return await CosmosStore.open(options.pop("endpoint", account.endpoint), **options)


async def test_silence_ends_with_the_deadline(account: Emulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        store = await store_on(account, endpoint=endpoint, deadline_seconds=0.5)
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await store.verify()
        await store.close()


async def test_a_closed_store_looks_at_nothing(account: Emulator) -> None:
    store = await store_on(account)
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.verify()
    assert store._client._client is None


async def test_a_request_meets_503_until_the_account_is_right(account: Emulator) -> None:
    """The edge answers; what is wrong stays in the log."""
    services = LazyServices(settings(account))
    profile = http_function(next(each for each in ENDPOINTS if each.name == "get_profile"), services)
    request = func.HttpRequest("GET", "http://kraftd.test/api/v1/profile", headers={}, body=b"")
    account.control("account", {"consistency": "Session"})
    answer = await profile(request)
    assert answer.status_code == 503
    assert b"store_unavailable" in answer.get_body()
    assert b"Session" not in answer.get_body()
    account.control("account", {"consistency": "Strong"})
    assert (await profile(request)).status_code == 401
    await services.close()
