"""The continuous check: what is stored is what was sealed, and all that is stored is sealed.

A run takes a tenant's shards. First come the entries and events that are new since the last run, all of them. Then a
sample of older ones, which slides on from run to run so that after LAP_RUNS all have been looked at again, unless
there are more than LAP_RUNS times PAGES_MOST pages: then it takes longer. What a run finds is said once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.audit.model import RequestContext
from shared.core.clock import Clock, period_of
from shared.core.ids import lowest_id_at
from shared.ledger.checkpoints import Checkpoints
from shared.ledger.findings import UNREADABLE, Findings
from shared.ledger.keys import LedgerKeys
from shared.ledger.marks import Marked, Marks
from shared.ledger.opening import Opening, Shard
from shared.ledger.progress import LAG, Progress, recount_id, recount_item
from shared.ledger.reconciliation import Reconciliation, Stored
from shared.ledger.recount import differing
from shared.ledger.rollups import DayRollup
from shared.ledger.shards import CHECKPOINT, BrokenShard, Shards, later_checkpoints, rollup_id
from shared.ledger.statements import Statements
from shared.ledger.walk import Log, Walk, Walker
from shared.storage.containers import LEDGER
from shared.storage.documents import AnyOf, DocumentStore, Item, Prefix, Query, Range
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.telemetry import get_log

_log = get_log(__name__)

RUN = timedelta(seconds=45)
"""How long a run begins further pages of one tenant."""
LAP_RUNS = 288
"""Runs in which everything is looked at again: with one every five minutes, a day."""
PAGES_LEAST, PAGES_MOST = 16, 100
"""Pages of up to 256 entries and 256 events that a run looks at again."""
MOST_OF_REST = 1000
"""Days and checkpoints that a lap looks at when its entries are done."""
IDLE_SAVE_SECONDS = 3600
"""Of a shard in which nothing is new and all was looked at in one run, the place is kept this often."""

_ALWAYS = 1 << 62

type Verified = Callable[[int], None]
"""Told how many entries were compared with their events."""


def _unheard(_entries: int) -> None:
    """Nobody asked."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What holds for one tenant and run."""

    tenant_id: str
    findings: Findings
    until: datetime
    marked: Marked


