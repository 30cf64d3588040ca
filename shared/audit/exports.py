"""Copies of the trail, part by part: oldest first, up to a bound that is fixed when the export begins (adr/0019).

A part is made anew from the store whenever it is asked for; what it begins after and the bound come with the request.
So nothing is kept in the process, and a part that is asked for again is the same.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from shared.audit.export_formats import FORMATS, ExportFormat
from shared.audit.export_runs import ExportRuns
from shared.audit.formed import formed, malformed
from shared.audit.model import Draft, StoredEvent
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.audit.search import EXAMINED, EventFilter, EventSearch
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.deadline import remaining
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import Cursor, DocumentStore, Query

MOST_ROWS: Final = 10_000
MOST_BYTES: Final = 8 * 1024 * 1024
"""What a part has at most. One event alone may be more bytes than that: its part has only it."""
_FIRST_PAGE, _LEAST_PAGE, _MOST_PAGE = 100, 20, 250
_SLICE = 20
"""Events that are written before others get a turn."""
_LEFT_SECONDS = 8.0
"""A part ends early when less than this is left of the request's time: better a short part than none."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an export goes on: behind which event, up to when, and what it has handed out by then."""

    run: str
    until: str
    part: int
    rows: int
    recorded_at: str
    id: str


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its bytes, how many events are in it, the bound of the export, and where the next one begins."""

    body: bytes
    rows: int
    until: str
    number: int
    next: Place | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is exported: whose trail, which events, in what form, and whether their personal data is shown."""

    tenant_id: str
    filters: EventFilter
    format: str
    opened: bool

    @property
    def form(self) -> ExportFormat:
        """The format."""
        return FORMATS[self.format]


type MakeDraft = Callable[[str], Draft]
"""From the bound of an export to its event."""


class Exports:
    """Exports of the trail."""

    def __init__(
        self, search: EventSearch, store: DocumentStore, recorder: Recorder, outbox: Outbox, clock: Clock
    ) -> None:
        self._search = search
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._runs = ExportRuns(search, store, recorder, outbox, clock)

    async def part(self, wanted: Wanted, place: Place | None, draft: MakeDraft) -> Part:
        """One part: the first one without a place. It is counted, and an export of one part recorded, before this
        returns. RunOver for a place that leads nowhere any more; Unready (503) when it cannot be recorded."""
        until = place.until if place else rfc3339(min(filter(None, (wanted.filters.to, self._clock.now()))))
        number = place.part if place else 1
        lines, last = await self._lines(wanted, until, place)
        handed_out = len(lines) + (place.rows if place else 0)
        if place is not None:
            await self._runs.advance(wanted.tenant_id, place.run, handed_out, last=last is None)
            run = place.run
        elif last is None:
            await self._recorder.record(replace(draft(until), record_count=handed_out))
        else:
            run = await self._runs.begin(replace(draft(until), record_count=handed_out))
        following = None if last is None else Place(run, until, number + 1, handed_out, last.value, last.id)  # type: ignore[arg-type]
        header = b"" if place else wanted.form.header
        return Part(b"".join((header, *lines)), len(lines), until, number, following)

    async def close_abandoned(self, tenant_id: str) -> int:
        """Record the exports of a tenant that were left before their last part; how many there were."""
        return await self._runs.close_abandoned(tenant_id)

    async def _lines(self, wanted: Wanted, until: str, place: Place | None) -> tuple[list[bytes], Cursor | None]:
        """The lines of a part, and the place behind it when more may follow."""
        where = await self._search.filters(wanted.tenant_id, replace(wanted.filters, to=parse_rfc3339(until)))
        after = Cursor(place.recorded_at, place.id) if place else None
        lines: list[bytes] = []
        size = 0
        limit = _FIRST_PAGE
        while True:
            limit = min(limit, MOST_ROWS - len(lines), _MOST_PAGE)
            query = Query(where, order_by="recorded_at", limit=limit, after=after, examine=EXAMINED)
            page = await self._store.query(AUDIT_EVENTS, (wanted.tenant_id,), query)
            events = [event for event in map(formed, page.items) if event is not None]
            await self._search.prepare(events, opened=wanted.opened)
            for number, event in enumerate(events, 1):
                line = await self._line(wanted, event)
                if line is None:
                    continue
                if lines and size + len(line) > MOST_BYTES:
                    return lines, after
                lines.append(line)
                size += len(line)
                after = Cursor(event["recorded_at"], event["id"])
                if number % _SLICE == 0:
                    await asyncio.sleep(0)
            if page.next is None:
                return lines, None
            after = page.next
            if len(lines) >= MOST_ROWS or remaining(_LEFT_SECONDS) < _LEFT_SECONDS:
                return lines, after
            limit = max(_LEAST_PAGE, (MOST_BYTES - size) * len(lines) // size) if size else _MOST_PAGE

    async def _line(self, wanted: Wanted, event: StoredEvent) -> bytes | None:
        """The line of an event; None, once that is logged, of what has no place in the format: it is no event of ours.

        SecretsError, StoreError: it cannot be had now.
        """
        shown = await self._search.shown(event, opened=wanted.opened)
        try:
            return wanted.form.line(shown)
        except (AttributeError, KeyError, TypeError, ValueError):
            malformed(event)
            return None
