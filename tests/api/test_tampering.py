"""The database is edited past the app, on either store: the next check raises an alert, and who holds a bundle and an
export finds it alone."""

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from azure.cosmos.aio import ContainerProxy, CosmosClient

from devhost.host import Host
from shared.core.ids import IdFactory
from shared.ledger.shards import BrokenShard
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import Item
from shared.storage.sqlite import SqliteStore
from tests.app import Account, App, running
from tests.cosmos_emulator.emulator import KEY, Emulator
from tests.exporting import joined, walk
from tests.fakes import ManualClock
from tests.ledger.bundles import bundle_of
from tests.ledger.evidence import save
from tests.storage.conftest import LOCAL, open_cosmos
from tools import verify_evidence as verifier

PERIOD, DAY, NEXT_DAY = "2026-03", "2026-03-15", "2026-03-16"


class Raw(Protocol):
    """A database as somebody sees it who has its keys and not the app."""

    async def read(self, container: str, item_id: str) -> Item: ...
    async def write(self, container: str, item: Item, stored_at: int) -> None: ...
    async def delete(self, container: str, item: Item) -> None: ...


class RawSqlite:
    """The file, without the app's own numbering of changes: its feed notices nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self._path, timeout=10)
        with connection:
            found = connection.execute(sql, values).fetchall()
        connection.close()
        return found

    async def read(self, container: str, item_id: str) -> Item:
        [(body,)] = self._run(f"SELECT body FROM items_{container} WHERE id = ?", item_id)  # noqa: S608 - names of ours
        found: Item = json.loads(body)
        return found

    async def write(self, container: str, item: Item, stored_at: int) -> None:
        values = (item["tenant_id"], item["period"], item["id"])
        where = "p0 = ? AND p1 = ? AND id = ?"
        if self._run(f"SELECT 1 FROM items_{container} WHERE {where}", *values):  # noqa: S608 - names of ours
            self._run(f"UPDATE items_{container} SET body = ? WHERE {where}", json.dumps(item), *values)  # noqa: S608 - names of ours
            return
        [(lowest,)] = self._run(f"SELECT min(position) FROM items_{container}")  # noqa: S608 - names of ours
        columns = "position, p0, p1, id, ts, expires, body"
        row = (lowest - 1, *values, stored_at, 2**63 - 1, json.dumps(item))
        self._run(f"INSERT INTO items_{container} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", *row)  # noqa: S608 - names of ours

    async def delete(self, container: str, item: Item) -> None:
        self._run(f"DELETE FROM items_{container} WHERE p1 = ? AND id = ?", item["period"], item["id"])  # noqa: S608 - names of ours


class RawCosmos:
    """The SDK's client: whatever it writes comes through the change feed, deletions excepted."""

    def __init__(self, client: CosmosClient, database: str) -> None:
        self._database = client.get_database_client(database)
        self._partitions: dict[str, list[str]] = {}

    def _container(self, name: str) -> ContainerProxy:
        return self._database.get_container_client(name)

    async def read(self, container: str, item_id: str) -> Item:
        query = self._container(container).query_items(
            "SELECT * FROM c WHERE c.id = @id", parameters=[{"name": "@id", "value": item_id}]
        )
        [found] = [each async for each in query]
        return {name: value for name, value in found.items() if not name.startswith("_")}

    async def write(self, container: str, item: Item, stored_at: int) -> None:
        await self._container(container).upsert_item(item)

    async def delete(self, container: str, item: Item) -> None:
        await self._container(container).delete_item(item["id"], partition_key=[item["tenant_id"], item["period"]])


@dataclass
class World:
    """The app, its database from behind, and a tenant with a day of history that is sealed and was checked."""

    app: App
    raw: Raw
    ada: Account
    event: Item

    async def check(self) -> list[str]:
        """What one run of the timer finds."""
        assert await self.app.host.run_timer("verify_ledger")
        await self.app.host.drain_feed()
        return sorted(
            e["attributes"]["what"] for e in await self.app.events(self.ada.tenant_id, "ledger.verify_failed")
        )

    async def alerts(self) -> list[tuple[str, str]]:
        """Severity and month of the alerts about the ledger, as an administrator sees them."""
        answer = await self.app.client.get("/v1/alerts?pattern=ledger_integrity", headers=self.ada.auth)
        return [(alert["severity"], alert["key"]) for alert in answer.json()["items"]]

    async def export(self, folder: Path) -> str:
        """The day's events, as the service shows them."""
        await self.sign_in()
        span = {"from": f"{DAY}T00:00:00Z", "to": f"{NEXT_DAY}T00:00:00Z"}
        path = folder / "trail.jsonl"
        path.write_bytes(joined(await walk(self.app, self.ada.auth, **span)))
        return str(path)

    async def bundle(self, folder: Path) -> tuple[list[str], str]:
        """The day's bundle, and the key to check it with."""
        services = self.app.services
        keys, tenant_id = services.ledger_keys, self.ada.tenant_id
        parts = services.store, keys, services.checkpoints
        data = await bundle_of(*parts, tenant_id, DAY, NEXT_DAY, PERIOD)
        return save(folder, [data]), (await keys.verifiers(keys.shard(tenant_id, PERIOD)))[0].encode()

    async def verify(self, folder: Path) -> verifier.Checks:
        """What somebody finds who has a bundle and an export."""
        paths, vkey = await self.bundle(folder)
        return verifier.verify(paths, [vkey], events=[await self.export(folder)])

    async def sign_in(self) -> None:
        self.ada.token = (await self.app.login(self.ada.email)).json()["access_token"]


