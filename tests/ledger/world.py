"""A store with a trail, sealers over it, and what they left, for tests of the ledger."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.audit.dead_letters import DeadLetters
from shared.audit.entries import entry_of
from shared.audit.model import RequestContext
from shared.audit.recorder import Recorder
from shared.core.clock import rfc3339
from shared.core.ids import IdFactory
from shared.ledger.checkpoints import Checkpoints
from shared.ledger.closing import Closing
from shared.ledger.keys import LedgerKeys
from shared.ledger.note import VerifierKey
from shared.ledger.reconciliation import Reconciliation
from shared.ledger.rollups import rollups_of
from shared.ledger.sealer import Sealer
from shared.ledger.service import Ledger
from shared.ledger.shards import Entry, Shards, tile_id
from shared.ledger.statements import Statements
from shared.ledger.tiles import WIDTH
from shared.ledger.verification import Verification
from shared.ledger.witness import Counted, Post, Witness
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS, DEAD_LETTERS, LEDGER
from shared.storage.documents import (
    MAX_BATCH_OPERATIONS,
    DocumentStore,
    Eq,
    Item,
    Partition,
    Query,
    create,
    pages,
)
from shared.storage.errors import Conflict, TooLarge
from shared.storage.sqlite import SqliteStore
from tests.fakes import ClearBox, ManualClock
from tests.ledger.naive import NaiveTree

TENANT = "0195c000-0000-7000-8000-0000000000aa"
OTHER = "0195c000-0000-7000-8000-0000000000bb"
NOW = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
PERIOD = "2026-03"
RETENTION_DAYS = 2555
ORIGIN = "audit.example.com/ledger"


class World:
    """One store; the clock stands. Events are made, kept and sealed by whoever a test says."""

    def __init__(self, store: DocumentStore, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.secrets = MemorySecrets(random.Random(1).randbytes)  # noqa: S311 - a key that guards nothing
        self._ids = IdFactory(clock, random.Random(2).getrandbits)  # noqa: S311
        self._numbers = itertools.count()

    def event(self, at: datetime | None = None, tenant_id: str = TENANT, **fields: Any) -> Item:
        """A finished event, with a number of its own in its attributes."""
        moment = at or self.clock.now()
        number = next(self._numbers)
        return {
            "id": self._ids.new(moment),
            "tenant_id": tenant_id,
            "period": rfc3339(moment)[:7],
            "type": ("auth.login", "profile.view", "custom.invoice_paid")[number % 3],
            "outcome": "success" if number % 4 else "failure",
            "reason": None if number % 4 else "bad_credentials",
            "severity": "info",
            "recorded_at": rfc3339(moment),
            "occurred_at": rfc3339(moment),
            "actor": {"kind": "user", "id": f"u{number % 5}", "role": "member"},
            "target": None,
            "subjects": [f"u{number % 5}"],
            "source": {"kind": "function", "id": "login"},
            "context": {
                "request_id": f"r{number}",
                "trace_id": None,
                "session_id": None,
                "route": "x",
                "duration_ms": 1,
            },
            "data_class": "personal",
            "record_count": 0,
            "attributes": {"number": number},
            "commitments": {},
            "personal": {},
            "schema": 1,
            **fields,
        }

    def events(self, count: int, **fields: Any) -> list[Item]:
        """Some events, a second apart, the newest now."""
        now = self.clock.now()
        return [self.event(now - timedelta(seconds=count - n), **fields) for n in range(count)]

    async def keep(self, events: Sequence[Item]) -> list[Item]:
        """Store events; as they come out of the feed. Those that are there already stay."""
        kept: list[Item] = []
        for partition, group in itertools.groupby(events, lambda event: (event["tenant_id"], event["period"])):
            for some in itertools.batched(group, MAX_BATCH_OPERATIONS, strict=False):
                try:
                    written = await self.store.batch(AUDIT_EVENTS, partition, [create(event) for event in some])
                except (Conflict, TooLarge):
                    kept += [await self._keep(partition, event) for event in some]
                else:
                    kept += [item for item in written if item is not None]
        return kept

    async def _keep(self, partition: Partition, event: Item) -> Item:
        try:
            return await self.store.create(AUDIT_EVENTS, partition, event)
        except Conflict:
            return await self.store.read(AUDIT_EVENTS, partition, event["id"])

    def statements(self, store: DocumentStore | None = None) -> Statements:
        through = store or self.store
        index = BlindIndex(MemorySecrets(), "v1")
        return Statements(through, Recorder(through, self.clock, IdFactory(self.clock), ClearBox(), index))

    def sealer(self, store: DocumentStore | None = None) -> Sealer:
        """A sealer of its own, as another instance of the app has one."""
        through = store or self.store
        letters = DeadLetters(through, self.clock)
        statements, checkpoints = self.statements(store), self.checkpoints(store)
        return Sealer(through, statements, checkpoints, letters, self.clock, IdFactory(self.clock))

    def keys(self, store: DocumentStore | None = None) -> LedgerKeys:
        return LedgerKeys(self.secrets, store or self.store, self.clock, ORIGIN)

    def checkpoints(self, store: DocumentStore | None = None) -> Checkpoints:
        return Checkpoints(store or self.store, self.keys(store), self.clock)

    def ledger(self, store: DocumentStore | None = None) -> Ledger:
        """What answers for the ledger."""
        shards = Shards(store or self.store)
        return Ledger(shards, self.checkpoints(store), self.keys(store), self.statements(store), self.clock, 2555)

    def witness(self, key: VerifierKey, post: Post, counted: Counted = lambda _: None) -> Witness:
        """What offers checkpoints to a witness."""
        keys, shards = self.keys(), Shards(self.store)
        return Witness(
            key=key, post=post, ledger=self.ledger(), shards=shards, keys=keys, store=self.store, counted=counted
        )

    def verification(self, store: DocumentStore | None = None) -> Verification:
        through = store or self.store
        return Verification(
            store=through,
            reconciliation=Reconciliation(through, self.sealer(store), self.clock),
            statements=self.statements(store),
            checkpoints=self.checkpoints(store),
            keys=self.keys(store),
            clock=self.clock,
            retention_days=RETENTION_DAYS,
        )

    def closing(self, store: DocumentStore | None = None) -> Closing:
        through = store or self.store
        shards, checkpoints, statements = Shards(through), self.checkpoints(store), self.statements(store)
        return Closing(through, shards, checkpoints, statements, self.clock, RETENTION_DAYS)

    def request(self) -> RequestContext:
        return RequestContext(self._ids.new(), "timer/test", "test", self.clock.now())

    async def verify(self, tenant_id: str = TENANT) -> list[str]:
        """What a tenant's check has found once another run of it is over, six minutes later."""
        self.clock.advance(minutes=6)
        await self.verification().run(tenant_id, self.request())
        return sorted(await self.found(tenant_id))

    async def seal(self, events: Sequence[Item]) -> None:
        """Store events and seal them in one delivery."""
        await self.sealer().consume(await self.keep(events))

    async def sealed(self, tenant_id: str = TENANT, period: str = PERIOD) -> list[Entry]:
        """Every entry of a shard, in order."""
        shards = Shards(self.store)
        size = (await shards.head(tenant_id, period)).size
        return [each async for page in shards.entries(tenant_id, period, 0, size) for each in page]

    async def found(self, tenant_id: str = TENANT) -> list[str]:
        """What the ledger said that is wrong, in the order in which it said so."""
        query = Query((Eq("type", "ledger.verify_failed"),), order_by="recorded_at", limit=1000)
        page = await self.store.query(AUDIT_EVENTS, (tenant_id,), query)
        return [event["attributes"]["what"] for event in page.items]

    async def dead(self, tenant_id: str = TENANT) -> list[Item]:
        """What went to the dead letters."""
        query = Query((Eq("kind", "dead_letter"),), order_by="created_at")
        return (await self.store.query(DEAD_LETTERS, (tenant_id,), query)).items

    async def check(self, events: Sequence[Item], tenant_id: str = TENANT, period: str = PERIOD) -> None:
        """A shard holds exactly these events, each once, and everything else of it follows from the entries."""
        shards = Shards(self.store)
        head = await shards.head(tenant_id, period)
        entries = await self.sealed(tenant_id, period)
        assert sorted(each.text for each in entries) == sorted(entry_of(event) for event in events)
        assert {each.event_id for each in entries} == {event["id"] for event in events}
        tree = NaiveTree([each.text for each in entries])
        assert head.frontier().root() == tree.root(len(entries))
        by_id = {event["id"]: event for event in events}
        counted = rollups_of(by_id[each.event_id] for each in entries)
        held = await shards.rollups(tenant_id, period, sorted(counted))
        assert set(held) == set(counted)
        for day, rollup in counted.items():
            assert {name: held[day][name] for name in rollup.to_item()} == rollup.to_item()
        stored = {item["id"] async for item in self._items(tenant_id, period)}
        full = {tile_id(0, n) for n in range(len(entries) // WIDTH)}
        assert {each for each in stored if each.startswith("tile|0|")} == full

    async def _items(self, tenant_id: str, period: str) -> AsyncIterator[Item]:
        async for page in pages(self.store, LEDGER, (tenant_id, period), Query(limit=1000)):
            for item in page:
                yield item


@asynccontextmanager
async def new_world(now: datetime = NOW) -> AsyncIterator[World]:
    """A world of its own on the embedded store; the clock stands at `now`."""
    clock = ManualClock(now)
    store = await SqliteStore.open(None, clock=clock)
    try:
        yield World(store, clock)
    finally:
        await store.close()
