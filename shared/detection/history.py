"""What a pattern looks at: the stored events of one key within a span of event time, from two indexed queries."""

from typing import Any

from shared.core.clock import rfc3339
from shared.detection.engine import MAX_BEHIND, event_time
from shared.detection.model import Observed, Pattern, Span
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import MAX_PAGE, AnyOf, DocumentStore, Eq, Item, Query, Range, pages
from shared.telemetry import get_log

_log = get_log(__name__)

_FIELDS = ("id", "type", "occurred_at", "recorded_at", "erased_at")


def observe(pattern: Pattern[Any], event: Item) -> tuple[str, Observed] | None:
    """The key of an event and what the pattern sees of it; None when the event is none of the pattern's.

    Erased events are nobody's. KeyError, TypeError or ValueError for an event that is not formed as one.
    """
    if event.get("erased_at") is not None or not pattern.matches(event):
        return None
    key = pattern.key(event)
    if key is None:
        return None
    if not isinstance(key, str) or not key:
        raise ValueError("a key is text")
    return key, Observed(event_time(event), event["id"], pattern.fact(event))


class EventHistory:
    """Reads the events that a pattern looks at. Memory: a few hundred bytes per matching event of the key."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    async def load(self, tenant_id: str, pattern: Pattern[Any], key: str, span: Span) -> list[Observed]:
        """All matching events of one key whose event time lies within `span`, by time and id."""
        found: dict[str, Observed] = {}
        for query in _queries(pattern, key, span):
            async for events in pages(self._store, AUDIT_EVENTS, (tenant_id,), query):
                for event in events:
                    observed = _of_key(pattern, key, event)
                    if observed is not None and span.start <= observed.at <= span.end:
                        found[observed.id] = observed
        return sorted(found.values(), key=lambda each: (each.at, each.id))


def _queries(pattern: Pattern[Any], key: str, span: Span) -> list[Query]:
    """Events by `occurred_at`; then those whose `occurred_at` lies elsewhere, so that `recorded_at` may be their time.

    Of the latter only what can be implausible is asked for: next to nothing is.
    """
    start, end = rfc3339(span.start), rfc3339(span.end)
    elsewhere = AnyOf((Range("occurred_at", lt=rfc3339(span.end - MAX_BEHIND)), Range("occurred_at", gt=end)))
    fields = (*_FIELDS, *pattern.fields)
    queries: list[Query] = []
    for each in pattern.types:
        ours = (Eq("type", each), Eq(pattern.key_path, key))
        for where, order_by in (
            ((*ours, Range("occurred_at", ge=start, le=end)), "occurred_at"),
            ((*ours, Range("recorded_at", ge=start, le=end), elsewhere), "recorded_at"),
        ):
            queries.append(Query(where, order_by=order_by, limit=MAX_PAGE, fields=fields))
    return queries


def _of_key(pattern: Pattern[Any], key: str, event: Item) -> Observed | None:
    try:
        seen = observe(pattern, event)
    except Exception as error:  # noqa: BLE001 - its own delivery dead-letters it; its neighbors are still evaluated
        _log.warning("event_not_evaluated", event_id=str(event.get("id")), error_type=type(error).__qualname__)
        return None
    return seen[1] if seen is not None and seen[0] == key else None