@pytest.fixture(params=LOCAL)
async def world(request: pytest.FixtureRequest, host: Host, clock: ManualClock, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "sqlite":
        path = tmp_path / "store.sqlite"
        async with running(host, clock, await SqliteStore.open(path, clock=clock)) as app:
            yield await settled(app, RawSqlite(path))
        return
    emulator: Emulator = request.getfixturevalue("emulator")
    store: CosmosStore = await open_cosmos(emulator, clock)
    async with (
        CosmosClient(emulator.endpoint, KEY, connection_verify=False) as client,
        running(host, clock, store) as app,
    ):
        yield await settled(app, RawCosmos(client, store._client._account.database))


async def settled(app: App, raw: Raw) -> World:
    ada = await app.register("ada@example.com")
    for _ in range(5):
        app.clock.advance(minutes=1)
        assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200
    await app.host.drain_feed()
    app.clock.advance(days=1)
    event = (await app.events(ada.tenant_id, "profile.view"))[2]
    world = World(app, raw, ada, {name: value for name, value in event.items() if not name.startswith("_")})
    for _ in range(2):
        assert await world.check() == []
        app.clock.advance(minutes=20)
    return world


def stored_at(event: Item) -> int:
    return int(datetime.fromisoformat(event["recorded_at"]).timestamp())


async def edit(world: World) -> None:
    await world.raw.write("audit_events", world.event | {"outcome": "failure"}, stored_at(world.event))


async def delete(world: World) -> None:
    await world.raw.delete("audit_events", world.event)


async def redate(world: World) -> None:
    later = world.event | {"recorded_at": f"{DAY}T23:00:00.000000Z"}
    await world.raw.write("audit_events", later, stored_at(world.event))


async def move(world: World) -> None:
    await world.raw.delete("audit_events", world.event)
    other = world.event | {"recorded_at": "2026-02-20T00:00:00.000000Z", "period": "2026-02"}
    await world.raw.write("audit_events", other, stored_at(world.event))


async def insert_behind(world: World) -> None:
    """With an id and a time that fit; on SQLite its time of storage is forged, too."""
    at = datetime.fromisoformat(world.event["recorded_at"]) + timedelta(seconds=1)
    forged = world.event | {
        "id": IdFactory(world.app.clock).new(at),
        "recorded_at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    world.event = forged
    await world.raw.write("audit_events", forged, stored_at(forged))
    world.app.clock.advance(minutes=20)


async def delete_both(world: World) -> None:
    await world.raw.delete("audit_events", world.event)
    await world.raw.delete("ledger", world.event)


async def edit_entry(world: World) -> None:
    entry = await world.raw.read("ledger", world.event["id"])
    changed = entry | {"entry": entry["entry"].replace('"outcome":"success"', '"outcome":"failure"')}
    await world.raw.write("ledger", changed, stored_at(world.event))


async def edit_both(world: World) -> None:
    await edit(world)
    await edit_entry(world)


type Tamper = Callable[[World], Awaitable[None]]

TAMPERED: dict[str, tuple[Tamper, set[str], str]] = {
    "edited": (edit, {"edited"}, "1 is not what was sealed: {id}"),
    "deleted": (delete, {"deleted"}, "1 is sealed, and not in the export: {id}"),
    "redated": (redate, {"edited"}, "1 is not what was sealed: {id}"),
    "moved": (move, {"deleted"}, "1 is sealed, and not in the export: {id}"),
    "entry edited": (edit_entry, {"entries"}, "the entries do not give the signed root"),
    "entry and event edited": (edit_both, {"edited", "entries"}, "the entries do not give the signed root"),
}
"""How; what the timer has to find at least (the feed may find more); what the verifier says."""


@pytest.mark.parametrize("name", TAMPERED)
async def test_one_run_raises_an_alert_and_outsiders_find_it_alone(world: World, tmp_path: Path, name: str) -> None:
    tamper, expected, said = TAMPERED[name]
    before = await world.verify(tmp_path)
    assert before.result == verifier.OK, verifier.table(before)
    await tamper(world)
    found = await world.check()
    assert expected <= set(found)
    assert set(found) <= {*expected, "unsealable"}
    await world.sign_in()
    assert ("critical", PERIOD) in await world.alerts()
    after = await world.verify(tmp_path)
    assert after.result == verifier.WRONG
    assert said.format(id=world.event["id"]) in verifier.table(after)
    assert set(await world.check()) == set(found)


async def test_what_was_inserted_behind_is_found(world: World, tmp_path: Path) -> None:
    """Sealed where the time of storage betrays it; where that is forged, too, no entry stands for it."""
    await insert_behind(world)
    found = await world.check()
    await world.sign_in()
    assert await world.alerts() == [("critical", PERIOD)]
    checks = await world.verify(tmp_path)
    if found == ["not_sealed"]:
        assert f"1 is in the export, and never sealed: {world.event['id']}" in verifier.table(checks)
    else:
        assert found == ["inserted_behind"]
        assert checks.result == verifier.WRONG
        assert f"inserted_behind of {PERIOD}" in verifier.table(checks)


async def test_an_event_that_is_gone_with_its_entry_leaves_a_gap(world: World, tmp_path: Path) -> None:
    await delete_both(world)
    assert await world.check() == ["entries"]
    await world.sign_in()
    assert await world.alerts() == [("critical", PERIOD)]
    with pytest.raises(BrokenShard):
        await world.bundle(tmp_path)
