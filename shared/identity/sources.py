"""Expected sources: API keys that send events, and when one of them has fallen silent.

A key is expected once it has sent events. Its item says when it last did (true to the hour) and since when it is
silent; both change in one batch with the event that tells of it, so that each silence is told once, and ends once.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from shared.audit.events.system import SystemFailure, SystemHeartbeat
from shared.audit.model import SYSTEM, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.errors import Unready
from shared.identity.api_keys import EVENTS_WRITE, KIND, api_key_key
from shared.identity.model import ServicePrincipal
from shared.identity.tenant_settings import read_settings
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Eq, Item, PatchSet, Query, pages
from shared.storage.errors import NotFound, PreconditionFailed, StoreError
from shared.telemetry import get_log

_log = get_log(__name__)

SOURCE = "api_key"
SILENCE_HOURS = 24
"""Where the tenant's `report_thresholds.source_silence_hours` does not say otherwise."""
NOTED_EVERY = timedelta(hours=1)


class Sources:
    """Notes which keys send events, and tells of those that do not any more."""

    def __init__(self, store: DocumentStore, recorder: Recorder, outbox: Outbox, clock: Clock) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._clock = clock

    async def sent(self, caller: ServicePrincipal, request: RequestContext) -> None:
        """Note, to the hour, that a key has sent events; one that was silent is heard of again. The events are durable
        already: where the store does not take the note, the next call's is as good."""
        now = self._clock.now()
        if caller.last_sent_at is not None and caller.last_sent_at > rfc3339(now - NOTED_EVERY) and not caller.silent:
            return
        try:
            await self._note(caller, now, request)
        except (PreconditionFailed, NotFound):
            _log.info("source_noted_elsewhere", key_id=caller.key_id)
        except (StoreError, Unready) as error:
            _log.warning("source_not_noted", key_id=caller.key_id, error_type=type(error).__qualname__)

    async def _note(self, caller: ServicePrincipal, now: datetime, request: RequestContext) -> None:
        item_id, partition = api_key_key(caller.key_id), (caller.tenant_id,)
        if not caller.silent:
            await self._store.patch(IDENTITY, partition, item_id, [PatchSet("last_sent_at", rfc3339(now))])
            return
        held = await self._store.read(IDENTITY, partition, item_id)
        since = held.get("silent_since")
        if since is None:
            return
        event = SystemHeartbeat(source=SOURCE, window_from=since, window_to=rfc3339(now))
        target = Target(KIND, caller.key_id)
        finished = await self._recorder.finish(
            Draft(caller.tenant_id, event, request, actor=caller.actor, target=target)
        )
        step = _patched(held, {"last_sent_at": rfc3339(now), "silent_since": None})
        await self._outbox.commit(IDENTITY, caller.tenant_id, [step], [finished])

    async def check(self, tenant_id: str, request: RequestContext) -> int:
        """Tell of the tenant's keys that have fallen silent; how many did. Expired keys are not expected any more."""
        now, told, hours = self._clock.now(), 0, None
        query = Query((Eq("kind", KIND),), order_by="created_at")
        async for keys in pages(self._store, IDENTITY, (tenant_id,), query):
            for held in filter(partial(_is_expected, now=rfc3339(now)), keys):
                if hours is None:
                    thresholds = (await read_settings(self._store, tenant_id))["report_thresholds"]
                    hours = thresholds.get("source_silence_hours", SILENCE_HOURS)
                if now - parse_rfc3339(held["last_sent_at"]) > timedelta(hours=hours):
                    told += await self._silent(held, request)
        return told

    async def _silent(self, held: Item, request: RequestContext) -> bool:
        since = held["last_sent_at"]
        event = SystemFailure(source=SOURCE, error_code="source_silent", since=since)
        target, tenant_id = Target(KIND, held["key_id"]), held["tenant_id"]
        draft = Draft(tenant_id, event, request, outcome="error", actor=SYSTEM, target=target)
        finished = await self._recorder.finish(draft)
        try:
            await self._outbox.commit(IDENTITY, tenant_id, [_patched(held, {"silent_since": since})], [finished])
        except (PreconditionFailed, NotFound):
            return False  # it was used, revoked or told of meanwhile
        _log.warning("source_silent", key_id=held["key_id"], tenant_id=tenant_id)
        return True


def _is_expected(held: Item, now: str) -> bool:
    expired = held["expires_at"] is not None and held["expires_at"] <= now
    sends = EVENTS_WRITE in held["scopes"] and held.get("last_sent_at") is not None
    return sends and not expired and held.get("silent_since") is None


def _patched(held: Item, values: Mapping[str, str | None]) -> BatchOperation:
    patches = tuple(PatchSet(name, value) for name, value in values.items())
    return BatchOperation("patch", id=held["id"], if_match=held["_etag"], patches=patches)
