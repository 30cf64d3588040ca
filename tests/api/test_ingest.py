"""POST /events under hostile input: what a body may be, how much, and what no answer shows."""

import json
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest

from shared.audit.entries import MAX_ENTRY_BYTES, entry_of
from shared.core.clock import rfc3339
from shared.storage.containers import AUDIT_EVENTS
from tests.app import ROOT, Account, App, assert_problem

EVENT = {"type": "custom.test", "actor": {"kind": "service", "id": "billing"}}


async def send(app: App, ada: Account, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8", "surrogatepass")
    return await app.client.post("/v1/events", content=content, headers=ada.auth | headers)


async def stored(app: App, ada: Account) -> list[dict[str, Any]]:
    return await app.events(ada.tenant_id, "custom.test")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"type":"custom.test","type":"custom.test"}', 400, "malformed_json"),
        (b'{"events":[{"type":"custom.test","attributes":{"a":1,"a":2}}]}', 400, "malformed_json"),
        (b'{"type":NaN}', 400, "malformed_json"),
        (b'{"type":-Infinity}', 400, "malformed_json"),
        (b'{"attributes":{"n":' + b"9" * 5000 + b"}}", 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b'{"attributes":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "malformed_json"),
        (b"\xef\xbb\xbf{}", 400, "malformed_json"),
        (b'{"a":"\xed\xa0\x80"}', 400, "invalid_encoding"),
        (b" " * 1024 * 1024 + b"{}", 413, "body_too_large"),
    ],
)
async def test_what_cannot_be_read(app: App, ada: Account, body: bytes, status: int, code: str) -> None:
    assert_problem(await send(app, ada, body), status, code)
    assert await stored(app, ada) == []


@pytest.mark.parametrize("depth", [33, 400, 900])
async def test_what_is_nested_too_deep_is_refused(app: App, ada: Account, depth: int) -> None:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    for field in ("attributes", "personal", "surprise"):
        answer = await send(app, ada, {**EVENT, field: {"p": value}})
        assert answer.status_code in (400, 422)
    assert await stored(app, ada) == []


@pytest.mark.parametrize("value", ["\ud800", "a\udfffb"])
async def test_half_a_character_is_refused(app: App, ada: Account, value: str) -> None:
    body = json.dumps({**EVENT, "attributes": {"a": value}}).encode()  # as an escape: UTF-8 has no other way
    assert_problem(await send(app, ada, body), 422, "invalid_request", "attributes.a")


async def test_text_of_every_kind_is_kept_as_it_is(app: App, ada: Account) -> None:
    texts = {
        "a": "zażółć gęślą jaźń",
        "b": "\u202e\u2066x",
        "c": "👩‍👩‍👧",
        "d": "\x01\x7f\t\r\n",
        "e": "\ufffe",
        "f": " ",
    }
    answer = await send(app, ada, {**EVENT, "attributes": texts})
    assert answer.status_code == 201
    (event,) = await stored(app, ada)
    assert event["attributes"] == texts


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ä".encode(), "\x7f"])
async def test_an_idempotency_key_that_is_none(app: App, ada: Account, key: Any) -> None:
    answer = await app.client.post("/v1/events", json=EVENT, headers={**ada.auth, "Idempotency-Key": key})
    assert_problem(answer, 422, "invalid_request", "Idempotency-Key")


async def test_the_same_body_in_another_spelling_is_the_same(app: App, ada: Account) -> None:
    one, other = json.dumps(EVENT), json.dumps(dict(reversed(EVENT.items())), indent=2)
    first = await send(app, ada, one.encode(), **{"Idempotency-Key": "k" * 255})
    again = await send(app, ada, other.encode(), **{"Idempotency-Key": "k" * 255})
    assert first.json() == again.json()
    assert len(await stored(app, ada)) == 1


async def test_a_key_holds_for_a_day(app: App, ada: Account) -> None:
    """A producer that was down for a night may send again: to the last minute of 24 hours it is the same request."""
    body = {"name": "producer", "scopes": ["events:write"]}
    made = await app.client.post("/v1/admin/api-keys", json=body, headers=ada.auth)
    headers = {"Authorization": f"Bearer {made.json()['key']}", "Idempotency-Key": "night"}
    sent = {"events": [EVENT, EVENT]}
    first = await app.client.post("/v1/events", json=sent, headers=headers)
    ids = [item["id"] for item in first.json()["items"]]
    assert len(set(ids)) == 2
    for minutes in (23 * 60, 59):
        app.clock.advance(minutes=minutes)
        again = await app.client.post("/v1/events", json=sent, headers=headers)
        assert [item["id"] for item in again.json()["items"]] == ids
        other = await app.client.post("/v1/events", json=EVENT, headers=headers)
        assert_problem(other, 422, "idempotency_key_reused")
        assert sorted(event["id"] for event in await stored(app, ada)) == sorted(ids)
    app.clock.advance(minutes=2)
    new = await app.client.post("/v1/events", json=sent, headers=headers)
    assert not {item["id"] for item in new.json()["items"]} & set(ids)
    assert len(await stored(app, ada)) == 4


