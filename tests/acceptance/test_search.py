"""GET /events and /events/{id}: what auditors and programs find in the trail, and what searching leaves in it."""

import asyncio
from typing import Any

import httpx
import pytest

from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import period_of, rfc3339
from shared.identity.model import Role
from shared.identity.operations import NewAdmin
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import Item
from tests.app import PASSWORD, PEER, Account, App, assert_problem

EVENTS = "/v1/events"
STRANGER = "198.51.100.7"


@pytest.fixture
async def busy(app: App, ada: Account, grace: Account) -> App:
    """Two companies at work, a second between any two calls. Bob of Ada's, whose e-mail is not ASCII, fails once."""
    for email in ("bob@münchen.example", "eve@example.com"):
        app.clock.advance(seconds=1)
        await app.join(ada, email, Role.AUDITOR)
    for account in (ada, grace):
        for password in (PASSWORD, "wrong"):
            app.clock.advance(seconds=1)
            await app.login(account.email, password)
    app.clock.advance(seconds=1)
    await app.client.get("/v1/profile", headers=ada.auth)
    app.clock.advance(seconds=1)
    await app.login("bob@münchen.example", "wrong")
    app.clock.advance(seconds=1)
    return app


async def key_of(app: App, admin: Account, *scopes: str) -> dict[str, str]:
    """Headers of a program with an API key of its own."""
    body = {"name": "collector", "scopes": list(scopes or ("events:read",))}
    made = await app.client.post("/v1/admin/api-keys", json=body, headers=admin.auth)
    app.clock.advance(seconds=1)
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def search(app: App, auth: dict[str, str], **params: Any) -> list[Item]:
    """All pages of a search."""
    wanted = {name.rstrip("_"): value for name, value in params.items()}
    found: list[Item] = []
    while True:
        answer = await app.client.get(EVENTS, params=wanted, headers=auth)
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if answer.json()["next_cursor"] is None:
            return found
        wanted["cursor"] = answer.json()["next_cursor"]


async def searches(app: App, account: Account) -> list[Item]:
    return await app.events(account.tenant_id, "audit.search")


async def test_an_auditor_finds_everything_of_the_own_company_newest_first(
    busy: App, ada: Account, grace: Account
) -> None:
    eve = (await busy.login("eve@example.com")).json()
    busy.clock.advance(seconds=1)
    there = await busy.events(ada.tenant_id)
    found = await search(busy, {"Authorization": f"Bearer {eve['access_token']}"}, limit=4)
    assert [each["id"] for each in found] == [each["id"] for each in reversed(there)]
    assert {each["tenant_id"] for each in found} == {ada.tenant_id}
    assert grace.id not in str(found)
    failed = found[1]
    assert (failed["type"], failed["outcome"], failed["reason"]) == ("auth.login", "failure", "bad_credentials")
    assert failed["personal"] == {failed["target"]["id"]: {"email": "bob@münchen.example", **_client(failed)}}


def _client(event: Item) -> dict[str, str]:
    """Where a call came from, as every event of a person says."""
    (personal,) = event["personal"].values()
    assert personal["ip"] == PEER[0]
    return {name: personal[name] for name in ("ip", "user_agent")}


async def test_filters_hold_together(busy: App, ada: Account) -> None:
    middle = "2026-03-15T12:00:03Z"
    for params, expected in (
        ({"type": "auth.login"}, 3),
        ({"type": ["auth.login", "profile.*"]}, 4),
        ({"type": "auth.*", "outcome": "failure"}, 2),
        ({"type": "auth.*", "outcome": "failure", "email": ada.email}, 1),
        ({"actor": ada.id, "type": "profile.view"}, 1),
        ({"target": ada.id, "severity": "info", "data_class": "none", "type": "auth.login"}, 2),
        ({"subject": ada.id, "type": "auth.login", "from": middle}, 2),
        ({"subject": ada.id, "type": "auth.login", "to": middle}, 0),
        ({"ip": PEER[0], "type": "profile.view"}, 1),
        ({"ip": STRANGER}, 0),
        ({"severity": "critical"}, 0),
        ({"type": "of.nobody"}, 0),
    ):
        assert len(await search(busy, ada.auth, **params)) == expected, params


async def test_a_person_is_found_by_any_spelling_of_the_e_mail(busy: App, ada: Account) -> None:
    spellings = (
        "bob@münchen.example",
        "BOB@MÜNCHEN.example",
        "Bob@xn--mnchen-3ya.example",
        "bob@mu\u0308nchen.example",
    )
    ids = [[each["id"] for each in await search(busy, ada.auth, type="auth.*", email=email)] for email in spellings]
    assert len(ids[0]) == 2, "the registration and the failed login"
    assert ids == [ids[0]] * len(spellings)
    assert await search(busy, ada.auth, email="b\u043eb@münchen.example") == [], "a Cyrillic look-alike is someone else"


