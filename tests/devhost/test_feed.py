"""Cosmos triggers: order, batches, positions, retries, restarts."""

import asyncio
import logging
from pathlib import Path

import pytest

from devhost.errors import FeedStuck, HostError
from devhost.host import Host
from devhost.leases import feed_lease_id, timer_lease_id
from shared.storage.containers import AUDIT_EVENTS, IDENTITY
from shared.storage.documents import Position
from shared.storage.sqlite import SqliteStore
from tests.devhost.fakes import APPS, MemoryFeed, Sleeps, TokenFeed, WakingFeed, eventually
from tests.fakes import ManualClock


@pytest.fixture(autouse=True)
def _prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECT_PREFIX", "detect")


async def load(feed: MemoryFeed, sleep: Sleeps | None = None) -> Host:
    """A fresh copy of the sample app on `feed`, as after a restart of the process."""
    return await Host.load(APPS / "worker", feed.store, clock=ManualClock(), sleep=sleep or Sleeps())


def positions(feed: MemoryFeed) -> dict[str, Position]:
    return {key: item["position"] for key, item in feed.leases.items() if "position" in item}


async def test_each_function_gets_everything_in_order_and_in_batches() -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a", "b", "c")
    feed.put(IDENTITY, "x")
    async with await load(feed) as host:
        assert await host.drain_feed() == 4
        assert host.module.batches == {
            "seal": [["a", "b"], ["c"]],
            "detect": [["a", "b", "c"]],
            "count": [["x"]],
            "late": [],
        }
        assert await host.drain_feed() == 0
        assert positions(feed) == {"seal|seal": 3, "detect|detect": 3, "|count": 4, "late|late": 3}


async def test_a_lease_says_what_it_is_for() -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a")
    async with await load(feed) as host:
        await host.drain_feed()
    assert feed.leases["seal|seal"] == {
        "id": "seal|seal",
        "function": "seal",
        "container": "audit_events",
        "position": 1,
        "updated_at": "2026-03-15T12:00:00.000000Z",
    }


async def test_from_now_means_from_the_first_start() -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "before")
    async with await load(feed) as host:
        await host.drain_feed()
        assert host.module.batches["late"] == []
    feed.put(AUDIT_EVENTS, "while down")
    async with await load(feed) as host:
        await host.drain_feed()
        assert host.module.batches["late"] == [["while down"]]


async def test_a_restart_continues_where_it_was() -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a", "b")
    async with await load(feed) as host:
        await host.drain_feed()
    feed.put(AUDIT_EVENTS, "c")
    async with await load(feed) as host:
        await host.drain_feed()
        assert host.module.batches["seal"] == [["c"]]


async def test_unlimited_retries_never_lose_a_batch() -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a")
    async with await load(feed) as host:
        host.module.failures["seal"] = 3
        await host.drain_feed()
        assert host.module.batches["seal"] == [["a"]]
        assert host.module.retries == [(0, -1), (1, -1), (2, -1), (3, -1)]


async def test_a_batch_that_keeps_failing_is_delivered_again_after_a_restart() -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a")
    async with await load(feed) as host:
        host.module.failures["seal"] = 1000
        with pytest.raises(FeedStuck, match="seal failed 5 times in a row"):
            await host.drain_feed(attempts_limit=5)
        assert positions(feed)["seal|seal"] == 0
    async with await load(feed) as host:
        await host.drain_feed()
        assert host.module.batches["seal"] == [["a"]]


async def test_a_finite_policy_that_runs_out_loses_the_batch_loudly(caplog: pytest.LogCaptureFixture) -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a")
    async with await load(feed) as host:
        host.module.failures["detect"] = 3
        await host.drain_feed()
        assert host.module.batches["detect"] == []
        assert host.module.batches["seal"] == [["a"]]
    assert positions(feed)["detect|detect"] == 1
    lost = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(lost) == 1
    assert "BATCH LOST function=detect changes=1" in lost[0]
    assert "ada@example.org" not in caplog.text


