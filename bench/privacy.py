"""What sealing costs, and what it takes to hand a person their data, and to erase them: `python -m bench.privacy
[--events 20000]` (minutes, in a temporary folder; `--only boxes`, `--only erasure`).

A box is sealed and opened beside AES-256-GCM of the same bytes; batches of events with personal data are taken in with
boxes and without, in turn; the persons of a simulated trail (docs/simulation.md) are looked up as they come.

A user gets so many events over a year, half of them about somebody else, too, sealed and written as the app does, and
as many more of others lie between them; all are in the ledger. An administrator takes the person's export, as JSON and
as HTML, part by part. Then the person is erased: the first pass, the second with its check, the last one. Store calls
are those that Cosmos DB would get (a batch is one), by the thousand of the person's events.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench._boxes import Figure, boxes, hits, ingest
from bench._figures import figure, table
from bench._metered import Meter, MeteredStore
from bench.detection import simulated
from shared.audit.events.profile import ProfileView
from shared.audit.model import Actor, Draft, RequestContext, Target
from shared.core.clock import parse_rfc3339
from shared.core.settings import Settings
from shared.identity.model import Principal, Role
from shared.privacy.person_keys import TOMBSTONE
from shared.storage.containers import AUDIT_EVENTS, IDENTITY
from shared.storage.documents import Item, Query, pages
from shared.subject_rights.erasure import LAST, SETTLED
from shared.subject_rights.export_register import Asked, Form
from shared.subject_rights.model import KIND, Person, marker, new_request, request_key
from shared.wiring import Services, build_services

TENANT = "0195c000-0000-7000-8000-0000000000aa"
PERSON, OTHER = "0195c000-0000-7000-8000-00000000beef", "0195c000-0000-7000-8000-00000000cafe"
EMAIL = "someone@example.com"
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
_CHUNK = 500
_SEALED = 200
FORMS: tuple[Form, ...] = ("json", "html")

type Pass = tuple[str, float, Counter[str], float]
"""Of an erasure: its name, seconds, the calls of the store, and what they would cost."""


class _Clock:
    """A clock that is moved."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        """The moment that was set."""
        return self.moment


async def fill(services: Services, clock: _Clock, events: int) -> None:
    """The person's events and as many of others', over a year."""
    request = RequestContext("r", "GET /v1/profile", "get_profile", START, "203.0.113.9", "Mozilla/5.0 (X11; Linux)")
    other = Target("user", OTHER, "other@example.com")
    for start in range(0, events, _CHUNK):
        finished = []
        for number in range(start, min(start + _CHUNK, events)):
            clock.moment = START + YEAR * (number / events)
            for who, email in ((PERSON, EMAIL), (f"{OTHER[:-4]}{number % 97:04x}", f"p{number % 97}@example.com")):
                target = other if number % 2 else None
                draft = Draft(
                    TENANT, ProfileView(), request, actor=Actor("user", who, "user", email), target=target, person=who
                )
                finished.append(await services.recorder.finish(draft))
        await services.recorder.publish_all(finished)


async def seal(services: Services) -> None:
    """Bring everything into the ledger, as the feed would."""
    query = Query(order_by="recorded_at", limit=_SEALED)
    async for page in pages(services.store, AUDIT_EVENTS, (TENANT,), query):
        in_time = [{**each, "_ts": int(parse_rfc3339(each["recorded_at"]).timestamp())} for each in page]
        await services.sealer.consume(in_time)


def admin() -> Principal:
    """Who asks for the export."""
    item: Item = {"user_id": OTHER, "email": "other@example.com"}
    return Principal(OTHER, TENANT, "s", Role.TENANT_ADMIN, item["email"], item, {}, {})


async def export(services: Services, form: Form, events: int) -> tuple[int, int]:
    """All parts of the person's export: how many, and their bytes. RuntimeError unless every event is in it."""
    request = RequestContext("r", "GET /v1/privacy/export", "export_subject", services.clock.now())
    asked, place = Asked(admin(), PERSON, form, request), None
    parts = size = records = 0
    while parts == 0 or place is not None:
        part = await services.subject_exports.part(asked, place)
        parts, size, records, place = parts + 1, size + len(part.body), records + part.records, part.next
    if records < events:
        raise RuntimeError(f"{records} records of {events} events")
    return parts, size


