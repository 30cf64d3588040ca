"""A person asks to be erased, or an administrator for them: what goes, what stays, and what the register says."""

from datetime import timedelta
from typing import Any

import pytest

from shared.identity.model import Role
from shared.storage.containers import IDENTITY, SIGNALS, SUBJECT_KEYS
from shared.storage.documents import Item, Query
from shared.storage.errors import NotFound
from shared.subject_rights.erasure import LAST, SETTLED
from shared.subject_rights.model import Person, request_key
from shared.wiring._compliance import Siblings
from tests.app import PASSWORD, Account, App, assert_problem

WHY = "wants to be forgotten"
BOB = {"first_name": "Bob", "last_name": "Builder"}


@pytest.fixture
async def bob(app: App, ada: Account) -> Account:
    """A user of Ada's tenant."""
    return await app.join(ada, "bob@example.com", Role.USER, **BOB)


async def ask(app: App, who: Account, password: str = PASSWORD) -> Any:
    body = {"reason": WHY, "password": password}
    return await app.client.post("/v1/privacy/erasure", json=body, headers=who.auth)


async def ask_for(app: App, admin: Account, who: str) -> Any:
    return await app.client.post(f"/v1/admin/users/{who}/erasure", json={"reason": WHY}, headers=admin.auth)


async def run(app: App) -> None:
    app.clock.advance(seconds=1)
    assert await app.host.run_timer("run_erasures")


async def erase(app: App) -> None:
    """Until the request is executed."""
    await run(app)
    app.clock.advance(seconds=SETTLED.total_seconds())
    await run(app)


async def signed_in(app: App, who: Account) -> Account:
    """A fresh session: the clock moves on in these stories."""
    token = (await app.login(who.email)).json()["access_token"]
    return Account(who.id, who.tenant_id, who.email, token)


async def register(app: App, who: Account) -> list[dict[str, Any]]:
    answer = await app.client.get("/v1/privacy/requests", headers=who.auth)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def told(app: App, who: Account) -> list[tuple[str, str]]:
    events = await app.events(who.tenant_id, "privacy.erasure")
    return sorted((event["outcome"], event["reason"]) for event in events)


async def stored(app: App, tenant_id: str) -> list[Item]:
    page = await app.store.query(IDENTITY, (tenant_id,), Query(limit=1000))
    return page.items


async def test_a_person_is_erased(app: App, ada: Account, bob: Account) -> None:
    """Everything personal goes; what happened, and that it did, stays."""
    await app.client.put("/v1/profile", json={"phone": "+49 30 123456", "bio": "builds"}, headers=bob.auth)
    await app.client.get(f"/v1/admin/users/{bob.id}", headers=ada.auth)
    await app.login(bob.email, "a guess")
    answer = await ask(app, bob)
    assert answer.status_code == 202
    assert answer.json()["state"] == "received"
    assert answer.json()["due_at"] == "2026-04-15T12:00:00.000000Z"
    before = {event["id"]: event for event in await app.events(ada.tenant_id)}
    (asked,) = [each for each in before.values() if each["type"] == "privacy.erasure"]
    assert asked["personal"][bob.id]["data"]["reason_text"] == WHY
    assert asked["actor"]["id"] == asked["target"]["id"] == bob.id

    await run(app)
    assert_problem(await app.client.get("/v1/profile", headers=bob.auth), 401, "invalid_token")
    assert_problem(await app.login(bob.email), 401, "invalid_credentials")
    (item,) = await register(app, ada)
    assert (item["state"], item["subject"], item["by"], item["executed_at"]) == ("running", bob.id, bob.id, None)
    app.clock.advance(seconds=SETTLED.total_seconds())
    await run(app)
    ada = await signed_in(app, ada)
    (item,) = await register(app, ada)
    assert (item["state"], item["overdue"]) == ("executed", False)
    assert item["executed_at"] == "2026-03-15T12:15:02.000000Z"
    told_of = ["user.invite", "auth.register", *["consent.grant"] * 2, "profile.update", "user.view", "auth.login"]
    assert item["counts"] == {"accounts": 1, "events": len([*told_of, "privacy.erasure"]), "items": 1}

    for event in await app.events(ada.tenant_id):
        assert bob.id not in event["personal"]
        if bob.id in event["commitments"]:
            assert event["erased_at"] == "2026-03-15T12:00:01.000000Z"
            assert event["commitments"] == before[event["id"]]["commitments"]
        if event["actor"]["id"] == bob.id:
            assert (event["actor_key"], event["ip_key"], event["ua_key"]) == (None, None, None)
    (last,) = [e for e in await app.events(ada.tenant_id, "privacy.erasure") if e["reason"] == "executed"]
    assert (last["outcome"], last["target"]["id"], last["personal"]) == ("success", bob.id, {})
    assert last["attributes"]["counts"] == item["counts"]
    assert last["attributes"]["request_id"] == item["id"] == answer.json()["request_id"]
    (gone,) = await app.events(ada.tenant_id, "user.delete")
    assert (gone["reason"], gone["actor"]["kind"], gone["target"]["id"]) == ("erasure", "system", bob.id)
    shown = await app.client.get(f"/v1/events/{asked['id']}", headers=ada.auth)
    assert shown.json()["personal"][bob.id] == {"erased": True}
    text = str([await app.store.query(IDENTITY, (ada.tenant_id,), Query(limit=1000))])
    assert bob.email not in text
    assert bob.id not in str([each for each in await stored(app, ada.tenant_id) if each["kind"] == "session"])
    assert await app.services.directory.find(bob.email) is None
    assert await app.services.directory.tenant_of(bob.id) is None
    assert (await app.store.read(SUBJECT_KEYS, (ada.tenant_id,), f"subject|{bob.id}"))["kind"] == "tombstone"
    assert await app.services.erasures.check(Person(ada.tenant_id, bob.id)) == []

    again = await app.join(ada, bob.email, Role.USER, **BOB)
    assert again.id != bob.id, "the e-mail is free, and whoever comes is somebody else"


