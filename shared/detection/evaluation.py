"""Evaluation of one key: what the alerts have to say, and writing it, against rivals who do the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from datetime import datetime

from shared.audit.model import SYSTEM, Draft, RequestContext, StoredEvent, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.ids import IdFactory
from shared.detection import alerts, familiarity
from shared.detection.alerts import ALERT_KIND, SERIES_KIND, Change, Finding, Series
from shared.detection.episodes import LONGEST, Episode, episodes, merged, reach
from shared.detection.history import MINUTE, Limits, Signals, TooMany, minute_of
from shared.detection.model import Span
from shared.detection.overflow import Overflow
from shared.detection.recent import Crossed, Kept, Recent
from shared.detection.rules import NO_RULES, Rules
from shared.detection.traits import KnownRules, Traits, has_alerts, has_hot
from shared.detection.views import Digested, Evaluator, View, crosses_after, read_view
from shared.storage.containers import ALERTS
from shared.storage.documents import (
    MAX_PAGE,
    BatchOperation,
    DocumentStore,
    Eq,
    Item,
    Query,
    Range,
    create,
    find_item,
    pages,
    replace,
    upsert,
)
from shared.storage.errors import Conflict, PreconditionFailed
from shared.telemetry import get_log

_log = get_log(__name__)

MAX_ATTEMPTS = 20
MAX_CHANGES_PER_COMMIT = 20
"""Alerts per batch: 500 event ids and one event each stay far below the 2 MB and 100 operations of a batch."""
MAX_DIGESTS_PER_COMMIT = 90
CONSUMER = "detect_threats"


@dataclass(slots=True)
class Touched:
    """The new events of one series in a delivery: when those happened that are the pattern's, and sign-ins that make
    something known."""

    items: list[Item] = field(default_factory=list)
    moments: list[datetime] = field(default_factory=list)
    sighted: list[datetime] = field(default_factory=list)
    is_late: bool = False
    """Whether one of the sign-ins was stored, or delivered, so late that somebody may have looked for it in vain."""


class _StartOver(Exception):
    """There is more to be done, under what is stored now."""


@dataclass(slots=True)
class _Work:
    """One stretch of a series that is looked at."""

    evaluator: Evaluator
    rules: KnownRules
    span: Span
    centers: list[Span]
    """Where new events lie, or alerts that are in doubt."""
    doubted: list[Span]
    tenants: set[str]
    """Whose alerts are brought up to date."""
    unprobed: Sequence[datetime] = ()
    """New events, where nobody looked yet whether anything crosses after them. If nothing does, nothing is done."""
    last: Kept | None = None
    """The last events of a hot key, for the next batch."""

    @property
    def series(self) -> Series:
        """The series as such; of an address, the one of `platform`."""
        return self.evaluator.series


class Evaluation:
    """Makes the stored alerts of a series say what its events say."""

    def __init__(
        self,
        store: DocumentStore,
        outbox: Outbox,
        recorder: Recorder,
        clock: Clock,
        ids: IdFactory,
        limits: Limits,
        traits: Traits,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._recorder = recorder
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._traits = traits
        self._recent = Recent()
        self._crossed = Crossed()

    async def run(self, series: Series, rules: KnownRules, touched: Touched) -> None:
        """Bring the alerts up to date with new events. Whatever keeps it from that is raised."""
        evaluator = Evaluator.of(self._store, series, await rules.of_series(series), self._limits)
        head = await self._head(series) if _wants_head(evaluator, touched) else None
        if touched.is_late:
            head = await self._disturb(series, head)
        doubted = await self._doubted(evaluator, head, touched.sighted)
        hot = _is_hot(head)  # then the digests have to be kept up to date, whatever crosses
        unprobed = [] if hot or doubted or not self._crosses_still(evaluator, touched) else touched.moments
        tenants = None if hot or unprobed else await evaluator.crosses(touched.moments)
        if tenants is None and not (doubted or hot or unprobed):
            return
        centers = [*(Span(at, at) for at in touched.moments), *doubted]
        within = reach(evaluator.parameters.window)
        for span in merged([Span(each.start - within, each.end + within) for each in centers]):
            mine = [each for each in centers if span.holds(each.start)]
            work = _Work(evaluator, rules, span, mine, doubted, {series.tenant_id, *(tenants or ())} - {""}, unprobed)
            await self._until_done(work)

    def _crosses_still(self, evaluator: Evaluator, touched: Touched) -> bool:
        """Whether these events lie so near to what crossed last that most likely something crosses after them: then the
        view tells whether it does, and what a probe reads is not read before. Whom an address concerns is known by a
        probe alone."""
        if evaluator.series.pattern.across_tenants:
            return False
        return self._crossed.lately(evaluator.series, touched.moments, evaluator.parameters.window)

    async def _disturb(self, series: Series, head: Item | None) -> Item | None:
        """Have whoever evaluates the series now start over, for what they read may lack a late sign-in."""
        while True:
            try:
                return (await self._store.batch(ALERTS, (series.tenant_id,), [_head_operation(series, head)]))[0]
            except (Conflict, PreconditionFailed):
                head = await self._head(series)

    async def _until_done(self, work: _Work) -> None:
        """Start over when someone else changed the alerts meanwhile."""
        attempt = 1
        while True:
            try:
                await self._once(work)
            except _StartOver:
                continue
            except (Conflict, PreconditionFailed) as lost:
                if attempt == MAX_ATTEMPTS:
                    raise
                _log.info(
                    "alerts_changed_meanwhile", pattern=work.series.pattern.id, error_type=type(lost).__qualname__
                )
                attempt += 1
            else:
                return

    async def _once(self, work: _Work) -> None:
        """One evaluation.

        The series documents are read before the events: whoever wrote the alerts as they are saw no event that this
        evaluation does not see. So what it writes under a document's etag is never older than what is there.
        """
        heads = {tenant_id: await self._head(work.series.of(tenant_id)) for tenant_id in sorted(work.tenants)}
        window = work.evaluator.parameters.window
        began = Span(work.span.start - window, work.span.end)
        stored = {tenant_id: await self._stored(work.series.of(tenant_id), began) for tenant_id in heads}
        view: View | None
        if not _is_hot(heads[work.series.tenant_id]):
            view = await self._read(work, heads)
        elif await self._probed(work):
            view = await self._digested(work, heads, [alert for each in stored.values() for alert in each])
        else:
            view = None
        if view is None:
            return
        whose = work.series.tenant_id
        changes = await self._changes(work, work.series, view, stored[whose])
        # Where the attack as such is another one now, all tenants in it are concerned; else those around new events.
        is_new = any(change.event is not None for change in changes)
        concerned = (view.groups if is_new else view.near) - {""}
        if concerned - work.tenants:
            work.tenants |= concerned
            raise _StartOver
        for tenant_id in heads.keys() - {whose}:
            series = work.series.of(tenant_id)
            theirs = await self._changes(work, series, view, stored[tenant_id])
            await self._show(series, heads[tenant_id], theirs, stored[tenant_id])
        if work.series.pattern.questions is not None and any(change.etag is None for change in changes):
            await self._note(work, has_alerts(work.series.pattern))
        # Last, so that what is cut short is seen to be: until then the attack is another one to whoever repeats this.
        await self._show(work.series, heads[whose], changes, stored[whose])
        if work.last is not None:
            version = _version(heads[whose]) + bool(changes)
            self._recent.keep(work.series, replaced(work.last, version=version))

    async def _doubted(self, evaluator: Evaluator, head: Item | None, sighted: Sequence[datetime]) -> list[Span]:
        """Where alerts lie that may stand on news which these sign-ins make old."""
        if head is None or evaluator.series.pattern.questions is None:
            return []
        longest = LONGEST + 2 * evaluator.parameters.window
        extents = [
            (moment, alerts.extent_of(alert))
            for moment in sighted
            for alert in await self._stored(evaluator.series, Span(moment - longest, moment + familiarity.LONGEST))
        ]
        return [extent for moment, extent in extents if extent.end >= moment]

    async def _read(self, work: _Work, heads: dict[str, Item | None]) -> View | None:
        """Everything there is; None where it turns out that there is nothing to be done."""
        try:
            view = await read_view(work.evaluator, work.span)
        except TooMany:
            if not await self._probed(work):
                return None
            await self._note(work, has_hot(work.series.pattern))
            # The mark comes before the digests: whoever did not see it had its event stored before they are made.
            await self._store.batch(
                ALERTS, (work.series.tenant_id,), [_head_operation(work.series, heads[work.series.tenant_id], hot=True)]
            )
            _log.info("series_hot", pattern=work.series.pattern.id)
            raise _StartOver from None
        self._crossed.note(work.series, view.crossings[-1].at if view.crossings else None)
        if work.unprobed and not crosses_after(view.crossings, work.unprobed, work.evaluator.parameters.window):
            return None
        return view

    async def _probed(self, work: _Work) -> bool:
        """Whether there is something to be done, by a probe where none was made before."""
        if work.unprobed and await work.evaluator.crosses(work.unprobed) is None:
            return False
        work.unprobed = ()
        return True

    async def _digested(self, work: _Work, heads: dict[str, Item | None], stored: Sequence[Item]) -> View:
        window = work.evaluator.parameters.window
        dirty = [Span(minute_of(each.start), minute_of(each.end) + MINUTE + window) for each in work.centers]
        parted_at = [closing.closed_at for closing in alerts.closings_of(stored)]
        for each in work.tenants - {work.series.tenant_id}:
            parted_at += (await work.rules.of(each)).edges(work.series.pattern, work.series.key)
        tenant_id = work.series.tenant_id
        digested = Digested(work.evaluator, work.span, self._recent, _version(heads[tenant_id]))
        view, changed = await digested.view(dirty, parted_at)
        for n in range(0, len(changed), MAX_DIGESTS_PER_COMMIT):
            steps = [upsert(item) for item in changed[n : n + MAX_DIGESTS_PER_COMMIT]]
            head = _head_operation(work.series, heads[tenant_id])
            heads[tenant_id] = (await self._store.batch(ALERTS, (tenant_id,), [head, *steps]))[0]
        work.last = digested.last
        return view

    async def _changes(self, work: _Work, series: Series, view: View, stored: Sequence[Item]) -> list[Change]:
        """What has to be written so that the alerts of one tenant say what a view tells."""
        window, closings = work.evaluator.parameters.window, alerts.closings_of(stored)
        known = {alert["id"]: alert for alert in stored}
        is_own = series.tenant_id != work.series.tenant_id
        crossings, theirs = view.crossings, await work.rules.of(series.tenant_id) if is_own else NO_RULES
        if is_own:
            crossings = [each for each in crossings if not theirs.hides(series.pattern, series.key, each.at)]
        findings = [
            await self._own_finding(theirs, series, each)
            if is_own
            else await view.finding(each, known.get(series.alert_id(each)))
            for each in episodes(crossings, span=work.span, window=window, closings=closings)
        ]
        told = [each for each in findings if each is not None]
        rules, now = work.evaluator.rules.fingerprint(series.pattern), rfc3339(self._clock.now())
        return alerts.reconcile(series, told, stored, now, rules=rules, withdrawn=work.doubted)

    async def _show(self, series: Series, head: Item | None, changes: Sequence[Change], stored: Sequence[Item]) -> None:
        """Write changes of one tenant's alerts; _StartOver when there are more than one commit takes."""
        if changes:
            overflow = Overflow(self._store, series, self._limits.alerts_per_hour, rfc3339(self._clock.now()))
            await self._write(series, head, *await overflow.apply(changes[:MAX_CHANGES_PER_COMMIT], stored))
        if len(changes) > MAX_CHANGES_PER_COMMIT:
            raise _StartOver

    async def _own_finding(self, rules: Rules, series: Series, episode: Episode) -> Finding | None:
        """What one of several tenants may be told of an episode: its own events. None if it has none."""
        signals = Signals(self._store, series.key, self._limits, series.tenant_id)
        observed = await signals.load(Span(minute_of(episode.first_seen), episode.last_seen))
        within = (each for each in observed if each.at >= episode.first_seen and each.moment <= episode.last)
        own = [each for each in within if not rules.exempts_account(each.fact, each.at)]
        return Finding.of(episode, own) if own else None

    async def _note(self, work: _Work, trait: str) -> None:
        if trait not in work.evaluator.rules.traits:
            await self._traits.note(work.series.tenant_id, trait)

    async def _head(self, series: Series) -> Item | None:
        return await find_item(self._store, ALERTS, (series.tenant_id,), series.head_id)

    async def _stored(self, series: Series, first_seen: Span) -> list[Item]:
        seen = Range("first_seen", ge=rfc3339(first_seen.start), le=rfc3339(first_seen.end))
        query = Query((Eq("kind", ALERT_KIND), Eq("series", series.name), seen), order_by="first_seen", limit=MAX_PAGE)
        return [each async for page in pages(self._store, ALERTS, (series.tenant_id,), query) for each in page]

    async def _write(
        self, series: Series, head: Item | None, changes: Sequence[Change], beside: Sequence[BatchOperation]
    ) -> None:
        operations = [_head_operation(series, head), *beside]
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


def _wants_head(evaluator: Evaluator, touched: Touched) -> bool:
    """Whether the series document may say what matters although nothing crosses: that the key is hot, or has alerts
    that sign-ins make doubtful."""
    traits, pattern = evaluator.rules.traits, evaluator.series.pattern
    if touched.is_late or has_hot(pattern) in traits:
        return True
    return bool(touched.sighted) and has_alerts(pattern) in traits


def _version(head: Item | None) -> int:
    return 0 if head is None else int(head["version"])


def _is_hot(head: Item | None) -> bool:
    return head is not None and head.get("hot") is True


def _head_operation(series: Series, head: Item | None, *, hot: bool = False) -> BatchOperation:
    item: Item = {
        "id": series.head_id,
        "tenant_id": series.tenant_id,
        "kind": SERIES_KIND,
        "series": series.name,
        "version": _version(head) + 1,
    }
    if hot or _is_hot(head):
        item["hot"] = True
    return create(item) if head is None else replace(item, head["_etag"])
