"""What the app answers per second: `python -m bench.requests` (about a minute, in a temporary folder).

Four calls, each on a real `python -m devhost` process, driven by a client process over 32 kept-alive connections:
a bare function (constant answer, no store), the audited GET /profile, PUT /profile with a change, and POST /login with
the right password. Rounds of the four alternate, so that the machine's noise hits all of them; figures are medians over
the rounds. A round begins when the change feed has caught up with the round before. At the end the trail is counted: as
many profile.view events as answers with status 200, or the run fails.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench._figures import figure, table
from bench._load import Load, drive, request
from bench._servers import ROOT, Server, ask, devhost, served
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import MAX_PAGE, Cursor, DocumentStore, Eq, Query
from shared.wiring.adapters import open_store

ROUNDS = 5
SECONDS = 3.0
CONNECTIONS = 32
TENANTS = 8
PASSWORD = "correct horse battery staple"
BARE_SHARE_AIM = 0.5
P99_AIM_MS = 50.0
_CATCH_UP_SECONDS = 60.0
_CALLS = ("bare", "profile", "update", "login")


@dataclass(frozen=True, slots=True)
class Account:
    """One registered account."""

    tenant_id: str
    email: str
    token: str


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one call."""

    load: Load
    server_cpu_us: float
    resident_mib: float


def register(server: Server, number: int) -> Account:
    """Open an account in a tenant of its own."""
    email = f"user-{number}@example.com"
    body = {
        "email": email,
        "password": PASSWORD,
        "first_name": "First",
        "last_name": "Last",
        "organization": f"Organization {number}",
        "accept_terms": True,
        "accept_privacy": True,
    }
    _, answer = ask(f"{server.url}/v1/register", body)
    return Account(answer["user"]["tenant_id"], email, answer["access_token"])


def wires(accounts: Sequence[Account]) -> dict[str, list[bytes]]:
    """The requests of each call, one per account."""
    headers = {"User-Agent": "bench", "Accept": "application/json"}
    profile = [
        request("GET", "/api/v1/profile", {**headers, "Authorization": f"Bearer {each.token}"}) for each in accounts
    ]
    login = [
        request(
            "POST",
            "/api/v1/login",
            {**headers, "Content-Type": "application/json"},
            json.dumps({"email": each.email, "password": PASSWORD}).encode(),
        )
        for each in accounts
    ]
    update = [
        request(
            "PUT",
            "/api/v1/profile",
            {**headers, "Authorization": f"Bearer {each.token}", "Content-Type": "application/json"},
            json.dumps({"bio": bio}).encode(),
        )
        for bio in ("A few words.", "A few other words.")  # from one connection to the next, so that each is a change
        for each in accounts
    ]
    bare = [request("GET", "/api/bare", headers)]
    return {"bare": bare, "profile": profile, "update": update, "login": login}


def measure(server: Server, requests: Sequence[bytes], seconds: float) -> Round:
    """One round."""
    before = server.cpu_seconds()
    load = drive(server.port, requests, connections=CONNECTIONS, seconds=seconds)
    used = server.cpu_seconds() - before
    if set(load.statuses) != {"200"}:
        raise RuntimeError(f"answers other than 200: {load.statuses}")
    return Round(load, 1e6 * used / load.answers, server.resident_mib())


def catch_up(app: Server) -> float:
    """Wait until the change feed has handled everything; the seconds that took. RuntimeError when it does not."""
    start = time.perf_counter()
    while time.perf_counter() < start + _CATCH_UP_SECONDS:
        if ask(f"{app.url}/v1/health/ready")[1]["checks"]["feed"]["lag_seconds"] == 0:
            return time.perf_counter() - start
        time.sleep(0.05)
    raise RuntimeError("the change feed does not catch up")


async def profile_views(data: str, tenants: Sequence[str]) -> int:
    """The profile.view events in the trail of these tenants."""
    store = await open_store(Settings(kraftd_data=data), SystemClock())
    try:
        return sum([await _views_of(store, tenant_id) for tenant_id in tenants])
    finally:
        await store.close()


