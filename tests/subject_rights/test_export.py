"""A person's export under hostile hands. What is right is told in tests/acceptance/test_subject_export.py."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from shared.audit.events.data import DataRead
from shared.audit.model import Actor, Draft, RequestContext, Target
from shared.identity.model import Role
from shared.privacy.secrets import SecretsError
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import Item
from shared.subject_rights.erasure import SETTLED
from shared.subject_rights.export import Limits
from tests.app import Account, App, assert_problem
from tests.exporting import HOSTILE, fill, next_of
from tests.exporting_subject import PATH, ask, events_in, read, save, seal, walk
from tests.subject_rights.support import events_of, requests, run
from tools import verify_subject_export as verifier
from tools.verify_evidence import OK, UNKNOWN, WRONG, table

PERIOD = "2026-03"


@pytest.fixture
async def bob(app: App, ada: Account) -> Account:
    """A user with a handful of sealed events."""
    person = await app.join(ada, "bob@example.com", Role.USER)
    await app.client.get("/v1/profile", headers=person.auth)
    await seal(app)
    return person


async def own(app: App, who: Account, type_: str) -> Item:
    """The person's own event of a type, as it is stored."""
    stored = await events_of(app, who.tenant_id)
    return next(each for each in stored.values() if each["type"] == type_ and each["actor"]["id"] == who.id)


async def exported(app: App, who: Account, event_id: str) -> dict[str, Any]:
    answer = await ask(app, who)
    assert answer.status_code == 200, answer.text
    return next(each for each in events_in([answer]) if each["event"]["id"] == event_id)


async def write(app: App, event: Item, **changes: Any) -> None:
    await app.store.replace(AUDIT_EVENTS, (event["tenant_id"], event["period"]), {**event, **changes})


