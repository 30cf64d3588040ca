"""What the service tells of itself and of its sources, so that silence can be told from nothing to say."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared.audit.heartbeats import LOOK_BACK_DAYS, Heartbeats
from shared.core.clock import rfc3339
from shared.core.version import VERSION
from shared.detection import all_patterns
from shared.identity.api_keys import api_key_key
from shared.storage.containers import ALERTS, DEAD_LETTERS, IDENTITY
from shared.storage.documents import Item
from shared.storage.errors import Unavailable
from tests.app import Account, App
from tests.audit.support import TIMER
from tests.fakes import ManualClock

POLICY = {
    "lockout_max_attempts": 10,
    "lockout_window_minutes": 15,
    "lockout_minutes": 30,
    "password_min_length": 12,
    "password_history": 4,
    "session_idle_minutes": 1440,
    "session_days": 30,
    "access_token_minutes": 15,
    "step_up_minutes": 15,
    "retention_days": 2555,
    "require_mfa": "off",
    "time_zone": "UTC",
    "muted_patterns": 0,
    "changed_thresholds": 0,
    "legal_holds": 0,
}


async def beats(app: App, tenant_id: str, source: str) -> list[Item]:
    found = await app.events(tenant_id, "system.heartbeat")
    return [event["attributes"] for event in found if event["attributes"]["source"] == source]


async def tell(app: App) -> None:
    assert await app.host.run_timer("tell_of_life")


async def key_of(app: App, admin: Account, *scopes: str, **more: Any) -> tuple[str, dict[str, str]]:
    body = {"name": "billing", "scopes": list(scopes or ("events:write",)), **more}
    made = (await app.client.post("/v1/admin/api-keys", json=body, headers=admin.auth)).json()
    return made["id"], {"Authorization": f"Bearer {made['key']}"}


async def send(app: App, key: dict[str, str]) -> None:
    body = {"type": "custom.test", "actor": {"kind": "service", "id": "billing"}}
    assert (await app.client.post("/v1/events", json=body, headers=key)).status_code == 201


async def silences(app: App, tenant_id: str) -> list[tuple[str, Any]]:
    found = await app.events(tenant_id, "system.error")
    assert all(event["outcome"] == "error" and event["target"]["kind"] == "api_key" for event in found)
    return [(event["target"]["id"], event["attributes"]) for event in found]


async def test_every_hour_of_the_service_and_every_day_of_a_tenant(app: App, ada: Account, grace: Account) -> None:
    mutes = [{"pattern": "brute_force", "reason": "a test", "until": "2026-03-15T18:00:00Z"}]
    settings = {"require_mfa": "admins", "time_zone": "Europe/Warsaw", "mutes": mutes}
    assert (await app.client.put("/v1/admin/settings", json=settings, headers=ada.auth)).status_code == 200
    await app.services.directory.enroll_tenant("0195c000-0000-7000-8000-00000000000e")  # and then failed
    for minutes in (0, 20, 39):  # within one hour
        app.clock.advance(minutes=minutes - (minutes == 39) * 20)
        await tell(app)
    (start,) = await app.events(type_="system.start")
    assert start["attributes"] == {"version": VERSION}
    (service,) = await beats(app, "platform", "service")
    assert service["version"] == VERSION
    (policy,) = await beats(app, ada.tenant_id, "policy")
    own = {"require_mfa": "admins", "time_zone": "Europe/Warsaw", "muted_patterns": 1}
    assert policy["policy"] == {**POLICY, **own}
    assert [each["policy"] for each in await beats(app, grace.tenant_id, "policy")] == [POLICY]
    app.clock.advance(hours=11)
    await tell(app)
    assert len(await beats(app, ada.tenant_id, "policy")) == 1
    assert len(await beats(app, "platform", "service")) == 2
    app.clock.advance(hours=1)
    await tell(app)
    *_, later = sorted(await beats(app, ada.tenant_id, "policy"), key=lambda each: each["policy"]["muted_patterns"])
    assert len(await beats(app, ada.tenant_id, "policy")) == 2
    assert later["policy"]["muted_patterns"] == 1
    assert {each["policy"]["muted_patterns"] for each in await beats(app, ada.tenant_id, "policy")} == {0, 1}
    assert await app.events("0195c000-0000-7000-8000-00000000000e") == []


async def test_the_clock_is_held_against_the_stores(app: App, ada: Account) -> None:
    heartbeats = app.services.heartbeats
    app.clock.advance(minutes=10)
    for seconds in (6, -7):
        app.clock.advance(hours=1)
        held = ManualClock(app.clock.now() + timedelta(seconds=seconds))
        off = Heartbeats(app.store, app.services.recorder, app.services.outbox, held, _nothing, _nothing)
        await asyncio.gather(*(off.beat("platform", TIMER) for _ in range(3)))
    app.clock.advance(hours=1)
    await asyncio.gather(*(each.beat("platform", TIMER) for each in [heartbeats] * 5))
    await asyncio.gather(*(heartbeats.beat(ada.tenant_id, TIMER) for _ in range(5)))
    fast, slow, right = [each["clock_offset_ms"] for each in await beats(app, "platform", "service")]
    assert (abs(fast - 6000) <= 500, abs(slow + 7000) <= 500, abs(right) <= 500) == (True, True, True)
    assert [event["attributes"] for event in await app.events(type_="system.error")] == [
        {"source": "service", "error_code": "clock_offset", "clock_offset_ms": each} for each in (fast, slow)
    ]
    (policy,) = await beats(app, ada.tenant_id, "policy")
    assert policy["clock_offset_ms"] == right, "measured once for all tenants"


async def _nothing(*_: object) -> None:
    return None


async def test_a_day_is_told_of_once_detection_has_worked_through_it(app: App, ada: Account) -> None:
    await tell(app)
    await app.login(ada.email, "a guess")
    app.clock.advance(days=1)
    await tell(app)
    await tell(app)
    assert await beats(app, ada.tenant_id, "detect_threats") == [], "nobody has seen this day's mark yet"
    await app.host.drain_feed()
    for _ in range(3):
        await tell(app)
    events = [event for event in await app.events(ada.tenant_id) if event["recorded_at"] < "2026-03-16"]
    (told,) = await beats(app, ada.tenant_id, "detect_threats")
    assert told == {
        "source": "detect_threats",
        "window_from": "2026-03-15T00:00:00.000000Z",
        "window_to": "2026-03-16T00:00:00.000000Z",
        "events": len(events),
        "patterns": len(all_patterns()),
        "waiting": 0,
    }
    before = await app.types(ada.tenant_id)
    for _ in range(3):
        await app.host.drain_feed()
        await tell(app)
    assert await app.types(ada.tenant_id) == before, "what it tells is nothing to tell of"


async def test_days_without_a_run_are_made_up_for(app: App, ada: Account) -> None:
    await tell(app)
    app.clock.advance(days=3)
    await tell(app)
    await app.host.drain_feed()
    letter = {"id": "x", "tenant_id": ada.tenant_id, "kind": "dead_letter", "consumer": "detect_threats"}
    await app.store.create(DEAD_LETTERS, (ada.tenant_id,), {**letter, "created_at": "2026-03-15T12:00:00.000000Z"})
    await tell(app)
    told = await beats(app, ada.tenant_id, "detect_threats")
    assert sorted(each["window_from"][:10] for each in told) == ["2026-03-15", "2026-03-16", "2026-03-17"]
    assert {each["waiting"] for each in told} == {1}
    app.clock.advance(days=30)
    await tell(app)
    await app.host.drain_feed()
    await tell(app)
    told = await beats(app, ada.tenant_id, "detect_threats")
    assert len(told) == 3 + LOOK_BACK_DAYS, "what is too long ago stays untold"
    assert max(each["window_from"] for each in told) == "2026-04-16T00:00:00.000000Z"


async def test_an_old_mark_that_comes_again_takes_nothing_back(app: App, ada: Account) -> None:
    await tell(app)
    old = await app.events(ada.tenant_id, "system.heartbeat")
    app.clock.advance(days=1)
    await tell(app)
    await app.host.drain_feed()
    mark = await app.store.read(ALERTS, (ada.tenant_id,), "reached")
    odd = {"type": "system.heartbeat", "tenant_id": ada.tenant_id, "outcome": "success"}
    await app.services.detection.consume([*old, {**odd, "id": "a", "attributes": None}, {**odd, "id": "b"}])
    assert await app.store.read(ALERTS, (ada.tenant_id,), "reached") == mark


async def test_a_source_that_falls_silent_and_comes_back(app: App, ada: Account) -> None:
    key_id, key = await key_of(app, ada)
    _, never = await key_of(app, ada)
    _, reader = await key_of(app, ada, "alerts:read")
    assert (await app.client.get("/v1/alerts", headers=reader)).status_code == 200
    await send(app, key)
    last = rfc3339(app.clock.now())
    app.clock.advance(hours=24)
    await tell(app)
    assert await silences(app, ada.tenant_id) == [], "a day is allowed"
    app.clock.advance(hours=1)
    await tell(app)
    await tell(app)
    assert await silences(app, ada.tenant_id) == [
        (key_id, {"source": "api_key", "error_code": "source_silent", "since": last})
    ]
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), api_key_key(key_id)))["silent_since"] == last
    app.clock.advance(hours=5)
    await asyncio.gather(*(send(app, key) for _ in range(4)))
    back = rfc3339(app.clock.now())
    (event,) = [
        each
        for each in await app.events(ada.tenant_id, "system.heartbeat")
        if each["attributes"]["source"] == "api_key"
    ]
    assert event["attributes"] == {"source": "api_key", "window_from": last, "window_to": back}
    assert (event["target"], event["actor"]["id"]) == ({"kind": "api_key", "id": key_id}, key_id)
    admin = {"Authorization": f"Bearer {(await app.login(ada.email)).json()['access_token']}"}
    shown = {each["id"]: each for each in (await app.client.get("/v1/admin/api-keys", headers=admin)).json()["items"]}
    assert (shown[key_id]["last_sent_at"], shown[key_id]["silent_since"]) == (back, None)
    app.clock.advance(hours=25)
    await tell(app)
    assert [each["since"] for _, each in await silences(app, ada.tenant_id)] == [last, back], "a second silence"
    assert never


async def test_who_is_expected_and_for_how_long(app: App, ada: Account, grace: Account) -> None:
    """Not a key that was revoked or has expired; and each tenant says what silence is."""
    thresholds = {"report_thresholds": {"source_silence_hours": 2}}
    assert (await app.client.put("/v1/admin/settings", json=thresholds, headers=ada.auth)).status_code == 200
    revoked, first = await key_of(app, ada)
    _, second = await key_of(app, ada, expires_at=rfc3339(app.clock.now() + timedelta(hours=1)))
    kept, third = await key_of(app, ada)
    _, fourth = await key_of(app, grace)
    for key in (first, second, third, fourth):
        await send(app, key)
    assert (await app.client.delete(f"/v1/admin/api-keys/{revoked}", headers=ada.auth)).status_code == 204
    app.clock.advance(hours=3)
    await tell(app)
    assert [key_id for key_id, _ in await silences(app, ada.tenant_id)] == [kept]
    assert await silences(app, grace.tenant_id) == []


async def test_a_note_that_fails_keeps_no_producer_from_its_answer(app: App, ada: Account) -> None:
    key_id, key = await key_of(app, ada)

    async def broken(*_: object) -> None:
        raise Unavailable("made to fail")

    sources = app.services.sources
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(sources), "_note", broken)
        await send(app, key)
    item = await app.store.read(IDENTITY, (ada.tenant_id,), api_key_key(key_id))
    assert item["last_sent_at"] is None
    assert len(await app.events(ada.tenant_id, "custom.test")) == 1
    await send(app, key)
    item = await app.store.read(IDENTITY, (ada.tenant_id,), api_key_key(key_id))
    assert item["last_sent_at"] == rfc3339(app.clock.now()), "the next call's note is as good"
