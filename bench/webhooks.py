"""What streaming costs: `python -m bench.webhooks [--events 20000] [--waiting 100000]` (about a minute).

Events are sealed beforehand and delivered to a receiver in a process of its own (HTTP on loopback, no TLS), which takes
and checks them like the reference receiver. Latency is from the write of an event to its arrival, one event at
a time through store, sealer, stream and HTTP. Memory is that of a process with a dead receiver: attempts one after the
other. What a process needs to start and to make attempts at all is there before it is looked at; then as many events
wait as were sealed by another process beforehand, and what it grows by, at most, is the figure.
"""

import argparse
import asyncio
import gc
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from bench._figures import figure, table
from shared.audit.entries import entry_of
from shared.audit.model import Actor, RequestContext
from shared.core.clock import SystemClock, period_of, rfc3339
from shared.core.ids import IdFactory
from shared.core.settings import Settings
from shared.ledger.shards import Entry, Head
from shared.storage.containers import LEDGER
from shared.storage.documents import Item, create
from shared.streaming.model import MOST_EVENTS
from shared.streaming.service import By, Wanted
from shared.wiring import Services, build_services

_tenants = itertools.count(0xAA)
SECRET = "whsec_" + "c2VjcmV0" * 4
SINGLES = 300
ATTEMPTS = 200
RECEIVER = """
import asyncio, json, sys
from aiohttp import web
from tools.webhook_receiver import Inbox, Receiver

async def main():
    receiver = Receiver(Inbox([sys.argv[1]]))
    async def told(request):
        inbox = receiver.inbox
        return web.json_response([len(inbox.events), inbox.duplicates, len(inbox.wrong), len(receiver.refused)])
    url = await receiver.start()
    app = web.Application()
    app.router.add_get("/", told)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps([url, f"http://127.0.0.1:{runner.addresses[0][1]}/"]), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
DEAD = "http://127.0.0.1:9/"


class Trail:
    """Makes events, and entries of a ledger without a tree, which no stream looks at."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.tenant_id = f"0195c000-0000-7000-8000-{next(_tenants):012x}"
        self.ids = IdFactory(SystemClock())
        self.sealed = 0

    def event(self) -> Item:
        """A finished event of a usual size: about 1 KiB as an entry."""
        now = SystemClock().now()
        at = rfc3339(now)
        return {
            **{
                "schema": 1,
                "id": self.ids.new(now),
                "tenant_id": self.tenant_id,
                "period": at[:7],
                "type": "data.read",
            },
            **{"outcome": "success", "reason": None, "severity": "info", "recorded_at": at, "occurred_at": at},
            "actor": {"kind": "service", "id": "billing", "role": None},
            "target": {"kind": "record", "id": f"r{self.sealed}"},
            "subjects": ["u-1", "u-2"],
            "source": {"kind": "api_key", "id": "k-1"},
            "context": {
                **{"request_id": "r", "trace_id": None, "session_id": None},
                **{"route": "POST /v1/events", "duration_ms": 1},
            },
            **{"data_class": "personal", "record_count": 1, "attributes": {"table": "visits", "note": "x" * 300}},
            **{"commitments": {}, "personal": {}},
            **dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key")),
        }

    async def seal(self, count: int) -> None:
        """Entries behind those that are there, without the events."""
        store, period = self.services.store, period_of(SystemClock().now())
        for start in range(self.sealed, self.sealed + count, 90):
            batch = [self.event() for _ in range(min(90, self.sealed + count - start))]
            entries = [Entry(each["id"], start + n, entry_of(each)) for n, each in enumerate(batch)]
            await store.batch(
                LEDGER, (self.tenant_id, period), [create(each.item(self.tenant_id, period)) for each in entries]
            )
        self.sealed += count
        await self.head(self.sealed)

    async def head(self, size: int) -> None:
        """Have so many of the entries wait."""
        period = period_of(SystemClock().now())
        head = Head(period, size).item(self.tenant_id)
        await self.services.store.upsert(LEDGER, (self.tenant_id, period), head)

    async def webhook(self, url: str, **more: Any) -> None:
        """Set the webhook."""
        full: dict[str, Any] = {"types": (), "format": "native", "personal": "omitted", "gzip": False, "enabled": True}
        wanted = Wanted(**{**full, "url": url, "secret": SECRET, **more})
        request = RequestContext("r", "PUT /v1/webhook", "set_webhook", SystemClock().now())
        by = By(self.tenant_id, Actor("user", "u-1", "tenant_admin"), "u-1")
        await self.services.streaming.webhooks.put(by, wanted, None, request)


async def _is_active(_tenant_id: str) -> bool:
    return True


@asynccontextmanager
async def trail(where: str | None = None) -> AsyncIterator[Trail]:
    """An app on files, fresh ones unless it is said where they are."""
    with tempfile.TemporaryDirectory() as fresh:
        services = await build_services(Settings(kraftd_data=where or fresh, webhook_allow_private=True))
        services.streaming.delivery._is_active = _is_active  # there is no tenant behind it
        services.streaming.webhooks._wake = lambda _: None
        try:
            yield Trail(services)
        finally:
            await services.close()


