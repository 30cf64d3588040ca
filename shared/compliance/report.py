"""`python -m shared.compliance.report`: a compliance report into a file, for operators.

It works on the store and the secrets that the settings name, as the app does; the embedded store has to be free, so
stop the app first. The report is kept, and the trail tells of it, as of one that was asked for through the API; one of
the same framework and period is made once and then read again.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from shared.audit.model import RequestContext
from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.render import FORMATS, render
from shared.compliance.reporting import DamagedReport
from shared.core.errors import KraftdError
from shared.core.settings import SettingsError, load_settings
from shared.storage.errors import StoreError


async def _make(options: argparse.Namespace) -> bytes:
    from shared.wiring import build_services

    services = await build_services(load_settings())
    try:
        now = services.clock.now()
        request = RequestContext(services.ids.new(now), "operator/report", "report", now)
        head = await services.compliance.build(
            options.tenant, options.framework, options.from_day, options.to_day, request
        )
        if options.format == "json":
            return await services.compliance.text(head)
        return render(await services.compliance.report(head), options.format).body
    finally:
        await services.close()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shared.compliance.report", description="Make a compliance report.")
    parser.add_argument("--tenant", required=True, help="id of the organization")
    parser.add_argument("--framework", required=True, choices=tuple(FRAMEWORKS))
    parser.add_argument("--from", dest="from_day", required=True, type=date.fromisoformat, help="the first day (UTC)")
    parser.add_argument("--to", dest="to_day", required=True, type=date.fromisoformat, help="the day after it")
    parser.add_argument("--format", default="json", choices=FORMATS)
    parser.add_argument("-o", "--output", required=True, type=Path, help="the file to write")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Make the report; 1 when it could not be made."""
    options = _options(arguments)
    try:
        body = asyncio.run(_make(options))
    except (KraftdError, SettingsError, StoreError, DamagedReport) as error:
        faults = "; ".join(f"{each.field} {each.message}" for each in getattr(error, "errors", ()))
        sys.stderr.write(f"no report: {faults or getattr(error, 'detail', '') or error}\n")
        return 1
    options.output.write_bytes(body)
    sys.stdout.write(f"written: {options.output}, {len(body)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
