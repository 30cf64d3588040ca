"""Sealed data that was changed past the app is never shown, never called erased, and told once: to the trail, the log
and whoever handles alerts."""

import base64
from typing import Any

import pytest

from shared.audit.model import StoredEvent
from shared.identity.model import Role
from shared.ledger.statements import Statements
from shared.ledger.watched_boxes import MOST, WatchedBoxes
from shared.privacy.boxes import BoxDamaged, SealedBoxes
from shared.privacy.key_wrapping import KeyWrapper
from shared.privacy.person_keys import CACHE_FOR, KEY_BYTES, key_id
from shared.storage.containers import AUDIT_EVENTS, SUBJECT_KEYS
from shared.storage.documents import DocumentStore
from shared.storage.errors import StoreError
from shared.subject_rights.erasure import SETTLED
from shared.subject_rights.model import Person
from tests.app import PASSWORD, Account, App, assert_problem
from tests.exporting import walk
from tests.faults import FaultyStore
from tests.storage.conftest import LOCAL


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def stored(app: App, who: Account, type_: str) -> StoredEvent:
    return await stored_as(app, (await app.events(who.tenant_id, type_))[0])


async def stored_as(app: App, event: StoredEvent) -> StoredEvent:
    return await app.store.read(AUDIT_EVENTS, (event["tenant_id"], event["period"]), event["id"])


async def put(app: App, event: StoredEvent, **changed: Any) -> None:
    await app.store.replace(AUDIT_EVENTS, (event["tenant_id"], event["period"]), event | changed)


async def shown(app: App, who: Account, event: StoredEvent) -> Any:
    answer = await app.client.get(f"/v1/events/{event['id']}", headers=who.auth)
    assert answer.status_code == 200, answer.text
    return answer.json()["personal"]


def another_instance(app: App, store: DocumentStore) -> WatchedBoxes:
    """Of which the findings go into `store`."""
    statements = Statements(store, app.services.recorder)
    return WatchedBoxes(SealedBoxes(app.services.person_keys), statements, app.clock, app.services.ids)


async def told(app: App, who: Account) -> list[tuple[str, str | None]]:
    events = await app.events(who.tenant_id, "ledger.verify_failed")
    return [(each["attributes"]["what"], each["attributes"]["event_id"]) for each in events]


async def test_a_box_that_was_changed(app: App, ada: Account, caplog: pytest.LogCaptureFixture) -> None:
    """By a bit, by another event's box, by another person's; read one by one, listed and exported."""
    app.clock.advance(seconds=1)
    bob = await app.join(ada, "bob@example.com", Role.USER)
    await app.client.put("/v1/profile", json={"bio": "builds"}, headers=bob.auth)
    registered, invited, updated = [
        await stored(app, ada, t) for t in ("auth.register", "user.invite", "profile.update")
    ]
    sealed = bytearray(base64.b64decode(registered["personal"][ada.id]["sealed"]))
    sealed[20] ^= 1
    flipped = registered["personal"][ada.id] | {"sealed": base64.b64encode(sealed).decode()}
    await put(app, registered, personal={ada.id: flipped})
    await put(app, invited, personal=invited["personal"] | {ada.id: updated["personal"][bob.id]})
    await put(app, updated, personal={bob.id: updated["personal"][bob.id] | {"form": "clear", "nonce": 7}})
    for _ in range(3):
        assert await shown(app, ada, registered) == {ada.id: {"damaged": True}}
    found = {event["id"]: event for event in (await app.client.get("/v1/events", headers=ada.auth)).json()["items"]}
    assert found[invited["id"]]["personal"][ada.id] == {"damaged": True}
    assert found[invited["id"]]["personal"][invited["target"]["id"]] == {"email": bob.email}, "the other box opens"
    assert found[updated["id"]]["personal"] == {bob.id: {"damaged": True}}
    app.clock.advance(seconds=1)
    text = "".join([part.text for part in await walk(app, ada.auth, format="jsonl")])
    assert text.count('"damaged"') == 3
    assert caplog.text.count("personal_box_damaged") == 3 + 3 + 3

    wanted = {("box", each["id"]) for each in (registered, invited, updated)}
    assert set(await told(app, ada)) == wanted
    assert len(await told(app, ada)) == 3, "once for each box"
    events = await app.events(ada.tenant_id, "ledger.verify_failed")
    (event,) = [each for each in events if each["attributes"]["event_id"] == registered["id"]]
    assert (event["subjects"], event["severity"], event["reason"]) == ([ada.id], "critical", "box")
    assert (event["actor"]["kind"], event["target"]) == ("system", {"kind": "ledger", "id": event["period"]})
    with pytest.raises(BoxDamaged):
        await another_instance(app, app.store).open(ada.tenant_id, ada.id, registered["id"], flipped)
    assert len(await told(app, ada)) == 3, "nor once for each instance"


