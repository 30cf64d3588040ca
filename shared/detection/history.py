"""What a pattern looks at: the events of one key within a span of event time, from indexed queries of bounded size."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from shared.core.clock import parse_rfc3339, period_of, rfc3339
from shared.detection import familiarity
from shared.detection.engine import MAX_AHEAD, MAX_BEHIND, observe
from shared.detection.familiarity import Sighting
from shared.detection.model import Observed, Pattern, Selector, Span
from shared.detection.rules import Rules
from shared.storage.containers import AUDIT_EVENTS, PERIOD, SIGNALS
from shared.storage.documents import MAX_PAGE, AnyOf, DocumentStore, Eq, Filter, In, Item, Query, Range, pages
from shared.telemetry import get_log

_log = get_log(__name__)

MINUTE = timedelta(minutes=1)
_FIELDS = ("id", "tenant_id", "type", "outcome", "occurred_at", "recorded_at", "erased_at", "ip_key", "actor", "target")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one key is looked at. The defaults are the product's; tests make them small."""

    per_minute: int = 1000
    """Events of one key and selector in one minute of event time."""
    signals_per_minute: int = 100
    """Failed sign-ins of one address in one minute, across tenants."""
    alerts_per_hour: int = 150
    """Alerts of one pattern with `first_seen` in one hour that are shown."""
    hot_from: int = 2000
    """Events in one view from which a key is summed up by the minute."""
    at_once: int = 1000
    """Events of a key that are asked for by one query, whatever their kind; of more, each kind by its own."""


class TooMany(Exception):
    """More events than were asked for at most."""


class Source(Protocol):
    """Where the events of one key are."""

    @property
    def per_minute(self) -> int:
        """Of how many events in one minute it tells."""
        ...

    async def load(self, span: Span, most: int | None = None) -> list[Observed]:
        """The events within a span, by time and id: of each minute and selector the first `per_minute`, provided that
        the span covers the minute. TooMany for more than `most`."""
        ...


def minute_of(moment: datetime) -> datetime:
    """The minute of event time that a moment lies in."""
    return moment.replace(second=0, microsecond=0)


def thinned(observed: Sequence[Observed], per_minute: int) -> list[Observed]:
    """The first events of each minute and selector, in order."""
    if len(observed) <= per_minute:
        return list(observed)
    seen: Counter[tuple[datetime, int]] = Counter()
    kept = []
    for each in observed:
        place = (minute_of(each.at), each.selector)
        seen[place] += 1
        if seen[place] <= per_minute:
            kept.append(each)
    return kept


class Trail:
    """The events of one key of one tenant. Memory: a few hundred bytes per event."""

    def __init__(
        self, store: DocumentStore, tenant_id: str, pattern: Pattern[Any], key: str, rules: Rules, limits: Limits
    ) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._pattern = pattern
        self._key = key
        self._rules = rules
        self._ways = 2 if rules.has_odd_times else 1
        self._at_once = limits.at_once if len(pattern.selectors) > 1 else 0
        """How many events of all kinds are asked for together; none once there were more."""
        self._fields = (*_FIELDS, *pattern.fields)
        self.per_minute = limits.per_minute

    async def load(self, span: Span, most: int | None = None) -> list[Observed]:
        """As `Source.load`."""
        found = await self._all(span) if self._at_once else None
        if found is None:
            self._at_once = 0
            found = {}
            for selector in self._pattern.selectors:
                for where, order_by in _ways((selector,), self._pattern.key_path, self._key, span)[: self._ways]:
                    reading = _Reading(self._store, (self._tenant_id,), self._of_key, self.per_minute, found, most)
                    await reading.read(AUDIT_EVENTS, where, order_by, span, self._fields)
        if most is not None and len(found) > most:
            raise TooMany
        return thinned(sorted(found.values()), self.per_minute)

    async def _all(self, span: Span) -> dict[str, Observed] | None:
        """All events within a span by one query, whatever their kind; None when they are more than a page."""
        found: dict[str, Observed] = {}
        for where, order_by in _ways(self._pattern.selectors, self._pattern.key_path, self._key, span)[: self._ways]:
            query = Query(where, order_by=order_by, limit=self._at_once, fields=self._fields)
            page = await self._store.query(AUDIT_EVENTS, (self._tenant_id,), query)
            if page.next is not None:
                return None
            seen = [each for each in map(self._of_key, page.items) if each is not None and span.holds(each.at)]
            found |= {each.id: each for each in seen}
        return found

    def _of_key(self, event: Item) -> Observed | None:
        try:
            seen = observe(self._pattern, event)
            if seen is None or seen[0] != self._key or self._rules.exempts(event):
                return None
        except Exception as error:  # noqa: BLE001 - its own delivery dead-letters it; its neighbors are still evaluated
            _log.warning("event_not_evaluated", event_id=str(event.get("id")), error_type=type(error).__qualname__)
            return None
        return seen[1]

    async def sightings(self, span: Span) -> list[Sighting]:
        """The latest sign-ins of the account within a span, its registration among them."""
        found: dict[str, Sighting] = {}
        for selector in familiarity.SELECTORS:
            for where, order_by in _ways((selector,), "target.id", self._key, span)[: self._ways]:
                fields = (*_FIELDS, *familiarity.FIELDS)
                query = Query(where, order_by=order_by, descending=True, limit=MAX_PAGE, fields=fields)
                read = 0
                async for events in pages(self._store, AUDIT_EVENTS, (self._tenant_id,), query):
                    found |= {each.id: each for each in map(_sighting, events) if each and span.holds(each.at)}
                    read += len(events)
                    if read >= familiarity.MOST:
                        break
        return familiarity.latest(found.values())


