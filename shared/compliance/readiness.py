"""What a report has to wait for: checks and signs of life of its period that come by themselves, and have not yet.

After a downtime the report of a day may be due before the check of the ledger has come by again. A report that is built
then says for good that its trail was not checked. What is broken is waited for by nobody: the report says so at once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from shared.audit.heartbeats import PULSE
from shared.compliance.evidence import Period
from shared.compliance.gate import behind
from shared.core.clock import Clock, parse_rfc3339
from shared.ledger.progress import Progress, progress_id
from shared.ledger.service import Ledger
from shared.ledger.shards import BrokenShard, Head, Shards
from shared.storage.containers import IDENTITY, LEDGER
from shared.storage.documents import DocumentStore, Prefix, Query
from shared.storage.errors import NotFound

type Lack = Literal["ledger_check", "detection"]
type _Check = Literal["none", "done", "late", "broken"]


class Readiness:
    """Looks at what is still to come for a period."""

    def __init__(self, store: DocumentStore, ledger: Ledger, shards: Shards, clock: Clock) -> None:
        self._store = store
        self._ledger = ledger
        self._shards = shards
        self._clock = clock

    async def lack(self, tenant_id: str, period: Period) -> Lack | None:
        """What a report of a period has to wait for; None for nothing. StoreError.

        `ledger_check`: the continuous check of its months, which has not seen all of the period, or not lately.
        `detection`: that detection has worked through the last day, where it tells of days at all.
        """
        checks = await self._checks(tenant_id, period)
        if "broken" in checks:
            return None
        if "late" in checks:
            return "ledger_check"
        return "detection" if await self._is_undetected(tenant_id, period) else None

    async def is_checked(self, tenant_id: str, period: Period) -> bool:
        """Whether the check of the ledger has seen all of a period, and found it sound. StoreError."""
        return {"none", "done"}.issuperset(await self._checks(tenant_id, period))

    async def _checks(self, tenant_id: str, period: Period) -> set[_Check]:
        return {await self._check(tenant_id, month, period) for month in period.months}

    async def _check(self, tenant_id: str, month: str, period: Period) -> _Check:
        """How the check of a month stands. `late`: to be waited for; `broken`: for the gate to tell of."""
        if self._ledger.is_over(month):
            return "none"
        try:
            head = await self._shards.head(tenant_id, month)
            return await self._progress(head, tenant_id, period) if head.size else "none"
        except NotFound:
            return "late"
        except (BrokenShard, ValueError):
            return "broken"

    async def _progress(self, head: Head, tenant_id: str, period: Period) -> _Check:
        """As `_check`, of a month with entries. NotFound: it was never checked. BrokenShard, ValueError: broken."""
        month = head.period
        partition = (tenant_id, month)
        found = await self._store.query(LEDGER, partition, Query((Prefix("id", "finding|"),), limit=1, fields=("id",)))
        days = await self._shards.rollups(tenant_id, month, [day for day in period.days if day[:7] == month])
        progress = Progress.of(await self._store.read(LEDGER, partition, progress_id(month)))
        if found.items or not (progress.new.is_sound and progress.lap.walk.is_sound):
            return "broken"
        is_unseen = any(day["last"] >= progress.new.frontier.size for day in days.values())
        is_early = month == period.months[-1] and progress.looked_at < parse_rfc3339(period.end).timestamp()
        return "late" if is_unseen or is_early or behind(progress, head, self._clock.now()) else "done"

    async def _is_undetected(self, tenant_id: str, period: Period) -> bool:
        try:
            told = (await self._store.read(IDENTITY, (tenant_id,), PULSE)).get("detected_day")
        except NotFound:
            return False  # nobody tells anything of this organization
        last = (period.to_day - timedelta(days=1)).isoformat()
        return told is not None and str(told) < last
