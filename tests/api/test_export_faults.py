"""Exports against a store that fails at any one call: nothing is handed out that the trail does not count, and nothing
is counted twice. And a trail that grows while it is copied."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from devhost.host import Host
from shared.audit import exports
from shared.audit.export_runs import ABANDONED_AFTER
from shared.core.clock import rfc3339
from shared.storage.containers import REPORTS
from shared.storage.documents import Eq, Query
from shared.storage.sqlite import SqliteStore
from tests.api.broken import MODES, MOST_CALLS
from tests.app import Account, App, running
from tests.exporting import PATH, expected, fill, ids_in, joined, next_of, walk
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore


@pytest.fixture
async def store(clock: ManualClock) -> FaultyFeedStore:
    return FaultyFeedStore(await SqliteStore.open(None, clock=clock))


@pytest.fixture
async def app(host: Host, clock: ManualClock, store: FaultyFeedStore) -> AsyncIterator[App]:
    async with running(host, clock, store) as started:
        yield started


async def recovered(app: App, store: FaultyFeedStore, tenant_id: str) -> None:
    """What a crash left is done by feed and timers, and every run under way is over."""
    store.mend()
    await app.host.drain_feed()
    app.clock.advance(seconds=ABANDONED_AFTER.total_seconds() + 1)
    assert await app.host.run_timer("close_exports")
    assert await app.host.run_timer("sweep_outbox")
    for kind in ("export", "outbox"):
        assert (await store.query(REPORTS, (tenant_id,), Query((Eq("kind", kind),)))).items == []


async def program(app: App, admin: Account) -> dict[str, str]:
    """Who holds an API key: it outlives every run."""
    body = {"name": "siem", "scopes": ["events:read"]}
    answer = await app.client.post("/v1/admin/api-keys", json=body, headers=admin.auth)
    return {"Authorization": f"Bearer {answer.json()['key']}"}


async def test_every_part_is_counted_once_whatever_fails(
    app: App, store: FaultyFeedStore, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MOST_ROWS", 2)
    await fill(app, ada, 5)
    app.clock.advance(seconds=1)
    until, auth = rfc3339(app.clock.now()), await program(app, ada)
    counted: set[str] = set()
    for failing in (1, 2, 3):  # the part that the store fails in
        for mode, times in MODES:
            for k in range(1, MOST_CALLS):
                at: str | None = f"{PATH}?type=user.update&to={until}"
                rows = [0, 0, 0]
                reached = False
                for number in (1, 2, 3):
                    assert at is not None
                    if number == failing:
                        store.arm(k, mode, times=times)
                    answer = await app.client.get(at, headers=auth)
                    reached = reached or (number == failing and len(store.calls) >= k)
                    store.mend()
                    if answer.status_code == 503:
                        break
                    assert answer.status_code == 200
                    rows[number - 1] = len(ids_in("jsonl", answer.content))
                    at = next_of(answer)
                await recovered(app, store, ada.tenant_id)
                events = [e for e in await app.events(ada.tenant_id, "audit.export") if e["id"] not in counted]
                counted |= {event["id"] for event in events}
                taken = sum(rows)
                assert len(events) == 1 or (len(events) == 0 and taken == 0)
                if events:
                    assert taken <= events[0]["record_count"] <= 5
                    assert (events[0]["reason"] is None) == (events[0]["record_count"] == 5)
                if not reached:
                    assert rows == [2, 2, 1]
                    break
            else:
                pytest.fail("a request without end")


async def test_one_that_was_left_is_recorded_once_whatever_fails(
    app: App, store: FaultyFeedStore, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MOST_ROWS", 2)
    await fill(app, ada, 5)
    app.clock.advance(seconds=1)
    until, auth = rfc3339(app.clock.now()), await program(app, ada)
    left = 0
    store._counts = lambda call: call.container == REPORTS.name  # the walk over the tenants has tests of its own
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            answer = await app.client.get(f"{PATH}?type=user.update&to={until}", headers=auth)
            assert answer.status_code == 200
            left += 1
            app.clock.advance(seconds=ABANDONED_AFTER.total_seconds() + 1)
            store.arm(k, mode, times=times)
            await app.host.run_timer("close_exports")
            reached = store.counted >= k
            await recovered(app, store, ada.tenant_id)
            events = await app.events(ada.tenant_id, "audit.export")
            assert [(e["record_count"], e["reason"]) for e in events] == [(2, "abandoned")] * left
            if not reached:
                break
        else:
            pytest.fail("a run without end")


async def test_a_last_part_that_was_not_answered_can_be_asked_for_again(
    app: App, store: FaultyFeedStore, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batch is committed, its event not published: the feed publishes it, and nothing counts it again."""
    monkeypatch.setattr(exports, "MOST_ROWS", 3)
    await fill(app, ada, 5)
    app.clock.advance(seconds=1)
    first = await app.client.get(f"{PATH}?type=user.update", headers=ada.auth)
    store.arm(1, "gone_after")
    store._counts = lambda call: call.operation == "batch"
    last_at = next_of(first) or ""
    assert (await app.client.get(last_at, headers=ada.auth)).status_code == 503
    store.mend()
    assert await app.events(ada.tenant_id, "audit.export") == []
    again = await app.client.get(last_at, headers=ada.auth)
    assert len(ids_in("jsonl", again.content)) == 2
    await app.host.drain_feed()
    (event,) = await app.events(ada.tenant_id, "audit.export")
    assert event["record_count"] == 5


async def test_two_ask_for_the_same_part_at_once(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MOST_ROWS", 2)
    await fill(app, ada, 5)
    app.clock.advance(seconds=1)
    at = f"{PATH}?type=user.update"
    answer = await app.client.get(at, headers=ada.auth)
    while (following := next_of(answer)) is not None:
        answers = await asyncio.gather(*(app.client.get(following, headers=ada.auth) for _ in range(4)))
        assert {each.status_code for each in answers} == {200}
        assert len({each.content for each in answers}) == 1
        answer = answers[0]
    (event,) = await app.events(ada.tenant_id, "audit.export")
    assert event["record_count"] == 5


async def test_a_copy_of_a_trail_that_grows_equals_the_store(
    app: App, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,500 events in three parts, while another client writes without a pause."""
    monkeypatch.setattr(exports, "MOST_ROWS", 1000)
    await fill(app, ada, 2500)
    app.clock.advance(seconds=1)
    file = await expected(app, ada.tenant_id, "jsonl")
    stop = asyncio.Event()

    async def traffic() -> int:
        written = 0
        while not stop.is_set():
            assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200
            written += 1
        return written

    busy = asyncio.create_task(traffic())
    parts: list[httpx.Response] = await walk(app, ada.auth)
    stop.set()
    assert await busy > 0
    assert len(parts) == 3
    assert joined(parts) == file
    (event,) = await app.events(ada.tenant_id, "audit.export")
    assert event["record_count"] == len(ids_in("jsonl", file))
