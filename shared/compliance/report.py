"""`python -m shared.compliance.report`: a compliance report into a file, for operators.

It works on the store and the secrets that the settings name, as the app does; the embedded store has to be free, so
stop the app first. It asks for the report as a call of the API does: there is one for each framework and period, whose
forms show the sign-offs of now, and the trail has who had it made (`system`) and each form that was written. With
`--format bundle` all parts of the evidence are written into a folder, with the key that signed them.

The file, or the folder, is there when it is whole, and nobody but its owner may read it. Exit code 0: it is there; 1:
it could not be made or written; 2: wrong usage; 3: the report is ordered and not there yet, ask again.
"""

import argparse
import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from shared.audit.model import SYSTEM, Draft, RequestContext
from shared.audit.search import exported
from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.kinds import ORDER
from shared.compliance.render import FORMATS
from shared.core.errors import KraftdError
from shared.core.settings import SettingsError, load_settings
from shared.storage.errors import StoreError

if TYPE_CHECKING:
    from shared.storage.documents import Item
    from shared.wiring import Services

BUNDLE = "bundle"
_CHECKS = 2
"""Runs of the ledger's check: what the first one seals, the second one sees."""


class NotYet(Exception):
    """The report is ordered, and waits for something."""


async def _make(options: argparse.Namespace, target: Path) -> int:
    """Have the report made and write it to a file, or its bundle into a folder; how many bytes that were."""
    from shared.wiring import build_services

    services = await build_services(load_settings())
    try:
        now = services.clock.now()
        request = RequestContext(services.ids.new(now), "operator/report", "report", now)
        head = await _head(services, options, request)
        delivery = services.framework_reports.delivery
        if options.format == BUNDLE:
            return await _bundle(services, head, request, target)
        made = await delivery.file(head, options.format)
        await delivery.tell(head, options.format, SYSTEM, request)
        return await asyncio.to_thread(target.write_bytes, made.body)
    finally:
        await services.close()


async def _head(services: "Services", options: argparse.Namespace, request: RequestContext) -> "Item":
    """The head of the report. NotYet; KraftdError, StoreError."""
    reports = services.framework_reports
    wanted = (options.tenant, options.framework, options.from_day, options.to_day)
    item = await reports.orders.ask(*wanted, SYSTEM, request)
    if item["kind"] == ORDER:  # the app, whose timers and feed would see to it, may be stopped
        for _ in range(_CHECKS):
            await services.verification.run(options.tenant, request)
        await reports.orders.consume([item])
        item = await reports.delivery.find(options.tenant, item["report_id"]) or item
    if item["kind"] == ORDER:
        why = item.get("reason") or item.get("waits_for") or f"not before {item['due_at']}"
        raise NotYet(f"it is {item['status']}: {why}")
    return item


async def _bundle(services: "Services", head: "Item", request: RequestContext, folder: Path) -> int:
    delivery, written = services.framework_reports.delivery, 0
    event = exported(BUNDLE, {"report": head["id"]}, by_person=False)
    draft = Draft(head["tenant_id"], event, request, actor=SYSTEM)
    (key, *_) = await services.ledger.vkeys(head["tenant_id"], services.ledger.present, request)
    await delivery.tell(head, BUNDLE, SYSTEM, request)
    async for part in delivery.parts(head, draft):
        written += await asyncio.to_thread((folder / f"part-{part.number:05d}.zip").write_bytes, part.body)
    await asyncio.to_thread((folder / "vkey.txt").write_text, f"{key.vkey}\n", encoding="utf-8")
    return written


def _target(options: argparse.Namespace) -> Path:
    """Where it is written until it is whole: a new file, or folder, beside the one that is wanted. OSError."""
    wanted: Path = options.output
    if options.format == BUNDLE:
        if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
            raise FileExistsError(f"{wanted} is there, and not an empty folder")
        return Path(tempfile.mkdtemp(prefix=f".{wanted.name}.", dir=wanted.parent))
    if wanted.is_dir():
        raise IsADirectoryError(f"{wanted} is a folder")
    handle, name = tempfile.mkstemp(prefix=f".{wanted.name}.", dir=wanted.parent)
    os.close(handle)
    return Path(name)


def _discard(target: Path) -> None:
    if target.is_dir():
        for each in target.iterdir():
            each.unlink()
        target.rmdir()
    else:
        target.unlink(missing_ok=True)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shared.compliance.report", description="Make a compliance report.")
    parser.add_argument("--tenant", required=True, type=_tenant, help="id of the organization")
    parser.add_argument("--framework", required=True, choices=tuple(FRAMEWORKS))
    parser.add_argument("--from", dest="from_day", required=True, type=date.fromisoformat, help="the first day (UTC)")
    parser.add_argument("--to", dest="to_day", required=True, type=date.fromisoformat, help="the day after it")
    parser.add_argument("--format", default="json", choices=(*FORMATS, BUNDLE))
    parser.add_argument(
        "-o", "--output", required=True, type=Path, help="the file to write; of a bundle a folder, empty or not there"
    )
    return parser.parse_args(arguments)


def _tenant(text: str) -> str:
    """An id that the store can be asked for."""
    if not text or any("\ud800" <= c <= "\udfff" for c in text):  # what is no UTF-8 comes as lone surrogates
        raise argparse.ArgumentTypeError("the id of an organization is text, and not empty")
    return text


def main(arguments: Sequence[str]) -> int:
    """Make the report; see the module for exit codes."""
    options = _options(arguments)
    try:
        target = _target(options)
    except OSError as error:
        return _said(f"cannot write: {error}", 1)
    try:
        written = asyncio.run(_make(options, target))
        target.replace(options.output)
    except NotYet as error:
        return _said(f"no report yet: {error}; ask again in some minutes", 3)
    except OSError as error:
        return _said(f"cannot write: {error}", 1)
    except (KraftdError, SettingsError, StoreError) as error:
        faults = "; ".join(f"{each.field} {each.message}" for each in getattr(error, "errors", ()))
        return _said(f"no report: {faults or getattr(error, 'detail', '') or error}", 1)
    finally:
        _discard(target)
    sys.stdout.write(f"written: {options.output}, {written} bytes\n")
    if options.format == BUNDLE:
        sys.stdout.write(f"check it: {_check(options.output)}\n")
    return 0


def _check(folder: Path) -> str:
    """The command, for a shell, that checks a bundle in a folder."""
    at = shlex.quote(f"./{folder}" if str(folder).startswith("-") else str(folder))
    return f'python tools/verify_evidence.py {at}/part-*.zip --vkey "$(cat {at}/vkey.txt)"'


def _said(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
