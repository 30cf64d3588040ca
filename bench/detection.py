"""Detection: `python -m bench.detection`. What the engine does, what the store is asked, how long an alert takes.

The stream is made here: 40 accounts that sign in, read and change, some of whom are attacked, in the shape of stored
events. All of it in one process; times are of this machine.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx

from bench._figures import figure, table
from bench._servers import ROOT, devhost
from shared.audit.dead_letters import DeadLetters
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import period_of, rfc3339
from shared.core.ids import IdFactory
from shared.detection import DetectionService, all_patterns
from shared.detection.handling import AlertService
from shared.detection.replay import History
from shared.privacy.blind_index import BlindIndex
from shared.privacy.boxes import ClearBox
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import Item
from shared.storage.sqlite import SqliteStore

START = datetime(2026, 3, 15, 8, tzinfo=UTC)
TENANT = "0195c000-0000-7000-8000-0000000000aa"
EVENTS = 200_000
FED = 3_000
HOT = 20_000
LOGINS = 30
ATTACKS = 60
PATIENCE_SECONDS = 20.0


class _Clock:
    """Stands at the end of the stream."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        """That moment."""
        return self._now


def stream(count: int, random: Random) -> list[Item]:
    """Stored events of a tenant, some 25 per second: a mix of what people do, and of attacks."""
    at = START
    events: list[Item] = []
    while len(events) < count:
        at += timedelta(milliseconds=random.randrange(1, 80))
        account = f"account-{random.randrange(40)}"
        kind = random.choices(_KINDS, _WEIGHTS)[0]
        events.append(_event(len(events), at, kind, account, random))
    return events


_KINDS = (
    "profile.view",
    "data.read",
    "auth.login",
    "failed",
    "data.update",
    "user.view",
    "access.denied",
    "data.delete",
)
_WEIGHTS = (40, 25, 12, 6, 10, 4, 2, 1)


def _event(number: int, at: datetime, kind: str, account: str, random: Random) -> Item:
    actor: dict[str, Any] = {"kind": "user", "id": account, "role": "user"}
    target: dict[str, Any] = {"kind": "user", "id": account}
    if kind.startswith("data.") or kind == "user.view":
        target = {"kind": "record", "id": f"record-{random.randrange(5000)}"}
    failed = kind == "failed"
    return {
        "id": f"event-{number:08}",
        "tenant_id": TENANT,
        "period": period_of(at),
        "type": "auth.login" if failed else kind,
        "outcome": "failure" if failed else "denied" if kind == "access.denied" else "success",
        "reason": "bad_credentials" if failed else "role" if kind == "access.denied" else None,
        "recorded_at": rfc3339(at),
        "occurred_at": rfc3339(at),
        "actor": {"kind": "anonymous", "id": None, "role": None} if failed else actor,
        "target": target,
        "context": {"route": "GET /v1/admin/users"},
        "data_class": "personal",
        "record_count": 1,
        "attributes": {},
        "actor_key": None,
        "ip_key": f"v1:{random.randrange(60)}",
        "ua_key": f"v1:{account}",
    }


def engine(rows: list[tuple[str, str]]) -> None:
    """Events per second of CPU: matching, windows, episodes and members of all patterns, one process."""
    events = stream(EVENTS, Random(1))  # noqa: S311 - repeatable on purpose
    best = 0.0
    for _ in range(3):
        began = time.process_time()
        history = History(all_patterns())
        history.add(events)
        found = history.alerts()
        best = max(best, EVENTS / (time.process_time() - began))
    figure("detection", "engine", best, "events/s", patterns=len(all_patterns()), alerts=len(found))
    rows.append(("engine, all patterns, one process", f"{best:,.0f} events/s of CPU"))


class _Counting:
    """A store that counts what it is asked."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.calls: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] = self.calls.get(name, 0) + 1
            return await method(*args, **kwargs)

        return counted


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


async def feed(rows: list[tuple[str, str]]) -> None:
    """What the consumer asks of the store for a thousand events of the stream, and how many it does in a second."""
    events = stream(FED, Random(2))  # noqa: S311 - repeatable on purpose
    clock = _Clock(START + timedelta(hours=1))
    store = await SqliteStore.open(None, clock=clock)
    await _keep(store, events)
    counting = _Counting(store)
    consumer = _consumer(counting, clock)
    began = time.perf_counter()
    for n in range(0, len(events), 100):
        await consumer.consume(events[n : n + 100])
    took = time.perf_counter() - began
    reads = sum(counting.calls.get(name, 0) for name in ("read", "query")) * 1000 / FED
    figure("detection", "store_reads", reads, "per 1,000 events")
    figure("detection", "consumer", FED / took, "events/s")
    rows.append(("store reads per 1,000 events of the stream", f"{reads:,.0f}"))
    rows.append(("consumer on the embedded store", f"{FED / took:,.0f} events/s"))
    await store.close()


async def growth(rows: list[tuple[str, str]]) -> None:
    """One account under attack without end: what a batch costs at the beginning and at the end."""
    clock = _Clock(START + timedelta(hours=12))
    store = await SqliteStore.open(None, clock=clock)
    random = Random(3)  # noqa: S311 - repeatable on purpose
    events = [_event(n, START + timedelta(seconds=n), "failed", "account-1", random) for n in range(HOT)]
    for event in events:
        event["ip_key"] = None
    await _keep(store, events)
    consumer = _consumer(store, clock)
    took = []
    for n in range(0, HOT, 100):
        began = time.perf_counter()
        await consumer.consume(events[n : n + 100])
        took.append((time.perf_counter() - began) * 1000)
    early, late = (statistics.median(took[part]) for part in (slice(30, 60), slice(-30, None)))
    (alert,) = (await _alerts(store, clock).list(TENANT, pattern="brute_force")).items
    figure("detection", "batch_early", early, "ms", events=6000)
    figure("detection", "batch_late", late, "ms", events=HOT, count=alert["count"])
    rows.append(("a batch of 100 on a key of 6,000 events", f"{early:,.0f} ms"))
    rows.append((f"the same on a key of {HOT:,}", f"{late:,.0f} ms"))
    await store.close()


async def caught(rows: list[tuple[str, str]]) -> None:
    """Five failures over 14 minutes, wherever they lie to the quarter of an hour."""
    clock = _Clock(START + timedelta(days=3))
    store = await SqliteStore.open(None, clock=clock)
    consumer = _consumer(store, clock)
    random = Random(4)  # noqa: S311 - repeatable on purpose
    for attack in range(ATTACKS):
        start = START + timedelta(seconds=random.uniform(0, 86_400))
        events = [
            _event(attack * 10 + n, start + n * timedelta(minutes=3.5), "failed", f"victim-{attack}", random)
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


def latency(rows: list[tuple[str, str]]) -> None:
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


def main() -> int:
    """Measure and print."""
    rows: list[tuple[str, str]] = []
    engine(rows)
    for each in (feed, growth, caught):
        asyncio.run(each(rows))
    latency(rows)
    table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
