"""Building the daily reports, and listing reports of every kind."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Protocol

from shared.audit.events.report import ReportGenerate
from shared.audit.model import SYSTEM, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.compliance.kinds import COMPLIANCE, DAILY, ORDER
from shared.compliance.model import FRAMEWORK, Activity, Day, digest_of, new_report, report_id, same_content
from shared.core.clock import Clock, period_of, rfc3339
from shared.storage.containers import AUDIT_EVENTS, REPORTS
from shared.storage.documents import (
    MAX_PAGE,
    Cursor,
    DocumentStore,
    Eq,
    Filter,
    In,
    Item,
    Page,
    Query,
    Range,
    create,
    pages,
    replace,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.telemetry import Timed, get_log, untimed

_log = get_log(__name__)

LOOK_BACK_DAYS = 7
"""Days before today whose reports a run still completes, so that a week without the timer loses none."""
GRACE = timedelta(hours=1)
"""How long after its end a day may still get an event that was committed within it."""


class Tenant(Protocol):
    """What reports need of a tenant."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def enrolled_at(self) -> datetime:
        """Its first moment: there are no reports before."""
        ...


class Tenants(Protocol):
    """Where tenants are found."""

    def tenants(self) -> AsyncIterator[Tenant]:
        """Every tenant."""
        ...


class Reports:
    """The daily activity reports of all tenants."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        tenants: Tenants,
        clock: Clock,
        *,
        timed: Timed = untimed,
    ) -> None:
        self._timed = timed
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._tenants = tenants
        self._clock = clock

    async def build_due(self, request: RequestContext) -> int:
        """Build every report that is due, today's included (as `building`); how many were written.

        One tenant's trouble does not stop the others; the first error is raised at the end, so that the run shows
        as failed. What was missed is made up by the next run.
        """
        written = 0
        first: Exception | None = None
        today = self._clock.now().date()
        async for tenant in self._tenants.tenants():
            try:
                for back in range(LOOK_BACK_DAYS, -1, -1):
                    day = Day(today - timedelta(days=back))
                    if day.end > tenant.enrolled_at:
                        written += await self.build(tenant.id, day, request)
            except Exception as error:  # noqa: BLE001 - raised at the end
                _log.error("daily_report_failed", error, tenant_id=tenant.id)
                first = first or error
        if first is not None:
            raise first
        return written

    async def build(self, tenant_id: str, day: Day, request: RequestContext) -> bool:
        """Build one report unless it is ready or says nothing new; whether it was written."""
        held = await self._read(tenant_id, report_id(tenant_id, day))
        if held is not None and held["status"] == "ready":
            return False
        now = self._clock.now()
        with self._timed(FRAMEWORK):
            activity = await self._activity(tenant_id, day)
        built = new_report(tenant_id, day, activity, now, final=now >= day.end + GRACE)
        if held is not None and same_content(held, built):
            return False
        event = await self._recorder.finish(
            Draft(
                tenant_id,
                ReportGenerate(
                    framework=FRAMEWORK, period_from=built["from"], period_to=built["to"], digest=digest_of(built)
                ),
                request,
                actor=SYSTEM,
                target=Target("report", built["id"]),
            )
        )
        step = create(built) if held is None else replace(built, if_match=held["_etag"])
        try:
            await self._outbox.commit(REPORTS, tenant_id, [step], [event])
        except (Conflict, PreconditionFailed):
            _log.info("daily_report_built_elsewhere", tenant_id=tenant_id, report_id=built["id"])
            return False
        return True

    async def _activity(self, tenant_id: str, day: Day) -> Activity:
        activity = Activity()
        within = (Range("recorded_at", ge=rfc3339(day.start), lt=rfc3339(day.end)),)
        fields = ("type", "outcome", "reason", "attributes")
        query = Query(within, order_by="recorded_at", limit=MAX_PAGE, fields=fields)
        async for events in pages(self._store, AUDIT_EVENTS, (tenant_id, period_of(day.start)), query):
            activity.add(events)
        return activity

    async def page(self, tenant_id: str, *, limit: int, after: Cursor | None, framework: str | None = None) -> Page:
        """Reports of a tenant, daily ones and those of frameworks, and orders of such; newest period first."""
        where: tuple[Filter, ...] = (In("kind", (DAILY, COMPLIANCE, ORDER)),)
        if framework is not None:
            where = (*where, Eq("framework", framework))
        query = Query(where, order_by="from", descending=True, limit=limit, after=after)
        return await self._store.query(REPORTS, (tenant_id,), query)

    async def _read(self, tenant_id: str, wanted: str) -> Item | None:
        try:
            item = await self._store.read(REPORTS, (tenant_id,), wanted)
        except NotFound:
            return None
        return item if item["kind"] == "report" else None
