"""Whether costs grow with the trail: `python -m bench.scale [--events 5000000] [--tenants 50]` (35 GB).

Events of all tenants are written through the storage port, and sealed as the change feed does it, into an SQLite file
that is on the disk at each commit. At several sizes on the way the store is closed, and a process of its own opens it
and measures, in the largest tenant's trail, what one search, proof, report, detection and batch to seal take
(`_scale_costs.py`): calls of the store, items read, CPU, time by the clock, and the process' peak memory.
"""

import argparse
import asyncio
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench._figures import figure, table
from bench._scale_costs import Figure
from bench._scale_world import PER_ROUND, opened, play
from bench._servers import mib_of

EVENTS, TENANTS = 5_000_000, 50
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
"""Sizes at which is measured."""
LEAST_ROUNDS = 10
"""Eight days: a report is of seven."""
BYTES_PER_EVENT = 7_000
"""What is wanted on the disk, with some to spare."""
GROWTH_OF = ("calls", "cpu_to_reference", "peak_rss", "rss")
_TOLD_EVERY = 20


def sizes_of(events: int, tenants: int) -> list[int]:
    """How many rounds there are at each size. SystemExit where that is too few."""
    per_round = PER_ROUND * tenants
    rounds = sorted({math.ceil(events * share / per_round) for share in SHARES})
    if rounds[0] < LEAST_ROUNDS or tenants < 2:
        raise SystemExit(f"too few: {LEAST_ROUNDS * per_round * 100} events for {tenants} tenants, who are two or more")
    return rounds


async def load(folder: Path, tenants: int, since: int, until: int) -> list[Figure]:
    """Play the rounds between two sizes."""
    world = await opened(folder, tenants, since)
    count, start, used = 0, time.perf_counter(), time.process_time()
    for number in range(since, until):
        count += await play(world, number)
        if number % _TOLD_EVERY == _TOLD_EVERY - 1:
            print(f"{(number + 1) * PER_ROUND * tenants:,} events", file=sys.stderr, flush=True)
    took, used = time.perf_counter() - start, time.process_time() - used
    await world.services.close()
    labels: dict[str, str | int] = {"events": until * PER_ROUND * tenants}
    return [
        ("loaded_and_sealed", count / took, "events/s", labels),
        ("loaded_and_sealed_cpu", count / used, "events/s of CPU", labels),
        ("database", stored_gib(folder), "GiB", labels),
        ("rss", mib_of("VmRSS:"), "MiB", labels | {"of": "the process that loads"}),
    ]


def stored_gib(folder: Path) -> float:
    """What the files of the store take."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 2**30


def measured(folder: Path, tenants: int, rounds: int) -> list[Figure]:
    """What the process that measures has found."""
    given = [str(each) for each in (folder, tenants, rounds, rounds * PER_ROUND * tenants)]
    command = [sys.executable, "-m", "bench._scale_costs", *given]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
    return [(name, value, unit, own) for name, value, unit, own in json.loads(done.stdout.splitlines()[-1])]


def growth(found: Sequence[Figure]) -> Iterator[Figure]:
    """By how much what others on the machine do not change is larger at the largest size than at the smallest."""
    by_what: dict[tuple[str, str], dict[int, float]] = {}
    for name, value, _, own in found:
        what = str(own.get("operation") or own.get("of") or "")
        if what and name in GROWTH_OF:
            by_what.setdefault((name, what), {})[int(own["events"])] = value
    for (name, what), values in by_what.items():
        first, last = min(values), max(values)
        if values[first]:
            labels: dict[str, str | int] = {"operation": what, "from": first, "to": last}
            yield f"growth_{name}", values[last] / values[first], "ratio", labels


def run(folder: Path, events: int, tenants: int) -> list[Figure]:
    """Load and measure; each figure is printed as it is found."""
    found: list[Figure] = []
    rounds = sizes_of(events, tenants)
    for since, until in zip([0, *rounds], rounds, strict=False):
        new = asyncio.run(load(folder, tenants, since, until)) + measured(folder, tenants, until)
        _print(new)
        found += new
    grown = list(growth(found))
    _print(grown)
    return found + grown


def _print(figures: Sequence[Figure]) -> None:
    for name, value, unit, labels in figures:
        figure("scale", name, value, unit, **labels)
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="Costs in a trail of millions.")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--tenants", type=int, default=TENANTS)
    parser.add_argument("--folder", type=Path, help="where the data are made; they are removed at the end")
    given = parser.parse_args(arguments)
    sizes_of(given.events, given.tenants)
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-", dir=given.folder) as folder:
        if shutil.disk_usage(folder).free < given.events * BYTES_PER_EVENT:
            raise SystemExit(f"{folder}: {given.events * BYTES_PER_EVENT / 2**30:.0f} GiB are wanted on the disk")
        figures = run(Path(folder), given.events, given.tenants)
    rows = [(" ".join(map(str, (name, *own.values()))), f"{value:,.2f} {unit}") for name, value, unit, own in figures]
    table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
