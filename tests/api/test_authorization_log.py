import asyncio

import httpx
import jwt
import pytest

from shared.identity.model import Role
from shared.privacy.secrets import derive
from tests.app import PEER, Account, App, assert_problem

LOG = "/v1/admin/logs/authorization"


async def _traffic(app: App, account: Account) -> None:
    await app.login(account.email)
    app.clock.advance(seconds=1)
    await app.login(account.email, "wrong")
    app.clock.advance(seconds=1)
    await app.client.get("/v1/profile", headers=account.auth)
    app.clock.advance(seconds=1)


async def test_it_shows_the_newest_first_with_personal_data_opened(app: App, ada: Account) -> None:
    app.clock.advance(seconds=1)
    await _traffic(app, ada)
    answer = await app.client.get(LOG, headers=ada.auth)
    items = answer.json()["items"]
    assert [(i["type"], i["outcome"]) for i in items] == [
        ("auth.login", "failure"),
        ("auth.login", "success"),
        ("auth.register", "success"),
    ]
    assert items[0]["personal"][ada.id]["ip"] == PEER[0]
    assert not any(name.startswith("_") or name == "ttl" for item in items for name in item)


async def test_it_holds_nothing_but_authorization(app: App, ada: Account) -> None:
    await _traffic(app, ada)
    await app.client.get(LOG, headers=ada.auth)
    everything = {e["type"] for e in await app.events(ada.tenant_id)}
    assert {"profile.view", "consent.grant", "audit.search"} <= everything
    answer = await app.client.get(LOG, params={"type": ["profile.view", "consent.*", "audit.*"]}, headers=ada.auth)
    assert answer.json()["items"] == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"outcome": "failure"}, 1),
        ({"type": "auth.login"}, 2),
        ({"type": "auth.*"}, 3),
        ({"type": ["auth.login", "auth.register"]}, 3),
        ({"type": "access.*"}, 0),
        ({"severity": "info"}, 3),
        ({"severity": "critical"}, 0),
        ({"ip": PEER[0]}, 3),
        ({"ip": "::ffff:203.0.113.9"}, 3),
        ({"ip": "203.0.113.1"}, 0),
        ({"email": "ADA@example.com"}, 3),
        ({"email": "grace@example.org"}, 0),
        ({"data_class": "none"}, 3),
        ({"from": "2026-03-15T12:00:01Z"}, 1),
        ({"to": "2026-03-15T12:00:01Z"}, 2),
        ({"from": "2026-03-15T13:00:00+01:00", "to": "2026-03-15T12:00:00.000001Z"}, 2),
        ({"from": "2027-01-01T00:00:00Z"}, 0),
        ({"outcome": "success", "type": "auth.login", "email": "ada@example.com", "ip": PEER[0]}, 1),
    ],
)
async def test_filters_hold_together(app: App, ada: Account, filters: dict[str, str], expected: int) -> None:
    await _traffic(app, ada)
    answer = await app.client.get(LOG, params=filters, headers=ada.auth)
    assert len(answer.json()["items"]) == expected, answer.text


async def test_filters_by_id(app: App, ada: Account, grace: Account) -> None:
    await _traffic(app, ada)
    for name, expected in (("actor", 2), ("target", 3), ("subject", 3)):
        mine = await app.client.get(LOG, params={name: ada.id}, headers=ada.auth)
        assert len(mine.json()["items"]) == expected
        foreign = await app.client.get(LOG, params={name: ada.id}, headers=grace.auth)
        assert foreign.json()["items"] == []


async def test_a_search_is_one_event_not_one_per_page(app: App, ada: Account) -> None:
    for _ in range(3):
        await _traffic(app, ada)
    params: dict[str, str] = {"limit": "2", "email": "Ada@example.com"}
    seen: list[str] = []
    while True:
        body = (await app.client.get(LOG, params=params, headers=ada.auth)).json()
        seen += [item["id"] for item in body["items"]]
        await _traffic(app, ada)  # what arrives while one pages is not in the pages to come
        if body["next_cursor"] is None:
            break
        params["cursor"] = body["next_cursor"]
    assert len(seen) == len(set(seen)) == 7
    searches = await app.events(ada.tenant_id, "audit.search")
    assert len(searches) == 1
    assert searches[0]["record_count"] == 2
    assert searches[0]["attributes"] == {
        "log": "authorization",
        "filtered_by": ["email"],
        "criteria": None,
    }
    assert searches[0]["personal"][ada.id]["data"]["filters"] == {"email": "Ada@example.com"}


