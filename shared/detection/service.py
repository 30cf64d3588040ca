"""Detection as a service: the consumer of stored events that keeps the alerts."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from shared.audit.dead_letters import DeadLetters
from shared.audit.model import PLATFORM_TENANT
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, parse_rfc3339
from shared.core.errors import Unready
from shared.core.ids import IdFactory
from shared.detection import familiarity
from shared.detection.alerts import Series
from shared.detection.engine import MAX_AHEAD, is_odd, observe
from shared.detection.episodes import LONGEST, reach
from shared.detection.evaluation import CONSUMER, Evaluation, Touched
from shared.detection.history import Limits, signal_of
from shared.detection.model import Observed, Pattern, Span, Wanted
from shared.detection.reached import note_reached
from shared.detection.registry import all_patterns
from shared.detection.rules import NoRules, RulesSource
from shared.detection.traits import KnownRules, Traits
from shared.storage.containers import SIGNALS
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import Conflict, StoreError, TooLarge
from shared.telemetry import get_log

_log = get_log(__name__)

PROMPT = timedelta(minutes=1)
"""Within this time after its recording an event is stored, and as a rule delivered."""
SIGNAL_DAYS = timedelta(seconds=SIGNALS.default_ttl_seconds or 0)
"""How long a signal is kept from its delivery on (docs/adr/0036)."""


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
        *,
        patterns: Mapping[str, Pattern[Any]] | None = None,
        rules: RulesSource | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._dead_letters = dead_letters
        self._clock = clock
        self._wanted = Wanted((all_patterns() if patterns is None else patterns).values())
        self._rules = rules or NoRules()
        self._traits = Traits(store)
        self._evaluation = Evaluation(store, outbox, recorder, clock, ids, limits or Limits(), self._traits)
        dead_letters.on(CONSUMER, self.handle)

    async def handle(self, item: Item) -> None:
        """Bring the alerts up to date with one stored event. Whatever keeps it from that is raised."""
        rules = KnownRules(self._rules, self._traits)
        found: dict[Series, Touched] = {}
        await self._sort(item, rules, found)
        for series, touched in found.items():
            await self._evaluation.run(series, rules, touched)

    async def consume(self, items: Sequence[Item]) -> None:
        """Bring the alerts up to date with a batch of stored events, of any tenants.

        An event that cannot be handled goes to the dead letters. StoreError, Unready: deliver the batch again.
        """
        rules = KnownRules(self._rules, self._traits)
        kept: set[str] = set()
        for series, touched in (await self._sorted_out(items, rules)).items():
            try:
                await self._evaluation.run(series, rules, touched)
            except (StoreError, Unready) as error:
                if not isinstance(error, TooLarge):  # which no repetition would change
                    raise
                await self._keep(touched, error, kept)
            except Exception as error:  # noqa: BLE001 - the other keys of the batch must not be held up
                await self._keep(touched, error, kept)
        await note_reached(self._store, items)

    async def _keep(self, touched: Touched, error: Exception, kept: set[str]) -> None:
        """Dead-letter a series' events, each once however many patterns fail on it."""
        for item in touched.items:
            if item["id"] not in kept:
                kept.add(item["id"])
                await self._dead_letters.put(CONSUMER, item, error)

    async def _sorted_out(self, items: Sequence[Item], rules: KnownRules) -> dict[Series, Touched]:
        found: dict[Series, Touched] = {}
        for item in items:
            try:
                await self._sort(item, rules, found)
            except (StoreError, Unready):
                raise
            except Exception as error:  # noqa: BLE001 - poison is kept, the rest of the batch goes on
                await self._dead_letters.put(CONSUMER, item, error)
        return found

    async def _sort(self, item: Item, rules: KnownRules, found: dict[Series, Touched]) -> None:
        """Put an event to the series that it is part of; all of them, or none when it is not formed as one."""
        kind, tenant_id = item["type"], item["tenant_id"]
        if not isinstance(kind, str) or not isinstance(tenant_id, str) or not tenant_id:
            raise ValueError("an event has a type and a tenant")
        patterns = self._wanted.by_selector.get((kind, item["outcome"]), ())
        seen = [(pattern, *place) for pattern in patterns if (place := observe(pattern, item))]
        sighted = self._sighted(item)
        if not seen and not sighted:
            return
        exempt = (await rules.of(tenant_id)).exempts(item)
        if is_odd(item):
            await rules.note_odd_times(tenant_id)
        for pattern, key, observed in seen:
            Span.around(observed.at, LONGEST * 2)  # OverflowError outside the calendar
            if pattern.across_tenants:
                if not await self._signal(pattern, item, key, observed):
                    continue
                tenant_id = PLATFORM_TENANT
            elif exempt:
                continue
            touched = found.setdefault(Series(tenant_id, pattern, key), Touched())
            touched.items.append(item)
            touched.moments.append(observed.at)
            tenant_id = item["tenant_id"]
        for pattern, key, at in sighted:
            touched = found.setdefault(Series(tenant_id, pattern, key), Touched())
            touched.sighted.append(at)
            touched.is_late |= self._clock.now() - parse_rfc3339(item["recorded_at"]) > PROMPT
            if item not in touched.items:
                touched.items.append(item)

    def _sighted(self, item: Item) -> list[tuple[Pattern[Any], str, datetime]]:
        """The patterns for which an event may make old what was news, and their key."""
        if not familiarity.is_sighting(item) or not item.get("target"):
            return []
        key, at = item["target"]["id"], familiarity.sighting(item).at
        return [(pattern, key, at) for pattern in self._wanted.asking]

    async def _signal(self, pattern: Pattern[Any], item: Item, ip_key: str, observed: Observed) -> bool:
        """Keep a failed sign-in for all tenants to be counted together; False when it is too old to be."""
        looked_at = observed.at - reach(pattern.defaults.window)
        if looked_at - MAX_AHEAD <= self._clock.now() - SIGNAL_DAYS:
            # Others of its attack may have expired: what is left of them would tell another story.
            _log.warning("signal_too_old", event_id=item["id"])
            return False
        try:
            await self._store.create(SIGNALS, (ip_key,), signal_of(item, ip_key, observed))
        except Conflict:
            _log.info("signal_known", event_id=item["id"])
        return True
