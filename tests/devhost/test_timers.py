"""Timer triggers: NCRONTAB, past-due runs, no overlap, and the admin path."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from devhost.errors import HostError
from devhost.host import Host
from devhost.timers import Schedule
from shared.storage.containers import IDENTITY, Container
from shared.storage.documents import Item, Partition
from shared.storage.errors import Unavailable
from tests.devhost.fakes import APPS, MemoryFeed, Sleeps, WakingFeed, eventually
from tests.fakes import ManualClock


@pytest.fixture(autouse=True)
def _prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECT_PREFIX", "detect")


class TurningClock(ManualClock):
    """A clock whose sleepers move it; they stop moving it (and never wake) after `naps` sleeps."""

    def __init__(self, naps: int) -> None:
        super().__init__()
        self._naps = naps
        self.asleep = 0

    async def sleep(self, seconds: float) -> None:
        if self._naps == 0:
            self.asleep += 1
            await asyncio.Event().wait()
        self._naps -= 1
        self.advance(seconds=seconds)
        await asyncio.sleep(0)


async def load(feed: MemoryFeed, clock: ManualClock, *, start_timers: tuple[str, ...] = ()) -> Host:
    return await Host.load(APPS / "worker", feed.store, clock=clock, sleep=Sleeps(), start_timers=start_timers)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("0 */5 * * * *", "2026-03-15T12:00:00", "2026-03-15T12:05:00"),
        ("*/15 * * * * *", "2026-03-15T12:00:01", "2026-03-15T12:00:15"),
        ("30 0 3 * * *", "2026-03-15T12:00:00", "2026-03-16T03:00:30"),
        ("0 0 3 1 * MON", "2026-03-15T12:00:00", "2026-06-01T03:00:00"),  # both day fields must hold
        ("0 0 9-17/4 * JAN,JUN 1-5", "2026-03-15T12:00:00", "2026-06-01T09:00:00"),
        ("0 0 0 29 2 *", "2026-03-15T12:00:00", "2028-02-29T00:00:00"),
    ],
)
def test_schedules(schedule: str, after: str, expected: str) -> None:
    assert Schedule(schedule).after(at(after)) == at(expected)


def test_a_schedule_has_six_fields() -> None:
    with pytest.raises(HostError, match="six fields"):
        Schedule("*/5 * * * *")


async def test_a_timer_runs_once_when_asked() -> None:
    async with await load(MemoryFeed(), ManualClock()) as host:
        assert await host.run_timer("five") is True
        assert await host.run_timer("five", past_due=True) is True
        host.module.failures["five"] = 1
        assert await host.run_timer("five") is False
        assert host.module.timer_calls == [("five", False), ("five", True), ("five", False)]
        with pytest.raises(KeyError):
            await host.run_timer("seal")


async def test_the_loop_fires_at_every_occurrence() -> None:
    feed, clock = WakingFeed(), TurningClock(naps=3)
    host = await Host.load(APPS / "worker", feed.store, clock=clock, sleep=clock.sleep)
    host.functions = tuple(each for each in host.functions if each.name == "five")  # the clock is this timer's alone
    await host.start()
    await eventually(lambda: len(host.module.timer_calls) == 3)
    assert clock.now() == at("2026-03-15T12:15:00")
    await eventually(lambda: feed.leases["timer|five"]["last"] == "2026-03-15T12:15:00.000000Z")
    await host.stop()
    assert host.module.timer_calls == [("five", False)] * 3
    assert feed.leases["timer|five"]["next"] == "2026-03-15T12:20:00.000000Z"


async def started(feed: MemoryFeed, clock: ManualClock) -> list[tuple[str, bool]]:
    """What a host runs at its start: every loop is let go on until it waits."""
    naps = TurningClock(naps=0)
    host = await Host.load(APPS / "worker", feed.store, clock=clock, sleep=naps.sleep)
    await host.start()
    await eventually(lambda: naps.asleep == len(host.functions))
    await host.stop()
    return sorted(host.module.timer_calls)


async def test_a_missed_occurrence_runs_once_past_due() -> None:
    feed, clock = MemoryFeed(), ManualClock()
    assert await started(feed, clock) == [("rare", False)]  # run_on_startup; nothing was missed yet
    clock.advance(minutes=4)
    assert await started(feed, clock) == [("rare", False)]
    clock.advance(hours=30)  # `unmonitored` missed one too, and keeps no state to know it by
    assert await started(feed, clock) == [("five", True), ("rare", False)]
    assert await started(feed, clock) == [("rare", False)]
    clock.advance(days=100)
    assert await started(feed, clock) == [("five", True), ("rare", True)]
    assert "timer|unmonitored" not in feed.leases


async def test_the_loop_outlives_a_store_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    feed, clock = MemoryFeed(), TurningClock(naps=2)
    feed.failing = 2  # the note of the first start, and of the first run
    host = await Host.load(APPS / "worker", feed.store, clock=clock, sleep=clock.sleep)
    host.functions = tuple(each for each in host.functions if each.name == "five")
    await host.start()
    await eventually(lambda: clock.asleep == 1)
    await host.stop()
    assert host.module.timer_calls == [("five", False)] * 2
    assert feed.leases["timer|five"]["last"] == "2026-03-15T12:10:00.000000Z"
    assert caplog.text.count("timer_failed function=five error=Unavailable") == 2


async def test_retries_of_a_timer_follow_its_policy(caplog: pytest.LogCaptureFixture) -> None:
    clock = TurningClock(naps=1)
    host = await Host.load(APPS / "worker", MemoryFeed().store, clock=clock, sleep=clock.sleep)
    host.functions = tuple(each for each in host.functions if each.name == "five")
    host.module.failures["five"] = 1
    await host.start()
    await eventually(lambda: clock.asleep == 1)
    await host.stop()
    assert host.module.timer_calls == [("five", False)]  # it declares none
    assert "function_failed function=five error=RuntimeError attempt=1" in caplog.text


RETRYING = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
calls: list[int] = []


@app.timer_trigger(arg_name="timer", schedule="0 */5 * * * *")
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:07")
async def retried(timer: func.TimerRequest, context: func.Context) -> None:
    calls.append(context.retry_context.retry_count)
    raise RuntimeError
"""