async def test_an_e_mail_that_others_searched_for_goes(app: App, ada: Account, bob: Account) -> None:
    """It is sealed under whose it is, and not under who typed it."""
    for path in ("events?type=auth.*&email=BOB@example.com", "admin/users?q=bob@example.com"):
        answer = await app.client.get(f"/v1/{path}", headers=ada.auth)
        assert answer.status_code == 200, answer.text
    app.clock.advance(seconds=1)
    await app.client.get("/v1/events/export?email=bob@example.com", headers=ada.auth)
    app.clock.advance(seconds=1)
    for own in (ada.email, "nobody@example.com"):
        await app.client.get(f"/v1/events?email={own}", headers=ada.auth)

    async def found() -> list[dict[str, Any]]:
        events = [e for e in await app.events(ada.tenant_id) if e["type"].startswith(("audit.", "user.list"))]
        return [{who: str(box["data"]).lower() for who, box in each["personal"].items()} for each in events]

    for each in (await found())[:3]:
        assert bob.email in each[bob.id]
        assert bob.email not in each[ada.id]
    assert [set(each) for each in (await found())[3:]] == [{ada.id}] * 2, "the own e-mail, and one of nobody's"
    await ask(app, bob)
    await erase(app)
    assert [bob.email in str(each) for each in await found()] == [False] * 5
    assert all(ada.id in each for each in await found()), "who searched, and the rest of it, stays"
    (event, *_) = await app.events(ada.tenant_id, "audit.search")
    assert event["attributes"]["filtered_by"] == ["email", "type"]


async def test_what_others_hold_is_left_alone(app: App, ada: Account, bob: Account) -> None:
    """Of an event about two persons only the boxes of one go; the other's opens as before."""
    await app.client.put(f"/v1/admin/users/{bob.id}", json={"company": "Example"}, headers=ada.auth)
    await ask(app, bob)
    await erase(app)
    (event,) = await app.events(ada.tenant_id, "user.update")
    assert set(event["personal"]) == {ada.id}
    assert event["personal"][ada.id]["data"]["email"] == ada.email
    assert set(event["commitments"]) == {ada.id, bob.id}
    assert event["actor_key"] is not None
    assert event["ip_key"] is not None
    assert event["target_key"] is None


