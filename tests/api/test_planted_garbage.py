"""Garbage in the database, on either store: no endpoint answers 500, and nobody else's events wait."""

import pytest

from shared.ledger.shards import head_id, rollup_id
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import Item
from tests.app import Account, App, assert_problem
from tests.exporting import ids_in, joined, walk
from tests.storage.conftest import LOCAL

PERIOD, DAY = "2026-03", "2026-03-15"
BUNDLE = f"/v1/ledger/bundle?from={DAY}&to=2026-03-16"


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def ada(app: App) -> Account:
    account = await app.register("ada@example.com")
    for _ in range(3):
        app.clock.advance(seconds=1)
        await app.client.get("/v1/profile", headers=account.auth)
    await app.host.drain_feed()
    return account


async def test_no_garbage_is_a_500_or_stops_the_feed(app: App, ada: Account) -> None:
    async def get(path: str) -> int:
        return (await app.client.get(path, headers=ada.auth)).status_code

    here = (ada.tenant_id, PERIOD)
    whole, numbered, bare = (await app.events(ada.tenant_id, "profile.view"))[:3]
    for event, change in ((numbered, {"type": 7}), (bare, {"personal": 5})):
        await app.store.replace(AUDIT_EVENTS, here, {**event, **change})
    for path in ("/v1/events", f"/v1/events/{bare['id']}"):
        assert await get(path) == 200
    assert await get(f"/v1/events/{numbered['id']}") == 404
    items = (await app.client.get("/v1/events", headers=ada.auth)).json()["items"]
    shown = {event["id"]: event for event in items}
    assert {whole["id"], bare["id"]} <= set(shown)
    assert numbered["id"] not in shown
    assert list(shown[bare["id"]]["personal"].values()) == [{"damaged": True}]
    app.clock.advance(seconds=10)
    for form in ("jsonl", "ocsf", "csv"):
        ids = ids_in(form, joined(await walk(app, ada.auth, format=form)))
        assert (whole["id"] in ids, bare["id"] in ids, numbered["id"] in ids) == (True, True, False)
    assert await get(BUNDLE) == 200

    counts = await app.store.read(LEDGER, here, rollup_id(DAY))
    for garbled in ({"day": [1]}, {"events": None}):
        await app.store.replace(LEDGER, here, {**counts, **garbled})
        assert_problem(await app.client.get(BUNDLE, headers=ada.auth), 409, "ledger_broken")
    await app.store.replace(LEDGER, here, {name: value for name, value in counts.items() if name != "day"})
    assert_problem(await app.client.get(BUNDLE, headers=ada.auth), 409, "ledger_broken")

    planted: Item = {"id": head_id("zzzz"), "tenant_id": ada.tenant_id, "period": PERIOD, "kind": "head"}
    await app.store.create(LEDGER, here, planted)
    assert await get("/v1/ledger/shards") == 200
    head = await app.store.read(LEDGER, here, head_id(PERIOD))
    await app.store.replace(LEDGER, here, {**head, "signed_at": "yesterday"})
    assert await get("/v1/ledger/shards") == 409

    await app.host.drain_feed()
    other = await app.register("eve@example.com")
    await app.host.drain_feed()
    assert (await app.store.read(LEDGER, (other.tenant_id, PERIOD), head_id(PERIOD)))["size"] > 0
    found = {e["attributes"]["what"] for e in await app.events(ada.tenant_id, "ledger.verify_failed")}
    assert found == {"box", "unsealable", "rollup", "head"}
    app.clock.advance(minutes=20)
    assert await app.host.run_timer("verify_ledger")
