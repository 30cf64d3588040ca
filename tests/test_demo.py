"""The demo: it shows eight attacks that are found and an organization without an alert, and fails when that is not so.

One real run is what all is well with; each test then takes something away from it, or adds something.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from devhost.demo.__main__ import main
from devhost.demo.judge import faults
from devhost.demo.page import page_of
from devhost.demo.run import run
from devhost.demo.seen import Answered, Json, Seen
from shared.audit.model import PLATFORM_TENANT
from shared.detection import all_patterns
from tests.app import ROOT

THREATS = frozenset(all_patterns()) - {"ledger_integrity", "webhook_paused"}
"""What attackers of an organization do: the ninth pattern is about whoever can write to the store."""
WITHOUT_DETECTION = """
import azure.functions as func

import functions
from functions import change_feed
from shared.core.settings import load_settings
from shared.wiring import LazyServices

del change_feed.CONSUMERS["detect_threats"]
services = LazyServices(load_settings())
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
functions.register(app, services)
"""


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "devhost.demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return run(ROOT, tmp_path_factory.mktemp("reports"))


@pytest.fixture
def seen(real: Seen) -> Seen:
    return deepcopy(real)


def test_a_real_run_has_no_fault(seen: Seen) -> None:
    assert faults(seen) == []
    assert {case["pattern"] for case in seen.attacks} == THREATS
    assert {case["pattern"] for case in seen.near_misses} == THREATS
    assert len(seen.calls) > 250


def test_the_page_shows_each_attack_with_its_alerts_and_who_has_none(seen: Seen) -> None:
    text = page_of(seen, str.upper)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert "ORGANIZATION 2, WHICH NOBODY ATTACKED: NO ALERT" in lines
    for number, case in enumerate(seen.attacks, 1):
        beginning = lines.index(next(line for line in lines if line.startswith(f"  {number}. ")))
        part = "\n".join(lines[beginning : beginning + 12])
        for tenant_id, alert in seen.explained_by(case):
            shown = [alert["pattern"], alert["severity"], ", ".join(alert["attack"]), str(alert["count"])]
            shown += [alert["first_seen"][11:23], alert["last_seen"][11:23], seen.tenants[tenant_id]]
            assert all(each in part for each in (*shown, seen.who(alert["key"]))), case["name"]
        assert "first step: " in part
    assert sum("bad_credentials" in line for line in lines) == 6
    assert "THE REPORT OF ORGANIZATION 0, WHICH THE TIMER BUILT" in lines
    assert "account_takeover" in text


def test_it_ends_with_0_and_a_summary_when_all_is_well(
    seen: Seen, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("devhost.demo.__main__.run", lambda *_: seen)
    assert main(()) == 0
    told = capsys.readouterr()
    assert "\n8 attacks found, and nothing else, in " in told.out
    assert (told.err, "\x1b" in told.out) == ("", False)


def test_it_ends_with_1_and_what_is_wrong_otherwise(
    seen: Seen, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("devhost.demo.__main__.run", lambda *_: seen)
    seen.reports[clean(seen)] = []
    assert main(()) == 1
    told = capsys.readouterr()
    assert told.err == "demo: Organization 2 has no report\n"
    assert "attacks found" not in told.out


def test_it_ends_with_a_report_on_each_framework_on_disk(seen: Seen) -> None:
    assert [each.framework for each in seen.made] == ["gdpr", "soc2", "hipaa", "pci_dss", "iso_27001"]
    for made in seen.made:
        report = json.loads((made.folder / "report.json").read_bytes())
        assert report["events_in_period"] == made.events > 150
        assert report["gate"]["passed"]
        assert sum(report["summary"].values()) == len(report["controls"])
        names = {each.name for each in made.folder.iterdir()}
        assert names >= {
            "report.html",
            "report.pdf",
            "report.json",
            "bundle-00001.zip",
            "verify_evidence.py",
            "vkey.txt",
        }
        assert f"{made.folder}/" in "".join(page_of(seen, str).split())


def test_what_the_page_says_checks_a_report_and_finds_a_change(seen: Seen) -> None:
    lines = page_of(seen, str).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("To check one"))
    told = "\n".join(lines[at + 1 : at + 3])
    done = shell(told, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT CHECKED" not in done.stdout
    other = seen.made[0].folder / "vkey.txt"
    key = other.read_text(encoding="utf-8")
    name, _, rest = key.partition("+")
    other.write_text(f"{name}+{'00000000' if rest[:8] != '00000000' else '11111111'}{rest[8:]}", encoding="utf-8")
    try:
        assert shell(told, ROOT).returncode != 0
    finally:
        other.write_text(key, encoding="utf-8")


def test_a_control_page_is_traced_by_hand_as_the_documentation_says(seen: Seen, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "report-forms.md").read_text(encoding="utf-8").partition("## A control page by hand")[2]
    blocks = re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "python", "sh", "sh"]
    unpack, program, trace, verify = (block for _, block in blocks)
    folder = tmp_path / "soc2"
    shutil.copytree(next(each.folder for each in seen.made if each.framework == "soc2"), folder)
    (folder / "trace.py").write_text(program, encoding="utf-8")
    for command in (unpack, trace, verify):
        done = shell(command, folder)
        assert done.returncode == 0, done.stdout + done.stderr
        if command == trace:
            assert "entries give the signed root" in done.stdout
            assert ", drawn anew, is the one on the page" in done.stdout
    report = json.loads((folder / "evidence/report/report.json").read_bytes())
    names = [each["oscal_id"] for each in report["controls"]][:12]
    each = shell("\n".join(f"python trace.py {name}" for name in names), folder)
    assert each.returncode == 0, each.stderr
    assert each.stdout.count("drawn anew, is the one on the page") > 5
    entries = next((folder / "evidence/shards").glob("*/tile/entries/000*/*"))
    data = entries.read_bytes()
    entries.write_bytes(data.replace(b"success", b"failure", 1))
    assert shell(trace, folder).returncode != 0, "a changed entry"


def shell(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Commands as somebody types them, with the Python of these tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(  # noqa: S603 - what our pages say
        ["/bin/sh", "-ec", commands],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_each_report_has_to_be_there_and_to_be_right(seen: Seen) -> None:
    first, second, *_, last = seen.made
    seen.made[:] = [replace(first, fault="bad"), replace(second, gate_passed=False), *seen.made[2:-1]]
    assert faults(seen) == [
        f"the report on {first.framework}: bad",
        f"the report on {second.framework} does not rely on the trail",
        f"there is no report on {last.framework}",
    ]


def test_it_fails_without_detection(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(WITHOUT_DETECTION, encoding="utf-8")
    (tmp_path / "host.json").write_text((ROOT / "host.json").read_text(encoding="utf-8"), encoding="utf-8")
    done = demo("--app", str(tmp_path), "--reports", str(tmp_path / "reports"))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == len(THREATS) + 2  # one list of passwords is tried in two organizations and on nobody
    assert all(any(f"raised no alert {pattern} in " in line for line in lines) for pattern in THREATS)


def test_it_fails_when_there_is_no_app(tmp_path: Path) -> None:
    done = demo("--app", str(tmp_path))
    assert done.returncode == 1
    assert "demo: the server did not start" in done.stderr


def clean(seen: Seen) -> str:
    (found,) = [tenant["id"] for tenant in seen.truth["tenants"] if tenant["clean"]]
    return str(found)


def first(seen: Seen) -> str:
    return str(seen.truth["tenants"][0]["id"])


@pytest.mark.parametrize("pattern", sorted(THREATS))
def test_each_attack_has_to_raise_its_alert(pattern: str, seen: Seen) -> None:
    for alerts in (*seen.alerts.values(), *seen.shown.values()):
        alerts[:] = [alert for alert in alerts if alert["pattern"] != pattern]
    (case,) = [case for case in seen.attacks if case["pattern"] == pattern]
    names = [seen.tenants[tenant_id] for tenant_id in case["tenants"]]
    assert faults(seen) == [f"{case['name']} raised no alert {pattern} in {name}" for name in names]
    assert ("     no alert" in page_of(seen, str).splitlines()) == (pattern != "account_takeover")  # guessing is left


@pytest.mark.parametrize("pattern", sorted(THREATS))
def test_there_has_to_be_an_attack_for_each_pattern(pattern: str, seen: Seen) -> None:
    seen.truth["cases"] = [each for each in seen.truth["cases"] if each["pattern"] != pattern or not each["attack"]]
    found = faults(seen)
    assert found[0] == f"there was no attack for {pattern} to find"
    assert any(fault.startswith(f"no attack explains the alert {pattern} in ") for fault in found)


@pytest.mark.parametrize("where", ["the first", "the clean one", "nobody's"])
@pytest.mark.parametrize("pattern", sorted(THREATS))
def test_an_alert_that_no_attack_explains_is_named(pattern: str, where: str, seen: Seen) -> None:
    tenant_id = {"the first": first(seen), "the clean one": clean(seen), "nobody's": PLATFORM_TENANT}[where]
    alert = next(each for alerts in seen.alerts.values() for each in alerts if each["pattern"] == pattern)
    false = {**alert, "id": "another", "key": "somebody", "event_ids": []}
    for alerts in (seen.alerts[tenant_id], seen.shown.get(tenant_id, [])):
        alerts.append(false)
    name = seen.tenants[tenant_id]
    assert faults(seen) == [f"no attack explains the alert {pattern} in {name} on somebody"]
    if where == "the clean one":
        assert f"{name}, which nobody attacked: 1 alert" in page_of(seen, str)


def test_an_alert_is_of_the_attack_only_in_the_tenants_under_attack(seen: Seen) -> None:
    (alert,) = seen.alerts[PLATFORM_TENANT]
    for alerts in (seen.alerts[clean(seen)], seen.shown[clean(seen)]):
        alerts.append({**alert, "event_ids": []})
    (fault,) = faults(seen)
    assert fault.startswith("no attack explains the alert credential_stuffing in Organization 2 on 203.0.113.")


def test_an_alert_names_the_events_of_its_attack(seen: Seen) -> None:
    (alert,) = seen.alerts[PLATFORM_TENANT]
    del alert["event_ids"][:3]
    assert faults(seen) == ["the alert credential_stuffing in platform lacks 3 events of list_of_passwords"]


def lose_an_event(seen: Seen) -> None:
    trail = seen.trails[first(seen)]
    trail.remove(next(event for event in trail if event["type"] == "profile.view"))


def lose_a_trail(seen: Seen) -> None:
    seen.trails[clean(seen)].clear()


def find_an_event(seen: Seen) -> None:
    trail = seen.trails[first(seen)]
    found = next(event for event in trail if event["type"] == "profile.view")
    trail.append({**found, "id": "x", "context": {**found["context"], "request_id": "x"}})


def make_a_call(seen: Seen) -> None:
    seen.calls.append(Answered("GET", "v1/elsewhere", 200, "x"))


def leave_an_event_too_many(seen: Seen) -> None:
    call = next(call for call in seen.calls if call.route == "v1/alerts")
    found = next(event for event in seen.trails[first(seen)] if event["type"] == "profile.view")
    seen.trails[first(seen)].append(
        {**found, "id": "x", "context": {**found["context"], "request_id": call.request_id}}
    )


def lose_what_a_service_reported(seen: Seen) -> None:
    trail = seen.trails[clean(seen)]
    trail.remove(next(event for event in trail if event["type"] == "data.read"))


def lose_the_report(seen: Seen) -> None:
    seen.reports.pop(first(seen))


def show_no_log(seen: Seen) -> None:
    seen.logs[first(seen)] = []


def show_anothers_event(seen: Seen) -> None:
    seen.logs[clean(seen)].append(seen.trails[first(seen)][0])


def show_anothers_alert(seen: Seen) -> None:
    seen.shown[clean(seen)] += seen.shown[first(seen)][:1]


def show_no_alert(seen: Seen) -> None:
    seen.shown[first(seen)] = []


def name_anothers_event(seen: Seen) -> None:
    seen.alerts[first(seen)][0]["event_ids"].append(seen.trails[clean(seen)][0]["id"])


def name_another(seen: Seen) -> None:
    other = seen.truth["tenants"][0]["users"][0]["id"]
    event: Json = next(event for event in seen.trails[clean(seen)] if event["type"] == "profile.view")
    event["actor"]["id"] = other


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lose_an_event, "GET /v1/profile (200) left no event"),
        (lose_a_trail, "the trail of Organization 2 is empty"),
        (find_an_event, "no call left profile.view"),
        (make_a_call, "GET /v1/elsewhere (200) was not to be"),
        (leave_an_event_too_many, "GET /v1/alerts (200) left profile.view"),
        (lose_what_a_service_reported, "forty_nine_records left 48 events, not 49"),
        (lose_the_report, "Organization 0 has no report"),
        (show_no_log, "the log of Organization 0 is empty"),
        (show_anothers_event, "Organization 2 is shown another's events"),
        (show_anothers_alert, "Organization 2 is shown other alerts than its own"),
        (show_no_alert, "Organization 0 is shown other alerts than its own"),
        (name_anothers_event, "an alert of Organization 0 names another's events"),
        (name_another, "the trail of Organization 2 names people of another organization"),
    ],
)
def test_what_is_missing_too_much_or_leaks_is_named(change: Callable[[Seen], None], fault: str, seen: Seen) -> None:
    change(seen)
    found = faults(seen)
    assert fault in found
    assert len(found) == 1 or change is lose_a_trail
