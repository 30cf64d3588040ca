"""What the ledger costs: `python -m bench.ledger [--entries 1000000]` (some four minutes, in a temporary folder).

Appending is compared with the floor of plain hashlib in the same run: one leaf hash and one inner hash for each entry,
in a bare loop. Verification offline is the program that auditors run, as a process of its own.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from bench._figures import figure, table
from bench._sealing import SEALED, growing, lagging, sealing
from bench._sealing import SIZES as LOG_SIZES
from shared.audit.entries import entry_of
from shared.core.clock import rfc3339
from shared.core.ids import IdFactory
from shared.ledger.bundle import PartWriter, Scope, Shard
from shared.ledger.checkpoint import Checkpoint
from shared.ledger.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    range_hash,
    verify_consistency,
    verify_inclusion,
)
from shared.ledger.note import Signer
from shared.ledger.rollups import DayRollup
from shared.ledger.tiles import ENTRIES, WIDTH, edge_of, grown, hash_reader, width_of

ROUNDS = 5
APPENDED = 100_000
BATCH = 100
PROOFS = 300
SIZES = (1_000, 32_000, 1_000_000)
PERIOD = "2026-03"
TENANT = "0195c000-0000-7000-8000-0000000000aa"
LOG = f"ledger.example.com/{TENANT}"
VERIFIER = Path(__file__).resolve().parents[1] / "tools" / "verify_evidence.py"
RUNNER = """
import runpy, sys, time
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    status = open("/proc/self/status").read()
    sys.stderr.write(f'{time.process_time()} {status[status.index("VmHWM:"):].split()[1]}')
