"""POST /events: other services write into the trail."""

import asyncio
from typing import Any

import httpx

from shared.identity.model import Role
from tests.app import Account, App, assert_problem

PATIENT = "patient:17"
CARD = "4111 1111 1111 1111"


def event(type_: str = "custom.invoice.sent", **more: Any) -> dict[str, Any]:
    """A producer's event."""
    return {"type": type_, "actor": {"kind": "service", "id": "billing"}, **more}


async def new_key(app: App, admin: Account, *scopes: str) -> dict[str, str]:
    body = {"name": "producer", "scopes": scopes or ["events:write"]}
    made = await app.client.post("/v1/admin/api-keys", json=body, headers=admin.auth)
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def send(app: App, auth: dict[str, str], body: Any, key: str | None = None) -> httpx.Response:
    headers = auth | ({"Idempotency-Key": key} if key else {})
    return await app.client.post("/v1/events", json=body, headers=headers)


def statuses(answer: httpx.Response) -> list[str]:
    return [item["status"] for item in answer.json()["items"]]


async def test_a_service_writes_what_happened_and_the_tenant_finds_it(app: App, ada: Account, grace: Account) -> None:
    auth = await new_key(app, ada)
    nurse, target = {"kind": "user", "id": "nurse-7"}, {"kind": "record", "id": PATIENT}
    phi = {"actor": nurse, "target": target, "data_class": "phi", "subjects": ["p-17"]}
    sent = [
        event("data.read", **phi, attributes={"table": "visits"}, occurred_at="2026-03-15T11:00:00+01:00"),
        event("data.create", **phi),
        event("data.update", **phi, personal={"p-17": {"old": {"phone": "1"}, "new": {"phone": "2"}}}),
        event("data.delete", **phi, outcome="denied"),
        event("data.export", **phi, record_count=1200),
        event("consent.grant", actor=nurse, attributes={"purpose": "research", "version": "3"}),
        event("consent.withdraw", actor=nurse, attributes={"purpose": "research", "version": "3"}),
        event(attributes={"amount": 17.5, "paid": False, "note": "Łódź"}),
    ]
    answer = await send(app, auth, {"events": sent})
    assert answer.status_code == 201
    items = answer.json()["items"]
    assert [item["status"] for item in items] == ["created"] * len(sent)
    stored = {e["id"]: e for e in await app.events(ada.tenant_id) if e["source"]["kind"] == "api_key"}
    kept = [stored[item["id"]] for item in items]
    assert [e["type"] for e in kept] == [each["type"] for each in sent]
    assert [(e["type"], e["outcome"], e["severity"], e["record_count"]) for e in kept] == [
        ("data.read", "success", "info", 1),
        ("data.create", "success", "info", 1),
        ("data.update", "success", "info", 1),
        ("data.delete", "denied", "medium", 0),
        ("data.export", "success", "medium", 1200),
        ("consent.grant", "success", "info", 0),
        ("consent.withdraw", "success", "info", 0),
        ("custom.invoice.sent", "success", "info", 0),
    ]
    read, update, custom = kept[0], kept[2], kept[-1]
    assert (read["actor"], read["target"]) == ({**nurse, "role": None}, target)
    assert (read["occurred_at"], read["recorded_at"]) == ("2026-03-15T10:00:00.000000Z", "2026-03-15T12:00:00.000000Z")
    assert (read["data_class"], read["attributes"], set(read["subjects"])) == (
        "phi",
        {"table": "visits"},
        {"nurse-7", "p-17"},
    )
    assert read["context"]["route"] == "POST /v1/events"
    assert update["personal"]["p-17"]["data"] == {"old": {"phone": "1"}, "new": {"phone": "2"}}
    assert set(update["commitments"]) == {"p-17"}
    assert (custom["attributes"], custom["subjects"]) == ({"amount": 17.5, "paid": False, "note": "Łódź"}, [])
    assert not [e for e in await app.events(grace.tenant_id) if e["source"]["kind"] == "api_key"]


async def test_what_is_known_of_persons_is_sealed_and_can_be_searched_for(app: App, ada: Account) -> None:
    auth = await new_key(app, ada)
    personal = {
        "u1": {"email": "Mary@Example.org", "ip": "::ffff:203.0.113.77", "user_agent": "Browser 1"},
        "u2": {"email": "john@example.org"},
    }
    body = event(actor={"kind": "user", "id": "u1"}, target={"kind": "user", "id": "u2"}, personal=personal)
    (item,) = (await send(app, auth, body)).json()["items"]
    (found,) = [e for e in await app.events(ada.tenant_id) if e["id"] == item["id"]]
    assert found["subjects"] == ["u1", "u2"]
    index = app.services.index
    assert found["actor_key"] == await index.for_email(ada.tenant_id, "mary@example.org")
    assert found["target_key"] == await index.for_email(ada.tenant_id, "john@example.org")
    assert found["ip_key"] == await index.for_address("203.0.113.77")
    assert found["ua_key"] == await index.for_user_agent(ada.tenant_id, "Browser 1")
    outside = {name: value for name, value in found.items() if name != "personal"}
    for text in ("mary@", "Mary@", "203.0.113", "Browser 1", "john@"):
        assert text not in str(outside)


