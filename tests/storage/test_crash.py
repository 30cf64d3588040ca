"""Kill -9 and a full disk, in a process of its own: what was acknowledged is there, and no batch is torn."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.core.clock import SystemClock
from shared.storage.containers import IDENTITY
from shared.storage.documents import Item, Query
from shared.storage.sqlite import SqliteStore

ROUNDS = 3
BATCH = 7
T1 = ("t1",)

# Reports each acknowledged write on its own line, after the fact: what is printed must survive.
WRITER = """
import asyncio, pathlib, sys
from shared.core.clock import SystemClock
from shared.storage.containers import IDENTITY
from shared.storage.documents import PatchIncrement, create
from shared.storage.sqlite import SqliteStore

T1 = ("t1",)
BATCH = int(sys.argv[3])

def say(line):
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()

async def single(store, name):
    for turn in range(10**9):
        await store.create(IDENTITY, T1, {"id": f"{name}.{turn}", "tenant_id": "t1", "kind": "single"})
        say(f"single {name}.{turn}")

async def batches(store, name):
    for turn in range(10**9):
        ids = [f"{name}.{turn}.{part}" for part in range(BATCH)]
        items = [{"id": each, "tenant_id": "t1", "kind": "part", "whole": f"{name}.{turn}"} for each in ids]
        await store.batch(IDENTITY, T1, [create(each) for each in items])
        say(f"batch {name}.{turn}")

async def counter(store, name):
    await store.create(IDENTITY, T1, {"id": name, "tenant_id": "t1", "kind": "counter", "n": 0})
    while True:
        item = await store.patch(IDENTITY, T1, name, [PatchIncrement("n")])
        say(f"counter {name} {item['n']}")

async def main(path, label, _):
    store = await SqliteStore.open(pathlib.Path(path), clock=SystemClock())
    say("ready")
    writers = [single(store, f"{label}-s{n}") for n in range(6)]
    writers += [batches(store, f"{label}-b{n}") for n in range(4)]
    writers += [counter(store, f"{label}-c")]
    await asyncio.gather(*writers)

asyncio.run(main(*sys.argv[1:]))
"""


def crash(path: Path, label: str, lines_before: int) -> list[list[str]]:
    """Let a writer report so many writes, kill it, return every complete line that it reported."""
    command = [sys.executable, "-c", WRITER, str(path), label, str(BATCH)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own script
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(lines_before)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    assert lines[0] == "ready\n"
    return [line.split() for line in lines[1:] if line.endswith("\n")]


async def everything(store: SqliteStore) -> dict[str, Item]:
    found: dict[str, Item] = {}
    page = await store.query(IDENTITY, T1, Query(limit=1000))
    while True:
        found.update((each["id"], each) for each in page.items)
        if page.next is None:
            return found
        page = await store.query(IDENTITY, T1, Query(limit=1000, after=page.next))


def check(items: dict[str, Item], reported: list[list[str]]) -> None:
    """All that was reported is in `items`, and each batch is whole."""
    counters: dict[str, int] = {}
    for kind, name, *rest in reported:
        if kind == "single":
            assert name in items
        elif kind == "batch":
            assert f"{name}.0" in items
        else:
            counters[name] = int(rest[0])
    for name, count in counters.items():
        assert items[name]["n"] in (count, count + 1), "at most the one that was under way is ahead of the report"
    wholes: dict[str, int] = {}
    for item in items.values():
        if item["kind"] == "part":
            wholes[item["whole"]] = wholes.get(item["whole"], 0) + 1
    assert set(wholes.values()) <= {BATCH}


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    chance = random.Random(7)  # noqa: S311 - where to kill, not a secret
    reported: list[list[str]] = []
    for round_ in range(ROUNDS):
        reported += await asyncio.to_thread(crash, path, f"r{round_}", chance.randint(200, 1500))
        store = await SqliteStore.open(path, clock=SystemClock())
        try:
            items = await everything(store)
            check(items, reported)
            positions = [each.position for each in await store.changes(IDENTITY, 0, 1000)]
            assert positions == sorted(set(positions))
            last = await store.last_position(IDENTITY)
            await store.create(IDENTITY, T1, {"id": f"after-{round_}", "tenant_id": "t1", "kind": "mark"})
            assert await store.last_position(IDENTITY) > last
            assert (await store._in_thread(lambda c, _: c.execute("PRAGMA integrity_check").fetchall())) == [("ok",)]
        finally:
            await store.close()
    assert {kind for kind, *_ in reported} == {"single", "batch", "counter"}
    assert len(reported) >= 200 * ROUNDS - ROUNDS


# The kernel refuses to let any file of the process grow: what a full disk looks like to SQLite.
FULL = """
import asyncio, json, os, pathlib, resource, sys
from shared.core.clock import SystemClock
from shared.storage.containers import IDENTITY
from shared.storage.documents import Query, create
from shared.storage.errors import Unavailable
from shared.storage.sqlite import SqliteStore

T1 = ("t1",)

def item(name):
    return {"id": name, "tenant_id": "t1", "text": "x" * 10000}

async def main(path):
    store = await SqliteStore.open(pathlib.Path(path), clock=SystemClock())
    await store.create(IDENTITY, T1, item("before"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(path + "-wal").st_size, hard))
    writes = [store.create(IDENTITY, T1, item(f"full-{n}")) for n in range(5)]
    writes.append(store.batch(IDENTITY, T1, [create(item("b1")), create(item("b2"))]))
    writes.append(store.ping())
    full = await asyncio.gather(*writes, return_exceptions=True)
    read = await store.read(IDENTITY, T1, "before")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await store.ping()
    await store.create(IDENTITY, T1, item("full-0"))
    await store.create(IDENTITY, T1, item("z"))
    page = await store.query(IDENTITY, T1, Query(fields=("id",)))
    await store.close()
    print(json.dumps([[type(each).__name__ for each in full], read["id"], [each["id"] for each in page.items]]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("turn", range(2))
async def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path, turn: int) -> None:
    path = tmp_path / f"{turn}.db"
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [["Unavailable"] * 7, "before", ["before", "full-0", "z"]]
    store = await SqliteStore.open(path, clock=SystemClock())
    try:
        assert sorted(await everything_ids(store)) == ["before", "full-0", "z"]
    finally:
        await store.close()


async def everything_ids(store: SqliteStore) -> list[str]:
    page = await store.query(IDENTITY, T1, Query(limit=1000))
    return [each["id"] for each in page.items]
