"""Legal holds and what the organization made of its trail: reports on frameworks with their sign-offs, and access
reviews. They end by themselves, as long after they were made as an event after its month; a hold of the whole
organization keeps those that would end before it does.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from itertools import batched

from shared.compliance.kinds import COMPLIANCE
from shared.core.clock import parse_rfc3339, rfc3339
from shared.identity.access_reviews import KIND as ACCESS_REVIEW
from shared.ledger.shards import FOREVER
from shared.storage.containers import IDENTITY, REPORTS, Container
from shared.storage.documents import (
    MAX_BATCH_OPERATIONS,
    MAX_PAGE,
    BatchOperation,
    DocumentStore,
    Eq,
    Item,
    PatchSet,
    Prefix,
    Query,
    Range,
    pages,
)
from shared.storage.errors import NotFound, PreconditionFailed

_AT_ONCE = 1
"""Seconds: what is let go of is over already."""


class HeldRecords:
    """Keeps records beyond their retention while they are held, and lets go of them afterwards."""

    def __init__(self, store: DocumentStore, retention: timedelta) -> None:
        self._store = store
        self._retention = retention

    async def keep(self, tenant_id: str, until: str | None, now: datetime) -> int:
        """Bring the records of a tenant in line with its hold; how many items changed. `until`: the end of its furthest
        hold of everything; None: there is none. StoreError.

        Of a report what hangs on it comes first: a run that is cut off finds the head as it was, and does all again.
        """
        wanted, unwanted = (FOREVER, None) if until else (_AT_ONCE, FOREVER)
        over = rfc3339((parse_rfc3339(until) if until else now) - self._retention)
        changed = 0
        for container, kind in ((REPORTS, COMPLIANCE), (IDENTITY, ACCESS_REVIEW)):
            where = (Eq("kind", kind), Range("created_at", lt=over))
            query = Query(where, order_by="created_at", limit=MAX_PAGE, fields=("id", "ttl"))
            async for found in pages(self._store, container, (tenant_id,), query):
                for head in found:
                    if not _is_due(head, wanted, unwanted):
                        continue
                    async for items in self._of(container, tenant_id, head):
                        due = [each["id"] for each in items if _is_due(each, wanted, unwanted)]
                        changed += await self._patch(container, tenant_id, due, wanted)
        return changed

    async def _of(self, container: Container, tenant_id: str, head: Item) -> AsyncIterator[Sequence[Item]]:
        """A record's items, itself last."""
        if container is REPORTS:
            from shared.compliance.parts import part_prefix
            from shared.compliance.sign_off import sign_off_key

            for prefix in (part_prefix(head["id"]), sign_off_key(head["id"], "")):
                query = Query((Prefix("id", prefix),), limit=MAX_PAGE, fields=("id", "ttl"))
                async for items in pages(self._store, container, (tenant_id,), query):
                    yield items
        yield [head]

    async def _patch(self, container: Container, tenant_id: str, ids: Sequence[str], ttl: int) -> int:
        for chunk in batched(ids, MAX_BATCH_OPERATIONS, strict=False):
            steps = [BatchOperation("patch", id=each, patches=(PatchSet("ttl", ttl),)) for each in chunk]
            try:
                await self._store.batch(container, (tenant_id,), steps)
            except (NotFound, PreconditionFailed):  # one of them ended meanwhile: the next run does the others
                continue
        return len(ids)


def _is_due(item: Item, wanted: int, unwanted: int | None) -> bool:
    """Whether an item has another ttl than it should. What is over and was not held ends by itself."""
    ttl = item.get("ttl")
    return ttl != wanted and unwanted in (None, ttl)
