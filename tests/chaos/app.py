"""`python -m tests.chaos.app`: the real app in a process of its own, on a store and a clock that do as they are told.

One JSON object per line: commands on stdin (see `_Told`), reports of faults on stdout, which outlive a kill. It ends
with its stdin, so that nothing is left behind by whoever started it.
"""

import argparse
import asyncio
import json
import logging
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import uvloop

from devhost.__main__ import START_TIMERS
from devhost.host import Host
from devhost.server import listen, serve
from shared.core.settings import load_settings
from shared.identity.passwords import Cost, Passwords
from shared.wiring import build_services
from shared.wiring.adapters import open_store
from tests.chaos.clock import SteppedClock
from tests.chaos.store import ChaosFeed, ChaosStore

ROOT = Path(__file__).resolve().parents[2]
TOY_COST = Cost(memory_kib=8, passes=1)
LONGEST_NAP_SECONDS = 0.5
"""Retries and timers wait no longer: minutes of backing off would be most of a short campaign."""


async def short_sleep(seconds: float) -> None:
    """Sleep, but not for long."""
    await asyncio.sleep(min(seconds, LONGEST_NAP_SECONDS))


def report(**fields: Any) -> None:
    """Write a line at once: the next instruction may be the last."""
    os.write(1, json.dumps(fields).encode() + b"\n")


class _Told:
    """What the process can be told: `rates` of faults, the clock's `offset`, the largest size of its files."""

    def __init__(self, store: ChaosStore, clock: SteppedClock) -> None:
        self._store = store
        self._clock = clock
        self._files = resource.getrlimit(resource.RLIMIT_FSIZE)

    def __call__(self, command: Mapping[str, Any]) -> None:
        if "rates" in command:
            self._store.rates = command["rates"]
        if "offset_seconds" in command:
            self._clock.offset = timedelta(seconds=command["offset_seconds"])
        if "file_bytes" in command:
            most = command["file_bytes"]
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._files[0] if most is None else most, self._files[1]))
        report(done=command.get("number"))


async def _listen(told: _Told) -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told(json.loads(line))
    os._exit(0)  # whoever started this is gone


async def _run(port: int, seed: int, offset_seconds: float) -> None:
    clock = SteppedClock(timedelta(seconds=offset_seconds))
    settings = load_settings()
    host = await Host.load(ROOT, clock=clock, sleep=short_sleep, start_timers=START_TIMERS)
    inner = await open_store(settings, clock)
    random = Random(seed)  # noqa: S311 - where to fail, not a secret
    made = ChaosFeed if hasattr(inner, "wait_for_change") else ChaosStore
    store = made(inner, random, lambda kind: report(fault=kind))
    services = await build_services(settings, clock=clock, store=store, passwords=Passwords(TOY_COST))
    host.module.services.put(services)
    with listen("127.0.0.1", port) as listener:
        await host.start()
        listening = asyncio.create_task(_listen(_Told(store, clock)))
        services.continuity.tell_beside(services.ids)
        report(ready=True)
        await serve(host, listener)
        listening.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end (SIGTERM), killed, or left alone (end of stdin). 1: the store cannot be opened."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.app")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--offset-seconds", type=float, default=0.0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    for name in ("devhost", "functions", "shared"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        uvloop.run(_run(options.port, options.seed, options.offset_seconds))
    except Exception as error:  # noqa: BLE001 - whoever started this reads why
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
