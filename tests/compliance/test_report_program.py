"""`python -m shared.compliance.report`: a report into a file, from the store that the settings name."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from shared.audit.model import Actor, RequestContext
from shared.compliance.report import main
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.identity.model import new_tenant
from shared.ledger.evidence import Limits
from shared.storage.containers import AUDIT_EVENTS, IDENTITY
from shared.storage.documents import Eq, Item, Query
from shared.wiring import Services, build_services
from tests.audit.support import ADA, TENANT
from tests.compliance.bureau import SAID, Bureau
from tests.fakes import ManualClock


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The day before yesterday, of which there are sealed events in a folder that the settings name; so many times."""
    times = getattr(request, "param", 1)
    monkeypatch.setenv("KRAFTD_DATA", str(tmp_path / "data"))
    noon = SystemClock().now().replace(hour=12, minute=0) - timedelta(days=2)

    async def fill() -> None:
        clock = ManualClock(noon - timedelta(hours=2))
        services = await build_services(Settings(kraftd_data=str(tmp_path / "data")), clock=clock)
        bureau = Bureau(services, clock)
        await services.store.create(IDENTITY, (TENANT,), new_tenant(TENANT, "Example", clock.now()))
        await bureau.record(noon, *SAID * times)
        page = await services.store.query(AUDIT_EVENTS, (TENANT,), Query(limit=1000))
        stored = int(noon.timestamp())
        await services.sealer.consume([event | {"_ts": stored} for event in page.items])
        await services.close()

    asyncio.run(fill())
    return noon.date().isoformat()


def run(day: str, file: Path, *more: str) -> int:
    end = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    given = ["--tenant", TENANT, "--framework", "soc2", "--from", day, "--to", end, "-o", str(file)]
    return main([*given, *more])


def with_services[T](tmp_path: Path, work: Callable[[Services], Awaitable[T]]) -> T:
    """What is made of the store after the program has ended."""

    async def done() -> T:
        services = await build_services(Settings(kraftd_data=str(tmp_path / "data")))
        try:
            return await work(services)
        finally:
            await services.close()

    return asyncio.run(done())


def trail(tmp_path: Path, kind: str) -> list[Item]:
    async def read(services: Services) -> list[Item]:
        return (await services.store.query(AUDIT_EVENTS, (TENANT,), Query((Eq("type", kind),), limit=1000))).items

    return with_services(tmp_path, read)


def test_it_writes_the_report_and_the_same_one_again(
    day: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(day, tmp_path / "one.json") == 0
    assert "written: " in capsys.readouterr().out
    report = json.loads((tmp_path / "one.json").read_bytes())
    assert (report["framework"]["id"], report["from_day"]) == ("soc2", day)
    assert report["events_in_period"] == len(SAID)
    assert report["gate"]["passed"], "the program has the ledger checked, as the app would"
    assert run(day, tmp_path / "report.html", "--format", "html") == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    (tmp_path / "two.json").write_bytes(b"what was there")
    assert run(day, tmp_path / "two.json") == 0
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    assert (tmp_path / "two.json").stat().st_mode & 0o777 == 0o600
    read = [each["attributes"]["format"] for each in trail(tmp_path, "report.read")]
    assert sorted(read) == ["html", "json", "json"], "each reading is told of, the first and the others"
    assert len(trail(tmp_path, "report.generate")) == 1


def test_forms_have_the_sign_offs_of_now(day: str, tmp_path: Path) -> None:
    assert run(day, tmp_path / "one.json") == 0
    before = json.loads((tmp_path / "one.json").read_bytes())

    async def sign(services: Services) -> None:
        request = RequestContext(services.ids.new(), "r", "POST", services.clock.now())
        actor = Actor("user", ADA, "tenant_admin")
        await services.sign_offs.sign(TENANT, before["id"], "No incident was declared.", actor, request)

    with_services(tmp_path, sign)
    for form, file in (("json", "two.json"), ("html", "two.html")):
        assert run(day, tmp_path / file, "--format", form) == 0
        assert "No incident was declared." in (tmp_path / file).read_text(encoding="utf-8")
    after = json.loads((tmp_path / "two.json").read_bytes())
    assert [each["user_id"] for each in after["sign_offs"]] == [ADA]
    assert after | {"sign_offs": []} == before


@pytest.mark.parametrize("day", [25], indirect=True)
def test_a_bundle_has_all_its_parts_and_the_verifier_accepts_it(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shared.ledger.evidence.Limits", lambda: Limits(entries=1))
    folder = tmp_path / """it's "an" evidence; $(exit 1)"""
    assert run(day, folder, "--format", "bundle") == 0
    said = capsys.readouterr().out
    command = said.partition("check it: python ")[2].strip()
    assert command.startswith("tools/verify_evidence.py ")
    assert sorted(each.name for each in folder.iterdir()) == ["part-00001.zip", "part-00002.zip", "vkey.txt"]
    done = subprocess.run(  # noqa: S603 - what the program said
        ["/bin/sh", "-c", f"{sys.executable} {command}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {each["attributes"]["format"] for each in trail(tmp_path, "report.read")} == {"bundle"}
    (exported,) = trail(tmp_path, "audit.export")
    assert exported["attributes"]["format"] == "bundle"
    assert run(day, folder, "--format", "bundle") == 1
    assert "not an empty folder" in capsys.readouterr().err


def test_a_report_that_is_not_due_is_ordered(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shared.compliance.orders.SETTLED", timedelta(days=3))
    assert run(day, tmp_path / "x.json") == 3
    assert "no report yet: it is queued: not before " in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
    assert trail(tmp_path, "report.generate") == []


def test_where_it_cannot_be_written_nothing_is_made(
    day: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder" / "in").mkdir(parents=True)
    for target, form in (
        (tmp_path / "none" / "x.json", "json"),
        (tmp_path / "folder", "json"),
        (tmp_path / "folder", "bundle"),
        (tmp_path / "none" / "x", "bundle"),
    ):
        assert run(day, target, "--format", form) == 1, target
        assert capsys.readouterr().err.startswith("cannot write: ")
    assert trail(tmp_path, "report.generate") == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data", "folder"], "nothing is left behind"


def test_it_says_why_there_is_none(day: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(day, tmp_path / "x.json", "--tenant", "0195c000-0000-7000-8000-0000000000ff") == 1
    assert "no report: There is no such organization." in capsys.readouterr().err
    assert run(day, tmp_path / "x.json", "--from", "2020-01-01") == 1
    assert "to a period has at most 366 days" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["data"]
    with pytest.raises(SystemExit):
        run(day, tmp_path / "x.json", "--framework", "sox")


@pytest.mark.parametrize("tenant", ["", "a\udcff"])
def test_a_tenant_that_can_be_none_is_wrong_usage(
    tenant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("2026-03-01", tmp_path / "x.json", "--tenant", tenant)
    assert stopped.value.code == 2
    assert "argument --tenant: the id of an organization is text, and not empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
