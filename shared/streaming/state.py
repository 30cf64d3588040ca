"""Webhooks and streams as they are stored: reads, and the writes of whoever delivers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from shared.core.clock import rfc3339
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, Cursor, DocumentStore, Eq, Page, Query, upsert
from shared.storage.documents import replace as replaced
from shared.storage.errors import NotFound, PreconditionFailed
from shared.streaming.model import DELIVERY, STREAM, WEBHOOK, Attempt, Progress, Webhook

LEASE = timedelta(seconds=60)
"""Longer than any message takes."""


class Streams:
    """What is stored of the webhooks of any tenant."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    async def webhook(self, tenant_id: str) -> Webhook | None:
        """A tenant's webhook, if it has one."""
        try:
            return Webhook.of(await self._store.read(IDENTITY, (tenant_id,), WEBHOOK))
        except NotFound:
            return None

    async def renewed(self, webhook: Webhook) -> bool:
        """Write a webhook over the version it was read in; False when it is another one by now, or none."""
        try:
            await self._store.replace(IDENTITY, (webhook.tenant_id,), webhook.item(), webhook.etag)
        except (PreconditionFailed, NotFound):
            return False
        return True

    async def progress(self, tenant_id: str) -> Progress | None:
        """How far a tenant's stream is, if it has one."""
        try:
            return Progress.of(await self._store.read(IDENTITY, (tenant_id,), STREAM))
        except NotFound:
            return None

    async def save(self, progress: Progress) -> Progress:
        """Write a stream over the version it was read in. PreconditionFailed, NotFound: it is another one by now."""
        held = await self._store.replace(IDENTITY, (progress.tenant_id,), progress.item(), progress.etag)
        return replace(progress, etag=held["_etag"])

    async def lease(self, progress: Progress, owner: str, now: datetime) -> Progress:
        """Take the stream. PreconditionFailed, NotFound: somebody else did, or changed it."""
        return await self.save(leased(progress, owner, now))

    async def attempted(self, progress: Progress, attempt: Attempt, now: datetime) -> Progress:
        """Write a stream with what came of a message. PreconditionFailed, NotFound: as above; then nothing is kept."""
        done, *_ = await self._store.batch(IDENTITY, (progress.tenant_id,), attempt_steps(progress, attempt, now))
        return replace(progress, attempts=progress.attempts + 1, etag=done["_etag"] if done else None)

    async def attempts(self, tenant_id: str, limit: int, after: Cursor | None) -> Page:
        """A page of the last attempts as they are stored, newest first."""
        query = Query((Eq("kind", DELIVERY),), order_by="created_at", descending=True, limit=limit, after=after)
        return await self._store.query(IDENTITY, (tenant_id,), query)


def leased(progress: Progress, owner: str | None, now: datetime) -> Progress:
    """A stream as its owner holds it; None: nobody does any more."""
    until = None if owner is None else rfc3339(now + LEASE)
    return replace(progress, owner=owner, leased_until=until)


def attempt_steps(progress: Progress, attempt: Attempt, now: datetime) -> list[BatchOperation]:
    """The batch that keeps a stream and what came of a message; the stream is its first step."""
    counted = replace(progress, attempts=progress.attempts + 1)
    return [replaced(counted.item(), progress.etag), upsert(attempt.item(progress, now))]
