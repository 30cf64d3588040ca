"""What the ledger says in the trail: that what is stored is not what was sealed, and where closed months stood.

Each is said once, however often and by whomever it is found: a document with the finished event comes first, and the
event follows it, as often as it takes. What is changed a second time, into something else, is another finding.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from shared.audit.events.ledger import LedgerVerifyFailed
from shared.audit.model import SYSTEM, Draft, RequestContext, StoredEvent, Target
from shared.audit.recorder import Recorder
from shared.ledger.shards import BrokenShard, Part, is_period
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import DocumentStore, Item, Prefix, Query
from shared.storage.errors import Conflict, NotFound
from shared.telemetry import get_log

_log = get_log(__name__)

FINDING = "finding"
MOST_OF_A_PLACE = 10
"""So many different things are said of one place. Somebody who changes it all the time floods no trail."""
_LONGEST_KEY = 100

type What = Part | Literal["edited", "deleted", "not_sealed", "inserted_behind", "unsealable", "box", "person_key"]
"""`edited`: an event is not as it was sealed. `deleted`: a sealed event is gone. `not_sealed`: an event was never
sealed. `inserted_behind`: it was stored long after the time that it claims. `unsealable`: it is not formed as events
are. `box`: what was sealed of a person in an event does not open, or is not what was recorded; `person_key`: the key of
a person does not unwrap. `entries`, `tile`, `head`, `checkpoint`, `rollup`: that part of the ledger itself is not as it
was left."""


class Statements:
    """Records events of the ledger, each once."""

    def __init__(self, store: DocumentStore, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder

    async def found(
        self,
        tenant_id: str,
        period: str,
        what: What,
        key: str,
        request: RequestContext,
        *,
        index: int | None = None,
        found: str | bytes | None = None,
        event_id: str | None = None,
        subjects: tuple[str, ...] = (),
    ) -> bool:
        """Record that a check failed; False when that was known. StoreError.

        `key`: the place that it failed on. `found`: what was there instead, so that something else in the same place is
        another finding, MOST_OF_A_PLACE times at most.
        """
        draft = Draft(
            tenant_id,
            LedgerVerifyFailed(what=what, period=period, index=index, event_id=event_id),
            request,
            outcome="failure",
            reason=what,
            actor=SYSTEM,
            target=Target("ledger", period),
            subjects=subjects,
        )
        named = key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()
        item_id, event = f"{FINDING}|{what}|{named}", await self._recorder.finish(draft)
        if found is not None:
            place = f"{item_id}|"
            content = found if isinstance(found, bytes) else found.encode("utf-8", "surrogatepass")
            item_id = place + hashlib.sha256(content).hexdigest()[:16]
            if not await self._has_room(period, place, item_id, event):
                _log.warning("ledger_finding_unsaid", tenant_id=tenant_id, period=period, what=what, index=index)
                return False
        is_new = await self._say(tenant_id, period, item_id, event)
        if is_new:
            _log.warning("ledger_verify_failed", tenant_id=tenant_id, period=period, what=what, index=index)
        return is_new

    async def broken(self, tenant_id: str, period: str, error: BrokenShard, request: RequestContext) -> bool:
        """Record that a shard is not as it was left; False when that was known. StoreError.

        Entries, tiles and counts once each: whoever comes upon them sees another side of the same, and the check names
        every place.
        """
        named = error.what in ("head", "checkpoint")
        found = (error.found or str(error)) if named else None
        return await self.found(tenant_id, period, error.what, "shard", request, found=found)

    async def _has_room(self, period: str, place: str, item_id: str, event: StoredEvent) -> bool:
        """Whether a finding is known, or one of the first of its place; what is not in the trail does not count."""
        tenant_id = event["tenant_id"]
        query = Query((Prefix("id", place),), limit=10 * MOST_OF_A_PLACE, fields=("id", "event"))
        held = (await self._store.query(LEDGER, (tenant_id, period), query)).items
        if len(held) < MOST_OF_A_PLACE or any(item["id"] == item_id for item in held):
            return True
        said = {item["event"]["id"]: item["event"]["period"] for item in held if _says(item.get("event"), event)}
        count = 0
        for event_id, month in said.items():
            try:
                told = await self._store.read(AUDIT_EVENTS, (tenant_id, month), event_id)
            except NotFound:
                continue
            count += _says(told, event)
        return count < MOST_OF_A_PLACE

    async def once(self, tenant_id: str, period: str, item_id: str, draft: Draft) -> bool:
        """Record an event unless one was recorded under this id of a shard; False when it was. StoreError.

        A document that says something else than the event would was put there so that nothing be said: it is replaced.
        """
        return await self._say(tenant_id, period, item_id, await self._recorder.finish(draft))

    async def _say(self, tenant_id: str, period: str, item_id: str, event: StoredEvent) -> bool:
        partition = (tenant_id, period)
        item: Item = {
            "id": item_id,
            "tenant_id": tenant_id,
            "period": period,
            "kind": item_id.partition("|")[0],
            "event": event,
        }
        try:
            await self._store.create(LEDGER, partition, item)
        except Conflict:
            held = await self._store.read(LEDGER, partition, item_id)
            if await self._is_said(held.get("event"), item["event"]):
                return False
            await self._store.replace(LEDGER, partition, item, held["_etag"])
        await self._recorder.publish(item["event"])
        return True

    async def _is_said(self, held: Any, event: StoredEvent) -> bool:
        """Whether the event of a document says what `event` does, and is in the trail; if it is missing there, it is
        published."""
        if not _says(held, event):
            return False
        try:
            told = await self._store.read(AUDIT_EVENTS, (event["tenant_id"], held["period"]), held["id"])
        except NotFound:
            await self._recorder.publish(held)
            return True
        return _says(told, event)


def _says(told: Any, event: StoredEvent) -> bool:
    names = ("tenant_id", "type", "outcome", "reason", "target", "attributes")
    formed = isinstance(told, dict) and isinstance(told.get("id"), str) and is_period(str(told.get("period")))
    return formed and all(told.get(name) == event[name] for name in names)
