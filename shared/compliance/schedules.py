"""Reports that are made by themselves: which periods are due of a schedule, and ordering each of them once.

A period is whole UTC days; the organization's time zone decides when its report is made. Pure, but for the marks that
say how far each schedule is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from shared.audit.events.report import ReportGenerate
from shared.audit.model import SYSTEM, Draft, RequestContext, StoredEvent, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.compliance.orders import SETTLED, ReportOrders
from shared.core.clock import Clock
from shared.core.errors import Invalid
from shared.storage.containers import REPORTS
from shared.storage.documents import DocumentStore, Item, find_item, replace
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.telemetry import get_log

_log = get_log(__name__)

KIND = "schedule"
type Every = Literal["daily", "weekly", "monthly"]
MOST_MISSED: dict[Every, int] = {"daily": 31, "weekly": 9, "monthly": 6}
"""Periods that a schedule makes up for; what is longer ago may be asked for."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A report to be made by itself: of the day, the week (Monday to Sunday) or the month before, from `hour` on."""

    framework: str
    every: Every
    hour: int


class SchedulesOf(Protocol):
    """Where the schedules of organizations are."""

    async def schedules(self, tenant_id: str) -> tuple[str, Sequence[Schedule]]:
        """The time zone of an organization, and its schedules as they are now. StoreError."""
        ...


def starts(every: Every, day: date) -> date:
    """The first day of the period that a day is in."""
    if every == "weekly":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if every == "monthly" else day


def following(every: Every, start: date) -> date:
    """The first day of the period after the one that begins on a day."""
    if every == "monthly":
        return (start + timedelta(days=32)).replace(day=1)
    return start + timedelta(days=7 if every == "weekly" else 1)


def due_at(schedule: Schedule, end: date, zone: str) -> datetime:
    """When the report of a period that ends before a day is made: at the hour of that day in the time zone, and not
    before the period's last events are sealed. An hour that the clocks leave out is the one after; of one that they
    repeat it is the first."""
    local = datetime.combine(end, time(schedule.hour), ZoneInfo(zone))
    settled = datetime(end.year, end.month, end.day, tzinfo=UTC) + SETTLED
    return max(local.astimezone(UTC), settled)


def due(schedule: Schedule, zone: str, now: datetime, reached: date | None) -> Iterator[tuple[date, date]]:
    """The periods (first day, day after the last) whose reports are due, oldest first. `reached`: the first day of the
    first one that was not ordered; None for a new schedule, whose first report is of the last period that is due."""
    start = starts(schedule.every, now.date())
    latest: list[tuple[date, date]] = []
    while len(latest) < (1 if reached is None else MOST_MISSED[schedule.every]):
        end, start = start, starts(schedule.every, start - timedelta(days=1))
        if reached is not None and start < reached:
            break
        if due_at(schedule, end, zone) <= now:
            latest.append((start, end))
    yield from reversed(latest)


class ReportSchedules:
    """Orders what is due."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        orders: ReportOrders,
        schedules: SchedulesOf,
        clock: Clock,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._orders = orders
        self._schedules = schedules
        self._clock = clock

    async def order_due(self, tenant_id: str, request: RequestContext) -> int:
        """Order the reports of an organization that are due; how many periods were gone through. StoreError.

        The mark of a schedule moves behind a period once its order is there, so a crash between repeats the order,
        which changes nothing. Periods that are too long ago to be made up for are told of, with the same step.
        """
        zone, schedules = await self._schedules.schedules(tenant_id)
        done = 0
        for schedule in schedules:
            done += await self._order(tenant_id, schedule, zone, request)
        return done

    async def _order(self, tenant_id: str, schedule: Schedule, zone: str, request: RequestContext) -> int:
        mark = await self._mark(tenant_id, schedule)
        reached = date.fromisoformat(mark["next_from"]) if mark else None
        periods = list(due(schedule, zone, self._clock.now(), reached))
        for start, end in periods:
            try:
                await self._orders.order(tenant_id, schedule.framework, start, end, request)
            except Invalid:  # a period before the organization began
                _log.info("report_not_due", tenant_id=tenant_id, framework=schedule.framework, day=start.isoformat())
        if periods:
            left = (reached, periods[0][0]) if reached is not None and reached < periods[0][0] else None
            told = await self._left_out(tenant_id, schedule, *left, request) if left else None
            await self._move(tenant_id, schedule, mark, periods[-1][1], told)
        return len(periods)

    async def _left_out(
        self, tenant_id: str, schedule: Schedule, first: date, end: date, request: RequestContext
    ) -> StoredEvent:
        """The event of periods, from one day up to another, whose reports the schedule does not make any more."""
        days = (first.isoformat(), end.isoformat())
        _log.warning("reports_left_out", tenant_id=tenant_id, framework=schedule.framework, day=days[0], until=days[1])
        event = ReportGenerate(framework=schedule.framework, period_from=days[0], period_to=days[1], digest=None)
        target = Target(KIND, f"{schedule.framework}-{schedule.every}")
        draft = Draft(tenant_id, event, request, outcome="failure", reason="left_out", actor=SYSTEM, target=target)
        return await self._recorder.finish(draft)

    async def _mark(self, tenant_id: str, schedule: Schedule) -> Item | None:
        return await find_item(self._store, REPORTS, (tenant_id,), _mark_id(schedule))

    async def _move(
        self, tenant_id: str, schedule: Schedule, mark: Item | None, to: date, told: StoredEvent | None
    ) -> None:
        moved: Item = {
            "id": _mark_id(schedule),
            "tenant_id": tenant_id,
            "kind": KIND,
            "next_from": to.isoformat(),
        }
        try:
            if mark is None:
                await self._store.create(REPORTS, (tenant_id,), moved)
            elif told is None:
                await self._store.replace(REPORTS, (tenant_id,), moved, mark["_etag"])
            else:
                step = replace(moved, if_match=mark["_etag"])
                await self._outbox.commit(REPORTS, tenant_id, [step], [told])
        except (Conflict, NotFound, PreconditionFailed):
            _log.info("schedule_moved_elsewhere", tenant_id=tenant_id, framework=schedule.framework)


def _mark_id(schedule: Schedule) -> str:
    return f"{KIND}|{schedule.framework}|{schedule.every}"
