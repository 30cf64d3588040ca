"""What sealing and checking ask of the store and of a core, for `bench.ledger`."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import batched, islice
from pathlib import Path
from statistics import quantiles
from typing import Any

from bench._metered import Meter, MeteredStore
from shared.audit.dead_letters import DeadLetters
from shared.audit.model import RequestContext
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, SystemClock, parse_rfc3339, period_of, rfc3339
from shared.core.ids import IdFactory
from shared.ledger.checkpoints import Checkpoints
from shared.ledger.keys import LedgerKeys
from shared.ledger.reconciliation import Reconciliation
from shared.ledger.sealer import Sealer
from shared.ledger.shards import Shards
from shared.ledger.statements import Statements
from shared.ledger.verification import Verification
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS, Container
from shared.storage.documents import BatchOperation, Item, Partition, create
from tests.fakes import ClearBox

BATCH = 90
SEALED = 20_000
SIZES = (1_000, 10_000, 100_000)
MEASURED = 20
"""Batches at each size."""
LAGGING, PER_SECOND = 2_000, 200

type Figure = tuple[str, float, str, dict[str, str | int]]


class Late:
    """A clock that stands at the end of the month of the events."""

    def now(self) -> datetime:
        """Always the same."""
        return datetime(2026, 3, 31, 23, 59, tzinfo=UTC)


class WeighedStore(MeteredStore):
    """Also counts the bytes that batches write."""

    written = 0

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        """As the port says."""
        self.written += sum(len(json.dumps(each.item, ensure_ascii=False).encode()) for each in operations if each.item)
        return await super().batch(container, partition, operations)


class Ledger:
    """A sealer and a check over a store of their own."""

    def __init__(self, store: WeighedStore, clock: Clock) -> None:
        store.meter = self.meter = Meter()
        self.store = store
        statements = Statements(
            store, Recorder(store, clock, IdFactory(clock), ClearBox(), BlindIndex(MemorySecrets(), "v1"))
        )
        keys = LedgerKeys(MemorySecrets(), store, clock, "ledger.example.com")
        checkpoints, letters = Checkpoints(store, keys, clock), DeadLetters(store, clock)
        self.sealer = Sealer(store, statements, checkpoints, letters, clock, IdFactory(clock))
        self.verification = Verification(
            store=store,
            reconciliation=Reconciliation(store, self.sealer, clock),
            statements=statements,
            checkpoints=checkpoints,
            keys=keys,
            clock=clock,
            retention_days=2555,
        )

    @classmethod
    async def open(cls, path: Path | None, clock: Clock) -> "Ledger":
        """On a store in a file, or in memory."""
        store = await WeighedStore.open(path, clock=clock)
        if not isinstance(store, WeighedStore):
            raise TypeError("`open` of a subclass gives the subclass")
        return cls(store, clock)

    async def costs(self, work: Callable[[], Awaitable[object]]) -> tuple[float, float, int, float, int]:
        """Elapsed seconds, those of the CPU, calls of the store, request units (model) and bytes in batches."""
        self.meter.reset()
        self.store.written = 0
        start, cpu = time.perf_counter(), time.process_time()
        await work()
        took, worked = time.perf_counter() - start, time.process_time() - cpu
        return took, worked, len(self.meter.calls), self.meter.ru, self.store.written

    async def seal(self, events: Iterable[Item]) -> None:
        """As the change feed delivers them."""
        for batch in batched(events, BATCH, strict=False):
            await self.sealer.consume(batch)


def delivered(events: Iterable[dict[str, Any]]) -> Iterator[Item]:
    """Events as the feed shows them, stored when they were recorded."""
    for event in events:
        yield event | {"personal": {}, "_ts": int(parse_rfc3339(event["recorded_at"]).timestamp())}


async def sealing(folder: Path, events: Iterable[dict[str, Any]], tenant_id: str) -> list[Figure]:
    """Sealing SEALED events into a file, then checking all of them, then checking where nothing is new."""
    ledger = await Ledger.open(folder / "sealing.sqlite", Late())
    items = list(islice(delivered(events), SEALED))
    for batch in batched(items, 100, strict=False):
        await ledger.store.batch(AUDIT_EVENTS, (tenant_id, batch[0]["period"]), [create(each) for each in batch])
    took, cpu, calls, ru, written = await ledger.costs(lambda: ledger.seal(items))
    thousands = SEALED / 1000
    labels: dict[str, str | int] = {"events": SEALED}
    found: list[Figure] = [
        ("sealer", SEALED / took, "events/s", labels),
        ("sealer_cpu", SEALED / cpu, "events/s of CPU", labels),
        ("sealer_calls", calls / thousands, "per 1,000 events", labels),
        ("sealer_request_units", ru / thousands, "RU (model) per 1,000 events", labels),
        ("sealer_bytes", written / SEALED / 1024, "KiB per event", labels),
    ]
    request = RequestContext("bench", "bench", "bench", Late().now())
    for name, count in (("check", SEALED), ("check_again", 0)):
        took, cpu, calls, ru, _ = await ledger.costs(lambda: ledger.verification.run(tenant_id, request))
        if count:
            found += [
                (f"{name}_cpu", count / cpu, "entries/s of CPU", labels),
                (f"{name}_calls", calls / thousands, "per 1,000 entries", labels),
                (f"{name}_request_units", ru / thousands, "RU (model) per 1,000 entries", labels),
            ]
        else:
            found += [
                (f"{name}_calls", calls, "a run", labels),
                (f"{name}_request_units", ru, "RU (model) a run", labels),
            ]
    size = (await Shards(ledger.store).head(tenant_id, period_of(Late().now()))).size
    await ledger.store.close()
    if size != SEALED:
        raise SystemExit(f"{size} of {SEALED} events were sealed")
    return found


async def growing(events: Iterable[dict[str, Any]]) -> list[Figure]:
    """What a batch asks of the store when the log has reached a size."""
    ledger = await Ledger.open(None, Late())
    stream = delivered(events)
    found: list[Figure] = []
    size = 0
    for goal in SIZES:
        await ledger.seal(islice(stream, goal - size))
        measured = list(islice(stream, MEASURED * BATCH))
        _, cpu, calls, ru, written = await ledger.costs(partial(ledger.seal, measured))
        size = goal + len(measured)
        labels: dict[str, str | int] = {"entries": goal}
        found += [
            ("batch_calls", calls / MEASURED, f"per batch of {BATCH}", labels),
            ("batch_bytes", written / MEASURED / 1024, f"KiB per batch of {BATCH}", labels),
            ("batch_request_units", ru / MEASURED, f"RU (model) per batch of {BATCH}", labels),
            ("batch_cpu", cpu / MEASURED * 1000, f"ms of CPU per batch of {BATCH}", labels),
        ]
    await ledger.store.close()
    return found


async def lagging(folder: Path, event: dict[str, Any]) -> list[Figure]:
    """From an event's being stored to its being sealed, by a feed in the same process."""
    clock = SystemClock()
    ids = IdFactory(clock)
    ledger = await Ledger.open(folder / "lagging.sqlite", clock)
    stored: dict[str, float] = {}
    lags: list[float] = []

    async def write() -> None:
        for _ in range(LAGGING):
            now = clock.now()
            at = {"id": ids.new(now), "period": period_of(now), "recorded_at": rfc3339(now)}
            item = await ledger.store.create(AUDIT_EVENTS, (event["tenant_id"], at["period"]), {**event, **at})
            stored[item["id"]] = time.perf_counter()
            await asyncio.sleep(1 / PER_SECOND)

    async def feed() -> None:
        position: Any = 0
        while len(lags) < LAGGING:
            if not await ledger.store.wait_for_change(AUDIT_EVENTS, position, 1):
                continue
            changes = await ledger.store.changes(AUDIT_EVENTS, position, BATCH)
            items = [change.item for change in changes]
            await ledger.sealer.consume(items)
            now = time.perf_counter()
            lags.extend(max(0.0, now - stored.get(item["id"], now)) for item in items)
            position = changes[-1].position

    await asyncio.gather(write(), feed())
    await ledger.store.close()
    cuts = quantiles(lags, n=100)
    labels: dict[str, str | int] = {"events_per_second": PER_SECOND}
    return [("lag_p50", cuts[49] * 1000, "ms", labels), ("lag_p99", cuts[98] * 1000, "ms", labels)]