async def run_through(made: Trail) -> None:
    """Deliver all that waits."""
    while await made.services.streaming.delivery.run(made.tenant_id) == timedelta(0):
        continue


async def throughput(url: str, events: int, **more: Any) -> float:
    """Delivered events per second."""
    async with trail() as made:
        await made.webhook(url, **more)
        await made.seal(events)
        began = time.perf_counter()
        await run_through(made)
        return events / (time.perf_counter() - began)


async def latency(url: str) -> list[float]:
    """Milliseconds from the write of an event to its arrival, event by event."""
    from shared.storage.containers import AUDIT_EVENTS

    found = []
    async with trail() as made:
        await made.webhook(url)
        for _ in range(SINGLES):
            event = made.event()
            began = time.perf_counter()
            held = await made.services.store.create(AUDIT_EVENTS, (made.tenant_id, event["period"]), event)
            await made.services.sealer.consume([held])
            await made.services.streaming.runner.consume([{"tenant_id": made.tenant_id, "kind": "entry"}])
            found.append((time.perf_counter() - began) * 1000)
    return found


async def sealed(folder: str, events: int) -> None:
    """Leave so many entries in a folder, of which one message waits."""
    async with trail(folder) as made:
        await made.webhook(DEAD)
        await made.seal(events)
        await made.head(MOST_EVENTS)


async def attempts(made: Trail) -> None:
    """Attempts at a dead receiver."""
    for number in range(ATTEMPTS):
        await made.webhook(DEAD, gzip=bool(number % 2))  # a change makes the next attempt due
        await made.services.streaming.delivery.run(made.tenant_id)
    body = (await made.services.streaming.webhooks.get(made.tenant_id)).body
    if body["failures"] != 1:
        raise RuntimeError("the last attempt was none")


async def memory(folder: str, events: int) -> None:
    """Print this process's memory in MiB: after attempts with one message waiting, and by how much it grew at most, and
    grew for good, in those with all that was sealed waiting."""
    async with trail(folder) as made:
        await attempts(made)
        await attempts(made)
        gc.collect()
        _forget_peak()
        before = _mebibytes("VmRSS")
        await made.head(events)
        await attempts(made)
        body = (await made.services.streaming.webhooks.get(made.tenant_id)).body
        print(json.dumps([before, _mebibytes("VmHWM") - before, _mebibytes("VmRSS") - before, body["backlog"]]))


def _mebibytes(name: str) -> float:
    """A line of what the kernel says of this process (Linux)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return int(lines[name].split()[0]) / 1024


def _forget_peak() -> None:
    """Have the kernel's peak begin anew: not that of the start."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measured_memory(waiting: int) -> tuple[float, float, float, int]:
    """Of a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for what in ("--seal", "--memory"):
            call = [sys.executable, "-m", "bench.webhooks", what, folder, "--waiting", str(waiting)]
            ran = subprocess.run(call, capture_output=True, text=True, check=True)  # noqa: S603 - ourselves
        before, most, kept, backlog = json.loads(ran.stdout.splitlines()[-1])
    return before, most, kept, backlog


async def measure(events: int, waiting: int) -> None:
    """All of it."""
    receiver = await asyncio.create_subprocess_exec(sys.executable, "-c", RECEIVER, SECRET, stdout=subprocess.PIPE)
    rows = []
    try:
        assert receiver.stdout is not None  # noqa: S101 - it is piped
        url, told = json.loads(await receiver.stdout.readline())
        forms: dict[str, dict[str, Any]] = {"native": {}, "ocsf": {"format": "ocsf"}, "gzip": {"gzip": True}}
        for name, more in forms.items():
            rate = await throughput(url, events, **more)
            figure("webhooks", "delivered", rate, "events/s", of=name)
            rows.append((f"delivered, {name}", f"{rate:,.0f} events/s"))
        waits = quantiles(await latency(url), n=100)
        for name, value in (("p50", waits[49]), ("p99", waits[98])):
            figure("webhooks", "latency", value, "ms", of=name)
            rows.append((f"recording to arrival, {name}", f"{value:.1f} ms"))
        async with httpx.AsyncClient() as client:
            counts = (await client.get(told)).json()
        if counts != [3 * events + SINGLES, 0, 0, 0]:
            raise RuntimeError(f"not all arrived once, in order: {counts}")
    finally:
        receiver.terminate()
        await receiver.wait()
    before, most, kept, backlog = await asyncio.to_thread(measured_memory, waiting)
    if backlog != waiting:
        raise RuntimeError(f"not all of it waits: {backlog}")
    figure("webhooks", "memory_growth_dead_receiver", most, "MiB", waiting=backlog)
    rows.append(
        (f"dead receiver, {backlog:,} waiting instead of {MOST_EVENTS}", f"{before:.1f} MiB and {most:.1f} more")
    )
    rows.append(("the same, afterwards", f"{kept:.1f} MiB more"))
    table(rows)


def main(argv: list[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--seal", help=argparse.SUPPRESS)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.seal:
        asyncio.run(sealed(given.seal, given.waiting))
    elif given.memory:
        asyncio.run(memory(given.memory, given.waiting))
    else:
        asyncio.run(measure(given.events, given.waiting))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main(sys.argv[1:])
