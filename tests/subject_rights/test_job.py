"""The job under trouble: rivals, late writers, faults at every call of the store, and a run that is cut off."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from devhost.errors import FeedStuck
from devhost.host import Host
from shared.audit.model import Actor, Draft, RequestContext, Target
from shared.audit.outbox import OUTBOX_KIND
from shared.audit.recorder import Recorder
from shared.core.errors import Unready
from shared.identity.model import attempts_key, session_key
from shared.privacy.boxes import SealedBoxes
from shared.privacy.person_keys import PersonKeys
from shared.storage.containers import ALERTS, AUDIT_EVENTS, DEAD_LETTERS, IDENTITY, REPORTS
from shared.storage.documents import Eq, Item, Query
from shared.storage.errors import Unavailable
from shared.storage.sqlite import SqliteStore
from shared.subject_rights import copies, erasure
from shared.subject_rights.erasure import LAST
from tests.app import Account, App, running
from tests.fakes import ManualClock
from tests.faults import Crash, FaultyFeedStore, Mode
from tests.storage.conftest import LOCAL
from tests.subject_rights.support import ask, events_of, left, requests, run, settle, with_a_past

FAULTS: tuple[tuple[Mode, BaseException], ...] = (
    ("before", Unavailable("made to fail")),
    ("after", Unavailable("made to fail")),
    ("gone_after", Crash()),
)
"""A call that does not reach the store, one whose answer is lost, and the end of the process."""
MOST_CALLS = 120


@pytest.fixture
async def broken(host: Host, clock: ManualClock) -> AsyncIterator[tuple[App, FaultyFeedStore]]:
    store = FaultyFeedStore(await SqliteStore.open(None, clock=clock))
    async with running(host, clock, store) as app:
        yield app, store


@pytest.mark.parametrize(("mode", "error"), FAULTS, ids=[mode for mode, _ in FAULTS])
async def test_a_fault_at_any_call_of_the_store(
    broken: tuple[App, FaultyFeedStore], mode: Mode, error: BaseException
) -> None:
    """The first pass fails at its k-th call, for each k: the next run goes on, and in the end nothing is left and
    everything happened once."""
    app, store = broken
    admin = await app.register()
    asked: dict[str, str] = {}
    for k in range(1, MOST_CALLS):
        bob = await with_a_past(app, admin, f"m{k}@example.com")
        asked[bob.id] = await ask(app, bob)
        app.clock.advance(seconds=1)
        request = RequestContext("r", "test", "test", app.clock.now())
        store.arm(k, mode, error)
        try:
            await app.services.erasures.run(admin.tenant_id, request)
        except (Unavailable, Unready, Crash):
            assert store.failed
        reached = len(store.calls) >= k
        store.mend()
        assert await app.host.run_timer("sweep_outbox")
        await run(app)
        await settle(app)
        assert await left(app, bob) == []
        admin = await fresh(app, admin)
        if not reached:
            break
    else:
        pytest.fail("an erasure without end")
    assert k > 25
    assert {(each["subject"], each["request_id"]) for each in (await requests(app, admin.tenant_id)).values()} == set(
        asked.items()
    )
    events = (await events_of(app, admin.tenant_id)).values()
    told = [(e["target"]["id"], e["reason"]) for e in events if e["type"] == "privacy.erasure"]
    assert sorted(told) == sorted((each, reason) for each in asked for reason in ("executed", "requested"))
    assert sorted(e["target"]["id"] for e in events if e["type"] == "user.delete") == sorted(asked)


async def fresh(app: App, account: Account) -> Account:
    answer = await app.login(account.email)
    return Account(account.id, account.tenant_id, account.email, answer.json()["access_token"])


async def test_running_again_changes_nothing(app: App, ada: Account) -> None:
    bob = await with_a_past(app, ada, "bob@example.com")
    await ask(app, bob)
    await run(app)
    await settle(app)
    before = await events_of(app, ada.tenant_id)
    item = (await requests(app, ada.tenant_id))[bob.id]
    again = {**item, "pass": 2, "work_at": item["created_at"], "next_at": item["created_at"], "state": "running"}
    await app.store.replace(IDENTITY, (ada.tenant_id,), again)
    await run(app)
    after = await events_of(app, ada.tenant_id)
    (executed,) = [after[each] for each in after.keys() - before.keys()]
    assert executed["reason"] == "executed"
    assert {each: after[each]["_etag"] for each in before} == {each: before[each]["_etag"] for each in before}
    assert (await requests(app, ada.tenant_id))[bob.id]["counts"] == item["counts"]


@pytest.mark.parametrize("adapter", LOCAL)
async def test_two_who_share_events_are_erased_at_once(app: App, ada: Account) -> None:
    carol = await with_a_past(app, ada, "carol@example.com")
    bob = await with_a_past(app, ada, "bob@example.com")
    person = {"kind": "user", "id": carol.id}
    event: Item = {
        "type": "data.update",
        "data_class": "personal",
        "actor": person,
        "target": {"kind": "user", "id": bob.id},
    }
    event |= {"personal": {carol.id: {"note": "hers"}, bob.id: {"note": "his"}}}
    answer = await app.client.post("/v1/events", json={"events": [event] * 40}, headers=ada.auth)
    assert answer.status_code == 201, answer.text
    await ask(app, carol)
    await ask(app, bob)
    await run(app)
    await settle(app)
    assert [await left(app, each) for each in (carol, bob)] == [[], []]
    shared = await app.events(ada.tenant_id, "data.update")
    assert [each["personal"] for each in shared] == [{}] * 40
    assert [sorted(each["commitments"]) for each in shared] == [sorted([carol.id, bob.id])] * 40


async def test_an_event_that_somebody_else_changes_meanwhile(
    app: App, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a chunk that is refused each event is read again, and written by itself."""
    bob = await with_a_past(app, ada, "bob@example.com")
    await ask(app, bob)
    batch, touched = app.store.batch, list[str]()

    async def rival(container: Any, partition: Any, operations: Any) -> Any:
        if container is AUDIT_EVENTS and not touched:
            event = operations[0].item
            touched.append(event["id"])
            held = await app.store.read(AUDIT_EVENTS, partition, event["id"])
            await app.store.replace(AUDIT_EVENTS, partition, held)
        return await batch(container, partition, operations)

    monkeypatch.setattr(app.store, "batch", rival)
    await run(app)
    assert touched
    await settle(app)
    assert await left(app, bob) == []