async def test_a_key_for_refused_events_is_not_used_up(app: App, ada: Account) -> None:
    assert (await send(app, ada, {**EVENT, "surprise": 1}, **{"Idempotency-Key": "k"})).status_code == 422
    assert (await send(app, ada, EVENT, **{"Idempotency-Key": "k"})).status_code == 201


async def test_an_event_that_could_not_be_sealed_is_refused_now(app: App, ada: Account) -> None:
    """50 attributes of 500 characters are allowed; four-byte characters make them too much for one entry."""
    wide = {f"k{n}": "\U0001f600" * 500 for n in range(50)}
    assert_problem(await send(app, ada, {**EVENT, "attributes": wide}), 422, "invalid_request", "attributes")
    most = dict(list(wide.items())[:31])
    assert (await send(app, ada, {**EVENT, "attributes": most})).status_code == 201
    (event,) = await stored(app, ada)
    assert 60_000 < len(entry_of(event)) <= MAX_ENTRY_BYTES


async def test_the_largest_body_is_taken_whole(app: App, ada: Account) -> None:
    """As many events as a body can hold, each with personal data of several people, under a key."""
    personal = {f"person-{n}": {"note": f"{n}" * 215} for n in range(8)}
    events = [{**EVENT, "attributes": {"n": n}, "personal": personal} for n in range(500)]
    body = json.dumps({"events": events}, separators=(",", ":")).encode()
    assert 900_000 < len(body) < 1024 * 1024
    for _ in range(2):
        answer = await send(app, ada, body, **{"Idempotency-Key": "large"})
        assert answer.status_code == 201, answer.text[:500]
    assert sorted(e["attributes"]["n"] for e in await stored(app, ada)) == list(range(500))


async def test_no_fault_shows_what_it_is_about(app: App, ada: Account, caplog: pytest.LogCaptureFixture) -> None:
    secret = f"kak_{ada.tenant_id}.{ada.id}.{'S' * 43}"
    events = [
        {**EVENT, "attributes": {"a": secret}},
        {**EVENT, "personal": {"p": {"b": ["x", {"c": secret}]}}},
        {**EVENT, "attributes": {secret: 1}},
        {**EVENT, "actor": {"kind": "user", "id": secret}},
        {**EVENT, secret: secret},
    ]
    answer = await send(app, ada, {"events": events})
    assert_problem(
        answer,
        422,
        "invalid_request",
        "events[0].attributes.a",
        "events[1].personal.p.b[1].c",
        "events[2].attributes",
        "events[3].actor.id",
        "events[4]",
    )
    assert "SSSS" not in answer.text
    assert "SSSS" not in caplog.text


async def test_what_stands_beside_events_is_named(app: App, ada: Account) -> None:
    answer = await send(app, ada, {"events": [EVENT], "tenant_id": "x", "surprise": 1})
    assert_problem(answer, 422, "invalid_request", "tenant_id", "surprise")
    assert await stored(app, ada) == []


async def test_another_tenants_actors_are_only_names_here(app: App, ada: Account, grace: Account) -> None:
    """A producer can name any id; the event is its own tenant's all the same, and the other's trail is untouched."""
    before = len(await app.events(grace.tenant_id))
    body = {**EVENT, "actor": {"kind": "user", "id": grace.id}, "target": {"kind": "user", "id": grace.id}}
    assert (await send(app, ada, body)).status_code == 201
    (event,) = await stored(app, ada)
    assert event["tenant_id"] == ada.tenant_id
    assert len(await app.events(grace.tenant_id)) == before


async def test_duplicates_within_one_batch_follow_the_first_that_holds(app: App, ada: Account) -> None:
    named = {**EVENT, "producer_id": "p"}
    bad = {**named, "surprise": 1}
    answer = await send(app, ada, {"events": [bad, named, named, bad, {**named, "attributes": {"n": 2}}]})
    assert answer.status_code == 207
    items = answer.json()["items"]
    assert [item["status"] for item in items] == ["rejected", "created", "duplicate", "rejected", "duplicate"]
    assert len({item["id"] for item in items if item["id"]}) == 1
    assert len(await stored(app, ada)) == 1