async def test_a_cursor_is_bound_to_its_search(app: App, ada: Account, grace: Account) -> None:
    await _traffic(app, ada)
    await _traffic(app, grace)
    cursor = (await app.client.get(LOG, params={"limit": "1"}, headers=ada.auth)).json()["next_cursor"]
    other_session = {"Authorization": f"Bearer {(await app.login(ada.email)).json()['access_token']}"}
    for params, headers in (
        ({"cursor": cursor, "outcome": "failure"}, ada.auth),
        ({"cursor": cursor}, grace.auth),
        ({"cursor": cursor}, other_session),
        ({"cursor": cursor[:-2]}, ada.auth),
        ({"cursor": ("B" if cursor[0] == "A" else "A") + cursor[1:]}, ada.auth),
        ({"cursor": "=="}, ada.auth),
        ({"cursor": "\u00fc"}, ada.auth),
        ({"cursor": ""}, ada.auth),
    ):
        assert_problem(await app.client.get(LOG, params=params, headers=headers), 422, "invalid_request", "cursor")
    elsewhere = await app.client.get("/v1/alerts", params={"cursor": cursor}, headers=ada.auth)
    assert_problem(elsewhere, 422, "invalid_request", "cursor")


async def test_a_cursor_ends_after_fifteen_minutes(app: App, ada: Account) -> None:
    await _traffic(app, ada)
    cursor = (await app.client.get(LOG, params={"limit": "1"}, headers=ada.auth)).json()["next_cursor"]
    app.clock.advance(minutes=14)
    assert (await _page_of_the_same_session(app, ada, cursor)).status_code == 200
    app.clock.advance(minutes=1)
    assert_problem(await _page_of_the_same_session(app, ada, cursor), 422, "invalid_request", "cursor")


async def _page_of_the_same_session(app: App, account: Account, cursor: str) -> httpx.Response:
    """Sessions outlive access tokens: ask with a fresh token of the same session."""
    old = jwt.decode(account.token, options={"verify_signature": False})
    root = (await app.services.secrets.versions("tokens"))[0]
    now = int(app.clock.now().timestamp())
    token = jwt.encode(
        old | {"iat": now, "exp": now + 60}, derive(root.value, "access-token"), headers={"kid": root.version}
    )
    return await app.client.get(LOG, params={"cursor": cursor}, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("role", [Role.VIEWER, Role.USER])
async def test_a_role_that_may_not_is_refused_and_audited(app: App, ada: Account, role: Role) -> None:
    await app.give_role(ada, role)
    answer = await app.client.get(LOG, params={"email": "someone@example.com"}, headers=ada.auth)
    assert_problem(answer, 403, "forbidden")
    event = (await app.events(ada.tenant_id, "access.denied"))[0]
    assert (event["outcome"], event["reason"], event["severity"]) == ("denied", "role", "low")
    given = {name: value for name, value in event["attributes"].items() if value}
    assert given == {"required_role": "auditor", "held_role": role.value}
    assert event["context"]["route"] == "GET /v1/admin/logs/authorization"
    assert event["actor"] == {"kind": "user", "id": ada.id, "role": role.value}


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.TENANT_ADMIN])
async def test_auditors_and_admins_may(app: App, ada: Account, role: Role) -> None:
    await app.give_role(ada, role)
    assert (await app.client.get(LOG, headers=ada.auth)).status_code == 200


async def test_many_searches_at_once_are_each_audited(app: App, ada: Account) -> None:
    answers = await asyncio.gather(*(app.client.get(LOG, headers=ada.auth) for _ in range(20)))
    assert {a.status_code for a in answers} == {200}
    assert len(await app.events(ada.tenant_id, "audit.search")) == 20
