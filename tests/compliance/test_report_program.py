"""`python -m shared.compliance.report`: a report into a file, from the store that the settings name."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from shared.compliance.report import main
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.identity.model import new_tenant
from shared.storage.containers import AUDIT_EVENTS, IDENTITY
from shared.storage.documents import Query
from shared.wiring import build_services
from tests.audit.support import TENANT
from tests.compliance.bureau import SAID, Bureau
from tests.fakes import ManualClock


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Yesterday, of which there are sealed events in a folder that the settings name."""
    monkeypatch.setenv("KRAFTD_DATA", str(tmp_path / "data"))
    noon = SystemClock().now().replace(hour=12, minute=0) - timedelta(days=1)

    async def fill() -> None:
        clock = ManualClock(noon - timedelta(hours=2))
        services = await build_services(Settings(kraftd_data=str(tmp_path / "data")), clock=clock)
        bureau = Bureau(services, clock)
        await services.store.create(IDENTITY, (TENANT,), new_tenant(TENANT, "Example", clock.now()))
        await bureau.record(noon, *SAID)
        page = await services.store.query(AUDIT_EVENTS, (TENANT,), Query(limit=1000))
        stored = int(noon.timestamp())
        await services.sealer.consume([event | {"_ts": stored} for event in page.items])
        await services.close()

    asyncio.run(fill())
    return noon.date().isoformat()


def run(day: str, file: Path, *more: str) -> int:
    end = (SystemClock().now().date()).isoformat()
    given = ["--tenant", TENANT, "--framework", "soc2", "--from", day, "--to", end, "-o", str(file)]
    return main([*given, *more])


def test_it_writes_the_report_and_the_same_one_again(
    day: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(day, tmp_path / "one.json") == 0
    assert "written: " in capsys.readouterr().out
    report = json.loads((tmp_path / "one.json").read_bytes())
    assert (report["framework"]["id"], report["from_day"]) == ("soc2", day)
    assert report["events_in_period"] == len(SAID)
    assert run(day, tmp_path / "report.html", "--format", "html") == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert run(day, tmp_path / "two.json") == 0
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_it_says_why_there_is_none(day: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(day, tmp_path / "x.json", "--tenant", "0195c000-0000-7000-8000-0000000000ff") == 1
    assert "no report: There is no such organization." in capsys.readouterr().err
    assert run(day, tmp_path / "x.json", "--from", "2020-01-01") == 1
    assert "to a period has at most 366 days" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
    with pytest.raises(SystemExit):
        run(day, tmp_path / "x.json", "--framework", "sox")
