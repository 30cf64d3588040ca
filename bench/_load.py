"""The load client: a process of its own that keeps N connections busy over raw sockets and counts every answer.

Each connection sends one prepared request, waits for the whole answer and sends it again until the time is over; what
is under way then is still waited for, so every request that was sent is counted. Work on stdin and result on stdout
are one JSON object each.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

import httptools
import uvloop

from bench._servers import ROOT

_DRAIN_SECONDS = 30.0


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


def drive(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Run the client as a process. Connection i sends requests[i % len(requests)]. RuntimeError when it fails."""
    work = {
        "port": port,
        "connections": connections,
        "seconds": seconds,
        "requests": [request.decode("latin-1") for request in requests],
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
    return Load(**json.loads(done.stdout))


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request as it goes over the wire."""
    fields = {"Host": "127.0.0.1", **headers, **({"Content-Length": str(len(body))} if body else {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


class _Run:
    """What the connections of one run share."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()


class _Connection(asyncio.Protocol):
    """One connection that sends its request again and again."""

    def __init__(self, run: _Run, request: bytes, done: asyncio.Future[None]) -> None:
        self._run = run
        self._request = request
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
        if self._transport is not None:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """A whole answer: count it, go on or stop."""
        now = time.perf_counter()
        self._run.latencies.append(now - self._sent)
        self._run.statuses[self._parser.get_status_code()] += 1
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


async def _drive(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    run = _Run(start + seconds)
    finished: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    for number, done in enumerate(finished):
        wire = requests[number % len(requests)]
        await loop.create_connection(lambda wire=wire, done=done: _Connection(run, wire, done), "127.0.0.1", port)  # type: ignore[misc]
    async with asyncio.timeout(seconds + _DRAIN_SECONDS):
        await asyncio.gather(*finished)
    elapsed = time.perf_counter() - start
    ordered = sorted(run.latencies)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Load(
        seconds=elapsed,
        statuses={str(status): count for status, count in run.statuses.items()},
        p50_ms=1000 * ordered[len(ordered) // 2],
        p99_ms=1000 * ordered[int(len(ordered) * 0.99)],
        cpu_share=(used.ru_utime + used.ru_stime) / elapsed,
    )


def main() -> None:
    """Do the work that stdin describes."""
    work = json.load(sys.stdin)
    wires = [text.encode("latin-1") for text in work["requests"]]
    load = uvloop.run(_drive(work["port"], wires, work["connections"], work["seconds"]))
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
