"""Serving an app in a process of its own, for the programs that drive it: demo and simulation."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from devhost.errors import HostError

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


@contextlib.contextmanager
def served(app: Path, data: str, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """The app on a free port; yields its base URL. The server is ended on the way out, whatever happens.

    `settings` are set beside what the environment holds. HostError when it does not start.
    """
    command = [sys.executable, "-m", "devhost", "--app", str(app), "--data", data, "--port", "0", *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **(settings or {})}
        )
        try:
            yield _base_url(process)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-2000:])
            raise
        finally:
            _end(process)


def _base_url(process: subprocess.Popen[str]) -> str:
    watchdog = threading.Timer(_START_SECONDS, process.kill)
    watchdog.start()
    try:
        words = (process.stdout.readline() if process.stdout else "").split()
    finally:
        watchdog.cancel()
    if len(words) != 2:
        raise HostError("the server did not start")
    return words[1]


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
