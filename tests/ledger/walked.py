"""A small or larger shard to walk over, which each walk may see as somebody wrote over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.audit.entries import entry_of
from shared.ledger.checkpoint import Checkpoint
from shared.ledger.marks import Mark
from shared.ledger.merkle import Frontier, leaf_hash
from shared.ledger.recount import rollup_item
from shared.ledger.rollups import rollups_of
from shared.ledger.shards import Entry, Head, Shards, checkpoint_id, tile_item
from shared.ledger.tiles import WIDTH, edge_of, grown
from shared.ledger.walk import Log, Walk, Walker
from shared.storage.containers import LEDGER
from shared.storage.documents import Item, create
from tests.faults import FaultyStore
from tests.ledger.heard import Said, findings_of
from tests.ledger.naive import NaiveTree
from tests.ledger.world import PERIOD, TENANT, World

HERE = (TENANT, PERIOD)
OWN = {"tenant_id": TENANT, "period": PERIOD}


class Seen(FaultyStore):
    """A store as somebody wrote over it, by container: other fields of items, by id; `None` for one that is gone."""

    def __init__(self, inner: Any, **changes: Mapping[str, Item | None] | None) -> None:
        super().__init__(inner)
        self.changes = changes

    async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
        page = await super().query(container, partition, query)
        changes = self.changes.get(container.name) or {}
        pairs = [(item, changes.get(item["id"], {})) for item in page.items]
        return replace(page, items=[item | fields for item, fields in pairs if fields is not None])


class Shard:
    """A sealed month, of which each walk may see something else."""

    def __init__(self, world: World, events: list[Item], head: Head) -> None:
        self.world, self.events, self.head = world, events, head
        self.ids = [each["id"] for each in events]
        self.leaves = [leaf_hash(entry_of(each)) for each in events]
        self.root = NaiveTree([entry_of(each) for each in events]).root
        self.start, self.before = 0, list[bytes]()
        self.tiles: Mapping[tuple[int, int], bytes] = {}

    async def walk(
        self,
        ledger: Mapping[str, Item | None] | None = None,
        trail: Mapping[str, Item | None] | None = None,
        *,
        walk: Walk | None = None,
        known: Mapping[str, bytes] | None = None,
        mark: Mark | None = None,
        **head: Any,
    ) -> list[Said]:
        """What is said on a walk to the end, in order of index. `known`: leaves that are at hand; `head`: what it says
        instead."""
        self.walked = walk or self.at(self.start)
        findings, said = findings_of(self.world)
        self.store = Seen(self.world.store, ledger=ledger, audit_events=trail)
        walker, log = Walker(self.store, self.world.keys(self.store)), Log(TENANT, replace(self.head, **head), mark)
        self.seen: list[frozenset[str]] = []
        while self.walked.frontier.size < self.head.size:
            more = () if known is None else (known,)
            self.seen.append(await walker.page(log, self.walked, findings, *more))
        assert findings.number == len(said)
        return sorted(said, key=lambda each: (each.what, each.entry or 0, each.key))

    def at(self, size: int, **fields: Any) -> Walk:
        """A walk that has come so far."""
        walk = Walk(Frontier(self.start, self.before), **fields)
        walk.frontier.extend(self.leaves[: size - self.start])
        return walk

    @property
    def state(self) -> tuple[bool, bool]:
        """Whether the last walk is sound, and whole."""
        return self.walked.is_sound, self.walked.is_whole

    async def sign(self, size: int, root: bytes | None = None, of: int | None = None, origin: str = "") -> str:
        """Sign a checkpoint, and put it where that of a size is; the note."""
        keys = self.world.keys()
        name = origin or keys.shard(*HERE)
        signed = self.root(of or size) if root is None else root
        note = Checkpoint(name, of or size, signed).sign(await keys.signer(name)).encode()
        item = {"id": checkpoint_id(size), **OWN, "kind": "checkpoint", "size": size, "note": note}
        await self.world.store.upsert(LEDGER, HERE, item)
        return note


async def sealed(world: World, count: int) -> Shard:
    events = world.events(count)
    await world.seal(events)
    return Shard(world, events, await Shards(world.store).head(*HERE))


async def tail(world: World, size: int, events: list[Item]) -> Shard:
    """A month of `size` entries, of which the last ones alone are there: those of these events. The others are passed.

    The tree before them is invented: `before` is its edge. It takes no time, however large it is.
    """
    await world.keep(events)
    start, leaves = size - len(events), [leaf_hash(entry_of(each)) for each in events]
    before = [leaf_hash(f"{number}".encode()) for number in range(start.bit_count())]
    edge = {each.place: leaf_hash(b"any") * each.width for each in edge_of(start)}
    tree = Frontier(start, before)
    changed = grown(start, edge, tree.extend(leaves))
    tiles = edge | {tile.place: content for tile, content in changed.items()}
    at_edge = {each.level: tiles[each.place] for each in edge_of(size)}
    head = Head(PERIOD, size, tree.nodes, at_edge)
    items = [tile_item(*HERE, tile, content) for tile, content in changed.items() if tile.width == WIDTH]
    items += [Entry(each["id"], index, entry_of(each)).item(*HERE) for index, each in enumerate(events, start)]
    items += [rollup_item(*HERE, rollup) for rollup in rollups_of(events, start).values()]
    await world.store.batch(LEDGER, HERE, [create(each) for each in [*items, head.item(TENANT)]])
    shard = Shard(world, events, await Shards(world.store).head(*HERE))
    shard.start, shard.before, shard.tiles = start, before, tiles
    return shard