async def test_detection_sees_what_producers_write(app: App, ada: Account) -> None:
    """The change feed brings it as any event; nothing of it ends as a dead letter."""
    assert (await send(app, ada, {"events": [EVENT] * 3})).status_code == 201
    await app.host.drain_feed()
    assert len(await stored(app, ada)) == 3


async def test_the_examples_of_the_documentation_work(app: App, ada: Account) -> None:
    page = (ROOT / "docs/ingest.md").read_text(encoding="utf-8")
    bodies = [json.loads(found) for found in re.findall(r"/events .*?-d '(.*?)'\n```", page, re.DOTALL)]
    assert len(bodies) == 3
    for body in bodies:
        answer = await send(app, ada, body)
        assert answer.status_code == 201, answer.text
    assert {"data.read", "data.update", "custom.invoice.sent", "consent.withdraw"} <= set(
        await app.types(ada.tenant_id)
    )


async def test_a_retry_has_its_answer_also_when_its_time_has_passed(app: App, ada: Account) -> None:
    """Taken in time, sent again because no answer came: by then it would be too late for a first time."""
    old = rfc3339(app.clock.now() - timedelta(days=7) + timedelta(seconds=3))
    keyed, named = {**EVENT, "occurred_at": old}, {**EVENT, "occurred_at": old, "producer_id": "p1"}
    first = await send(app, ada, keyed, **{"Idempotency-Key": "k"})
    other = await send(app, ada, named)
    assert (first.status_code, other.status_code) == (201, 201)
    app.clock.advance(seconds=10)
    again = await send(app, ada, keyed, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (201, first.json())
    repeated = await send(app, ada, named)
    assert repeated.json()["items"] == [{"id": other.json()["items"][0]["id"], "status": "duplicate"}]
    mixed = await send(app, ada, {"events": [named, EVENT]})
    assert [item["status"] for item in mixed.json()["items"]] == ["duplicate", "created"]
    assert_problem(await send(app, ada, keyed), 422, "invalid_request", "occurred_at")
    changed = {**keyed, "attributes": {"n": 1}}
    reused = await send(app, ada, changed, **{"Idempotency-Key": "k"})
    assert_problem(reused, 422, "idempotency_key_reused")
    assert len(await stored(app, ada)) == 3


async def test_a_late_retry_does_what_a_crash_left(app: App, ada: Account) -> None:
    """The guard was written, the event was not: the retry has to bring it, however late."""
    old = rfc3339(app.clock.now() - timedelta(days=7) + timedelta(seconds=3))
    for event, headers in (
        ({**EVENT, "occurred_at": old}, {"Idempotency-Key": "k"}),
        ({**EVENT, "occurred_at": old, "producer_id": "p1"}, {}),
    ):
        answer = await send(app, ada, event, **headers)
        (made,) = [each for each in await stored(app, ada) if each["id"] == answer.json()["items"][0]["id"]]
        await app.store.delete(AUDIT_EVENTS, (ada.tenant_id, made["period"]), made["id"])
        app.clock.advance(seconds=10)
        await send(app, ada, event, **headers)
        assert made["id"] in [each["id"] for each in await stored(app, ada)]
        app.clock.set(app.clock.now() - timedelta(seconds=10))


async def test_what_may_not_be_in_the_trail_comes_in_by_no_other_door(app: App, ada: Account) -> None:
    body = {"name": "reader", "scopes": ["events:read"]}
    key = (await app.client.post("/v1/admin/api-keys", json=body, headers=ada.auth)).json()["key"]
    card = "4111111111111111"
    found = await app.client.get(f"/v1/events?actor={card}&outcome=denied", headers={"Authorization": f"Bearer {key}"})
    assert found.status_code == 200
    (search,) = await app.events(ada.tenant_id, "audit.search")
    assert search["attributes"]["filtered_by"] == ["actor", "outcome"]
    assert search["attributes"]["criteria"] == {"outcome": "denied"}
    viewer = await app.join(ada, "eve@example.com")
    assert_problem(await send(app, viewer, {**EVENT, "producer_id": card}), 403, "forbidden")
    (denied,) = await app.events(ada.tenant_id, "access.denied")
    assert card not in json.dumps(denied)