def memory(name: str) -> float:
    """A figure of /proc/self/status, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(each for each in status.splitlines() if each.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """From here on the peak of memory is counted anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def measure_exports(services: Services, meter: Meter, events: int) -> list[tuple[str, str]]:
    """Rows of what an export takes, in each form."""
    rows = []
    for form in FORMS:
        meter.reset()
        before = memory("VmRSS")
        forget_peak()
        start = time.perf_counter()
        parts, size = await export(services, form, events)
        seconds, more = time.perf_counter() - start, memory("VmHWM") - before
        calls = len(meter.calls) * 1000 / events
        told = f"{seconds:.2f} s, {parts} parts, {size / 1048576:.1f} MiB, {calls:.1f} calls per 1,000 events"
        rows.append((f"export, {form}", f"{told}, peak {more:.0f} MiB above {before:.0f}"))
        labels: dict[str, str | int] = {"events": events, "of": form}
        figure("privacy", "export_seconds", seconds, "s", **labels)
        figure("privacy", "export_bytes_per_event", size / events, "bytes", **labels)
        figure("privacy", "export_calls_per_1000_events", calls, "1", **labels)
        figure("privacy", "export_request_units_per_event", meter.ru / events, "RU (model)", **labels)
        figure("privacy", "export_peak_memory", more, "MiB", **labels)
    return rows


async def ask(services: Services, clock: _Clock) -> None:
    """A request, as the app keeps it."""
    item = new_request(TENANT, PERSON, None, {"id": "e"}, "r", clock.now())
    for each in (item, marker(item)):
        await services.store.create(IDENTITY, (TENANT,), each)


async def measure(folder: Path, events: int) -> tuple[list[tuple[str, str]], list[Pass]]:
    """Rows of the exports, and the passes of the erasure."""
    clock = _Clock()
    store = await MeteredStore.open(folder / "kraftd.sqlite", clock=clock)
    assert isinstance(store, MeteredStore)  # noqa: S101 - what `open` of a subclass gives
    store.meter = Meter()
    services = await build_services(Settings(kraftd_data=":memory:"), clock=clock, store=store)
    found = []
    try:
        await fill(services, clock, events)
        await seal(services)
        clock.moment = START + YEAR
        exported = await measure_exports(services, store.meter, events)
        await ask(services, clock)
        for name, wait in (("first pass", timedelta(0)), ("second pass", SETTLED), ("last pass", LAST)):
            clock.moment += wait
            store.meter.reset()
            start = time.perf_counter()
            while await services.erasures.run(TENANT, RequestContext("r", "bench", "bench", clock.now())):
                continue
            found.append((name, time.perf_counter() - start, Counter(store.meter.calls), store.meter.ru))
        await _check(services, events)
    finally:
        await services.close()
    return exported, found


async def _check(services: Services, events: int) -> None:
    """RuntimeError unless the person is erased, everywhere and every event of it."""
    item = await services.store.read(IDENTITY, (TENANT,), request_key("r"))
    left = await services.erasures.check(Person(TENANT, PERSON))
    done = (item["kind"], item["state"], item["counts"]["events"]) == (KIND, "executed", events)
    if not done or left or await services.person_keys.stored(TENANT, PERSON) != TOMBSTONE:
        raise RuntimeError(f"not erased: {item['state']}, {item['counts']}, {len(left)} places left")


def main(arguments: Sequence[str] = ()) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.privacy")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--only", choices=("boxes", "erasure"))
    options = parser.parse_args(arguments)
    if options.only != "erasure":
        _boxes()
    if options.only != "boxes":
        _erasure(options.events)
    return 0


def _boxes() -> None:
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as folder:
        trail = simulated(folder)
        found = asyncio.run(_measured(Path(folder), trail))
    for metric, value, unit, labels in found:
        figure("privacy", metric, value, unit, **labels)
    table([(f"{metric} ({labels.get('of', 'all')})", f"{value:.3f} {unit}") for metric, value, unit, labels in found])


async def _measured(folder: Path, trail: Sequence[Item]) -> list[Figure]:
    return [*await boxes(), *await ingest(folder), *await hits(trail)]


def _erasure(events: int) -> None:
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as folder:
        rows, found = asyncio.run(measure(Path(folder), events))
    for name, seconds, calls, ru in found:
        total = sum(calls.values())
        per_thousand = total * 1000 / events
        told = f"{seconds:.2f} s, {total} calls, {per_thousand:.1f} per 1,000 events, {ru / events:.1f} RU per event"
        rows.append((name, told))
        figure("privacy", "erasure_seconds", seconds, "s", events=events, of=name)
        figure("privacy", "erasure_calls_per_1000_events", per_thousand, "1", events=events, of=name)
        figure("privacy", "erasure_request_units_per_event", ru / events, "RU (model)", events=events, of=name)
        for call, number in sorted(calls.items()):
            figure("privacy", "erasure_calls", number, "1", events=events, of=name, call=call)
    table(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