def put(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


async def test_a_box_that_does_not_open_is_an_integrity_failure(
    app: App, bob: Account, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Changed, taken from another event, or no box at all: said in the export and in the log, and no error."""
    event, other = await own(app, bob, "profile.view"), await own(app, bob, "auth.register")
    sealed = base64.b64decode(event["personal"][bob.id]["sealed"])
    changed = event["personal"][bob.id] | {"sealed": base64.b64encode(sealed[:-1] + b"\0").decode()}
    for box in (changed, other["personal"][bob.id], {"form": "none"}):
        caplog.clear()
        await write(app, event, personal={bob.id: box})
        found = await exported(app, bob, event["id"])
        assert (found["personal"], found["salts"]) == ({bob.id: {"damaged": True}}, {})
        assert found["proof"]["state"] == "sealed", "the event itself is as it was"
        assert "personal_box_damaged" in caplog.text
    answer = await ask(app, bob, format="html")
    assert "INTEGRITY FAILURE: what is stored does not open" in answer.text
    checks = verifier.verify(save(tmp_path, [await ask(app, bob)]))
    assert checks.result == WRONG
    assert "what is stored of you is damaged" in table(checks)


async def test_a_box_that_holds_something_else_than_was_recorded(app: App, bob: Account) -> None:
    """Sealed properly under the person's key, and not what the event committed to."""
    event = await own(app, bob, "profile.view")
    sealed = await app.services.recorder._box.seal(bob.tenant_id, bob.id, event["id"], {"ip": "198.51.100.1"})
    assert sealed is not None
    await write(app, event, personal={bob.id: sealed.box})
    assert (await exported(app, bob, event["id"]))["personal"] == {bob.id: {"damaged": True}}


async def test_an_event_that_is_not_as_it_was_sealed(app: App, bob: Account, tmp_path: Path) -> None:
    event = await own(app, bob, "profile.view")
    for changes in ({"outcome": "failure"}, {"record_count": None}):
        await write(app, event, **changes)
        found = await exported(app, bob, event["id"])
        assert found["proof"]["state"] == "changed"
        sealed = json.loads(base64.b64decode(found["proof"]["entry"]))
        assert (sealed["id"], sealed["outcome"]) == (event["id"], "success")
        assert "INTEGRITY FAILURE: it is not as it was sealed" in (await ask(app, bob, format="html")).text
    assert verifier.verify(save(tmp_path, [await ask(app, bob)])).result == WRONG


async def test_a_ledger_that_is_broken_keeps_nobody_from_their_data(app: App, bob: Account) -> None:
    """The events are there without proof, and the trail says what is wrong."""
    event = await own(app, bob, "profile.view")
    entry = await app.store.read(LEDGER, (bob.tenant_id, PERIOD), event["id"])
    await app.store.replace(LEDGER, (bob.tenant_id, PERIOD), {**entry, "entry": entry["entry"] + " "})
    found = await exported(app, bob, event["id"])
    assert (found["proof"]["state"], found["proof"]["path"]) == ("broken", [])
    assert found["personal"][bob.id]["email"] == bob.email
    assert len(await app.events(bob.tenant_id, "ledger.verify_failed")) == 1
    head = await app.store.read(LEDGER, (bob.tenant_id, PERIOD), f"head|{PERIOD}")
    for changes in ({"size": head["size"] - 1}, {"nodes": "x"}, {"note": "no note"}):
        await app.store.replace(LEDGER, (bob.tenant_id, PERIOD), {**head, **changes})
        answer = await ask(app, bob)
        (part,) = read([answer])
        assert [each["state"] for each in part["months"]] == ["broken"]
        assert {each["proof"]["state"] for each in part["events"]} == {"broken"}


async def test_what_is_not_sealed_yet_is_said_to_be_so(app: App, bob: Account, tmp_path: Path) -> None:
    await app.client.get("/v1/profile", headers=bob.auth)
    app.clock.advance(seconds=1)
    answer = await ask(app, bob)
    states = [each["proof"]["state"] for each in events_in([answer])]
    assert states.count("not_sealed") == 1
    keys = read([answer])[0]["keys"]
    checks = verifier.verify(save(tmp_path, [answer]), keys)
    assert (checks.result, "1 not_sealed" in table(checks)) == (UNKNOWN, True)


async def test_before_anything_was_sealed(app: App, ada: Account) -> None:
    app.clock.advance(seconds=1)
    (part,) = read([await ask(app, ada)])
    assert part["months"] == []
    assert {each["proof"]["state"] for each in part["events"]} == {"not_sealed"}


async def test_after_the_retention_of_a_month(app: App, bob: Account, tmp_path: Path) -> None:
    """Its events are gone, and its last checkpoint is left; what came later is proven as ever."""
    app.clock.advance(days=2555 + 40)
    bob.token = (await app.login(bob.email)).json()["access_token"]
    await seal(app)
    answer = await ask(app, bob)
    (part,) = read([answer])
    assert [(each["period"], each["state"]) for each in part["months"]] == [(PERIOD, "expired"), ("2033-04", "sealed")]
    assert [each["event"]["type"] for each in part["events"]] == ["auth.login"]
    assert part["sessions"] != []
    assert verifier.verify(save(tmp_path, [answer]), part["keys"]).result == OK


async def test_keys_that_cannot_be_had(app: App, bob: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and nothing is in the register or the trail."""

    async def down(*_: object) -> bytes:
        raise SecretsError("the vault was not reached")

    monkeypatch.setattr(app.services.wrapper, "unwrap", down)
    app.services.person_keys._cache.clear()
    answer = await ask(app, bob)
    assert_problem(answer, 503, "secrets_unavailable")
    assert answer.headers["retry-after"]
    assert await requests(app, bob.tenant_id) == {}
    assert await app.events(bob.tenant_id, "privacy.export") == []


async def test_erased_while_the_export_is_under_way(app: App, ada: Account, bob: Account) -> None:
    """The next part is not there, what was handed out is told of, and no later erasure is made of an export."""
    app.services.subject_exports._limits = Limits(records=5)
    first = await ask(app, ada, subject=bob.id)
    following = next_of(first)
    assert following is not None
    body = {"reason": "wants to be forgotten"}
    await app.client.post(f"/v1/admin/users/{bob.id}/erasure", json=body, headers=ada.auth)
    await run(app)
    assert_problem(await app.client.get(following, headers=ada.auth), 404, "not_found")
    app.clock.advance(seconds=SETTLED.total_seconds() + 600)
    await run(app)
    told = [(e["outcome"], e["reason"], e["record_count"]) for e in await app.events(ada.tenant_id, "privacy.export")]
    assert told == [("success", "requested", 5), ("failure", "abandoned", 5)]
    assert (await app.events(ada.tenant_id, "privacy.erasure"))[-1]["reason"] == "executed"
    lines = [line async for line in app.services.replays.carried_out()]
    assert [line.subject for line in lines] == [bob.id]
    everything = str(await events_of(app, ada.tenant_id))
    assert bob.email not in everything


async def test_twice_at_once_and_a_part_twice_at_once(app: App, bob: Account) -> None:
    answers = await asyncio.gather(*(ask(app, bob) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({read([answer])[0]["export"]["id"] for answer in answers}) == 3
    app.services.subject_exports._limits = Limits(records=5)
    answer = await ask(app, bob)
    while (following := next_of(answer)) is not None:
        again = await asyncio.gather(*(app.client.get(following, headers=bob.auth) for _ in range(4)))
        assert {each.status_code for each in again} == {200}
        assert len({each.content for each in again}) == 1
        answer = again[0]
    reasons = [event["reason"] for event in await app.events(bob.tenant_id, "privacy.export")]
    assert sorted(reasons) == ["executed"] * 4 + ["requested"]


async def test_a_place_of_somebody_else(app: App, ada: Account, bob: Account) -> None:
    """A cursor is good for the session, the person and the form that it was made for, and for 15 minutes."""
    app.services.subject_exports._limits = Limits(records=5)
    following = next_of(await ask(app, bob)) or ""
    cursor = following.partition("cursor=")[2]
    assert_problem(await app.client.get(following, headers=ada.auth), 422, "invalid_request", "cursor")
    for params in ({"format": "html"}, {"subject": bob.id}):
        answer = await app.client.get(PATH, params={**params, "cursor": cursor}, headers=bob.auth)
        assert_problem(answer, 422, "invalid_request", "cursor")
    for bad in ("", "x", "ä" * 2000):
        answer = await app.client.get(PATH, params={"cursor": bad}, headers=bob.auth)
        assert_problem(answer, 422, "invalid_request", "cursor")
    (item,) = (await requests(app, bob.tenant_id)).values()
    app.clock.advance(minutes=14)
    assert item["state"] == "running"
    assert (await app.client.get(following, headers=bob.auth)).status_code == 200
    app.clock.advance(minutes=30)
    await run(app)
    (item,) = (await requests(app, bob.tenant_id)).values()
    assert (item["state"], item.keys() & {"kept", "next_at", "work_at"}) == ("executed", set())


@pytest.mark.parametrize("params", [{"format": "csv"}, {"subject": "a b"}, {"subject": "x" * 65}, {"surprise": "1"}])
async def test_what_cannot_be_asked_for(app: App, ada: Account, params: dict[str, str]) -> None:
    assert_problem(await ask(app, ada, **params), 422, "invalid_request", *params)
    assert await app.events(ada.tenant_id, "privacy.export") == []


async def test_an_export_is_not_withdrawn_or_decided(app: App, ada: Account, bob: Account) -> None:
    await ask(app, bob)
    (item,) = (await requests(app, bob.tenant_id)).values()
    url = f"/v1/privacy/requests/{item['request_id']}"
    assert_problem(await app.client.delete(url, headers=bob.auth), 409, "request_running")
    for decision in ("refused", "extended"):
        body = {"decision": decision, "reason": "a good one"}
        assert_problem(await app.client.patch(url, json=body, headers=ada.auth), 409, "request_running")
    assert await app.events(ada.tenant_id, "privacy.erasure") == []


async def test_a_person_with_no_events(app: App, bob: Account, tmp_path: Path) -> None:
    for event in (await events_of(app, bob.tenant_id)).values():
        await app.store.delete(AUDIT_EVENTS, (bob.tenant_id, PERIOD), event["id"])
    answer = await ask(app, bob)
    (part,) = read([answer])
    assert (part["events"], part["account"]["email"]) == ([], bob.email)
    assert "Nothing in this part." in (await ask(app, bob, format="html")).text
    assert verifier.verify(save(tmp_path, [answer]), part["keys"]).result == OK


async def test_a_person_with_many_events(app: App, bob: Account, tmp_path: Path) -> None:
    """In parts that are full by number, and by size: each event once, in order, each with its proof."""
    await fill(app, bob, 700, text=HOSTILE)
    await seal(app)
    whole = [each["event"]["id"] for each in events_in([await ask(app, bob)])]
    assert len(whole) > 700
    for limits in (Limits(records=200, page=64), Limits(bytes=300_000, page=250)):
        app.services.subject_exports._limits = limits
        parts = await walk(app, bob)
        found = events_in(parts)
        assert len(parts) > 3
        assert limits.records == 200 or max(len(each.content) for each in parts) < 310_000
        times = [each["event"]["recorded_at"] for each in found[:-1]]
        assert times == sorted(times), "but for the invitation, which is found by another id"
        assert {each["event"]["id"] for each in found} >= set(whole)
        assert len(found) == len({each["event"]["id"] for each in found})
        checks = verifier.verify(save(tmp_path, parts), read(parts)[0]["keys"])
        assert checks.result == OK, table(checks)


async def test_whoever_has_no_account(app: App, ada: Account, bob: Account) -> None:
    """Known from a producer alone, by an id of the producer's, with markup and other scripts in the data."""
    hostile: dict[str, Any] = {
        "diagnosis": HOSTILE,
        "<script>alert(1)</script>": "\u202e<img src=x onerror=alert(1)>",
        "n": 1.5,
    }
    request = RequestContext("r", "POST /v1/events", "write_events", app.clock.now())
    event = DataRead(attributes={"table": "<b>"})
    target, actor = Target("patient", "patient:4711"), Actor("user", bob.id, "user", bob.email)
    personal = {"patient:4711": hostile, bob.id: {"note": "is not the patient's"}}
    draft = Draft(ada.tenant_id, event, request, actor=actor, target=target, personal=personal)
    await app.services.recorder.record(draft)
    await seal(app)
    answer = await ask(app, ada, subject="patient:4711")
    (part,) = read([answer])
    assert (part["account"], part["sessions"], part["consents"]) == (None, [], [])
    (found,) = part["events"]
    assert found["personal"] == {"patient:4711": hostile}
    assert found["proof"]["state"] == "sealed"
    assert "is not the patient's" not in answer.text
    page = (await ask(app, ada, subject="patient:4711", format="html")).text
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert_problem(await ask(app, ada, subject="patient:4712"), 404, "not_found")


async def test_every_change_of_a_file_is_found(app: App, bob: Account, tmp_path: Path) -> None:
    app.services.subject_exports._limits = Limits(records=5)
    answers = await walk(app, bob)
    keys = read(answers)[0]["keys"]
    paths = save(tmp_path, answers)
    assert verifier.verify(paths, keys).result == OK
    assert verifier.verify(paths).result == UNKNOWN, "nobody says whose key it is"
    assert verifier.verify(paths[1:], keys).result == WRONG
    assert verifier.verify(paths[:1], keys).result == WRONG

    def change(name: str) -> Any:
        first = json.loads(answers[0].content)
        match name:
            case "an event is left out":
                first["events"].pop()
            case "personal data":
                first["events"][0]["personal"][bob.id]["ip"] = "198.51.100.7"
            case "an event":
                first["events"][0]["event"]["outcome"] = "failure"
            case "account":
                first["account"]["first_name"] = "Other"
            case "checkpoint":
                first["months"][0]["size"] += 1
            case "subject":
                first["export"]["subject"] = "somebody"
            case "key":
                return first, [keys[0].replace(keys[0][-8:], "AAAAAAA=")]
        return first, keys

    for name in ("an event is left out", "personal data", "an event", "account", "checkpoint", "subject", "key"):
        changed, known = change(name)
        put(paths[0], json.dumps(changed).encode())
        assert verifier.verify(paths, known).result == WRONG, name
    put(paths[0], b"\xff{")
    assert verifier.main(paths) == 1


async def test_an_event_that_the_service_left_out_is_found_with_a_bundle(
    app: App, ada: Account, bob: Account, tmp_path: Path
) -> None:
    """An event that was taken out of the trail is in the ledger: whoever has all entries finds that it is missing."""
    event = await own(app, bob, "profile.view")
    await app.store.delete(AUDIT_EVENTS, (bob.tenant_id, PERIOD), event["id"])
    answer = await ask(app, bob)
    days = {"from": "2026-03-01", "to": "2026-04-01", "personal": "false"}
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes((await app.client.get("/v1/ledger/bundle", params=days, headers=ada.auth)).content)
    paths, keys = save(tmp_path, [answer]), read([answer])[0]["keys"]
    assert verifier.verify(paths, keys).result == OK, "the person alone cannot see it"
    checks = verifier.verify(paths, keys, [str(bundle)])
    assert checks.result == WRONG
    assert f"{event['id']} names the person and is not in the export" in table(checks)