async def test_what_an_instance_wrote_that_had_the_key_in_memory(app: App, ada: Account) -> None:
    """The first pass does not see it, the second does; and then that instance knows, too."""
    bob = await with_a_past(app, ada, "bob@example.com")
    services = app.services
    other = PersonKeys(services.store, services.wrapper, app.clock)
    recorder = Recorder(services.store, app.clock, services.ids, SealedBoxes(other), services.index)
    request = RequestContext("r", "GET /x", "x", app.clock.now(), "203.0.113.77", "agent")

    async def write() -> Item:
        from shared.audit.events.profile import ProfileView

        actor = Actor("user", bob.id, "user", bob.email)
        target = Target("user", bob.id, bob.email)
        draft = Draft(ada.tenant_id, ProfileView(), request, actor=actor, target=target, person=bob.id)
        return await recorder.record(draft)

    await write()
    await ask(app, bob)
    await run(app)
    late = await write()
    assert bob.id in late["personal"]
    assert f"audit_events: {late['id']}" in await left(app, bob)
    await settle(app)
    assert await left(app, bob) == []
    assert (await requests(app, ada.tenant_id))[bob.id]["state"] == "executed"
    later = await write()
    assert (later["personal"], later["commitments"]) == ({}, {})
    assert later["subjects"] == [bob.id]


