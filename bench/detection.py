"""Detection: `python -m bench.detection [FOLDER]`. Speed of the engine, calls of the store, time until an alert.

The events are those of some days of simulated companies (docs/simulation.md), which the simulator makes first; with a
folder they stay there for the next run. What grows with history is told as calls and items of the store, which nothing
else on the machine can change.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx

from bench._counted import CountedStore
from bench._figures import figure, table
from bench._servers import ROOT, devhost
from shared.audit.dead_letters import DeadLetters
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import SystemClock, parse_rfc3339, period_of, rfc3339
from shared.core.ids import IdFactory
from shared.detection import DetectionService, all_patterns
from shared.detection.handling import AlertService
from shared.detection.replay import History
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import FEED_START, MAX_PAGE, Item
from shared.storage.sqlite import SqliteStore
from tests.fakes import ClearBox

START = datetime(2026, 3, 15, 8, tzinfo=UTC)
TENANT = "0195c000-0000-7000-8000-0000000000aa"
SIMULATION = ("--tenants", "3", "--users", "24", "--days", "4")
EVENTS = 200_000
BATCH = 100
SIZES = (1_000, 10_000, 100_000)
READ = (25, 100, 400)
"""Records that each of `BATCH` people read within ten minutes; 50 are an alert."""
MEASURED = 5
"""Batches before each of those sizes."""
LOGINS = 30
ATTACKS = 60
PATIENCE_SECONDS = 20.0


type Rows = list[tuple[str, str]]


class _Clock:
    """Stands where it is put."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        """That moment."""
        return self._now

    def set(self, now: datetime) -> None:
        """Put it somewhere else."""
        self._now = now


def simulated(folder: str) -> list[Item]:
    """The trail of some simulated companies, in the order of its recording; `folder` holds it already, or will."""
    if not (Path(folder) / "kraftd.sqlite").exists():
        command = [sys.executable, "-m", "devhost.simulate", *SIMULATION, "--data", folder]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own module
    return asyncio.run(_trail(folder))


async def _trail(folder: str) -> list[Item]:
    store = await SqliteStore.open(Path(folder) / "kraftd.sqlite", clock=SystemClock())
    try:
        found: list[Item] = []
        position = FEED_START
        while changes := await store.changes(AUDIT_EVENTS, position, MAX_PAGE):
            found += [change.item for change in changes]
            position = changes[-1].position
    finally:
        await store.close()
    own = [{name: value for name, value in each.items() if not name.startswith("_")} for each in found]
    return sorted(own, key=lambda each: (each["recorded_at"], each["id"]))


def copies(events: Sequence[Item], count: int) -> list[Item]:
    """So many events: those of the trail again and again, each time in other tenants and from other addresses."""
    made = []
    for n in range(count):
        turn, place = divmod(n, len(events))
        event = events[place]
        own: Item = {"id": f"{event['id']}-{turn}", "tenant_id": f"{event['tenant_id']}-{turn}"}
        own["ip_key"] = event.get("ip_key") and f"{event['ip_key']}-{turn}"
        made.append({**event, **own})
    return made


def _failed(number: int, at: datetime, account: str, ip_key: str | None) -> Item:
    """A stored sign-in with a wrong password."""
    return {
        "id": f"event-{number:08}",
        "tenant_id": TENANT,
        "period": period_of(at),
        "type": "auth.login",
        "outcome": "failure",
        "reason": "bad_credentials",
        "recorded_at": rfc3339(at),
        "occurred_at": rfc3339(at),
        "actor": {"kind": "anonymous", "id": None, "role": None},
        "target": {"kind": "user", "id": account},
        "attributes": {},
        "ip_key": ip_key,
    }


def _read(number: int, at: datetime, actor: str) -> Item:
    """A stored reading of a record of its own."""
    own: Item = {"type": "data.read", "outcome": "success", "reason": None, "record_count": 1, "data_class": "none"}
    own["actor"] = {"kind": "user", "id": actor, "role": "user"}
    own["target"] = {"kind": "record", "id": f"record-{number}"}
    return _failed(number, at, "", None) | own


def engine(rows: Rows, trail: Sequence[Item]) -> None:
    """Events per second of CPU: matching, windows, episodes and members of all patterns, one process."""
    events = copies(trail, EVENTS)
    best = 0.0
    for _ in range(3):
        began = time.process_time()
        history = History(all_patterns())
        history.add(events)
        found = history.alerts()
        best = max(best, EVENTS / (time.process_time() - began))
    figure("detection", "engine", best, "events/s", patterns=len(all_patterns()), alerts=len(found))
    rows.append(("engine, all patterns, one process", f"{best:,.0f} events/s of CPU"))


@dataclass(frozen=True, slots=True)
class _Cost:
    """What some events cost, each: calls of the store, items that it gave, CPU of all threads."""

    calls: float
    items: float
    cpu_us: float


async def _cost(consumer: DetectionService, store: CountedStore, batch: Sequence[Item]) -> _Cost:
    """What the consumer takes for a batch, which is stored already."""
    calls, items, count = store.calls.total(), store.items, len(batch)
    began = time.process_time()
    await consumer.consume(batch)
    used = time.process_time() - began
    return _Cost((store.calls.total() - calls) / count, (store.items - items) / count, 1e6 * used / count)


def _cut(events: Sequence[Item], size: int = BATCH) -> list[Sequence[Item]]:
    return [events[n : n + size] for n in range(0, len(events), size)]


def _consumer(store: Any, clock: _Clock) -> DetectionService:
    ids = IdFactory(clock)
    recorder = Recorder(store, clock, ids, ClearBox(), BlindIndex(MemorySecrets(), "v1"))
    outbox = Outbox(store, recorder, clock, ids)
    return DetectionService(store, outbox, recorder, DeadLetters(store, clock), clock, ids)


def _alerts(store: Any, clock: _Clock) -> AlertService:
    ids = IdFactory(clock)
    recorder = Recorder(store, clock, ids, ClearBox(), BlindIndex(MemorySecrets(), "v1"))
    return AlertService(store, Outbox(store, recorder, clock, ids), recorder, clock)


async def _keep(store: SqliteStore, events: Sequence[Item]) -> None:
    for n in range(0, len(events), 500):
        part = events[n : n + 500]
        await asyncio.gather(*(store.create(AUDIT_EVENTS, (e["tenant_id"], e["period"]), e) for e in part))


async def feed(rows: Rows, trail: Sequence[Item]) -> None:
    """What the consumer asks of the store for a thousand events of the trail, in full batches and one by one.

    Each is stored just before its batch is handled. Hundred are hours here, so full batches show how it catches up:
    sign-ins are late then.
    """
    for size in (BATCH, 1):
        clock = _Clock(START)
        store = await SqliteStore.open(None, clock=clock)
        counting = CountedStore(store)
        consumer = _consumer(counting, clock)
        used = 0.0
        for batch in _cut(trail, size):
            clock.set(parse_rfc3339(batch[-1]["recorded_at"]))
            await _keep(store, batch)
            began = time.process_time()
            await consumer.consume(batch)
            used += time.process_time() - began
        reads, all_calls = (1000 * n / len(trail) for n in (counting.reads, counting.calls.total()))
        figure("detection", "store_reads", reads, "per 1,000 events", batch=size)
        figure("detection", "store_calls", all_calls, "per 1,000 events", batch=size)
        figure("detection", "consumer_cpu", 1e6 * used / len(trail), "us per event", batch=size)
        rows.append((f"store reads per 1,000 events, batches of {size}", f"{reads:,.0f} (all calls {all_calls:,.0f})"))
        rows.append((f"consumer, batches of {size}", f"{1e6 * used / len(trail):,.0f} us of CPU per event"))
        await store.close()


async def hot_growth(rows: Rows) -> None:
    """One account under attack without end, a failure per second: what a thousand events more cost."""
    clock = _Clock(START + timedelta(days=2))
    store = await SqliteStore.open(None, clock=clock)
    counting = CountedStore(store)
    consumer = _consumer(counting, clock)
    known = 0
    for size in SIZES:
        events = [_failed(n, START + timedelta(seconds=n), "account-1", None) for n in range(known, size)]
        known = size
        for batch in _cut(events[: -MEASURED * BATCH], 10 * BATCH):
            await _keep(store, batch)
            await consumer.consume(batch)
        costs = []
        for batch in _cut(events[-MEASURED * BATCH :]):
            await _keep(store, batch)
            costs.append(_values(await _cost(consumer, counting, batch)))
        _told(rows, "hot_key", size, _Cost(*map(statistics.fmean, zip(*costs, strict=True))))
    (alert, *_) = (await _alerts(store, clock).list(TENANT, pattern="brute_force")).items
    figure("detection", "hot_key_count", alert["count"], "events of its last alert")
    await store.close()


async def long_growth(rows: Rows) -> None:
    """A tenant that grows old: two years of other people's failed sign-ins, one every ten minutes. What new ones of
    hundred people cost."""
    now = START + timedelta(days=800)
    clock = _Clock(now)
    store = await SqliteStore.open(None, clock=clock)
    counting = CountedStore(store)
    consumer = _consumer(counting, clock)
    known = 0
    for size in SIZES:
        past = [
            _failed(n, now - (n + 1) * timedelta(minutes=10), f"account-{n % 2000}", f"v1:{n % 60}")
            for n in range(known, size)
        ]
        known = size
        await _keep(store, past)
        first = 10 * BATCH + len(str(size)) * BATCH  # others each time
        new = [_failed(10**7 + size + n, now, f"account-{n}", f"v1:new-{n}") for n in range(first, first + BATCH)]
        await _keep(store, new)
        _told(rows, "many_keys", size, await _cost(consumer, counting, new))
    await store.close()


async def busy_growth(rows: Rows) -> None:
    """Hundred people who go on reading: what a record more of each costs when so many lie in the window."""
    for size in READ:
        clock = _Clock(START + timedelta(minutes=10))
        store = await SqliteStore.open(None, clock=clock)
        counting = CountedStore(store)
        consumer = _consumer(counting, clock)
        step = timedelta(minutes=10) / size
        turns = [
            [_read(turn * BATCH + n, START + turn * step, f"person-{n}") for n in range(BATCH)]
            for turn in range(size + MEASURED)
        ]
        await _keep(store, past := [event for turn in turns[:size] for event in turn])
        for batch in _cut(past, 10 * BATCH):
            await consumer.consume(batch)
        costs = []
        for turn in turns[size:]:
            await _keep(store, turn)
            costs.append(_values(await _cost(consumer, counting, turn)))
        _told(rows, "busy_key", size, _Cost(*map(statistics.fmean, zip(*costs, strict=True))))
        await store.close()


def _values(cost: _Cost) -> tuple[float, float, float]:
    return cost.calls, cost.items, cost.cpu_us


def _told(rows: Rows, what: str, size: int, cost: _Cost) -> None:
    for metric, value, unit in zip(("calls", "items", "cpu"), _values(cost), ("1", "1", "us"), strict=True):
        figure("detection", f"{what}_{metric}_per_event", value, unit, events=size)
    told = f"{cost.calls:.2f} calls, {cost.items:.1f} items, {cost.cpu_us:,.0f} us of CPU"
    rows.append((f"an event more after {size:,} ({what.replace('_', ' ')})", told))


async def caught(rows: Rows) -> None:
    """Five failures over 14 minutes, wherever they lie to the quarter of an hour."""
    clock = _Clock(START + timedelta(days=3))
    store = await SqliteStore.open(None, clock=clock)
    consumer = _consumer(store, clock)
    random = Random(4)  # noqa: S311 - repeatable on purpose
    for attack in range(ATTACKS):
        start = START + timedelta(seconds=random.uniform(0, 86_400))
        events = [
            _failed(attack * 10 + n, start + n * timedelta(minutes=3.5), f"victim-{attack}", f"v1:{attack}")
            for n in range(5)
        ]
        await _keep(store, events)
        random.shuffle(events)
        for event in events:
            await consumer.consume([event])
    found = await _alerts(store, clock).list(TENANT, pattern="brute_force", limit=1000)
    share = 100 * len({alert["key"] for alert in found.items}) / ATTACKS
    figure("detection", "low_and_slow", share, "%", attacks=ATTACKS)
    rows.append(("low and slow (5 in 14 minutes) caught", f"{share:.0f} %"))
    await store.close()


def latency(rows: Rows) -> None:
    """From sending the fifth wrong password to the alert in GET /alerts, on the local host with its feed running."""
    waits = []
    with (
        tempfile.TemporaryDirectory(prefix="kraftd-bench-") as data,
        devhost(ROOT, data) as app,
        httpx.Client(base_url=f"{app.url}/v1", timeout=30) as client,
    ):
        for number in range(LOGINS):
            waits.append(_attack(client, f"person{number}@example.com"))
    p50, p99 = statistics.median(waits), sorted(waits)[max(0, round(len(waits) * 0.99) - 1)]
    figure("detection", "latency_p50", p50, "ms", attacks=LOGINS)
    figure("detection", "latency_p99", p99, "ms", attacks=LOGINS)
    rows.append(("POST /login to visible alert, p50 / p99", f"{p50:,.0f} / {p99:,.0f} ms"))


def _attack(client: httpx.Client, email: str) -> float:
    """One attack on one new account; milliseconds. RuntimeError when no alert comes."""
    body = {"email": email, "password": "a long enough password", "first_name": "Some", "last_name": "Body"}
    body |= {"organization": "Example"}
    answer = client.post("/register", json={**body, "accept_terms": True, "accept_privacy": True})
    auth = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
    for _ in range(4):
        client.post("/login", json={"email": email, "password": "wrong"})
    began = time.perf_counter()
    client.post("/login", json={"email": email, "password": "wrong"})
    while time.perf_counter() - began < PATIENCE_SECONDS:
        if client.get("/alerts?pattern=brute_force", headers=auth).json()["items"]:
            return (time.perf_counter() - began) * 1000
        time.sleep(0.005)
    raise RuntimeError("no alert")


def main(arguments: Sequence[str] = ()) -> int:
    """Measure and print. An argument: the folder of a simulated trail, which is made there if there is none."""
    rows: Rows = []
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as own:
        trail = simulated(arguments[0] if arguments else own)
    rows.append(("events of the simulated trail", f"{len(trail):,}"))
    engine(rows, trail)
    asyncio.run(feed(rows, trail))
    for each in (hot_growth, long_growth, busy_growth, caught):
        asyncio.run(each(rows))
    latency(rows)
    table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