async def test_addresses_are_found_by_any_spelling(app: App, ada: Account) -> None:
    app.clock.advance(seconds=1)
    transport = httpx.ASGITransport(app=app.host.asgi, client=("2001:db8::7", 50000))
    async with httpx.AsyncClient(transport=transport, base_url=app.client.base_url) as elsewhere:
        await elsewhere.post("/v1/login", json={"email": ada.email, "password": "wrong"})
    for spelling in ("2001:db8::7", "2001:DB8:0:0:0:0:0:7", "2001:0db8::0007"):
        (event,) = await search(app, ada.auth, ip=spelling)
        assert event["personal"][ada.id]["ip"] == "2001:db8::7"
    assert len(await search(app, ada.auth, ip=f"::ffff:{PEER[0]}", type="auth.register")) == 1


async def test_pages_neither_repeat_nor_skip_while_events_arrive(busy: App, ada: Account) -> None:
    there = [each["id"] for each in reversed(await busy.events(ada.tenant_id))]
    params: dict[str, Any] = {"limit": 3}
    seen: list[str] = []
    while True:
        body = (await busy.client.get(EVENTS, params=params, headers=ada.auth)).json()
        seen += [each["id"] for each in body["items"]]
        await busy.login(ada.email)  # two at the same moment
        await busy.login(ada.email)
        busy.clock.advance(seconds=1)
        if body["next_cursor"] is None:
            break
        params["cursor"] = body["next_cursor"]
    assert seen == there


async def test_a_search_is_in_the_trail_once_and_its_filters_are_sealed(busy: App, ada: Account) -> None:
    found = await search(busy, ada.auth, limit=2, type=["auth.login", "auth.register"], email="Ada@example.com")
    assert len(found) == 3
    (event,) = await searches(busy, ada)
    assert event["record_count"] == 2, "those of the first page"
    assert event["attributes"] == {"log": "events", "filtered_by": ["email", "type"], "criteria": None}
    sealed = event["personal"][ada.id]["data"]["filters"]
    assert sealed == {"email": "Ada@example.com", "type": ["auth.login", "auth.register"]}
    assert "Ada@" not in str({name: value for name, value in event.items() if name != "personal"})
    assert (event["actor"]["id"], event["source"]["kind"]) == (ada.id, "session")


async def test_searching_for_searches_adds_one_each_time(app: App, ada: Account) -> None:
    for count in range(4):
        app.clock.advance(seconds=1)
        assert len(await search(app, ada.auth, type="audit.search")) == count


async def test_a_program_polls_the_trail_and_sees_nothing_personal(busy: App, ada: Account) -> None:
    program = await key_of(busy, ada)
    found = await search(busy, program, ip=PEER[0], type="auth.login", email=ada.email)
    assert [each["personal"] for each in found] == [{ada.id: {"withheld": True}}] * 2
    busy.clock.advance(seconds=1)
    shown = await busy.client.get(f"{EVENTS}/{found[0]['id']}", headers=program)
    assert shown.json() == found[0]
    for secret in (ada.email, PEER[0], "User-Agent"):
        assert secret not in str(found)
        assert secret not in shown.text
    busy.clock.advance(seconds=1)
    polled = await search(busy, program, from_=rfc3339(busy.clock.now()))
    assert polled == [], "what it did itself is older, or not there yet"
    first, second, _ = await searches(busy, ada)
    assert first["attributes"] == {
        "log": "events",
        "filtered_by": ["email", "ip", "type"],
        "criteria": {"type": ["auth.login"]},
    }
    assert second["attributes"]["criteria"] == {"id": found[0]["id"]}
    for event in (first, second):
        assert (event["actor"]["kind"], event["source"]["kind"], event["personal"]) == ("service", "api_key", {})
        assert ada.email not in str(event), "whom it searched for is nobody's to keep: no person did it"


async def test_a_key_reads_the_trail_with_the_scope_and_not_without(app: App, ada: Account) -> None:
    event = (await app.events(ada.tenant_id))[0]
    other = await key_of(app, ada, "events:write", "alerts:read", "reports:read", "ledger:read")
    for path in (EVENTS, f"{EVENTS}/{event['id']}"):
        assert_problem(await app.client.get(path, headers=other), 403, "forbidden")
    assert await searches(app, ada) == []


