"""`python -m devhost` on Cosmos DB, in a process of its own: starts, serves, is killed and goes on, or says why not."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions import ENDPOINTS
from functions._api import ListQuery
from tests.app import PASSWORD, ROOT, registration
from tests.cosmos_emulator.emulator import KEY, Emulator

PATIENCE_SECONDS = 30
LISTS = [f"/{each.route}" for each in ENDPOINTS if issubclass(each.query, ListQuery)]
"""Every list, for each is a query whose order needs an index that the command has to make."""
DATABASE, TRAIL, LEASE = "served", "trail", "detect_threats|detect_threats"


@dataclass
class Account:
    """A provisioned database at the emulator, whose trail has a name of its own, and the settings that lead there."""

    emulator: Emulator
    settings: Mapping[str, str]

    def items(self, container: str) -> list[dict[str, Any]]:
        """All that a container holds."""
        headers = {"x-ms-documentdb-isquery": "true", "x-ms-documentdb-query-enablecrosspartition": "true"}
        path = f"/dbs/{DATABASE}/colls/{container}/docs"
        _, _, body = self.emulator.request("POST", path, {"query": "SELECT * FROM c", "parameters": []}, headers)
        found: list[dict[str, Any]] = body["Documents"]
        return found


@pytest.fixture
def account(emulator: Emulator) -> Iterator[Account]:
    settings = {
        "COSMOS_DB_ENDPOINT": emulator.endpoint,
        "COSMOS_DB_KEY": KEY,
        "COSMOS_DB_EMULATOR": "true",
        "COSMOS_DB_NAME": DATABASE,
        "COSMOS_DB_AUDIT_CONTAINER": TRAIL,
        "COSMOS_DB_THROUGHPUT": "400",
    }
    command = [sys.executable, "-m", "shared.storage.provision"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=True, capture_output=True)  # noqa: S603
    yield Account(emulator, settings)
    emulator.delete_database(DATABASE)


async def launch(settings: Mapping[str, str], data: str | Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "devhost", "--port", "0", "--data", str(data)),
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error", **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def serving(
    settings: Mapping[str, str], data: str | Path, ending: signal.Signals = signal.SIGTERM
) -> AsyncIterator[tuple[httpx.AsyncClient, list[str]]]:
    """A running devhost: a client of it, and what it printed at its start. It is ended by a signal."""
    process = await launch(settings, data)
    assert process.stdout is not None
    try:
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not lines or not lines[-1].startswith("From "):
                line = (await process.stdout.readline()).decode()
                assert line, (await process.communicate())[1].decode()
                lines.append(line.rstrip("\n"))
        async with httpx.AsyncClient(base_url=lines[0].split()[1], timeout=PATIENCE_SECONDS) as client:
            yield client, lines
    finally:
        process.send_signal(ending)
        output, errors = await process.communicate()
    assert KEY not in (output + errors).decode()
    assert process.returncode == (0 if ending is signal.SIGTERM else -ending)
    assert "Traceback" not in errors.decode()


async def refused(settings: Mapping[str, str], data: str | Path = ":memory:") -> str:
    process = await launch(settings, data)
    watchdog = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, process.kill)
    output, errors = await process.communicate()
    watchdog.cancel()
    assert (process.returncode, output) == (1, b"")
    assert KEY not in errors.decode()
    return errors.decode().splitlines()[-1]


async def alerts(client: httpx.AsyncClient, token: str, enough: int) -> list[dict[str, Any]]:
    """The alerts as soon as one counts so many."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await client.get("/v1/alerts", headers={"Authorization": f"Bearer {token}"})
            found = [each for each in answer.json()["items"] if each["pattern"] == "brute_force"]
            if any(each["count"] >= enough for each in found):
                return found
            await asyncio.sleep(0.05)


async def noted(account: Account) -> None:
    """Until another process has stored its place in the trail, which comes after what it made of it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not any(each["id"] == LEASE and each["position"] for each in account.items("leases")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_it_serves_is_killed_and_goes_on(account: Account, tmp_path: Path) -> None:
    guess = {"email": "ada@example.com", "password": "a guess"}
    async with serving(account.settings, tmp_path, signal.SIGKILL) as (client, lines):
        assert lines[-1] == f"From Cosmos DB at 127.0.0.1:{account.emulator.port}, database {DATABASE}"
        assert sum(" ".join(line.split()).startswith("detect_threats change feed of trail,") for line in lines) == 1
        assert "not run here" not in "\n".join(lines)
        assert (await client.get("/v1/health/ready")).status_code == 200
        registered = await client.post("/v1/register", json=registration())
        assert registered.status_code == 201
        for _ in range(6):
            assert (await client.post("/v1/login", json=guess)).status_code == 401
        (alert,) = await alerts(client, registered.json()["access_token"], 6)
        await noted(account)
        for path in LISTS:
            lists = await client.get(path, headers={"Authorization": f"Bearer {registered.json()['access_token']}"})
            assert lists.status_code == 200, (path, lists.text)
    assert os.listdir(tmp_path) == ["secrets"], "the rest is in the account"
    account.emulator.log(DATABASE)
    async with serving(account.settings, tmp_path) as (client, _):
        signed_in = await client.post("/v1/login", json={"email": "ada@example.com", "password": PASSWORD})
        assert signed_in.status_code == 200
        for _ in range(2):
            await client.post("/v1/login", json=guess)
        (again,) = await alerts(client, signed_in.json()["access_token"], 8)
    assert (again["id"], again["count"]) == (alert["id"], 8)
    assert {each["id"]: each for each in account.items("leases")}[LEASE]["container"] == "audit_events"
    asked = [each for each in account.emulator.log(DATABASE) if each["operation"] == "change_feed"]
    unread = [each for each in asked if each["container"] == TRAIL and "if-none-match" not in each["headers"]]
    assert asked
    assert unread == [], "the feed went on from where it was, from the first look on"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"COSMOS_DB_EMULATOR": ""},
            "COSMOS_DB_ENDPOINT: an endpoint on this machine is an emulator: say that its certificate is to be "
            "accepted, with COSMOS_DB_EMULATOR=true",
        ),
        ({"COSMOS_DB_AUDIT_CONTAINER": "nowhere"}, "nowhere"),
    ],
)
async def test_what_it_cannot_serve_from_is_one_clear_line(
    account: Account, changes: Mapping[str, str], says: str
) -> None:
    line = await refused({**account.settings, **changes})
    assert line.startswith("devhost: ")
    assert says in line