class Signals:
    """The failed sign-ins of one address: of all tenants, or of one."""

    def __init__(self, store: DocumentStore, ip_key: str, limits: Limits, tenant_id: str | None = None) -> None:
        self._store = store
        self._ip_key = ip_key
        self._tenant_id = tenant_id
        self.per_minute = limits.signals_per_minute

    async def load(self, span: Span, most: int | None = None) -> list[Observed]:
        """As `Source.load`."""
        found: dict[str, Observed] = {}
        reading = _Reading(self._store, (self._ip_key,), _signal, self.per_minute, found, most)
        where: tuple[Filter, ...] = (Range("at", ge=rfc3339(span.start), le=rfc3339(span.end)),)
        if self._tenant_id is not None:
            where = (*where, Eq("tenant_id", self._tenant_id))
        await reading.read(SIGNALS, where, "at", span, ("id", "tenant_id", "account"))
        return thinned(sorted(found.values()), self.per_minute)


def signal_of(event: Item, ip_key: str, observed: Observed) -> Item:
    """What the consumer keeps of a failed sign-in for all tenants to be counted together."""
    return {
        "id": observed.id,
        "ip_key": ip_key,
        "tenant_id": event["tenant_id"],
        "account": observed.fact,
        "at": rfc3339(observed.at),
    }


def _signal(item: Item) -> Observed:
    return Observed(parse_rfc3339(item["at"]), item["id"], item["account"], 0, item["tenant_id"])


def _sighting(event: Item) -> Sighting | None:
    try:
        return familiarity.sighting(event) if familiarity.is_sighting(event) else None
    except Exception as error:  # noqa: BLE001 - its own delivery dead-letters it
        _log.warning("event_not_evaluated", event_id=str(event.get("id")), error_type=type(error).__qualname__)
        return None


class _Reading:
    """One ordered query that leaves out what lies beyond the limit of a minute."""

    def __init__(
        self,
        store: DocumentStore,
        partition: tuple[str, ...],
        seen_in: Callable[[Item], Observed | None],
        per_minute: int,
        found: dict[str, Observed],
        most: int | None,
    ) -> None:
        self._store = store
        self._partition = partition
        self._seen_in = seen_in
        self._per_minute = per_minute
        self._found = found
        self._most = most
        self._counts: Counter[datetime] = Counter()

    async def read(
        self, container: Any, where: tuple[Filter, ...], order_by: str, span: Span, fields: tuple[str, ...]
    ) -> None:
        """Everything from the query, page by page; behind a full minute it goes on at the next."""
        query = Query(where, order_by=order_by, limit=MAX_PAGE, fields=(*fields, order_by))
        after: datetime | None = None
        while True:
            onward = query if after is None else _from(query, where, order_by, after)
            after = await self._pages(container, onward, order_by, span)
            if after is None or after > span.end:
                return

    async def _pages(self, container: Any, query: Query, order_by: str, span: Span) -> datetime | None:
        """Read on until the end (None), or until a minute is full; then where the next one begins."""
        async for items in pages(self._store, container, self._partition, query):
            for item in items:
                self._take(item, span)
            if self._most is not None and len(self._found) > self._most:
                raise TooMany
            if items:
                last = minute_of(parse_rfc3339(items[-1][order_by]))
                if self._counts[last] >= self._per_minute:
                    return last + MINUTE
        return None

    def _take(self, item: Item, span: Span) -> None:
        seen = self._seen_in(item)
        if seen is None or not span.holds(seen.at) or seen.id in self._found:
            return
        minute = minute_of(seen.at)
        self._counts[minute] += 1
        self._found[seen.id] = seen


def _from(query: Query, where: tuple[Filter, ...], order_by: str, start: datetime) -> Query:
    further = (*where, Range(order_by, ge=rfc3339(start)))
    return Query(further, order_by=order_by, limit=query.limit, fields=query.fields)


def _ways(
    selectors: Sequence[Selector], key_path: str, key: str, span: Span
) -> tuple[tuple[tuple[Filter, ...], str], tuple[tuple[Filter, ...], str]]:
    """Events by `occurred_at`; then those whose `occurred_at` lies elsewhere, so that `recorded_at` may be their time.

    Of the latter only what can be implausible is asked for: next to nothing is. With several selectors what is found
    may be of one's type and another's outcome. What was recorded too long before or after is none of either.
    """
    start, end = rfc3339(span.start), rfc3339(span.end)
    types, outcomes = (tuple(dict.fromkeys(each[n] for each in selectors)) for n in (0, 1))
    plausible = Range(PERIOD, ge=period_of(span.start - MAX_AHEAD), le=period_of(span.end + MAX_BEHIND))
    recorded = Range(PERIOD, ge=period_of(span.start), le=period_of(span.end))
    elsewhere = AnyOf((Range("occurred_at", lt=rfc3339(span.end - MAX_BEHIND)), Range("occurred_at", gt=end)))
    ours = (_among("type", types), Eq(key_path, key), _among("outcome", outcomes))
    return (
        ((*ours, Range("occurred_at", ge=start, le=end), plausible), "occurred_at"),
        ((*ours, Range("recorded_at", ge=start, le=end), elsewhere, recorded), "recorded_at"),
    )


def _among(path: str, values: tuple[str, ...]) -> Filter:
    return Eq(path, values[0]) if len(values) == 1 else In(path, values)
