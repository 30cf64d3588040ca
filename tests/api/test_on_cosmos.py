"""The app on Cosmos DB from end to end: over HTTPS to the emulator, its change feed driving the functions."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from devhost.host import Host
from shared.privacy.secrets import MemorySecrets, SecretsError
from shared.storage.containers import AUDIT_EVENTS, CONTAINERS, IDENTITY
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import FEED_START, Eq, Query
from shared.wiring import build_services
from tests.app import Account, App, running
from tests.cosmos_emulator.emulator import Emulator
from tests.fakes import ManualClock
from tests.faults import Call, FaultyFeedStore
from tests.storage.conftest import open_cosmos


@dataclass
class World:
    """The app with its database at the emulator; `store` fails on demand when an event is published."""

    app: App
    store: FaultyFeedStore
    emulator: Emulator
    database: str

    def split(self, *tenants: str) -> None:
        """More physical partitions for each container that tenants share."""
        for tenant_id in tenants:
            for name in ("audit_events", "identity", "alerts", "reports"):
                self.emulator.control("split", {"database": self.database, "container": name, "prefix": [tenant_id]})

    def asked(self) -> list[str]:
        """The operations that reached the account since the last look."""
        return [each["operation"] for each in self.emulator.log(self.database)]

    async def entries(self, tenant_id: str) -> int:
        """Outbox entries that wait in a tenant."""
        return len((await self.store.query(IDENTITY, (tenant_id,), Query((Eq("kind", "outbox"),)))).items)


@pytest.fixture
async def world(host: Host, clock: ManualClock, emulator: Emulator) -> AsyncIterator[World]:
    cosmos = await open_cosmos(emulator, clock)
    store = FaultyFeedStore(cosmos, counts=publishing)
    async with running(host, clock, store) as app:
        yield World(app, store, emulator, cosmos._client._account.database)
        emulator.faults(cosmos._client._account.database)


async def attacked(app: App, account: Account) -> None:
    for _ in range(6):
        assert (await app.login(account.email, "a guess")).status_code == 401
        app.clock.advance(seconds=20)


def publishing(call: Call) -> bool:
    return call.container == AUDIT_EVENTS.name and call.operation == "create"


async def test_an_attack_becomes_trail_alert_and_report(world: World) -> None:
    app = world.app
    ada, grace = await app.register("ada@example.com"), await app.register("grace@example.org")
    world.split(ada.tenant_id, grace.tenant_id)
    await attacked(app, ada)
    assert await app.host.drain_feed() > 0
    alerts = (await app.client.get("/v1/alerts", headers=ada.auth)).json()["items"]
    assert [(each["pattern"], each["key"], each["count"]) for each in alerts] == [("brute_force", ada.id, 6)]
    assert (await app.client.get("/v1/alerts", headers=grace.auth)).json()["items"] == []
    log = (await app.client.get("/v1/admin/logs/authorization", headers=ada.auth)).json()["items"]
    assert [each["outcome"] for each in log if each["type"] == "auth.login"] == ["failure"] * 6
    assert not any(name.startswith("_") for each in log for name in each)
    assert await app.host.run_timer("daily_reports")
    (report,) = (await app.client.get("/v1/reports", headers=ada.auth)).json()["items"]
    assert report["by_type"]["auth.login"] == {"failure": 6}
    assert report["alerts_raised"]["total"] == 1
    await app.host.drain_feed()
    assert await app.host.drain_feed() == 0, "the feed settles"


async def test_what_a_fault_left_in_the_outbox_is_published_by_the_feed(world: World) -> None:
    app = world.app
    world.store.arm(1, times=None)
    ada = await app.register()
    assert world.store.failed
    assert await app.events(ada.tenant_id) == []
    assert await world.entries(ada.tenant_id) == 1
    world.store.mend()
    await app.host.drain_feed()
    assert await app.types(ada.tenant_id) == ["auth.register", "consent.grant", "consent.grant"]
    assert await world.entries(ada.tenant_id) == 0


@pytest.mark.parametrize("fault", [{"status": 429, "headers": {"x-ms-retry-after-ms": "5"}}, {"action": "drop"}])
async def test_a_feed_that_falters_loses_nothing(world: World, fault: dict[str, object]) -> None:
    app = world.app
    ada = await app.register()
    await attacked(app, ada)
    world.emulator.faults(world.database, {"operation": "change_feed", "skip": 1, **fault})
    await app.host.drain_feed()
    assert len((await app.client.get("/v1/alerts", headers=ada.auth)).json()["items"]) == 1


async def test_a_restarted_host_goes_on_where_it_was(host: Host, clock: ManualClock, emulator: Emulator) -> None:
    secrets = MemorySecrets()
    store = await open_cosmos(emulator, clock)
    async with running(host, clock, store, secrets=secrets) as app:
        ada = await app.register()
        await attacked(app, ada)
        await app.host.drain_feed()
    account = store._client._account
    again = await CosmosStore.open(
        account.endpoint, clock=clock, database=account.database, key=account.key, accept_self_signed=True
    )
    async with running(host, clock, again, secrets=secrets) as app:
        assert await app.host.drain_feed() == 0
        await app.login(ada.email, "a guess")
        assert await app.host.drain_feed() > 0
        items = (await app.client.get("/v1/alerts", headers=ada.auth)).json()["items"]
        assert [each["count"] for each in items] == [7]


async def test_health_costs_one_write_and_one_read(world: World) -> None:
    world.asked()
    answer = await world.app.client.get("/v1/health/ready")
    assert answer.status_code == 200
    assert answer.json()["checks"]["feed"] == {"status": "unknown", "lag_seconds": None}
    assert world.asked() == ["upsert", "read"]


async def test_secrets_in_memory_open_a_database_once(host: Host, clock: ManualClock, emulator: Emulator) -> None:
    store = await open_cosmos(emulator, clock)
    async with running(host, clock, store) as app:
        await app.register()
    account = store._client._account
    again = await CosmosStore.open(
        account.endpoint, clock=clock, database=account.database, key=account.key, accept_self_signed=True
    )
    with pytest.raises(SecretsError, match="indexed under another one"):
        await build_services(app.services.settings, clock=clock, store=again)


async def test_an_account_that_refuses_is_not_ready(world: World) -> None:
    world.emulator.faults(world.database, {"status": 403, "times": 99})
    answer = await world.app.client.get("/v1/health/ready")
    checks = answer.json()["checks"]
    assert (answer.status_code, checks["store"]["status"], checks["secrets"]["status"]) == (503, "failed", "ok")


def delivered(world: World, container: str) -> str:
    """A container's changes as the Functions host hands them over: all that is stored, and more."""
    feed = {"a-im": "Incremental feed", "x-ms-documentdb-partitionkeyrangeid": "0"}
    _, _, body = world.emulator.request("GET", f"/dbs/{world.database}/colls/{container}/docs", headers=feed)
    assert all({"_rid", "_self", "_lsn", "_write"} <= set(each) for each in body["Documents"])
    return json.dumps(body["Documents"])


async def test_what_the_functions_host_delivers_is_handled_and_its_fields_go_nowhere(world: World) -> None:
    app = world.app
    ada = await app.register()
    world.store.arm(1, times=1)
    await app.client.post("/v1/logout", headers=ada.auth)
    assert await world.entries(ada.tenant_id) == 1
    world.store.mend()
    await attacked(app, ada)
    for name, container in (("drain_identity", "identity"), ("detect_threats", "audit_events")):
        assert await app.host.run_by_hand(name, delivered(world, container))
        await asyncio.gather(*app.host._by_hand)
    assert await world.entries(ada.tenant_id) == 0
    types = await app.types(ada.tenant_id)
    assert [types.count(each) for each in ("auth.logout", "auth.login", "alert.raise")] == [1, 6, 1]
    for each in CONTAINERS.values():
        for change in await world.store.changes(each, FEED_START, 1000):
            nested = json.dumps([value for name, value in change.item.items() if name not in ("_etag", "_ts")])
            assert each.name != "dead_letters", nested
            assert '"_' not in nested
