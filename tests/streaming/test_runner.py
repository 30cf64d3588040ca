"""Who runs when: a tenant's stream once at a time, nobody behind another one's receiver, and nobody forgotten."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest

from shared.core.deadline import deadline, remaining
from shared.storage.errors import Unavailable
from shared.streaming import runner as module
from shared.streaming.runner import Runner


class Streams:
    """Streams that take as long as a test says."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.slow: set[str] = set()
        self.release = asyncio.Event()
        self.waits: dict[str, list[timedelta]] = {}
        self.errors: dict[str, Exception] = {}
        self.running: Counter[str] = Counter()
        self.left: list[float] = []
        self.at_end: Callable[[], object] = lambda: None

    async def run(self, tenant_id: str) -> timedelta | None:
        self.runs[tenant_id] += 1
        self.running[tenant_id] += 1
        assert self.running[tenant_id] == 1
        self.left.append(remaining(1000.0))
        await asyncio.sleep(0)
        if tenant_id in self.slow:
            await self.release.wait()
        self.running[tenant_id] -= 1
        self.at_end()
        if tenant_id in self.errors:
            raise self.errors[tenant_id]
        waits = self.waits.get(tenant_id, [])
        return waits.pop(0) if waits else None


def entries(*tenants: str) -> list[dict[str, str]]:
    return [{"tenant_id": each, "kind": "entry"} for each in tenants]


async def test_the_feed_waits_for_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """One receiver hangs: the others are served, the feed goes on, and so does the slow one by itself."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    streams = Streams()
    streams.slow.add("slow")
    runner = Runner(streams.run)
    for _ in range(3):
        await runner.consume(entries("slow", "a", "b", "a"))
    assert streams.runs == {"slow": 1, "a": 3, "b": 3}
    streams.release.set()
    await runner.settle()
    assert streams.runs["slow"] == 2, "it was woken meanwhile: once more, however often"
    await runner.close()


async def test_a_slow_receiver_costs_the_feed_its_patience_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who took long is not waited for again, until a run of theirs was quick."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.05)
    streams = Streams()
    runner, waited = Runner(streams.run), list[set[str]]()
    settle = runner.settle

    async def watched(tasks: Iterable[asyncio.Task[None]], seconds: float, *, strict: bool = False) -> None:
        tasks = list(tasks)
        waited.append({name for name, task in runner._tasks.items() if task in tasks})
        await settle(tasks, seconds, strict=strict)

    monkeypatch.setattr(runner, "settle", watched)
    streams.slow.add("slow")
    for _ in range(4):
        await runner.consume(entries("slow", "a"))
    assert waited == [{"slow", "a"}, *[{"a"}] * 3]
    streams.slow.clear()
    streams.release.set()
    await settle()
    await runner.consume(entries("slow", "a"))
    await settle()
    await runner.consume(entries("slow", "a"))
    assert waited[-1] == {"slow", "a"}
    await runner.close()


async def test_slow_receivers_wait_for_each_other_and_nobody_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them there are: once they are known, the others have places of their own."""
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.02)
    streams = Streams()
    streams.slow = {f"s{n}" for n in range(8)}
    runner = Runner(streams.run, at_once=4)
    for release in (True, False):
        for each in sorted(streams.slow):
            runner.wake(each)
        await asyncio.sleep(0.1)
        if release:  # the first four end, and the next are known soon
            streams.release.set()
            await asyncio.sleep(0)
            streams.release.clear()
            await asyncio.sleep(0.1)
            streams.release.set()
            await runner.settle()
            streams.release.clear()
    assert sum(streams.running.values()) == 4
    await runner.settle([runner.wake("a")], 1.0)
    assert streams.runs["a"] == 1
    streams.release.set()
    await runner.settle()
    assert {streams.runs[each] for each in streams.slow} == {2}
    await runner.close()


async def test_only_new_entries_wake() -> None:
    streams = Streams()
    runner = Runner(streams.run)
    await runner.consume([{"tenant_id": "a", "kind": kind} for kind in ("head", "tile", "rollup", "checkpoint", "")])
    assert streams.runs == {}


async def test_a_store_that_is_down_has_the_batch_delivered_again() -> None:
    streams = Streams()
    streams.errors = {"a": Unavailable("down")}
    runner = Runner(streams.run)
    with pytest.raises(Unavailable):
        await runner.consume(entries("a", "b"))
    streams.errors = {"a": RuntimeError("a defect")}
    await runner.consume(entries("a", "b"))
    assert streams.runs == {"a": 2, "b": 2}
    await runner.close()


async def test_after_an_error_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AFTER_ERROR_SECONDS", 0.01)
    streams = Streams()
    streams.errors = {"a": RuntimeError("a defect")}
    runner = Runner(streams.run)
    await runner.settle([runner.wake("a")])
    streams.errors = {}
    for _ in range(100):
        await asyncio.sleep(0.01)
        if streams.runs["a"] == 2:
            break
    assert streams.runs == {"a": 2}
    await runner.close()


async def test_who_has_to_wait_is_run_again_by_itself() -> None:
    streams = Streams()
    streams.waits = {"a": [timedelta(seconds=0.01), timedelta(0), timedelta(seconds=-1)]}
    runner = Runner(streams.run)
    await runner.settle([runner.wake("a")])
    for _ in range(100):
        await asyncio.sleep(0.01)
        if streams.runs["a"] == 4:
            break
    assert streams.runs == {"a": 4}
    await runner.close()


async def test_the_deadline_of_a_request_is_not_that_of_the_stream() -> None:
    streams = Streams()
    runner = Runner(streams.run)
    with deadline(5):
        await runner.settle([runner.wake("a")])
    assert streams.left == [1000.0]


async def test_so_many_at_once_and_all_of_them() -> None:
    streams = Streams()
    streams.slow = {f"t{n}" for n in range(10)}
    runner = Runner(streams.run, at_once=4)
    for each in sorted(streams.slow):
        runner.wake(each)
    await asyncio.sleep(0.01)
    assert sum(streams.running.values()) == 4
    streams.release.set()
    await runner.settle()
    assert streams.runs == dict.fromkeys(streams.slow, 1)


async def test_woken_at_the_very_end_is_not_lost() -> None:
    """After the last look, and before the runner has noticed that the task is over."""
    streams = Streams()
    runner = Runner(streams.run)
    waking = iter([lambda: runner.wake("a")])
    streams.at_end = lambda: asyncio.get_running_loop().call_soon(next(waking, lambda: None))
    await runner.settle([runner.wake("a")])
    await asyncio.sleep(0.01)
    await runner.settle()
    assert streams.runs == {"a": 2}


async def test_closing_gives_up_what_runs_and_what_waits() -> None:
    streams = Streams()
    streams.slow.add("slow")
    streams.waits = {"later": [timedelta(seconds=0.02)] * 100}
    runner = Runner(streams.run)
    task = runner.wake("slow")
    await runner.settle([runner.wake("later")])
    await runner.close()
    await asyncio.sleep(0.05)
    assert task.cancelled()
    assert streams.runs == {"slow": 1, "later": 1}
