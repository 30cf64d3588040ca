"""The ledger's endpoints against a store that fails at any one call: no entry is shown that the trail does not tell of,
nothing is signed that does not hold, and no fault of the store is taken for a broken ledger."""

import httpx
import pytest

from shared.audit.export_runs import ABANDONED_AFTER
from shared.ledger.checkpoint import open_checkpoint
from shared.ledger.checkpoints import SIGN_EVERY
from shared.ledger.evidence import Limits
from shared.storage.documents import Item
from tests.api.broken import MODES, MOST_CALLS, Broken, walk
from tests.api.test_faults import LEDGER
from tests.calls import PERIOD
from tests.exporting import fill, next_of

BUNDLE = "/v1/ledger/bundle?from=2026-03-15&to=2026-03-16"
PATHS = {
    "get_ledger_checkpoint": "/v1/ledger/checkpoint",
    "get_ledger_key": "/v1/ledger/key",
    "get_ledger_consistency": "/v1/ledger/consistency?from=2",
    "get_ledger_tile": f"/v1/ledger/{PERIOD}/tile/0/000",
    "get_ledger_tile, entries": f"/v1/ledger/{PERIOD}/tile/entries/000",
    "get_ledger_proof": "/v1/ledger/proof?event_id={event}",
    "get_event, proof": "/v1/events/{event}?proof=true",
    "get_ledger_bundle": BUNDLE,
}
SHOWING = {
    "get_ledger_tile, entries": "audit.search",
    "get_ledger_proof": "audit.search",
    "get_event, proof": "audit.search",
    "get_ledger_bundle": "audit.export",
}
"""What shows entries, and the event that each answer has."""


@pytest.fixture
async def broken(broken: Broken) -> Broken:
    """With entries, and time to sign them."""
    await fill(broken.app, broken.ada, 300)
    await broken.app.host.drain_feed()
    broken.app.clock.advance(seconds=SIGN_EVERY.total_seconds())
    return broken


async def program(broken: Broken) -> dict[str, str]:
    """Who outlives a walk: an API key; for bundles, which are not for keys, a session that is made anew."""
    body = {"name": "x", "scopes": ["ledger:read", "events:read"]}
    answer = await broken.app.client.post("/v1/admin/api-keys", json=body, headers=broken.ada.auth)
    return {"Authorization": f"Bearer {answer.json()['key']}"}


async def recorded(broken: Broken, kind: str) -> list[Item]:
    return await broken.app.events(broken.ada.tenant_id, kind)


def test_every_endpoint_of_the_ledger_is_walked() -> None:
    assert {name.partition(",")[0] for name in PATHS} - {"get_event"} == LEDGER


@pytest.mark.parametrize("name", PATHS)
async def test_a_call(broken: Broken, name: str) -> None:
    app, ada = broken.app, broken.ada
    app.services.evidence._limits = Limits(entries=10**6)  # one part, however much is sealed
    event = (await app.events(ada.tenant_id))[5]
    path, began = PATHS[name].format(event=event["id"]), app.clock.now()
    headers = ada.auth if name == "get_ledger_bundle" else await program(broken)
    answered: list[int] = []

    async def request(_: Broken) -> httpx.Response:
        app.clock.advance(seconds=0.001)
        return await app.client.get(path, headers=headers)

    async def check(_: Broken, status: int) -> None:
        assert status in (200, 503)
        answered.append(status)
        app.clock.set(began)

    await walk(broken, request, check)
    assert answered.count(200) >= len(MODES)
    assert await recorded(broken, "ledger.verify_failed") == []
    if name in SHOWING:
        assert answered.count(200) <= len(await recorded(broken, SHOWING[name])) <= len(answered)
    checkpoint = await app.client.get("/v1/ledger/checkpoint", headers=ada.auth)
    origin = f"localhost/ledger/{ada.tenant_id}/{PERIOD}"
    keys = await app.services.ledger_keys.verifiers(origin)
    assert len(keys) == 1
    assert open_checkpoint(checkpoint.content, origin, keys)[0].size >= 300


async def test_every_part_is_counted_once_whatever_fails(broken: Broken) -> None:
    app, ada, store = broken.app, broken.ada, broken.store
    app.services.evidence._limits = Limits(entries=256)
    first = await app.client.get(BUNDLE, headers=ada.auth)
    assert (first.headers["x-record-count"], first.headers.get("link") is None) == ("256", False)
    size = (await app.services.shards.head(ada.tenant_id, PERIOD)).size
    began = app.clock.now()
    app.clock.advance(seconds=ABANDONED_AFTER.total_seconds() + 1)
    assert await app.host.run_timer("close_exports")
    counted = {each["id"] for each in await recorded(broken, "audit.export")}
    app.clock.set(began)
    for failing in (1, 2):
        for mode, times in MODES:
            for k in range(1, MOST_CALLS):
                token = (await app.login(ada.email)).json()["access_token"]
                at: str | None = BUNDLE
                taken, reached, whole = 0, False, False
                for number in (1, 2):
                    assert at is not None
                    if number == failing:
                        store.arm(k, mode, times=times)
                    answer = await app.client.get(at, headers={"Authorization": f"Bearer {token}"})
                    reached = reached or (number == failing and len(store.calls) >= k)
                    store.mend()
                    if answer.status_code == 503:
                        break
                    assert answer.status_code == 200
                    taken += int(answer.headers["x-record-count"])
                    at = next_of(answer)
                    whole = at is None
                app.clock.advance(seconds=ABANDONED_AFTER.total_seconds() + 1)
                assert await app.host.run_timer("close_exports")
                assert await app.host.run_timer("sweep_outbox")
                events = [e for e in await recorded(broken, "audit.export") if e["id"] not in counted]
                counted |= {each["id"] for each in events}
                assert len(events) == 1 or (len(events) == 0 and taken == 0)
                for each in events:
                    assert 256 <= each["record_count"] <= size
                    assert taken <= each["record_count"]
                    assert (each["reason"] is None) == (each["record_count"] == size)
                assert not whole or events
                app.clock.set(began)
                if not reached:
                    break
            else:
                pytest.fail("a request without end")
