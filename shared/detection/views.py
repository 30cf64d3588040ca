"""What is known of one key around new events: read as a whole where that is little, from digests where it is not.

Both kinds of view give the same crossing points with the same positions (docs/adr/0021).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shared.core.clock import parse_rfc3339, rfc3339
from shared.detection import digests, familiarity
from shared.detection.alerts import Finding, Series
from shared.detection.digests import HOUR, Minutes, Positions, full_minutes, hour_of
from shared.detection.episodes import MAX_MEMBERS, Episode, merged
from shared.detection.history import MINUTE, Limits, Signals, Source, TooMany, Trail, minute_of
from shared.detection.model import Crossing, Observed, Parameters, Span
from shared.detection.recent import Kept, Recent
from shared.detection.rules import Rules
from shared.storage.containers import ALERTS
from shared.storage.documents import MAX_PAGE, DocumentStore, Eq, Item, Query, Range, pages

_TICK = timedelta(microseconds=1)
DIGEST_KIND = "alert_digest"
DIGEST_SECONDS = 10 * 86_400


def aligned(span: Span, unit: timedelta = MINUTE) -> Span:
    """A span of whole minutes, or hours, that holds another."""
    floor = minute_of if unit == MINUTE else hour_of
    return Span(floor(span.start), floor(span.end) + unit - _TICK)


def crosses_after(crossings: Sequence[Crossing], moments: Sequence[datetime], window: timedelta) -> bool:
    """Whether one of these crossing points lies within a window after one of these moments."""
    return any(moment <= crossing.at <= moment + window for crossing in crossings for moment in moments)


@dataclass(frozen=True, slots=True)
class Evaluator:
    """One key under the rules of its tenant: from events to crossing points."""

    store: DocumentStore
    series: Series
    rules: Rules
    limits: Limits
    parameters: Parameters
    source: Source

    @classmethod
    def of(cls, store: DocumentStore, series: Series, rules: Rules, limits: Limits) -> "Evaluator":
        """The evaluator of a series."""
        pattern = series.pattern
        source: Source
        if pattern.across_tenants:
            source = Signals(store, series.key, limits)
        else:
            source = Trail(store, series.tenant_id, pattern, series.key, rules, limits)
        return cls(store, series, rules, limits, rules.parameters(pattern), source)

    async def crossings(self, observed: Sequence[Observed]) -> list[Crossing]:
        """The crossing points among the events of the key, without those that are muted."""
        pattern = self.series.pattern
        asked = familiarity.asked(pattern, observed, self.parameters)
        seen = []
        if asked is not None and isinstance(self.source, Trail):
            seen = await self.source.sightings(asked)
        found = familiarity.answered(pattern, observed, self.parameters, seen)
        if pattern.across_tenants or not self.rules.mutes:
            return found
        return [each for each in found if not self.rules.mutes_at(pattern, each.at)]

    async def crosses(self, moments: Sequence[datetime]) -> set[str] | None:
        """Whether anything crosses within a window after one of these moments: the tenants around it, else None.

        Nothing else can be changed by events of these moments.
        """
        window = self.parameters.window
        found: set[str] = set()
        crossed = False
        for span in merged([Span(moment - window, moment + window) for moment in moments]):
            observed = await self.source.load(aligned(span))
            within = [moment for moment in moments if span.holds(moment)]
            crossed |= crosses_after(await self.crossings(observed), within, window)
            found |= {each.group for each in observed}
        return found if crossed else None


@dataclass(slots=True)
class View:
    """Crossing points with positions, and what alerts tell beside them."""

    evaluator: Evaluator
    crossings: list[Crossing]
    full: set[datetime]
    groups: set[str]
    observed: Sequence[Observed] | None
    """All events, where they were read."""
    minutes: Minutes = field(default_factory=dict)
    positions: Positions | None = None
    dirty: list[Span] = field(default_factory=list)
    near: set[str] = field(default_factory=set)
    """The tenants around new events, where the events around them were not read before."""

    def is_minimum(self, episode: Episode) -> bool:
        """Whether an episode may have more members than were counted."""
        return any(minute_of(episode.first_seen) <= minute <= episode.last_seen for minute in self.full)

    async def finding(self, episode: Episode, stored: Item | None) -> Finding:
        """What an episode's alert tells. `stored`: the alert as it is."""
        ids, until = await self._names(episode, stored)
        first, last = episode.first_seen, episode.last_seen
        return Finding(
            episode, episode.severity, first, last, episode.count, ids, until, is_minimum=self.is_minimum(episode)
        )

    async def _names(self, episode: Episode, stored: Item | None) -> tuple[tuple[str, ...], str | None]:
        """The ids of an episode's first members, and the time of the last one named where there are more."""
        named = min(episode.count, MAX_MEMBERS)
        if self.observed is not None:
            members = self.observed[episode.since : episode.since + named]
        elif stored is not None and self._still_named(episode, stored):
            return tuple(stored["event_ids"]), stored.get("named_until")
        else:
            members = await self._load_members(episode, named)
        until = rfc3339(members[-1].at) if episode.count > MAX_MEMBERS else None
        return tuple(each.id for each in members), until

    def _still_named(self, episode: Episode, stored: Item) -> bool:
        """Whether the ids of a stored alert of the episode cannot have changed."""
        if parse_rfc3339(stored["first_seen"]) != episode.first_seen:
            return False
        until = stored.get("named_until")
        if until is None and stored["count"] != episode.count:
            return False
        known = Span(episode.first_seen, episode.last_seen if until is None else parse_rfc3339(until))
        return not any(span.start <= known.end and known.start <= span.end for span in self.dirty)

    async def _load_members(self, episode: Episode, named: int) -> list[Observed]:
        if self.positions is None:
            raise ValueError("a view from digests has positions")
        start = minute_of(episode.first_seen)
        end = self.positions.minute_at(episode.since + named - 1) + MINUTE - _TICK
        observed = await self.evaluator.source.load(Span(start, end))
        place = episode.since - self.positions.begin(start)
        return observed[place : place + named]


