"""Closing months: how large the ledger of a month that is over became, and its root, are told in the ledger of now.

So months form a chain: whoever holds the root of a month holds those of the months that were closed in it. A month that
grew after it was closed, because an event came late, is told again.
"""

from __future__ import annotations

from datetime import timedelta

from shared.audit.events.ledger import LedgerCheckpoint
from shared.audit.model import SYSTEM, Draft, RequestContext, Target
from shared.core.clock import Clock, period_end
from shared.ledger._text import encode_base64
from shared.ledger.checkpoints import Checkpoints
from shared.ledger.findings import UNREADABLE
from shared.ledger.merkle import range_hash
from shared.ledger.shards import BrokenShard, Head, Shards, is_period
from shared.ledger.statements import Statements
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import DocumentStore, Eq, Query, pages
from shared.telemetry import get_log

_log = get_log(__name__)

GRACE = timedelta(days=8)
"""After a month's end: a producer's retry may finish, up to seven days later, what its first attempt began."""
_CLOSING = "closing"


class Closing:
    """Closes months. `retention_days`: how long a month's events are kept after its end."""

    def __init__(
        self,
        store: DocumentStore,
        shards: Shards,
        checkpoints: Checkpoints,
        statements: Statements,
        clock: Clock,
        retention_days: int,
    ) -> None:
        self._store = store
        self._shards = shards
        self._checkpoints = checkpoints
        self._statements = statements
        self._clock = clock
        self._retention_days = retention_days

    async def close_due(self, tenant_id: str, request: RequestContext) -> int:
        """Close a tenant's months that are due, and those again that grew; how many were closed.

        A month whose ledger does not follow from what was signed, or in which something lies that is not as we write
        it, is reported, and holds up no other. StoreError, SecretsError.
        """
        told = await self._told(tenant_id)
        closed = 0
        heads, broken = await self._shards.each_head(tenant_id)
        sizes = {head.period: head.size for head in heads}
        for period, size in sorted(told):
            if self._is_less(sizes.get(period, 0), period, size) and period not in broken:
                await self._statements.found(tenant_id, period, "head", "set_back", request, found=str(size))
        for period, error in broken.items():
            await self._statements.broken(tenant_id, period, error, request)
        for head in heads:
            try:
                closed += self._is_due(head) and await self._one(tenant_id, head, told, request)
            except UNREADABLE as error:
                _log.error("ledger_unreadable", error, tenant_id=tenant_id, period=head.period)
                await self._statements.found(tenant_id, head.period, "entries", "unreadable", request)
        return closed

    async def _one(
        self, tenant_id: str, head: Head, told: dict[tuple[str, int], set[str]], request: RequestContext
    ) -> bool:
        """Close a month unless it was closed as it is; whether it was closed."""
        await self._compare(tenant_id, head, told, request)
        if encode_base64(head.frontier().root()) in told.get((head.period, head.size), ()):
            return False
        return await self._close(tenant_id, head.period, request)

    async def _told(self, tenant_id: str) -> dict[tuple[str, int], set[str]]:
        """What was told of closed months: the roots, by month and size."""
        told: dict[tuple[str, int], set[str]] = {}
        query = Query((Eq("type", "ledger.checkpoint"),), order_by="recorded_at", limit=1000, fields=("attributes",))
        async for page in pages(self._store, AUDIT_EVENTS, (tenant_id,), query):
            for item in page:
                found = item.get("attributes")
                attributes = found if isinstance(found, dict) else {}
                period, size = str(attributes.get("period")), attributes.get("size")
                if is_period(period) and type(size) is int:
                    told.setdefault((period, size), set()).add(str(attributes.get("root")))
        return told

    async def _compare(
        self, tenant_id: str, head: Head, told: dict[tuple[str, int], set[str]], request: RequestContext
    ) -> None:
        """Report what was told of a month that is not so: the events of it were not ours, or the month is not."""
        for (period, size), roots in told.items():
            if period != head.period or not 0 < size <= head.size:
                continue
            try:
                reader = await self._shards.reader(tenant_id, head, [(0, size)], size)
                root = encode_base64(range_hash((0, size), reader))
            except BrokenShard as error:
                await self._statements.broken(tenant_id, period, error, request)
                continue
            for other in roots - {root}:
                await self._statements.found(
                    tenant_id, period, "checkpoint", f"told|{size}", request, index=size, found=other
                )

    def _is_less(self, size: int, period: str, told: int) -> bool:
        """Whether a month's ledger is smaller than it was told to be: it was set back, or taken away."""
        is_kept = self._clock.now().timestamp() < period_end(period) + self._retention_days * 86_400
        return is_kept and size < told

    def _is_due(self, head: Head) -> bool:
        age = self._clock.now().timestamp() - period_end(head.period)
        return head.size > 0 and GRACE.total_seconds() <= age < self._retention_days * 86_400

    async def _close(self, tenant_id: str, period: str, request: RequestContext) -> bool:
        try:
            checkpoint = (await self._checkpoints.issue(tenant_id, period)).checkpoint
        except BrokenShard as error:
            await self._statements.broken(tenant_id, period, error, request)
            return False
        event = LedgerCheckpoint(period=period, size=checkpoint.size, root=encode_base64(checkpoint.root))
        draft = Draft(tenant_id, event, request, actor=SYSTEM, target=Target("ledger", period))
        return await self._statements.once(tenant_id, period, f"{_CLOSING}|{checkpoint.size}", draft)
