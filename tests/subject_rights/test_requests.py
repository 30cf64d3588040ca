"""The register under its settings: a time to cool off, and one request of a person at a time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from devhost.host import Host
from shared.core.settings import Settings
from shared.storage.containers import AUDIT_EVENTS
from tests.app import PASSWORD, UNLIMITED, Account, App, assert_problem, running
from tests.fakes import ManualClock
from tests.subject_rights.support import WHY, ask, events_of, requests, run, with_a_past


@pytest.fixture
async def cooling(host: Host, clock: ManualClock) -> AsyncIterator[App]:
    """The app with a day to think it over."""
    settings = Settings(kraftd_data=":memory:", erasure_cooling_off_hours=24, **UNLIMITED)
    async with running(host, clock, settings=settings) as app:
        yield app


async def fresh(app: App, account: Account) -> Account:
    token = (await app.login(account.email)).json()["access_token"]
    return Account(account.id, account.tenant_id, account.email, token)


async def test_a_request_cools_off_and_is_carried_out(cooling: App) -> None:
    ada = await cooling.register()
    bob = await with_a_past(cooling, ada, "bob@example.com")
    await ask(cooling, bob)
    held = (await requests(cooling, ada.tenant_id))[bob.id]
    assert (held["state"], held["cooling_off_until"]) == ("cooling_off", "2026-03-16T12:00:00.000000Z")
    cooling.clock.advance(hours=23)
    await run(cooling)
    assert (await cooling.login(bob.email)).status_code == 200
    cooling.clock.advance(hours=1)
    await run(cooling)
    assert (await cooling.login(bob.email)).status_code == 401
    assert (await requests(cooling, ada.tenant_id))[bob.id]["state"] == "running"


async def test_a_request_is_withdrawn_in_time(cooling: App) -> None:
    ada = await cooling.register()
    bob = await with_a_past(cooling, ada, "bob@example.com")
    url = f"/v1/privacy/requests/{await ask(cooling, bob)}"
    assert_problem(await cooling.client.delete(url, headers=ada.auth), 404, "not_found")
    assert (await cooling.client.delete(url, headers=bob.auth)).status_code == 204
    assert_problem(await cooling.client.delete(url, headers=bob.auth), 409, "request_running")
    cooling.clock.advance(days=2)
    await run(cooling)
    bob = await fresh(cooling, bob)
    shown = (await cooling.client.get("/v1/privacy/requests", headers=bob.auth)).json()["items"]
    assert [(each["state"], each["executed_at"]) for each in shown] == [("withdrawn", None)]
    reasons = [each["reason"] for each in await cooling.events(ada.tenant_id, "privacy.erasure")]
    assert sorted(reasons) == ["requested", "withdrawn"]


async def test_who_asks_twice_at_once_has_one_request(app: App, ada: Account) -> None:
    bob = await with_a_past(app, ada, "bob@example.com")
    body = {"reason": WHY, "password": PASSWORD}
    own = [app.client.post("/v1/privacy/erasure", json=body, headers=bob.auth) for _ in range(3)]
    url = f"/v1/admin/users/{bob.id}/erasure"
    others = [app.client.post(url, json={"reason": WHY}, headers=ada.auth) for _ in range(3)]
    answers = await asyncio.gather(*own, *others)
    assert {each.status_code for each in answers} <= {202, 412}
    assert len({each.json()["request_id"] for each in answers if each.status_code == 202}) == 1
    assert len(await app.events(ada.tenant_id, "privacy.erasure")) == 1


async def test_an_erased_event_ends_when_it_would_have(app: App, ada: Account) -> None:
    """In Cosmos DB a rewritten item begins its life anew: so it gets what is left of it."""
    bob = await with_a_past(app, ada, "bob@example.com")
    (before,) = [e for e in (await events_of(app, ada.tenant_id)).values() if e["type"] == "profile.update"]
    app.clock.advance(days=10)
    bob = await fresh(app, bob)
    await ask(app, bob)
    await run(app)
    after = await app.store.read(AUDIT_EVENTS, (ada.tenant_id, before["period"]), before["id"])
    assert "erased_at" in after
    assert before["ttl"] - after["ttl"] == after["_ts"] - before["_ts"] == 10 * 86_400 + 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "x", "password": PASSWORD}, "reason"),
        ({"reason": "x" * 501, "password": PASSWORD}, "reason"),
        ({"reason": WHY}, "password"),
        ({"password": PASSWORD}, "reason"),
        ({"reason": WHY, "password": 1}, "password"),
    ],
    ids=["short", "long", "no password", "no reason", "number"],
)
async def test_a_request_that_is_not_one(app: App, ada: Account, body: dict[str, str], field: str) -> None:
    assert_problem(
        await app.client.post("/v1/privacy/erasure", json=body, headers=ada.auth), 422, "invalid_request", field
    )
