"""What one run of the check finds in a tenant's ledger: recorded as it is found, and counted, so that a run is bounded.

A finding that is known already costs as many calls of the store as a new one, so both count.
"""

from __future__ import annotations

from shared.audit.model import RequestContext
from shared.ledger.shards import BrokenShard
from shared.ledger.statements import Statements, What

UNREADABLE = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What comes of reading something that is not as we write it. A store's errors are none of these."""
MOST_PER_RUN = 100
"""After so many findings a walk ends with the page that it is at, and the next run goes on there."""


class Findings:
    """Findings of one tenant and run."""

    def __init__(self, statements: Statements, tenant_id: str, request: RequestContext) -> None:
        self._statements = statements
        self._tenant_id = tenant_id
        self._request = request
        self.number = 0

    async def add(
        self, period: str, what: What, key: str, index: int | None = None, *, found: str | bytes | None = None
    ) -> None:
        """Record a finding unless it is known. `key`: what of the shard it is about; `found`: what was there instead.

        StoreError.
        """
        self.number += 1
        await self._statements.found(self._tenant_id, period, what, key, self._request, index=index, found=found)

    async def broken(self, period: str, error: BrokenShard) -> None:
        """Record that a shard is not as it was left. StoreError."""
        self.number += 1
        await self._statements.broken(self._tenant_id, period, error, self._request)

    @property
    def enough(self) -> bool:
        """Whether this run has found as much as a run may."""
        return self.number >= MOST_PER_RUN