async def test_a_finite_policy_loses_nothing_before_it_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a")
    async with await load(feed) as host:
        host.module.failures["detect"] = 2  # what it declares
        await host.drain_feed()
        assert host.module.batches["detect"] == [["a"]]
    assert "BATCH LOST" not in caplog.text


async def test_a_finite_policy_gives_up_after_what_it_declares() -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a")
    async with await load(feed) as host:
        host.module.failures["detect"] = 1000
        await host.drain_feed()
        assert host.module.failures["detect"] == 1000 - 3


async def test_the_position_moves_after_each_batch_succeeded() -> None:
    """Seen from within the function: what it was given is not yet stored as handled."""
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a", "b", "c")
    seen: list[Position] = []
    async with await load(feed) as host:

        class Watching(list[list[str]]):
            def append(self, batch: list[str]) -> None:
                seen.append(positions(feed)["seal|seal"])
                super().append(batch)

        host.module.batches["seal"] = Watching()
        host.module.failures["seal"] = 1
        await host.drain_feed()
        assert host.module.batches["seal"] == [["a", "b"], ["c"]]
    assert seen == [0, 2]
    assert positions(feed)["seal|seal"] == 3


async def test_without_a_policy_one_failure_loses_the_batch() -> None:
    feed = MemoryFeed()
    feed.put(IDENTITY, "x")
    async with await load(feed) as host:
        host.module.failures["count"] = 1
        await host.drain_feed()
        assert host.module.batches["count"] == []
    assert positions(feed)["|count"] == 1


async def test_functions_that_feed_each_other_without_end_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devhost.host._MOST_BATCHES", 20)
    feed = MemoryFeed()
    feed.put(IDENTITY, "x")
    async with await load(feed) as host:

        class Endless(list[list[str]]):
            def append(self, batch: list[str]) -> None:
                feed.put(IDENTITY, "again")

        host.module.batches["count"] = Endless()
        with pytest.raises(FeedStuck, match="no end after 20 batches"):
            await host.drain_feed()


@pytest.mark.parametrize("kind", [MemoryFeed, WakingFeed])
async def test_the_loops_follow_the_feed(kind: type[MemoryFeed]) -> None:
    feed = kind()
    host = await load(feed)
    await host.start()
    feed.put(AUDIT_EVENTS, "a")
    batches = host.module.batches
    await eventually(lambda: batches["seal"] == [["a"]] and batches["detect"] == [["a"]])
    feed.put(AUDIT_EVENTS, "b")
    await eventually(lambda: batches["seal"] == [["a"], ["b"]])
    await host.stop()


async def test_retries_wait_as_declared() -> None:
    feed, sleeps = WakingFeed(), Sleeps()
    host = await load(feed, sleeps)
    host.module.failures.update(seal=2, detect=2)
    feed.put(AUDIT_EVENTS, "a")
    await host.start()
    await eventually(lambda: host.module.batches["seal"] and host.module.batches["detect"])
    await host.stop()
    assert [each for each in sleeps.seconds if each < 60].count(7.0) == 2
    assert {2.0, 3.0} <= set(sleeps.seconds)


async def test_the_loop_outlives_a_store_that_fails() -> None:
    feed = WakingFeed()
    host = await load(feed)
    await host.start()
    feed.failing = 1
    feed.put(IDENTITY, "x")
    await eventually(lambda: "|count" in feed.leases and feed.leases["|count"]["position"] == 1)
    assert host.module.batches["count"] == [["x"], ["x"]]
    await host.stop()


async def test_a_cancellation_inside_a_function_is_a_failure_like_others() -> None:
    feed = MemoryFeed()
    feed.put(AUDIT_EVENTS, "a")
    async with await load(feed) as host:
        host.module.failures["seal"] = 1
        host.module.raised[0] = asyncio.CancelledError
        await host.drain_feed()
        assert host.module.batches["seal"] == [["a"]]


async def test_a_store_without_a_feed_runs_no_triggers() -> None:
    class Plain:
        read = MemoryFeed.read
        upsert = MemoryFeed.upsert

        def __init__(self) -> None:
            self.leases: dict[str, dict[str, object]] = {}
            self.failing = 0

    host = await Host.load(APPS / "worker", Plain())  # type: ignore[arg-type]
    async with host:
        assert await host.drain_feed() == 0
        assert "not run here: the store has no change feed" in host.describe()