@pytest.mark.parametrize("adapter", LOCAL)
async def test_a_sign_in_that_is_under_way(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """It commits its session after the account is gone: that opens nothing, and goes."""
    bob = await with_a_past(app, ada, "bob@example.com")
    await ask(app, bob)
    commit, done = app.services.outbox.commit, list[int]()

    async def overtaken(container: Any, tenant_id: str, operations: Any, events: Any, follow_ups: Any = ()) -> None:
        if not done and any(each["type"] == "auth.login" for each in events):
            done.append(1)
            await run(app)
        await commit(container, tenant_id, operations, events, follow_ups)

    monkeypatch.setattr(app.services.outbox, "commit", overtaken)
    answer = await app.login(bob.email)
    assert done
    if answer.status_code == 200:
        token = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert (await app.client.get("/v1/profile", headers=token)).status_code == 401
    await settle(app)
    assert await left(app, bob) == []
    sessions = await app.store.query(IDENTITY, (ada.tenant_id,), Query((Eq("kind", "session"),), limit=100))
    assert bob.id not in {each["user_id"] for each in sessions.items}


async def test_an_event_that_waits_in_an_outbox(app: App, ada: Account) -> None:
    """It is published afterwards, by the sweep, without what is the person's."""
    bob = await with_a_past(app, ada, "bob@example.com")
    events = list((await events_of(app, ada.tenant_id)).values())
    (told,) = [each for each in events if each["type"] == "profile.update"]
    await app.store.delete(AUDIT_EVENTS, (ada.tenant_id, told["period"]), told["id"])
    entry: Item = {"id": f"outbox|{told['id']}", "tenant_id": ada.tenant_id, "kind": OUTBOX_KIND, "follow_ups": []}
    entry |= {"created_at": told["recorded_at"], "events": [told]}
    for container in (IDENTITY, ALERTS, REPORTS):
        await app.store.create(container, (ada.tenant_id,), entry)
    await ask(app, bob)
    await run(app)
    await settle(app)
    assert await left(app, bob) == []
    await app.host.run_timer("sweep_outbox")
    (published,) = await app.events(ada.tenant_id, "profile.update")
    assert (published["id"], published["personal"]) == (told["id"], {})
    assert published["erased_at"] is not None


async def test_an_export_under_way_by_the_person(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record holds the event to be. What becomes of it has nothing of the person; the e-mail that was searched for
    is another's, and stays sealed under her."""
    monkeypatch.setattr("shared.audit.exports.MOST_ROWS", 3)
    bob = await with_a_past(app, ada, "bob@example.com")
    from shared.identity.model import Role

    await app.give_role(bob, Role.AUDITOR)
    app.clock.advance(seconds=1)
    url = "/v1/events/export?format=jsonl&email=ada@example.com"
    assert "link" in (await app.client.get(url, headers=bob.auth)).headers
    (record,) = (await app.store.query(REPORTS, (ada.tenant_id,), Query((Eq("kind", "export"),)))).items
    assert bob.id in record["event"]["personal"]
    await ask(app, bob)
    await run(app)
    (record,) = (await app.store.query(REPORTS, (ada.tenant_id,), Query((Eq("kind", "export"),)))).items
    assert (set(record["event"]["personal"]), record["event"]["actor_key"]) == ({ada.id}, None)
    await settle(app)
    app.clock.advance(minutes=20)
    await app.host.run_timer("close_exports")
    (exported,) = await app.events(ada.tenant_id, "audit.export")
    assert (exported["reason"], exported["actor"]["id"], exported["personal"]) == ("abandoned", bob.id, {})
    assert await left(app, bob) == []


@pytest.mark.parametrize("adapter", LOCAL)
async def test_a_producer_that_comes_again(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt left its guard and no event. Days later the retry writes what the guard holds, sealed under a
    key that is gone; the last pass takes it out."""
    bob = await with_a_past(app, ada, "bob@example.com")
    event: Item = {"type": "data.read", "actor": {"kind": "service", "id": "billing"}, "producer_id": "p-1"}
    event["data_class"] = "personal"
    event |= {"target": {"kind": "user", "id": bob.id}, "personal": {bob.id: {"email": bob.email}}}
    publish = Recorder.publish_all

    async def lost(self: Recorder, events: Any) -> None:
        raise Unavailable("made to fail")

    monkeypatch.setattr(Recorder, "publish_all", lost)
    assert (await app.client.post("/v1/events", json=event, headers=ada.auth)).status_code == 503
    monkeypatch.setattr(Recorder, "publish_all", publish)
    await ask(app, bob)
    await run(app)
    await settle(app)
    assert (await requests(app, ada.tenant_id))[bob.id]["state"] == "executed"
    app.clock.advance(days=6)
    ada = await fresh(app, ada)
    assert (await app.client.post("/v1/events", json=event, headers=ada.auth)).status_code == 201
    (late,) = [each for each in (await events_of(app, ada.tenant_id)).values() if each["type"] == "data.read"]
    assert bob.id in late["personal"], "sealed, and nobody has the key"
    shown = await app.client.get(f"/v1/events/{late['id']}", headers=ada.auth)
    assert shown.json()["personal"] == {bob.id: {"erased": True}}
    app.clock.advance(days=LAST.days - 6)
    await run(app)
    assert await left(app, bob) == []


async def test_a_run_that_is_cut_off_goes_on_where_it_was(
    app: App, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "PAGE", 3)
    monkeypatch.setattr(erasure, "RUN", timedelta(0))
    bob = await with_a_past(app, ada, "bob@example.com")
    await ask(app, bob)
    places = []
    for _ in range(20):
        await run(app)
        item = (await requests(app, ada.tenant_id))[bob.id]
        if item["pass"] != 1:
            break
        places.append(item["place"])
    assert [each["walk"] for each in places] == sorted(each["walk"] for each in places)
    assert len({str(each) for each in places}) == len(places) >= 4
    monkeypatch.setattr(erasure, "RUN", timedelta(minutes=2))
    await settle(app)
    assert await left(app, bob) == []
    counts = (await requests(app, ada.tenant_id))[bob.id]["counts"]
    assert counts["events"] == 8


async def test_one_that_fails_holds_up_no_other(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = await with_a_past(app, ada, "bob@example.com")
    await ask(app, bob)
    app.clock.advance(seconds=1)
    carol = await with_a_past(app, ada, "carol@example.com")
    await ask(app, carol)
    begin = app.services.erasures._begin

    async def defective(item: Item, request: RequestContext) -> Item | None:
        if item["subject"] == bob.id:
            raise RuntimeError("a defect")
        return await begin(item, request)

    monkeypatch.setattr(app.services.erasures, "_begin", defective)
    app.clock.advance(seconds=1)
    with pytest.raises(RuntimeError, match="a defect"):
        await app.services.erasures.run(ada.tenant_id, RequestContext("r", "t", "t", app.clock.now()))
    held = await requests(app, ada.tenant_id)
    assert (held[bob.id]["state"], held[carol.id]["state"]) == ("received", "running")


async def test_what_is_left_is_not_called_executed(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that the erasure misses is found by its check, and the request stays under way."""
    bob = await with_a_past(app, ada, "bob@example.com")
    await ask(app, bob)
    await run(app)
    item: Item = {"id": attempts_key(bob.id), "tenant_id": ada.tenant_id, "kind": "attempts", "count": 1}

    async def blind(*_: Any) -> None:
        await app.store.upsert(IDENTITY, (ada.tenant_id,), item)

    monkeypatch.setattr(app.services.erasures, "_others", blind)
    await settle(app)
    held = (await requests(app, ada.tenant_id))[bob.id]
    assert held["state"] == "running"
    assert await left(app, bob) == [f"identity: {item['id']}"]
    monkeypatch.undo()
    app.clock.advance(minutes=5)
    await run(app)
    assert (await requests(app, ada.tenant_id))[bob.id]["state"] == "executed"


@pytest.mark.parametrize("adapter", LOCAL)
async def test_the_check_finds_each_kind_of_copy(app: App, ada: Account) -> None:
    bob = await with_a_past(app, ada, "bob@example.com")
    found = await left(app, bob)
    session = bob.refresh_token.split(".")[1]
    for expected in (
        f"subject_keys: the key of {bob.id}",
        f"identity: user|{bob.id}",
        f"directory: user|{bob.id}",
        f"identity: {session_key(session)}",
        f"identity: {attempts_key(bob.id)}",
    ):
        assert expected in found
    assert len([each for each in found if each.startswith("audit_events: ")]) == 6


async def test_consumers_of_the_feed(app: App, ada: Account) -> None:
    """What an erasure rewrites comes through the feed again: the ledger knows it, detection passes over it."""
    for _ in range(4):
        await app.login("bob@example.com", "x")
    bob = await with_a_past(app, ada, "bob@example.com")
    for _ in range(3):
        await app.login(bob.email, "a guess")
    await app.host.drain_feed()
    await ask(app, bob)
    await run(app)
    await settle(app)
    try:
        await app.host.drain_feed()
    except FeedStuck as stuck:
        pytest.fail(str(stuck))
    letters = await app.store.query(DEAD_LETTERS, (ada.tenant_id,), Query((Eq("kind", "dead_letter"),)))
    assert letters.items == []
    assert await app.events(ada.tenant_id, "ledger.verify_failed") == []
    alerts = await app.store.query(ALERTS, (ada.tenant_id,), Query((Eq("kind", "alert"),)))
    assert alerts.items == [], "four failures before and after the erasure are not eight"
