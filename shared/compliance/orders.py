"""Reports that were asked for and are not there yet.

An order stands beside the reports until its report does. The change feed brings it to a builder, which takes it for
some minutes; what is left by a crash, or has to be tried again, a timer hands out anew. One report comes of it however
often it is asked for, delivered or built: the report's id follows from framework and period.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from shared.audit.events.report import ReportGenerate, ReportOrder
from shared.audit.model import SYSTEM, Actor, AuditEvent, Draft, Outcome, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.compliance.evidence import Period
from shared.compliance.kinds import ORDER as KIND
from shared.compliance.kinds import order_id
from shared.compliance.reporting import ComplianceReports
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.errors import KraftdError, Unready
from shared.core.ids import IdFactory
from shared.storage.containers import REPORTS
from shared.storage.documents import DocumentStore, Eq, Item, Query, create, find_item, pages, replace
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, StoreError, Throttled, Unavailable
from shared.telemetry import get_log

if TYPE_CHECKING:  # cold start
    from shared.compliance.readiness import Lack, Readiness

_log = get_log(__name__)

SETTLED = timedelta(hours=1)
"""How long after the end of a period events of it may still come to be sealed: its report is not made before."""
WAITS = timedelta(hours=12)
"""So long an order waits for checks that have not come by; then its report is built, and its gate says what lacks."""
_LOOKS_AGAIN = timedelta(minutes=5)
TAKEN = timedelta(minutes=15)
"""So long an order is its builder's; then another may take it."""
MOST_ATTEMPTS = 6
"""Then a report has failed: somebody has to look, and may ask again."""
_FIRST_PAUSE = timedelta(minutes=2)
_FAILED_TTL = 30 * 86_400
_RACES = 20
MOST_EDITIONS = 9
"""Reports of one framework and period at most, of which each but the last lacked a check."""