async def test_a_box_sealed_anew_with_other_words(app: App, ada: Account) -> None:
    """By somebody who has the person's key, or who put a key of their own in its place: it opens, and lies."""
    event = await stored(app, ada, "auth.register")
    forged = await SealedBoxes(app.services.person_keys).seal(
        ada.tenant_id, ada.id, event["id"], {"email": "mallory@example.com"}
    )
    assert forged is not None
    await put(app, event, personal={ada.id: forged.box})
    assert await shown(app, ada, event) == {ada.id: {"damaged": True}}
    assert await told(app, ada) == [("box", event["id"])]
    await put(app, event, commitments={})
    assert await shown(app, ada, event) == {ada.id: {"damaged": True}}, "nor without a commitment"


@pytest.mark.parametrize("personal", [{}, None, [], "erased"], ids=["gone", "null", "array", "text"])
async def test_a_box_that_was_taken_out_is_no_erasure(app: App, ada: Account, personal: Any) -> None:
    """The person's key is there, and the event does not say that anything was erased; no call fails."""
    event = await stored(app, ada, "auth.register")
    await put(app, event, personal=personal)
    for _ in range(2):
        assert await shown(app, ada, event) == {ada.id: {"damaged": True}}
    listed = (await app.client.get("/v1/events?type=auth.register", headers=ada.auth)).json()["items"]
    assert [each["personal"] for each in listed] == [{ada.id: {"damaged": True}}]
    app.clock.advance(seconds=1)
    text = "".join([part.text for part in await walk(app, ada.auth, format="jsonl")])
    assert text.count('"damaged"') == 1
    answer = await app.client.get("/v1/privacy/export", headers=ada.auth)
    (record,) = [each for each in answer.json()["events"] if each["event"]["id"] == event["id"]]
    assert record["personal"] == {ada.id: {"damaged": True}}
    assert await told(app, ada) == [("box", event["id"])]
    await app.services.person_keys.erase(ada.tenant_id, ada.id)
    assert await shown(app, ada, event) == {ada.id: {"erased": True}}
    await put(app, await stored_as(app, event), erased_at=event["recorded_at"], personal={})
    assert await shown(app, ada, event) == {ada.id: {"erased": True}}


async def test_it_is_an_alert(app: App, ada: Account) -> None:
    event = await stored(app, ada, "auth.register")
    await put(app, event, personal={ada.id: {}})
    await shown(app, ada, event)
    await app.host.drain_feed()
    (alert,) = (await app.client.get("/v1/alerts?pattern=ledger_integrity", headers=ada.auth)).json()["items"]
    assert (alert["severity"], alert["key"], alert["count"]) == ("critical", event["period"], 1)


async def test_a_key_that_does_not_unwrap_is_told_once_for_all_its_boxes(app: App, ada: Account) -> None:
    app.clock.advance(seconds=1)
    bob = await app.join(ada, "bob@example.com", Role.USER)
    for _ in range(3):
        await app.client.get("/v1/profile", headers=bob.auth)
    key = await app.store.read(SUBJECT_KEYS, (ada.tenant_id,), key_id(bob.id))
    wrapper: KeyWrapper = app.services.wrapper
    other = await wrapper.wrap(bytes(KEY_BYTES))
    for wrapped in ("AAAA", "%", base64.b64encode(other.key[:-1] + bytes([other.key[-1] ^ 1])).decode()):
        await app.store.replace(SUBJECT_KEYS, (ada.tenant_id,), key | {"wrapped": wrapped})
        app.clock.advance(seconds=CACHE_FOR.total_seconds())
        listed = (await app.client.get(f"/v1/events?actor={bob.id}", headers=ada.auth)).json()["items"]
        assert {str(each["personal"]) for each in listed} == {str({bob.id: {"damaged": True}})}
        assert await told(app, ada) == [("person_key", None)]
        app.clock.advance(seconds=-CACHE_FOR.total_seconds())