async def test_one_event_is_read_by_its_id_and_that_is_an_event_too(busy: App, ada: Account) -> None:
    listed = await search(busy, ada.auth, type="auth.register", email=ada.email)
    busy.clock.advance(seconds=1)
    answer = await busy.client.get(f"{EVENTS}/{listed[0]['id'].upper()}", headers=ada.auth)
    assert answer.json() == listed[0]
    *_, event = await searches(busy, ada)
    assert (event["record_count"], event["attributes"]["filtered_by"]) == (1, ["id"])
    assert event["personal"][ada.id]["data"]["filters"] == {"id": listed[0]["id"]}
    unknown = await busy.client.get(f"{EVENTS}/{listed[0]['id']}", params={"proof": "maybe"}, headers=ada.auth)
    assert_problem(unknown, 422, "invalid_request", "proof")


async def test_an_event_of_another_company_is_none(busy: App, ada: Account, grace: Account) -> None:
    theirs = (await busy.events(grace.tenant_id))[0]["id"]
    for wanted in (theirs, "ffffffff-ffff-7fff-bfff-ffffffffffff", "5c0f5a4e-33b9-4d0a-8a5f-0000000000aa"):
        busy.clock.advance(seconds=1)
        assert_problem(await busy.client.get(f"{EVENTS}/{wanted}", headers=ada.auth), 404, "not_found")
        (*_, denied) = await busy.events(ada.tenant_id, "access.denied")
        assert (denied["reason"], denied["target"]) == ("unknown_id", {"kind": "event", "id": wanted})
    assert await searches(busy, ada) == []


async def test_of_an_erased_person_an_event_says_only_that(app: App, ada: Account) -> None:
    event = (await app.events(ada.tenant_id, "auth.register"))[0]
    erased = {**event, "personal": {}, "actor_key": None, "target_key": None, "ip_key": None, "ua_key": None}
    erased["erased_at"] = rfc3339(app.clock.now())
    await app.store.replace(AUDIT_EVENTS, (ada.tenant_id, event["period"]), erased)
    assert await search(app, ada.auth, type="auth.register", email=ada.email) == [], "no longer found by it"
    for auth in (ada.auth, await key_of(app, ada)):
        shown = (await app.client.get(f"{EVENTS}/{event['id']}", headers=auth)).json()
        assert shown["personal"] == {ada.id: {"erased": True}}
        assert shown["erased_at"] == erased["erased_at"]
        assert [each["id"] for each in await search(app, auth, subject=ada.id, type="auth.register")] == [event["id"]]


async def test_a_cursor_serves_its_search_and_nothing_else(busy: App, ada: Account, grace: Account) -> None:
    program, other = await key_of(busy, ada), await key_of(busy, ada)
    again = {"Authorization": f"Bearer {(await busy.login(ada.email)).json()['access_token']}"}
    own = {"limit": "2", "type": "auth.*"}

    async def cursor_of(auth: dict[str, str]) -> str:
        cursor: str = (await busy.client.get(EVENTS, params=own, headers=auth)).json()["next_cursor"]
        return cursor

    by_ada, by_program = await cursor_of(ada.auth), await cursor_of(program)
    attempts: list[tuple[dict[str, str], dict[str, str]]] = [
        ({**own, "cursor": by_ada}, grace.auth),
        ({**own, "cursor": by_ada}, again),
        ({**own, "cursor": by_ada}, program),
        ({**own, "cursor": by_program}, ada.auth),
        ({**own, "cursor": by_program}, other),
        ({"limit": "2", "cursor": by_ada}, ada.auth),
        ({**own, "type": "auth.login", "cursor": by_ada}, ada.auth),
        ({**own, "outcome": "success", "cursor": by_ada}, ada.auth),
        ({**own, "cursor": by_ada[:-4]}, ada.auth),
        ({**own, "cursor": "x" * 2000}, ada.auth),
    ]
    before = len(await searches(busy, ada))
    for params, auth in attempts:
        assert_problem(await busy.client.get(EVENTS, params=params, headers=auth), 422, "invalid_request", "cursor")
    assert len(await searches(busy, ada)) == before
    other_size = {**own, "limit": "1", "cursor": by_program}
    assert (await busy.client.get(EVENTS, params=other_size, headers=program)).status_code == 200
    busy.clock.advance(minutes=15)
    assert_problem(
        await busy.client.get(EVENTS, params={**own, "cursor": by_program}, headers=program),
        422,
        "invalid_request",
        "cursor",
    )


