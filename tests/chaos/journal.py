"""The clients' own log: every attempt before it is sent, and its answer before anything is made of it, on the disk.

It is kept outside the app, by the programs that call it: what an acknowledgment is worth is judged by it alone.

    {"attempt", "call", "told": {…}}       what is going to be asked; `told` is what the checks have to know of it
    {"attempt", "status", "seen": {…}}     what was answered; status 0: the connection broke, or nothing came in time;
                                           `seen` has `unsent` where there was no connection at all

`attempt` is a trace id (32 hexadecimal digits); the call carries it as `traceparent`, so every event leads back to it.
"""

import asyncio
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call and what came of it. `number`: its place among all, in the order of asking."""

    id: str
    number: int
    call: str
    told: dict[str, Any] = field(default_factory=dict)
    status: int = 0
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def acknowledged(self) -> bool:
        """Whether it was answered as done."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether it was answered as not done, by the client's own doing."""
        return 400 <= self.status < 500

    @property
    def unsent(self) -> bool:
        """Whether nobody was there to take it."""
        return "unsent" in self.seen

    @property
    def in_doubt(self) -> bool:
        """Whether the client cannot know: no answer, or one that says that something failed."""
        return not self.acknowledged and not self.refused and not self.unsent


class Journal:
    """Writes the log. What is written at the same moment shares one fsync.

    `answered`: each call that was answered, with each status that it had, and the first digit of it.
    """

    def __init__(self, path: Path) -> None:
        self.answered: set[tuple[str, int]] = set()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lines: list[bytes] = []
        self._flushed: asyncio.Future[None] | None = None

    async def write(self, **fields: Any) -> None:
        """Add one line; it is on the disk when this returns."""
        self._lines.append(json.dumps(fields, separators=(",", ":")).encode() + b"\n")
        if self._flushed is None:
            self._flushed = asyncio.ensure_future(self._flush_soon())
        await asyncio.shield(self._flushed)

    async def _flush_soon(self) -> None:
        await asyncio.sleep(0.002)
        lines, self._lines, self._flushed = self._lines, [], None
        await asyncio.to_thread(self._flush, lines)

    def _flush(self, lines: list[bytes]) -> None:
        os.write(self._descriptor, b"".join(lines))
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(lines: Iterable[str]) -> list[Attempt]:
    """The attempts of a log, in the order of asking. ValueError for a line that is neither question nor answer."""
    return list(_read(lines).values())


def _read(lines: Iterable[str]) -> dict[str, Attempt]:
    found: dict[str, Attempt] = {}
    for line in _objects(lines):
        name = line["attempt"]
        if "call" in line:
            found[name] = Attempt(name, len(found), line["call"], line["told"])
        elif name in found:
            asked = found[name]
            found[name] = Attempt(name, asked.number, asked.call, asked.told, line["status"], line["seen"])
        else:
            raise ValueError("an answer that nobody asked for")
    return found


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.strip():
            yield json.loads(line)
