"""Server processes of the benchmarks: started on a free port, measured through /proc, ended by their pid."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 30.0
_STOP_SECONDS = 40.0
# The limits are at work, and out of reach: all load comes from one address. Tokens outlive a run.
_LIMITS = {
    "ACCESS_TOKEN_MINUTES": "60",
    "LOGIN_RATE_PER_MINUTE": "1000000",
    "REGISTER_RATE_PER_HOUR": "1000000",
    "REFRESH_RATE_PER_MINUTE": "1000000",
}
_TICKS = os.sysconf("SC_CLK_TCK")


def ask(url: str, body: object = None, token: str = "") -> tuple[int, dict[str, Any]]:
    """One call of a set-up, POST where there is a body: status and JSON of the answer. HTTPError for an error."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(url, data, headers), timeout=60) as answer:  # noqa: S310 - our own server on loopback
        return answer.status, json.loads(answer.read() or b"{}")


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves HTTP on loopback."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        """The port it listens on."""
        return urlsplit(self.url).port or 0

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mib(self) -> float:
        """Memory that it holds now (RSS)."""
        return self._mib("VmRSS:")

    def peak_mib(self) -> float:
        """The most that it held since its start, or since `forget_peak`."""
        return self._mib("VmHWM:")

    def forget_peak(self) -> None:
        """Let the peak begin anew at what it holds now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    def _mib(self, name: str) -> float:
        return mib_of(name, str(self.process.pid))


def mib_of(name: str, process: str = "self") -> float:
    """What the kernel says of a process' memory (`VmRSS:`; `VmHWM:`, its peak since it was begun), by its number."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the process is gone")


@contextlib.contextmanager
def devhost(app: Path, data: str, *arguments: str) -> Iterator[Server]:
    """`python -m devhost` on a free port, with further arguments; it is stopped gracefully on the way out."""
    command = ["-m", "devhost", "--app", str(app), "--data", data, "--port", "0", *arguments]
    with served(command) as server:
        yield server


@contextlib.contextmanager
def served(arguments: Sequence[str]) -> Iterator[Server]:
    """A Python process whose first line ends in its base URL. RuntimeError when it does not come up."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | _LIMITS,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield Server(process, _url(process))
        except BaseException:
            log.seek(0)
            print(log.read()[-2000:], file=sys.stderr)
            raise
        finally:
            stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End one process: politely, then for good."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _url(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        raise RuntimeError("the server's output is not read")
    watchdog = threading.Timer(_START_SECONDS, process.kill)
    watchdog.start()
    try:
        words = process.stdout.readline().split()
    finally:
        watchdog.cancel()
    if len(words) != 2:
        raise RuntimeError("the server did not start")
    return words[1]