async def test_a_search_ends_with_its_session_or_key(busy: App, ada: Account) -> None:
    eve = (await busy.login("eve@example.com")).json()
    auth = {"Authorization": f"Bearer {eve['access_token']}"}
    params: dict[str, str] = {"limit": "1"}
    params["cursor"] = (await busy.client.get(EVENTS, params=params, headers=auth)).json()["next_cursor"]
    (user,) = [
        each
        for each in (await busy.client.get("/v1/admin/users?q=eve", headers=ada.auth)).json()["items"]
        if each["email"] == "eve@example.com"
    ]
    gone = await busy.client.delete(f"/v1/admin/users/{user['id']}?reason=left", headers=ada.auth)
    assert gone.status_code == 204
    assert_problem(await busy.client.get(EVENTS, params=params, headers=auth), 401, "invalid_token")
    assert_problem(await busy.client.get(EVENTS, params=params, headers=ada.auth), 422, "invalid_request", "cursor")


async def test_what_is_no_filter_is_named(app: App, ada: Account) -> None:
    for query, field in (
        ("type=auth", "type.0"),
        ("type=", "type.0"),
        ("type=*", "type.0"),
        ("type=auth.login&type=auth.%25", "type.1"),
        ("&".join(["type=auth.login"] * 21), "type"),
        ("outcome=maybe", "outcome"),
        ("severity=HIGH", "severity"),
        ("actor=a%20b", "actor"),
        ("target=" + "x" * 65, "target"),
        ("subject=%00", "subject"),
        ("email=ada", "email"),
        ("email=ada@example.com&email=bob@example.com", "email"),
        ("ip=300.1.1.1", "ip"),
        ("ip=fe80::1%25eth0", "ip"),
        ("data_class=secret", "data_class"),
        ("from=yesterday", "from"),
        ("from=2026-03-15T12:00:00", "from"),
        ("from=2026-03-15T12:00:00Z&to=2026-03-15T11:59:59Z", "to"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1e3", "limit"),
        ("offset=100000000", "offset"),
        ("sort=type", "sort"),
    ):
        assert_problem(await app.client.get(f"{EVENTS}?{query}", headers=ada.auth), 422, "invalid_request", field)
    assert await searches(app, ada) == []
    many = "&".join(f"type=custom.x{n}" for n in range(19)) + "&type=auth.*"
    assert (await app.client.get(f"{EVENTS}?{many}&limit=200", headers=ada.auth)).json()["items"]


async def test_searching_goes_back_through_months(app: App, ada: Account) -> None:
    expected = []
    for days in (20, 40, 60):
        app.clock.advance(days=days)
        await app.login(ada.email)
        expected.append(period_of(app.clock.now()))
    auth = {"Authorization": f"Bearer {(await app.login(ada.email)).json()['access_token']}"}
    for limit in (1, 200):
        found = await search(app, auth, type="auth.login", limit=limit)
        assert [each["period"] for each in found] == [expected[-1], *reversed(expected)]
    spring = await search(app, auth, type="auth.login", from_="2026-04-01T00:00:00Z", to="2026-07-01T00:00:00Z")
    assert [each["period"] for each in spring] == ["2026-05", "2026-04"]


async def test_an_operator_reads_the_platforms_trail_and_no_customers(busy: App, ada: Account) -> None:
    await busy.login("nobody@example.com", "wrong")
    await busy.services.operations.make_system_admin(NewAdmin("root@example.com", PASSWORD, "Some", "Operator"))
    busy.clock.advance(seconds=1)
    root = {"Authorization": f"Bearer {(await busy.login('root@example.com')).json()['access_token']}"}
    found = await search(busy, root)
    assert {each["tenant_id"] for each in found} == {PLATFORM_TENANT}
    assert "unknown_account" in {each["reason"] for each in found}
    theirs = (await busy.events(ada.tenant_id))[0]["id"]
    assert_problem(await busy.client.get(f"{EVENTS}/{theirs}", headers=root), 404, "not_found")
    mine = found[0]["id"]
    assert_problem(await busy.client.get(f"{EVENTS}/{mine}", headers=ada.auth), 404, "not_found")


async def test_many_searches_at_once_are_each_in_the_trail(busy: App, ada: Account) -> None:
    answers: list[httpx.Response] = await asyncio.gather(
        *(busy.client.get(EVENTS, params={"type": "auth.*"}, headers=ada.auth) for _ in range(12))
    )
    assert {each.status_code for each in answers} == {200}
    assert len({each.content for each in answers}) == 1
    assert len(await searches(busy, ada)) == 12
