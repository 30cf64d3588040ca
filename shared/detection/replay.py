"""The patterns over a whole history at once, in memory: the functions that the feed runs, each event read once.

What the feed raises for a set of events, a replay of the set finds: same ids, members and severities.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.audit.model import PLATFORM_TENANT
from shared.detection import familiarity
from shared.detection.alerts import Finding, Series
from shared.detection.digests import full_minutes
from shared.detection.engine import event_time, observe
from shared.detection.episodes import Closing, episodes
from shared.detection.familiarity import Sighting
from shared.detection.history import Limits, thinned
from shared.detection.model import Observed, Pattern, Span, Wanted
from shared.detection.rules import NO_RULES, Rules
from shared.storage.documents import Item

_FOREVER = Span(datetime.fromisoformat("1000-01-01T00:00:00Z"), datetime.fromisoformat("8999-01-01T00:00:00Z"))


@dataclass(frozen=True, slots=True)
class Found:
    """An alert that a replay finds."""

    tenant_id: str
    pattern: str
    key: str
    alert_id: str
    finding: Finding


@dataclass(slots=True)
class History:
    """What the patterns see of the events that were given, each once."""

    patterns: Mapping[str, Pattern[Any]]
    rules: Mapping[str, Rules] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    events: int = 0
    erased: int = 0
    unreadable: int = 0
    _observed: dict[Series, dict[str, Observed]] = field(default_factory=dict)
    _sightings: dict[tuple[str, str], dict[str, Sighting]] = field(default_factory=dict)
    _wanted: Wanted = field(init=False)

    def __post_init__(self) -> None:
        self._wanted = Wanted(self.patterns.values())

    def add(self, events: Iterable[Item]) -> None:
        """Take events in, in any order, each as often as it comes."""
        for event in events:
            self.events += 1
            try:
                self._take(event)
            except (KeyError, TypeError, ValueError, AttributeError):  # what the feed would dead-letter
                self.unreadable += 1

    def _take(self, event: Item) -> None:
        if event.get("erased_at") is not None:
            self.erased += 1
            return
        tenant_id, selector = event["tenant_id"], (event["type"], event["outcome"])
        patterns = self._wanted.by_selector.get(selector, ())
        if not patterns and selector not in familiarity.SELECTORS:
            return
        at = event_time(event)
        exempt = self.rules.get(tenant_id, NO_RULES).exempts(event)
        for pattern in patterns:
            seen = observe(pattern, event, at)
            if seen is None or (exempt and not pattern.across_tenants):
                continue
            whose = PLATFORM_TENANT if pattern.across_tenants else tenant_id
            self._observed.setdefault(Series(whose, pattern, seen[0]), {})[seen[1].id] = seen[1]
        if selector in familiarity.SELECTORS and event.get("target"):
            known = self._sightings.setdefault((tenant_id, event["target"]["id"]), {})
            known[event["id"]] = familiarity.sighting(event)

    def alerts(self, closings: Mapping[Series, Sequence[Closing]] | None = None) -> list[Found]:
        """The alerts that the events raise, by tenant, pattern and time."""
        found = [each for series in self._observed for each in self._of(series, closings or {})]
        return sorted(found, key=lambda each: (each.tenant_id, each.pattern, each.finding.first_seen, each.alert_id))

    def _of(self, series: Series, closings: Mapping[Series, Sequence[Closing]]) -> list[Found]:
        pattern, rules = series.pattern, self.rules.get(series.tenant_id, NO_RULES)
        limit = self.limits.signals_per_minute if pattern.across_tenants else self.limits.per_minute
        observed = thinned(sorted(self._observed[series].values()), limit)
        parameters = rules.parameters(pattern)
        seen = familiarity.latest(self._sightings.get((series.tenant_id, series.key), {}).values())
        crossings = familiarity.answered(pattern, observed, parameters, seen)
        if not pattern.across_tenants:
            crossings = [each for each in crossings if not rules.mutes_at(pattern, each.at)]
        if not crossings:
            return []
        full = full_minutes(observed, limit)
        tenants = (
            {PLATFORM_TENANT, *(each.group for each in observed)} if pattern.across_tenants else {series.tenant_id}
        )
        found = []
        for tenant_id in tenants:
            mine = series.of(tenant_id)
            closed = closings.get(mine, ())
            theirs, told = self.rules.get(tenant_id, NO_RULES), crossings
            if tenant_id != series.tenant_id:
                told = [each for each in crossings if not theirs.hides(pattern, series.key, each.at)]
            for episode in episodes(told, span=_FOREVER, window=parameters.window, closings=closed):
                members = observed[episode.since : episode.position + 1]
                if tenant_id != series.tenant_id:
                    own = (each for each in members if each.group == tenant_id)
                    members = [each for each in own if not theirs.exempts_account(each.fact, each.at)]
                if members:
                    finding = Finding.of(episode, members, is_minimum=_cut(members, full))
                    found.append(Found(tenant_id, pattern.id, series.key, mine.alert_id(episode), finding))
        return found


def _cut(members: Sequence[Observed], full: set[datetime]) -> bool:
    first, last = members[0].at.replace(second=0, microsecond=0), members[-1].at
    return any(first <= minute <= last for minute in full)