async def test_the_e_mail_goes_where_it_stands_without_an_account(app: App, ada: Account) -> None:
    """The invitation before, and the sign-ins that somebody tried with it before there was an account."""
    await app.login("bob@example.com", "a guess")
    await app.host.drain_feed()
    bob = await app.join(ada, "bob@example.com", Role.USER, **BOB)
    await app.invite(ada, "other@example.com")
    (tried,) = await app.events("platform", "auth.login")
    assert tried["ip_key"] is not None
    (signal,) = (await app.store.query(SIGNALS, (tried["ip_key"],), Query())).items
    assert signal["id"] == tried["id"]
    await ask(app, bob)
    await erase(app)
    (tried,) = await app.events("platform", "auth.login")
    assert (tried["personal"], tried["actor_key"], tried["ip_key"], tried["ua_key"]) == ({}, None, None, None)
    assert tried["erased_at"] is not None
    with pytest.raises(NotFound):
        await app.store.read(SIGNALS, (signal["ip_key"],), signal["id"])
    events = await app.events(ada.tenant_id, "user.invite")
    invited, other = sorted(events, key=lambda event: event["target_key"] is not None)
    assert set(invited["personal"]) == {ada.id}
    assert invited["target_key"] is None
    key = f"subject|{invited['target']['id']}"
    assert (await app.store.read(SUBJECT_KEYS, (ada.tenant_id,), key))["kind"] == "tombstone"
    assert other["target_key"] is not None
    assert len(other["personal"]) == 2


async def test_an_open_invitation_goes_and_a_new_one_stays(app: App, ada: Account, bob: Account) -> None:
    """Who is erased may be invited again, also before the last pass of the erasure."""
    admin = await app.join(ada, "carol@example.com", Role.TENANT_ADMIN)
    await app.client.delete(f"/v1/admin/users/{bob.id}?reason=left", headers=ada.auth)
    before = await app.invite(ada, bob.email)
    assert (await ask_for(app, admin, bob.id)).status_code == 202
    await run(app)
    after = await app.invite(ada, bob.email)
    app.clock.advance(seconds=SETTLED.total_seconds())
    await run(app)
    app.clock.advance(minutes=1)
    body = {"email": bob.email, "password": PASSWORD, **BOB, "accept_terms": True, "accept_privacy": True}
    used = [await app.client.post("/v1/register", json=body | {"invitation": each}) for each in (before, after)]
    assert [each.status_code for each in used] == [422, 201]
    app.clock.advance(days=LAST.days)
    await run(app)
    assert (await app.login(bob.email)).status_code == 200
    registered = [e for e in await app.events(ada.tenant_id, "auth.register") if e["outcome"] == "success"]
    assert [e["personal"] != {} for e in registered].count(True) == 3


async def test_a_user_who_was_deleted_is_erased_all_the_same(app: App, ada: Account, bob: Account) -> None:
    """The last profile is sealed in the trail: the e-mail is found there, and goes with it."""
    await app.client.delete(f"/v1/admin/users/{bob.id}?reason=left", headers=ada.auth)
    assert (await ask_for(app, ada, bob.id)).status_code == 202
    await erase(app)
    (event,) = await app.events(ada.tenant_id, "user.delete")
    assert set(event["personal"]) == {ada.id}
    invited = (await app.events(ada.tenant_id, "user.invite"))[0]
    assert invited["target_key"] is None
    ada = await signed_in(app, ada)
    assert [each["state"] for each in await register(app, ada)] == ["executed"]
    assert_problem(await ask_for(app, ada, bob.id), 404, "not_found")


async def test_wrong_password(app: App, ada: Account, bob: Account) -> None:
    assert_problem(await ask(app, bob, "a guess"), 403, "wrong_password")
    assert await told(app, ada) == [("failure", "wrong_password")]
    assert await register(app, bob) == []
    for _ in range(9):
        await ask(app, bob, "a guess")
    assert_problem(await ask(app, bob), 423, "account_locked")
    assert await told(app, ada) == [("failure", "locked"), *[("failure", "wrong_password")] * 10]


