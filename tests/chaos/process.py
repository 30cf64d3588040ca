"""One process of the app, as its campaign sees it: started, told, killed, started again."""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos.app import ROOT

START_SECONDS = 60.0
ANSWER_SECONDS = 20.0


class DidNotStart(Exception):
    """The app did not start; the message is the end of what it said."""


class AppProcess:
    """`python -m tests.chaos.app` on a port of its own. `faults` counts what the process reports."""

    def __init__(self, port: int, environment: Mapping[str, str], log: Path, faults: Counter[str]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.starts = 0
        self.offset_seconds = 0.0
        self._environment = environment
        self._log = log
        self._faults = faults
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._numbers = 0
        self._done: dict[int, asyncio.Event] = {}

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def start(self, seed: int) -> None:
        """Start it and wait until it serves. DidNotStart."""
        self._ready = asyncio.Event()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.app", "--port", str(self.port), "--seed", str(seed)),
                *("--offset-seconds", str(self.offset_seconds)),
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self.starts += 1
        self._reading = asyncio.create_task(self._read(self._process))
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self._reading}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._ready.is_set():
            await self.kill()
            raise DidNotStart(self.last_words())

    async def tell(self, **command: Any) -> bool:
        """Give it a command and wait until it is obeyed; False when the process ended instead."""
        if "offset_seconds" in command:
            self.offset_seconds = command["offset_seconds"]
        if not self.runs or self._process is None or self._process.stdin is None or self._reading is None:
            return False
        self._numbers += 1
        done = self._done[self._numbers] = asyncio.Event()
        try:
            self._process.stdin.write(json.dumps({**command, "number": self._numbers}).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        waiting = asyncio.create_task(done.wait())
        await asyncio.wait({waiting, self._reading}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return done.is_set()

    async def kill(self) -> None:
        """End it as a crash does: SIGKILL."""
        if self._process is not None and self.runs:
            self._process.kill()
        await self.ended()

    async def stop(self) -> None:
        """End it as an operator does: SIGTERM, and time to finish."""
        if self._process is not None and self.runs:
            self._process.terminate()
            try:
                async with asyncio.timeout(START_SECONDS):
                    await self.ended()
            except TimeoutError:
                await self.kill()

    async def ended(self) -> int | None:
        """Wait for the end; the exit code."""
        if self._process is None or self._reading is None:
            return None
        await self._reading
        return await self._process.wait()

    def last_words(self) -> str:
        """The end of what it logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while line := await process.stdout.readline():
            said = json.loads(line)
            if said.get("ready"):
                self._ready.set()
            if "fault" in said:
                self._faults[said["fault"]] += 1
            if said.get("done") in self._done:
                self._done.pop(said["done"]).set()
