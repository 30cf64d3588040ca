"""The demo: it shows the three parts, and it fails when one of them, or an event, is not there."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devhost.demo import ATTEMPTS, Call, Seen, faults, page_of
from tests.app import ROOT

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
        timeout=90,
        check=False,
    )


def test_it_shows_trail_alert_and_report() -> None:
    done = demo()
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    for heading in ("Trail of the first tenant: 19 events", "Alert", "Report"):
        assert heading in lines
    assert sum("bad_credentials" in line for line in lines) == ATTEMPTS
    for part in (
        "brute_force",
        "account_takeover",
        "high",
        "T1110.001",
        "first step",
        "1 brute_force",
        "each left its events",
    ):
        assert part in done.stdout
    assert done.stderr == ""


def test_it_fails_without_detection(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(WITHOUT_DETECTION, encoding="utf-8")
    (tmp_path / "host.json").write_text((ROOT / "host.json").read_text(encoding="utf-8"), encoding="utf-8")
    done = demo("--app", str(tmp_path), "--patience", "1")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"demo: the alert is missing: no episode of {ATTEMPTS} failed sign-ins"]


def test_it_fails_when_there_is_no_app(tmp_path: Path) -> None:
    done = demo("--app", str(tmp_path))
    assert done.returncode == 1
    assert "demo: the server did not start" in done.stderr


def event(tenant_id: str, number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{tenant_id}-{number}",
        "tenant_id": tenant_id,
        "type": "profile.view",
        "recorded_at": "2026-03-15T12:00:00.000000Z",
        "outcome": "success",
        "reason": None,
        "actor": {"kind": "user", "id": "u1"},
        "personal": {},
        "context": {"request_id": f"{tenant_id}-r{number}"},
    } | changes


def complete() -> Seen:
    """What a run in which all is well has seen."""
    calls = [Call("GET /v1/profile", 200, f"{tenant}-r1", tenant, ("profile.view",)) for tenant in ("one", "two")]
    trails = {tenant: [event(tenant, 1)] for tenant in ("one", "two")}
    alert: dict[str, Any] = {
        "pattern": "brute_force",
        "title": "Password guessing",
        "severity": "high",
        "attack": ["T1110.001"],
        "key": "u1",
        "count": ATTEMPTS,
        "first_seen": "2026-03-15T12:00:00.000000Z",
        "last_seen": "2026-03-15T12:00:01.000000Z",
        "runbook": ["Look.", "Think."],
    }
    report: dict[str, Any] = {
        "from": "2026-03-15",
        "to": "2026-03-16",
        "status": "building",
        "generated_at": "2026-03-15T12:00:02.000000Z",
        "events_in_period": 1,
        "by_type": {"profile.view": {"success": 1}},
        "alerts_raised": {"total": 1, "by_pattern": {"brute_force": 1}},
        "access_denied": {"total": 0, "by_reason": {}},
    }
    return Seen(
        first="one",
        second="two",
        names={"u1": "admin@example.com"},
        calls=calls,
        alerts={"one": [alert], "two": []},
        reports={"one": [report], "two": [report]},
        logs={"one": [event("one", 1)], "two": [event("two", 1)]},
        trails=trails,
    )


def test_a_complete_run_has_no_fault_and_shows_everything() -> None:
    seen = complete()
    assert faults(seen) == []
    text = page_of(seen, str.upper)
    assert "admin@example.com" in text
    assert "first step  Look." in text
    assert "profile.view   1 success" in text


@pytest.mark.parametrize(
    ("attribute", "value", "fault"),
    [
        ("reports", {}, "the report is missing"),
        ("alerts", {}, f"the alert is missing: no episode of {ATTEMPTS} failed sign-ins"),
        (
            "alerts",
            {"one": [{"count": ATTEMPTS - 1}]},
            f"the alert is missing: no episode of {ATTEMPTS} failed sign-ins",
        ),
        ("logs", {"one": [event("one", 1)]}, "an administrator's log is empty"),
        ("logs", {"one": [event("two", 1)], "two": [event("two", 1)]}, "a tenant sees the other's events"),
    ],
)
def test_what_is_missing_or_leaks_is_named(attribute: str, value: Any, fault: str) -> None:
    seen = complete()
    setattr(seen, attribute, value)
    assert faults(seen) == [fault]


def test_a_missing_trail_is_named() -> None:
    seen = complete()
    seen.trails["one"] = []
    assert faults(seen) == ["the trail is missing", "GET /v1/profile (200) left no event, not profile.view"]


def test_an_alert_of_the_other_tenant_is_named() -> None:
    seen = complete()
    seen.alerts["two"] = seen.alerts["one"]
    assert faults(seen) == ["the other tenant has an alert"]


def test_calls_and_events_are_matched_both_ways() -> None:
    seen = complete()
    seen.trails["one"] += [event("one", 1, id="again"), event("one", 2), event("one", 3, type="alert.raise")]
    assert faults(seen) == [
        "GET /v1/profile (200) left profile.view, profile.view, not profile.view",
        "no call left profile.view",
    ]


def test_a_call_that_must_leave_nothing_is_held_to_it() -> None:
    seen = complete()
    seen.calls[0] = Call("GET /v1/alerts", 200, "one-r1", "one", ())
    assert faults(seen) == ["GET /v1/alerts (200) left profile.view, not no event"]
