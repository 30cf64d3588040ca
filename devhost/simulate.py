"""`python -m devhost.simulate`: companies at work, and attacks on them, through POST /events and the real endpoints.

Everything follows from the seed; the ground truth is printed as JSON (docs/simulation.md). Without `--url` it serves
the app by itself, from a folder that is deleted afterward or from `--data`, under a simulated clock: weeks pass in
minutes.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import httpx

from devhost.errors import HostError
from devhost.launch import served
from devhost.simulation.attacks import NAMES, PATTERNS
from devhost.simulation.driver import Driver, MovedTime, RealTime, Time
from devhost.simulation.plan import DEFAULT_START, Options, Plan, make_plan
from devhost.simulation.requests import SimulationError
from devhost.simulation.scene import PlanError
from devhost.simulation.server import LIMITS, SETTINGS, caught_up, simulated_now
from devhost.simulation.truth import ground_truth
from shared.core.clock import SystemClock, parse_rfc3339, rfc3339

_BAR = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate. Exit code 0 when all went as planned, 1 when it did not, 2 for options that have no plan."""
    parser = _parser()
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended then, too
    try:
        truth = _against(options, options.url) if options.url else _by_itself(options)
    except PlanError as error:
        parser.error(str(error))
    except (SimulationError, HostError) as error:
        return _failed(str(error))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _failed(f"no answer: {type(error).__name__}: {error}")
    print(json.dumps(truth, indent=2))
    return 0


def _failed(message: str) -> int:
    print(f"simulate: {message}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devhost.simulate", description="Companies at work, attacks on them, and the ground truth."
    )
    parser.add_argument("--url", help="a server to simulate on (default: its own, which is ended afterward)")
    parser.add_argument(
        "--data", help="folder for the data of its own server, which stays (default: one that does not)"
    )
    parser.add_argument("--app", type=Path, default=Path(), help="directory of function_app.py (default: this one)")
    parser.add_argument("--tenants", type=int, default=3, help="organizations; the last one gets no attack")
    parser.add_argument("--users", type=int, default=40, help="people in each")
    parser.add_argument("--days", type=int, default=30, help="days, the first of which is the setting-up")
    parser.add_argument("--attacks", default="all", help=f"all, none, or some of: {','.join((*PATTERNS, *NAMES))}")
    parser.add_argument("--seed", type=int, default=1, help="what everything follows from")
    parser.add_argument("--start", help=f"when it begins, RFC 3339 (default: {rfc3339(DEFAULT_START)[:10]})")
    return parser


def _options(given: argparse.Namespace, start: datetime, *, live: bool = False) -> Options:
    attacks = {"all": PATTERNS, "none": ()}.get(given.attacks) or tuple(
        each.strip() for each in given.attacks.split(",") if given.attacks != "none"
    )
    return Options(given.seed, given.tenants, given.users, given.days, attacks, start, live)


def _start(given: argparse.Namespace, otherwise: datetime) -> datetime:
    try:
        return otherwise if given.start is None else parse_rfc3339(given.start)
    except ValueError as error:
        raise PlanError(f"--start: {error}") from None


def _by_itself(given: argparse.Namespace) -> dict[str, Any]:
    start = _start(given, DEFAULT_START)
    plan = make_plan(_options(given, start))
    with contextlib.ExitStack() as stack:
        data = given.data or stack.enter_context(tempfile.TemporaryDirectory(prefix="kraftd-simulation-"))
        arguments = ("--simulated-clock", rfc3339(start))
        url = stack.enter_context(served(given.app, data, *arguments, settings=SETTINGS))
        return asyncio.run(_run(lambda _: plan, url))


def _against(given: argparse.Namespace, url: str) -> dict[str, Any]:
    def plan_at(now: datetime | None) -> Plan:
        if now is None:
            if given.start is not None:
                raise PlanError("--start: that server's clock is real; what happens there happens now")
            return make_plan(_options(given, SystemClock().now(), live=True))
        tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
        start = _start(given, tomorrow)
        if start <= now:
            raise PlanError(f"--start: that server's clock is at {rfc3339(now)} already, and only moves forward")
        return make_plan(_options(given, start))

    return asyncio.run(_run(plan_at, url))


async def _run(plan_at: Callable[[datetime | None], Plan], url: str) -> dict[str, Any]:
    """The ground truth of a plan, which is made once the server's simulated time is known (None: it has a real one)."""
    root = url.rstrip("/").removesuffix("/api") + "/"
    async with (
        httpx.AsyncClient(base_url=root, timeout=60) as host,
        httpx.AsyncClient(base_url=f"{root}api/", timeout=60, limits=LIMITS) as http,
    ):
        now = await simulated_now(host)
        plan = plan_at(now)
        clock: Time = RealTime(SystemClock()) if now is None else MovedTime(host, now)
        with _bar(len(plan.actions)) as progress:
            driver = Driver(http, plan, clock, progress)
            began = monotonic()
            await driver.run()
            driven = monotonic() - began
            await caught_up(http)
    summary = ", ".join(f"{number} {verb}" for verb, number in driver.calls.most_common())
    print(
        f"{driver.calls.total()} calls and {driver.events} reported events in {driven:.1f} s, "
        f"alerts after {monotonic() - began - driven:.1f} s more: {summary}",
        file=sys.stderr,
    )
    return ground_truth(
        plan,
        driver.known,
        driver.traces,
        clock="simulated" if clock.simulated else "real",
        calls=driver.calls,
        events=driver.events,
    )


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar, for a terminal only."""
    shown = -1

    def progress(done: int) -> None:
        nonlocal shown
        percent = 100 * done // max(1, total)
        if percent != shown:
            shown = percent
            filled = _BAR * done // max(1, total)
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {percent:3} %")
            sys.stderr.flush()

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        yield progress
    finally:
        sys.stderr.write("\r" + " " * (_BAR + 10) + "\r")


if __name__ == "__main__":
    sys.exit(main())
