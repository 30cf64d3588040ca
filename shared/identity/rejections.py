"""Refusals that anybody can cause as often as they like: at most one event per address and minute, and a count that
loses none.

One item per kind and address (a keyed hash, never the address) in the tenant `platform` counts what was not recorded by
itself. The first refusal, and the first after a minute, commit the item and their event in one batch; the others add to
the count. A timer records what is still counted when an address falls silent.

Throttled calls come as often as an attacker likes and must cost next to nothing: those of one address that follow
within seconds are counted in the process, and added by the next one that is written. What an instance has not added
when it ends is missing from the count, never from the trail: each address has its event.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.audit.events.auth import AuthLogin, AuthRegister, AuthTokenRefresh, AuthTokenRejected
from shared.audit.model import PLATFORM_TENANT, AuditEvent, Draft, RequestContext, StoredEvent
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
    find_item,
    pages,
    replace,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, StoreError
from shared.telemetry import get_log

_log = get_log(__name__)

TOKENS, LOGINS = "token_rejections", "throttled_logins"
REFRESHES, REGISTRATIONS = "throttled_refreshes", "throttled_registrations"
KINDS = (TOKENS, LOGINS, REFRESHES, REGISTRATIONS)
THROTTLED = "throttled"
_SAMPLE = timedelta(minutes=1)
_BATCH = timedelta(seconds=5)
_MOST_PLACES = 10_000
_RACES = 20


type EventOf = Callable[[int], AuditEvent]
"""The event that stands for so many refusals."""


@dataclass(slots=True)
class _Batch:
    """Throttled calls of one address: when the last one was written, and those that were not, with one's request."""

    written_at: datetime
    request: RequestContext
    count: int = 0


