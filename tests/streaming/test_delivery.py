"""A stream over the ledger: at least once, in order, with nothing lost, whatever the receiver does."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.audit.export_formats import json_line
from shared.audit.ocsf import to_ocsf
from shared.ledger.shards import head_id
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import PatchSet
from shared.storage.errors import PreconditionFailed, Unavailable
from shared.streaming.delivery import BUSY, LEAST_FAILURES, LONGEST_PAUSE, SLICE, pause_after
from shared.streaming.model import MOST_BYTES, MOST_EVENTS, Position
from shared.streaming.sender import Answer
from shared.streaming.signing import new_secret
from shared.streaming.state import LEASE
from tests.faults import Crash, FaultyStore
from tests.ledger.world import OTHER, PERIOD, TENANT
from tests.streaming.support import SECRET, URL, Stage, by

HOUR = timedelta(hours=1)


def sent(stage: Stage, number: int = -1) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(stage.line.sent[number][2])
    return body


async def test_all_of_it_in_order_each_once(stage: Stage) -> None:
    """Begins with what is sealed after the webhook was set; more than one message; nothing is written without news."""
    await stage.seal(5)
    await stage.put()
    events = await stage.seal(2 * MOST_EVENTS + 7)
    assert await stage.run() is None
    assert stage.received() == list(range(5, 5 + len(events)))
    assert {key[1] for key in stage.inbox.events} == {event["id"] for event in events}
    assert (stage.inbox.duplicates, stage.inbox.wrong, stage.inbox.messages) == (0, [], 3)
    progress = await stage.progress()
    assert (progress.next, progress.owner, progress.failures) == ({PERIOD: 5 + len(events)}, None, 0)
    assert [told[:2] for told in stage.one.told] == [("delivered", 100), ("delivered", 100), ("delivered", 7)]
    assert await stage.run() is None
    assert (await stage.progress()).etag == progress.etag
    assert len(stage.line.sent) == 3
    assert [each["outcome"] for each in await stage.attempts()] == ["delivered"] * 3


async def test_a_message(quick: Stage) -> None:
    await quick.put()
    events = await quick.seal(2)
    await quick.run()
    url, headers, _ = quick.line.sent[0]
    body = sent(quick)
    assert url == URL
    assert set(headers) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert body.keys() == {"type", "timestamp", "data"}
    assert (body["type"], body["timestamp"]) == ("audit.events", events[-1]["recorded_at"])
    data = body["data"]
    assert (data["tenant_id"], data["period"], data["format"]) == (TENANT, PERIOD, "native")
    assert [each["index"] for each in data["events"]] == [0, 1]
    kept = {name: value for name, value in events[0].items() if name != "personal"}
    keyless = dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key"))
    assert data["events"][0]["event"] == {**kept, "personal": {}, **keyless}


async def test_only_the_types_that_are_wanted_and_what_is_not_is_behind_it(quick: Stage) -> None:
    await quick.put(types=("custom.*", "auth.logout"))
    await quick.seal(30)
    assert await quick.run() is None
    assert {event["type"] for event in quick.inbox.events.values()} == {"custom.invoice_paid"}
    assert len(quick.inbox.events) == 10
    await quick.seal(1, type="auth.logout")
    await quick.seal(1, type="auth.logout_not")
    await quick.seal(1, type="auth.login")
    await quick.run()
    assert (len(quick.inbox.events), (await quick.progress()).next[PERIOD]) == (11, 33)


async def test_ocsf(quick: Stage) -> None:
    await quick.put(format="ocsf")
    events = await quick.seal(1)
    await quick.run()
    (placed,) = sent(quick)["data"]["events"]
    keyless = dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key"))
    assert placed["event"] == json.loads(json_line(to_ocsf({**events[0], **keyless})))
    assert placed["event"]["metadata"]["uid"] == events[0]["id"]


def personal(*persons: str) -> dict[str, Any]:
    """Fields of an event that is about persons, boxes as the clear box of tests makes them."""
    salt = base64.b64encode(b"s" * 32).decode()
    boxes = {who: {"form": "clear", "salt": salt, "data": {"email": f"{who}@example.com"}} for who in persons}
    return {"personal": boxes, "commitments": dict.fromkeys(persons, "A" * 43 + "="), "subjects": [*persons]}


async def test_personal_data_is_left_out_unless_it_is_asked_for(stage: Stage) -> None:
    await stage.put()
    await stage.seal(1, **personal("ada", "bob"), ip_key="v1:ff")
    await stage.run()
    assert b"example.com" not in stage.line.sent[-1][2].replace(b"receiver.example.com", b"")
    (placed,) = sent(stage)["data"]["events"]
    assert placed["event"]["personal"] == {"ada": {"withheld": True}, "bob": {"withheld": True}}
    assert placed["event"]["ip_key"] is None
    await stage.put(personal="opened")
    await stage.seal(1, **personal("ada", "bob"), ip_key="v1:ff")
    await stage.run()
    (placed,) = sent(stage)["data"]["events"]
    assert placed["event"]["personal"] == {who: {"email": f"{who}@example.com"} for who in ("ada", "bob")}
    assert placed["event"]["ip_key"] == "v1:ff"


async def test_nothing_of_an_erased_person_is_sent_again(stage: Stage) -> None:
    """From the tombstone on, before the trail is swept; and after it is."""
    await stage.put(personal="opened")
    (event,) = await stage.seal(1, **personal("ada", "bob"), ip_key="v1:ff", actor_key="v1:aa")
    await stage.run()
    assert b"ada@example.com" in stage.line.sent[-1][2]
    stage.one.erased.add("ada")
    await stage.one.webhooks.replay(by(), f"{PERIOD}/0", stage.request)
    await stage.run()
    (placed,) = sent(stage)["data"]["events"]
    assert placed["event"]["personal"] == {"ada": {"erased": True}, "bob": {"email": "bob@example.com"}}
    assert (placed["event"]["ip_key"], placed["event"]["actor_key"]) == (None, None)
    swept = [PatchSet("personal", {}), PatchSet("erased_at", "2026-03-15T12:00:00.000000Z")]
    await stage.world.store.patch(AUDIT_EVENTS, (TENANT, PERIOD), event["id"], swept)
    await stage.one.webhooks.replay(by(), f"{PERIOD}/0", stage.request)
    await stage.run()
    (placed,) = sent(stage)["data"]["events"]
    assert placed["event"]["personal"] == {"ada": {"erased": True}, "bob": {"erased": True}}
    assert placed["event"]["erased_at"] == "2026-03-15T12:00:00.000000Z"


async def test_no_keyed_hash_of_an_erased_person_is_sent(quick: Stage) -> None:
    """Also of one of whom the event holds nothing but that: before the sweep has come by."""
    await quick.put(personal="opened")
    await quick.seal(1, **{**personal("bob"), "subjects": ["ada", "bob"]}, target_key="v1:ff")
    await quick.run()
    (placed,) = sent(quick)["data"]["events"]
    assert placed["event"]["target_key"] == "v1:ff"
    quick.one.erased.add("ada")
    await quick.one.webhooks.replay(by(), f"{PERIOD}/0", quick.request)
    await quick.run()
    (placed,) = sent(quick)["data"]["events"]
    assert placed["event"]["target_key"] is None
    assert placed["event"]["personal"] == {"bob": {"email": "bob@example.com"}}


async def test_an_event_that_was_changed_or_taken_away_leaves_as_it_was_sealed(quick: Stage) -> None:
    await quick.put(personal="opened")
    first, second = await quick.seal(2, **personal("ada"))
    partition = (TENANT, PERIOD)
    await quick.world.store.patch(AUDIT_EVENTS, partition, first["id"], [PatchSet("type", "custom.forged")])
    await quick.world.store.delete(AUDIT_EVENTS, partition, second["id"])
    await quick.run()
    placed = [each["event"] for each in sent(quick)["data"]["events"]]
    assert [each["type"] for each in placed] == [first["type"], second["type"]]
    assert [each["personal"] for each in placed] == [{"ada": {"email": "ada@example.com"}}, {"ada": {"damaged": True}}]


@pytest.mark.parametrize("failure", [400, 401, 404, 429, 500, 503, 302, "timeout", "connection_lost", "bad_answer"])
async def test_a_failure_waits_and_loses_nothing(quick: Stage, failure: int | str) -> None:
    await quick.put()
    await quick.seal(3)
    quick.line.script = [failure]
    assert await quick.run() == timedelta(seconds=5)
    progress = await quick.progress()
    assert (progress.failures, progress.next, progress.owner) == (1, {}, None)
    assert quick.one.told == [("failed", 3, 0.0)]
    assert await quick.run() == timedelta(seconds=5)
    assert len(quick.line.sent) == 1, "not before it is due"
    await quick.seal(3)
    quick.clock.advance(seconds=5)
    assert await quick.run() is None
    assert quick.received() == list(range(6))
    progress = await quick.progress()
    assert (progress.failures, progress.failing_since, progress.retry_at) == (0, None, None)
    told = [(each["outcome"], each["status"], each["reason"]) for each in await quick.attempts()]
    status, reason = (failure, "status") if isinstance(failure, int) else (None, failure)
    assert told == [("failed", status, reason), ("delivered", 204, None)]


async def test_a_retry_of_the_same_events_has_the_same_id_and_body(quick: Stage) -> None:
    await quick.put()
    await quick.seal(3)
    quick.line.script = [500, "timeout"]
    for _ in range(3):
        await quick.go_on()
    assert len({(headers["webhook-id"], body) for _, headers, body in quick.line.sent}) == 1
    await quick.one.webhooks.replay(by(), f"{PERIOD}/0", quick.request)
    await quick.run()
    assert quick.inbox.duplicates == 3
    ids = [headers["webhook-id"] for _, headers, _ in quick.line.sent]
    assert ids[3] != ids[0], "who drops known ids would drop a replay"
    await quick.one.webhooks.delete(by(), None, quick.request)
    quick.clock.advance(seconds=1)
    await quick.put()
    await quick.one.webhooks.replay(by(), f"{PERIOD}/0", quick.request)
    await quick.run()
    assert quick.line.sent[-1][1]["webhook-id"] not in ids, "nor is it that of a webhook before"


def test_pauses_double_up_to_a_quarter_of_an_hour_and_chance_cuts_half_at_most() -> None:
    assert [pause_after(n, 0.0).total_seconds() for n in (1, 2, 3, 8, 9, 1000)] == [5, 10, 20, 640, 900, 900]
    assert pause_after(1, 1.0) == timedelta(seconds=2.5)
    assert pause_after(99, 1.0) == LONGEST_PAUSE / 2


async def test_retry_after_is_heeded(quick: Stage) -> None:
    await quick.put()
    await quick.seal(1)
    quick.line.script = [Answer(429, retry_after=1800), Answer(503, retry_after=1)]
    assert await quick.run() == timedelta(seconds=1800)
    quick.clock.advance(seconds=1800)
    assert await quick.run() == timedelta(seconds=10), "never sooner than the pause"
    quick.clock.advance(seconds=10)
    quick.one.chance, quick.line.script = 0.5, [Answer(429, retry_after=600)]
    assert await quick.run() == timedelta(seconds=630), "nor all at once"


async def test_a_receiver_that_takes_less_gets_less(quick: Stage) -> None:
    await quick.put()
    await quick.seal(MOST_EVENTS)
    quick.line.script = [413, 413, 413]
    while quick.received() != list(range(MOST_EVENTS)):
        await quick.go_on()
    counts = [len(json.loads(body)["data"]["events"]) for _, _, body in quick.line.sent]
    assert counts == [100, 50, 25, 12, 17, 22, 27, 22]
    assert (await quick.progress()).limit == 37


async def test_a_receiver_with_a_limit_is_seldom_asked_for_more(quick: Stage) -> None:
    """Each 413 is a pause: the size of messages is felt for in small steps, or a busy tenant would never catch up."""
    await quick.put()
    await quick.seal(900)
    post, refused = quick.line.post, 0

    async def limited(url: str, headers: Any, body: bytes, *, packed: bool = False) -> Answer:
        nonlocal refused
        if len(json.loads(body)["data"]["events"]) <= 60:
            return await post(url, headers, body, packed=packed)
        refused += 1
        return Answer(413)

    quick.line.post = limited  # type: ignore[method-assign] # a proxy before the receiver
    while await quick.go_on() is not None:
        continue
    assert quick.received() == list(range(900))
    assert refused <= 4


async def test_after_a_day_of_failure_it_pauses_and_an_event_says_so(stage: Stage) -> None:
    await stage.put()
    await stage.seal(3)
    stage.line.script = [500] * 1000
    began = stage.clock.now()
    while (await stage.progress()).paused is None:
        assert await stage.run() is not None
        stage.clock.advance(minutes=60)
        assert stage.clock.now() - began < timedelta(hours=27)
    assert stage.clock.now() - began > timedelta(hours=24)
    (event,) = await stage.recorded("webhook.pause")
    assert (event["outcome"], event["reason"], event["severity"]) == ("failure", "failing", "high")
    assert event["attributes"]["position"] == f"{PERIOD}/0"
    assert event["target"] == {"kind": "webhook", "id": TENANT}
    assert stage.one.told[-1][0] == "paused"
    found = (await stage.one.webhooks.get(TENANT)).body
    assert (found["state"], found["paused_reason"], found["backlog"]) == ("paused", "failing", 3)
    attempts = len(stage.line.sent)
    assert (await stage.run(), len(stage.line.sent)) == (None, attempts)
    stage.line.script = []
    await stage.put()
    assert stage.one.woken == [TENANT] * 2
    await stage.run()
    assert stage.received() == [0, 1, 2]
    assert (await stage.one.webhooks.get(TENANT)).body["state"] == "active"


async def test_a_day_in_which_nobody_tried_is_no_day_of_failure(quick: Stage) -> None:
    """One failure, then two days in which the tenant was suspended, or the app did not run."""
    await quick.put()
    await quick.seal(1)
    quick.line.script = [500] * LEAST_FAILURES
    await quick.run()
    quick.one.active = False
    quick.clock.advance(days=2)
    assert await quick.run() is None
    quick.one.active = True
    for _ in range(LEAST_FAILURES - 2):
        assert await quick.go_on() is not None
    assert (await quick.progress()).paused is None
    await quick.go_on()
    assert (await quick.progress()).paused == "failing"


async def test_a_success_in_between_begins_the_day_anew(quick: Stage) -> None:
    await quick.put()
    for _ in range(3):
        await quick.seal(1)
        quick.line.script = [500]
        await quick.run()
        quick.clock.advance(hours=20)
        await quick.run()
    assert (await quick.progress()).paused is None
    assert len(quick.received()) == 3


async def test_who_is_gone_gets_no_more(quick: Stage) -> None:
    await quick.put()
    await quick.seal(1)
    quick.line.script = [410]
    await quick.run()
    assert (await quick.progress()).paused == "gone"
    assert [event["reason"] for event in await quick.recorded("webhook.pause")] == ["gone"]


async def test_what_is_sealed_late_goes_to_its_own_month(stage: Stage) -> None:
    """An event of March that is sealed in April comes then, at its place in March; months go oldest first."""
    await stage.put()
    await stage.seal(3)
    await stage.run()
    stage.clock.set(datetime(2026, 4, 1, 0, 0, 30, tzinfo=UTC))
    late = stage.world.event(datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC))
    await stage.world.seal([stage.world.event(stage.clock.now()), late])
    await stage.run()
    assert stage.received() == [0, 1, 2, 3]
    assert stage.received(period="2026-04") == [0]
    assert [json.loads(body)["data"]["period"] for _, _, body in stage.line.sent] == [PERIOD, PERIOD, "2026-04"]
    await stage.one.webhooks.replay(by(), "2026-03/2", stage.request)
    await stage.run()
    assert (stage.inbox.duplicates, (await stage.progress()).next) == (3, {PERIOD: 4, "2026-04": 1})


async def test_a_month_whose_retention_is_over_is_not_waited_for(quick: Stage) -> None:
    await quick.put()
    await quick.seal(3)
    quick.clock.advance(days=2555 + 31)
    await quick.world.seal([quick.world.event()])
    assert await quick.run() is None
    assert (quick.received(), len(quick.inbox.events)) == ([], 1)
    assert (await quick.one.webhooks.get(TENANT)).body["backlog"] == 0


async def test_each_tenant_its_own(quick: Stage) -> None:
    await quick.put()
    await quick.seal(2)
    await quick.seal(3, tenant_id=OTHER)
    assert await quick.run(OTHER) is None
    await quick.run()
    assert {tenant for tenant, _ in quick.inbox.order} == {TENANT}
    assert {event["tenant_id"] for event in quick.inbox.events.values()} == {TENANT}


async def test_a_suspended_tenant_and_one_that_is_off_wait(quick: Stage) -> None:
    await quick.put()
    await quick.seal(1)
    quick.one.active = False
    assert (await quick.run(), quick.line.sent) == (None, [])
    quick.one.active = True
    await quick.put(enabled=False)
    assert (await quick.run(), quick.line.sent) == (None, [])
    assert (await quick.one.webhooks.get(TENANT)).body["state"] == "off"
    await quick.put()
    await quick.run()
    assert quick.received() == [0]


async def test_a_rotation_in_the_middle(quick: Stage) -> None:
    """The receiver learns the new secret a while after it was made: each message is signed with both for a day."""
    await quick.put()
    await quick.seal(1)
    await quick.run()
    fresh = (await quick.put(secret=None, new_secret=True)).secret
    assert fresh
    await quick.seal(1)
    await quick.run()
    quick.inbox.secrets = [fresh]
    await quick.seal(1)
    await quick.run()
    assert quick.received() == [0, 1, 2]
    assert len(quick.line.sent[-1][1]["webhook-signature"].split()) == 2
    quick.clock.advance(hours=24)
    await quick.seal(1)
    await quick.run()
    assert len(quick.line.sent[-1][1]["webhook-signature"].split()) == 1
    newest = new_secret()
    for secret in (SECRET, newest):
        await quick.put(secret=secret)
    assert len((await quick.webhook()).secrets) == 2, "the last two"
    quick.inbox.secrets = [newest]
    await quick.seal(1)
    await quick.run()
    assert quick.received() == list(range(5))


async def test_a_change_holds_from_the_next_message_on(quick: Stage) -> None:
    await quick.put()
    await quick.seal(3 * MOST_EVENTS)
    post = quick.line.post

    async def change_after_the_first(*args: Any, **more: Any) -> Answer:
        answer = await post(*args, **more)
        if len(quick.line.sent) == 1:
            await quick.put(url="https://moved.example.com/")
        if len(quick.line.sent) == 2:
            await quick.put(enabled=False)
        return answer

    quick.line.post = change_after_the_first  # type: ignore[method-assign] # a rival at the worst moment
    await quick.run()
    assert [url for url, _, _ in quick.line.sent] == [URL, "https://moved.example.com/"]
    assert (await quick.progress()).owner is None


async def test_two_instances_never_deliver_at_once(stage: Stage) -> None:
    await stage.put()
    await stage.seal(MOST_EVENTS + 5)
    others = [stage.instance() for _ in range(3)]
    waits = await asyncio.gather(*(each.delivery.run(TENANT) for each in (stage.one, *others)))
    assert sorted(waits, key=str) == [BUSY, BUSY, BUSY, None]
    assert (stage.received(), stage.inbox.duplicates) == (list(range(MOST_EVENTS + 5)), 0)


async def test_who_comes_while_another_delivers_stays_away(stage: Stage) -> None:
    await stage.put()
    await stage.seal(5)
    two = stage.instance()
    waits: list[timedelta | None] = []
    post = stage.line.post

    async def watched(*args: Any, **more: Any) -> Answer:
        waits.append(await two.delivery.run(TENANT))
        return await post(*args, **more)

    stage.line.post = watched  # type: ignore[method-assign] # the other one comes in the middle
    assert await stage.run() is None
    assert (waits, len(stage.line.sent)) == ([BUSY], 1)


async def test_an_instance_that_was_too_slow_stops_and_the_order_holds(quick: Stage) -> None:
    """Its lease ends in the middle of a message; another one takes over, sends that again and more; then it wakes."""
    await quick.put()
    await quick.seal(2 * MOST_EVENTS)
    two = quick.instance()
    post = quick.line.post

    async def asleep(*args: Any, **more: Any) -> Answer:
        quick.line.post = post  # type: ignore[method-assign]
        quick.clock.advance(seconds=61)
        assert await two.delivery.run(TENANT) is None
        return await post(*args, **more)

    quick.line.post = asleep  # type: ignore[method-assign] # the first one, for longer than its lease
    assert await quick.run() == BUSY
    assert (quick.received(), quick.inbox.wrong) == (list(range(2 * MOST_EVENTS)), [])
    assert quick.inbox.duplicates == MOST_EVENTS
    assert (await quick.progress()).next == {PERIOD: 2 * MOST_EVENTS}


async def test_a_replay_while_it_delivers(quick: Stage) -> None:
    await quick.put()
    await quick.seal(3 * MOST_EVENTS)
    post = quick.line.post

    async def replayed(*args: Any, **more: Any) -> Answer:
        quick.line.post = post  # type: ignore[method-assign]
        await quick.one.webhooks.replay(by(), f"{PERIOD}/250", quick.request)
        return await post(*args, **more)

    quick.line.post = replayed  # type: ignore[method-assign]
    assert await quick.run() == BUSY
    quick.clock.advance(seconds=61)
    await quick.run()
    assert quick.received() == [*range(100), *range(250, 300)]


async def test_a_webhook_that_is_taken_away_while_it_delivers(quick: Stage) -> None:
    await quick.put()
    await quick.seal(2 * MOST_EVENTS)
    post = quick.line.post

    async def deleted(*args: Any, **more: Any) -> Answer:
        await quick.one.webhooks.delete(by(), None, quick.request)
        return await post(*args, **more)

    quick.line.post = deleted  # type: ignore[method-assign]
    assert await quick.run() == BUSY
    assert (await quick.run(), len(quick.line.sent)) == (None, 1)


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_crash_at_any_call_of_the_store(stage: Stage, mode: Any) -> None:
    """The process dies; another goes on once the lease is over. All arrives in order."""
    await stage.put(personal="opened")
    calls = 0
    for k in range(1, 30):
        await stage.seal(3, **personal("ada"))
        store = FaultyStore(stage.world.store, k, mode, Crash())
        try:
            await stage.instance(store).delivery.run(TENANT)
        except Crash:
            calls = k
        stage.clock.advance(seconds=LEASE.total_seconds() + 1)
        await stage.run()
        assert stage.received() == list(range(3 * k))
        if len(store.calls) < k:
            break
    assert calls > 7
    assert stage.inbox.wrong == []


async def test_a_store_that_is_down_is_told_and_nothing_is_lost(quick: Stage) -> None:
    await quick.put()
    await quick.seal(3)
    for k in range(1, 12):
        store = FaultyStore(quick.world.store, k, times=None)
        with pytest.raises(Unavailable):
            await quick.instance(store).delivery.run(TENANT)
        if len(quick.line.sent) > 0:
            break
        quick.clock.advance(seconds=61)
    quick.clock.advance(seconds=61)
    await quick.run()
    assert quick.received() == [0, 1, 2]


async def test_a_long_run_gives_others_their_turn(quick: Stage) -> None:
    await quick.put()
    await quick.seal(3 * MOST_EVENTS)
    post = quick.line.post

    async def slow(*args: Any, **more: Any) -> Answer:
        quick.clock.advance(seconds=20)
        return await post(*args, **more)

    quick.line.post = slow  # type: ignore[method-assign]
    assert await quick.run() == timedelta(0)
    assert len(quick.line.sent) == SLICE.total_seconds() // 20 + 1
    assert await quick.run() is None
    assert quick.received() == list(range(3 * MOST_EVENTS))


async def test_large_events_go_in_messages_that_fit(quick: Stage) -> None:
    await quick.put()
    await quick.seal(30, attributes={"text": "ü" * 20_000})
    await quick.run()
    assert len(quick.received()) == 30
    assert 1 < len(quick.line.sent) < 5
    assert all(len(body) < MOST_BYTES + 500 for _, _, body in quick.line.sent)


async def test_unicode_and_lone_surrogates_are_json_in_utf8(quick: Stage) -> None:
    from shared.streaming.messages import Placed

    await quick.put()
    (event,) = await quick.seal(1, attributes={"text": "é\u2028\u0000🦊"})
    await quick.run()
    assert quick.inbox.events[TENANT, event["id"]]["attributes"]["text"] == "é\u2028\u0000🦊"
    assert Placed.of(0, {**event, "reason": "\ud800"}, "native").text.decode("utf-8")


async def test_what_somebody_made_unreadable_in_the_ledger_holds_up_nothing(quick: Stage) -> None:
    await quick.put()
    events = await quick.seal(6)
    partition, store = (TENANT, PERIOD), quick.world.store
    await store.delete(LEDGER, partition, events[0]["id"])
    for number, (name, value) in enumerate([("entry", "{}"), ("entry", 7), ("entry", '{"type":[]}')], 1):
        await store.patch(LEDGER, partition, events[number]["id"], [PatchSet(name, value)])
    assert await quick.run() is None
    assert quick.received() == [4, 5]
    assert (await quick.progress()).next == {PERIOD: 6}


async def test_a_head_that_somebody_changed_holds_up_nothing(quick: Stage) -> None:
    await quick.put()
    await quick.seal(2)
    await quick.world.store.patch(LEDGER, (TENANT, PERIOD), head_id(PERIOD), [PatchSet("size", "many")])
    assert (await quick.run(), quick.line.sent) == (None, [])


async def test_a_backlog_of_a_million_is_read_page_by_page(quick: Stage) -> None:
    """The head says so; a page is read for an attempt, and no more."""
    await quick.put()
    await quick.seal(150)
    await quick.world.store.patch(LEDGER, (TENANT, PERIOD), head_id(PERIOD), [PatchSet("size", 1_000_000)])
    quick.line.script = [500]
    store = FaultyStore(quick.world.store)
    assert await quick.instance(store).delivery.run(TENANT) == timedelta(seconds=5)
    assert len([call for call in store.calls if call.operation == "query"]) == 2
    assert (await quick.one.webhooks.get(TENANT)).body["backlog"] == 1_000_000
    assert len(json.loads(quick.line.sent[0][2])["data"]["events"]) == MOST_EVENTS


async def test_the_history_is_a_ring(quick: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.streaming.model.ATTEMPTS_KEPT", 7)
    await quick.put()
    await quick.seal(1)
    for _ in range(12):
        await quick.one.webhooks.replay(by(), str(Position(PERIOD, 0)), quick.request)
        quick.clock.advance(seconds=1)
        await quick.run()
    assert [each["created_at"][17:19] for each in await quick.attempts()] == [f"{n:02}" for n in range(6, 13)]
    assert (await quick.progress()).attempts == 12
    quick.clock.advance(days=8)
    assert await quick.attempts() == []


async def test_a_rival_at_the_lease(quick: Stage) -> None:
    await quick.put()
    await quick.seal(1)
    store = FaultyStore(
        quick.world.store, 1, error=PreconditionFailed(), counts=lambda call: call.operation == "replace"
    )
    assert await quick.instance(store).delivery.run(TENANT) == BUSY
    assert quick.line.sent == []
