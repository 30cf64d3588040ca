"""Evidence bundles of what is sealed, part by part (docs/evidence-format.md, adr/0026).

The first part fixes what the bundle is: the checkpoints of its months, signed when it is asked for. They are kept in
the record of the run, so that all parts have the same, however the ledger grows and whoever cosigns meanwhile. Parts
are made from the store whenever they are asked for; nothing is kept in the process.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from shared.audit.export_runs import ExportRuns, RunOver
from shared.audit.formed import boxes_of
from shared.audit.model import Draft, RequestContext
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.deadline import remaining
from shared.core.errors import FieldError, Invalid
from shared.core.ids import IdFactory
from shared.ledger._text import encode_base64
from shared.ledger.bundle import Attached, Disclosure, PartWriter, Scope, Shard
from shared.ledger.checkpoint import parse_checkpoint
from shared.ledger.checkpoints import Issued
from shared.ledger.keys import LedgerKeys
from shared.ledger.note import Signer, parse_note
from shared.ledger.rollups import DayRollup, day_of
from shared.ledger.service import Ledger
from shared.ledger.shards import BrokenShard, Entry, Shards
from shared.ledger.tiles import ENTRIES, WIDTH, width_of
from shared.ledger.witness import Witness
from shared.privacy.boxes import BoxDamaged, Opened, PersonalBox
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import DocumentStore, In, Item, Query, pages
from shared.telemetry import get_log

_log = get_log(__name__)

MOST_MONTHS = 13
"""Of one bundle: a year and the month that it begins in. The totals of all its days are in the first part."""
_LEFT_SECONDS = 8.0
"""A part ends early when less than this is left of the request's time."""
_VERIFIER = Path(__file__).resolve().parents[2] / "tools" / "verify_evidence.py"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a part has at most; a single entry bundle may be more. `bytes`: before they are packed."""

    entries: int = 10_000
    bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a bundle is about: whose trail, from the first day up to the second, excluded, whether personal data is
    shown in it, and a report of those days that goes with it, the same for every part."""

    tenant_id: str
    start: date
    end: date
    disclosed: bool
    report: Attached | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bundle goes on: its run, the part, what was handed out by then, and the next entry bundle."""

    run: str
    part: int
    entries: int
    period: str
    number: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part: a ZIP file, how many entries are in it, and where the next one begins."""

    body: bytes
    entries: int
    number: int
    next: Place | None


