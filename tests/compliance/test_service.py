"""Building and reading the daily reports: once per day, final after it, whatever fails or runs at the same time."""

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared.audit.events.access import AccessDenied
from shared.audit.events.profile import ProfileView
from shared.audit.model import SYSTEM, Draft
from shared.audit.outbox import is_entry
from shared.compliance.model import Day, shown_report
from shared.compliance.service import GRACE, LOOK_BACK_DAYS, Reports
from shared.core.clock import rfc3339
from shared.storage.containers import REPORTS
from shared.storage.documents import Cursor, DocumentStore, Item, Page, Partition, Query
from shared.storage.errors import StoreError, Unavailable
from tests.audit.support import EXAMPLES, OTHER, REQUEST, TENANT, TIMER, World, by_ada, new_world
from tests.faults import Call, Crash, FaultyStore, Mode

TODAY = date(2026, 3, 15)
NOON = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
MODES: tuple[Mode, ...] = ("before", "after")


@dataclass(frozen=True)
class Enrolled:
    """A tenant as the directory tells of it."""

    id: str
    enrolled_at: datetime = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass
class Enrollment:
    """The tenants of a test."""

    held: Sequence[Enrolled] = (Enrolled(TENANT),)

    async def tenants(self) -> AsyncIterator[Enrolled]:
        for each in self.held:
            yield each


@dataclass
class Bureau:
    """Reports over one audit core."""

    world: World
    enrollment: Enrollment = field(default_factory=Enrollment)

    def reports(self, through: DocumentStore | None = None) -> Reports:
        """What builds reports, as one instance of the app has it."""
        store = through or self.world.store
        over = self.world.over(store)
        return Reports(store, over.recorder, over.outbox(), self.enrollment, self.world.clock)

    async def build(self, through: DocumentStore | None = None) -> int:
        return await self.reports(through).build_due(dataclasses.replace(TIMER, started_at=self.world.clock.now()))

    async def view(self, moment: datetime, tenant_id: str = TENANT, count: int = 1) -> None:
        """Events of a moment; the clock stays where it was."""
        now = self.world.clock.now()
        self.world.clock.set(moment)
        for _ in range(count):
            await self.world.recorder.record(by_ada(ProfileView(), tenant_id))
        self.world.clock.set(now)

    async def held(self, tenant_id: str = TENANT) -> dict[str, Item]:
        """Reports by day."""
        items = await self.world.all(REPORTS, tenant_id)
        return {item["from"]: item for item in items if item["kind"] == "report"}

    async def generated(self, tenant_id: str = TENANT) -> list[Item]:
        return [event for event in await self.world.events(tenant_id) if event["type"] == "report.generate"]

    def at(self, day: date, hour: int = 12, minute: int = 0) -> None:
        self.world.clock.set(datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC))


@pytest.fixture
async def bureau() -> AsyncIterator[Bureau]:
    async with new_bureau() as made:
        yield made


@asynccontextmanager
async def new_bureau() -> AsyncIterator[Bureau]:
    async with new_world(NOON) as world:
        yield Bureau(world)


def days(first: date, last: date) -> list[str]:
    return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


async def test_the_first_run_builds_the_last_week_and_today(bureau: Bureau) -> None:
    await bureau.view(NOON, count=3)
    assert await bureau.build() == LOOK_BACK_DAYS + 1
    held = await bureau.held()
    assert sorted(held) == days(TODAY - timedelta(days=7), TODAY)
    assert {day for day, each in held.items() if each["status"] == "building"} == {TODAY.isoformat()}
    today = held[TODAY.isoformat()]
    assert today["events_in_period"] == 3
    assert today["by_type"] == {"profile.view": {"success": 3}}
    assert sum(each["events_in_period"] for each in held.values()) == 3


