"""How fast a trail is copied, and in how much memory: `python -m bench.export` (some minutes, in a temporary folder).

A tenant gets 10,000 events, and a tenant of another store a million (`--events` for other numbers): written to an
SQLite file through the store, then served by a real `python -m devhost`, and copied by a real `python -m tools.export`
in each format (`--formats`). Peak memory is what the kernel says of each process, the server's from the beginning of
the copy. With `--check` the copies are compared with what is in the database file, read by sqlite3 alone: JSON lines
value by value, the others event by event; the run fails where they differ.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench._figures import figure, table
from bench._servers import ROOT, Server, ask, devhost
from functions.change_feed import CONSUMERS
from shared.audit.events.user import UserUpdate
from shared.audit.model import Actor, Draft, RequestContext, StoredEvent, Target
from shared.core.clock import SystemClock, period_of, rfc3339
from shared.core.ids import IdFactory
from shared.core.settings import Settings
from shared.storage.containers import AUDIT_EVENTS, LEASES
from shared.storage.documents import ChangeFeed, create
from shared.wiring import Services, build_services
from tools.export.records import id_of, is_heading, records

SIZES = (10_000, 1_000_000)
FORMATS = ("jsonl", "csv", "ocsf")
EMAIL, PASSWORD = "someone@example.com", "correct horse battery staple"
_BATCH, _WRITERS = 100, 8
_ALONE_SECONDS = 3.0
_STEP = timedelta(milliseconds=1)
_DIFFERENT_EVENTS = 64


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy."""

    size: int
    form: str
    rows: int
    seconds: float
    megabytes: float
    server_mib: float
    client_mib: float
    alone_ms: float
    beside_ms: float
    """p99 of a call that asks nothing of the store, made twenty times a second: before the copy and beside it."""


class Beside:
    """Somebody else, while a copy is made."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._seconds: list[float] = []

    def __enter__(self) -> "Beside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def p99_ms(self) -> float:
        """The 99th percentile of the answers' times."""
        return 1000 * sorted(self._seconds)[int(len(self._seconds) * 0.99)]

    def _ask(self) -> None:
        while not self._stop.wait(0.05):
            began = time.perf_counter()
            with urlopen(self._url, timeout=30) as answer:  # noqa: S310 - our own server on loopback
                answer.read()
            self._seconds.append(time.perf_counter() - began)


async def fill(data: str, tenant_id: str, count: int) -> None:
    """Put that many events into a tenant's trail, and the consumers of the feed behind them."""
    services = await build_services(Settings(kraftd_data=data))
    try:
        start = SystemClock().now() - (count + 1000) * _STEP
        samples = [await _sample(services, tenant_id, number) for number in range(_DIFFERENT_EVENTS)]
        ids = IdFactory(SystemClock())
        batches = _batches(samples, ids, start, count)

        async def writer() -> None:
            for period, events in batches:
                await services.store.batch(AUDIT_EVENTS, (tenant_id, period), [create(event) for event in events])

        await asyncio.gather(*(writer() for _ in range(_WRITERS)))
        if not isinstance(services.store, ChangeFeed):
            raise TypeError("the embedded store is what is measured")
        for name, (container, _) in CONSUMERS.items():
            lease = f"{name}|{name}"
            item = {"id": lease, "position": await services.store.last_position(container)}
            await services.store.upsert(LEASES, (lease,), item)
    finally:
        await services.close()


def _batches(
    samples: Sequence[StoredEvent], ids: IdFactory, start: datetime, count: int
) -> Iterator[tuple[str, list[StoredEvent]]]:
    events: list[StoredEvent] = []
    for number in range(count):
        moment = start + number * _STEP
        at, period = rfc3339(moment), period_of(moment)
        if events and (len(events) == _BATCH or events[0]["period"] != period):
            yield events[0]["period"], events
            events = []
        sample = samples[number % len(samples)]
        events.append({**sample, "id": ids.new(moment), "period": period, "recorded_at": at, "occurred_at": at})
    yield events[0]["period"], events


async def _sample(services: Services, tenant_id: str, number: int) -> StoredEvent:
    """An event as an administrator's change leaves it, two persons in it."""
    now = services.clock.now()
    request = RequestContext(
        services.ids.new(), "PUT /v1/admin/users/{id:guid}", "update_user", now, f"203.0.113.{number}", "bench/1"
    )
    actor = Actor("user", services.ids.new(), "tenant_admin", f"admin-{number}@example.com")
    event = UserUpdate(changed_fields=("phone",), old_values={"phone": None}, new_values={"phone": "+48 22 000 00 00"})
    target = Target("user", services.ids.new(), f"user-{number}@example.com")
    return await services.recorder.finish(Draft(tenant_id, event, request, actor=actor, target=target, person=actor.id))


def copy(server: Server, token: str, size: int, form: str, target: Path) -> Copy:
    """Copy once. RuntimeError when the command fails."""
    with Beside(f"{server.url}/v1/health/live") as alone:
        time.sleep(_ALONE_SECONDS)
    server.forget_peak()
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "tools.export", "--url", server.url, "--format", form, "-o", str(target)],
        cwd=ROOT,
        env=os.environ | {"KRAFTD_TOKEN": token},
        stderr=subprocess.PIPE,
        text=True,
    )
    with Beside(f"{server.url}/v1/health/live") as beside:
        said = process.stderr.read() if process.stderr else ""
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise RuntimeError(said)
    rows = int(said.split()[1].replace(",", ""))
    megabytes = target.stat().st_size / 1e6
    server_mib, client_mib = server.peak_mib(), used.ru_maxrss / 1024
    return Copy(size, form, rows, seconds, megabytes, server_mib, client_mib, alone.p99_ms(), beside.p99_ms())


