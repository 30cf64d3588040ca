"""What the embedded store does per second: `python -m bench.storage` (some ten seconds, in a temporary folder).

Every create is durable (fsync) when it is counted. The floor is bare sqlite3 in the same run, inserting the same bytes
in transactions of 50 into one table without our indexes: what the disk and the engine allow.
"""

import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from bench._figures import figure, table
from shared.core.clock import SystemClock, rfc3339
from shared.core.ids import IdFactory
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import Eq, Item, Query
from shared.storage.sqlite import SqliteStore

SECONDS = 2.5
WRITERS = 32
GROUP = 50
PARTITION = ("tenant-1", "2026-03")


class Events:
    """Makes audit events of about one kilobyte, each with an id and a time of its own."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._ids = IdFactory(self._clock)

    def next(self) -> Item:
        """The next event."""
        now = rfc3339(self._clock.now())
        return {
            "id": self._ids.new(),
            "tenant_id": PARTITION[0],
            "period": PARTITION[1],
            "type": "auth.login.succeeded",
            "outcome": "success",
            "reason": "ok",
            "severity": "info",
            "recorded_at": now,
            "occurred_at": now,
            "actor": {"kind": "user", "id": "user-17", "role": "member"},
            "target": {"kind": "user", "id": "user-17"},
            "subjects": ["user-17"],
            "source": {"kind": "function", "id": "login"},
            "context": {"request_id": "r" * 36, "trace_id": "t" * 32, "session_id": "s" * 36, "route": "v1/auth/login"},
            "data_class": "personal",
            "attributes": {"method": "password"},
            "personal": {"user-17": "x" * 300},
            "commitments": {"user-17": "c" * 44},
            "actor_key": "1:" + "a" * 64,
            "ip_key": "1:" + "b" * 64,
            "schema": 1,
        }


async def creates(store: SqliteStore, events: Events, writers: int) -> tuple[float, list[float]]:
    """Creates per second with so many writers, and how long each took, in seconds, sorted."""
    latencies: list[float] = []
    start = time.perf_counter()
    deadline = start + SECONDS

    async def writer() -> None:
        while (before := time.perf_counter()) < deadline:
            await store.create(AUDIT_EVENTS, PARTITION, events.next())
            latencies.append(time.perf_counter() - before)

    await asyncio.gather(*(writer() for _ in range(writers)))
    return len(latencies) / (time.perf_counter() - start), sorted(latencies)


async def point_reads(store: SqliteStore) -> float:
    """Point reads per second over a thousand items."""
    page = await store.query(AUDIT_EVENTS, PARTITION, Query(limit=1000, fields=("id",)))
    ids = [item["id"] for item in page.items]
    count = 0
    start = time.perf_counter()
    while time.perf_counter() < start + 1:
        await store.read(AUDIT_EVENTS, PARTITION, ids[count % len(ids)])
        count += 1
    return count / (time.perf_counter() - start)


async def pages(store: SqliteStore) -> float:
    """Pages of 50, newest first, one filter, per second."""
    query = Query(where=(Eq("actor.id", "user-17"),), order_by="recorded_at", descending=True, limit=50)
    count = 0
    start = time.perf_counter()
    while time.perf_counter() < start + 1:
        await store.query(AUDIT_EVENTS, PARTITION[:1], query)
        count += 1
    return count / (time.perf_counter() - start)


def floor(folder: Path, events: Events) -> float:
    """Inserts per second of bare sqlite3 in transactions of 50, same durability."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE items (id TEXT PRIMARY KEY, body TEXT NOT NULL)")
        count = 0
        start = time.perf_counter()
        while time.perf_counter() < start + SECONDS:
            connection.execute("BEGIN")
            for _ in range(GROUP):
                event = events.next()
                connection.execute("INSERT INTO items VALUES (?, ?)", (event["id"], json.dumps(event)))
            connection.execute("COMMIT")
            count += GROUP
        return count / (time.perf_counter() - start)
    finally:
        connection.close()


def percentile(ordered: list[float], share: float) -> float:
    """The value below which `share` of the sorted values lie."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def measure(folder: Path) -> list[tuple[str, float, str, dict[str, Any]]]:
    """Every figure: metric, value, unit, labels."""
    events = Events()
    store = await SqliteStore.open(folder / "store.db", clock=SystemClock())
    figures: list[tuple[str, float, str, dict[str, Any]]] = []
    rates: dict[int, float] = {}
    try:
        for writers in (1, WRITERS):
            rates[writers], latencies = await creates(store, events, writers)
            figures.append(("creates_per_second", rates[writers], "1/s", {"writers": writers}))
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                value = percentile(latencies, share) * 1000
                figures.append((f"create_latency_{name}", value, "ms", {"writers": writers}))
        figures.append(("point_reads_per_second", await point_reads(store), "1/s", {}))
        figures.append(("filtered_pages_per_second", await pages(store), "1/s", {"rows": 50}))
    finally:
        await store.close()
    bare = await asyncio.to_thread(floor, folder, events)
    figures.append(("floor_inserts_per_second", bare, "1/s", {"group": GROUP}))
    figures.append(("grouped_to_alone", rates[WRITERS] / rates[1], "ratio", {"writers": WRITERS}))
    figures.append(("grouped_to_floor", rates[WRITERS] / bare, "ratio", {"writers": WRITERS}))
    return figures


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as folder:
        figures = asyncio.run(measure(Path(folder)))
    rows = []
    for metric, value, unit, labels in figures:
        suffix = "".join(f", {value} {name}" for name, value in labels.items())
        rows.append((metric.replace("_", " ") + suffix, f"{value:,.2f} {unit}"))
    table(rows)
    for metric, value, unit, labels in figures:
        figure("storage", metric, value, unit, **labels)


if __name__ == "__main__":
    main()