async def test_each_report_is_one_event_that_names_it(bureau: Bureau) -> None:
    await bureau.build()
    held, events = await bureau.held(), await bureau.generated()
    assert {event["target"]["id"] for event in events} == {each["id"] for each in held.values()}
    for event in events:
        report = next(each for each in held.values() if each["id"] == event["target"]["id"])
        assert event["actor"]["kind"] == "system"
        assert event["outcome"] == "success"
        assert event["attributes"]["framework"] == "activity"
        assert event["attributes"]["period_from"] == report["from"]
        assert event["attributes"]["period_to"] == report["to"]
    assert not [item for item in await bureau.world.all(REPORTS, TENANT) if is_entry(item)]


async def test_the_digest_is_of_what_is_read(bureau: Bureau) -> None:
    """Recomputed from the shape that GET answers with, by nothing but JSON and SHA-256."""
    await bureau.view(NOON, count=2)
    await bureau.build()
    held = {each["id"]: each for each in (await bureau.held()).values()}
    for event in await bureau.generated():
        answer = json.loads(json.dumps(shown_report(held[event["target"]["id"]])))
        text = json.dumps(answer, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == event["attributes"]["digest"]


async def test_nothing_new_writes_nothing(bureau: Bureau) -> None:
    """Its own events must not make it build again: event, report, event, and so on."""
    await bureau.view(NOON)
    await bureau.build()
    before = await bureau.world.events(), await bureau.held()
    for _ in range(3):
        bureau.world.clock.advance(minutes=30)
        assert await bureau.build() == 0
    assert (await bureau.world.events(), await bureau.held()) == before


async def test_new_events_of_today_are_taken_up(bureau: Bureau) -> None:
    await bureau.build()
    await bureau.view(NOON + timedelta(minutes=1))
    bureau.world.clock.advance(hours=1)
    assert await bureau.build() == 1
    today = (await bureau.held())[TODAY.isoformat()]
    assert (today["events_in_period"], today["status"]) == (1, "building")
    assert today["generated_at"] == rfc3339(NOON + timedelta(hours=1))


async def test_a_day_becomes_final_when_the_grace_is_over_and_not_before(bureau: Bureau) -> None:
    await bureau.build()
    end = Day(TODAY).end
    for moment, status in (
        (end, "building"),
        (end + GRACE - timedelta(microseconds=1), "building"),
        (end + GRACE, "ready"),
    ):
        bureau.world.clock.set(moment)
        await bureau.build()
        assert (await bureau.held())[TODAY.isoformat()]["status"] == status


async def test_an_event_that_came_within_the_grace_is_in(bureau: Bureau) -> None:
    bureau.world.clock.set(Day(TODAY).end)
    await bureau.build()
    await bureau.view(Day(TODAY).end - timedelta(microseconds=1))
    bureau.world.clock.set(Day(TODAY).end + GRACE)
    await bureau.build()
    report = (await bureau.held())[TODAY.isoformat()]
    assert (report["status"], report["events_in_period"]) == ("ready", 1)


async def test_a_final_report_never_changes(bureau: Bureau) -> None:
    await bureau.view(NOON)
    bureau.world.clock.set(Day(TODAY).end + GRACE)
    await bureau.build()
    final = (await bureau.held())[TODAY.isoformat()]
    assert final["status"] == "ready"
    await bureau.view(NOON, count=5)  # a late one: the evidence that was given out stays as it is
    for days_later in range(LOOK_BACK_DAYS + 2):
        bureau.world.clock.set(Day(TODAY).end + GRACE + timedelta(days=days_later))
        await bureau.build()
        assert (await bureau.held())[TODAY.isoformat()] == final
    about = [event for event in await bureau.generated() if event["target"]["id"] == final["id"]]
    assert len(about) == 1


async def test_the_edges_of_a_day_belong_to_one_day_each(bureau: Bureau) -> None:
    start, end, tick = Day(TODAY).start, Day(TODAY).end, timedelta(microseconds=1)
    for moment, count in ((start - tick, 1), (start, 2), (end - tick, 4), (end, 8)):
        await bureau.view(moment, count=count)
    bureau.at(TODAY + timedelta(days=2))
    await bureau.build()
    held = await bureau.held()
    found = {day: held[day]["events_in_period"] for day in days(TODAY - timedelta(days=1), TODAY + timedelta(days=1))}
    assert list(found.values()) == [1, 6, 8]


@pytest.mark.parametrize(
    "last", [date(2026, 1, 31), date(2026, 2, 28), date(2028, 2, 29), date(2025, 12, 31)], ids=date.isoformat
)
async def test_months_and_years_end_like_any_day(last: date, bureau: Bureau) -> None:
    """The events of two months are in two partitions."""
    first = last + timedelta(days=1)
    bureau.enrollment.held = [Enrolled(TENANT)]
    await bureau.view(Day(last).end - timedelta(microseconds=1), count=2)
    await bureau.view(Day(first).start, count=3)
    bureau.at(first, 2)
    await bureau.build()
    held = await bureau.held()
    assert (held[last.isoformat()]["events_in_period"], held[last.isoformat()]["status"]) == (2, "ready")
    assert held[last.isoformat()]["to"] == first.isoformat()
    assert (held[first.isoformat()]["events_in_period"], held[first.isoformat()]["status"]) == (3, "building")
    periods = {event["period"] for event in await bureau.world.events() if event["type"] == "profile.view"}
    assert len(periods) == 2


async def test_a_week_without_the_timer_loses_no_day(bureau: Bureau) -> None:
    await bureau.build()
    for day in range(LOOK_BACK_DAYS + 1):
        await bureau.view(NOON + timedelta(days=day), count=day + 1)
    bureau.at(TODAY + timedelta(days=LOOK_BACK_DAYS))
    await bureau.build()
    held = await bureau.held()
    last = TODAY + timedelta(days=LOOK_BACK_DAYS)
    wanted = days(TODAY, last)
    assert [held[day]["status"] for day in wanted] == ["ready"] * LOOK_BACK_DAYS + ["building"]
    assert [held[day]["events_in_period"] for day in wanted] == list(range(1, LOOK_BACK_DAYS + 2))


@pytest.mark.parametrize(
    ("enrolled", "first"),
    [
        (datetime(2026, 3, 13, 18, 30, tzinfo=UTC), date(2026, 3, 13)),
        (datetime(2026, 3, 13, tzinfo=UTC), date(2026, 3, 13)),
        (datetime(2026, 3, 12, 23, 59, 59, 999_999, tzinfo=UTC), date(2026, 3, 12)),
        (NOON, TODAY),
    ],
)
async def test_there_are_no_reports_before_enrollment(enrolled: datetime, first: date, bureau: Bureau) -> None:
    bureau.enrollment.held = [Enrolled(TENANT, enrolled)]
    await bureau.build()
    assert sorted(await bureau.held()) == days(first, TODAY)


async def test_a_tenant_of_tomorrow_has_none(bureau: Bureau) -> None:
    """A clock that runs ahead of ours wrote the registry."""
    bureau.enrollment.held = [Enrolled(TENANT, NOON + timedelta(days=1))]
    assert await bureau.build() == 0
    assert await bureau.held() == {}


async def test_tenants_are_counted_apart(bureau: Bureau) -> None:
    bureau.enrollment.held = [Enrolled(TENANT), Enrolled(OTHER)]
    await bureau.view(NOON, TENANT, 2)
    await bureau.view(NOON, OTHER, 3)
    assert await bureau.build() == 2 * (LOOK_BACK_DAYS + 1)
    for tenant_id, count in ((TENANT, 2), (OTHER, 3)):
        held = await bureau.held(tenant_id)
        assert held[TODAY.isoformat()]["events_in_period"] == count
        assert {each["tenant_id"] for each in held.values()} == {tenant_id}
        assert {event["tenant_id"] for event in await bureau.generated(tenant_id)} == {tenant_id}


async def test_more_events_than_a_page_are_all_counted(bureau: Bureau) -> None:
    template = await bureau.world.recorder.finish(by_ada(ProfileView()))
    total = 1003

    async def put(number: int) -> None:
        await bureau.world.recorder.publish({**template, "id": f"{template['id'][:-4]}{number:04}"})

    await asyncio.gather(*(put(number) for number in range(total)))
    await bureau.build()
    assert (await bureau.held())[TODAY.isoformat()]["events_in_period"] == total


class Meeting:
    """A store at which `parties` wait for each other before each of them writes its first batch."""

    def __init__(self, inner: DocumentStore, barrier: asyncio.Barrier) -> None:
        self.store = inner
        self._barrier: asyncio.Barrier | None = barrier

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def batch(self, *arguments: Any) -> Any:
        barrier, self._barrier = self._barrier, None
        if barrier is not None:
            async with asyncio.timeout(30):
                await barrier.wait()
        return await self.store.batch(*arguments)


@pytest.mark.parametrize("held_already", [False, True])
async def test_two_runs_at_once_leave_one_report_and_one_event(held_already: bool, bureau: Bureau) -> None:
    """Both have read and counted before either writes; the one that comes second finds that out and goes on."""
    bureau.enrollment.held = [Enrolled(TENANT, Day(TODAY).start)]
    if held_already:
        await bureau.build()
    await bureau.view(NOON)
    before = len(await bureau.generated())
    barrier = asyncio.Barrier(2)
    stores = [Meeting(bureau.world.store, barrier) for _ in range(2)]
    assert sorted(await asyncio.gather(*(bureau.build(store) for store in stores))) == [0, 1]
    (report,) = (await bureau.held()).values()
    assert report["events_in_period"] == 1
    events = await bureau.generated()
    assert len(events) == before + 1
    digests = [event["attributes"]["digest"] for event in events]
    text = json.dumps(shown_report(report), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() in digests
    assert not [item for item in await bureau.world.all(REPORTS, TENANT) if is_entry(item)]


async def test_one_tenant_s_trouble_does_not_stop_the_others_and_shows_at_the_end(bureau: Bureau) -> None:
    third = TENANT.replace("aa", "cc")
    bureau.enrollment.held = [Enrolled(TENANT), Enrolled(OTHER), Enrolled(third)]
    trouble = Unavailable("of the second")

    def of_the_second(call: Call) -> bool:
        return call.partition[:1] == (OTHER,)

    store = FaultyStore(bureau.world.store, 1, error=trouble, times=None, counts=of_the_second)
    with pytest.raises(Unavailable) as caught:
        await bureau.build(store)
    assert caught.value is trouble
    assert [len(await bureau.held(tenant)) for tenant in (TENANT, OTHER, third)] == [8, 0, 8]
    store.mend()
    assert await bureau.build(store) == LOOK_BACK_DAYS + 1
    assert len(await bureau.held(OTHER)) == 8


async def test_the_first_trouble_of_several_is_the_one_that_shows(bureau: Bureau) -> None:
    bureau.enrollment.held = [Enrolled(TENANT), Enrolled(OTHER)]

    class Second(StoreError):
        """Not the first."""

    first = FaultyStore(bureau.world.store, 1, counts=lambda call: call.partition[:1] == (TENANT,))
    both = FaultyStore(first, 1, error=Second(), counts=lambda call: call.partition[:1] == (OTHER,))
    with pytest.raises(Unavailable):
        await bureau.build(both)
    assert both.failed == first.failed == 1


async def test_an_event_that_cannot_be_counted_stops_its_own_tenant_only(bureau: Bureau) -> None:
    bureau.enrollment.held = [Enrolled(TENANT), Enrolled(OTHER)]
    event = await bureau.world.recorder.finish(by_ada(ProfileView()))
    await bureau.world.recorder.publish({**event, "type": "alert.raise", "attributes": {}})
    with pytest.raises(KeyError):
        await bureau.build()
    assert len(await bureau.held(OTHER)) == 8


@pytest.mark.parametrize("mode", MODES)
async def test_a_crash_at_any_call_is_made_up_by_the_next_run(mode: Mode) -> None:
    """Whenever the process dies: the next run and the drain leave one report and one event for each day."""
    k = 0
    while True:
        k += 1
        async with new_bureau() as bureau:
            bureau.enrollment.held = [Enrolled(TENANT, NOON - timedelta(days=1))]
            await bureau.view(NOON)
            store = FaultyStore(bureau.world.store, k, mode, Crash())
            with suppress(Crash):
                await bureau.build(store)
            await bureau.build()
            await bureau.world.outbox().sweep(REPORTS, TENANT, rfc3339(NOON + timedelta(hours=1)))
            held, events = await bureau.held(), await bureau.generated()
            assert sorted(held) == days(TODAY - timedelta(days=1), TODAY)
            assert sorted(event["target"]["id"] for event in events) == sorted(each["id"] for each in held.values())
            if store.failed == 0:
                break
    assert k > 8


async def test_reports_are_listed_newest_first_and_only_ones_own(bureau: Bureau) -> None:
    bureau.enrollment.held = [Enrolled(TENANT), Enrolled(OTHER)]
    await bureau.build()
    listed: list[Item] = []
    after: Cursor | None = None
    while True:
        page = await bureau.reports().page(TENANT, limit=3, after=after)
        listed += page.items
        after = page.next
        if after is None:
            break
    assert [item["from"] for item in listed] == days(TODAY - timedelta(days=7), TODAY)[::-1]
    assert {item["tenant_id"] for item in listed} == {TENANT}


async def test_what_waits_in_the_outbox_is_no_report(bureau: Bureau) -> None:
    store = FaultyStore(bureau.world.store, 1, "after", Crash(), counts=lambda call: call.operation == "batch")
    with pytest.raises(Crash):
        await bureau.build(store)
    (entry,) = [item for item in await bureau.world.all(REPORTS, TENANT) if is_entry(item)]
    page = await bureau.reports().page(TENANT, limit=100, after=None)
    assert entry["id"] not in [item["id"] for item in page.items]
    assert len(page.items) == 1


async def test_refusals_and_alerts_are_counted_from_the_trail_itself(bureau: Bureau) -> None:
    for draft in EXAMPLES.values():
        await bureau.world.recorder.record(dataclasses.replace(draft, tenant_id=TENANT))
    refused = Draft(TENANT, AccessDenied(), REQUEST, outcome="denied", actor=SYSTEM)
    await bureau.world.recorder.record(refused)
    await bureau.build()
    today = (await bureau.held())[TODAY.isoformat()]
    assert today["events_in_period"] == len(EXAMPLES)  # one more, and report.generate left out
    assert today["access_denied"] == {"total": 3, "by_reason": {"cross_tenant": 1, "role": 1, "unspecified": 1}}
    assert today["alerts_raised"] == {"total": 1, "by_pattern": {"brute_force": 1}}
    assert today["by_type"]["auth.login"] == {"failure": 1}


async def test_a_run_without_tenants_does_nothing(bureau: Bureau) -> None:
    bureau.enrollment.held = []
    assert await bureau.build() == 0


async def test_every_query_names_its_tenant(bureau: Bureau) -> None:
    bureau.enrollment.held = [Enrolled(TENANT), Enrolled(OTHER)]
    store = FaultyStore(bureau.world.store)
    await bureau.build(store)
    assert {call.partition[0] for call in store.calls} == {TENANT, OTHER}
    counted: set[Partition] = {call.partition for call in store.calls if call.operation == "query"}
    assert all(len(partition) == 2 for partition in counted)  # one month of one tenant
    page: Page = await bureau.world.store.query(REPORTS, (TENANT,), Query())
    assert page.items