async def test_a_key_that_is_damaged_locks_nobody_out(app: App, ada: Account) -> None:
    """Signing in, exporting and erasing go on and record nothing personal; whatever else has to seal is refused."""
    app.clock.advance(seconds=1)
    people = [await app.join(ada, f"{name}@example.com", Role.USER) for name in ("bob", "carol", "dan")]
    bob, carol, dan = people
    for each in people:
        key = await app.store.read(SUBJECT_KEYS, (ada.tenant_id,), key_id(each.id))
        await app.store.replace(SUBJECT_KEYS, (ada.tenant_id,), key | {"wrapped": "AAAA"})
    app.clock.advance(seconds=CACHE_FOR.total_seconds())
    answer = await app.login(bob.email)
    assert answer.status_code == 200, answer.text
    auth = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    signed_in = (await app.events(ada.tenant_id, "auth.login"))[-1]
    assert signed_in["actor"]["id"] == bob.id
    assert (signed_in["personal"], signed_in["commitments"], signed_in["ip_key"]) == ({}, {}, None)
    assert_problem(await app.client.get("/v1/profile", headers=auth), 503, "secrets_unavailable")
    told_of = {"type": "data.read", "data_class": "phi", "actor": {"kind": "service", "id": "s"}}
    told_of["personal"] = {bob.id: {"email": bob.email}}
    assert_problem(await app.client.post("/v1/events", json=told_of, headers=ada.auth), 503, "secrets_unavailable")
    exported = await app.client.get("/v1/privacy/export", headers=auth)
    assert exported.status_code == 200, exported.text
    assert {"damaged": True} in [each["personal"].get(bob.id) for each in exported.json()["events"]]
    body = {"reason": "to be forgotten", "password": PASSWORD}
    assert (await app.client.post("/v1/privacy/erasure", json=body, headers=auth)).status_code == 202
    asked = await app.client.post(f"/v1/admin/users/{carol.id}/erasure", json={"reason": "left"}, headers=ada.auth)
    assert asked.status_code == 202, asked.text
    gone = await app.client.delete(f"/v1/admin/users/{dan.id}?reason=left", headers=ada.auth)
    assert gone.status_code == 204, gone.text
    for wait in (1, SETTLED.total_seconds()):
        app.clock.advance(seconds=wait)
        assert await app.host.run_timer("run_erasures")
    for each in (bob, carol):
        assert await app.services.erasures.check(Person(ada.tenant_id, each.id)) == []
    found = await app.events(ada.tenant_id, "ledger.verify_failed")
    assert sorted((each["reason"], *each["subjects"]) for each in found) == sorted(("person_key", p.id) for p in people)


async def test_a_key_that_is_gone_opens_as_erased(app: App, ada: Account) -> None:
    """Nobody can tell that from an erasure, and no call fails: neither the list, nor one event, nor an export."""
    app.clock.advance(seconds=1)
    bob = await app.join(ada, "bob@example.com", Role.USER)
    await app.store.delete(SUBJECT_KEYS, (ada.tenant_id,), key_id(bob.id))
    app.clock.advance(seconds=CACHE_FOR.total_seconds())
    event = await stored(app, ada, "user.invite")
    assert await shown(app, ada, event) is not None
    registered = [e for e in await app.events(ada.tenant_id, "auth.register") if e["actor"]["id"] == bob.id]
    for each in registered:
        assert await shown(app, ada, each) == {bob.id: {"erased": True}}
    assert (await app.client.get("/v1/events", headers=ada.auth)).status_code == 200
    app.clock.advance(seconds=1)
    assert len(await walk(app, ada.auth, format="csv")) == 1
    assert await told(app, ada) == []


async def test_a_trail_that_was_overwritten_is_told_bit_by_bit(app: App, ada: Account) -> None:
    """One read records no more than so many findings; what was left out is told by a later one."""
    for _ in range(MOST + 20):
        await app.client.get("/v1/profile", headers=ada.auth)
    events = await app.events(ada.tenant_id, "profile.view")
    for event in events:
        await put(app, await stored_as(app, event), personal={ada.id: {}})
    for minute, wanted in ((0, MOST), (0, MOST), (1, MOST + 20), (1, MOST + 20)):
        app.clock.advance(minutes=minute)
        answer = await app.client.get("/v1/events?type=profile.view&limit=200", headers=ada.auth)
        assert {str(each["personal"]) for each in answer.json()["items"]} == {str({ada.id: {"damaged": True}})}
        assert len(await told(app, ada)) == wanted


async def test_a_finding_that_cannot_be_recorded_is_no_answer(app: App, ada: Account) -> None:
    """Whoever reads is answered 503 then, as wherever the trail cannot be written; the next read tells."""
    event = await stored(app, ada, "auth.register")
    boxes = another_instance(app, FaultyStore(app.store, 1))
    for error in (StoreError, BoxDamaged, BoxDamaged):
        with pytest.raises(error):
            await boxes.open(ada.tenant_id, ada.id, event["id"], {})
    assert await told(app, ada) == [("box", event["id"])]
