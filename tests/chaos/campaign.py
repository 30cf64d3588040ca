"""One campaign: clients at work on a place, faults for a time, quiet, and then the judge."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic

import httpx

from shared.core.clock import SystemClock
from tests.chaos.checks import Finding, Snapshot, check, check_bundle
from tests.chaos.faults import Faults, NotRecovered, Tally
from tests.chaos.fleet import Fleet
from tests.chaos.journal import Attempt, Journal, read_journal
from tests.chaos.places import EmbeddedPlace, SharedPlace
from tests.chaos.process import AppProcess, DidNotStart

SETTINGS = {
    "LOGIN_RATE_PER_MINUTE": "0",
    "REFRESH_RATE_PER_MINUTE": "0",
    "REGISTER_RATE_PER_HOUR": "0",
    "REQUEST_DEADLINE_SECONDS": "15",
    "TRUSTED_PROXY_HOPS": "2",
}
BACKSTOPS = (
    "sweep_outbox",
    "retry_dead_letters",
    "verify_ledger",
    "flush_rejections",
    "retry_reports",
    "close_exports",
)
"""The timers that see to what neither a request nor a feed did: in the quiet behind the faults they run once each."""
LATER_SECONDS = 14 * 3600.0
"""In the quiet it is so much later: everything that was put off is due, and reports wait for nothing any more: of the
period that ended when clocks began, 13 hours later; and a clock may have been stepped back since."""
SOON = timedelta(seconds=10)
LONG_BEFORE = timedelta(minutes=10)
"""Clocks begin so long before the end of a month, and are moved on once the organizations are there."""
QUIET_SECONDS = 90.0
ANSWERED_SECONDS = 240.0
"""Behind the faults clients get so long for the calls that a run waits for: a machine may be slow."""
JOURNAL = "journal.jsonl"


@dataclass
class Outcome:
    """What came of one campaign. `requests`: attempts by what became of them; `events`: how long the trail is;
    `injected`: how many faults there were, times processes."""

    place: str
    notes: str
    seed: int
    seconds: float
    tally: Tally
    findings: list[Finding]
    requests: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    injected: int = 0
    events: int = 0
    alerts: int = 0
    ledgers: int = 0

    @property
    def lost(self) -> int:
        """How many promises were broken."""
        return len(self.findings)

    @property
    def not_injected(self) -> list[str]:
        """Kinds of faults of the place that did not come about."""
        return sorted(kind for kind, number in self.tally.faults.items() if number == 0)


@dataclass(frozen=True, slots=True)
class Judged:
    """An outcome, and what it was judged by."""

    outcome: Outcome
    snapshot: Snapshot
    attempts: Sequence[Attempt]


async def run_campaign(
    place: EmbeddedPlace | SharedPlace,
    folder: Path,
    *,
    seed: int,
    seconds: float,
    companies: int,
    kinds: Sequence[str] | None = None,
    until: Collection[tuple[str, int]] = (),
) -> Judged:
    """Run one on a fresh place; `folder` gets the clients' log and those of the processes. `seconds`: how long there
    are faults, or longer, until each kind was there once. `kinds`: these alone, in this order at first. `until`: the
    clients go on until each of these calls was answered with that status."""
    began, random, tally = monotonic(), Random(seed), Tally()  # noqa: S311 - repeatable on purpose
    environment = {**place.environment, **SETTINGS}
    apps = [AppProcess(_free_port(), environment, folder / f"app-{n}.log", tally.calls) for n in range(place.apps)]
    for app in apps:
        app.offset_seconds = _offset_to_a_month_end(LONG_BEFORE)
    faults = Faults(place, apps, random, tally, kinds)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(place.ticking(apps[0]))
        for app in apps:
            stack.push_async_callback(app.kill)
            await app.start(random.getrandbits(32))
        journal = stack.enter_context(Journal(folder / JOURNAL))
        urls = [app.url for app in apps]
        fleet = Fleet(urls, journal, seed, companies=companies, today=partial(_today, apps[0]))
        await stack.enter_async_context(fleet)
        findings = await _under_load(fleet, faults, seconds, lambda: set(until) - journal.answered)
        findings += await _quiet(place, apps, faults, fleet, folder, random)
    with (folder / JOURNAL).open(encoding="utf-8") as lines:
        attempts = read_journal(lines)
    snapshot = await place.snapshot()
    starts = sum(app.starts for app in apps)
    injected = tally.faults.total() * len(apps)
    findings += await asyncio.to_thread(check, snapshot, attempts, starts, injected)
    outcome = Outcome(
        place.name,
        place.notes,
        seed,
        monotonic() - began,
        tally,
        findings,
        _requests(attempts),
        starts,
        injected,
        len(snapshot.events),
        len(snapshot.of("alerts", "alert")),
        len(snapshot.of("ledger", "head")),
    )
    return Judged(outcome, snapshot, attempts)


async def _under_load(
    fleet: Fleet, faults: Faults, seconds: float, unanswered: Callable[[], set[tuple[str, int]]]
) -> list[Finding]:
    """Inject while the clients work; then let them go on while there is something `unanswered`."""
    running = asyncio.create_task(fleet.run())
    try:
        await asyncio.wait({running, asyncio.create_task(fleet.founded.wait())}, return_when=asyncio.FIRST_COMPLETED)
        await faults.set_clocks(_offset_to_a_month_end(SOON))
        await faults.run(seconds)
        await _answered(unanswered)
    except (NotRecovered, DidNotStart, TimeoutError) as error:
        return [Finding("not_recovered", f"{type(error).__name__}: {error}")]
    finally:
        fleet.stop()
        await running
    return []


async def _answered(unanswered: Callable[[], set[tuple[str, int]]]) -> None:
    deadline = monotonic() + ANSWERED_SECONDS
    while unanswered():
        if monotonic() > deadline:
            raise NotRecovered(f"never answered: {sorted(unanswered())}")
        await asyncio.sleep(0.05)


async def _quiet(
    place: EmbeddedPlace | SharedPlace,
    apps: Sequence[AppProcess],
    faults: Faults,
    fleet: Fleet,
    folder: Path,
    random: Random,
) -> list[Finding]:
    """Behind the faults: fresh processes, and time to work off what is left. Then auditors come for their evidence."""
    later = max(app.offset_seconds for app in apps) + LATER_SECONDS
    for app in apps:
        await app.stop()
        app.offset_seconds = later
    await place.later(later)
    try:
        for app in apps:
            await app.start(random.getrandbits(32))
        await faults.recovered("the end")
        await _settled(place, apps, timers=True)
        bundles = await fleet.collect_evidence(folder)
        await _settled(place, apps)
    except (NotRecovered, DidNotStart, TimeoutError) as error:
        return [Finding("not_recovered", f"{type(error).__name__}: {error}")]
    for app in apps:
        await app.stop()
    found = [finding for each in bundles if each is not None for finding in check_bundle(*each)]
    return found + [Finding("no_evidence", "a bundle cannot be had")] * bundles.count(None)


async def _settled(place: EmbeddedPlace | SharedPlace, apps: Sequence[AppProcess], *, timers: bool = False) -> None:
    """Wait until every trigger is at its end, and stays there. TimeoutError."""
    async with httpx.AsyncClient(timeout=20) as http, asyncio.timeout(QUIET_SECONDS):
        while not await _is_drained(place, apps, http):  # noqa: ASYNC110 - other processes drain
            await asyncio.sleep(0.2)
        for name in BACKSTOPS if timers else ():
            await http.post(f"{apps[0].url}/admin/functions/{name}", json={})
            await asyncio.sleep(0.1)
        calm = 0
        while calm < 3:
            calm = calm + 1 if await _is_drained(place, apps, http) else 0
            await asyncio.sleep(0.3)


async def _is_drained(place: EmbeddedPlace | SharedPlace, apps: Sequence[AppProcess], http: httpx.AsyncClient) -> bool:
    for app in apps:
        feed = (await http.get(f"{app.url}/api/v1/health/ready")).json()["checks"]["feed"]
        if feed["lag_seconds"]:
            return False
    return await place.is_drained()


def _requests(attempts: Sequence[Attempt]) -> Counter[str]:
    return Counter(_fate(each) for each in attempts)


def _fate(each: Attempt) -> str:
    if each.acknowledged:
        return "acknowledged"
    if each.refused:
        return "refused"
    return "not sent" if each.unsent else "in doubt"


def _today(app: AppProcess) -> date:
    """The day of the app's clock, in UTC."""
    return (SystemClock().now() + timedelta(seconds=app.offset_seconds)).date()


def _offset_to_a_month_end(before: timedelta) -> float:
    """What brings the clock close to the end of the last month: a campaign lives in two months, and two days."""
    now = SystemClock().now()
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first - before - now).total_seconds()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
