"""Backtest: what other parameters would have found in stored history, beside those of today and the alerts there are.

Nothing is written. Today's parameters reproduce the alerts that the feed raised, unless events were erased since, or
the organization changed its thresholds, mutes or allow-lists since: both are said.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import parse_rfc3339, rfc3339
from shared.detection import alerts, familiarity
from shared.detection.alerts import ALERT_KIND, Series
from shared.detection.engine import MAX_AHEAD, MAX_BEHIND
from shared.detection.episodes import Closing, reach
from shared.detection.model import Pattern, Span
from shared.detection.replay import Found, History
from shared.detection.rules import RulesSource
from shared.storage.containers import ALERTS, AUDIT_EVENTS
from shared.storage.documents import MAX_PAGE, DocumentStore, Eq, In, Item, Query, Range, pages

type Told = Callable[[int], None]
"""Told, now and then, how many events were read."""

_FIELDS = (
    *("id", "tenant_id", "type", "outcome", "reason", "occurred_at", "recorded_at", "erased_at", "actor", "target"),
    *("context", "attributes", "data_class", "record_count", "actor_key", "ip_key", "ua_key"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a backtest of one tenant found; alerts whose `first_seen` lies in the range."""

    tenant_id: str
    events: int
    erased: int
    reconfigured: int
    live: Mapping[str, Item]
    today: Mapping[str, Found]
    proposed: Mapping[str, Found]

    @property
    def added(self) -> list[Found]:
        """What the proposed parameters find and today's do not."""
        return [found for name, found in self.proposed.items() if name not in self.today]

    @property
    def removed(self) -> list[Found]:
        """What today's parameters find and the proposed do not."""
        return [found for name, found in self.today.items() if name not in self.proposed]

    @property
    def is_reproduced(self) -> bool:
        """Whether today's parameters find just the alerts that there are, each with the same evidence."""
        return self.live.keys() == self.today.keys() and not self.different

    @property
    def different(self) -> list[str]:
        """The ids of alerts that there are and that are found, with other evidence."""
        return sorted(
            name
            for name in self.live.keys() & self.today.keys()
            if any(self.live[name].get(part) != value for part, value in self.today[name].finding.evidence.items())
        )


class Backtest:
    """Runs the patterns over the stored history of one tenant."""

    def __init__(self, store: DocumentStore, rules: RulesSource, patterns: Mapping[str, Pattern[Any]]) -> None:
        self._store = store
        self._rules = rules
        self._patterns = patterns

    async def run(
        self,
        tenant_id: str,
        span: Span,
        overrides: Mapping[str, Mapping[str, int]],
        others: Iterable[str] = (),
        told: Told = lambda _: None,
    ) -> Result:
        """Replay a tenant's events. `overrides`: parameters by pattern. `others`: the other tenants, whose failed
        sign-ins count toward credential_stuffing."""
        rules = await self._rules.rules_of(tenant_id)
        proposed = replace(rules, thresholds=_merged(rules.thresholds, overrides))
        histories = [History(self._patterns, {tenant_id: each}) for each in (rules, proposed)]
        margin = max(reach(rules.parameters(pattern).window) for pattern in self._patterns.values())
        wide = Span(span.start - margin - familiarity.LONGEST, span.end + margin)
        near = Span(span.start - margin, span.end + margin)
        async for events in self._events(tenant_id, wide, told):
            for history in histories:
                history.add(events)
        if any(pattern.across_tenants for pattern in self._patterns.values()):
            for other in {PLATFORM_TENANT, *others} - {tenant_id}:
                async for events in self._failed(other, near):
                    for history in histories:
                        history.add(events)
        reconfigured = await self._reconfigured(tenant_id, near.start)
        stored = await self._stored(tenant_id, near)  # closings part what began before the range, too
        closings = _closings(stored, self._patterns)
        today, then = (
            {
                each.alert_id: each
                for each in history.alerts(closings)
                if each.tenant_id == tenant_id and _is_within(span, each.finding.first_seen)
            }
            for history in histories
        )
        current = {
            each["id"]: each
            for each in stored
            if each.get("superseded_by") is None and _is_within(span, parse_rfc3339(each["first_seen"]))
        }
        return Result(tenant_id, histories[0].events, histories[0].erased, reconfigured, current, today, then)

    async def _events(self, tenant_id: str, span: Span, told: Told) -> AsyncIterator[list[Item]]:
        types = {kind for pattern in self._patterns.values() for kind, _ in pattern.selectors}
        types |= {kind for kind, _ in familiarity.SELECTORS}
        within = _recorded(span)
        query = Query((In("type", tuple(sorted(types))), within), "recorded_at", limit=MAX_PAGE, fields=_FIELDS)
        read = 0
        async for events in pages(self._store, AUDIT_EVENTS, (tenant_id,), query):
            read += len(events)
            told(read)
            yield events

    async def _failed(self, tenant_id: str, span: Span) -> AsyncIterator[list[Item]]:
        where = (Eq("type", "auth.login"), Eq("outcome", "failure"), _recorded(span))
        query = Query(where, "recorded_at", limit=MAX_PAGE, fields=_FIELDS)
        async for events in pages(self._store, AUDIT_EVENTS, (tenant_id,), query):
            yield events

    async def _reconfigured(self, tenant_id: str, since: datetime) -> int:
        """How often the tenant changed, since then and until now, what detection goes by: the rules are those of now,
        whenever the events happened."""
        where = (Eq("type", "config.change"), Range("recorded_at", ge=rfc3339(since)))
        query = Query(where, "recorded_at", limit=MAX_PAGE, fields=("id", "attributes"))
        found = 0
        async for events in pages(self._store, AUDIT_EVENTS, (tenant_id,), query):
            found += sum(_is_reconfiguration(event) for event in events)
        return found

    async def _stored(self, tenant_id: str, span: Span) -> list[Item]:
        """The alerts there are, those beyond the limit of an hour included, but not those that count these."""
        seen = Range("first_seen", ge=rfc3339(span.start), le=rfc3339(span.end))
        query = Query((Eq("kind", ALERT_KIND), seen), order_by="first_seen", limit=MAX_PAGE)
        found = [each async for page in pages(self._store, ALERTS, (tenant_id,), query) for each in page]
        return [each for each in found if each["pattern"] in self._patterns and "crossed" in each]


