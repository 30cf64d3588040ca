"""Events per second that POST /events takes: `python -m bench.ingest` (some twelve minutes, in a temporary folder).

A real `python -m devhost` process on a SQLite file, its change feed and detection at work; a client process sends over
32 kept-alive connections, with API keys of 8 tenants. Single events, batches of 100 and of 500, each event with actor,
target, data class and four attributes; and batches of 100 whose events carry e-mail, address and user agent of a person
as well. Rounds of all alternate, each begun when the change feed has caught up, which takes longer than all of them;
figures are medians. Every answer is 201, so every event is durable; at the end the trail is counted: as many events as
were accepted, or the run fails.
"""

import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench._figures import figure, table
from bench._load import Load, drive, request
from bench._servers import ROOT, Server, ask, devhost
from bench.requests import CONNECTIONS, TENANTS, Account, catch_up, register
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import MAX_PAGE, Cursor, Eq, Query
from shared.wiring.adapters import open_store

ROUNDS = 3
SECONDS = 3.0
BATCH_AIM = 10_000.0
SINGLE_AIM = 2_000.0
_CASES = ("1", "100", "500", "100, personal")


def event(number: int, *, personal: bool = False, people: int = 97) -> dict[str, Any]:
    """One event of a producer, of one of so many people."""
    user = f"user-{number % people}"
    made: dict[str, Any] = {
        "type": "data.read",
        "actor": {"kind": "user", "id": user},
        "target": {"kind": "record", "id": f"record-{number}"},
        "data_class": "phi",
        "attributes": {"table": "visits", "purpose": "treatment", "page": number, "full": False},
    }
    if personal:
        made["personal"] = {
            user: {"email": f"{user}@example.com", "ip": f"203.0.113.{number % 97}", "user_agent": "Mozilla/5.0"}
        }
    return made


def body(case: str) -> bytes:
    """What one request of a case brings."""
    size, _, more = case.partition(", ")
    events = [event(number, personal=more == "personal") for number in range(int(size))]
    return json.dumps(events[0] if case == "1" else {"events": events}, separators=(",", ":")).encode()


def new_key(server: Server, account: Account) -> str:
    """An API key of a tenant that may write events."""
    wanted = {"name": "bench", "scopes": ["events:write"]}
    return str(ask(f"{server.url}/v1/admin/api-keys", wanted, account.token)[1]["key"])


def wires(keys: Sequence[str]) -> dict[str, list[bytes]]:
    """The requests of each case, one per tenant."""
    headers = {"User-Agent": "bench", "Accept": "application/json", "Content-Type": "application/json"}
    return {
        case: [
            request("POST", "/api/v1/events", {**headers, "Authorization": f"Bearer {key}"}, body(case)) for key in keys
        ]
        for case in _CASES
    }


async def trail(data: str, tenants: Sequence[str]) -> int:
    """The events of producers in the trail of these tenants."""
    store = await open_store(Settings(kraftd_data=data), SystemClock())
    count = 0
    try:
        for tenant_id in tenants:
            after: Cursor | None = None
            for _ in itertools.count():
                where = (Eq("type", "data.read"),)
                query = Query(where, order_by="recorded_at", limit=MAX_PAGE, after=after, fields=("id", "recorded_at"))
                page = await store.query(AUDIT_EVENTS, (tenant_id,), query)
                count += len(page.items)
                after = page.next
                if after is None:
                    break
    finally:
        await store.close()
    return count


def run(data: str) -> tuple[dict[str, list[tuple[Load, float, float]]], int, list[Account]]:
    """All rounds: load, server CPU and resident memory of each; how many events were accepted; the accounts."""
    rounds: dict[str, list[tuple[Load, float, float]]] = defaultdict(list)
    accepted = 0
    with devhost(ROOT, data) as app:
        accounts = [register(app, number) for number in range(TENANTS)]
        by_case = wires([new_key(app, account) for account in accounts])
        for number in range(ROUNDS + 1):
            for case in _CASES:
                before = app.cpu_seconds()
                load = drive(app.port, by_case[case], connections=CONNECTIONS, seconds=SECONDS if number else 1.0)
                if set(load.statuses) != {"201"}:
                    raise RuntimeError(f"answers other than 201: {load.statuses}")
                accepted += load.answers * int(case.partition(",")[0])
                used = app.cpu_seconds() - before
                settle(app)
                if number:  # round 0 warms up
                    rounds[case].append((load, used, app.resident_mib()))
    return rounds, accepted, accounts


def settle(app: Server) -> None:
    """Wait until the change feed has caught up, however long it takes."""
    for _ in range(20):
        try:
            catch_up(app)
        except RuntimeError:
            continue
        return
    time.sleep(0)


def report(rounds: dict[str, list[tuple[Load, float, float]]], accepted: int) -> None:
    """Print every figure."""
    figures: list[tuple[str, float, str, dict[str, str | int]]] = []
    rates: dict[str, float] = {}
    for case in _CASES:
        size = int(case.partition(",")[0])
        labels: dict[str, str | int] = {"batch": case, "connections": CONNECTIONS}
        rates[case] = statistics.median(load.per_second * size for load, _, _ in rounds[case])
        for metric, unit, values in (
            ("events_per_second", "1/s", [load.per_second * size for load, _, _ in rounds[case]]),
            ("requests_per_second", "1/s", [load.per_second for load, _, _ in rounds[case]]),
            ("latency_p50", "ms", [load.p50_ms for load, _, _ in rounds[case]]),
            ("latency_p99", "ms", [load.p99_ms for load, _, _ in rounds[case]]),
            ("server_cpu_per_event", "us", [1e6 * used / (load.answers * size) for load, used, _ in rounds[case]]),
            ("server_rss", "MiB", [resident for _, _, resident in rounds[case]]),
        ):
            figures.append((metric, statistics.median(values), unit, labels))
    figures.append(("accepted_events_in_trail", accepted, "events", {}))
    table([(f"{labels.get('batch', '')} {metric}".strip(), f"{v:,.2f} {u}") for metric, v, u, labels in figures])
    for case, aim in (("1", SINGLE_AIM), ("500", BATCH_AIM)):
        met = "met" if rates[case] >= aim else "missed"
        print(f"aim: batches of {case} >= {aim:,.0f} events/s: {met} ({rates[case]:,.0f})")
    for metric, value, unit, labels in figures:
        figure("ingest", metric, value, unit, **labels)


def main() -> int:
    """Measure and print. Exit code 1 when an accepted event is not in the trail, or one is that was not accepted."""
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as data:
        rounds, accepted, accounts = run(data)
        found = asyncio.run(trail(data, [each.tenant_id for each in accounts]))
    report(rounds, accepted)
    if found != accepted:
        print(f"{accepted} events accepted, {found} in the trail", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
