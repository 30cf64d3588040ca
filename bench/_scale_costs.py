"""What one more of each thing costs in a world of some size, for `bench.scale`, which starts this as a process."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench._scale_world import START, World, checked_whole, opened, sealed, written
from bench._servers import mib_of
from bench.search import COMMON, Make
from shared.audit.model import RequestContext
from shared.audit.search import EventFilter
from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.gate import behind
from shared.ledger.progress import Progress, progress_id
from shared.ledger.verification import LAP_RUNS
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import MAX_PAGE, Item

SEARCHES, PROOFS, DETECTED, SEALED = 40, 60, 30, 20
WARM_UP = 5
SEAL_BATCH = 90
WEEK, MONTH = 7, 28
KINDS = {
    "a sign-in": ("auth.login", "success"),
    "a failed sign-in": ("auth.login", "failure"),
    "a record read": ("data.read", "success"),
    "a denial": ("access.denied", "denied"),
}
"""Events that patterns look at."""
_DRAWN = 5_000
"""Among so many are enough of each kind."""

_FIXED = {"id": "0195c000-0000-7000-8000-0000000000aa", "numbers": list(range(40)), "texts": ["some text"] * 40}
_TIMES = 64

type Figure = tuple[str, float, str, dict[str, str | int]]
type Work = Callable[[], Awaitable[object]]


def _failures_of_a_day(world: World) -> Make:
    days = (world.clock.now() - START).days

    def make(_: object, chance: random.Random) -> EventFilter:
        from_ = START + timedelta(days=chance.randrange(days))
        return EventFilter(types=("auth.*",), outcome="failure", from_=from_, to=from_ + timedelta(days=1))

    return make


def searches(world: World) -> dict[str, Make]:
    """The commonest, as `bench.search` has them; the failures are of any one day here, for a small trail has few."""
    common = {name: make for name, make in COMMON.items() if not name.startswith("failed")}
    return common | {"failed sign-ins of a day": _failures_of_a_day(world)}


def reference() -> float:
    """CPU seconds of a fixed piece of work, a millisecond where nobody else is at work: neighbours make it dearer, as
    they do all else."""
    start = time.process_time()
    for _ in range(_TIMES):
        hashlib.sha256(json.dumps(json.loads(json.dumps(_FIXED)), sort_keys=True).encode()).digest()
    return time.process_time() - start


async def costs(world: World, operation: str, works: Sequence[Work]) -> list[Figure]:
    """What each of these calls takes, but for the first, which warm up: means of what is counted, medians of times."""
    for work in works[:WARM_UP]:
        await work()
    measured = works[WARM_UP:]
    calls, items = world.store.calls.total(), world.store.items
    took, used, ratios = list[float](), list[float](), list[float]()
    for work in measured:
        fixed = reference()
        start, cpu = time.perf_counter(), time.process_time()
        await work()
        took.append(time.perf_counter() - start)
        used.append(time.process_time() - cpu)
        ratios.append(used[-1] / fixed)
    own: dict[str, str | int] = {"operation": operation}
    return [
        ("calls", (world.store.calls.total() - calls) / len(measured), "calls of the store", own),
        ("items", (world.store.items - items) / len(measured), "items read", own),
        ("cpu_to_reference", median(ratios), "1", own),
        ("cpu_p50", 1000 * median(used), "ms of CPU", own),
        ("elapsed_p50", 1000 * median(took), "ms", own),
    ]


async def searching(world: World, chance: random.Random) -> list[Figure]:
    """First pages of 50."""
    found: list[Figure] = []
    page, company = world.services.search.page, world.measured
    for name, make in searches(world).items():
        works = [partial(page, company.tenant_id, make(company, chance)) for _ in range(WARM_UP + SEARCHES)]
        found += await costs(world, f"search: {name}", works)
    return found


async def proving(world: World, chance: random.Random) -> list[Figure]:
    """Inclusion proofs of events of any time."""
    tenant, works = world.measured.tenant_id, list[Work]()
    while len(works) < WARM_UP + PROOFS:
        before = EventFilter(to=START + (world.clock.now() - START) * chance.random())
        for event in (await world.services.search.page(tenant, before, limit=1)).items:
            works.append(partial(world.services.ledger.prove, tenant, event["id"], request(world)))
    return await costs(world, "inclusion proof", works)


async def reporting(world: World, to_day: date) -> list[Figure]:
    """Reports of all frameworks up to a day, built and kept, the facts of their days being there."""
    found: list[Figure] = []
    for days in (WEEK, MONTH):
        from_day = to_day - timedelta(days=days)
        if from_day <= START.date():
            continue
        start, used = time.perf_counter(), time.process_time()
        names = [(from_day + timedelta(days=number)).isoformat() for number in range(days)]
        await world.services.facts.gather_days(world.measured.tenant_id, names, request(world))
        took, used = time.perf_counter() - start, time.process_time() - used
        own: dict[str, str | int] = {"days": days}
        found += [("facts_folded", took, "s", own), ("facts_folded_cpu", used, "s of CPU", own)]
        works = [
            partial(report, world, framework, from_day, to_day, f"{framework}-{days}-{to_day}-{number}")
            for number in range(1 + 3)  # the first of each framework warms up
            for framework in FRAMEWORKS
        ]
        if len(FRAMEWORKS) != WARM_UP:
            raise RuntimeError("each framework is to be built once to warm up")
        found += await costs(world, f"report of {days} days", works)
    return found


async def report(world: World, framework: str, from_day: date, to_day: date, name: str) -> None:
    """Build and keep one. SystemExit when the ledger does not pass the report's gate."""
    build, asked = world.services.compliance.build, request(world)
    head = await build(world.measured.tenant_id, framework, from_day, to_day, asked, wanted=name)
    if not head["gate_passed"]:
        checks = (await world.services.compliance.report(head)).gate.checks
        raise SystemExit(f"the gate failed: {[each for each in checks if not each.passed]}")