class Verification:
    """Checks ledgers. `retention_days`: how long a month's events are kept after its end."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        reconciliation: Reconciliation,
        statements: Statements,
        checkpoints: Checkpoints,
        keys: LedgerKeys,
        clock: Clock,
        retention_days: int,
        verified: Verified = _unheard,
    ) -> None:
        self._store = store
        self._shards = Shards(store)
        self._marks = Marks(store)
        self._statements = statements
        self._checkpoints = checkpoints
        self._clock = clock
        self._opening = Opening(store, clock, retention_days)
        self._walker = Walker(store, keys)
        self._reconciliation = reconciliation
        self._verified = verified

    async def run(self, tenant_id: str, request: RequestContext) -> None:
        """Check what is new of a tenant's ledger, and the next sample of the rest. StoreError, SecretsError."""
        findings = Findings(self._statements, tenant_id, request)
        marked = await self._opening.marked(tenant_id, findings)
        run = _Run(tenant_id, findings, self._clock.now() + RUN, marked)
        shards = await self._opening.shards(tenant_id, marked, findings)
        for shard in shards:
            await self._each(run, shard, self._follow(run, shard), None)
        left = min(max(-(-sum(shard.pages for shard in shards) // LAP_RUNS), PAGES_LEAST), PAGES_MOST)
        begun = [shard for shard in shards if shard.is_begun]
        for shard in sorted(begun, key=lambda each: each.progress.looked_at):
            if left > 0 and self._goes_on(run):
                left -= await self._each(run, shard, self._again(run, shard, left), 1)
        for shard in shards:
            await self._each(run, shard, self._save(run, shard), None)
        await self._cover(run, shards)

    async def _each[T](self, run: _Run, shard: Shard, work: Awaitable[T], otherwise: T) -> T:
        """Do the work of one shard; what lies in it and is not as we write it is a finding and stops no other shard."""
        try:
            return await work
        except UNREADABLE as error:
            _log.error("ledger_unreadable", error, tenant_id=run.tenant_id, period=shard.head.period)
            await run.findings.add(shard.head.period, "entries", "unreadable")
            return otherwise

    def _goes_on(self, run: _Run) -> bool:
        return not run.findings.enough and self._clock.now() < run.until

    async def _follow(self, run: _Run, shard: Shard) -> None:
        """Look at the entries and events that are new."""
        progress, before = shard.progress, run.findings.number
        await self._compare_mark(run, shard)
        is_new = progress.new.frontier.size != shard.head.size or shard.reached > shard.head.size
        if is_new and not await self._is_set_back(run, shard):
            log = shard.log(run.tenant_id)
            while progress.new.frontier.size < shard.head.size and self._goes_on(run):
                await self._page(run, shard, log, progress.new)
        if progress.new.frontier.size == shard.head.size and run.findings.number == before:
            await self._sign(run, shard)
        more = shard.is_open
        until = lowest_id_at(self._clock.now() - LAG)
        while more and self._goes_on(run):
            stored = await self._reconciliation.read((run.tenant_id, shard.head.period), progress.after, until)
            await self._reconcile(run, shard, stored)
            more = stored.more
            shard.is_changed |= stored.last != progress.after
            progress.after = stored.last

    async def _again(self, run: _Run, shard: Shard, pages_left: int) -> int:
        """Take the lap of a shard further; by how many pages."""
        if await self._is_set_back(run, shard):
            return 1
        log, lap, done = shard.log(run.tenant_id), shard.progress.lap, 0
        lap.started_at = lap.started_at or int(self._clock.now().timestamp())
        began_at = lap.walk.frontier.size
        lap.walk.days = await self._counted(run.tenant_id, shard.progress) if began_at else {}
        leaves: dict[str, bytes] = {}
        sealed: set[str] = set()
        while done < pages_left and self._goes_on(run):
            done += 1
            stored = None
            if not lap.events_done:  # before their entries: what both walks need is read once
                whole = not lap.entries_done
                stored = await self._reconciliation.read(log.partition, lap.after, whole=whole)
                leaves |= stored.leaves
            if not lap.entries_done and lap.walk.frontier.size < shard.head.size:
                sealed |= await self._page(run, shard, log, lap.walk, leaves)
            if not lap.entries_done and lap.walk.frontier.size >= shard.head.size:
                await self._compare_rest(run, shard)
                lap.entries_done = True
            if stored is not None:
                await self._reconcile(run, shard, stored, sealed)
                lap.after, lap.events_done = stored.last, not stored.more
            if lap.entries_done and lap.events_done:
                now = int(self._clock.now().timestamp())
                shard.progress.lap = lap.next(now, int(LAG.total_seconds()))
                break
        if not shard.progress.lap.entries_done and shard.progress.lap is lap:
            await self._keep_counted(run, shard, began_at)
        now = int(self._clock.now().timestamp())
        is_whole_lap = began_at == 0 and lap.entries_done and lap.events_done
        if not is_whole_lap or pages_left - done <= 0 or now - shard.progress.looked_at >= IDLE_SAVE_SECONDS:
            shard.is_changed = True
        shard.progress.looked_at = now
        return done

    async def _page(
        self, run: _Run, shard: Shard, log: Log, walk: Walk, events: Mapping[str, bytes] | None = None
    ) -> frozenset[str]:
        before = walk.frontier.size
        ids = await self._walker.page(log, walk, run.findings, events or {})
        shard.is_changed |= walk is shard.progress.new
        self._verified(walk.frontier.size - before)
        return ids

    async def _reconcile(self, run: _Run, shard: Shard, stored: Stored, sealed: Collection[str] = ()) -> None:
        lap = shard.progress.lap
        covered = lap.covered if lap.walk.is_whole and shard.progress.new.is_whole else _ALWAYS
        partition = (run.tenant_id, shard.head.period)
        await self._reconciliation.compare(partition, stored, run.findings, covered=covered, sealed=sealed)

    async def _compare_mark(self, run: _Run, shard: Shard) -> None:
        """A mark is never set back: what was seen of it is kept with the place of the check."""
        size = shard.mark.size if shard.mark else 0
        if size < shard.progress.marked:
            await run.findings.add(shard.head.period, "checkpoint", "mark", found=str(size))
        elif size > shard.progress.marked:
            shard.progress.marked, shard.is_changed = size, True

    async def _is_set_back(self, run: _Run, shard: Shard, signed: Sequence[Item] = ()) -> bool:
        """Whether there was more of a shard than its head says, which is a finding. `signed`: checkpoints beyond it."""
        head = shard.head
        sizes = [str(item["id"]).partition("|")[2] for item in signed]
        known = [int(size) for size in sizes if size.isdecimal()]
        if len(known) < len(sizes):
            await run.findings.add(head.period, "checkpoint", "unreadable", found=" ".join(sizes))
        reached = max(shard.reached, *known, 0)
        if head.size >= reached:
            return False
        try:
            shard.head = await self._shards.head(run.tenant_id, head.period)  # it may have grown since it was read
        except BrokenShard as error:
            await run.findings.broken(head.period, error)
            return True
        if shard.head.size >= reached:
            return False
        await run.findings.add(head.period, "head", "set_back", shard.head.size, found=str(reached))
        return True

    async def _sign(self, run: _Run, shard: Shard) -> None:
        """Have what was just checked signed, so that whoever fetches it can hold us to it; and its mark kept."""
        head = shard.head
        marked = shard.mark.size if shard.mark else 0
        try:
            if head.size > max(head.signed_size, 0):
                await self._checkpoints.issue(run.tenant_id, head.period, at_least=head.size)
            elif head.signed_size > marked:
                await self._checkpoints.remember(run.tenant_id, head, run.marked)
        except BrokenShard as error:
            await run.findings.broken(head.period, error)

    async def _compare_rest(self, run: _Run, shard: Shard) -> None:
        """At the end of a lap's entries: that its counts are those that are stored, that nothing was signed beyond the
        head, and that no entry lies there."""
        walk, period = shard.progress.lap.walk, shard.head.period
        partition, size = (run.tenant_id, period), walk.frontier.size
        rest = AnyOf((Prefix("id", rollup_id("")), later_checkpoints(size)))
        items = (await self._store.query(LEDGER, partition, Query((rest,), limit=MOST_OF_REST))).items
        beyond = Query((Range("index", ge=size),), order_by="index", descending=True, limit=1)
        last = (await self._store.query(LEDGER, partition, beyond)).items
        signed = [item for item in items if item["id"].startswith(f"{CHECKPOINT}|")]
        stored = [item for item in items if not item["id"].startswith(f"{CHECKPOINT}|")]
        days, now = walk.days or {}, size
        if last or signed or (walk.is_whole and differing(days, stored, size, size)):
            now = (await self._shards.head(*partition)).size  # it may have grown meanwhile
        if last and last[0]["index"] >= now:
            await run.findings.add(period, "entries", "beyond", last[0]["index"])
        await self._is_set_back(run, shard, signed)
        if walk.is_whole:
            for day, difference in differing(days, stored, size, now):
                await run.findings.add(period, "rollup", day, found=difference)

    async def _counted(self, tenant_id: str, progress: Progress) -> dict[str, DayRollup]:
        """What earlier runs of the lap have counted."""
        query = Query((Prefix("id", recount_id("")),), limit=1000)
        items = (await self._store.query(LEDGER, (tenant_id, progress.period), query)).items
        lap = progress.lap
        try:
            return {item["day"]: DayRollup.from_item(item) for item in items if item.get("lap") == lap.number}
        except ValueError:
            lap.walk.is_whole = False  # somebody wrote to it: the next lap counts anew
            return {}

    async def _keep_counted(self, run: _Run, shard: Shard, since: int) -> None:
        """Keep what this run has counted for the next one."""
        lap, period = shard.progress.lap, shard.head.period
        for rollup in (lap.walk.days or {}).values():
            if rollup.last is not None and rollup.last >= since:
                item = recount_item(run.tenant_id, period, lap.number, rollup)
                await self._store.upsert(LEDGER, (run.tenant_id, period), item)

    async def _save(self, run: _Run, shard: Shard) -> None:
        """Keep the place. Should another run have done so meanwhile, its place is as good."""
        if not shard.is_changed:
            return
        partition, item = (run.tenant_id, shard.head.period), shard.progress.item(run.tenant_id)
        try:
            if shard.progress.etag is None:
                shard.progress.etag = (await self._store.create(LEDGER, partition, item))["_etag"]
            else:
                await self._store.replace(LEDGER, partition, item, shard.progress.etag)
        except (Conflict, NotFound, PreconditionFailed):
            _log.info("check_overlapped", tenant_id=run.tenant_id, period=shard.head.period)

    async def _cover(self, run: _Run, shards: Sequence[Shard]) -> None:
        """Keep about once a day beside the marks how far the checks are: who takes one away is found by it."""
        covered = {each.head.period: each.progress.covered for each in shards if each.progress.etag is not None}
        try:
            await self._marks.cover(run.tenant_id, covered, run.marked)
        except BrokenShard as error:
            await run.findings.broken(period_of(self._clock.now()), error)