async def test_a_finite_policy_of_a_timer_ends(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{}", encoding="utf-8")
    (tmp_path / "function_app.py").write_text(RETRYING, encoding="utf-8")
    clock = TurningClock(naps=3)  # to the occurrence, and between three attempts
    host = await Host.load(tmp_path, MemoryFeed().store, clock=clock, sleep=clock.sleep)
    await host.start()
    await eventually(lambda: clock.asleep == 1)
    await host.stop()
    assert host.module.calls == [0, 1, 2]
    assert clock.now() == at("2026-03-15T12:05:14")


async def test_one_timer_never_overlaps_itself() -> None:
    async with await load(MemoryFeed(), ManualClock()) as host:
        running = most = 0
        waiting = asyncio.Event()
        invoke = host._worker.invoke

        async def watched(*given: object, **named: object) -> object:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await waiting.wait()
            running -= 1
            return await invoke(*given, **named)  # type: ignore[arg-type]

        host._worker.invoke = watched  # type: ignore[assignment, method-assign]
        runs = [asyncio.create_task(host.run_timer("five")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting.set()
        assert await asyncio.gather(*runs) == [True, True, True]
        assert most == 1


async def test_start_timers_run_at_every_start_where_they_exist() -> None:
    host = await load(MemoryFeed(), ManualClock(), start_timers=("five", "no_such_timer"))
    for _ in range(2):
        async with host:
            pass
    assert host.module.timer_calls == [("five", False)] * 2


async def test_a_stop_lets_a_running_timer_finish() -> None:
    feed = WakingFeed()
    host = await load(feed, ManualClock())
    begun, proceed = asyncio.Event(), asyncio.Event()
    invoke = host._worker.invoke

    async def slow(*given: object, **named: object) -> object:
        begun.set()
        await proceed.wait()
        return await invoke(*given, **named)  # type: ignore[arg-type]

    host._worker.invoke = slow  # type: ignore[assignment, method-assign]
    feed.put(IDENTITY, "x")
    await host.start()
    await begun.wait()
    stopping = asyncio.create_task(host.stop())
    await asyncio.sleep(0)
    proceed.set()
    await stopping
    assert host.module.batches["count"] == [["x"]]
    assert feed.leases["|count"]["position"] == 1


@pytest.fixture
async def admin() -> AsyncIterator[tuple[Host, httpx.AsyncClient]]:
    host = await load(MemoryFeed(), ManualClock())
    transport = httpx.ASGITransport(app=host.asgi, client=("127.0.0.1", 50000))
    async with host, httpx.AsyncClient(transport=transport, base_url="http://localhost") as opened:
        yield host, opened


async def test_a_function_is_triggered_by_hand(admin: tuple[Host, httpx.AsyncClient]) -> None:
    host, client = admin
    response = await client.post("/admin/functions/FIVE", json={"input": ""})
    assert (response.status_code, response.content) == (202, b"")
    await eventually(lambda: host.module.timer_calls == [("five", False)])
    assert (await client.post("/admin/functions/count", json={"input": '[{"id": "by hand"}]'})).status_code == 202
    await eventually(lambda: host.module.batches["count"] == [["by hand"]])
    host.module.failures["count"] = 1
    assert (await client.post("/admin/functions/count", json={"input": '[{"id": "x"}]'})).status_code == 202
    await eventually(lambda: host.module.failures["count"] == 0)


async def test_a_store_that_fails_under_a_run_by_hand_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryFeed):
        async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
            raise Unavailable

    host = await Host.load(APPS / "worker", Broken().store, clock=ManualClock(), sleep=Sleeps())
    host.functions = tuple(each for each in host.functions if each.name == "five")
    async with host:
        assert await host.run_by_hand("five", None) is True
        await eventually(lambda: "by_hand_failed error=Unavailable" in caplog.text)


async def test_the_admin_path_refuses_the_rest(admin: tuple[Host, httpx.AsyncClient]) -> None:
    host, client = admin
    assert (await client.post("/admin/functions/none", json={})).status_code == 404
    assert (await client.post("/admin/functions/five", content="{}")).status_code == 415
    form = {"Content-Type": "text/plain"}
    assert (await client.post("/admin/functions/five", content="{}", headers=form)).status_code == 415
    typed = {"Content-Type": "application/json; charset=utf-8"}
    for body in ("", "[]", "x", '{"input": 1}'):
        assert (await client.post("/admin/functions/five", content=body, headers=typed)).status_code == 400
    assert (await client.get("/admin/functions/five")).status_code == 405
    transport = httpx.ASGITransport(app=host.asgi, client=("192.0.2.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as elsewhere:
        assert (await elsewhere.post("/admin/functions/five", json={})).status_code == 403
    named = httpx.ASGITransport(app=host.asgi, client=("testclient", 50000))
    async with httpx.AsyncClient(transport=named, base_url="http://localhost") as nowhere:
        assert (await nowhere.post("/admin/functions/five", json={})).status_code == 403
    assert host.module.timer_calls == []


async def test_http_functions_are_not_run_by_hand(web: Host) -> None:
    assert await web.run_by_hand("echo", None) is False
