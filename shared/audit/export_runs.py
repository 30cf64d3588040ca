"""How an export of several parts gets its one event, with its count: adr/0019.

While it runs, a record in `reports` says what was handed out so far, and holds the event as it would be (its personal
data sealed). The record is there before the first part is answered and counts each part before that is. The last part,
or a timer when nobody asks for it any more, turns it into the event, once: both are one batch.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from shared.audit.events.audit import AuditExport
from shared.audit.model import Actor, Draft, RequestContext, StoredEvent
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder, audit_unavailable
from shared.audit.search import EventSearch
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.storage.containers import REPORTS
from shared.storage.documents import DocumentStore, Eq, Item, Query, pages, replace
from shared.storage.errors import NotFound, PreconditionFailed, StoreError, Unavailable
from shared.telemetry import get_log

_log = get_log(__name__)

OPEN, CLOSED = "export", "export_closed"
ABANDONED_AFTER = timedelta(minutes=20)
"""Since its last part: the next can be asked for within 15 minutes, the rest is for clocks that differ."""
REMEMBERED_SECONDS = 3600
"""How long a closed run still lets its parts be asked for again; their cursors live for a quarter of that."""
_ATTEMPTS = 5


class RunOver(Exception):
    """The run cannot go on: it was closed with fewer events than it would hand out now, or is forgotten."""


class ExportRuns:
    """Exports that are under way."""

    def __init__(
        self, search: EventSearch, store: DocumentStore, recorder: Recorder, outbox: Outbox, clock: Clock
    ) -> None:
        self._search = search
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._clock = clock

    async def begin(self, draft: Draft, kept: Item | None = None) -> str:
        """Note that an export began and what its first part hands out; its id. Unready (503) when that fails.

        `kept`: what further parts need to know of the first one.
        """
        event = await self._recorder.finish(draft)
        item: Item = {
            "id": f"{OPEN}|{event['id']}",
            "tenant_id": draft.tenant_id,
            "kind": OPEN,
            "created_at": event["recorded_at"],
            "advanced_at": event["recorded_at"],
            "rows": draft.record_count,
            "event": event,
            "kept": kept,
        }
        try:
            await self._store.create(REPORTS, (draft.tenant_id,), item)
        except StoreError as error:
            raise audit_unavailable(error) from error
        return str(item["id"])

    async def kept(self, tenant_id: str, run: str) -> Item:
        """What was kept of the first part. RunOver when nobody knows any more; StoreError."""
        try:
            kept: Item | None = (await self._store.read(REPORTS, (tenant_id,), run)).get("kept")
        except NotFound:
            raise RunOver from None
        if kept is None:
            raise RunOver
        return kept

    async def advance(self, tenant_id: str, run: str, rows: int, *, last: bool) -> None:
        """Note that `rows` events will have been handed out in all; with `last`, record the export.

        A part that is asked for again changes nothing. RunOver; Unready (503) when it cannot be made durable.
        """
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return await self._advance(tenant_id, run, rows, last=last)
                except PreconditionFailed:
                    _log.info("export_part_asked_for_twice", tenant_id=tenant_id)
            raise Unavailable("the export changes all the time")
        except NotFound:
            raise RunOver from None
        except StoreError as error:
            raise audit_unavailable(error) from error

    async def _advance(self, tenant_id: str, run: str, rows: int, *, last: bool) -> None:
        item = await self._store.read(REPORTS, (tenant_id,), run)
        if item["kind"] == CLOSED:
            if rows > item["rows"]:
                raise RunOver
        elif last:
            await self._close(item, max(rows, item["rows"]), None)
        elif rows > item["rows"]:
            changed = {**item, "rows": rows, "advanced_at": rfc3339(self._clock.now())}
            await self._store.replace(REPORTS, (tenant_id,), changed, if_match=item["_etag"])

    async def close_abandoned(self, tenant_id: str) -> int:
        """Record the exports of a tenant whose last part nobody can ask for any more; how many there were."""
        closed = 0
        before = rfc3339(self._clock.now() - ABANDONED_AFTER)
        async for item in self._open(tenant_id):
            if item["advanced_at"] < before:
                try:
                    await self._close(item, item["rows"], "abandoned")
                    closed += 1
                except PreconditionFailed:
                    _log.info("export_closed_elsewhere", tenant_id=tenant_id)
        return closed

    async def _open(self, tenant_id: str) -> AsyncIterator[Item]:
        query = Query((Eq("kind", OPEN),), order_by="created_at")
        async for items in pages(self._store, REPORTS, (tenant_id,), query):
            for item in items:
                yield item

    async def _close(self, item: Item, rows: int, reason: str | None) -> None:
        """Turn the record into the event, in one batch. PreconditionFailed when somebody else changed it."""
        tenant_id = item["tenant_id"]
        event = await self._recorder.finish(await self._draft(item["event"], rows, reason))
        closed: Item = {
            "id": item["id"],
            "tenant_id": tenant_id,
            "kind": CLOSED,
            "created_at": item["created_at"],
            "rows": rows,
            "kept": item.get("kept"),
            "ttl": REMEMBERED_SECONDS,
        }
        await self._outbox.commit(REPORTS, tenant_id, [replace(closed, if_match=item["_etag"])], [event])

    async def _draft(self, begun: StoredEvent, rows: int, reason: str | None) -> Draft:
        """The event that was prepared when the export began, with what is known now. Boxes open for their own event
        only, so what is in them is sealed anew; of a person erased meanwhile there is nothing."""
        shown = await self._search.shown(begun)
        actor, context = begun["actor"], begun["context"]
        person = actor["id"] if actor["kind"] == "user" else None
        held: dict[str, Any] = shown["personal"].get(person, {})
        attributes = begun["attributes"] | {"filtered_by": tuple(begun["attributes"]["filtered_by"])}
        began = parse_rfc3339(begun["recorded_at"])
        request = RequestContext(
            context["request_id"],
            context["route"],
            "export_events",
            began,
            held.get("ip"),
            held.get("user_agent"),
            context["trace_id"],
            context["session_id"],
            begun["source"]["id"] if begun["source"]["kind"] == "api_key" else None,
        )
        return Draft(
            begun["tenant_id"],
            AuditExport(**attributes, filters=held.get("filters")),
            request,
            reason=reason,
            actor=Actor(actor["kind"], actor["id"], actor["role"], held.get("email")),
            person=person if "filters" in held else None,
            record_count=rows,
            occurred_at=began,
        )
