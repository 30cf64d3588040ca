"""`python -m devhost`: serve the app of this directory on this machine."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from devhost.admin import is_loopback
from devhost.clock import SimulatedClock
from devhost.errors import HostError
from devhost.host import Host
from devhost.local_settings import apply_local_settings
from devhost.server import listen, serve
from shared.core.clock import parse_rfc3339
from shared.storage.errors import StoreError

# The backstops: what a crash left behind is published at the start, what failed is tried again.
START_TIMERS = ("sweep_outbox", "retry_dead_letters")
SWITCH_SECONDS = 0.0005
"""How long a thread that wants the interpreter waits for a busy loop. The one that writes to the store wants it after
each statement: with Python's 5 ms, a commit under load is mostly waiting. With less than this, calls beside many
sign-ins wait for the threads that hash, which have a low priority."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped. Exit code 0 after a graceful stop, 1 when the app cannot be served."""
    options = _parser().parse_args(arguments)
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in ("devhost", "functions", "shared"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        uvloop.run(_run(options))
    except HostError as error:
        return _failed(str(error))
    except StoreError as error:
        return _failed(f"the store failed: {type(error).__name__}: {error}")
    return 0


def _failed(message: str) -> int:
    print(f"devhost: {message}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devhost", description="Serve the function app on this machine, under Azure's own Python worker."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7071, help="port to listen on, 0 for any (default: %(default)s)")
    parser.add_argument("--data", help="directory of the data, or :memory: (default: KRAFTD_DATA, or .kraftd)")
    parser.add_argument("--app", type=Path, default=Path(), help="directory of function_app.py (default: this one)")
    parser.add_argument(
        "--simulated-clock",
        metavar="START",
        help="go by a clock that stands at START (RFC 3339) until POST /admin/clock moves it: for development only",
    )
    return parser


def _clock(options: argparse.Namespace) -> SimulatedClock | None:
    """The clock that was asked for. HostError unless only programs of this machine can be misled by it."""
    if options.simulated_clock is None:
        return None
    if "WEBSITE_SITE_NAME" in os.environ:
        raise HostError("--simulated-clock is not for Azure (WEBSITE_SITE_NAME is set)")
    if options.host != "localhost" and not is_loopback(options.host):
        raise HostError("--simulated-clock needs a loopback address as --host")
    try:
        return SimulatedClock(parse_rfc3339(options.simulated_clock))
    except ValueError as error:
        raise HostError(f"--simulated-clock: {error}") from None


async def _run(options: argparse.Namespace) -> None:
    clock = _clock(options)
    listener = listen(options.host, options.port)
    with listener:
        apply_local_settings(options.app, os.environ)
        os.environ.setdefault("KRAFTD_DATA", ".kraftd")
        host = await Host.load(options.app, data=options.data, clock=clock, start_timers=START_TIMERS)
        try:
            await host.start()
        except BaseException:
            await host.stop(grace_seconds=0)
            raise
        address, port = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        url = f"http://{shown}:{port}"
        print(f"Serving {url}/{host.prefix}\n{host.describe(url)}", flush=True)
        await serve(host, listener)


if __name__ == "__main__":
    sys.exit(main())
