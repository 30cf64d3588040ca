"""Detection as services: the consumer of stored events that keeps the alerts, and reading of alerts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.audit.dead_letters import DeadLetters
from shared.audit.model import SYSTEM, Draft, RequestContext, StoredEvent, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import NotFoundError, Unready
from shared.core.ids import IdFactory
from shared.detection import alerts
from shared.detection.alerts import ALERT_KIND, SERIES_KIND, Change, Series
from shared.detection.episodes import episodes, merged, reach
from shared.detection.history import EventHistory, observe
from shared.detection.model import Pattern, Span
from shared.detection.registry import all_patterns
from shared.storage.containers import ALERTS
from shared.storage.documents import (
    MAX_PAGE,
    BatchOperation,
    Cursor,
    Defined,
    DocumentStore,
    Eq,
    Filter,
    Item,
    Page,
    Query,
    Range,
    create,
    pages,
    replace,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, StoreError, TooLarge
from shared.telemetry import get_log

_log = get_log(__name__)

CONSUMER = "detect_threats"
MAX_ATTEMPTS = 8
MAX_CHANGES_PER_COMMIT = 20
"""Alerts per batch: 500 event ids and one event each stay far below the 2 MB and 100 operations of a batch."""


@dataclass(slots=True)
class _Touched:
    """The new events of one series in a delivery, and the time around them that has to be looked at."""

    items: list[Item] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


class DetectionService:
    """Turns delivered events into alerts. Deliveries may repeat, overlap, come out of order and run side by side."""

    def __init__(
        self,
        store: DocumentStore,
        outbox: Outbox,
        recorder: Recorder,
        dead_letters: DeadLetters,
        clock: Clock,
        ids: IdFactory,
        patterns: Mapping[str, Pattern[Any]] | None = None,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._recorder = recorder
        self._dead_letters = dead_letters
        self._clock = clock
        self._ids = ids
        self._patterns = all_patterns() if patterns is None else patterns
        self._history = EventHistory(store)
        dead_letters.on(CONSUMER, self.handle)

    async def handle(self, item: Item) -> None:
        """Bring the alerts up to date with one stored event. Whatever keeps it from that is raised."""
        for series, span in self._places(item):
            await self._evaluate(series, span)

    async def consume(self, items: Sequence[Item]) -> None:
        """Bring the alerts up to date with a batch of stored events, of any tenants.

        An event that cannot be handled goes to the dead letters. StoreError, Unready: deliver the batch again.
        """
        for series, touched in (await self._sorted_out(items)).items():
            try:
                for span in merged(touched.spans):
                    await self._evaluate(series, span)
            except (StoreError, Unready) as error:
                if not isinstance(error, TooLarge):  # which no repetition would change
                    raise
                await self._keep(touched, error)
            except Exception as error:  # noqa: BLE001 - the other keys of the batch must not be held up
                await self._keep(touched, error)

    async def _keep(self, touched: _Touched, error: Exception) -> None:
        for item in touched.items:
            await self._dead_letters.put(CONSUMER, item, error)

    async def _sorted_out(self, items: Sequence[Item]) -> dict[Series, _Touched]:
        found: dict[Series, _Touched] = {}
        for item in items:
            try:
                places = self._places(item)
            except Exception as error:  # noqa: BLE001 - poison is kept, the rest of the batch goes on
                await self._dead_letters.put(CONSUMER, item, error)
                continue
            for series, span in places:
                touched = found.setdefault(series, _Touched())
                touched.items.append(item)
                touched.spans.append(span)
        return found

    def _places(self, item: Item) -> list[tuple[Series, Span]]:
        """The series that an event is part of, and how far around it each has to be looked at."""
        kind, tenant_id = item["type"], item["tenant_id"]
        if not isinstance(kind, str) or not isinstance(tenant_id, str) or not tenant_id:
            raise ValueError("an event has a type and a tenant")
        places: list[tuple[Series, Span]] = []
        for pattern in self._patterns.values():
            # Ours are never among the types: no event of detection leads to another one.
            seen = observe(pattern, item) if kind in pattern.types else None
            if seen is not None:
                window = pattern.parameters.model_validate({}).window
                places.append((Series(tenant_id, pattern, seen[0]), Span.around(seen[1].at, reach(window))))
        return places

    async def _evaluate(self, series: Series, span: Span) -> None:
        """Make the stored alerts of a series say what its events say. Starts over when someone else changed them."""
        attempt = 1
        while True:
            try:
                if await self._caught_up(series, span):
                    return
            except (Conflict, PreconditionFailed) as lost:
                if attempt == MAX_ATTEMPTS:
                    raise
                _log.info("alerts_changed_meanwhile", pattern=series.pattern.id, error_type=type(lost).__qualname__)
                attempt += 1

    async def _caught_up(self, series: Series, span: Span) -> bool:
        """One evaluation; False when there was more to write than one commit takes.

        The series document is read before the events: whoever wrote the alerts as they are saw no event that this
        evaluation does not see. So what it writes under that document's etag is never older than what is there.
        """
        head = await self._head(series)
        parameters = series.pattern.parameters.model_validate({})
        observed = await self._history.load(series.tenant_id, series.pattern, series.key, span)
        crossings = list(series.pattern.crossings(observed, parameters))
        if not crossings:
            return True
        stored = await self._stored(series, Span(span.start - parameters.window, span.end))
        closings = alerts.closings_of(stored)
        found = episodes(observed, crossings, span=span, window=parameters.window, closings=closings)
        changes = alerts.reconcile(series, found, stored, rfc3339(self._clock.now()))
        if changes:
            await self._write(series, head, changes[:MAX_CHANGES_PER_COMMIT])
        return len(changes) <= MAX_CHANGES_PER_COMMIT

    async def _head(self, series: Series) -> Item | None:
        try:
            return await self._store.read(ALERTS, (series.tenant_id,), series.head_id)
        except NotFound:
            return None

    async def _stored(self, series: Series, first_seen: Span) -> list[Item]:
        seen = Range("first_seen", ge=rfc3339(first_seen.start), le=rfc3339(first_seen.end))
        query = Query((Eq("kind", ALERT_KIND), Eq("series", series.name), seen), order_by="first_seen", limit=MAX_PAGE)
        return [each async for page in pages(self._store, ALERTS, (series.tenant_id,), query) for each in page]

    async def _write(self, series: Series, head: Item | None, changes: Sequence[Change]) -> None:
        operations = [_head_operation(series, head)]
        operations += [replace(c.item, c.etag) if c.etag else create(c.item) for c in changes]
        events = [await self._event(series, change) for change in changes if change.event is not None]
        if events:
            await self._outbox.commit(ALERTS, series.tenant_id, operations, events)
        else:
            await self._store.batch(ALERTS, (series.tenant_id,), operations)
        _log.info("alerts_written", pattern=series.pattern.id, alerts=len(changes), events=len(events))

    async def _event(self, series: Series, change: Change) -> StoredEvent:
        now = self._clock.now()
        if change.event is None:
            raise ValueError("mere growth has no event")
        request = RequestContext(request_id=self._ids.new(now), route="change_feed", function=CONSUMER, started_at=now)
        return await self._recorder.finish(
            Draft(
                tenant_id=series.tenant_id,
                event=change.event,
                request=request,
                actor=SYSTEM,
                target=Target("alert", change.item["id"]),
                severity=change.item["severity"],
            )
        )


def _head_operation(series: Series, head: Item | None) -> BatchOperation:
    item: Item = {
        "id": series.head_id,
        "tenant_id": series.tenant_id,
        "kind": SERIES_KIND,
        "series": series.name,
        "version": 1 if head is None else head["version"] + 1,
    }
    return create(item) if head is None else replace(item, head["_etag"])


class AlertService:
    """Reads the alerts of one tenant."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    async def list(
        self,
        tenant_id: str,
        *,
        pattern: str | None = None,
        severity: str | None = None,
        status: str | None = None,
        from_: datetime | None = None,
        to: datetime | None = None,
        superseded: bool = False,
        limit: int = 50,
        after: Cursor | None = None,
    ) -> Page:
        """One page of stored alerts, newest `first_seen` first; times bound `first_seen`, `to` excluded.

        Superseded alerts are part of it only with `superseded`: another alert tells the same.
        """
        where: list[Filter] = [Eq("kind", ALERT_KIND)]
        for path, value in (("pattern", pattern), ("severity", severity), ("status", status)):
            if value is not None:
                where.append(Eq(path, value))
        if not superseded:
            where.append(Defined("superseded_by", present=False))
        if from_ is not None or to is not None:
            start, end = (rfc3339(moment) if moment else None for moment in (from_, to))
            where.append(Range("first_seen", ge=start, lt=end))
        query = Query(tuple(where), order_by="first_seen", descending=True, limit=limit, after=after)
        return await self._store.query(ALERTS, (tenant_id,), query)

    async def get(self, tenant_id: str, alert_id: str) -> Item:
        """One stored alert, superseded or not. NotFoundError for an id that the tenant has no alert of."""
        try:
            found = await self._store.read(ALERTS, (tenant_id,), alert_id)
        except NotFound:
            found = {}
        if found.get("kind") != ALERT_KIND:
            raise NotFoundError("not_found", "There is no such alert.")
        return found

    def shown(self, alert: Item) -> dict[str, Any]:
        """An alert as the API shows it."""
        return alerts.shown(alert)