"""
_sha256 = hashlib.sha256

type Tiles = dict[tuple[int, int], bytes]
type Figure = tuple[str, float, str, dict[str, str | int]]


def floor(entries: list[bytes]) -> None:
    """The hashes that any tree has to compute."""
    node = bytes(32)
    for entry in entries:
        leaf = _sha256(b"\x00" + entry).digest()
        node = _sha256(b"\x01" + node + leaf).digest()


def append(entries: list[bytes]) -> None:
    """A tree in one go."""
    frontier = Frontier()
    frontier.extend(leaf_hashes(entries))
    frontier.root()


def seal(entries: list[bytes]) -> Tiles:
    """A tree as a sealer grows it: every hundred entries taken up anew from a stored edge, with root and new tiles."""
    tiles: Tiles = {}
    nodes: tuple[bytes, ...] = ()
    for start in range(0, len(entries), BATCH):
        edge = {tile.place: tiles[tile.place] for tile in edge_of(start)}
        frontier = Frontier(start, nodes)
        added = frontier.extend(leaf_hashes(entries[start : start + BATCH]))
        nodes = frontier.nodes
        frontier.root()
        tiles |= {tile.place: content for tile, content in grown(start, edge, added).items()}
    return tiles


def seconds(work: Callable[[list[bytes]], object], entries: list[bytes]) -> float:
    """How much of a core it takes: what else runs on the machine at the time counts little."""
    start = time.thread_time()
    work(entries)
    return time.thread_time() - start


def appending() -> Iterator[Figure]:
    """Leaves per second, and their share of the floor: medians of rounds that alternate."""
    for length in (64, 800):
        entries = [number.to_bytes(8) * (length // 8) for number in range(APPENDED)]
        rounds = [[seconds(work, entries) for work in (floor, append, seal)] for _ in range(ROUNDS)]
        labels: dict[str, str | int] = {"entry_bytes": length}
        for name, at in (("floor_leaves", 0), ("append_leaves", 1), ("seal_leaves", 2)):
            yield f"{name}_per_second", APPENDED / median(each[at] for each in rounds), "1/s", labels
        yield "append_to_floor", median(each[0] / each[1] for each in rounds), "ratio", labels
        yield "seal_to_floor", median(each[0] / each[2] for each in rounds), "ratio", labels


def each_takes[T](work: Callable[..., T], calls: list[tuple[Any, ...]]) -> tuple[float, list[T]]:
    """Microseconds of a core for one of these calls, on average, and what they return."""
    start = time.thread_time()
    results = [work(*arguments) for arguments in calls]
    return (time.thread_time() - start) / len(calls) * 1e6, results


def proving() -> Iterator[Figure]:
    """Microseconds for making proofs from tiles and for verifying them, in trees of several sizes."""
    chance = random.Random(7)  # noqa: S311 - which entries are proved is no secret
    leaves = [leaf_hash(number.to_bytes(8)) for number in range(max(SIZES))]
    tiles = {tile.place: content for tile, content in grown(0, {}, Frontier().extend(leaves)).items()}
    read = hash_reader(tiles)
    for size in SIZES:
        labels: dict[str, str | int] = {"size": size}
        root = range_hash((0, size), read)
        indexes = [chance.randrange(size) for _ in range(PROOFS)]
        took, paths = each_takes(inclusion_proof, [(index, size, read) for index in indexes])
        yield "inclusion_proof", took, "us", labels
        calls = [(leaves[index], index, size, path, root) for index, path in zip(indexes, paths, strict=True)]
        yield "inclusion_verification", each_takes(verify_inclusion, calls)[0], "us", labels
        olds = [chance.randrange(1, size) for _ in range(PROOFS)]
        took, joins = each_takes(consistency_proof, [(old, size, read) for old in olds])
        yield "consistency_proof", took, "us", labels
        joined = [(old, size, path, range_hash((0, old), read), root) for old, path in zip(olds, joins, strict=True)]
        yield "consistency_verification", each_takes(verify_consistency, joined)[0], "us", labels


class Clock:
    """A clock that spreads events over a month."""

    def __init__(self, count: int) -> None:
        self._at = datetime(2026, 3, 1, tzinfo=UTC)
        self._step = timedelta(days=31) / (count + 1)

    def now(self) -> datetime:
        """The next moment."""
        self._at += self._step
        return self._at


def events(count: int) -> Iterator[dict[str, object]]:
    """Events of a busy month: 3,000 actors, every second about a person."""
    clock, chance = Clock(count), random.Random(3)  # noqa: S311
    ids = IdFactory(clock, chance.getrandbits)
    commitment = base64.b64encode(bytes(32)).decode()
    for number in range(count):
        now = clock.now()
        actor = f"0195c000-0000-7000-8000-{chance.randrange(3000):012x}"
        yield {
            "schema": 1,
            "id": ids.new(now),
            "tenant_id": TENANT,
            "period": PERIOD,
            "type": ("profile.view", "auth.login", "data.read", "custom.order")[number % 4],
            "outcome": "failure" if number % 20 == 1 else "success",
            "reason": "bad_credentials" if number % 20 == 1 else None,
            "severity": "info",
            "recorded_at": rfc3339(now),
            "occurred_at": rfc3339(now),
            "actor": {"kind": "user", "id": actor, "role": "user"},
            "target": {"kind": "record", "id": f"record-{number}"},
            "subjects": [actor],
            "source": {"kind": "session", "id": ids.new(now)},
            "context": {
                "request_id": ids.new(now),
                "trace_id": "0" * 32,
                "session_id": ids.new(now),
                "route": "GET /v1/profile",
                "duration_ms": number % 50,
            },
            "data_class": "personal",
            "record_count": 1,
            "attributes": {"fields": ["first_name", "last_name"]},
            "commitments": {actor: commitment} if number % 2 else {},
        }


def write_bundle(path: Path, count: int) -> str:
    """A bundle of one month with so many entries; returns the key to check it with. Reads its entries twice."""
    frontier, days = Frontier(), dict[str, DayRollup]()
    for index, event in enumerate(events(count)):
        frontier.extend([leaf_hash(quick_entry(event))])
        day = str(event["recorded_at"])[:10]
        days.setdefault(day, DayRollup(day)).add(event, index)
    checkpoint = Checkpoint(f"{LOG}/{PERIOD}", count, frontier.root())
    signer = Signer(checkpoint.origin, bytes(range(32)))
    shard = Shard(PERIOD, checkpoint, checkpoint.sign(signer).encode(), [each.totals() for each in days.values()])
    scope = Scope("bench", LOG, TENANT, "2026-03-01", "2026-04-01", "2026-04-02T00:00:00.000000Z", (shard,))
    with (
        path.open("wb") as out,
        PartWriter(out, scope, 1, Signer(scope.key_name, bytes(range(32))), VERIFIER.read_bytes()) as writer,
    ):
        stream = events(count)
        for number in range(-(-count // WIDTH)):
            width = width_of(ENTRIES, number, count)
            writer.add_entries(PERIOD, number, [quick_entry(next(stream)) for _ in range(width)])
        writer.close(last=True)
    return signer.verifier.encode()


def storing(folder: Path) -> Iterator[Figure]:
    """Sealing and checking with a store beneath."""
    yield from asyncio.run(sealing(folder, events(SEALED), TENANT))
    yield from asyncio.run(growing(events(max(LOG_SIZES) * 2)))
    yield from asyncio.run(lagging(folder, next(events(1)) | {"personal": {}}))


def quick_entry(event: dict[str, object]) -> bytes:
    """The same bytes as `entry_of`, for events without floats and rare characters."""
    return json.dumps(event, sort_keys=True, separators=(",", ":")).encode()


def verifying(folder: Path, count: int) -> Iterator[Figure]:
    """Seconds and peak memory of the offline verifier."""
    sample = next(events(1))
    if quick_entry(sample) != entry_of(sample):
        raise SystemExit("the entries of the benchmark are not canonical")
    for entries in (count // 10, count):
        path = folder / f"{entries}.zip"
        vkey = write_bundle(path, entries)
        command = [sys.executable, "-c", RUNNER, str(VERIFIER), str(path), "--vkey", vkey]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        took = time.perf_counter() - start
        if done.returncode != 0:
            raise SystemExit(f"the bundle was not verified:\n{done.stdout}{done.stderr}")
        labels: dict[str, str | int] = {"entries": entries}
        yield "bundle_size", path.stat().st_size / 2**20, "MiB", labels
        yield "offline_verification", took, "s", labels
        yield "offline_verification_rate", entries / took, "1/s", labels
        cpu, peak = done.stderr.split()
        yield "offline_verification_cpu", float(cpu), "s", labels
        yield "offline_verification_peak_rss", int(peak) / 1024, "MiB", labels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the ledger.")
    parser.add_argument("--entries", type=int, default=1_000_000, help="how many the offline verifier gets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as folder:
        figures = [*appending(), *proving(), *storing(Path(folder)), *verifying(Path(folder), options.entries)]
    rows = []
    for metric, value, unit, labels in figures:
        suffix = "".join(f", {name.replace('_', ' ')} {each:,}" for name, each in labels.items())
        rows.append((metric.replace("_", " ") + suffix, f"{value:,.2f} {unit}"))
    table(rows)
    for metric, value, unit, labels in figures:
        figure("ledger", metric, value, unit, **labels)


if __name__ == "__main__":
    main()