async def test_positions_are_kept_as_they_are() -> None:
    feed = TokenFeed()
    feed.put(AUDIT_EVENTS, "a", "b", "c")
    async with await load(feed) as host:
        await host.drain_feed()
        assert host.module.batches["seal"] == [["a", "b"], ["c"]]
    assert positions(feed) == {
        "seal|seal": "first/3",
        "detect|detect": "first/3",
        "|count": 0,
        "late|late": "first/3",
    }
    feed.put(AUDIT_EVENTS, "d")
    async with await load(feed) as host:
        await host.drain_feed()
        assert host.module.batches["seal"] == [["d"]]
        assert host.module.batches["late"] == [["d"]]


@pytest.mark.parametrize("position", ["second/3", "garbage", "", 7, None])
async def test_a_position_that_the_feed_does_not_know_stops_the_start(position: object) -> None:
    feed = TokenFeed()
    feed.put(AUDIT_EVENTS, "a")
    feed.leases["seal|seal"] = {"id": "seal|seal", "position": position}
    host = await load(feed)
    with pytest.raises(HostError) as caught:
        await host.start(background=False)
    await host.stop()
    assert str(caught.value) == (
        "The 'seal' function is in error: its lease 'seal|seal' holds a position that this feed never gave. Delete the "
        "lease, and the function gets everything that the container 'audit_events' holds once more."
    )
    assert host.module.batches["seal"] == []


async def test_a_container_made_anew_under_a_running_host_is_said(caplog: pytest.LogCaptureFixture) -> None:
    feed, sleeps = TokenFeed(), Sleeps()
    host = await load(feed, sleeps)
    await host.start()
    feed.put(AUDIT_EVENTS, "a")
    await eventually(lambda: host.module.batches["detect"] == [["a"]] and positions(feed)["seal|seal"] == "first/1")
    feed.name = "second"
    feed.put(AUDIT_EVENTS, "b")
    await eventually(lambda: "feed_stands_still function=seal: its lease 'seal|seal' holds" in caplog.text)
    await host.stop()
    assert host.module.batches["seal"] == [["a"]]
    assert positions(feed)["seal|seal"] == "first/1"
    assert 60.0 in sleeps.seconds, "it does not ask again at once"


async def test_a_feed_that_cannot_be_waited_for_is_asked_at_the_declared_delay() -> None:
    feed, sleeps = TokenFeed(), Sleeps()
    host = await load(feed, sleeps)
    await host.start()
    await eventually(lambda: sleeps.seconds.count(5.0) > 3)
    await host.stop()


async def test_the_embedded_store_continues_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    for round_number, expected in ((1, [["u1"]]), (2, [["u2"]])):
        store = await SqliteStore.open(tmp_path / "kraftd.db", clock=clock)
        item = {"id": f"u{round_number}", "tenant_id": "t", "kind": "user", "created_at": "2026"}
        await store.create(IDENTITY, ("t",), item)
        host = await Host.load(APPS / "worker", store, clock=clock)
        async with host:
            await host.drain_feed()
            assert host.module.batches["count"] == expected
        await store.close()


async def test_the_embedded_store_wakes_the_loops() -> None:
    clock = ManualClock()
    store = await SqliteStore.open(None, clock=clock)
    host = await Host.load(APPS / "worker", store, clock=clock, sleep=Sleeps())
    await host.start()
    await store.create(IDENTITY, ("t",), {"id": "u", "tenant_id": "t"})
    await eventually(lambda: host.module.batches["count"] == [["u"]])
    await host.stop()
    await store.close()


def test_lease_ids_are_storage_ids() -> None:
    assert feed_lease_id("a/b", "f") == "a%2Fb|f"
    assert feed_lease_id("ä#%", "f") == "%C3%A4%23%25|f"
    assert timer_lease_id("sweep") == "timer|sweep"