async def _views_of(store: DocumentStore, tenant_id: str) -> int:
    count = 0
    after: Cursor | None = None
    while True:
        where = (Eq("type", "profile.view"),)
        query = Query(where, order_by="recorded_at", limit=MAX_PAGE, after=after, fields=("id", "recorded_at"))
        page = await store.query(AUDIT_EVENTS, (tenant_id,), query)
        count += len(page.items)
        after = page.next
        if after is None:
            return count


def client_alone() -> Load:
    """What the client reaches against a server that does nothing: the run's bound on what can be measured."""
    wire = request("GET", "/api/bare", {"User-Agent": "bench", "Accept": "application/json"})
    with served(["-m", "bench._canned", "30"]) as server:
        return drive(server.port, [wire], connections=CONNECTIONS, seconds=SECONDS)


def run(data: str) -> tuple[dict[str, list[Round]], list[float], int, list[Account]]:
    """All rounds: their figures, how long the feed took to catch up after each, GET /profile's answers, accounts."""
    rounds: dict[str, list[Round]] = defaultdict(list)
    waits: list[float] = []
    answers = 0
    with devhost(ROOT / "bench" / "apps" / "bare", ":memory:") as bare, devhost(ROOT, data) as app:
        accounts = [register(app, number) for number in range(TENANTS)]
        by_call = wires(accounts)
        servers = {"bare": bare, "profile": app, "update": app, "login": app}
        for number in range(ROUNDS + 1):
            for call in _CALLS:
                done = measure(servers[call], by_call[call], SECONDS if number else 1.0)
                answers += done.load.answers if call == "profile" else 0
                wait = catch_up(app)
                if number:  # round 0 warms up
                    rounds[call].append(done)
                    if call == "profile":
                        waits.append(wait)
    return rounds, waits, answers, accounts


def report(rounds: dict[str, list[Round]], waits: Sequence[float], alone: Load, events: int) -> None:
    """Print every figure."""
    figures: list[tuple[str, float, str, dict[str, str | int]]] = []
    labels: dict[str, str | int] = {"connections": CONNECTIONS}
    rates = {call: [each.load.per_second for each in rounds[call]] for call in _CALLS}
    for call in _CALLS:
        of_call = {"call": call, **labels}
        for metric, unit, values in (
            ("requests_per_second", "1/s", rates[call]),
            ("latency_p50", "ms", [each.load.p50_ms for each in rounds[call]]),
            ("latency_p99", "ms", [each.load.p99_ms for each in rounds[call]]),
            ("server_cpu_per_request", "us", [each.server_cpu_us for each in rounds[call]]),
            ("server_rss", "MiB", [each.resident_mib for each in rounds[call]]),
            ("client_cpu_share", "cores", [each.load.cpu_share for each in rounds[call]]),
        ):
            figures.append((metric, statistics.median(values), unit, of_call))
    for call in _CALLS[1:]:
        shares = [one / other for one, other in zip(rates[call], rates["bare"], strict=True)]
        figures.append(("share_of_bare", statistics.median(shares), "ratio", {"call": call, **labels}))
    figures.append(("client_alone_requests_per_second", alone.per_second, "1/s", labels))
    figures.append(("feed_catch_up_after_profile", statistics.median(waits), "s", labels))
    figures.append(("profile_events_equal_answers", events, "events", labels))
    table([(" ".join((str(labels.get("call", "")), m)).strip(), f"{v:,.2f} {u}") for m, v, u, labels in figures])
    found = {(metric, each.get("call")): value for metric, value, _, each in figures}
    share, p99_ms = found["share_of_bare", "profile"], found["latency_p99", "profile"]
    print(f"aim: profile >= {BARE_SHARE_AIM} of bare: {'met' if share >= BARE_SHARE_AIM else 'missed'} ({share:.2f})")
    print(f"aim: profile p99 < {P99_AIM_MS:.0f} ms: {'met' if p99_ms < P99_AIM_MS else 'missed'} ({p99_ms:.1f} ms)")
    for metric, value, unit, each in figures:
        figure("requests", metric, value, unit, **each)


def main() -> int:
    """Measure and print. Exit code 1 when an answer has no event, or an event no answer."""
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as data:
        alone = client_alone()
        rounds, waits, answers, accounts = run(data)
        events = asyncio.run(profile_views(data, [each.tenant_id for each in accounts]))
    report(rounds, waits, alone, events)
    if events != answers:
        print(f"{answers} answers, but {events} profile.view events", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
