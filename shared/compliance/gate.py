"""The integrity gate: whether the trail of a period can be relied on, before anything is counted in it.

For each month: a checkpoint is signed now, and follows from the one before; the counts of its days add up to its size;
nothing that the ledger says of itself is wrong; the continuous check is at work. Over all: the facts of each day are of
as many events as were sealed, the month before is chained, and the retention reaches back to the first day.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.audit.model import RequestContext
from shared.compliance.evidence import LedgerState, Period, Seed
from shared.compliance.report_model import Gate, GateCheck, Shard, SilentSpan
from shared.core.clock import Clock, parse_rfc3339, period_end
from shared.core.errors import KraftdError
from shared.ledger.closing import GRACE
from shared.ledger.merkle import range_hash
from shared.ledger.progress import Progress, progress_id
from shared.ledger.service import Ledger
from shared.ledger.shards import BrokenShard, Head, Shards
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import DocumentStore, Eq, Item, Prefix, Query, Range, pages
from shared.storage.errors import NotFound

FRESH = timedelta(hours=26)
"""So old the continuous check of a month may be: a lap takes a day."""
_RUNNING = timedelta(hours=1)
"""Within this time the check has followed what is sealed."""
_UNSOUND = "the check found it unsound"
_DAYS = tuple(f"{day:02}" for day in range(1, 32))


@dataclass(frozen=True, slots=True)
class Month:
    """A month of the ledger as it was found. `rollups`: the counts of its days, by day. `fault`: why there are none.

    `size`, `root`, `note`: of the checkpoint; `grown`: the size once the counts were read.
    """

    period: str
    size: int = 0
    grown: int = 0
    root: str = ""
    note: str = ""
    rollups: Mapping[str, Item] = field(default_factory=dict)
    fault: str | None = None
    findings: int = 0
    checked: str | None = None
    expired: bool = False


class Inspection:
    """Looks at the ledger of a tenant for a report."""

    def __init__(self, store: DocumentStore, ledger: Ledger, shards: Shards, clock: Clock, retention_days: int) -> None:
        self._store = store
        self._ledger = ledger
        self._shards = shards
        self._clock = clock
        self._retention_days = retention_days

    async def months(self, tenant_id: str, period: Period, request: RequestContext) -> list[Month]:
        """The months of a period, each under a checkpoint that was signed now. StoreError, SecretsError."""
        return [await self._month(tenant_id, month, request) for month in period.months]

    async def _month(self, tenant_id: str, month: str, request: RequestContext) -> Month:
        if self._ledger.is_over(month):
            return Month(month, fault="its retention is over", expired=True)
        try:
            issued = await self._ledger.checkpoint(tenant_id, month, request, newest=True)
        except KraftdError as error:
            return Month(month, fault=f"no checkpoint can be signed: {error.code}")
        size, root = issued.checkpoint.size, issued.note.split("\n")[2]
        if size == 0:
            return Month(month, root=root, note=issued.note)
        try:
            rollups = await self._shards.rollups(tenant_id, month, [f"{month}-{day}" for day in _DAYS])
        except BrokenShard as error:
            await self._ledger.broken(tenant_id, month, error, request)
            return Month(month, fault="the counts of its days are not as they were left")
        grown = max(size, (await self._shards.head(tenant_id, month)).size)
        partition = (tenant_id, month)
        found = await self._store.query(LEDGER, partition, Query((Prefix("id", "finding|"),), limit=100))
        checked = await self._checked(partition, issued.head)
        return Month(month, size, grown, root, issued.note, rollups, None, len(found.items), checked)

    async def _checked(self, partition: tuple[str, str], head: Head) -> str | None:
        """What is wrong with the continuous check of a month; None when it is at work."""
        try:
            progress = Progress.of(await self._store.read(LEDGER, partition, progress_id(partition[1])))
        except NotFound:
            return "it was never checked"
        except ValueError:
            return "the place of its check is not as we write it"
        if not (progress.new.is_sound and progress.lap.walk.is_sound):
            return _UNSOUND
        return behind(progress, head, self._clock.now())

    async def state(self, tenant_id: str, period: Period) -> tuple[LedgerState, list[Mapping[str, Any]]]:
        """What else is known of the ledger, and what closed months were told to be. StoreError."""
        heads, _ = await self._shards.each_head(tenant_id)
        kept = [head.period for head in heads if head.size and not self._ledger.is_over(head.period)]
        over = [head.period for head in heads if head.size and self._ledger.is_over(head.period)]
        left = [month for month in over[-2:] if await self._has_entries(tenant_id, month)]
        state = LedgerState(self._retention_days, kept[0] if kept else None, tuple(left))
        told: list[Mapping[str, Any]] = []
        query = Query((Eq("type", "ledger.checkpoint"),), order_by="recorded_at", limit=1000, fields=("attributes",))
        async for page in pages(self._store, AUDIT_EVENTS, (tenant_id,), query):
            told += [item["attributes"] for item in page]
        return state, told

    async def seed(
        self, tenant_id: str, period: Period, months: Sequence[Month], request: RequestContext
    ) -> Seed | None:
        """What samples are drawn by: the root of the last month with events of the period, once the last of these was
        in. None where there are none, or the ledger is broken (the trail is told). StoreError."""
        lasts = [
            (month.period, item["last"])
            for month in months
            for day, item in month.rollups.items()
            if day in period.days
        ]
        if not lasts:
            return None
        month, last = max(lasts)
        size = last + 1
        try:
            head = await self._shards.head(tenant_id, month)
            reader = await self._shards.reader(tenant_id, head, [(0, size)], size)
            return Seed(month, size, base64.b64encode(range_hash((0, size), reader)).decode())
        except BrokenShard as error:
            await self._ledger.broken(tenant_id, month, error, request)
            return None

    async def _has_entries(self, tenant_id: str, month: str) -> bool:
        found = Query((Range("index", ge=0),), order_by="index", limit=1)
        return bool((await self._store.query(LEDGER, (tenant_id, month), found)).items)

    async def lead(
        self, tenant_id: str, period: Period, months: Sequence[Month], request: RequestContext
    ) -> dict[str, Item] | None:
        """The counts of the days before a period, by day, as far as they are kept; None where they cannot be relied on:
        there is something wrong with their month. StoreError, SecretsError."""
        known = {month.period: month for month in months}
        found: dict[str, Item] = {}
        for name in dict.fromkeys(day[:7] for day in period.lead):
            month = known.get(name) or await self._month(tenant_id, name, request)
            if not (month.expired or is_sound(month)):
                return None
            found |= {day: item for day, item in month.rollups.items() if day in period.lead}
        return found

    def kept(self, days: Sequence[str]) -> tuple[str, ...]:
        """Those of some days whose retention is not over."""
        return tuple(day for day in days if not self._ledger.is_over(day[:7]))

    async def previous(self, tenant_id: str, period: Period) -> tuple[int, str] | None:
        """Size and root of the month before a period, (0, "") where nothing is there; None where it is kept no more."""
        month = month_before(period)
        if self._ledger.is_over(month):
            return None
        try:
            head = await self._shards.head(tenant_id, month)
            return head.size, base64.b64encode(head.frontier().root()).decode() if head.size else ""
        except BrokenShard:
            return (-1, "")


def behind(progress: Progress, head: Head, now: datetime) -> str | None:
    """In what the continuous check of a month is late; None when it is at work."""
    if now.timestamp() - progress.looked_at > FRESH.total_seconds():
        return "the check did not come by for more than a day"
    left = head.size - progress.new.frontier.size
    if left > 0 and now - parse_rfc3339(head.signed_at or "1970-01-01T00:00:00Z") > _RUNNING:
        return f"{left} entries were not checked yet"
    return None


def gate_of(
    period: Period,
    months: Sequence[Month],
    facts: Mapping[str, Mapping[str, Any]],
    told: Sequence[Mapping[str, Any]],
    enrolled_at: str,
    now: datetime,
    *,
    retention_days: int,
    previous: tuple[int, str] | None,
    seed: Seed | None,
) -> Gate:
    """The gate over what was found. `previous`: size and root of the month before the period, if it is still kept.
    `seed`: what samples are drawn by; where there are events and it could not be had, the ledger is broken."""
    whole = [month for month in months if month.fault is None]
    checks = [
        _check("checkpoint", "Every month has a signed checkpoint that follows from the one before", _faults(months)),
        _check("counted", "The counts of the days add up to the size of each month", _uncounted(whole)),
        _check("facts", "The facts of each day are of all events sealed of it", _unfolded(period, whole, facts)),
        _check("unbroken", "The ledger says of itself that nothing is wrong", _broken(whole, period, facts, seed)),
        _check("checked", "The continuous check of what is stored is at work", _unchecked(whole)),
        _check("chained", "The month before the period was closed as it is", _unchained(period, told, previous, now)),
        _check("retained", "Retention covers the period", _expired(period, enrolled_at, now, retention_days)),
    ]
    return Gate(all(check.passed for check in checks), tuple(checks))


def _check(check_id: str, title: str, faults: Sequence[str]) -> GateCheck:
    more = f", and {len(faults) - 5} more" if len(faults) > 5 else ""
    return GateCheck(check_id, title, not faults, "; ".join(faults[:5]) + more if faults else "as it must be")


def is_sound(month: Month) -> bool:
    """Whether nothing is known to be wrong with a month, its facts aside."""
    return not (month.fault or month.findings or month.checked == _UNSOUND or _uncounted([month]))


def _faults(months: Sequence[Month]) -> list[str]:
    return [f"{month.period}: {month.fault}" for month in months if month.fault is not None]


def _uncounted(months: Sequence[Month]) -> list[str]:
    found = []
    for month in months:
        counted = sum(item["events"] for item in month.rollups.values())
        if not month.size <= counted <= month.grown:
            found.append(f"{month.period}: {counted} events are counted, and {month.size} are sealed")
    return found


def _unfolded(period: Period, months: Sequence[Month], facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rollups = {day: item for month in months for day, item in month.rollups.items()}
    found = []
    for day in period.days:
        sealed, folded = rollups.get(day, {}), facts.get(day, {})
        if sealed.get("events", 0) != folded.get("events", 0) or sealed.get("counts", []) != folded.get("counts", []):
            found.append(f"{day}: facts of {folded.get('events', 0)} events, and {sealed.get('events', 0)} are sealed")
    return found


def _broken(
    months: Sequence[Month], period: Period, facts: Mapping[str, Mapping[str, Any]], seed: Seed | None
) -> list[str]:
    found = [f"{month.period}: {month.findings} findings are kept with it" for month in months if month.findings]
    for day in period.days:
        failed = sum(n for kind, *_, n in facts.get(day, {}).get("counts", ()) if kind == "ledger.verify_failed")
        if failed:
            found.append(f"{day}: {failed} times a check failed")
    if seed is None and any(day in period.days for month in months for day in month.rollups):
        found.append("the root at the period's last entry cannot be computed")
    return found


def _unchecked(months: Sequence[Month]) -> list[str]:
    return [f"{month.period}: {month.checked}" for month in months if month.checked is not None]


def _unchained(
    period: Period, told: Sequence[Mapping[str, Any]], previous: tuple[int, str] | None, now: datetime
) -> list[str]:
    month = month_before(period)
    if previous is None or now.timestamp() - period_end(month) < GRACE.total_seconds() + 86_400:
        return []
    said = [each for each in told if each.get("period") == month]
    size, root = previous
    if not said:
        return [f"{month} was not closed"] if size else []
    if all(int(each.get("size", -1)) != size for each in said):
        return [] if max(int(each.get("size", -1)) for each in said) < size else [f"{month} is smaller than it was"]
    return [] if any(each.get("root") == root for each in said) else [f"{month} has another root than it was told"]


def _expired(period: Period, enrolled_at: str, now: datetime, retention_days: int) -> list[str]:
    first = max(period.start[:7], enrolled_at[:7])
    if period_end(first) + retention_days * 86_400 <= now.timestamp():
        return [f"{first} is kept no more: {retention_days} days after its end"]
    return []


def month_before(period: Period) -> str:
    """The month before a period."""
    return (period.from_day.replace(day=1) - timedelta(days=1)).isoformat()[:7]


def shards_of(period: Period, months: Sequence[Month], spans: Sequence[SilentSpan]) -> tuple[Shard, ...]:
    """What the report stands on, by month. `spans`: the silences of sources, each where it began."""
    found = []
    for month in months:
        days = [item for day, item in month.rollups.items() if day in period.days]
        firsts, lasts = [item["first"] for item in days], [item["last"] for item in days]
        shard = Shard(
            period=month.period,
            size=month.size,
            root=month.root,
            checkpoint=month.note,
            events=sum(item["events"] for item in days),
            first=min(firsts, default=None),
            last=max(lasts, default=None),
            silent_spans=tuple(each for each in spans if each.since[:7] == month.period),
        )
        found.append(shard)
    return tuple(found)