async def read_view(evaluator: Evaluator, span: Span) -> View:
    """A view of everything within a span. TooMany for a key that is hot."""
    whole = aligned(span)
    observed = await evaluator.source.load(whole, evaluator.limits.hot_from)
    crossings = [each for each in await evaluator.crossings(observed) if span.start <= each.at <= span.end]
    full = full_minutes(observed, evaluator.source.per_minute)
    return View(evaluator, crossings, full, {each.group for each in observed}, observed)


class Digested:
    """The view of a hot key: digests that are there, brought up to date around new events."""

    def __init__(self, evaluator: Evaluator, span: Span, recent: Recent, version: int) -> None:
        self._recent = recent
        self._version = version
        self.last: Kept | None = None
        """The last events that were read, for the next batch."""
        self._evaluator = evaluator
        self._series = evaluator.series
        self._store = evaluator.store
        self._rules = evaluator.rules.fingerprint(evaluator.series.pattern)
        self._whole = aligned(span, HOUR)
        self._minutes: Minutes = {}
        self._stored: dict[datetime, Any] = {}

    async def view(self, dirty: Sequence[Span], parted_at: Sequence[datetime]) -> tuple[View, list[Item]]:
        """The view, and the digests that have to be written. `dirty`: where crossing points may have changed."""
        await self._read()
        spans = [*map(aligned, dirty), *self._missing()]
        stale = [Span(max(each.start, self._whole.start), min(each.end, self._whole.end)) for each in spans]
        # One tick longer, so that neighbors become one.
        stale = merged([Span(each.start, each.end + _TICK) for each in stale if each.start <= each.end])
        stale = [Span(each.start, each.end - _TICK) for each in stale]
        for each in stale:
            await self._recompute(each)
        changed = self._changed(stale)
        await self._look_into([each for each in parted_at if self._whole.holds(each)])
        positions = Positions.of(self._minutes)
        exact = self._whole.start + self._evaluator.parameters.window
        crossings = digests.crossings_of(self._minutes, positions, exact)
        full = {minute for minute, known in self._minutes.items() if known.is_full}
        groups = {group for known in self._minutes.values() for group in known.groups}
        near = self._near(dirty)
        return View(self._evaluator, crossings, full, groups, None, self._minutes, positions, stale, near), changed

    def _near(self, dirty: Sequence[Span]) -> set[str]:
        """The tenants that have events in the windows around new ones."""
        window = self._evaluator.parameters.window
        around = merged([Span(each.start - window - MINUTE, each.end) for each in dirty])
        held = (k.groups for minute, k in self._minutes.items() if any(span.holds(minute) for span in around))
        return {group for groups in held for group in groups}

    async def _read(self) -> None:
        within = Range("first_seen", ge=rfc3339(self._whole.start), le=rfc3339(self._whole.end))
        where = (Eq("kind", DIGEST_KIND), Eq("series", self._series.name), within)
        query = Query(where, order_by="first_seen", limit=MAX_PAGE)
        async for items in pages(self._store, ALERTS, (self._series.tenant_id,), query):
            for item in items:
                if item["rules"] == self._rules:
                    hour = parse_rfc3339(item["first_seen"])
                    self._stored[hour] = item["minutes"]
                    self._minutes |= digests.read(hour, item["minutes"])

    def _missing(self) -> list[Span]:
        hours = int((self._whole.end + _TICK - self._whole.start) / HOUR)
        every = [self._whole.start + n * HOUR for n in range(hours)]
        return [Span(hour, hour + HOUR - _TICK) for hour in every if hour not in self._stored]

    async def _recompute(self, span: Span, context: Sequence[Observed] | None = None) -> None:
        """Sum whole minutes up anew: at once if they hold little, else in halves, down to an hour."""
        source = self._evaluator.source
        before = minute_of(span.start - self._evaluator.parameters.window)
        if context is None:
            context = self._recent.find(self._series, self._version, before, span.start)
        if context is None:
            context = await source.load(Span(before, span.start - _TICK))
        most = None if span.end - span.start < HOUR else self._evaluator.limits.hot_from
        try:
            observed = await source.load(span, most)
        except TooMany:
            middle = minute_of(span.start + (span.end - span.start) / 2)
            await self._recompute(Span(span.start, middle - _TICK), context)
            await self._recompute(Span(middle, span.end))
            return
        observed = [*context, *observed]
        self._keep(Span(before, span.end), observed)
        crossings = [each for each in await self._evaluator.crossings(observed) if each.at >= span.start]
        self._minutes = {minute: known for minute, known in self._minutes.items() if not span.holds(minute)}
        self._minutes |= digests.summed_up(observed, crossings, span.start, self._evaluator.source.per_minute)

    def _keep(self, read: Span, observed: Sequence[Observed]) -> None:
        if observed and (self.last is None or read.end >= self.last.span.end):
            start = max(read.start, minute_of(observed[-1].at - self._evaluator.parameters.window) - MINUTE)
            self.last = Kept(self._version, Span(start, read.end), [each for each in observed if each.at >= start])

    def _changed(self, stale: Sequence[Span]) -> list[Item]:
        """The digests of hours that were summed up anew and hold something else now."""
        touched: dict[datetime, Minutes] = {hour: {} for hour in self._stored if _overlaps(hour, stale)}
        for minute, known in self._minutes.items():
            hour = hour_of(minute)
            if hour in touched or _overlaps(hour, stale):
                touched.setdefault(hour, {})[minute] = known
        return [
            self._digest(hour, told)
            for hour, minutes in sorted(touched.items())
            if (told := digests.written(hour, minutes)) != self._stored.get(hour)
        ]

    def _digest(self, hour: datetime, told: dict[str, Any]) -> Item:
        return {
            "id": self._series.digest_id(hour),
            "tenant_id": self._series.tenant_id,
            "kind": DIGEST_KIND,
            "series": self._series.name,
            "first_seen": rfc3339(hour),
            "rules": self._rules,
            "minutes": told,
            "ttl": DIGEST_SECONDS,
        }

    async def _look_into(self, parted_at: Sequence[datetime]) -> None:
        """Every crossing point of the minutes in which an alert was closed, or a mute begins or ends."""
        source = self._evaluator.source
        for minute in {minute_of(each) for each in parted_at}:
            known = self._minutes.get(minute)
            if known is None or len(known.marks) < 2:
                continue
            before = minute_of(minute - self._evaluator.parameters.window)
            observed = await source.load(Span(before, minute + MINUTE - _TICK))
            crossings = [each for each in await self._evaluator.crossings(observed) if each.at >= minute]
            anew = digests.summed_up(observed, crossings, minute, source.per_minute, every=True)
            self._minutes[minute] = replace(known, marks=anew[minute].marks)


def _overlaps(hour: datetime, spans: Sequence[Span]) -> bool:
    return any(span.start < hour + HOUR and hour <= span.end for span in spans)
