"""Handing out reports: what there is under an id, a report in one of its forms, cut into parts, and its bundle.

Forms are made when they are asked for, with the sign-offs of now. They are the same bytes for the same report and
sign-offs, so parts of one file can be cut from one rendering after another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING

from shared.audit.events.report import ReportRead
from shared.audit.export_runs import RunOver
from shared.audit.model import Actor, Draft, RequestContext, Target
from shared.audit.recorder import Recorder
from shared.compliance.kinds import COMPLIANCE, DAILY
from shared.compliance.orders import ReportOrders
from shared.compliance.reporting import ComplianceReports, DamagedReport
from shared.compliance.sign_off import SignOffs
from shared.core.errors import Clash
from shared.ledger.evidence import Evidence, Part, Place, Wanted
from shared.ledger.service import Ledger
from shared.ledger.shards import BrokenShard, Shards
from shared.ledger.tiles import ENTRIES, WIDTH, width_of
from shared.storage.containers import REPORTS
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import NotFound
from shared.telemetry import get_log

if TYPE_CHECKING:  # cold start
    from shared.compliance.render import Format, Rendered
    from shared.compliance.report_model import Report

_log = get_log(__name__)

PART_BYTES = 8 * 1024 * 1024
"""What an answer carries at most (docs/architecture.md)."""
_MOST_TILES = 100
"""Entry bundles that are read for the details of events in a bundle's control files."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a report in one form: `number` from 1 on, the bytes, and where the next one begins; None: the last.

    `digest`: SHA-256, hex, of the whole file.
    """

    file: Rendered
    body: bytes
    number: int
    digest: str
    next: int | None


class Delivery:
    """Finds reports and hands them out."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        reports: ComplianceReports,
        orders: ReportOrders,
        sign_offs: SignOffs,
        ledger: Ledger,
        shards: Shards,
        evidence: Evidence,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._reports = reports
        self._orders = orders
        self._sign_offs = sign_offs
        self._ledger = ledger
        self._shards = shards
        self._evidence = evidence
        self._part_bytes = part_bytes

    async def find(self, tenant_id: str, wanted: str) -> Item | None:
        """What there is under an id: a daily report, the head of a framework's report, or its order; else None."""
        try:
            item = await self._store.read(REPORTS, (tenant_id,), wanted)
        except NotFound:
            return await self._orders.open(tenant_id, wanted)
        return item if item["kind"] in (COMPLIANCE, DAILY) else None

    async def tell(self, item: Item, form: str, actor: Actor, request: RequestContext) -> None:
        """Record that a report is read in a form. Unready (503) when it cannot be."""
        await self._recorder.record(
            Draft(
                item["tenant_id"],
                ReportRead(framework=item["framework"], format=form),
                request,
                actor=actor,
                target=Target("report", item["id"]),
                person=actor.id if actor.kind == "user" else None,
            )
        )

    async def file(self, head: Item, form: Format) -> Rendered:
        """A report in a form, with its sign-offs of now. Clash `report_damaged`."""
        from shared.compliance.render import render

        return await asyncio.to_thread(render, await self._report(head), form)

    async def cut(self, head: Item, form: Format, place: tuple[int, int, str] | None) -> Cut:
        """A part of a report in a form. `place`: number and first byte of a part, and the digest of the file.

        RunOver when the file is no longer the one of the first part (somebody signed it meanwhile); Clash
        `report_damaged` when what is stored is not what was built.
        """
        made = await self.file(head, form)
        digest = hashlib.sha256(made.body).hexdigest()
        number, start, first_digest = place or (1, 0, digest)
        if digest != first_digest:
            raise RunOver
        end = start + self._part_bytes
        return Cut(made, made.body[start:end], number, digest, end if end < len(made.body) else None)

    async def bundle(self, head: Item, place: Place | None, draft: Draft) -> Part:
        """A part of the evidence bundle of a report. `draft`: the event of the export. As `Evidence.part`, `cut`."""
        from shared.ledger.bundle import Attached

        tenant_id = head["tenant_id"]
        carried = Attached(_about(head), {})
        if place is None:
            from shared.compliance.render.bundle import attached, places

            report = await self._report(head)
            entries = await self._entries(tenant_id, places(report), draft.request)
            carried = await asyncio.to_thread(attached, report, entries)
        days = date.fromisoformat(head["from"]), date.fromisoformat(head["to"])
        wanted = Wanted(tenant_id, *days, disclosed=False, report=carried)
        return await self._evidence.part(wanted, place, draft)

    async def parts(self, head: Item, draft: Draft) -> AsyncIterator[Part]:
        """All parts of the evidence bundle of a report, as `bundle` gives them."""
        place: Place | None = None
        while True:
            part = await self.bundle(head, place, draft)
            yield part
            place = part.next
            if place is None:
                return

    async def _report(self, head: Item) -> Report:
        """A report with its sign-offs."""
        from shared.compliance.report_model import SignOff

        signed = await self._sign_offs.of(head["tenant_id"], head["id"])
        try:
            report = await self._reports.report(head)
        except DamagedReport as error:
            _log.error("report_damaged", error, tenant_id=head["tenant_id"], report_id=head["id"])
            raise Clash("report_damaged", "What is stored of the report is not what was built.") from error
        names = ("user_id", "role", "at", "statement", "signed_as")
        found = (SignOff(**{name: each[name] for name in names if name in each}) for each in signed)
        return replace(report, sign_offs=tuple(found))

    async def _entries(
        self, tenant_id: str, wanted: Iterable[tuple[str, int]], request: RequestContext
    ) -> dict[tuple[str, int], bytes]:
        """Sealed entries by their places, of some bundles of entries. Clash `ledger_broken`."""
        found: dict[tuple[str, int], bytes] = {}
        places = sorted(wanted)
        tiles = sorted({(period, index // WIDTH) for period, index in places})[:_MOST_TILES]
        for period, group in groupby(tiles, key=lambda each: each[0]):
            if self._ledger.is_over(period):
                continue
            try:
                head = await self._shards.head(tenant_id, period)
                for _, number in group:
                    width = width_of(ENTRIES, number, head.size)
                    for entry in await self._ledger.entries(tenant_id, head, number, width):
                        found[period, entry.index] = entry.text
            except BrokenShard as error:
                raise await self._ledger.broken(tenant_id, period, error, request) from error
        return {place: found[place] for place in places if place in found}


def shown_head(head: Item) -> dict[str, object]:
    """A framework's report as lists show it: its counts, and what names it."""
    names = ("id", "framework", "from", "to", "status", "generated_at", "generated_by", "gate_passed")
    counted = ("events_in_period", "summary", "digest", "bytes")
    return {name: head[name] for name in (*names, *counted)}


def _about(head: Item) -> dict[str, str]:
    """What a bundle's manifest says of the report in it: the same in every part."""
    return {name: head[name] for name in ("id", "framework", "generated_at")}
