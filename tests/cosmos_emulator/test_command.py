"""The command that a developer starts the emulator with."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shared.core.settings import Settings

ROOT = Path(__file__).parents[2]


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.cosmos_emulator", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_what_to_export_and_runs_until_interrupted(ending: signal.Signals) -> None:
    process = started("--port", "0")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", "".join(lines), re.MULTILINE))
    settings = Settings(**{name.lower(): value for name, value in exported.items()})
    assert settings.cosmos_db_emulator
    port = int(exported["COSMOS_DB_ENDPOINT"].rpartition(":")[2].strip("/"))
    assert accepts(port)
    process.send_signal(ending)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0
    assert not accepts(port)


def test_it_goes_when_it_is_killed() -> None:
    process = started("--port", "0")
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2].strip().strip("/"))
    process.kill()
    process.communicate(timeout=30)  # which waits for whoever else holds the other ends
    assert not accepts(port)


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = started("--port", str(taken.getsockname()[1]))
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (1, "")
    assert "EADDRINUSE" in errors
    assert errors.splitlines()[-1] == "emulator: the emulator did not start"
