"""The load client: a process of its own that keeps N connections busy over raw sockets and counts every answer.

Each connection sends a prepared request, waits for the whole answer and sends the next one, the same again or the next
of its round, until the time is over; what is under way then is still waited for, so every request that was sent is
counted. Work on stdin and result on stdout are one JSON object each.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import NamedTuple, cast

import httptools
import uvloop

from bench._servers import ROOT

_DRAIN_SECONDS = 30.0
REFRESH_TOKEN = b"kr_" + b"0" * 140
"""Stands for a refresh token, and is as long as one."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the client saw. Latencies in milliseconds; `cpu_share`: of one core, used by the client."""

    seconds: float
    statuses: dict[str, int]
    p50_ms: float
    p99_ms: float
    cpu_share: float

    @property
    def answers(self) -> int:
        """Answers of any status."""
        return sum(self.statuses.values())

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


class Step(NamedTuple):
    """One request of a connection's round. Its answers are counted under `kind`.

    `gives_token`: its answer holds a refresh token, which stands in for REFRESH_TOKEN in what the connection sends.
    """

    kind: str
    wire: bytes
    gives_token: bool = False


def drive(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Run the client as a process. Connection i sends requests[i % len(requests)]. RuntimeError when it fails."""
    return drive_rounds(port, [[Step("", each)] for each in requests], connections=connections, seconds=seconds)[""]


def drive_rounds(port: int, rounds: Sequence[Sequence[Step]], *, connections: int, seconds: float) -> dict[str, Load]:
    """Run the client as a process: what it saw of each kind. Connection i goes through rounds[i % len(rounds)], again
    and again. RuntimeError when it fails."""
    work = {
        "port": port,
        "connections": connections,
        "seconds": seconds,
        "rounds": [[(each.kind, each.wire.decode("latin-1"), each.gives_token) for each in steps] for steps in rounds],
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench._load"],
        cwd=ROOT,
        input=json.dumps(work),
        capture_output=True,
        text=True,
        timeout=seconds + _DRAIN_SECONDS + 30,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load client failed: {done.stderr[-500:]}")
    return {kind: Load(**found) for kind, found in json.loads(done.stdout).items()}


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request as it goes over the wire."""
    fields = {"Host": "127.0.0.1", **headers, **({"Content-Length": str(len(body))} if body else {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


class _Run:
    """What the connections of one run share."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.latencies: defaultdict[str, list[float]] = defaultdict(list)
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)


class _Connection(asyncio.Protocol):
    """One connection that goes through its round again and again."""

    def __init__(self, run: _Run, steps: Sequence[Step], done: asyncio.Future[None]) -> None:
        self._run = run
        self._steps = cycle(steps)
        self._step = steps[0]
        self._token = REFRESH_TOKEN
        self._body: list[bytes] = []
        self._done = done
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.WriteTransport | None = None
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._send(time.perf_counter())

    def _send(self, now: float) -> None:
        self._sent = now
        self._step = next(self._steps)
        if self._transport is not None:
            self._transport.write(self._step.wire.replace(REFRESH_TOKEN, self._token))

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Part of a body: kept where there is a token in it."""
        if self._step.gives_token:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """A whole answer: count it, go on or stop."""
        now, kind = time.perf_counter(), self._step.kind
        self._run.latencies[kind].append(now - self._sent)
        self._run.statuses[kind][self._parser.get_status_code()] += 1
        if self._step.gives_token:
            self._token = json.loads(b"".join(self._body)).get("refresh_token", "").encode() or REFRESH_TOKEN
            self._body.clear()
        if now < self._run.deadline:
            self._send(now)
            return
        if self._transport is not None:
            self._transport.close()
        self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the run when the server hung up on an unanswered request."""
        if not self._done.done():
            self._done.set_exception(ConnectionError("the server closed a connection"))


async def _drive(port: int, rounds: Sequence[Sequence[Step]], connections: int, seconds: float) -> dict[str, Load]:
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    run = _Run(start + seconds)
    finished: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    for number, done in enumerate(finished):
        steps = rounds[number % len(rounds)]
        await loop.create_connection(lambda steps=steps, done=done: _Connection(run, steps, done), "127.0.0.1", port)  # type: ignore[misc]
    async with asyncio.timeout(seconds + _DRAIN_SECONDS):
        await asyncio.gather(*finished)
    elapsed = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_share = (used.ru_utime + used.ru_stime) / elapsed
    return {kind: _seen(run, kind, elapsed, cpu_share) for kind in run.latencies}


def _seen(run: _Run, kind: str, seconds: float, cpu_share: float) -> Load:
    ordered = sorted(run.latencies[kind])
    return Load(
        seconds=seconds,
        statuses={str(status): count for status, count in run.statuses[kind].items()},
        p50_ms=1000 * ordered[len(ordered) // 2],
        p99_ms=1000 * ordered[int(len(ordered) * 0.99)],
        cpu_share=cpu_share,
    )


def main() -> None:
    """Do the work that stdin describes."""
    work = json.load(sys.stdin)
    rounds = [[Step(kind, text.encode("latin-1"), gives) for kind, text, gives in steps] for steps in work["rounds"]]
    seen = uvloop.run(_drive(work["port"], rounds, work["connections"], work["seconds"]))
    print(json.dumps({kind: asdict(load) for kind, load in seen.items()}))


if __name__ == "__main__":
    main()