class Evidence:
    """Makes bundles."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        shards: Shards,
        keys: LedgerKeys,
        store: DocumentStore,
        box: PersonalBox,
        recorder: Recorder,
        runs: ExportRuns,
        clock: Clock,
        ids: IdFactory,
        witness: Witness | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._ledger = ledger
        self._shards = shards
        self._keys = keys
        self._store = store
        self._box = box
        self._recorder = recorder
        self._runs = runs
        self._clock = clock
        self._ids = ids
        self._witness = witness
        self._limits = limits or Limits()

    async def part(self, wanted: Wanted, place: Place | None, draft: Draft) -> Part:
        """One part: the first one without a place. It is counted, and a bundle of one part recorded, before this
        returns. `draft`: the event of the bundle. Invalid (422) for a period that cannot be; RunOver for a place that
        leads nowhere any more; Clash `ledger_broken`; Unready (503) when it cannot be recorded."""
        try:
            signer = await self._keys.signer(f"{self._keys.log(wanted.tenant_id)}/bundle")
        except BrokenShard as error:
            raise await self._ledger.broken(wanted.tenant_id, self._ledger.present, error, draft.request) from error
        if place is None:
            scope = await self._begin(wanted, draft.request)
        else:
            scope = self._resumed(wanted, await self._runs.kept(wanted.tenant_id, place.run), signer)
        number = place.part if place else 1
        body, entries, at = await self._write(wanted, scope, number, signer, place, draft.request)
        handed_out = entries + (place.entries if place else 0)
        if place is not None:
            await self._runs.advance(wanted.tenant_id, place.run, handed_out, last=at is None)
            run = place.run
        elif at is None:
            await self._recorder.record(replace(draft, record_count=handed_out))
        else:
            run = await self._runs.begin(replace(draft, record_count=handed_out), _kept(scope, signer))
        following = None if at is None else Place(run, number + 1, handed_out, *at)
        return Part(body, entries, number, following)

    async def _begin(self, wanted: Wanted, request: RequestContext) -> Scope:
        """What the bundle is: checkpoints as of now, with the totals of their days."""
        found = [await self._shard(wanted.tenant_id, period, request) for period in self._months(wanted)]
        shards = await self._cosigned(wanted.tenant_id, found, request)
        now = self._clock.now()
        return self._scope(wanted, self._ids.new(now), rfc3339(now), shards)

    def _scope(self, wanted: Wanted, bundle_id: str, made_at: str, shards: list[Shard]) -> Scope:
        log, start, end = self._keys.log(wanted.tenant_id), wanted.start.isoformat(), wanted.end.isoformat()
        about = wanted.report.about if wanted.report else None
        return Scope(bundle_id, log, wanted.tenant_id, start, end, made_at, tuple(shards), about)

    def _resumed(self, wanted: Wanted, kept: Item, signer: Signer) -> Scope:
        """What the first part fixed. RunOver when it was signed with another key: parts of two keys do not join."""
        if kept["key"] != signer.verifier.encode():
            raise RunOver
        shards = [
            Shard(
                each["period"],
                parse_checkpoint(parse_note(each["note"].encode()).text),
                each["note"],
                expired=each["expired"],
            )
            for each in kept["shards"]
        ]
        return self._scope(wanted, kept["bundle_id"], kept["made_at"], shards)

    def _months(self, wanted: Wanted) -> list[str]:
        """The months that a period touches. Invalid (422) unless there are some, not too many, and none to come."""
        if wanted.start >= wanted.end:
            raise _wrong("must be after from")
        months: list[str] = []
        day = wanted.start.replace(day=1)
        while day < wanted.end and len(months) <= MOST_MONTHS:
            months.append(day.isoformat()[:7])
            day = (day + timedelta(days=32)).replace(day=1)
        if len(months) > MOST_MONTHS:
            raise _wrong(f"a bundle has at most {MOST_MONTHS} months")
        if months[-1] > self._ledger.present:
            raise _wrong("must not be behind the present month")
        return months

    async def _shard(self, tenant_id: str, period: str, request: RequestContext) -> tuple[Shard, Issued]:
        """A month as it is now."""
        if self._ledger.is_over(period):
            issued = await self._ledger.checkpoint(tenant_id, period, request)
            return Shard(period, issued.checkpoint, issued.note, expired=issued.checkpoint.size > 0), issued
        try:
            counted = (await self._shards.head(tenant_id, period)).size
            rollups = await self._rollups(tenant_id, period)
            issued = await self._ledger.checkpoint(tenant_id, period, request, newest=True)
            size = issued.checkpoint.size
            await self._catch_up(tenant_id, period, rollups, counted, size)
        except BrokenShard as error:
            raise await self._ledger.broken(tenant_id, period, error, request) from error
        totals = [rollups[day].totals() for day in sorted(rollups)]
        return Shard(period, issued.checkpoint, issued.note, totals), issued

    async def _cosigned(
        self, tenant_id: str, found: list[tuple[Shard, Issued]], request: RequestContext
    ) -> list[Shard]:
        """The months, their checkpoints with what the witness says of them, as long as it answers."""
        witness, shards = self._witness, []
        for shard, issued in found:
            try:
                cosigned = (
                    await witness.cosigned(tenant_id, issued, request) if witness and not shard.expired else issued
                )
            except BrokenShard as error:
                raise await self._ledger.broken(tenant_id, shard.period, error, request) from error
            if cosigned is None:
                witness = None
            shards.append(shard if cosigned is None else replace(shard, note=cosigned.note))
        return shards

    async def _rollups(self, tenant_id: str, period: str) -> dict[str, DayRollup]:
        """What is counted of each day of a month. BrokenShard."""
        days = [f"{period}-{day:02}" for day in range(1, 32)]
        stored = await self._shards.rollups(tenant_id, period, days)
        return {day: DayRollup.from_item(item) for day, item in stored.items()}

    async def _catch_up(
        self, tenant_id: str, period: str, rollups: dict[str, DayRollup], counted: int, size: int
    ) -> None:
        """Count what was sealed from `counted` up to `size`: the counts were read before the checkpoint was signed.

        A day's counts hold every event of the day up to their last index, for they are written with the entries.
        """
        async for page in self._shards.entries(tenant_id, period, counted, size):
            for entry in page:
                event = json.loads(entry.text)
                rollup = rollups.setdefault(day_of(event), DayRollup(day_of(event)))
                if rollup.last is None or rollup.last < entry.index:
                    rollup.add(event, entry.index)

    async def _write(
        self, wanted: Wanted, scope: Scope, number: int, signer: Signer, place: Place | None, request: RequestContext
    ) -> tuple[bytes, int, tuple[str, int] | None]:
        """The bytes of a part, its entries, and the entry bundle that the next part begins with, if there is one."""
        file = io.BytesIO()
        after: tuple[str, int] | None = None
        with PartWriter(file, scope, number, signer, _verifier()) as part:
            if wanted.report and number == 1:
                part.add_report(wanted.report)
            async with aclosing(self._bundles(wanted.tenant_id, scope, place, request)) as bundles:
                async for period, bundle, entries in bundles:
                    shown = await self._disclosures(wanted, period, entries)
                    texts = [each.text for each in entries]
                    size = sum(map(len, texts)) + sum(len(each.line()) for each in shown)
                    if part.entries and self._is_full(part, len(texts), size):
                        after = (period, bundle)
                        break
                    part.add_entries(period, bundle, texts, shown)
                    await asyncio.sleep(0)  # others get a turn
            part.close(last=after is None)
            return file.getvalue(), part.entries, after

    def _is_full(self, part: PartWriter, entries: int, size: int) -> bool:
        """Whether a part cannot take so many entries and bytes more."""
        limits = self._limits
        too_many = part.entries + entries > limits.entries or part.bytes + size > limits.bytes
        return too_many or remaining(_LEFT_SECONDS) < _LEFT_SECONDS

    async def _bundles(
        self, tenant_id: str, scope: Scope, place: Place | None, request: RequestContext
    ) -> AsyncGenerator[tuple[str, int, list[Entry]]]:
        """Every entry bundle from a place on: month, number, entries."""
        for shard in scope.shards:
            if shard.expired or (place is not None and shard.period < place.period):
                continue
            size = shard.checkpoint.size
            first = place.number if place is not None and shard.period == place.period else 0
            try:
                head = await self._shards.head(tenant_id, shard.period)
                for number in range(first, -(-size // WIDTH)):
                    width = width_of(ENTRIES, number, size)
                    yield shard.period, number, await self._ledger.entries(tenant_id, head, number, width)
            except BrokenShard as error:
                raise await self._ledger.broken(tenant_id, shard.period, error, request) from error

    async def _disclosures(self, wanted: Wanted, period: str, entries: list[Entry]) -> list[Disclosure]:
        """What is shown of entries: the personal data that is still there, opened, with its salt."""
        if not wanted.disclosed:
            return []
        recorded = {each.event_id: (each.index, json.loads(each.text)["commitments"]) for each in entries}
        sealed = {event_id: found for event_id, found in recorded.items() if found[1]}
        if not sealed:
            return []
        query = Query((In("id", tuple(sealed)),), limit=WIDTH, fields=("id", "personal"))
        found: list[Disclosure] = []
        async for page in pages(self._store, AUDIT_EVENTS, (wanted.tenant_id, period), query):
            held = {event["id"]: boxes_of(event, sealed[event["id"]][1]) for event in page}
            await self._box.prepare(wanted.tenant_id, (who for boxes in held.values() for who in boxes))
            for event in page:
                for subject, box in held[event["id"]].items():
                    index, commitments = sealed[event["id"]]
                    opened = await self._opened(
                        wanted.tenant_id, subject, event["id"], box, commitments.get(subject, "")
                    )
                    if opened is not None:
                        salt = encode_base64(opened.salt)
                        found.append(Disclosure(index, event["id"], subject, salt, opened.personal))
        return sorted(found, key=lambda each: (each.index, each.subject))

    async def _opened(
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any], commitment: str
    ) -> Opened | None:
        """What is in a box; None for that of an erased person, or one that was changed, which shows nothing."""
        try:
            return await self._box.open(tenant_id, subject, event_id, box, commitment)
        except BoxDamaged as error:
            _log.error("personal_box_damaged", error, event_id=event_id, tenant_id=tenant_id)
            return None


def _kept(scope: Scope, signer: Signer) -> Item:
    """What further parts need to know."""
    shards = [{"period": each.period, "note": each.note, "expired": each.expired} for each in scope.shards]
    return {
        "bundle_id": scope.bundle_id,
        "made_at": scope.made_at,
        "key": signer.verifier.encode(),
        "shards": shards,
    }


@lru_cache(maxsize=1)
def _verifier() -> bytes:
    return _VERIFIER.read_bytes()


def _wrong(message: str) -> Invalid:
    error = FieldError("to", "range", message)
    return Invalid("invalid_request", "Some fields are not as they must be.", errors=(error,))