def differences(data: str, tenant_id: str, form: str, target: Path) -> str | None:
    """Where a copy is not the trail, as sqlite3 finds it in the file; None where it is."""
    connection = sqlite3.connect(f"file:{Path(data) / 'kraftd.sqlite'}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT body FROM items_audit_events WHERE body ->> '$.tenant_id' = ?"
            " ORDER BY body ->> '$.recorded_at', body ->> '$.id'",
            (tenant_id,),
        )
        with target.open("rb") as file:
            copied = _copied(file, form)
            number = 0
            for number, line in enumerate(copied, 1):
                row = rows.fetchone()
                if row is None:
                    return f"{form}: line {number} is nowhere in the store"
                event = json.loads(row[0])
                same = json.loads(line) == _shown(event) if form == "jsonl" else id_of(line, form) == event["id"]
                if not same:
                    return f"{form}: line {number} is not event {event['id']}"
        left = [json.loads(body)["type"] for (body,) in rows]
        return None if set(left) <= {"audit.export", "auth.login"} else f"{form}: {len(left)} events are missing"
    finally:
        connection.close()


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in event.items() if name != "ttl"}
    return kept | {"personal": {subject: box["data"] for subject, box in event["personal"].items()}}


def _copied(file: Any, form: str) -> Iterator[bytes]:
    """The records of a file, without its names of columns. Ours hold no line end within quotes."""
    for line in file:
        for record in records(line, form):
            if not is_heading(record, form):
                yield record


def run(size: int, formats: Sequence[str], *, check: bool) -> tuple[list[Copy], list[str]]:
    """The copies of one trail, and what is wrong with them."""
    made: list[Copy] = []
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as folder:
        data = f"{folder}/data"
        with devhost(ROOT, data) as server:
            body = {"email": EMAIL, "password": PASSWORD, "first_name": "Some", "last_name": "Body"}
            body |= {"organization": "Example", "accept_terms": True, "accept_privacy": True}  # type: ignore[dict-item]
            tenant_id = ask(f"{server.url}/v1/register", body)[1]["user"]["tenant_id"]
        print(f"writing {size:,} events", file=sys.stderr)
        asyncio.run(fill(data, tenant_id, size))
        with devhost(ROOT, data) as server:
            for form in formats:
                print(f"copying {size:,} events as {form}", file=sys.stderr)
                token = ask(f"{server.url}/v1/login", {"email": EMAIL, "password": PASSWORD})[1]["access_token"]
                made.append(copy(server, token, size, form, Path(folder) / form))
        for form in formats if check else ():
            print(f"comparing {form}", file=sys.stderr)
            found = differences(data, tenant_id, form, Path(folder) / form)
            wrong += [found] if found else []
    return made, wrong


def report(copies: Sequence[Copy]) -> None:
    """Print every figure, and how memory grew from the smallest trail to the largest."""
    rows = []
    for each in copies:
        labels: dict[str, str | int] = {"events": each.size, "format": each.form}
        for metric, value, unit in (
            ("megabytes_per_second", each.megabytes / each.seconds, "MB/s"),
            ("events_per_second", each.rows / each.seconds, "1/s"),
            ("server_peak_rss", each.server_mib, "MiB"),
            ("client_peak_rss", each.client_mib, "MiB"),
            ("latency_p99_alone", each.alone_ms, "ms"),
            ("latency_p99_beside", each.beside_ms, "ms"),
        ):
            figure("export", metric, value, unit, **labels)
            rows.append((f"{each.form} of {each.size:,}: {metric}", f"{value:,.1f} {unit}"))
    small, large = min(each.size for each in copies), max(each.size for each in copies)
    for of, peaks in (("server", [(e.size, e.server_mib) for e in copies]), ("client", _client(copies))):
        ratio = max(mib for size, mib in peaks if size == large) / max(mib for size, mib in peaks if size == small)
        figure("export", f"{of}_peak_rss_growth", ratio, "ratio", small=small, large=large)
        rows.append((f"{of}_peak_rss_growth", f"{ratio:.2f}"))
    table(rows)


def _client(copies: Sequence[Copy]) -> list[tuple[int, float]]:
    return [(each.size, each.client_mib) for each in copies]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Exit code 1 when a copy is not the trail."""
    parser = argparse.ArgumentParser(prog="python -m bench.export")
    parser.add_argument("--events", type=int, nargs="+", default=SIZES)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--check", action="store_true", help="compare the copies with the database file")
    options = parser.parse_args(arguments)
    copies: list[Copy] = []
    wrong: list[str] = []
    for size in options.events:
        made, differs = run(size, options.formats, check=options.check)
        copies += made
        wrong += differs
    report(copies)
    for each in wrong:
        print(each, file=sys.stderr)
    if options.check and not wrong:
        print("every copy equals its store")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