class ReportOrders:
    """Takes orders of reports, and has them built. `readiness`: makes what knows whether they can be."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        reports: ComplianceReports,
        readiness: Callable[[], Readiness],
        clock: Clock,
        ids: IdFactory,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._reports = reports
        self._readiness = readiness
        self._clock = clock
        self._ids = ids

    async def ask(
        self, tenant_id: str, framework: str, from_day: date, to_day: date, actor: Actor, request: RequestContext
    ) -> Item:
        """The head of a report: of the one that is there, or is made at once where that is quick; else its order.

        Invalid (422) for a framework or a period that cannot be, NotFoundError (404) for no such organization,
        StoreError, Unready.
        """
        period = await self._reports.checked(tenant_id, framework, from_day, to_day)
        edition, held = await self._there(tenant_id, framework, period)
        if held is not None and held["status"] != "failed":
            return held
        if held is None and await self._is_at_once(tenant_id, period):
            days = (from_day, to_day)
            return await self._reports.build(tenant_id, framework, *days, request, actor=actor, edition=edition)
        return await self._place(tenant_id, framework, period, edition, held, actor, request)

    async def order(
        self, tenant_id: str, framework: str, from_day: date, to_day: date, request: RequestContext
    ) -> Item:
        """The head of a report that is there, else its order: of a schedule, which waits for nothing. As `ask`."""
        period = await self._reports.checked(tenant_id, framework, from_day, to_day)
        edition, held = await self._there(tenant_id, framework, period)
        return held or await self._place(tenant_id, framework, period, edition, None, SYSTEM, request)

    async def _there(self, tenant_id: str, framework: str, period: Period) -> tuple[int, Item | None]:
        """Which edition of a report is wanted, and the head or the order of it, where there is one.

        A report whose gate failed for want of a check alone is followed by another, once the check has come by.
        """
        from shared.compliance.parts import report_id

        days = (period.from_day.isoformat(), period.to_day.isoformat())
        last: Item | None = None
        for edition in range(MOST_EDITIONS):
            wanted = report_id(tenant_id, framework, *days, edition=edition)
            held = await self._reports.head(tenant_id, wanted) or await self.open(tenant_id, wanted)
            if held is None and last is not None and not await self._readiness().is_checked(tenant_id, period):
                return edition - 1, last
            if held is None or held.get("gate_failed") != ["checked"]:
                return edition, held
            last = held
        return MOST_EDITIONS - 1, last

    async def _is_at_once(self, tenant_id: str, period: Period) -> bool:
        """Whether a report is made within the request: it is due, quick, and nothing is to be waited for."""
        is_due = self._clock.now() >= parse_rfc3339(period.end) + SETTLED
        if not is_due or not await self._reports.is_quick(tenant_id, period):
            return False
        return await self._readiness().lack(tenant_id, period) is None

    async def open(self, tenant_id: str, report_id: str) -> Item | None:
        """The order of a report; None when there is none. StoreError."""
        return await find_item(self._store, REPORTS, (tenant_id,), order_id(report_id))

    async def _place(
        self,
        tenant_id: str,
        framework: str,
        period: Period,
        edition: int,
        held: Item | None,
        actor: Actor,
        request: RequestContext,
    ) -> Item:
        """Put an order down with its event, unless one is there that is not given up. `held`: the one that is."""
        from shared.compliance.parts import report_id

        now, first, end = self._clock.now(), period.from_day.isoformat(), period.to_day.isoformat()
        wanted = report_id(tenant_id, framework, first, end, edition=edition)
        settled = parse_rfc3339(period.end) + SETTLED
        item: Item = {
            "id": order_id(wanted),
            "tenant_id": tenant_id,
            "kind": KIND,
            "report_id": wanted,
            "framework": framework,
            "from": first,
            "to": end,
            "edition": edition,
            "created_at": rfc3339(now),
            "ordered_by": {"kind": actor.kind, "id": actor.id, "role": actor.role},
            "status": "queued",
            "due_at": rfc3339(max(now, settled)),
            "attempts": 0,
        }
        told = ReportOrder(framework=framework, period_from=first, period_to=end)
        for _ in range(_RACES):
            if held is not None and held["status"] != "failed":
                return held
            step = create(item) if held is None else replace(item, if_match=held["_etag"])
            event = await self._recorder.finish(_draft(item, told, request))
            try:
                await self._outbox.commit(REPORTS, tenant_id, [step], [event])
            except (Conflict, NotFound, PreconditionFailed):
                held = await self.open(tenant_id, wanted)
            else:
                return item
        raise Unavailable("an order came and went too often")

    async def consume(self, items: Sequence[Item]) -> None:
        """Build what new orders of a batch ask for, of any tenants. Unavailable, Throttled, Unready: deliver it again.

        Another failure is the order's own: it stays, is tried again by the timer, and given up in the end.
        """
        for item in items:
            if item.get("kind") == KIND and item.get("status") == "queued":
                await self._build(item["tenant_id"], item["id"])

    async def retry(self, tenant_id: str) -> int:
        """Build what orders of a tenant are due that no builder has, oldest first; how many were built."""
        built = 0
        query = Query((Eq("kind", KIND),), order_by="created_at", limit=100, fields=("id", "status", "due_at"))
        now = rfc3339(self._clock.now())
        async for orders in pages(self._store, REPORTS, (tenant_id,), query):
            for each in orders:
                if each["status"] != "failed" and each["due_at"] <= now:
                    built += await self._build(tenant_id, each["id"])
        return built

    async def _build(self, tenant_id: str, wanted: str) -> bool:
        """Build one order's report, if it is due and nobody has it; whether it was. Its failure is noted in it."""
        order = await self._taken(tenant_id, wanted)
        if order is None:
            return False
        request = RequestContext(self._ids.new(), "feed/build_reports", "build_reports", self._clock.now())
        try:
            if order["attempts"] > MOST_ATTEMPTS:  # builders that ended without a word
                await self._give_up(order, "not_built", request)
                return False
            days = (date.fromisoformat(order["from"]), date.fromisoformat(order["to"]))
            lack = await self._lack(order, Period(*days))
            if lack is not None:
                _log.info("report_waits", tenant_id=tenant_id, report_id=order["report_id"], waits_for=lack)
                waiting = order | {"waits_for": lack}
                await self._put_back(waiting, pause=_LOOKS_AGAIN, attempts=order["attempts"] - 1)
                return False
            by, edition = Actor(**order["ordered_by"]), order.get("edition", 0)
            await self._reports.build(tenant_id, order["framework"], *days, request, actor=by, edition=edition)
        except (Unavailable, Throttled, Unready):
            await self._put_back(order, attempts=order["attempts"] - 1)
            raise
        except KraftdError as verdict:
            _log.warning("report_refused", tenant_id=tenant_id, report_id=order["report_id"], code=verdict.code)
            await self._give_up(order, verdict.code, request)
            return False
        except Exception as error:  # noqa: BLE001 - the others must not be held up
            _log.error("report_not_built", error, tenant_id=tenant_id, report_id=order["report_id"])
            if order["attempts"] >= MOST_ATTEMPTS:
                await self._give_up(order, "not_built", request)
            else:
                await self._put_back(order, pause=_FIRST_PAUSE * (1 << order["attempts"]))
            return False
        await self._done(order)
        return True

    async def _lack(self, order: Item, period: Period) -> Lack | None:
        """What an order still waits for: nothing, once it has waited long enough."""
        since = max(parse_rfc3339(order["created_at"]), parse_rfc3339(period.end) + SETTLED)
        if self._clock.now() >= since + WAITS:
            return None
        return await self._readiness().lack(order["tenant_id"], period)

    async def _taken(self, tenant_id: str, wanted: str) -> Item | None:
        """An order as its builder's for some minutes; None when it is gone, given up, not due, or another's."""
        now = self._clock.now()
        try:
            order = await self._store.read(REPORTS, (tenant_id,), wanted)
            if order["status"] == "failed" or order["due_at"] > rfc3339(now):
                return None
            mine: dict[str, Any] = {"status": "building", "due_at": rfc3339(now + TAKEN)}
            mine["attempts"] = order["attempts"] + 1
            return await self._store.replace(REPORTS, (tenant_id,), order | mine, order["_etag"])
        except (NotFound, PreconditionFailed):
            _log.info("report_order_taken", order_id=wanted, tenant_id=tenant_id)
            return None

    async def _put_back(self, order: Item, *, pause: timedelta = timedelta(0), attempts: int | None = None) -> None:
        """Let go of an order, for now or for later. If the store does not let us, its time runs out."""
        left = order | {"status": "queued", "due_at": rfc3339(self._clock.now() + pause)}
        left["attempts"] = order["attempts"] if attempts is None else attempts
        try:
            await self._store.replace(REPORTS, (order["tenant_id"],), left, order["_etag"])
        except StoreError as error:
            _log.info("report_order_left", order_id=order["id"], error_type=type(error).__qualname__)

    async def _give_up(self, order: Item, reason: str, request: RequestContext) -> None:
        """Call a report failed, and tell the trail; unless another builder has the order by now."""
        failed = order | {"status": "failed", "reason": reason, "ttl": _FAILED_TTL}
        told = ReportGenerate(
            framework=order["framework"], period_from=order["from"], period_to=order["to"], digest=None
        )
        draft = _draft(order, told, request, outcome="failure", reason=reason)
        event = await self._recorder.finish(draft)
        try:
            step = replace(failed, if_match=order["_etag"])
            await self._outbox.commit(REPORTS, order["tenant_id"], [step], [event])
        except (NotFound, PreconditionFailed):
            _log.info("report_order_taken", order_id=order["id"], tenant_id=order["tenant_id"])

    async def _done(self, order: Item) -> None:
        try:
            await self._store.delete(REPORTS, (order["tenant_id"],), order["id"])
        except NotFound:
            _log.info("report_order_gone", order_id=order["id"], tenant_id=order["tenant_id"])


def _draft(
    order: Item, event: AuditEvent, request: RequestContext, *, outcome: Outcome = "success", reason: str | None = None
) -> Draft:
    """What is told of an order, as whoever placed it."""
    by = Actor(**order["ordered_by"])
    return Draft(
        order["tenant_id"],
        event,
        request,
        outcome=outcome,
        reason=reason,
        actor=by,
        target=Target("report", order["report_id"]),
        person=by.id if by.kind == "user" else None,
    )


def shown_order(item: Item) -> dict[str, Any]:
    """An order as the API shows it: a report that is not there yet."""
    names = ("framework", "from", "to", "status", "reason", "waits_for")
    told = {name: item[name] for name in names if name in item}
    return {"id": item["report_id"], "ordered_at": item["created_at"], **told}