def _recorded(span: Span) -> Range:
    """Everything whose event time can lie in a span."""
    return Range("recorded_at", ge=rfc3339(span.start - MAX_AHEAD), le=rfc3339(span.end + MAX_BEHIND))


def _is_within(span: Span, moment: datetime) -> bool:
    """Whether a moment lies in a range, whose end is excluded."""
    return span.start <= moment < span.end


def _is_reconfiguration(event: Item) -> bool:
    changed = (event.get("attributes") or {}).get("changed_fields") or ()
    return not {"thresholds", "mutes", "allow_lists"}.isdisjoint(changed)


def _merged(held: Mapping[str, Mapping[str, int]], given: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {name: {**held.get(name, {}), **given.get(name, {})} for name in {*held, *given}}


def _closings(live: Sequence[Item], patterns: Mapping[str, Pattern[Any]]) -> dict[Series, list[Closing]]:
    by_series: dict[Series, list[Item]] = {}
    for alert in live:
        series = Series(alert["tenant_id"], patterns[alert["pattern"]], alert["key"])
        by_series.setdefault(series, []).append(alert)
    return {series: alerts.closings_of(each) for series, each in by_series.items()}


@dataclass(frozen=True, slots=True)
class Truth:
    """An attack that is known to have happened; None stands for any. `also`: nobody has to find it by this pattern, but
    who does is right."""

    pattern: str
    key: str | None
    start: datetime
    end: datetime
    tenant_id: str | None = None
    also: bool = False

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Truth":
        """From JSON: `pattern`, `from`, `to`, and `key` and `tenant_id` where they are known."""
        start, end = parse_rfc3339(told["from"]), parse_rfc3339(told["to"])
        return cls(told["pattern"], told.get("key"), start, end, told.get("tenant_id"))

    def is_shown_by(self, found: Found) -> bool:
        """Whether an alert is of this attack."""
        finding = found.finding
        return (
            found.pattern == self.pattern
            and self.key in (None, found.key)
            and self.tenant_id in (None, found.tenant_id)
            and finding.first_seen <= self.end + timedelta(minutes=1)
            and finding.last_seen >= self.start - timedelta(minutes=1)
        )


def precision_and_recall(found: Sequence[Found], truths: Sequence[Truth]) -> tuple[float, float]:
    """The share of alerts that show an attack, and the share of attacks that an alert shows. 1 of none."""
    right = sum(any(truth.is_shown_by(each) for truth in truths) for each in found)
    needed = [truth for truth in truths if not truth.also]
    caught = sum(any(truth.is_shown_by(each) for each in found) for truth in needed)
    return (right / len(found) if found else 1.0), (caught / len(needed) if needed else 1.0)
