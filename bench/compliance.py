"""What compliance reports cost: `python -m bench.compliance [--events 10000 100000 1000000]` (in temporary folders).

A company's month of so many events is written into a ledger as it stands when everything is sealed. Then its facts are
folded, and one report of each framework is built and kept, three times over. Beside the ledger there are accounts,
alerts, requests of persons, checkpoints, and people who left before (`_compliance_world.py`). Times are of CPU and by
the clock, growth is of CPU; store reads are counted by the call. Memory is what Python allocated for a report, and the
peak of a process of its own that makes one. At a million events the entries themselves are not written, for no report
reads them: facts are folded from memory.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median

from bench._compliance_world import furnish
from bench._figures import figure, table
from bench._metered import Meter, MeteredStore
from bench._sealed import DAYS, written
from bench._trail import Company
from shared.audit.model import RequestContext
from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.evidence import LEAD_DAYS
from shared.compliance.facts.store import facts_id
from shared.core.settings import Settings
from shared.identity.model import new_tenant
from shared.ledger.shards import rollup_id
from shared.storage.containers import IDENTITY, LEDGER, REPORTS
from shared.wiring import Services, build_services
from tests.fakes import ManualClock

SIZES = (10_000, 100_000, 1_000_000)
STORED_UP_TO = 100_000
ROUNDS = 3
TENANT = "0195c000-0000-7000-8000-0000000000aa"
NOW = datetime(2026, 4, 1, 6, 0, tzinfo=UTC)
FROM, TO = date(2026, 3, 1), date(2026, 4, 1)
AIM_MS, AIM_GROWTH = 200, 2
_PEAK = "--resident"

type Figure = tuple[str, float, str, dict[str, str | int]]


def _settings(folder: Path) -> Settings:
    return Settings(kraftd_data=str(folder))


async def world(folder: Path, count: int) -> tuple[Services, Meter, float]:
    """The app over a store with a month of so many events, and how many events a second were folded."""
    clock = ManualClock(NOW)
    store = await MeteredStore.open(folder / "kraftd.sqlite", clock=clock)
    if not isinstance(store, MeteredStore):
        raise TypeError("`open` of a subclass gives the subclass")
    store.meter = meter = Meter()
    services = await build_services(_settings(folder), clock=clock, store=store)
    await store.create(IDENTITY, (TENANT,), new_tenant(TENANT, "Example", datetime(2026, 3, 1, tzinfo=UTC)))
    company = await Company.of(TENANT, services.index, 7, NOW)
    stored = count <= STORED_UP_TO
    start = time.process_time()
    async for facts in written(store, company, count, NOW, stored=stored):
        checkpoints: dict[str, object] = {"n": 0, "first": None, "last": None, "gaps": []}
        await services.facts.keep(TENANT, facts | {"checkpoints": checkpoints})
    worked = time.process_time() - start
    await services.ledger.checkpoint(TENANT, "2026-03", _request(services), newest=True)
    await furnish(store, company, count)
    if stored:
        start = time.process_time()
        for day in range(1, DAYS + 1):
            await services.facts.gather(TENANT, f"2026-03-{day:02}", _request(services))
        worked = time.process_time() - start
    await _furnish_week_before(services)
    return services, meter, count / worked


async def _furnish_week_before(services: Services) -> None:
    """The last week of the month once more, as the week before it: reports look there for what went on in the month."""
    for number in range(LEAD_DAYS):
        day, before = f"2026-03-{DAYS - number:02}", f"2026-02-{28 - number}"
        counted = await services.store.read(LEDGER, (TENANT, "2026-03"), rollup_id(day))
        facts = (await services.facts.days(TENANT, [day], {day: counted}, _request(services)))[day]
        own = {"id": rollup_id(before), "period": "2026-02", "day": before}
        await services.store.create(LEDGER, (TENANT, "2026-02"), counted | own)
        await services.facts.keep(TENANT, dict(facts) | {"day": before})


def _request(services: Services) -> RequestContext:
    return RequestContext("bench", "bench", "bench", services.clock.now())


async def measured(count: int, folder: Path) -> list[Figure]:
    """The figures of one size."""
    services, meter, folded = await world(folder, count)
    labels: dict[str, str | int] = {"events": count}
    what = "ledger" if count <= STORED_UP_TO else "memory, written and sealed as well"
    found: list[Figure] = [("folded", folded, "events/s of CPU", labels | {"from": what})]
    facts = [await services.store.read(REPORTS, (TENANT,), facts_id(f"2026-03-{day:02}")) for day in range(1, DAYS + 1)]
    sizes = [len(str(each)) / 1024 for each in facts]
    found.append(("facts_of_a_day", median(sizes), "KiB", labels))
    for framework in FRAMEWORKS:
        took, cpu, calls = [], [], 0
        for number in range(ROUNDS):
            meter.reset()
            start, worked = time.perf_counter(), time.process_time()
            head = await services.compliance.build(
                TENANT, framework, FROM, TO, _request(services), wanted=f"{framework}-{number}"
            )
            took.append((time.perf_counter() - start) * 1000)
            cpu.append((time.process_time() - worked) * 1000)
            calls = sum(call.startswith(("read", "query")) for call in meter.calls)
        own = labels | {"framework": framework}
        found += [
            ("report", median(took), "ms", own),
            ("report_cpu", median(cpu), "ms of CPU", own),
            ("report_reads", calls, "calls of the store", own),
            ("report_size", head["bytes"] / 1024, "KiB", own),
        ]
        if not head["gate_passed"]:
            report = await services.compliance.report(head)
            raise SystemExit(f"the gate failed: {[each for each in report.gate.checks if not each.passed]}")
        if head["events_in_period"] != count:
            raise SystemExit(f"the report is of {head['events_in_period']} events, and not of {count}")
    tracemalloc.start()
    await services.compliance.build(TENANT, "hipaa", FROM, TO, _request(services), wanted="traced")
    found.append(("report_peak_memory", tracemalloc.get_traced_memory()[1] / 2**20, "MiB", labels))
    tracemalloc.stop()
    await services.close()
    return found + [
        ("peak_rss", peak_mib(folder, what), "MiB", labels | {"of": what}) for what in ("nothing", "a report")
    ]


def peak_mib(folder: Path, what: str) -> float:
    """The peak resident memory of a process of its own that does something with the store (`resident`).

    By way of a shell: what a process starts directly would begin with the peak of this one.
    """
    told = subprocess.run(  # noqa: S603 - this module itself
        ["/bin/sh", "-c", '"$0" "$@"; exit $?', sys.executable, "-m", "bench.compliance", _PEAK, str(folder), what],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(told.stdout) / 1024


async def resident(folder: Path, what: str) -> int:
    """The peak resident memory of this process, in KiB, once it has made a report; or has opened the store alone."""
    services = await build_services(_settings(folder), clock=ManualClock(NOW))
    if what == "a report":
        await services.compliance.build(TENANT, "hipaa", FROM, TO, _request(services), wanted="resident")
    await services.close()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def run(sizes: Sequence[int]) -> list[Figure]:
    """The figures of all sizes, and how a report's time grows from the smallest to the largest."""
    found: list[Figure] = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            found += await measured(count, Path(folder))
    times = {(own["events"], own["framework"]): value for name, value, _, own in found if name == "report_cpu"}
    for framework in FRAMEWORKS:
        growth = times[max(sizes), framework] / times[min(sizes), framework]
        own: dict[str, str | int] = {"framework": framework, "from": min(sizes), "to": max(sizes)}
        found.append(("report_growth", growth, "ratio", own))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.compliance")
    parser.add_argument("--events", type=int, nargs="+", default=SIZES[:2])
    parser.add_argument(_PEAK, nargs=2, metavar=("FOLDER", "WHAT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.resident:
        print(asyncio.run(resident(Path(given.resident[0]), given.resident[1])))
        return
    figures = asyncio.run(run(given.events))
    for name, value, unit, labels in figures:
        figure("compliance", name, value, unit, **labels)
    rows = [(" ".join(map(str, (name, *own.values()))), f"{value:,.1f} {unit}") for name, value, unit, own in figures]
    table(rows)


if __name__ == "__main__":
    main()