async def test_the_last_admin_cannot_be_erased(app: App, ada: Account, bob: Account) -> None:
    answer = await ask(app, ada)
    body = assert_problem(answer, 409, "last_admin")
    assert "make another one first" in body["detail"]
    assert await told(app, ada) == [("failure", "last_admin")]
    carol = await app.join(ada, "carol@example.com", Role.TENANT_ADMIN)
    assert (await ask(app, ada)).status_code == 202
    app.clock.advance(seconds=1)
    assert (await ask(app, carol)).status_code == 202, "neither is the last one now"
    await run(app)
    states = {each["subject"]: (each["state"], each["cause"]) for each in await register(app, carol)}
    assert states == {ada.id: ("running", None), carol.id: ("deferred", "last_admin")}
    assert ("failure", "last_admin") in await told(app, carol)
    await app.give_role(bob, Role.AUDITOR)
    dan = await app.join(carol, "dan@example.com", Role.TENANT_ADMIN)
    app.clock.advance(days=1)
    await erase(app)
    dan = await signed_in(app, dan)
    assert {each["state"] for each in await register(app, dan)} == {"executed"}


async def test_the_last_system_admin_cannot_be_erased(app: App) -> None:
    """Nor when they became it since they asked."""
    root = await app.system_admin()
    assert "system_admin: have the operator" in assert_problem(await ask(app, root), 409, "last_admin")["detail"]
    other = await app.system_admin("other@example.com")
    for each in (root, other):
        assert (await ask(app, each)).status_code == 202, "neither is the last one now"
        app.clock.advance(seconds=1)
    await run(app)
    states = {each["subject"]: (each["state"], each["cause"]) for each in await register(app, other)}
    assert states == {root.id: ("running", None), other.id: ("deferred", "last_admin")}


async def test_rank_decides_for_others(app: App, ada: Account, bob: Account) -> None:
    assert_problem(await ask_for(app, ada, ada.id), 403, "forbidden")
    assert_problem(await ask_for(app, bob, ada.id), 403, "forbidden")
    denied = await app.events(ada.tenant_id, "access.denied")
    assert sorted(event["reason"] for event in denied) == ["role", "self"]
    for event in denied:
        assert event["personal"][ada.id]["data"]["attempted"]["reason"] == WHY
    answer = await ask_for(app, ada, bob.id)
    assert answer.status_code == 202
    again = await ask_for(app, ada, bob.id)
    assert again.json() == answer.json(), "one request of a person at a time"
    assert (await ask(app, bob)).json()["request_id"] == answer.json()["request_id"]
    assert await told(app, ada) == [("success", "requested")]
    (event,) = await app.events(ada.tenant_id, "privacy.erasure")
    assert (event["actor"]["id"], event["target"]["id"]) == (ada.id, bob.id)
    assert event["personal"][bob.id]["data"]["reason_text"] == WHY


async def test_everybody_sees_the_own_requests_and_administrators_all(app: App, ada: Account, bob: Account) -> None:
    carol = await app.join(ada, "carol@example.com", Role.AUDITOR)
    await ask(app, bob)
    assert await register(app, carol) == []
    assert [each["subject"] for each in await register(app, bob)] == [bob.id]
    assert [each["subject"] for each in await register(app, ada)] == [bob.id]


async def test_a_legal_hold_defers(app: App, ada: Account, bob: Account) -> None:
    until = app.clock.now() + timedelta(days=3)
    hold = {"subject": bob.id, "reason": "a case", "until": until.isoformat()}
    answer = await app.client.put("/v1/admin/settings", json={"legal_hold": [hold]}, headers=ada.auth)
    assert answer.status_code == 200, answer.text
    await ask(app, bob)
    await run(app)
    await run(app)
    (item,) = await register(app, ada)
    assert (item["state"], item["cause"]) == ("deferred", "legal_hold")
    assert await told(app, ada) == [("failure", "legal_hold"), ("success", "requested")]
    assert (await app.client.get("/v1/profile", headers=bob.auth)).status_code == 200
    for _ in range(3):
        app.clock.advance(days=1)
        await run(app)
    ada = await signed_in(app, ada)
    (item,) = await register(app, ada)
    assert (item["state"], item["cause"]) == ("running", None)


