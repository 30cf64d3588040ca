"""GET /events/export: whole, once, resumable, and in the trail."""

import json
from datetime import timedelta

import pytest

from functions._cursors import LIFETIME_SECONDS
from shared.audit import exports
from shared.audit.export_formats import COLUMNS
from shared.audit.export_runs import ABANDONED_AFTER
from shared.core.clock import rfc3339
from shared.identity.model import Role
from shared.storage.containers import AUDIT_EVENTS
from tests.app import Account, App, assert_problem
from tests.exporting import HOSTILE, PATH, expected, fill, ids_in, joined, next_of, walk


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of three events."""
    monkeypatch.setattr(exports, "MOST_ROWS", 3)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["csv", "jsonl", "ocsf"])
async def test_the_parts_are_one_file_that_equals_the_store(app: App, ada: Account, grace: Account, name: str) -> None:
    await fill(app, ada, 5, HOSTILE)
    await fill(app, grace, 2)
    app.clock.advance(seconds=1)
    file = await expected(app, ada.tenant_id, name)
    stored = [event["id"] for event in await app.events(ada.tenant_id)]
    parts = await walk(app, ada.auth, format=name)
    assert joined(parts) == file
    assert ids_in(name, file) == stored
    assert len(parts) == -(-len(stored) // 3)
    assert [int(part.headers["x-record-count"]) for part in parts[:-1]] == [3] * (len(parts) - 1)
    media = "text/csv; charset=utf-8" if name == "csv" else "application/x-ndjson"
    assert {part.headers["content-type"] for part in parts} == {media}
    names = [part.headers["content-disposition"] for part in parts]
    assert names[0] == f'attachment; filename="audit-events-20260315T120001Z-00001.{names[0].split(".", 1)[1]}'
    assert len(set(names)) == len(parts)
    assert grace.tenant_id not in file.decode()
    if name == "csv":
        assert file.startswith(b"id,tenant_id,")
        assert file.count(COLUMNS[-1].encode()) == 1, "the names stand at the beginning only"

    (event,) = await app.events(ada.tenant_id, "audit.export")
    assert (event["record_count"], event["outcome"], event["reason"]) == (len(stored), "success", None)
    assert event["attributes"]["format"] == name
    assert event["actor"] == {"kind": "user", "id": ada.id, "role": "tenant_admin"}
    shown = await app.services.search.shown(event)
    assert shown["personal"][ada.id]["filters"] == {"to": "2026-03-15T12:00:01.007000Z"}
    assert shown["personal"][ada.id]["email"] == ada.email
    assert shown["personal"][ada.id]["ip"] == "203.0.113.9"


@pytest.mark.usefixtures("small")
async def test_what_comes_while_it_runs_is_left_to_the_next_one(app: App, ada: Account) -> None:
    await fill(app, ada, 7)
    app.clock.advance(seconds=1)
    stored = [event["id"] for event in await app.events(ada.tenant_id)]
    answer = await app.client.get(PATH, headers=ada.auth)
    found = ids_in("jsonl", answer.content)
    while (following := next_of(answer)) is not None:
        await fill(app, ada, 4)
        answer = await app.client.get(following, headers=ada.auth)
        found += ids_in("jsonl", answer.content)
    assert found == stored
    again = ids_in("jsonl", joined(await walk(app, ada.auth)))
    assert again[: len(stored)] == stored
    assert len(again) > len(stored)


@pytest.mark.usefixtures("small")
async def test_a_part_can_be_asked_for_again(app: App, ada: Account) -> None:
    await fill(app, ada, 8)
    app.clock.advance(seconds=1)
    first = await app.client.get(PATH, params={"format": "csv", "outcome": "success"}, headers=ada.auth)
    second_at = next_of(first)
    assert second_at is not None
    second = await app.client.get(second_at, headers=ada.auth)
    third_at = next_of(second)
    assert third_at is not None
    last_at, parts = third_at, [first, second]
    while (following := next_of(parts[-1])) is not None:
        last_at = following
        parts.append(await app.client.get(following, headers=ada.auth))
    for at, part in ((second_at, second), (last_at, parts[-1]), (third_at, parts[2]), (last_at, parts[-1])):
        app.clock.advance(minutes=2)
        again = await app.client.get(at, headers=ada.auth)
        assert again.content == part.content
    (event,) = await app.events(ada.tenant_id, "audit.export")
    assert event["record_count"] == sum(int(part.headers["x-record-count"]) for part in parts)


@pytest.mark.usefixtures("small")
async def test_one_that_is_left_is_in_the_trail_with_what_it_took(app: App, ada: Account) -> None:
    await fill(app, ada, 12)
    first = await app.client.get(PATH, params={"type": "user.update"}, headers=ada.auth)
    began = app.clock.now()
    app.clock.advance(minutes=10)
    second = await app.client.get(next_of(first) or "", headers=ada.auth)
    assert await app.host.run_timer("close_exports")
    assert await app.events(ada.tenant_id, "audit.export") == [], "it may go on"
    app.clock.advance(seconds=LIFETIME_SECONDS)
    third_at = next_of(second) or ""
    renewed = await app.client.post("/v1/token/refresh", json={"refresh_token": ada.refresh_token})
    auth = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
    assert_problem(await app.client.get(third_at, headers=auth), 422, "invalid_request", "cursor")
    app.clock.advance(seconds=ABANDONED_AFTER.total_seconds() - LIFETIME_SECONDS + 1)
    for _ in range(2):
        assert await app.host.run_timer("close_exports")
    (event,) = await app.events(ada.tenant_id, "audit.export")
    assert (event["record_count"], event["reason"], event["outcome"]) == (6, "abandoned", "success")
    assert event["occurred_at"] == rfc3339(began)
    assert event["recorded_at"] == rfc3339(app.clock.now())
    assert event["source"] == {"kind": "session", "id": event["context"]["session_id"]}
    shown = await app.services.search.shown(event)
    assert shown["personal"][ada.id]["filters"]["type"] == ["user.update"]
    app.clock.advance(hours=2)
    assert await app.host.run_timer("close_exports")
    assert len(await app.events(ada.tenant_id, "audit.export")) == 1


@pytest.mark.usefixtures("small")
async def test_a_cursor_is_of_one_export_of_one_caller(app: App, ada: Account, grace: Account) -> None:
    await fill(app, ada, 8)
    await fill(app, grace, 8)
    app.clock.advance(seconds=1)
    first = await app.client.get(PATH, params={"format": "csv"}, headers=ada.auth)
    cursor = (first.links["next"]["url"]).partition("cursor=")[2]
    other = (await app.login(ada.email)).json()["access_token"]
    tampered = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    for headers, params in (
        (grace.auth, {"format": "csv", "cursor": cursor}),
        ({"Authorization": f"Bearer {other}"}, {"format": "csv", "cursor": cursor}),
        (ada.auth, {"format": "jsonl", "cursor": cursor}),
        (ada.auth, {"cursor": cursor}),
        (ada.auth, {"format": "csv", "outcome": "success", "cursor": cursor}),
        (ada.auth, {"format": "csv", "cursor": tampered}),
        (ada.auth, {"format": "csv", "cursor": ""}),
    ):
        answer = await app.client.get(PATH, params=params, headers=headers)
        assert_problem(answer, 422, "invalid_request", "cursor")
    page = await app.client.get("/v1/admin/logs/authorization", params={"limit": "1"}, headers=ada.auth)
    foreign = {"cursor": page.json()["next_cursor"] or cursor}
    assert_problem(await app.client.get(PATH, params=foreign, headers=ada.auth), 422, "invalid_request", "cursor")
    assert (await app.client.get(PATH, params={"format": "csv", "cursor": cursor}, headers=ada.auth)).is_success


async def test_filters_hold_and_are_checked(app: App, ada: Account) -> None:
    await fill(app, ada, 3)
    between = rfc3339(app.clock.now())
    await fill(app, ada, 2)
    app.clock.advance(seconds=1)
    ids = [event["id"] for event in await app.events(ada.tenant_id, "user.update")]
    kinds = {"type": "user.*"}
    assert ids_in("jsonl", joined(await walk(app, ada.auth, **kinds))) == ids
    assert ids_in("jsonl", joined(await walk(app, ada.auth, **kinds, to=between))) == ids[:3]
    assert ids_in("jsonl", joined(await walk(app, ada.auth, **kinds, **{"from": between}))) == ids[3:]
    assert ids_in("jsonl", joined(await walk(app, ada.auth, email=ada.email.upper(), **kinds))) == ids
    later = rfc3339(app.clock.now() + timedelta(days=1))
    assert ids_in("jsonl", joined(await walk(app, ada.auth, to=later, **kinds))) == ids
    for params, field in (
        ({"type": "user.*' OR 1=1"}, "type.0"),
        ({"actor": "x; DROP"}, "actor"),
        ({"format": "xml"}, "format"),
        ({"limit": "10"}, "limit"),
        ({"ip": "nowhere"}, "ip"),
        ({"from": "yesterday"}, "from"),
    ):
        answer = await app.client.get(PATH, params=params, headers=ada.auth)
        assert_problem(answer, 422, "invalid_request", field)


@pytest.mark.parametrize(("name", "header"), [("csv", ",".join(COLUMNS) + "\r\n"), ("jsonl", ""), ("ocsf", "")])
async def test_nothing_to_export(app: App, ada: Account, name: str, header: str) -> None:
    (part,) = await walk(app, ada.auth, format=name, outcome="error")
    assert part.text == header
    assert part.headers["x-record-count"] == "0"
    (event,) = await app.events(ada.tenant_id, "audit.export")
    assert event["record_count"] == 0


async def test_a_last_part_is_full_but_not_followed(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(app, ada, 7)
    for most, parts in ((7, [7]), (6, [6, 1]), (1, [1] * 7)):
        monkeypatch.setattr(exports, "MOST_ROWS", most)
        found = await walk(app, ada.auth, type="user.update")
        assert [int(part.headers["x-record-count"]) for part in found] == parts
    assert [event["record_count"] for event in await app.events(ada.tenant_id, "audit.export")] == [7, 7, 7]


@pytest.mark.usefixtures("small")
async def test_months_follow_one_another(app: App, ada: Account) -> None:
    for days in (40, 40, 1):
        await fill(app, ada, 4)
        app.clock.advance(days=days)
    auth = {"Authorization": f"Bearer {(await app.login(ada.email)).json()['access_token']}"}
    stored = await app.events(ada.tenant_id, "user.update")
    assert len({event["period"] for event in stored}) == 3
    found = ids_in("jsonl", joined(await walk(app, auth, type="user.update")))
    assert found == [event["id"] for event in stored]


async def test_large_events_make_smaller_parts(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MOST_BYTES", 150_000)
    await fill(app, ada, 5, "ż" * 30_000)
    await fill(app, ada, 1, "x" * 200_000)
    await fill(app, ada, 5)
    app.clock.advance(seconds=1)
    parts = await walk(app, ada.auth, type="user.update")
    assert [int(part.headers["x-record-count"]) for part in parts] == [2, 2, 1, 1, 5]
    assert joined(parts) == await expected(app, ada.tenant_id, "jsonl", type="user.update")


async def test_a_program_gets_events_without_what_is_personal(app: App, ada: Account) -> None:
    await fill(app, ada, 2)
    app.clock.advance(seconds=1)
    for scope, status in (("events:read", 200), ("alerts:read", 403)):
        body = {"name": "siem", "scopes": [scope]}
        made = (await app.client.post("/v1/admin/api-keys", json=body, headers=ada.auth)).json()
        app.clock.advance(seconds=1)
        program = {"Authorization": f"Bearer {made['key']}"}
        for name in ("csv", "jsonl", "ocsf"):
            answer = await app.client.get(PATH, params={"format": name, "email": ada.email}, headers=program)
            assert answer.status_code == status
            assert ada.email not in answer.text
            assert "203.0.113.9" not in answer.text
    events = await app.events(ada.tenant_id, "audit.export")
    assert [each["actor"]["kind"] for each in events] == ["service"] * 3
    assert {each["record_count"] > 0 for each in events} == {True}
    assert [each["attributes"]["filtered_by"] for each in events] == [["email", "to"]] * 3
    assert {*events[0]["attributes"]["criteria"]} == {"to"}
    assert ada.email not in json.dumps(events), "a program is nobody's person, so nothing of hers is kept for it"


async def test_who_may_not_read_the_trail_takes_nothing_from_it(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com", Role.USER)
    assert_problem(await app.client.get(PATH, headers=bob.auth), 403, "forbidden")
    assert await app.events(ada.tenant_id, "audit.export") == []
    assert len(await app.events(ada.tenant_id, "access.denied")) == 1


async def test_an_event_of_somebody_who_was_forgotten(app: App, ada: Account) -> None:
    """What erasure leaves: no boxes and no keyed hashes."""
    await fill(app, ada, 1)
    (event,) = await app.events(ada.tenant_id, "user.update")
    gone = dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key"))
    changed = {**event, **gone, "personal": {}, "erased_at": rfc3339(app.clock.now())}
    await app.store.replace(AUDIT_EVENTS, (ada.tenant_id, event["period"]), changed)
    for name in ("csv", "jsonl", "ocsf"):
        (part,) = await walk(app, ada.auth, format=name, type="user.update")
        assert ids_in(name, part.content) == [event["id"]]
        assert changed["erased_at"] in part.text
        assert ada.email not in part.text
