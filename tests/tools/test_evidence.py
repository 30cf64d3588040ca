"""The command that fetches evidence bundles, against the real app."""

import asyncio
import os
import stat
from pathlib import Path

import httpx
import pytest

from shared.ledger.evidence import Limits
from tests.app import Account, App
from tests.exporting import fill
from tests.tools.test_export import URL, Wire, no_connection
from tools.evidence import main
from tools.export.__main__ import TOKEN
from tools.verify_evidence import OK, verify

DAYS = ("--from", "2026-03-01", "--to", "2026-04-01")


async def run(wire: Wire, *arguments: str) -> int:
    command = ("--url", URL, *arguments)
    return await asyncio.to_thread(main, command, transport=wire, sleep=wire.waits.append)


@pytest.fixture
async def sealed(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Three entry bundles, one a part; the token is in the environment."""
    monkeypatch.setenv(TOKEN, ada.token)
    app.services.evidence._limits = Limits(entries=256)
    await fill(app, ada, 600)
    await app.host.drain_feed()
    return ada


async def test_the_folder_has_the_bundle(
    app: App, sealed: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a" / "bundle"
    assert await run(Wire(app), *DAYS, "-o", str(target)) == 0
    assert capsys.readouterr().err == f"evidence: 3 parts in {target}\n"
    names = sorted(os.listdir(target))
    assert names == ["part-00001.zip", "part-00002.zip", "part-00003.zip"]
    assert {stat.S_IMODE(os.stat(target / name).st_mode) for name in names} == {0o600}
    vkey = (await app.client.get("/v1/ledger/key", headers=sealed.auth)).text.strip()
    checks = verify([str(target / name) for name in names], [vkey])
    assert checks.result == OK, checks.lines
    assert any("disclosed" in line.subject for line in checks.lines)
    assert await run(Wire(app), *DAYS, "-o", str(target)) == 1, "a folder with something in it stays as it is"
    plain = tmp_path / "plain"
    assert await run(Wire(app), *DAYS, "--without-personal", "-o", str(plain)) == 0
    checks = verify([str(plain / name) for name in names], [vkey])
    assert checks.result == OK
    assert not any("disclosed" in line.subject for line in checks.lines)


async def test_a_run_that_is_cut_off_leaves_whole_parts_alone(
    app: App, sealed: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wire = Wire(app, no_connection(2))
    assert await run(wire, *DAYS, "-o", str(tmp_path / "x"), "--retries", "3") == 3
    assert len(wire.requests) == 5
    assert sorted(os.listdir(tmp_path / "x")) == ["part-00001.zip", "part-00002.zip"]
    assert "begin anew" in capsys.readouterr().err


async def test_a_place_that_is_forgotten(app: App, sealed: Account, tmp_path: Path) -> None:
    def later(number: int, _: httpx.Request) -> None:
        if number == 1:
            app.clock.advance(minutes=16)

    wire = Wire(app, later)
    assert await run(wire, *DAYS, "-o", str(tmp_path / "x")) in (1, 3)
    assert os.listdir(tmp_path / "x") == ["part-00001.zip"]


async def test_what_the_service_says_of_a_wrong_question(
    app: App, sealed: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(Wire(app), "--from", "2026-03-01", "--to", "2026-03-01", "-o", str(tmp_path / "x")) == 1
    said = capsys.readouterr().err
    assert "to: must be after from" in said
    assert sealed.token not in said
    assert os.listdir(tmp_path / "x") == []