async def detecting(world: World, chance: random.Random) -> list[Figure]:
    """One event more, stored just before."""
    found: list[Figure] = []
    now, company = world.clock.now(), world.measured
    drawn = list(company.between(now - timedelta(seconds=1), timedelta(microseconds=200), _DRAWN, chance))
    for name, kind in KINDS.items():
        of_kind = [event for event in drawn if (event["type"], event["outcome"]) == kind][: WARM_UP + DETECTED]
        works: list[Work] = []
        for event in of_kind:
            stored = await world.store.create(AUDIT_EVENTS, (event["tenant_id"], event["period"]), event)
            works.append(partial(world.services.detection.consume, [stored]))
        found += await costs(world, f"detection: {name}", works)
    return found


async def sealing(world: World, chance: random.Random) -> list[Figure]:
    """Batches that the feed delivers ten seconds after one another, so that each is signed, too."""
    works: list[Work] = []
    batches: list[list[Item]] = []
    for _ in range(WARM_UP + SEALED):
        world.clock.advance(seconds=11)
        start = world.clock.now() - timedelta(seconds=10)
        batches.append(await written(world, world.measured, start, SEAL_BATCH, chance.randrange(2**32)))

    async def seal(batch: Sequence[Item]) -> None:
        world.clock.advance(seconds=11)
        await world.services.sealer.consume(batch)

    works = [partial(seal, batch) for batch in batches]
    return await costs(world, f"sealing {SEAL_BATCH} events", works)


async def delivered(world: World, since: Any) -> Any:
    """Seal what the app itself has recorded, as the feed would; the position that it got to."""
    while changes := await world.store.changes(AUDIT_EVENTS, since, MAX_PAGE):
        await sealed(world.services, [change.item for change in changes])
        since = changes[-1].position
    return since


async def checked(world: World, months: Collection[str]) -> None:
    """Let the continuous check come by every five minutes, until it has looked at these months again."""
    tenant = world.measured.tenant_id
    for _ in range(LAP_RUNS):
        await world.services.verification.run(tenant, request(world))
        late = []
        for month in months:
            progress = Progress.of(await world.store.read(LEDGER, (tenant, month), progress_id(month)))
            late.append(behind(progress, await world.services.shards.head(tenant, month), world.clock.now()))
        if not any(late):
            return
        world.clock.advance(minutes=5)
    raise SystemExit("a lap of the continuous check did not end within a day")


def request(world: World) -> RequestContext:
    """On whose behalf."""
    return RequestContext("bench", "bench", "bench", world.clock.now())


async def measured(folder: Path, tenants: int, rounds: int, events: int) -> list[Figure]:
    """The figures of a world that is so many rounds old. It is looked after as the timers do it, then measured."""
    world = await opened(folder, tenants, rounds)
    chance = random.Random(rounds)  # noqa: S311 - reproducible on purpose
    tenant, today = world.measured.tenant_id, world.clock.now().date()
    labels: dict[str, str | int] = {"events": events}
    since = await world.store.last_position(AUDIT_EVENTS)
    await checked_whole(world, events)
    await world.services.closing.close_due(tenant, request(world))
    since = await delivered(world, since)
    await checked(world, {str(max(today - timedelta(days=n), START.date()))[:7] for n in range(1, MONTH + 1)})
    found = await searching(world, chance) + await proving(world, chance) + await reporting(world, today)
    found += await detecting(world, chance) + await sealing(world, chance)
    await delivered(world, since)
    await world.services.close()
    found.append(("peak_rss", mib_of("VmHWM:"), "MiB", {"of": "the process that measures"}))
    return [(name, value, unit, labels | own) for name, value, unit, own in found]


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench._scale_costs")
    parser.add_argument("folder", type=Path)
    for name in ("tenants", "rounds", "events"):
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measured(given.folder, given.tenants, given.rounds, given.events))))


if __name__ == "__main__":
    main()
