"""Rejected tokens: sampled per address and minute, and no count lost, whatever fails."""

import asyncio

import httpx
import pytest

from devhost.host import Host
from shared.storage.sqlite import SqliteStore
from tests.app import App, assert_problem, running
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore, Mode

BAD = {"Authorization": "Bearer x"}


async def _reject(app: App) -> int:
    return (await app.client.get("/v1/profile", headers=BAD)).status_code


async def _counts(app: App) -> list[int]:
    return [e["attributes"]["count"] for e in await app.events(type_="auth.token_rejected")]


async def test_one_event_per_minute_that_counts_the_others(app: App) -> None:
    for _ in range(5):
        await _reject(app)
    app.clock.advance(seconds=59)
    await _reject(app)
    assert await _counts(app) == [1]
    app.clock.advance(seconds=1)
    await _reject(app)
    assert await _counts(app) == [1, 6]


async def test_what_is_counted_when_an_address_falls_silent_is_recorded_by_the_timer(app: App) -> None:
    for _ in range(4):
        await _reject(app)
    await app.host.run_timer("flush_rejections")
    assert await _counts(app) == [1]  # the minute is not over
    app.clock.advance(seconds=61)
    for _ in range(3):
        assert await app.host.run_timer("flush_rejections")
    assert await _counts(app) == [1, 3]
    first, flushed = await app.events(type_="auth.token_rejected")
    assert flushed["ip_key"] == first["ip_key"]
    assert flushed["reason"] == "malformed"
    await _reject(app)  # within a minute of the event that the timer wrote
    assert await _counts(app) == [1, 3]
    app.clock.advance(seconds=61)
    await app.host.run_timer("flush_rejections")
    app.clock.advance(seconds=61)
    await app.host.run_timer("flush_rejections")  # forgets the address
    await _reject(app)
    assert await _counts(app) == [1, 3, 1, 1]


async def test_addresses_are_counted_apart(app: App) -> None:
    await _reject(app)
    transport = httpx.ASGITransport(app=app.host.asgi, client=("198.51.100.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://kraftd.test/api") as other:
        await other.get("/v1/profile", headers=BAD)
    assert await _counts(app) == [1, 1]


async def test_many_at_once_are_each_counted(app: App) -> None:
    statuses = await asyncio.gather(*(_reject(app) for _ in range(25)))
    assert set(statuses) == {401}
    app.clock.advance(seconds=61)
    await app.host.run_timer("flush_rejections")
    assert sum(await _counts(app)) == 25


@pytest.mark.parametrize(("mode", "times"), [("before", 1), ("after", 1), ("before", None)])
async def test_no_401_without_a_trace(host: Host, clock: ManualClock, mode: Mode, times: int | None) -> None:
    store = FaultyFeedStore(await SqliteStore.open(None, clock=clock))
    async with running(host, clock, store) as app:
        refused = sent = 0
        for k in range(1, 20):
            store.arm(k, mode, times=times)
            status = await _reject(app)
            reached = store.counted >= k
            store.mend()
            sent += 1
            assert status in (401, 503)
            refused += status == 401
            if not reached:
                break
            if k % 2:
                clock.advance(seconds=61)
        await app.host.drain_feed()
        clock.advance(seconds=61)
        assert await app.host.run_timer("sweep_outbox")
        assert await app.host.run_timer("flush_rejections")
        assert refused <= sum(await _counts(app)) <= sent


async def test_a_logout_that_came_too_late_is_a_rejection(app: App) -> None:
    ada = await app.register()
    answers = await asyncio.gather(*(app.client.post("/v1/logout", headers=ada.auth) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [204, 401, 401, 401, 401]
    late = next(answer for answer in answers if answer.status_code == 401)
    assert_problem(late, 401, "invalid_token")
    app.clock.advance(seconds=61)
    await app.host.run_timer("flush_rejections")
    assert sum(await _counts(app)) == 4
