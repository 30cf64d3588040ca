"""The sealer: turns delivered events into entries of the ledger, each once, whoever delivers what and how often.

Per tenant and month it reads in one query which of the events are sealed, how far the tree is and what was counted, and
writes in one batch the new entries, full tiles, counts of days and the head, if nobody else moved the head meanwhile.
So either all of a chunk is sealed or nothing, and a second sealer begins again from where the first one got to.

Only trouble of the store itself is left to the feed, which delivers again. What is wrong with one shard is recorded,
and its events wait among the dead letters: they are sealed when the shard is whole, and no other tenant waits for that.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from shared.audit.dead_letters import DeadLetters
from shared.audit.model import RequestContext
from shared.core.clock import Clock, parse_rfc3339, period_of
from shared.core.errors import Unready
from shared.core.ids import IdFactory
from shared.ledger.checkpoints import Along, Checkpoints
from shared.ledger.chunks import RESERVED_BYTES, distinct, filled, fitting, parted
from shared.ledger.merkle import leaf_hash
from shared.ledger.pending import INSERTED_BEHIND, Pending
from shared.ledger.progress import covered_of, progress_id
from shared.ledger.rollups import DayRollup, day_of
from shared.ledger.shards import (
    CHECKPOINT,
    HEAD,
    ROLLUP,
    BrokenShard,
    Entry,
    Head,
    Part,
    SetBack,
    head_id,
    is_period,
    rollup_id,
    tile_item,
)
from shared.ledger.statements import Statements
from shared.ledger.tiles import TileError, grown
from shared.privacy.secrets import SecretsError
from shared.storage.containers import LEDGER
from shared.storage.documents import (
    BatchOperation,
    DocumentStore,
    In,
    Item,
    Query,
    Range,
    create,
    upsert,
)
from shared.storage.documents import (
    replace as replaced,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Throttled, TooLarge, Unavailable
from shared.telemetry import get_log

_log = get_log(__name__)

CONSUMER = "seal_ledger"
RACES = 20
UNMOVED = 3
"""So often a batch may be refused for what is there already while the head stays the same: no rival leaves it so."""
SHARDS_AT_ONCE = 4
TRANSIENT = (Unavailable, Throttled, Unready)
"""Trouble of the store, the trail or the keys: what was delivered is delivered again."""

type Sealed = Callable[[int, float], None]
"""Told of each chunk: how many events were sealed, and the seconds since the oldest of them was recorded."""


def _unheard(_events: int, _lag_seconds: float) -> None:
    """Nobody asked."""


class _Taken(Conflict):
    """Something is there already of what was to be written. `etag`: of the head that it was written behind."""

    def __init__(self, part: Part, etag: str | None) -> None:
        super().__init__("an item of the shard is there already")
        self.part: Part = part
        self.etag = etag


class Sealer:
    """Seals stored events. Deliveries may repeat, overlap, come out of order and run side by side."""

    def __init__(
        self,
        store: DocumentStore,
        statements: Statements,
        checkpoints: Checkpoints,
        dead_letters: DeadLetters,
        clock: Clock,
        ids: IdFactory,
        sealed: Sealed = _unheard,
    ) -> None:
        self._store = store
        self._statements = statements
        self._checkpoints = checkpoints
        self._dead_letters = dead_letters
        self._clock = clock
        self._ids = ids
        self._sealed = sealed
        dead_letters.on(CONSUMER, self.handle)

    async def handle(self, event: Item) -> None:
        """Seal one stored event. ValueError (BrokenShard: of its shard): what keeps it from that, once it is recorded.
        Unavailable, Throttled, Unready: try again."""
        pending = await self.pending(event)
        await self._seal(event["tenant_id"], event["period"], [pending])

    async def consume(self, items: Sequence[Item]) -> None:
        """Seal a batch of stored events, of any tenants and months.

        An event that cannot be sealed, or whose shard is broken, goes to the dead letters; the others are sealed.
        Unavailable, Throttled, Unready: deliver the batch again (all shards that could be served were).
        """
        shards: dict[tuple[str, str], list[Pending]] = defaultdict(list)
        for item in items:
            try:
                pending = await self.pending(item)
            except TRANSIENT:
                raise
            except Exception as error:  # noqa: BLE001 - one event's trouble must not stop the others
                await self._dead_letters.put(CONSUMER, item, error)
            else:
                shards[item["tenant_id"], item["period"]].append(pending)
        free = asyncio.Semaphore(SHARDS_AT_ONCE)

        async def one(tenant_id: str, period: str, found: list[Pending]) -> None:
            async with free:
                await self._seal_or_keep(tenant_id, period, found)

        works = [one(*shard, found) for shard, found in shards.items()]
        outcomes = await asyncio.gather(*works, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _seal_or_keep(self, tenant_id: str, period: str, found: list[Pending]) -> None:
        try:
            await self._seal(tenant_id, period, found)
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001 - one tenant's trouble must not stop the others
            for pending in found:  # those that are sealed already are found so at the retry
                await self._dead_letters.put(CONSUMER, pending.event, error)

    async def pending(self, event: Item) -> Pending:
        """The entry of an event. ValueError for one that is not formed as events are, once that is said."""
        try:
            return Pending.of(event)
        except ValueError as error:
            tenant_id, period, event_id = (event.get(name) for name in ("tenant_id", "period", "id"))
            if isinstance(tenant_id, str) and isinstance(event_id, str):
                _log.warning("event_unsealable", event_id=event_id, tenant_id=tenant_id, reason=str(error))
                present = period_of(self._clock.now())
                held = period if isinstance(period, str) and is_period(period) and period < present else present
                await self._statements.found(tenant_id, held, "unsealable", event_id, self._request())
            raise

    async def _seal(self, tenant_id: str, period: str, found: Sequence[Pending]) -> None:
        """Seal events of one shard. BrokenShard: what is wrong with it, once that is recorded."""
        try:
            await self._seal_chunks(tenant_id, period, found)
        except TRANSIENT:
            raise
        except BrokenShard as error:
            await self._broken(tenant_id, period, error)
            raise
        except Exception as error:
            _log.error("ledger_unreadable", error, tenant_id=tenant_id, period=period)
            broken = BrokenShard("entries", "something in the shard is not as a sealer writes it")
            await self._broken(tenant_id, period, broken)
            raise broken from error

    async def _seal_chunks(self, tenant_id: str, period: str, found: Sequence[Pending]) -> None:
        """Seal events in chunks that fit into a batch; each again where a rival was faster."""
        left = list(found)
        races = unmoved = 0
        behind: str | None = None
        while left:
            chunk, later = distinct(left)
            try:
                over = await self._seal_chunk(tenant_id, period, chunk, is_first=not races)
            except (PreconditionFailed, Conflict) as error:
                races += 1
                if isinstance(error, _Taken):
                    unmoved, behind = unmoved + 1 if unmoved and error.etag == behind else 1, error.etag
                    if unmoved >= UNMOVED:
                        raise BrokenShard(error.part, "something is where a sealer would write") from error
                if races >= RACES:
                    raise Unavailable("the head of a shard is contended") from error
                _log.info("seal_raced", tenant_id=tenant_id, period=period)
                continue
            left = over + later

    async def _seal_chunk(
        self, tenant_id: str, period: str, chunk: Sequence[Pending], *, is_first: bool
    ) -> list[Pending]:
        """Seal what is not sealed yet and fits; what is left. PreconditionFailed, Conflict: a rival was faster.

        BrokenShard: of what is stored nothing can be gone on from.
        """
        days = sorted({day_of(pending.event) for pending in chunk})
        own = [head_id(period), progress_id(period), *(rollup_id(day) for day in days)]
        ids = [*own, *(pending.id for pending in chunk)]
        page = await self._store.query(LEDGER, (tenant_id, period), Query((In("id", tuple(ids)),), limit=len(ids)))
        stored = {item["id"]: item for item in page.items}
        fresh = []
        for pending in chunk:
            known = stored.get(pending.id)
            if known is None:
                fresh.append(pending)
            elif Entry.of(known).text != pending.text:
                request, index, found = self._request(), known["index"], leaf_hash(pending.text)
                await self._statements.found(tenant_id, period, "edited", pending.id, request, index=index, found=found)
        if not fresh:
            return []
        head = await self._head(tenant_id, period, stored.get(head_id(period)))
        taken, over = fitting(fresh, head.size)
        earliest, place = min(each.event["_ts"] for each in taken), stored.get(progress_id(period))
        covered = await covered_of(self._store, (tenant_id, period), place, earliest, self._clock.now())
        for pending in taken:
            if pending.is_behind(covered):
                await self._statements.found(tenant_id, period, INSERTED_BEHIND, pending.id, self._request())
        rollups = await self._rollups(tenant_id, period, days, stored)
        grown_head, operations = self._operations(tenant_id, head, taken, rollups)
        fills = filled(head.size, grown_head.size) > 0
        along, is_due = await self._along(tenant_id, head, grown_head, is_first=is_first, fills=fills)
        if along is not None:
            grown_head, operations = along.head, [*operations, along.document]
        item = grown_head.item(tenant_id)
        operations.append(create(item) if head.etag is None else replaced(item, head.etag))
        await self._write(tenant_id, head, operations)
        oldest = min(parse_rfc3339(pending.event["recorded_at"]) for pending in taken)
        self._sealed(len(taken), (self._clock.now() - oldest).total_seconds())
        if is_due:
            await self._signed(tenant_id, period, along)
        return over

    async def _write(self, tenant_id: str, head: Head, operations: Sequence[BatchOperation]) -> None:
        """Write a batch behind a head. _Taken, PreconditionFailed: not now; BrokenShard: never."""
        try:
            await self._store.batch(LEDGER, (tenant_id, head.period), operations)
        except Conflict as error:
            item = operations[error.index].item if error.index is not None else None
            kind = item["kind"] if item is not None else None
            raise _Taken(kind if kind in (HEAD, CHECKPOINT) else "entries", head.etag) from error
        except TooLarge as error:
            is_head = len(json.dumps(head.item(tenant_id))) > RESERVED_BYTES // 2
            raise BrokenShard("head" if is_head else "rollup", "it is larger than a sealer makes it") from error

    async def _along(
        self, tenant_id: str, head: Head, grown_head: Head, *, is_first: bool, fills: bool
    ) -> tuple[Along | None, bool]:
        """A checkpoint to go along with a batch, if one is due and can be had; and whether one is to be had at all.

        SetBack: nothing may be put behind this head. That is looked at whenever something is signed or a tile fills up,
        for a full tile takes the place of what is there.
        """
        is_due = self._checkpoints.is_due(head)
        try:
            if is_due and is_first:
                return await self._checkpoints.along(tenant_id, head, grown_head), True
            if is_due or fills:
                await self._checkpoints.check_mark(tenant_id, head)
        except SetBack:
            raise
        except (BrokenShard, SecretsError) as error:
            await self._unsigned(tenant_id, head.period, error)
            return None, False
        return None, is_due

    async def _signed(self, tenant_id: str, period: str, along: Along | None) -> None:
        """After a batch: see that its checkpoint is remembered, or have one made where none went along."""
        try:
            if along is not None:
                await self._checkpoints.keep(tenant_id, along)
            else:
                await self._checkpoints.issue(tenant_id, period, at_least=0)
        except (BrokenShard, SecretsError) as error:
            await self._unsigned(tenant_id, period, error)

    async def _unsigned(self, tenant_id: str, period: str, error: Exception) -> None:
        """Say why nothing is signed. It keeps nobody from sealing."""
        if isinstance(error, BrokenShard):
            await self._broken(tenant_id, period, error)
        else:
            _log.warning("sealed_unsigned", tenant_id=tenant_id, period=period, reason=str(error))

    async def _broken(self, tenant_id: str, period: str, error: BrokenShard) -> None:
        await self._statements.broken(tenant_id, period, error, self._request())

    async def _rollups(
        self, tenant_id: str, period: str, days: Sequence[str], stored: dict[str, Item]
    ) -> dict[str, DayRollup]:
        """The counts to go on from. Those that are not as we write them are reported and left alone: the day's entries
        are sealed all the same, and give its counts again (`recount`)."""
        rollups = {}
        for day in days:
            known = stored.get(rollup_id(day))
            try:
                rollups[day] = DayRollup(day) if known is None else DayRollup.from_item(known, day)
            except ValueError as error:
                request = self._request()
                await self._statements.found(tenant_id, period, "rollup", day, request, found=str(error))
        return rollups

    async def _head(self, tenant_id: str, period: str, item: Item | None) -> Head:
        """The head to go on from. BrokenShard: a shard with entries and no head has lost it. PreconditionFailed: a
        rival has just begun it."""
        if item is not None:
            return Head.of(item)
        first = Query((Range("index", ge=0),), order_by="index", limit=1)
        if (await self._store.query(LEDGER, (tenant_id, period), first)).items:
            try:
                await self._store.read(LEDGER, (tenant_id, period), head_id(period))
            except NotFound:
                raise BrokenShard("head", "there are entries and no head") from None
            raise PreconditionFailed("the shard was begun meanwhile")
        return Head(period)

    def _operations(
        self, tenant_id: str, head: Head, taken: Sequence[Pending], rollups: dict[str, DayRollup]
    ) -> tuple[Head, list[BatchOperation]]:
        """The head as it is behind these events, and what else is written with it."""
        frontier = head.frontier()
        edge = dict(head.partial(level) for level in head.edge)
        try:
            changed = grown(head.size, edge, frontier.extend(leaf_hash(pending.text) for pending in taken))
        except TileError as error:
            raise BrokenShard("head", str(error)) from None
        partials, full = parted(head, changed)
        touched = set()
        operations = []
        for index, pending in enumerate(taken, head.size):
            day = day_of(pending.event)
            if day in rollups:
                rollups[day].add(pending.event, index)
                touched.add(day)
            operations.append(create(Entry(pending.id, index, pending.text).item(tenant_id, head.period)))
        operations += [upsert(tile_item(tenant_id, head.period, tile, content)) for tile, content in full.items()]
        for day in sorted(touched):
            own = {"id": rollup_id(day), "tenant_id": tenant_id, "period": head.period, "kind": ROLLUP}
            operations.append(upsert(own | rollups[day].to_item()))
        return replace(head, size=frontier.size, nodes=frontier.nodes, edge=partials), operations

    def _request(self) -> RequestContext:
        now = self._clock.now()
        return RequestContext(request_id=self._ids.new(now), route="change_feed", function=CONSUMER, started_at=now)
