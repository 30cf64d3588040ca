"""A small or larger shard to walk over, which each walk may see as somebody wrote over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.audit.entries import entry_of
from shared.ledger.checkpoint import Checkpoint
from shared.ledger.marks import Mark
from shared.ledger.merkle import leaf_hash
from shared.ledger.shards import Head, Shards, checkpoint_id
from shared.ledger.walk import Log, Walk, Walker
from shared.storage.containers import LEDGER
from shared.storage.documents import Item
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
        self.walked = walk or Walk()
        findings, said = findings_of(self.world)
        self.store = Seen(self.world.store, ledger=ledger, audit_events=trail)
        walker, log = Walker(self.store, self.world.keys(self.store)), Log(TENANT, replace(self.head, **head), mark)
        self.seen: list[frozenset[str]] = []
        while self.walked.frontier.size < self.head.size:
            more = () if known is None else (known,)
            self.seen.append(await walker.page(log, self.walked, findings, *more))
        assert findings.number == len(said)
        return sorted(said, key=lambda each: (each.what, each.index or 0, each.key))

    def at(self, size: int, **fields: Any) -> Walk:
        """A walk that has come so far."""
        walk = Walk(**fields)
        walk.frontier.extend(self.leaves[:size])
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