async def test_some_are_refused_and_the_others_are_in(app: App, ada: Account) -> None:
    auth = await new_key(app, ada)
    before = len(await app.events(ada.tenant_id))
    sent = [
        event(),
        event("auth.login"),
        event("data.read"),
        event(attributes={"card": f"paid with {CARD}"}),
        event(attributes={"password": "hunter2"}),
        event(tenant_id=ada.tenant_id),
        "no event",
    ]
    answer = await send(app, auth, {"events": sent})
    assert answer.status_code == 207
    items = answer.json()["items"]
    assert statuses(answer) == ["created"] + ["rejected"] * 6
    faults = [[(e["field"], e["code"]) for e in item.get("errors", [])] for item in items]
    assert faults[1:6] == [
        [("events[1].type", "type_not_allowed")],
        [("events[2].data_class", "missing")],
        [("events[3].attributes.card", "card_number")],
        [("events[4].attributes.password", "secret")],
        [("events[5].tenant_id", "extra_forbidden")],
    ]
    assert faults[6][0][0] == "events[6]"
    assert "4111" not in answer.text
    assert "hunter2" not in answer.text
    assert len(await app.events(ada.tenant_id)) == before + 1
    none = await send(app, auth, event(attributes={"card": CARD}))
    assert_problem(none, 422, "invalid_request", "attributes.card")
    assert statuses(none) == ["rejected"]


async def test_a_retry_creates_nothing_twice(app: App, ada: Account) -> None:
    auth = await new_key(app, ada)
    before = len(await app.events(ada.tenant_id))
    body = {"events": [event(), event(producer_id="p1"), event(producer_id="p1"), event("auth.login")]}
    first = await send(app, auth, body, key="batch-1")
    again = await send(app, auth, body, key="batch-1")
    assert (first.status_code, again.status_code) == (207, 207)
    assert first.json() == again.json()
    assert statuses(first) == ["created", "created", "duplicate", "rejected"]
    assert len({item["id"] for item in first.json()["items"]}) == 3  # one for p1, None among them
    assert len(await app.events(ada.tenant_id)) == before + 2
    assert_problem(await send(app, auth, event(), key="batch-1"), 422, "idempotency_key_reused")
    known = await send(app, auth, event(producer_id="p1"))
    assert (known.status_code, statuses(known)) == (201, ["duplicate"])
    assert known.json()["items"][0]["id"] == first.json()["items"][1]["id"]
    assert len(await app.events(ada.tenant_id)) == before + 2
    app.clock.advance(days=1, minutes=5)
    auth = await new_key(app, await signed_in(app, ada))
    assert statuses(await send(app, auth, event(), key="batch-1")) == ["created"], "a key is forgotten after a day"
    assert statuses(await send(app, auth, event(producer_id="p1"))) == ["duplicate"]
    app.clock.advance(days=6, minutes=5)
    assert statuses(await send(app, auth, event(producer_id="p1"))) == ["created"], "and a producer_id after a week"


async def signed_in(app: App, account: Account) -> Account:
    token = (await app.login(account.email)).json()["access_token"]
    return Account(account.id, account.tenant_id, account.email, token)


async def test_one_producer_id_at_the_same_moment_is_created_once(app: App, ada: Account, grace: Account) -> None:
    auth, other = await new_key(app, ada), await new_key(app, grace)
    body = event(producer_id="same")
    answers = await asyncio.gather(*(send(app, auth, body) for _ in range(20)), send(app, other, body))
    assert statuses(answers.pop()) == ["created"], "another tenant's is another one"
    assert sorted(status for answer in answers for status in statuses(answer)) == ["created"] + ["duplicate"] * 19
    assert len({answer.json()["items"][0]["id"] for answer in answers}) == 1
    assert len(await app.events(ada.tenant_id, "custom.invoice.sent")) == 1


async def test_one_key_at_the_same_moment_has_one_answer(app: App, ada: Account) -> None:
    auth = await new_key(app, ada)
    body = {"events": [event(), event(producer_id="a")]}
    answers = await asyncio.gather(*(send(app, auth, body, key="k") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(await app.events(ada.tenant_id, "custom.invoice.sent")) == 2
    stranger = await new_key(app, ada)
    assert statuses(await send(app, stranger, body, key="k")) == ["created", "duplicate"], "keys are their caller's own"


async def test_administrators_may_write_too_and_nobody_else(app: App, ada: Account) -> None:
    assert (await send(app, ada.auth, event())).status_code == 201
    (written,) = await app.events(ada.tenant_id, "custom.invoice.sent")
    assert written["source"]["kind"] == "session"
    assert (written["subjects"], written["personal"], written["ip_key"]) == ([], {}, None)
    bob = await app.join(ada, "bob@example.com", Role.AUDITOR)
    for auth in (bob.auth, await new_key(app, ada, "events:read")):
        before = len(await app.events(ada.tenant_id, "access.denied"))
        assert_problem(await send(app, auth, event()), 403, "forbidden")
        assert len(await app.events(ada.tenant_id, "access.denied")) == before + 1
    assert len(await app.events(ada.tenant_id, "custom.invoice.sent")) == 1


async def test_five_hundred_at_once_and_no_more(app: App, ada: Account) -> None:
    auth = await new_key(app, ada)
    answer = await send(app, auth, {"events": [event(producer_id=f"n{n}") for n in range(500)]}, key="many")
    assert answer.status_code == 201
    assert len({item["id"] for item in answer.json()["items"]}) == 500
    assert len(await app.events(ada.tenant_id, "custom.invoice.sent")) == 500
    assert_problem(await send(app, auth, {"events": [event()] * 501}), 422, "invalid_request", "events")
    assert_problem(await send(app, auth, {"events": []}), 422, "invalid_request", "events")
    assert_problem(await send(app, auth, {"events": event()}), 422, "invalid_request", "events")
