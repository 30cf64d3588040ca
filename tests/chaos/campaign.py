"""One campaign: clients at work on a place, faults for a time, quiet, and then the judge."""

import asyncio
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from time import monotonic

import httpx

from shared.core.clock import SystemClock
from tests.chaos.checks import Finding, check, check_bundle
from tests.chaos.faults import Faults, NotRecovered, Tally
from tests.chaos.fleet import Fleet
from tests.chaos.journal import Attempt, Journal, read_journal
from tests.chaos.places import EmbeddedPlace, SharedPlace
from tests.chaos.process import AppProcess

SETTINGS = {
    "LOGIN_RATE_PER_MINUTE": "0",
    "REFRESH_RATE_PER_MINUTE": "0",
    "REGISTER_RATE_PER_HOUR": "0",
    "REQUEST_DEADLINE_SECONDS": "15",
    "TRUSTED_PROXY_HOPS": "2",
}
BACKSTOPS = ("sweep_outbox", "retry_dead_letters", "retry_reports", "flush_rejections", "verify_ledger", "close_exports")
"""The timers that see to what neither a request nor a feed did: in the quiet behind the faults they run once each."""
SWEPT_AFTER_SECONDS = 120.0
QUIET_SECONDS = 90.0


@dataclass
class Outcome:
    """What came of one campaign. `requests`: attempts by what became of them; `events`: how long the trail is."""

    place: str
    notes: str
    seed: int
    seconds: float
    tally: Tally
    findings: list[Finding]
    requests: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    events: int = 0
    alerts: int = 0
    ledgers: int = 0

    @property
    def lost(self) -> int:
        """How many promises were broken."""
        return len(self.findings)


async def run_campaign(
    place: EmbeddedPlace | SharedPlace, folder: Path, *, seed: int, seconds: float, companies: int
) -> Outcome:
    """Run one on a fresh place; `folder` gets the clients' log and those of the processes."""
    began, random, tally = monotonic(), Random(seed), Tally()  # noqa: S311 - repeatable on purpose
    environment = {**place.environment, **SETTINGS}
    apps = [
        AppProcess(_free_port(), environment, folder / f"app-{n}.log", tally.calls) for n in range(place.apps)
    ]
    path = folder / "journal.jsonl"
    findings: list[Finding] = []
    async with AsyncExitStack() as stack:
        for app in apps:
            stack.push_async_callback(app.kill)
            await app.start(random.getrandbits(32))
        journal = stack.enter_context(Journal(path))
        fleet = await stack.enter_async_context(
            Fleet([app.url for app in apps], journal, seed, companies=companies, today=_day)
        )
        running = asyncio.create_task(fleet.run())
        faults = Faults(place, apps, random, tally)
        try:
            await faults.run(monotonic() + seconds)
        except NotRecovered as error:
            findings.append(Finding("not_recovered", str(error)))
        fleet.stop()
        await running
        findings += await _quiet(place, apps, faults, fleet, folder, random)
    with path.open(encoding="utf-8") as lines:
        attempts = read_journal(lines)
    return await _judged(place, attempts, apps, Outcome(
        place.name, place.notes, seed, monotonic() - began, tally, findings, _requests(attempts)
    ))


async def _quiet(
    place: EmbeddedPlace | SharedPlace,
    apps: Sequence[AppProcess],
    faults: Faults,
    fleet: Fleet,
    folder: Path,
    random: Random,
) -> list[Finding]:
    """Behind the faults: fresh processes, and time to work off what is left. Then auditors come for their evidence."""
    for app in apps:
        await app.stop()
        if isinstance(place, EmbeddedPlace):
            app.offset_seconds += SWEPT_AFTER_SECONDS
        await app.start(random.getrandbits(32))
    try:
        await faults.recovered("the end")
        await _settled(place, apps, timers=True)
        bundles = await fleet.collect_evidence(folder)
        await _settled(place, apps)
    except (NotRecovered, TimeoutError) as error:
        return [Finding("not_recovered", f"{type(error).__name__}: {error}")]
    for app in apps:
        await app.stop()
    found = [finding for each in bundles if each is not None for finding in check_bundle(*each)]
    return found + [Finding("no_evidence", "a bundle cannot be had")] * bundles.count(None)


async def _settled(place: EmbeddedPlace | SharedPlace, apps: Sequence[AppProcess], *, timers: bool = False) -> None:
    """Wait until every trigger is at its end, and stays there. TimeoutError."""
    async with httpx.AsyncClient(timeout=20) as http, asyncio.timeout(QUIET_SECONDS):
        await _drained(place, apps, http)
        for name in BACKSTOPS if timers else ():
            await http.post(f"{apps[0].url}/admin/functions/{name}", json={})
            await asyncio.sleep(0.1)
        calm = 0
        while calm < 3:
            calm = calm + 1 if await _is_drained(place, apps, http) else 0
            await asyncio.sleep(0.3)


async def _drained(place: EmbeddedPlace | SharedPlace, apps: Sequence[AppProcess], http: httpx.AsyncClient) -> None:
    while not await _is_drained(place, apps, http):
        await asyncio.sleep(0.2)


async def _is_drained(place: EmbeddedPlace | SharedPlace, apps: Sequence[AppProcess], http: httpx.AsyncClient) -> bool:
    for app in apps:
        feed = (await http.get(f"{app.url}/api/v1/health/ready")).json()["checks"]["feed"]
        if feed["lag_seconds"]:
            return False
    return await place.is_drained()


async def _judged(
    place: EmbeddedPlace | SharedPlace, attempts: Sequence[Attempt], apps: Sequence[AppProcess], outcome: Outcome
) -> Outcome:
    snapshot = await place.snapshot()
    outcome.starts = sum(app.starts for app in apps)
    outcome.events = len(snapshot.events)
    outcome.alerts = len(snapshot.of("alerts", "alert"))
    outcome.ledgers = len(snapshot.of("ledger", "head"))
    outcome.findings += await asyncio.to_thread(check, snapshot, attempts, outcome.starts)
    return outcome


def _requests(attempts: Sequence[Attempt]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in attempts:
        found["acknowledged" if each.acknowledged else "refused" if each.refused else "in doubt"] += 1
    return found


def _day() -> str:
    """A day that is over on every clock of a campaign."""
    return (SystemClock().now() - timedelta(days=2)).date().isoformat()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
