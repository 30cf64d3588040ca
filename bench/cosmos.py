"""What the Cosmos DB adapter adds to a bare call of azure-cosmos: `python -m bench.cosmos` (some thirty seconds).

Both speak to the emulator of the tests over HTTPS, call by call, in rounds that alternate; a figure is the median of
the rounds, a ratio is taken within each. The emulator's own work is part of both, so a real account, which is further
away, shows less of a difference. At the end: what a process holds in memory before and after it has a client.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from azure.cosmos.aio import ContainerProxy, CosmosClient

from bench._figures import figure, table
from bench._servers import ROOT
from bench.storage import PARTITION, Events
from shared.core.clock import SystemClock
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import Query, create
from tests.cosmos_emulator.emulator import KEY, Emulator
from tests.storage.conftest import definition

ROUNDS = 7
CALLS = 60
PAGE = 50
DATABASE = "bench"
_MEMORY = """
import asyncio, sys
from pathlib import Path

def resident():
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024

import function_app
before = resident()
from shared.core.clock import SystemClock
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import Query

async def main(endpoint, key, database):
    store = await CosmosStore.open(
        endpoint, clock=SystemClock(), database=database, key=key, accept_self_signed=True
    )
    await store.query(AUDIT_EVENTS, ("tenant-1",), Query(limit=1))
    await asyncio.sleep(0.5)
    print(before, resident(), len(sys.modules))
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""

type Call = Callable[[], Awaitable[object]]


async def per_call_ms(call: Call) -> float:
    """Milliseconds that a call takes, the mean over one round."""
    start = time.perf_counter()
    for _ in range(CALLS):
        await call()
    return (time.perf_counter() - start) / CALLS * 1000


def pairs(store: CosmosStore, bare: ContainerProxy, known: str) -> dict[str, tuple[Call, Call]]:
    """For each operation: the adapter's call, and the SDK's own for the same work."""
    events = Events()
    key = list(PARTITION)
    sql = "SELECT * FROM c WHERE c.tenant_id = @t AND c.period = @p ORDER BY c.recorded_at DESC, c.id DESC"
    values: list[dict[str, object]] = [{"name": "@t", "value": PARTITION[0]}, {"name": "@p", "value": PARTITION[1]}]

    async def bare_page() -> object:
        rows = bare.query_items(sql, parameters=values, partition_key=key, max_item_count=PAGE).by_page()
        return [row async for row in await anext(rows)]

    newest = Query(order_by="recorded_at", descending=True, limit=PAGE)
    return {
        "read": (
            lambda: store.read(AUDIT_EVENTS, PARTITION, known),
            lambda: bare.read_item(known, key),
        ),
        "create": (
            lambda: store.create(AUDIT_EVENTS, PARTITION, events.next()),
            lambda: bare.create_item(events.next()),
        ),
        "batch of 2": (
            lambda: store.batch(AUDIT_EVENTS, PARTITION, [create(events.next()), create(events.next())]),
            lambda: bare.execute_item_batch([("create", (events.next(),)), ("create", (events.next(),))], key),
        ),
        f"page of {PAGE}": (lambda: store.query(AUDIT_EVENTS, PARTITION, newest), bare_page),
    }


async def measure(emulator: Emulator) -> dict[str, tuple[float, float, float]]:
    """By operation: milliseconds of the adapter, of the bare SDK, and the median ratio of the rounds."""
    store = await CosmosStore.open(
        emulator.endpoint, clock=SystemClock(), database=DATABASE, key=KEY, accept_self_signed=True
    )
    async with CosmosClient(emulator.endpoint, KEY, connection_verify=False) as client:
        bare = client.get_database_client(DATABASE).get_container_client(AUDIT_EVENTS.name)
        first = Events().next()
        await store.create(AUDIT_EVENTS, PARTITION, first)
        found: dict[str, tuple[float, float, float]] = {}
        for name, (ours, theirs) in pairs(store, bare, first["id"]).items():
            await per_call_ms(ours)
            await per_call_ms(theirs)
            rounds = [(await per_call_ms(ours), await per_call_ms(theirs)) for _ in range(ROUNDS)]
            mine, bares = zip(*rounds, strict=True)
            ratio = statistics.median(a / b for a, b in rounds)
            found[name] = (statistics.median(mine), statistics.median(bares), ratio)
    await store.close()
    return found


def memory_mib(emulator: Emulator) -> tuple[float, float]:
    """Resident memory of a process that has the app imported, and of one that has the client open and idle besides."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _MEMORY, emulator.endpoint, KEY, DATABASE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    before, after, _ = done.stdout.split()
    return float(before), float(after)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator.start(Path(folder))
        try:
            emulator.create_database(DATABASE, [definition(AUDIT_EVENTS)])
            found = asyncio.run(measure(emulator))
            imported, idle = memory_mib(emulator)
        finally:
            emulator.stop()
    table(
        [
            (name, f"adapter {ours:6.2f} ms   bare SDK {bare:6.2f} ms   ratio {ratio:4.2f}")
            for name, (ours, bare, ratio) in found.items()
        ]
        + [("memory, app imported", f"{imported:.0f} MiB"), ("memory, client open and idle", f"{idle:.0f} MiB")]
    )
    for name, (ours, bare, ratio) in found.items():
        figure("cosmos", "adapter", ours, "ms", operation=name)
        figure("cosmos", "bare_sdk", bare, "ms", operation=name)
        figure("cosmos", "ratio", ratio, "1", operation=name)
    figure("cosmos", "memory_imported", imported, "MiB")
    figure("cosmos", "memory_client_open", idle, "MiB")


if __name__ == "__main__":
    main()
