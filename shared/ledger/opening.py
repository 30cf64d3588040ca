"""With what a run of the check begins: the months of a tenant of which something is expected, and how far each is.

All that is read here anybody may have written who is past the app. What makes no sense is a finding, and what is
beside it is looked at all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.clock import Clock, period_end, period_of
from shared.ledger.findings import UNREADABLE, Findings
from shared.ledger.marks import Mark, Marked, Marks
from shared.ledger.progress import PROGRESS, Progress
from shared.ledger.shards import BrokenShard, Head, Shards
from shared.ledger.tiles import WIDTH
from shared.ledger.walk import Log
from shared.storage.documents import DocumentStore, Item
from shared.telemetry import get_log

_log = get_log(__name__)

EXPIRY = timedelta(days=1)
"""So long before a month's retention ends nothing of it is expected any more."""
_AHEAD = timedelta(days=31)
"""A month that begins later than that has no ledger yet, however clocks differ."""


@dataclass(slots=True)
class Shard:
    """A shard in a run: what its head said, how far its check is, and whether that changed. `mark`: of what was last
    signed of it."""

    head: Head
    progress: Progress
    is_open: bool
    mark: Mark | None
    is_changed: bool = False

    @property
    def is_begun(self) -> bool:
        """Whether there is, or was, something of it."""
        return self.head.etag is not None or self.progress.etag is not None or self.mark is not None

    @property
    def reached(self) -> int:
        """How large it was, as its check and its mark know."""
        seen = self.progress.new.frontier.size, self.progress.lap.walk.frontier.size
        return max(*seen, self.mark.size if self.mark else 0)

    def log(self, tenant_id: str) -> Log:
        """What is walked."""
        return Log(tenant_id, self.head, self.mark)

    @property
    def pages(self) -> int:
        """Of how many pages it is, at least one."""
        return max(1, -(-self.head.size // WIDTH))


class Opening:
    """Opens the shards of tenants. `retention_days`: how long a month's events are kept after its end."""

    def __init__(self, store: DocumentStore, clock: Clock, retention_days: int) -> None:
        self._shards = Shards(store)
        self._marks = Marks(store)
        self._clock = clock
        self._retention_days = retention_days

    async def marked(self, tenant_id: str, findings: Findings) -> Marked:
        """What was last signed of a tenant's shards; what cannot be read is a finding. StoreError."""
        try:
            return await self._marks.of(tenant_id)
        except BrokenShard as error:
            await findings.broken(period_of(self._clock.now()), error)
            return Marked({})

    async def shards(self, tenant_id: str, marked: Marked, findings: Findings) -> list[Shard]:
        """The shards of a tenant of which something is expected: those that were begun, and those of the last days.

        And one month in turn: in any of them there may be events although nothing of it was ever sealed. StoreError.
        """
        now = self._clock.now()
        found, broken, places = await self._shards.heads_and(tenant_id, PROGRESS)
        heads, held = {head.period: head for head in found}, {item["period"]: item for item in places}
        recent = {period_of(now), period_of(now - EXPIRY), self._in_turn(now)}
        known = {*heads, *broken, *held, *marked.months, *marked.covered}
        to_come = await self._to_come(known, now, findings)
        for period in sorted(broken.keys() - to_come):
            await findings.broken(period, broken[period])
        opened = []
        for period in sorted((known | recent) - broken.keys() - to_come):
            if now.timestamp() < period_end(period) + self._retention_days * 86_400 - EXPIRY.total_seconds():
                head = heads.get(period, Head(period))
                progress, is_changed = await self._progress(tenant_id, head, held.get(period), marked, findings)
                shard = Shard(head, progress, period in recent, marked.months.get(period), is_changed)
                opened.append(shard)
        return opened

    async def _to_come(self, known: Iterable[str], now: datetime, findings: Findings) -> set[str]:
        """The months that cannot have begun yet: each is a finding of the present one."""
        last = period_of(now + _AHEAD)
        to_come = {period for period in known if period > last}
        for period in sorted(to_come):
            await findings.add(period_of(now), "head", "to_come", found=period)
        return to_come

    def _in_turn(self, now: datetime) -> str:
        """One of the months that are kept; with a run every five minutes each comes within some hours."""
        runs = int(now.timestamp()) // 300
        return period_of(now - timedelta(days=28 * (runs % (self._retention_days // 28 + 2))))

    async def _progress(
        self, tenant_id: str, head: Head, item: Item | None, marked: Marked, findings: Findings
    ) -> tuple[Progress, bool]:
        """How far the check of a shard is, and whether that is something else than is stored.

        A place that is missing although there was one, or is none, is a finding, and the check begins anew.
        """
        period, now = head.period, self._clock.now()
        if item is None:
            if period not in marked.covered:
                return Progress(period), False
            await findings.add(period, "checkpoint", PROGRESS, found=f"gone at {head.size}")
            return Progress.anew(period, now, marked), True
        try:
            progress = Progress.of(item)
            is_usable, is_odd = True, progress.take_back(now)
        except UNREADABLE:
            progress = Progress.anew(period, now, marked, item["_etag"])
            is_usable, is_odd = False, True
        if is_odd:
            _log.error("check_place_unusable", tenant_id=tenant_id, period=period, begins_anew=not is_usable)
            own = {name: value for name, value in item.items() if not name.startswith("_")}
            await findings.add(period, "checkpoint", PROGRESS, found=json.dumps(own, sort_keys=True, default=str))
        return progress, is_odd