async def test_overdue_raises_an_alert_once(app: App, ada: Account, bob: Account) -> None:
    until = app.clock.now() + timedelta(days=100)
    hold = {"reason": "a case of the whole organization", "until": until.isoformat()}
    await app.client.put("/v1/admin/settings", json={"legal_hold": [hold]}, headers=ada.auth)
    await ask(app, bob)
    for _ in range(31):
        await run(app)
        app.clock.advance(days=1)
    for _ in range(2):
        await run(app)
    ada = await signed_in(app, ada)
    (item,) = await register(app, ada)
    assert (item["state"], item["overdue"]) == ("deferred", True)
    (alert,) = (await app.client.get("/v1/alerts?pattern=overdue_request", headers=ada.auth)).json()["items"]
    assert (alert["severity"], alert["status"], alert["key"]) == ("high", "open", bob.id)
    assert alert["first_seen"] == item["due_at"] == "2026-04-15T12:00:00.000000Z"
    (asked, _) = await app.events(ada.tenant_id, "privacy.erasure")
    assert alert["event_ids"] == [asked["id"]]
    raised = await app.events(ada.tenant_id, "alert.raise")
    assert [event["attributes"]["pattern"] for event in raised] == ["overdue_request"]
    note = {"status": "acknowledged", "note": "Bob was told why"}
    handled = await app.client.patch(f"/v1/alerts/{alert['id']}", json=note, headers=ada.auth)
    assert handled.status_code == 200
    late = {"decision": "extended", "reason": "too many requests"}
    url = f"/v1/privacy/requests/{item['id']}"
    assert_problem(await app.client.patch(url, json=late, headers=ada.auth), 409, "request_overdue")
    await app.client.put("/v1/admin/settings", json={"legal_hold": []}, headers=ada.auth)
    app.clock.advance(days=1)
    await erase(app)
    ada = await signed_in(app, ada)
    (alert,) = (await app.client.get("/v1/alerts?pattern=overdue_request", headers=ada.auth)).json()["items"]
    assert [entry["note"] for entry in alert["history"]] == ["raised", None], "what people wrote of him goes"


async def test_an_administrator_extends_and_refuses(app: App, ada: Account, bob: Account) -> None:
    request_id = (await ask(app, bob)).json()["request_id"]
    url = f"/v1/privacy/requests/{request_id}"

    async def decide(what: str, **headers: str) -> Any:
        body = {"decision": what, "reason": "a good one"}
        return await app.client.patch(url, json=body, headers=ada.auth | headers)

    answer = await decide("extended")
    assert answer.status_code == 200
    assert (answer.json()["extended"], answer.json()["due_at"]) == (True, "2026-06-15T12:00:00.000000Z")
    assert_problem(await decide("extended"), 409, "request_extended")
    assert_problem(await decide("refused", **{"If-Match": '"other"'}), 412, "version_conflict")
    answer = await decide("refused", **{"If-Match": answer.headers["etag"]})
    assert answer.json()["state"] == "refused"
    assert_problem(await decide("refused"), 409, "request_running")
    assert await told(app, ada) == [("failure", "refused"), ("success", "extended"), ("success", "requested")]
    events = await app.events(ada.tenant_id, "privacy.erasure")
    (extended,) = [event for event in events if event["reason"] == "extended"]
    assert extended["attributes"]["due_at"] == "2026-06-15T12:00:00.000000Z"
    assert extended["personal"][bob.id]["data"]["reason_text"] == "a good one"
    await run(app)
    assert (await app.client.get("/v1/profile", headers=bob.auth)).status_code == 200
    assert (await ask(app, bob)).json()["request_id"] != request_id, "he may ask again"
    port, span = Siblings(app.store, app.services.settings), ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    (row,) = [each for each in await port.requests(ada.tenant_id, *span) if each.id == request_id]
    assert (row.state, row.answered_at) == ("refused", "2026-03-15T12:00:00.000000Z")
    app.clock.advance(days=200)
    partition, key = (ada.tenant_id,), request_key(request_id)
    await app.store.replace(IDENTITY, partition, await app.store.read(IDENTITY, partition, key))
    assert row in await port.requests(ada.tenant_id, *span), "answered when it was, whoever rewrites it later"


