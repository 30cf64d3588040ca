"""Sustained mixed traffic: `python -m bench.mixed [--seconds 300] [--connections 32]` (in a temporary folder).

A real `python -m devhost` process on a SQLite file, its change feed, detection and ledger at work; eight tenants that
have lived for eight days (`_past.py`), and a client process that keeps 32 connections busy. Of 1,000 calls:
- **read**: 420 GET /profile, 60 GET /alerts;
- **search**: 60 GET /events (the newest, of a type, of an actor), 25 GET /events by e-mail, 50 events a page;
- **write**: 240 POST /events with one event, 20 with a batch of 20 (API keys), 90 PUT /profile, 15 POST /token/refresh;
- **login**: 5 POST /login;
- **report**: 45 GET /reports, 19 GET /reports/{id} as JSON, 1 POST /reports (each of a period or a framework that the
  organization did not ask for yet, so that it has to be made).

Every answer that is not a success is an error. Latencies are those that the client saw, CPU and memory (RSS) those of
the server. The first fifth of the time warms up; from then on a line through the samples of memory says whether there
is a leak. At the end the trail is counted: as many events of reads, changes, sign-ins and producers as were answered
for, or the run fails.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench._figures import figure, table
from bench._load import REFRESH_TOKEN, Load, Step, drive_rounds, request
from bench._past import DAYS, EVENTS_A_DAY, PEOPLE, days, live
from bench._servers import ROOT, Server, ask, devhost
from bench.ingest import event, settle
from bench.requests import PASSWORD, TENANTS, Account
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import Eq, Query, pages
from shared.wiring.adapters import open_store

SECONDS, CONNECTIONS = 300.0, 32
BATCH = 20
ROUND, TURNS = 1000, 6
"""Calls of a round, and how many different ones each connection has; then it begins again (at 640 requests a second
within five minutes: then some reports would be there already)."""
FRAMEWORKS = ("gdpr", "soc2", "hipaa", "pci_dss", "iso_27001")
MIX = {
    "read: profile": 420,
    "read: alerts": 60,
    "search: events": 60,
    "search: e-mail": 25,
    "write: event": 240,
    "write: batch": 20,
    "write: profile": 90,
    "write: refresh": 15,
    "login": 5,
    "report: list": 45,
    "report: one": 19,
    "report: made": 1,
}
"""Of so many calls each, by kind; what stands before the colon is what an aim is for."""
RATE_AIM = 1000.0
P99_AIMS_MS = {"write": 500.0, "search": 1000.0, "report": 2000.0}
COUNTED = {"profile.view": "read: profile", "profile.update": "write: profile", "auth.login": "login"}
"""Events of which there is one for every success of a kind."""
PRODUCED = "data.read"
WARM_UP = 0.2
LEAK_MIB_PER_MINUTE = 2.0
SHORTEST_SECONDS = 120.0
"""Of less time nothing is said about leaks: caches are still filling up."""
_SAMPLE_SECONDS = 1.0
_READY_SECONDS = 400.0
"""A report that was asked for before the check came by is looked at again after five minutes."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One organization: its administrator, its API key and a report that is there."""

    account: Account
    key: str
    report: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at one moment: seconds since the start, CPU seconds so far, resident memory."""

    at: float
    cpu_seconds: float
    resident_mib: float


class Sampler:
    """Looks at the server once a second, beside the run."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        start = time.perf_counter()
        while True:
            now = time.perf_counter() - start
            self.samples.append(Sample(now, self._server.cpu_seconds(), self._server.resident_mib()))
            if self._over.wait(_SAMPLE_SECONDS):
                return


def periods() -> list[tuple[str, str]]:
    """First day, and the day after the last, of all reports on days that are over, the longest first."""
    known = [day.isoformat() for day in days()]
    found = [(first, end) for place, first in enumerate(known) for end in known[place + 1 :]]
    return sorted(found, key=lambda each: (each[0], -known.index(each[1])))


def signed_in(server: Server, account: Account) -> Account:
    """An account with a token of now."""
    _, answer = ask(f"{server.url}/v1/login", {"email": account.email, "password": PASSWORD})
    return replace(account, token=answer["access_token"])


def first_report(server: Server, account: Account) -> str:
    """Ask for a report of the whole past until it is there; its id. RuntimeError when it never is, or of too little."""
    first, end = periods()[0]
    body = {"framework": FRAMEWORKS[0], "from": first, "to": end}
    deadline = time.perf_counter() + _READY_SECONDS
    while time.perf_counter() < deadline:
        for timer in ("verify_ledger", "tell_of_life", "retry_reports"):  # what a report waits for
            ask(f"http://127.0.0.1:{server.port}/admin/functions/{timer}", {})
        time.sleep(3)
        status, made = ask(f"{server.url}/v1/reports", body, account.token)
        if status == 201:
            if made["events_in_period"] < DAYS * EVENTS_A_DAY:
                raise RuntimeError(f"a report of {made['events_in_period']} events")
            return str(made["id"])
    raise RuntimeError("a report is not made")


