"""A witness that this project did not write (PyPI `aics-witness`), as a process of its own on loopback."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_COMMAND = [sys.executable, "-m", "aics_witness"]
_START_SECONDS = 20.0


@dataclass(frozen=True)
class OutsideWitness:
    """Where it listens, and the key that it cosigns with."""

    url: str
    vkey: str


@contextlib.contextmanager
def outside_witness(folder: Path, logs: Mapping[str, str]) -> Iterator[OutsideWitness]:
    """A witness of these logs, by origin their vkeys. Its state is in `folder`, and goes on there when started anew."""
    config = ["--config", str(folder / "witness.json")]
    named = (
        _run("init", *config, "--name", "witness.example.org/w1") if not (folder / "witness.json").exists() else None
    )
    vkey = named or _run("init", *config)
    for origin, key in logs.items():
        _run("add-log", *config, "--origin", origin, "--vkey", key)
    process = subprocess.Popen(  # noqa: S603 - a development dependency
        [*_COMMAND, "serve", *config, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(_START_SECONDS, process.kill)
    watchdog.start()
    try:
        yield OutsideWitness(_url(process), vkey)
    finally:
        watchdog.cancel()
        process.terminate()
        process.communicate(timeout=20)


def _run(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - a development dependency
        [*_COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[0]


def _url(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if "listening on " in line:
            return line.partition("listening on ")[2].split()[0]
    raise AssertionError("the witness did not start")
