"""Schedules: which periods are due when, in any time zone, and one report of each however often the timer comes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from shared.audit.outbox import is_entry
from shared.compliance.kinds import COMPLIANCE, ORDER
from shared.compliance.schedules import MOST_MISSED, Every, Schedule, due, due_at, following, starts
from shared.core.errors import Unready
from shared.identity.model import TENANT_ITEM
from shared.storage.containers import AUDIT_EVENTS, IDENTITY, REPORTS
from shared.storage.documents import PatchSet
from shared.storage.errors import StoreError
from shared.storage.sqlite import SqliteStore
from tests.audit.support import TENANT
from tests.compliance.bureau import BEGAN, NOW, Bureau, new_bureau
from tests.fakes import ManualClock
from tests.faults import Crash, FaultyStore

ZONES = ("UTC", "Europe/Warsaw", "Pacific/Auckland", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "end", "hour", "zone", "when"),
    [
        ("daily", date(2026, 3, 16), 6, "UTC", "2026-03-16T06:00"),
        ("daily", date(2026, 3, 16), 0, "UTC", "2026-03-16T01:00"),  # its last events are not sealed before
        ("daily", date(2026, 3, 16), 6, "Europe/Warsaw", "2026-03-16T05:00"),
        ("daily", date(2026, 3, 16), 6, "Pacific/Auckland", "2026-03-16T01:00"),  # 06:00 there is the day before here
        ("daily", date(2026, 3, 16), 20, "America/Los_Angeles", "2026-03-17T03:00"),
        ("daily", date(2026, 3, 29), 2, "Europe/Warsaw", "2026-03-29T01:00"),  # there is no 02:00
        ("daily", date(2026, 10, 25), 2, "Europe/Warsaw", "2026-10-25T01:00"),  # there are two
        ("daily", date(2026, 11, 1), 1, "America/Los_Angeles", "2026-11-01T08:00"),  # the first of two
        ("weekly", date(2026, 3, 16), 9, "Asia/Kathmandu", "2026-03-16T03:15"),
        ("monthly", date(2026, 4, 1), 9, "Pacific/Kiritimati", "2026-04-01T01:00"),
    ],
)
def test_when_a_report_is_due(every: Every, end: date, hour: int, zone: str, when: str) -> None:
    assert due_at(Schedule("soc2", every, hour), end, zone) == at(when)


def ends(every: Every) -> Iterator[date]:
    end = starts(every, date(2025, 12, 25))
    while end < date(2027, 2, 1):
        end = following(every, end)
        yield end


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("every", ["daily", "weekly", "monthly"])
def test_a_year_of_hourly_runs_orders_each_period_once_when_it_is_due(every: Every, zone: str) -> None:
    schedule, reached, now = Schedule("soc2", every, 2), None, at("2026-01-01T00:07")
    found: list[tuple[date, date]] = []
    while now < at("2027-01-10T00:00"):
        for period in due(schedule, zone, now, reached):
            assert due_at(schedule, period[1], zone) <= now
            if found:
                assert now - due_at(schedule, period[1], zone) < timedelta(hours=1)
            found.append(period)
            reached = period[1]
        now += timedelta(hours=1)
    assert all(before[1] == after[0] for before, after in pairwise(found)), "none is left out"
    assert len(found) == len(set(found))
    assert found[-1][1] == max(end for end in ends(every) if due_at(schedule, end, zone) < now)


@pytest.mark.parametrize("every", ["daily", "weekly", "monthly"])
def test_what_was_missed_is_made_up_for_within_bounds(every: Every) -> None:
    schedule, now = Schedule("soc2", every, 6), at("2026-03-16T12:00")
    new = list(due(schedule, "UTC", now, None))
    assert len(new) == 1, "a new schedule begins with the last period"
    assert list(due(schedule, "UTC", now, new[0][1])) == []
    assert len(list(due(schedule, "UTC", now, date(2020, 1, 1)))) == MOST_MISSED[every]
    three = list(due(schedule, "UTC", now, starts(every, starts(every, new[0][0] - timedelta(days=1)) - timedelta(1))))
    assert len(three) == 3
    assert three[-1] == new[0]
    assert list(due(schedule, "UTC", now, date(2030, 1, 1))) == [], "a clock that was ahead"


async def wish(bureau: Bureau, *schedules: dict[str, Any], zone: str = "UTC") -> None:
    """Settings, as they are kept."""
    wanted = {"time_zone": zone, "schedules": list(schedules)}
    await bureau.store.patch(IDENTITY, (TENANT,), TENANT_ITEM, [PatchSet("settings", wanted)])


def daily(framework: str, hour: int = 3) -> dict[str, Any]:
    return {"framework": framework, "every": "daily", "hour": hour}


async def reports(bureau: Bureau, kind: str = COMPLIANCE) -> list[tuple[str, str, str]]:
    found = [item for item in await bureau.all(REPORTS) if item["kind"] == kind]
    return sorted((item["framework"], item["from"], item["to"]) for item in found)


async def run(bureau: Bureau) -> None:
    """The timer, on two instances at once, and what the feed brings of it. The check of the ledger came by before."""
    await bureau.check()
    services = bureau.services.framework_reports
    await asyncio.gather(*(services.schedules.order_due(TENANT, bureau.request()) for _ in range(2)))
    await services.orders.consume([item for item in await bureau.all(REPORTS) if item["kind"] == ORDER])


async def test_one_report_of_each_period_however_often_the_timer_comes(bureau: Bureau) -> None:
    await run(bureau)
    assert await reports(bureau) == [], "nobody asked for one"
    await wish(bureau, daily("soc2"), daily("gdpr", 23), {"framework": "soc2", "every": "weekly", "hour": 0})
    for _ in range(2):
        await run(bureau)
    first = [("gdpr", "2026-03-02", "2026-03-03"), ("soc2", "2026-02-23", "2026-03-02")]
    first.append(("soc2", "2026-03-03", "2026-03-04"))
    assert await reports(bureau) == first
    bureau.clock.advance(days=2, hours=1)  # a downtime
    await wish(bureau, daily("soc2"), zone="Asia/Kathmandu")
    for _ in range(2):
        await run(bureau)
        bureau.clock.advance(minutes=6)  # the check had something to seal, and sees it when it comes again
    missed = [("soc2", "2026-03-04", "2026-03-05"), ("soc2", "2026-03-05", "2026-03-06")]
    assert await reports(bureau) == first + missed
    assert await reports(bureau, ORDER) == []


async def test_what_is_too_long_ago_to_be_made_up_for_is_told_of_once(local: Bureau) -> None:
    await wish(local, daily("soc2"))
    await run(local)
    local.clock.advance(days=40)
    schedules = local.services.framework_reports.schedules
    await asyncio.gather(*(schedules.order_due(TENANT, local.request()) for _ in range(3)))
    await schedules.order_due(TENANT, local.request())
    ordered = await reports(local, ORDER)
    assert len(ordered) == MOST_MISSED["daily"]
    assert [each for each in await local.all(REPORTS) if is_entry(each)] == [], "its event is in the trail"
    said = [e for e in await local.all(AUDIT_EVENTS) if e["type"] == "report.generate" and e["outcome"] == "failure"]
    (told,) = said
    span = (told["attributes"]["period_from"], told["attributes"]["period_to"])
    assert (told["reason"], span) == ("left_out", ("2026-03-04", ordered[0][1]))
    assert told["target"] == {"kind": "schedule", "id": "soc2-daily"}


async def test_there_is_none_of_a_time_before_the_organization_began() -> None:
    clock = ManualClock(BEGAN)
    bureau = await new_bureau(await SqliteStore.open(None, clock=clock), clock)
    await wish(bureau, {"framework": "soc2", "every": "monthly", "hour": 0})
    await run(bureau)
    assert await reports(bureau) == []
    clock.set(datetime(2026, 4, 1, 1, 0, tzinfo=UTC))
    await run(bureau)
    assert await reports(bureau) == [("soc2", "2026-03-01", "2026-04-01")]
    await bureau.services.close()


@pytest.mark.parametrize("error", [StoreError("down"), Crash()], ids=["error", "crash"])
async def test_whatever_call_of_the_store_fails_none_is_left_out(error: BaseException) -> None:
    clock = ManualClock(BEGAN)
    store = FaultyStore(await SqliteStore.open(None, clock=clock))
    bureau = await new_bureau(store, clock)
    await wish(bureau, daily("soc2"))
    clock.set(NOW)
    schedules = bureau.services.framework_reports.schedules
    for k in range(1, 40):
        clock.advance(days=1)
        store.arm(k, "after", error)
        with suppress(StoreError, Unready, Crash):
            await schedules.order_due(TENANT, bureau.request())
        reached = len(store.calls) >= k
        store.mend()
        await schedules.order_due(TENANT, bureau.request())
        assert len(await reports(bureau, ORDER)) == k
        if not reached:
            break
    assert not reached
    assert k > 4
    await bureau.services.close()
