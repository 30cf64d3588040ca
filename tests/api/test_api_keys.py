"""API keys under hostile hands. What is right is told in tests/acceptance/test_api_keys.py."""

import asyncio
from typing import Any

import httpx
import pytest

from functions import ENDPOINTS
from functions._api import Endpoint
from shared.identity.api_keys import api_key_key
from shared.identity.model import TENANT_ITEM
from shared.storage.containers import IDENTITY
from shared.storage.documents import PatchSet, Query
from tests.app import Account, App, assert_problem
from tests.calls import NOWHERE, QUERIES, path_of
from tests.faults import FaultyFeedStore

ALL = ["events:write", "events:read", "alerts:read", "reports:read", "ledger:read"]
FOR_PEOPLE = [e for e in ENDPOINTS if e.who is not None and e.scope is None]
FOR_KEYS = [e for e in ENDPOINTS if e.scope is not None]


async def make(app: App, by: Account, *scopes: str, **more: Any) -> dict[str, Any]:
    body = {"name": "a reader", "scopes": list(scopes or ALL)} | more
    answer = await app.client.post("/v1/admin/api-keys", json=body, headers=by.auth)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def bearer(made: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['key']}"}


async def get(app: App, key: str, path: str = "/v1/alerts", **params: str) -> httpx.Response:
    return await app.client.get(path, params=params, headers={"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize("endpoint", FOR_PEOPLE, ids=lambda e: e.name)
async def test_an_endpoint_without_a_scope_is_not_for_keys(app: App, ada: Account, endpoint: Endpoint) -> None:
    """The tenant hears of it: a key that tries doors may be stolen."""
    made = await make(app, ada)
    before = await app.types(ada.tenant_id)
    headers = {"Authorization": f"Bearer {made['key']}"}
    answer = await app.client.request(endpoint.method, path_of(endpoint), headers=headers)
    assert_problem(answer, 403, "forbidden")
    assert sorted(await app.types(ada.tenant_id)) == sorted([*before, "access.denied"])
    (event,) = await app.events(ada.tenant_id, "access.denied")
    assert (event["reason"], event["actor"]["kind"], event["actor"]["id"]) == ("scope", "service", made["id"])
    assert event["source"] == {"kind": "api_key", "id": made["id"]}
    assert (event["personal"], event["subjects"]) == ({}, [])


@pytest.mark.parametrize("endpoint", FOR_KEYS, ids=lambda e: e.name)
async def test_the_scope_decides(app: App, ada: Account, endpoint: Endpoint) -> None:
    assert endpoint.scope in ALL
    right = await make(app, ada, str(endpoint.scope))
    wrong = await make(app, ada, *(set(ALL) - {endpoint.scope}))
    path, params = path_of(endpoint), QUERIES.get(endpoint.name, {})
    await app.host.drain_feed()  # so that there is a ledger
    allowed = 422 if endpoint.method == "POST" else 404 if NOWHERE in (path + str(params)) else 200
    answers = [
        await app.client.request(endpoint.method, path, params=params, headers=bearer(key)) for key in (right, wrong)
    ]
    assert answers[0].status_code == allowed
    assert_problem(answers[1], 403, "forbidden")
    (event,) = [e for e in await app.events(ada.tenant_id, "access.denied") if e["reason"] == "scope"]
    assert {name: value for name, value in event["attributes"].items() if value} == {
        "held_role": "service",
        "required_scope": endpoint.scope,
    }


async def test_the_scopes_that_the_contract_names() -> None:
    assert {e.name: e.scope for e in FOR_KEYS} == {
        "list_alerts": "alerts:read",
        "list_events": "events:read",
        "get_event": "events:read",
        "write_events": "events:write",
        "export_events": "events:read",
        "get_alert": "alerts:read",
        "list_reports": "reports:read",
        "get_report": "reports:read",
        "get_ledger_checkpoint": "ledger:read",
        "get_ledger_key": "ledger:read",
        "list_ledger_shards": "ledger:read",
        "get_ledger_proof": "ledger:read",
        "get_ledger_consistency": "ledger:read",
        "get_ledger_tile": "ledger:read",
    }


async def test_what_does_not_hold_is_401_and_counted(app: App, ada: Account, grace: Account) -> None:
    made, other = await make(app, ada), await make(app, grace)
    (head, record, secret), (other_head, other_record, other_secret) = (x["key"].split(".") for x in (made, other))
    forged = (
        "kak_",
        "kak_x.y.z",
        made["key"] + "x",
        f"{head}.{record}.{other_secret}",
        f"{other_head}.{record}.{secret}",
        f"{head}.{other_record}.{secret}",
        f"kak_platform.{record}.{secret}",
        made["key"].replace("kak_", "ki_"),
        made["key"].upper(),
        f"{head}.{record}.{secret[::-1]}",
        "kak_" + "x" * 7000,
    )
    for key in forged:
        answer = await get(app, key)
        assert_problem(answer, 401, "invalid_token")
        assert answer.headers["www-authenticate"] == "Bearer"
    app.clock.advance(minutes=2)
    assert await app.host.run_timer("flush_rejections")
    assert sum(e["attributes"]["count"] for e in await app.events(type_="auth.token_rejected")) == len(forged)
    assert (await get(app, made["key"])).status_code == 200


async def test_a_revoked_key_is_good_for_nothing_at_once(app: App, ada: Account) -> None:
    made = await make(app, ada)
    assert (await get(app, made["key"])).status_code == 200
    gone = f"/v1/admin/api-keys/{made['id']}"
    assert (await app.client.delete(gone, headers=ada.auth)).status_code == 204
    assert_problem(await get(app, made["key"]), 401, "invalid_token")
    assert_problem(await app.client.delete(gone, headers=ada.auth), 404, "not_found")
    assert len(await app.events(ada.tenant_id, "apikey.revoke")) == 1


async def test_an_expired_key(app: App, ada: Account) -> None:
    made = await make(app, ada, expires_at="2026-03-15T13:00:00+00:00")
    assert made["expires_at"] == "2026-03-15T13:00:00.000000Z"
    assert (await get(app, made["key"])).status_code == 200
    app.clock.advance(hours=1)
    assert_problem(await get(app, made["key"]), 401, "invalid_token")
    assert [e["reason"] for e in await app.events(type_="auth.token_rejected")] == ["expired"]


async def test_a_key_of_a_suspended_tenant(app: App, ada: Account) -> None:
    made = await make(app, ada)
    await app.store.patch(IDENTITY, (ada.tenant_id,), TENANT_ITEM, [PatchSet("status", "suspended")])
    assert_problem(await get(app, made["key"]), 401, "invalid_token")
    assert [e["reason"] for e in await app.events(type_="auth.token_rejected")] == ["tenant_suspended"]


async def test_a_key_sees_its_own_tenant_alone(app: App, ada: Account, grace: Account) -> None:
    for _ in range(6):
        await app.login(ada.email, "a guess")
    await app.host.drain_feed()
    mine, theirs = await make(app, ada), await make(app, grace)
    assert len((await get(app, mine["key"])).json()["items"]) == 1
    assert (await get(app, theirs["key"])).json()["items"] == []
    for key_id in (mine["id"], NOWHERE):
        answer = await app.client.delete(f"/v1/admin/api-keys/{key_id}", headers=grace.auth)
        assert_problem(answer, 404, "not_found")
    assert [each["id"] for each in (await _listed(app, grace))] == [theirs["id"]]


async def _listed(app: App, who: Account) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await app.client.get("/v1/admin/api-keys", headers=who.auth)).json()["items"]
    return items


async def test_a_cursor_is_bound_to_the_key(app: App, ada: Account) -> None:
    app.clock.advance(days=3)
    token = (await app.login(ada.email)).json()["access_token"]
    admin = Account(ada.id, ada.tenant_id, ada.email, token)
    assert await app.host.run_timer("daily_reports")
    one, two = await make(app, admin), await make(app, admin)
    cursor = (await get(app, one["key"], "/v1/reports", limit="1")).json()["next_cursor"]
    assert cursor
    assert (await get(app, one["key"], "/v1/reports", cursor=cursor)).status_code == 200
    for other in (two["key"], token):
        assert_problem(await get(app, other, "/v1/reports", cursor=cursor), 422, "invalid_request", "cursor")


async def test_reading_a_report_with_a_key_is_its_event_and_nobodys_person(app: App, ada: Account) -> None:
    made = await make(app, ada)
    app.clock.advance(days=1, hours=2)
    assert await app.host.run_timer("daily_reports")
    (report, *_) = (await get(app, made["key"], "/v1/reports")).json()["items"]
    assert (await get(app, made["key"], f"/v1/reports/{report['id']}")).status_code == 200
    (event,) = await app.events(ada.tenant_id, "report.read")
    assert event["actor"] == {"kind": "service", "id": made["id"], "role": None}
    assert event["source"] == {"kind": "api_key", "id": made["id"]}
    assert (event["personal"], event["subjects"], event["actor_key"]) == ({}, [], None)
    assert event["context"]["session_id"] is None


async def test_use_is_noted_once_an_hour(app: App, ada: Account) -> None:
    made = await make(app, ada)

    async def used() -> tuple[str | None, str]:
        held = await app.store.read(IDENTITY, (ada.tenant_id,), api_key_key(made["id"]))
        return held["last_used_at"], held["_etag"]

    assert (await used())[0] is None
    await asyncio.gather(*(get(app, made["key"]) for _ in range(5)))
    first = await used()
    assert first[0] == "2026-03-15T12:00:00.000000Z"
    app.clock.advance(minutes=59)
    await get(app, made["key"])
    assert await used() == first, "no write"
    app.clock.advance(minutes=1)
    await get(app, made["key"])
    assert (await used())[0] == "2026-03-15T13:00:00.000000Z"
    assert [each["last_used_at"] for each in await _listed(app, await _again(app, ada))] == [(await used())[0]]


async def _again(app: App, account: Account) -> Account:
    token = (await app.login(account.email)).json()["access_token"]
    return Account(account.id, account.tenant_id, account.email, token)


async def test_revoked_while_in_use(app: App, ada: Account) -> None:
    """Between the check and the note of its use."""
    made = await make(app, ada)
    store = FaultyFeedStore(app.store)
    keys = app.services.api_keys
    keys._store = store
    patch = store.patch

    async def revoke_first(*args: Any, **more: Any) -> Any:
        await app.client.delete(f"/v1/admin/api-keys/{made['id']}", headers=ada.auth)
        return await patch(*args, **more)

    store.patch = revoke_first  # type: ignore[method-assign] # a rival at the worst moment
    assert_problem(await get(app, made["key"]), 401, "invalid_token")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 7}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": "alerts:read"}, "scopes"),
        ({"scopes": ["alerts:write"]}, "scopes.0"),
        ({"scopes": ["alerts:read", "*"]}, "scopes.1"),
        ({"scopes": ["alerts:read"] * 6}, "scopes"),
        ({"expires_at": None}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": "2026-03-15T12:00:00Z"}, "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"key": "kak_mine"}, "key"),
        ({"id": NOWHERE}, "id"),
        ({"tenant_id": NOWHERE}, "tenant_id"),
    ],
)
async def test_a_wrong_field_is_named(app: App, ada: Account, body: dict[str, Any], field: str) -> None:
    good = {"name": "a reader", "scopes": ["alerts:read"]}
    answer = await app.client.post("/v1/admin/api-keys", json=good | body, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", field)
    assert await _listed(app, ada) == []


async def test_scopes_given_twice_are_kept_once(app: App, ada: Account) -> None:
    made = await make(app, ada, "reports:read", "alerts:read", "reports:read")
    assert made["scopes"] == ["alerts:read", "reports:read"]


async def test_the_secret_is_nowhere_but_in_the_answer(
    app: App, ada: Account, caplog: pytest.LogCaptureFixture
) -> None:
    made = await make(app, ada)
    secret = made["key"].split(".")[2]
    await get(app, made["key"])
    await get(app, made["key"] + "x")
    items = (await app.store.query(IDENTITY, (ada.tenant_id,), Query(limit=1000))).items
    for text in (str(await _listed(app, ada)), str(items), str(await app.events(ada.tenant_id)), caplog.text):
        assert secret not in text


async def test_an_open_endpoint_does_not_look_at_a_key(app: App) -> None:
    answer = await app.client.get("/v1/health/live", headers={"Authorization": "Bearer kak_x"})
    assert answer.status_code == 200