def rounds(tenants: Sequence[Tenant], connections: int) -> list[list[Step]]:
    """What each connection does over and over: all kinds by their shares, shuffled, a login first."""
    chance = random.Random(12)  # noqa: S311 - the same mix in every run
    orders = {tenant.key: ordered() for tenant in tenants}
    found = []
    for number in range(connections):
        tenant, steps = tenants[number % len(tenants)], []
        for turn in range(number * TURNS, (number + 1) * TURNS):
            kinds = [kind for kind, share in MIX.items() for _ in range(share * ROUND // sum(MIX.values()))]
            kinds.remove("login")
            chance.shuffle(kinds)
            for place, kind in enumerate(["login", *kinds]):
                steps.append(step(tenant, kind, turn * ROUND + place, orders[tenant.key]))
        found.append(steps)
    return found


def ordered() -> Iterator[dict[str, str]]:
    """The reports that an organization asks for, without the one that is there, over and over."""
    every = [{"framework": each, "from": first, "to": end} for first, end in periods() for each in FRAMEWORKS]
    return itertools.cycle(every[1:])


def step(tenant: Tenant, kind: str, number: int, orders: Iterator[dict[str, str]]) -> Step:
    """The call of a kind; `number` tells one from the next."""
    token, user = tenant.account.token, f"user-{number % PEOPLE}"
    events = [event(number + each, people=PEOPLE) for each in range(BATCH if kind == "write: batch" else 1)]
    login = {"email": tenant.account.email, "password": PASSWORD}
    searches = ("limit=50", "limit=50&type=profile.view", f"limit=50&actor={user}")
    method, path, credential, body = {
        "read: profile": ("GET", "profile", token, None),
        "read: alerts": ("GET", "alerts", token, None),
        "search: events": ("GET", f"events?{searches[number % 3]}", token, None),
        "search: e-mail": ("GET", f"events?limit=50&email={user}@example.com", token, None),
        "write: event": ("POST", "events", tenant.key, events[0]),
        "write: batch": ("POST", "events", tenant.key, {"events": events}),
        "write: profile": ("PUT", "profile", token, {"bio": f"Words number {number}."}),
        "write: refresh": ("POST", "token/refresh", "", {"refresh_token": REFRESH_TOKEN.decode()}),
        "login": ("POST", "login", "", login),
        "report: list": ("GET", "reports", token, None),
        "report: one": ("GET", f"reports/{tenant.report}?format=json", token, None),
        "report: made": ("POST", "reports", token, next(orders) if kind == "report: made" else None),
    }[kind]
    headers = {"User-Agent": "bench", "Accept": "application/json"}
    headers |= {"Authorization": f"Bearer {credential}"} if credential else {}
    headers |= {} if body is None else {"Content-Type": "application/json"}
    wire = request(method, f"/api/v1/{path}", headers, b"" if body is None else json.dumps(body).encode())
    return Step(kind, wire, gives_token=kind in ("login", "write: refresh"))


async def trail(data: str, tenants: Sequence[str]) -> Counter[str]:
    """How many events there are of each type that is counted."""
    store = await open_store(Settings(kraftd_data=data), SystemClock())
    found: Counter[str] = Counter()
    try:
        for tenant_id in tenants:
            for kind in (*COUNTED, PRODUCED):
                query = Query((Eq("type", kind),), order_by="recorded_at", fields=("id", "recorded_at"))
                async for items in pages(store, AUDIT_EVENTS, (tenant_id,), query):
                    found[kind] += len(items)
    finally:
        await store.close()
    return found


def succeeded(load: Load) -> int:
    """Answers that are a success."""
    return sum(count for status, count in load.statuses.items() if status.startswith("2"))


def acknowledged(seen: Mapping[str, Load]) -> Counter[str]:
    """How many events the answers stand for, with those of the past and of signing in before."""
    wanted = Counter({kind: succeeded(seen[call]) for kind, call in COUNTED.items() if call in seen})
    for kind, size in (("write: event", 1), ("write: batch", BATCH)):
        wanted[PRODUCED] += succeeded(seen[kind]) * size if kind in seen else 0
    return wanted + Counter({PRODUCED: TENANTS * DAYS * EVENTS_A_DAY, "auth.login": TENANTS})


def run(data: str, seconds: float, connections: int) -> tuple[dict[str, Load], list[Sample], list[Account], float]:
    """Set up and drive: what the client saw by kind, the server's samples, the accounts, seconds of catching up."""
    accounts, keys = live(data, TENANTS)
    with devhost(ROOT, data) as app:
        accounts = [signed_in(app, each) for each in accounts]
        tenants = [Tenant(each, key, first_report(app, each)) for each, key in zip(accounts, keys, strict=True)]
        settle(app)
        with Sampler(app) as sampler:
            seen = drive_rounds(app.port, rounds(tenants, connections), connections=connections, seconds=seconds)
        begun = time.perf_counter()
        settle(app)
        behind = time.perf_counter() - begun
    return seen, sampler.samples, accounts, behind


def slope(samples: Sequence[Sample]) -> float:
    """How much memory grows, in MiB per minute: the line of least squares."""
    if len(samples) < 2:
        return 0.0
    return (
        60 * statistics.linear_regression([each.at for each in samples], [each.resident_mib for each in samples]).slope
    )


def report(seen: Mapping[str, Load], samples: Sequence[Sample], behind: float, connections: int) -> int:
    """Print every figure and whether each aim is met; the number of answers that are errors."""
    answers = sum(load.answers for load in seen.values())
    errors = answers - sum(map(succeeded, seen.values()))
    seconds = next(iter(seen.values())).seconds
    used = samples[-1].cpu_seconds - samples[0].cpu_seconds
    settled = [each for each in samples if each.at >= WARM_UP * seconds]
    growth = slope(settled)
    rate = answers / seconds
    labels: dict[str, str | int] = {"connections": connections, "seconds": round(seconds)}
    figures: list[tuple[str, float, str, dict[str, str | int]]] = [
        ("requests_per_second", rate, "1/s", labels),
        ("error_rate", errors / answers, "ratio", labels),
        ("server_cpu_per_request", 1e6 * used / answers, "us", labels),
        ("server_cpu", used / (samples[-1].at - samples[0].at), "cores", labels),
        ("server_rss_after_warm_up", settled[0].resident_mib, "MiB", labels),
        ("server_rss_at_the_end", settled[-1].resident_mib, "MiB", labels),
        ("server_rss_growth", growth, "MiB/min", labels),
        ("feed_catch_up", behind, "s", labels),
    ]
    for kind, load in sorted(seen.items()):
        named = {"kind": kind, **labels}
        figures += [
            ("answers", load.answers, "requests", named),
            ("latency_p50", load.p50_ms, "ms", named),
            ("latency_p99", load.p99_ms, "ms", named),
        ]
    table([(" ".join((str(each.get("kind", "")), metric)).strip(), f"{v:,.2f} {u}") for metric, v, u, each in figures])
    for kind, load in sorted(seen.items()):
        bad = {status: count for status, count in load.statuses.items() if not status.startswith("2")}
        if bad:
            print(f"{kind}: answers {bad}")
    _say(f"requests/s >= {RATE_AIM:,.0f}", rate >= RATE_AIM, f"{rate:,.0f}")
    _say("errors = 0", not errors, str(errors))
    for what, aim_ms in P99_AIMS_MS.items():
        slowest = max(load.p99_ms for kind, load in seen.items() if kind.startswith(what))
        _say(f"p99 of each {what} < {aim_ms:,.0f} ms", slowest < aim_ms, f"{slowest:,.0f} ms")
    verdict = f"memory grows by less than {LEAK_MIB_PER_MINUTE} MiB/min"
    if seconds < SHORTEST_SECONDS:
        print(f"aim: {verdict}: too short to say ({growth:.1f} MiB/min)")
    else:
        _say(verdict, growth < LEAK_MIB_PER_MINUTE, f"{growth:.1f} MiB/min")
    for metric, value, unit, each in figures:
        figure("mixed", metric, value, unit, **each)
    return errors


def _say(aim: str, met: bool, value: str) -> None:
    print(f"aim: {aim}: {'met' if met else 'missed'} ({value})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Exit code 1 for an error among the answers, or a trail that does not agree with them."""
    parser = argparse.ArgumentParser(prog="python -m bench.mixed", description="Sustained mixed traffic.")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as data:
        seen, samples, accounts, behind = run(data, options.seconds, options.connections)
        found = asyncio.run(trail(data, [each.tenant_id for each in accounts]))
    errors = report(seen, samples, behind, options.connections)
    wanted = acknowledged(seen)
    for kind, count in wanted.items():
        figure("mixed", "events_in_trail", found[kind], "events", type=kind, answered_for=count)
        if found[kind] != count:
            print(f"{kind}: {count} answered for, but {found[kind]} events", file=sys.stderr)
    return 1 if errors or any(found[kind] != count for kind, count in wanted.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
