"""Compliance reports: built once for each id, kept in parts, with an event that names their digest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from shared.audit.events.report import ReportGenerate
from shared.audit.model import SYSTEM, Actor, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.compliance.evidence import Organization, Organizations, Period
from shared.compliance.kinds import COMPLIANCE as KIND
from shared.compliance.report_model import Report, Summary
from shared.core.clock import Clock, rfc3339
from shared.core.errors import FieldError, Invalid, NotFoundError
from shared.ledger.shards import BrokenShard
from shared.storage.containers import REPORTS
from shared.storage.documents import DocumentStore, Eq, Item, Prefix, Query, Range, create, pages
from shared.storage.errors import Conflict, NotFound
from shared.telemetry import get_log

if TYPE_CHECKING:  # cold start: what builds reports is imported with the first of them
    from shared.compliance.facts.store import FactsStore
    from shared.compliance.reading import Reader

_log = get_log(__name__)

MOST_DAYS = 366
QUICK_DAYS, QUICK_EVENTS = 93, 2_000
"""So many days, and events of them that are not folded, a report within a request has at most: a second or two."""
_EARLIER = 50
"""Reports before that are looked through for the one of the same framework."""


class DamagedReport(Exception):
    """The parts of a report are not what its head says."""


class ComplianceReports:
    """Builds and reads compliance reports. `reader`: makes what collects evidence, for the first report."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        organizations: Organizations,
        facts: FactsStore,
        reader: Callable[[], Reader],
        clock: Clock,
        retention_days: int,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._organizations = organizations
        self._facts = facts
        self._reader = reader
        self._clock = clock
        self._ttl = retention_days * 86_400

    async def build(
        self,
        tenant_id: str,
        framework: str,
        from_day: date,
        to_day: date,
        request: RequestContext,
        *,
        actor: Actor = SYSTEM,
        wanted: str | None = None,
        edition: int = 0,
    ) -> Item:
        """The head of a report, which is built and kept unless one of that id is there.

        `to_day` is excluded. `wanted`: its id; None for the one of framework, period and `edition`. Invalid (422) for a
        framework or a period that cannot be; NotFoundError (404) for no such organization. Clash, Unready, StoreError.
        """
        organization = await self._organizations.organization(tenant_id)
        if organization is None:
            raise NotFoundError("not_found", "There is no such organization.")
        from shared.compliance.parts import report_id

        period = self._checked(framework, from_day, to_day, organization)
        named = (tenant_id, framework, from_day.isoformat(), to_day.isoformat())
        name = wanted or report_id(*named, edition=edition)
        held = await self.head(tenant_id, name)
        if held is not None:
            return held
        from shared.compliance.builder import Order, build

        evidence = await self._reader().evidence(organization, framework, period, request)
        before = await self._before(tenant_id, framework, period)
        previous = Summary(**before["summary"]) if before else None
        replaces = report_id(*named, edition=edition - 1) if edition else None
        order = Order(name, rfc3339(self._clock.now()), actor.id or "system", previous, replaces)
        return await self._keep(build(evidence, order), request, actor, before)

    async def checked(self, tenant_id: str, framework: str, from_day: date, to_day: date) -> Period:
        """The period of a report that can be. Invalid (422), NotFoundError (404), StoreError: as `build` has it."""
        organization = await self._organizations.organization(tenant_id)
        if organization is None:
            raise NotFoundError("not_found", "There is no such organization.")
        return self._checked(framework, from_day, to_day, organization)

    async def is_quick(self, tenant_id: str, period: Period) -> bool:
        """Whether a report of a period is made within a request: next to nothing is to be folded for it, and nothing
        that is counted of it is broken. StoreError."""
        if len(period.days) > QUICK_DAYS:
            return False
        try:
            return await self._facts.unfolded(tenant_id, (*period.lead, *period.days)) <= QUICK_EVENTS
        except BrokenShard:
            return False

    def _checked(self, framework: str, from_day: date, to_day: date, organization: Organization) -> Period:
        from shared.compliance.catalogue import FRAMEWORKS

        if framework not in FRAMEWORKS:
            raise _wrong("framework", "unknown", f"must be one of {', '.join(FRAMEWORKS)}")
        if to_day <= from_day:
            raise _wrong("to", "range", "must be after from")
        if (to_day - from_day).days > MOST_DAYS:
            raise _wrong("to", "range", f"a period has at most {MOST_DAYS} days")
        if to_day > self._clock.now().date():
            raise _wrong("to", "range", "the period must be over; days are of UTC, and to is excluded")
        if to_day.isoformat() <= organization.enrolled_at[:10]:
            raise _wrong("to", "range", f"the organization began on {organization.enrolled_at[:10]}")
        return Period(from_day, to_day)

    async def _keep(self, report: Report, request: RequestContext, actor: Actor, before: Item | None) -> Item:
        """Keep a report, and tell the trail, once: whoever comes second gets the first one's."""
        from shared.compliance.parts import encode, head_of, parts_of

        text = encode(report)
        parts = list(parts_of(report.tenant_id, report.id, text))
        for part in parts:
            await self._store.upsert(REPORTS, (report.tenant_id,), part | {"ttl": self._ttl})
        head = head_of(report, text, len(parts)) | {"ttl": self._ttl}
        event = await self._recorder.finish(
            Draft(
                report.tenant_id,
                ReportGenerate(
                    framework=report.framework.id,
                    period_from=report.from_day,
                    period_to=report.to_day,
                    digest=head["digest"],
                    satisfied=report.summary.satisfied,
                    exceptions=report.summary.exception,
                    new_exceptions=_new(head, before),
                    not_evidenced=report.summary.not_evidenced,
                    not_applicable=report.summary.not_applicable,
                    gate_passed=report.gate.passed,
                ),
                request,
                actor=actor,
                target=Target("report", report.id),
                person=actor.id if actor.kind == "user" else None,
            )
        )
        try:
            await self._outbox.commit(REPORTS, report.tenant_id, [create(head)], [event])
        except Conflict:
            _log.info("report_built_elsewhere", tenant_id=report.tenant_id, report_id=report.id)
        kept = await self.head(report.tenant_id, report.id)
        if kept is None:
            raise DamagedReport("it was taken away while it was kept")
        await self._tidy(kept)
        return kept

    async def _tidy(self, head: Item) -> None:
        """Remove parts of other builds of a report: of the one that came second, or of one that a crash cut off."""
        from shared.compliance.parts import part_id, part_prefix

        own = part_id(head["id"], head["digest"], 0).rpartition("|")[0]
        query = Query((Prefix("id", part_prefix(head["id"])),), limit=1000, fields=("id",))
        partition = (head["tenant_id"],)
        async for page in pages(self._store, REPORTS, partition, query):
            for item in page:
                if not item["id"].startswith(own):
                    try:
                        await self._store.delete(REPORTS, partition, item["id"])
                    except NotFound:
                        _log.info("report_part_gone", part_id=item["id"])

    async def head(self, tenant_id: str, wanted: str) -> Item | None:
        """What is told of a report without reading it; None when there is none of that id."""
        try:
            item = await self._store.read(REPORTS, (tenant_id,), wanted)
        except NotFound:
            return None
        return item if item["kind"] == KIND else None

    async def text(self, head: Item) -> bytes:
        """The JSON of a report, as it was built. DamagedReport when what is stored is not that."""
        from shared.compliance.parts import digest_of, part_id

        wanted = [part_id(head["id"], head["digest"], number) for number in range(head["parts"])]
        found = []
        for name in wanted:
            try:
                found.append(str((await self._store.read(REPORTS, (head["tenant_id"],), name))["text"]))
            except NotFound:
                raise DamagedReport("a part is missing") from None
        text = "".join(found).encode()
        if digest_of(text) != head["digest"]:
            raise DamagedReport("its parts have another digest")
        return text

    async def report(self, head: Item) -> Report:
        """A report as it was built. DamagedReport. Reading is the caller's to record."""
        from shared.compliance.parts import decode

        return decode(await self.text(head))

    async def _before(self, tenant_id: str, framework: str, period: Period) -> Item | None:
        """Counts and exceptions of the last report of a framework that began before this one does."""
        where = (Eq("kind", KIND), Range("from", lt=period.from_day.isoformat()))
        fields = ("framework", "from", "to", "summary", "exceptions", "gate_passed", "created_at")
        query = Query(where, order_by="from", descending=True, limit=_EARLIER, fields=fields)
        items = (await self._store.query(REPORTS, (tenant_id,), query)).items
        own = [item for item in items if item["framework"] == framework]
        return max(own, key=lambda item: (item["from"], item["gate_passed"], item["created_at"]), default=None)


def _new(head: Item, before: Item | None) -> int | None:
    """How many controls are exceptions that were none before; None where there is no telling."""
    if before is None or "exceptions" not in before:
        return None
    return len(set(head["exceptions"]) - set(before["exceptions"]))


def _wrong(field: str, code: str, message: str) -> Invalid:
    return Invalid(
        "invalid_request", "Some fields are not as they must be.", errors=(FieldError(field, code, message),)
    )
