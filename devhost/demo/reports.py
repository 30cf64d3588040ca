"""A report on each framework, of the day of the demo: on disk, and checked with the program that travels with it.

Only a day that is over has a report. So the store is opened once more, by a clock that shows the next morning.
"""

import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

from devhost.clock import SimulatedClock
from devhost.demo.seen import Json, Made
from shared.audit.events.audit import AuditExport
from shared.audit.model import SYSTEM, Draft, RequestContext
from shared.compliance.catalogue import FRAMEWORKS
from shared.core.settings import Settings
from shared.storage.documents import Item
from shared.wiring import Services, build_services

_FORMS = {"report/report.html": "report.html", "report/report.pdf": "report.pdf", "report/report.json": "report.json"}
_VERIFIER, _KEY = "verify_evidence.py", "vkey.txt"
_PATIENCE_SECONDS = 60


async def make_reports(data: str, tenant_id: str, trail: Sequence[Json], target: Path) -> list[Made]:
    """Make the reports of the days of a trail below a directory, one folder for each framework, and check each."""
    first, last = (datetime.fromisoformat(trail[at]["recorded_at"]) for at in (0, -1))
    days = (first.date(), last.date() + timedelta(days=1))
    clock = SimulatedClock(datetime.combine(days[1], time(6), first.tzinfo))
    services = await build_services(Settings(kraftd_data=data), clock=clock)
    try:
        request = RequestContext(services.ids.new(), "demo", "demo", clock.now())
        await services.verification.run(tenant_id, request)
        (key, *_) = await services.ledger.vkeys(tenant_id, services.ledger.present, request)
        return [await _made(services, tenant_id, name, days, request, target / name, key.vkey) for name in FRAMEWORKS]
    finally:
        await services.close()


async def _made(
    services: Services,
    tenant_id: str,
    framework: str,
    days: tuple[date, date],
    request: RequestContext,
    folder: Path,
    key: str,
) -> Made:
    head = await services.compliance.build(tenant_id, framework, *days, request)
    _empty(folder)
    parts = await _bundle(services, head, request, folder)
    (folder / _KEY).write_text(f"{key}\n", encoding="utf-8")
    with zipfile.ZipFile(parts[0]) as bundle:
        for name, called in _FORMS.items():
            (folder / called).write_bytes(bundle.read(name))
        (folder / _VERIFIER).write_bytes(bundle.read(_VERIFIER))
    fault = _checked(folder) or _unopened(folder)
    counts = (head["summary"], head["gate_passed"], head["events_in_period"])
    return Made(framework, *counts, folder, check_commands(folder), fault)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


async def _bundle(services: Services, head: Item, request: RequestContext, folder: Path) -> list[Path]:
    """The parts of a report's evidence bundle, as files."""
    draft = Draft(head["tenant_id"], AuditExport(format="bundle"), request, actor=SYSTEM)
    parts: list[Path] = []
    async for part in services.framework_reports.delivery.parts(head, draft):
        parts.append(folder / f"bundle-{part.number:05d}.zip")
        parts[-1].write_bytes(part.body)
    return parts


def check_commands(folder: Path) -> tuple[str, str]:
    """What anybody may type into a shell, here, to have the offline verifier look at the bundle in a folder."""
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    verify = f'{shlex.quote(str(shown))} "$D"/{_VERIFIER} "$D"/bundle-*.zip --vkey "$(cat "$D"/{_KEY})"'
    return f"D={shlex.quote(str(folder))}", verify


def _checked(folder: Path) -> str | None:
    """What the offline verifier has against a bundle; None when it accepts it."""
    done = subprocess.run(  # noqa: S603 - our own program, as it came with the bundle, called as everybody is told to
        ["/bin/sh", "-c", "\n".join(check_commands(folder))],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return None
    said = (done.stdout + done.stderr).strip().splitlines()
    return f"verify_evidence.py ended with {done.returncode}: {' / '.join(said[-3:])}"


def _unopened(folder: Path) -> str | None:
    """Which file is not what its name says; None when all are."""
    beginnings = {"report.html": b"<!DOCTYPE html>", "report.pdf": b"%PDF-", "report.json": b"{"}
    wrong = [name for name, first in beginnings.items() if not (folder / name).read_bytes().startswith(first)]
    return f"{', '.join(wrong)} cannot be opened" if wrong else None
