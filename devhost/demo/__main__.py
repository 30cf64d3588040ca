"""`python -m devhost.demo`: eight attacks on two organizations are found, and a third one has no alert.

It serves the app from a temporary store with `python -m devhost`, drives it over HTTP on the real clock, as people,
services and attackers would (devhost/simulation), stops it, and prints the alerts, the trail of one attack and a
report. A report on each framework is left in `.demo`, and its bundle is checked offline. Exit code 1, with what is
wrong, when an attack raised no alert, an alert has no attack, a call left other events than it should, a report cannot
be relied on, or one organization sees something of another.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from devhost.demo.judge import faults
from devhost.demo.page import page_of
from devhost.demo.run import DemoError, run
from devhost.errors import HostError
from devhost.simulation.requests import SimulationError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. Exit code 0 when all is as it should be, else 1."""
    parser = argparse.ArgumentParser(prog="python -m devhost.demo", description="Eight attacks, and what finds them.")
    parser.add_argument("--app", type=Path, default=Path(), help="directory of function_app.py (default: this one)")
    parser.add_argument("--reports", type=Path, default=Path(".demo"), help="where reports go (default: .demo)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended then, too
    start = time.monotonic()
    try:
        seen = run(options.app, options.reports)
    except (DemoError, SimulationError, HostError, httpx.HTTPError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(page_of(seen, _bold))
    wrong = faults(seen)
    for fault in wrong:
        print(f"demo: {fault}", file=sys.stderr)
    if not wrong:
        print(
            f"\n{len(seen.attacks)} attacks found, and nothing else, in {len(seen.calls)} calls and "
            f"{time.monotonic() - start:.1f} s.\nEach call left its events; no organization saw another."
        )
    return 1 if wrong else 0


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else f"{text}\n{'-' * len(text)}"


if __name__ == "__main__":
    sys.exit(main())
