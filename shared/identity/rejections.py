"""auth.token_rejected: at most one event per address and minute, and a count that loses none.

One item per address (a keyed hash, never the address) in the tenant `platform` counts what was not recorded by itself.
The first rejection, and the first after a minute, commit the item and their event in one batch; the others add to the
count. A timer records what is still counted when an address falls silent.
"""

from datetime import timedelta

from shared.audit.events.auth import AuthTokenRejected
from shared.audit.model import PLATFORM_TENANT, Draft, RequestContext, StoredEvent
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.errors import Unready
from shared.privacy.blind_index import BlindIndex
from shared.storage.containers import IDENTITY
from shared.storage.documents import (
    BatchOperation,
    DocumentStore,
    Eq,
    Item,
    PatchIncrement,
    Query,
    Range,
    create,
    pages,
    replace,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed

KIND = "token_rejections"
_SAMPLE = timedelta(minutes=1)
_RACES = 20


class Rejections:
    """Counts and records rejected tokens."""

    def __init__(
        self, store: DocumentStore, recorder: Recorder, outbox: Outbox, index: BlindIndex, clock: Clock
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._index = index
        self._clock = clock

    async def count(self, reason: str, request: RequestContext) -> None:
        """Record a rejection, or count it with those of its address in this minute; durable either way.

        Requests whose address is not known share one count. StoreError, Unready (503) when it cannot be kept.
        """
        ip_key = await self._index.for_address(request.ip) if request.ip else None
        key = f"{KIND}|{ip_key or 'unknown'}"
        for _ in range(_RACES):
            held = await self._read(key)
            now = self._clock.now()
            try:
                if held is not None and now - parse_rfc3339(held["created_at"]) < _SAMPLE:
                    await self._store.patch(IDENTITY, (PLATFORM_TENANT,), key, [PatchIncrement("pending")])
                    return
                marker: Item = {
                    "id": key,
                    "tenant_id": PLATFORM_TENANT,
                    "kind": KIND,
                    "created_at": rfc3339(now),
                    "pending": 0,
                    "reason": reason,
                    "ip_key": ip_key,
                }
                step = create(marker) if held is None else replace(marker, held["_etag"])
                event = await self._event(1 + (held["pending"] if held else 0), reason, request)
                await self._commit(step, event)
            except (Conflict, PreconditionFailed, NotFound):
                continue  # another rejection of this address was quicker
            return
        raise Unready("audit_unavailable", "Too many rejections at once.", retry_after_seconds=1)

    async def flush(self, request: RequestContext) -> int:
        """Record what is counted for addresses whose last event is a minute old; how many. Forget the silent ones."""
        silent_since = rfc3339(self._clock.now() - _SAMPLE)
        flushed = 0
        query = Query((Eq("kind", KIND), Range("created_at", lt=silent_since)), order_by="created_at")
        async for markers in pages(self._store, IDENTITY, (PLATFORM_TENANT,), query):
            for held in markers:
                flushed += await self._flush(held, request)
        return flushed

    async def _flush(self, held: Item, request: RequestContext) -> bool:
        try:
            if held["pending"] == 0:
                await self._store.delete(IDENTITY, (PLATFORM_TENANT,), held["id"], held["_etag"])
                return False
            event = await self._event(held["pending"], held["reason"], request) | {"ip_key": held["ip_key"]}
            recorded = {**held, "pending": 0, "created_at": event["recorded_at"]}
            await self._commit(replace(recorded, held["_etag"]), event)
        except (NotFound, PreconditionFailed):
            return False  # a new rejection of this address: it takes the count along
        return True

    async def _event(self, count: int, reason: str, request: RequestContext) -> StoredEvent:
        draft = Draft(PLATFORM_TENANT, AuthTokenRejected(count=count), request, outcome="denied", reason=reason)
        return await self._recorder.finish(draft)

    async def _commit(self, step: BatchOperation, event: StoredEvent) -> None:
        await self._outbox.commit(IDENTITY, PLATFORM_TENANT, [step], [event])

    async def _read(self, key: str) -> Item | None:
        try:
            return await self._store.read(IDENTITY, (PLATFORM_TENANT,), key)
        except NotFound:
            return None