async def test_while_it_runs_nobody_takes_it_back(app: App, ada: Account, bob: Account) -> None:
    url = f"/v1/privacy/requests/{(await ask_for(app, ada, bob.id)).json()['request_id']}"
    assert_problem(await app.client.delete(url, headers=bob.auth), 404, "not_found")
    await run(app)
    assert_problem(await app.client.delete(url, headers=ada.auth), 409, "request_running")
    refused = {"decision": "refused", "reason": "too late"}
    assert_problem(await app.client.patch(url, json=refused, headers=ada.auth), 409, "request_running")


async def test_after_the_last_pass_nothing_of_the_request_leads_to_the_person(
    app: App, ada: Account, bob: Account
) -> None:
    await ask(app, bob)
    await erase(app)
    app.clock.advance(days=LAST.days)
    await run(app)
    (item,) = [each for each in await stored(app, ada.tenant_id) if each["kind"] == "subject_request"]
    assert item["state"] == "executed"
    assert not {"keys", "next_at", "work_at", "place", "pass"} & set(item)
    assert [each for each in await stored(app, ada.tenant_id) if each["kind"] == "erasure"] == []
    before = await app.events(ada.tenant_id)
    await run(app)
    assert await app.events(ada.tenant_id) == before


async def test_events_of_a_producer_are_erased_by_its_own_id(app: App, ada: Account) -> None:
    """A person who never had an account: a UUID of the producer's."""
    patient = "0195c000-0000-7000-8000-00000000beef"
    event = {
        "type": "data.read",
        "actor": {"kind": "service", "id": "billing"},
        "target": {"kind": "record", "id": "r-1"},
        "data_class": "phi",
        "personal": {patient: {"name": "Pat Ient"}},
    }
    assert (await app.client.post("/v1/events", json=event, headers=ada.auth)).status_code == 201
    assert (await ask_for(app, ada, patient)).status_code == 202
    await erase(app)
    (stored_event,) = await app.events(ada.tenant_id, "data.read")
    assert (stored_event["personal"], list(stored_event["commitments"])) == ({}, [patient])
    ada = await signed_in(app, ada)
    await app.client.post("/v1/events", json=event, headers=ada.auth)
    (_, later) = await app.events(ada.tenant_id, "data.read")
    assert (later["personal"], later["commitments"], later["subjects"]) == ({}, {}, [patient])


async def test_later_events_keep_no_hash_of_an_erased_person(app: App, ada: Account, bob: Account) -> None:
    """By a hash of the e-mail, the address or the browser they would be found again; others' hashes stay. A producer
    that goes on telling of the person holds the erasure up no more than anybody else."""

    async def tell(kind: str, actor: str, target: str) -> dict[str, Any]:
        known = {"email": bob.email, "ip": "198.51.100.213", "user_agent": "Browser/77"}
        event: dict[str, Any] = {"type": "data.read", "data_class": "phi", "actor": {"kind": kind, "id": actor}}
        others = {who: {"email": "carol@example.com", "ip": "192.0.2.1"} for who in (actor, target) if who != bob.id}
        event |= {"target": {"kind": "user", "id": target}, "personal": {bob.id: known, **others}}
        answer = await app.client.post("/v1/events", json=event, headers=ada.auth)
        assert answer.status_code == 201, answer.text
        (item,) = answer.json()["items"]
        (found,) = [each for each in await app.events(ada.tenant_id, "data.read") if each["id"] == item["id"]]
        return found

    def keys(event: dict[str, Any]) -> dict[str, Any]:
        return {name: event[name] is not None for name in ("actor_key", "target_key", "ip_key", "ua_key")}

    everything = dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key"), True)
    assert keys(await tell("user", bob.id, bob.id)) == everything
    await ask(app, bob)
    await run(app)
    nothing = dict.fromkeys(everything, False)
    assert keys(await tell("user", bob.id, bob.id)) == nothing
    assert keys(await tell("user", bob.id, "carol")) == {**nothing, "target_key": True}
    assert keys(await tell("user", "carol", bob.id)) == {**everything, "target_key": False, "ua_key": False}
    assert await app.services.erasures.check(Person(ada.tenant_id, bob.id)) == []
    app.clock.advance(seconds=SETTLED.total_seconds())
    ada = await signed_in(app, ada)
    await tell("user", bob.id, bob.id)
    await run(app)
    assert [each["state"] for each in await register(app, ada)] == ["executed"]