class Rejections:
    """Counts and records rejected tokens and throttled calls."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        index: BlindIndex,
        clock: Clock,
        *,
        terms_version: str,
        privacy_version: str,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._index = index
        self._clock = clock
        self._batches: OrderedDict[tuple[str, str | None], _Batch] = OrderedDict()
        self._events: dict[str, EventOf] = {
            TOKENS: lambda count: AuthTokenRejected(count=count),
            LOGINS: lambda count: AuthLogin(attempt_count=count),
            REFRESHES: lambda _: AuthTokenRefresh(),
            REGISTRATIONS: lambda _: AuthRegister(
                organization=True, terms_version=terms_version, privacy_version=privacy_version
            ),
        }

    async def count(self, reason: str, request: RequestContext) -> None:
        """Record a rejected token, or count it with those of its address in this minute; durable either way.

        Requests whose address is not known share one count. StoreError, Unready (503) when it cannot be kept.
        """
        await self._count(TOKENS, request.ip, 1, reason, request)

    async def throttled(self, kind: str, place: str | None, request: RequestContext) -> None:
        """Record a throttled call (LOGINS, …), or count it with those of its `place` in this minute.

        `place`: the address, or the network, that the limit is about. StoreError, Unready (503) when a call that had to
        be written cannot be kept.
        """
        key, now = (kind, place), self._clock.now()
        batch = self._batches.get(key)
        if batch is not None and timedelta(0) <= now - batch.written_at < _BATCH:
            batch.count += 1
            return
        waiting = self._batches.pop(key).count if batch is not None else 0
        try:
            await self._count(kind, place, 1 + waiting, THROTTLED, request)
        except BaseException:
            self._keep(key, now - _BATCH, request, waiting)
            raise
        self._keep(key, now, request, 0)
        await self._write_old(now)

    def _keep(self, key: tuple[str, str | None], written_at: datetime, request: RequestContext, count: int) -> None:
        """Count in the process; behind all others."""
        batch = self._batches.setdefault(key, _Batch(written_at, request))
        batch.count += count
        batch.written_at = max(batch.written_at, written_at)
        self._batches.move_to_end(key)

    async def _write_old(self, now: datetime) -> None:
        """Write two that have been silent for longest, for each new one: so all get out, and none grows old."""
        for _ in range(2):
            key, batch = next(iter(self._batches.items()), (None, None))
            if key is None or batch is None:
                return
            if now - batch.written_at < _BATCH and len(self._batches) <= _MOST_PLACES:
                return
            try:
                await self._write(key)
            except (StoreError, Unready) as error:
                _log.warning("throttled_calls_not_written", error_type=type(error).__qualname__)

    async def _write(self, key: tuple[str, str | None]) -> None:
        """Add what is counted in the process for one place, and forget it."""
        batch = self._batches.pop(key, None)
        if batch is None or batch.count == 0:
            return
        try:
            await self._count(*key, batch.count, THROTTLED, batch.request)
        except BaseException:
            self._keep(key, batch.written_at, batch.request, batch.count)
            raise

    async def _count(self, kind: str, place: str | None, count: int, reason: str, request: RequestContext) -> None:
        key = f"{kind}|{await self._index.for_address(place) if place else 'unknown'}"
        for _ in range(_RACES):
            held = await self._read(key)
            now = self._clock.now()
            try:
                if held is not None and now - parse_rfc3339(held["created_at"]) < _SAMPLE:
                    await self._store.patch(IDENTITY, (PLATFORM_TENANT,), key, [PatchIncrement("pending", count)])
                    return
                marker: Item = {
                    "id": key,
                    "tenant_id": PLATFORM_TENANT,
                    "kind": kind,
                    "created_at": rfc3339(now),
                    "pending": 0,
                    "reason": reason,
                    "ip_key": await self._index.for_address(request.ip) if request.ip else None,
                }
                step = create(marker) if held is None else replace(marker, held["_etag"])
                event = await self._event(kind, count + (held["pending"] if held else 0), reason, request)
                await self._commit(step, event)
            except (Conflict, PreconditionFailed, NotFound):
                continue  # another rejection of this address was quicker
            return
        raise Unready("audit_unavailable", "Too many rejections at once.", retry_after_seconds=1)

    async def flush(self, request: RequestContext) -> int:
        """Record what is counted for addresses whose last event is a minute old; how many. Forget the silent ones."""
        silent_since = rfc3339(self._clock.now() - _SAMPLE)
        flushed = 0
        for key in list(self._batches):
            await self._write(key)
        for kind in KINDS:
            query = Query((Eq("kind", kind), Range("created_at", lt=silent_since)), order_by="created_at")
            async for markers in pages(self._store, IDENTITY, (PLATFORM_TENANT,), query):
                for held in markers:
                    flushed += await self._flush(held, request)
        return flushed

    async def _flush(self, held: Item, request: RequestContext) -> bool:
        try:
            if held["pending"] == 0:
                await self._store.delete(IDENTITY, (PLATFORM_TENANT,), held["id"], held["_etag"])
                return False
            event = await self._event(held["kind"], held["pending"], held["reason"], request) | {
                "ip_key": held["ip_key"]
            }
            recorded = {**held, "pending": 0, "created_at": event["recorded_at"]}
            await self._commit(replace(recorded, held["_etag"]), event)
        except (NotFound, PreconditionFailed):
            return False  # a new rejection of this address: it takes the count along
        return True

    async def _event(self, kind: str, count: int, reason: str, request: RequestContext) -> StoredEvent:
        event = self._events[kind](count)
        if kind == TOKENS:
            draft = Draft(PLATFORM_TENANT, event, request, outcome="denied", reason=reason)
        else:
            draft = Draft(PLATFORM_TENANT, event, request, outcome="failure", reason=reason, record_count=count)
        return await self._recorder.finish(draft)

    async def _commit(self, step: BatchOperation, event: StoredEvent) -> None:
        await self._outbox.commit(IDENTITY, PLATFORM_TENANT, [step], [event])

    async def _read(self, key: str) -> Item | None:
        return await find_item(self._store, IDENTITY, (PLATFORM_TENANT,), key)
