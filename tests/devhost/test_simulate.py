"""The simulation as it is run: the trail holds what the ground truth says, and the alerts that can rise do."""

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from devhost.demo.run import read_stored
from devhost.launch import served
from devhost.simulate import main
from devhost.simulation.attacks import PATTERNS
from devhost.simulation.driver import Driver, RealTime
from devhost.simulation.plan import Options, make_plan
from devhost.simulation.requests import SimulationError
from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import SystemClock, parse_rfc3339, rfc3339
from tests.app import ROOT
from tools.backtest import main as backtest_main

type Json = dict[str, Any]

SIZE = ("--tenants", "2", "--users", "8", "--days", "2")
TYPES: dict[str, set[str]] = {
    "brute_force": {"auth.login"},
    "credential_stuffing": {"auth.login"},
    "account_takeover": {"auth.login", "auth.password_change"},
    "privilege_escalation": {"user.role_change", "access.denied"},
    "unauthorized_access": {"access.denied", "access.cross_tenant_denied"},
    "mass_deletion": {"data.delete", "user.delete"},
    "bulk_data_access": {"data.read", "data.export"},
    "suspicious_password_change": {"auth.password_change"},
}
BESIDE = {"auth.account_locked", "system.error"}
"""What a call of a case may leave beside the event that it is made for."""


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "devhost.simulate", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class Left:
    """What a simulation left: its ground truth, and by tenant the trail (oldest first) and the alerts."""

    def __init__(self, data: Path) -> None:
        done = simulate(*SIZE, "--data", str(data))
        assert done.returncode == 0, done.stderr
        self.data = data
        self.summary = done.stderr
        self.truth: Json = json.loads(done.stdout)
        tenants = [*(each["id"] for each in self.truth["tenants"]), PLATFORM_TENANT]
        self.trails, self.alerts = asyncio.run(read_stored(str(data), tenants))

    def events_of(self, case: Json) -> list[Json]:
        """The events that a case left, of the types that its pattern reads."""
        ids, requests = set(case["event_ids"]), set(case["request_ids"])
        trails = [event for trail in self.trails.values() for event in trail]
        return [e for e in trails if e["id"] in ids or e["context"]["request_id"] in requests]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    return Left(tmp_path_factory.mktemp("simulated"))  # type: ignore[return-value]


def test_each_case_left_exactly_its_events(left: Left) -> None:
    for case in left.truth["cases"]:
        events = [event for event in left.events_of(case) if event["type"] not in BESIDE]
        assert len(events) == case["events"] > 0, case["name"]
        assert {event["type"] for event in events} <= TYPES[case["pattern"]], case["name"]
        assert {event["tenant_id"] for event in events} == set(case["tenants"]), case["name"]
        times = [parse_rfc3339(event["occurred_at"]) for event in events]
        first, last = parse_rfc3339(case["first"]), parse_rfc3339(case["last"])
        assert timedelta() <= min(times) - first < timedelta(seconds=1), case["name"]
        assert timedelta() <= max(times) - last < timedelta(seconds=1), case["name"]


def test_each_event_is_of_whom_the_case_names(left: Left) -> None:
    for case in left.truth["cases"]:
        for event in left.events_of(case):
            if case["actor"]:
                assert event["actor"]["id"] == case["actor"]["id"], case["name"]
            if case["account"] and event["type"] != "auth.account_locked":
                assert event["target"]["id"] == case["account"]["id"], case["name"]
            if case["address"]:
                addresses = {held.get("ip") for held in event["personal"].values()} - {None}
                assert addresses == {case["address"]}, case["name"]


def count(events: Sequence[Json], *types: str) -> Counter[tuple[str, str, str | None]]:
    return Counter((e["type"], e["outcome"], e["reason"]) for e in events if not types or e["type"] in types)


def test_the_outcomes_are_those_that_the_patterns_look_for(left: Left) -> None:
    cases = {case["name"]: left.events_of(case) for case in left.truth["cases"]}
    login, change, denied = "auth.login", "auth.password_change", "access.denied"
    assert count(cases["guessing"], login) == {
        (login, "failure", "bad_credentials"): 10,
        (login, "failure", "locked"): 14,
    }
    assert count(cases["list_of_passwords"]) == {
        (login, "failure", "bad_credentials"): 6,
        (login, "failure", "unknown_account"): 2,
    }
    assert count(cases["guessed"]) == {
        (login, "failure", "bad_credentials"): 6,
        (login, "success", None): 1,
        (change, "success", None): 1,
    }
    assert count(cases["new_device"]) == {(login, "success", None): 1, (change, "success", None): 1}
    assert count(cases["own_role"]) == {(denied, "denied", "role"): 1}
    assert cases["own_role"][0]["attributes"]["attempted_role"] == "tenant_admin"
    assert count(cases["burst"]) == {("user.role_change", "success", None): 5}
    assert [event["attributes"]["new_role"] for event in cases["grant"]] == ["tenant_admin"]
    assert count(cases["probing"]) == {(denied, "denied", "role"): 6}
    assert count(cases["audit_log"]) == {(denied, "denied", "role"): 1}
    assert cases["audit_log"][0]["context"]["route"] == "GET /v1/events"
    assert count(cases["cross_tenant"]) == {("access.cross_tenant_denied", "denied", "cross_tenant"): 1}
    assert len({event["target"]["id"] for event in cases["documents"]}) == 12
    assert len({event["target"]["id"] for event in cases["reading"]}) == 60
    assert [(e["record_count"], e["data_class"]) for e in cases["export"]] == [(80, "cardholder")]
    assert count(cases["stolen_session"]) == {(change, "failure", "wrong_password"): 3}


def test_near_misses_are_in_the_clean_tenant_alone(left: Left) -> None:
    (clean,) = [tenant["id"] for tenant in left.truth["tenants"] if tenant["clean"]]
    misses = [case for case in left.truth["cases"] if not case["attack"]]
    assert {case["pattern"] for case in misses} == set(TYPES)
    assert all(clean in case["tenants"] and not case["alert_expected"] for case in misses)
    assert all(clean not in case["tenants"] for case in left.truth["cases"] if case["attack"])
    assert left.alerts[clean] == []


def test_every_attack_raises_its_alerts_and_nothing_else_does(left: Left) -> None:
    wanted: set[tuple[str, str, str]] = set()
    for case in left.truth["cases"]:
        person = case["account"] or case["actor"]
        for pattern in (case["pattern"], *case["also"]) if case["alert_expected"] else ():
            key = case["address"] if pattern == "credential_stuffing" else person["id"]
            wanted |= {(tenant_id, pattern, key) for tenant_id in case["tenants"]}
    addresses = {
        event["ip_key"]: held["ip"]
        for trail in left.trails.values()
        for event in trail
        for held in event["personal"].values()
        if "ip" in held
    }
    raised = {
        (tenant_id, alert["pattern"], addresses.get(alert["key"], alert["key"]))
        for tenant_id, alerts in left.alerts.items()
        for alert in alerts
    }
    assert raised == wanted
    assert {pattern for _, pattern, _ in raised} == set(PATTERNS)


def backtest(left: Left, tenant_id: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """What the backtest says of a tenant, given the ground truth as it was printed."""
    truth, period = left.data / "truth.json", left.truth["period"]
    truth.write_text(json.dumps(left.truth), encoding="utf-8")
    span = ("--from", period["from"], "--to", period["to"])
    assert backtest_main(["--tenant", tenant_id, *span, "--truth", str(truth), *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_backtest_reproduces_all_alerts_and_finds_them_right(
    left: Left, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRAFTD_DATA", str(left.data))
    for tenant_id, alerts in left.alerts.items():
        attacks = [case for case in left.truth["cases"] if case["attack"] and tenant_id in case["tenants"]]
        assert backtest(left, tenant_id, capsys)[1:] == [
            "today's parameters reproduce the alerts that there are",
            f"{len(alerts)} alerts with the proposed parameters: 0 added, 0 removed",
            f"precision 1.000 of {len(alerts)} alerts, recall 1.000 of {len(attacks)} attacks",
        ]


def test_a_backtest_with_other_thresholds_misses_attacks_and_finds_near_misses(
    left: Left, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRAFTD_DATA", str(left.data))
    attacked, clean = (tenant["id"] for tenant in left.truth["tenants"])
    accounts = {case["name"]: case["account"]["id"] for case in left.truth["cases"] if case["account"]}

    eight = backtest(left, attacked, capsys, "--set", "brute_force.threshold=8")
    assert sorted(line.split()[:3] for line in eight if line[0] in "+-") == sorted(
        [
            ["+", "brute_force", accounts["guessing"]],  # which crosses the threshold later
            ["-", "brute_force", accounts["guessing"]],
            ["-", "brute_force", accounts["guessed"]],  # which is a takeover above all
        ]
    )
    assert eight[-1] == f"precision 1.000 of {len(left.alerts[attacked]) - 1} alerts, recall 1.000 of 14 attacks"

    thirty = backtest(left, attacked, capsys, "--pattern", "brute_force", "--set", "brute_force.threshold=30")
    assert thirty[-2] == "precision 1.000 of 0 alerts, recall 0.000 of 1 attacks"
    assert thirty[-1].startswith(f"  missed: brute_force {accounts['guessing']} ")

    four = backtest(left, clean, capsys, "--set", "brute_force.threshold=4")
    assert "precision 0.000 of 2 alerts, recall 1.000 of 0 attacks" in four
    false = {line.split()[4] for line in four if line.startswith("  of no attack: brute_force ")}
    assert false == {accounts["four_guesses"], accounts["forgetful"]}


def test_people_call_from_different_places(left: Left) -> None:
    personal = [held for trail in left.trails.values() for event in trail for held in event["personal"].values()]
    assert len({held["ip"] for held in personal if "ip" in held}) > 8
    assert len({held["user_agent"] for held in personal if "user_agent" in held}) > 3


def test_the_ground_truth_follows_from_the_plan(left: Left) -> None:
    """So that a seed has one ground truth: its times, people and numbers are planned ones."""
    plan = make_plan(Options(tenants=2, users=8, days=2))
    assert [case["name"] for case in left.truth["cases"]] == [case.name for case in plan.cases]
    for shown, case in zip(left.truth["cases"], plan.cases, strict=True):
        times = [action.at for action in plan.actions if action.case == case.number]
        assert (shown["first"], shown["last"], shown["events"]) == (
            rfc3339(min(times)),
            rfc3339(max(times)),
            len(times),
        )
        assert (shown["account"] or {}).get("email") == (case.account.email if case.account else None)
    assert left.truth["period"] == {"from": "2026-10-05T00:00:00.000000Z", "to": "2026-10-07T00:00:00.000000Z"}
    assert left.truth["clock"] == "simulated"
    assert "reported events" in left.summary
    assert "\r" not in left.summary  # no bar where nobody watches


def test_on_a_real_clock_it_happens_now_and_a_second_time_it_is_refused(tmp_path: Path) -> None:
    small = ("--tenants", "2", "--users", "8", "--days", "1", "--attacks", "brute_force,bulk_data_access")
    began = SystemClock().now()
    with served(ROOT, ":memory:", settings={"TRUSTED_PROXY_HOPS": "2"}) as url:
        done = simulate("--url", url, *small)
        assert done.returncode == 0, done.stderr
        truth = json.loads(done.stdout)
        assert (truth["clock"], truth["period"]) == ("real", None)
        assert all(began <= parse_rfc3339(case["first"]) for case in truth["cases"])
        assert all(case["events"] for case in truth["cases"])
        again = simulate("--url", url, *small)
        assert (again.returncode, again.stdout) == (1, "")
        refused = r"simulate: found of t[01]/u0 was answered 409 email_taken; the accounts of this --seed exist there\n"
        assert re.fullmatch(refused, again.stderr)  # the tenants are founded side by side
        late = simulate("--url", url, *small, "--start", "2026-10-05T00:00:00Z")
        assert (late.returncode, late.stdout) == (2, "")
        assert "that server's clock is real" in late.stderr


async def test_a_call_that_is_not_answered_as_planned_ends_it() -> None:
    """With the call, the status and the code, and without what was sent."""

    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, json={"code": "rate_limited"})

    plan = make_plan(Options(tenants=2, users=8, days=1, attacks=(), live=True))
    transport = httpx.MockTransport(refuse)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost/api/") as http:
        with pytest.raises(SimulationError) as caught:
            await Driver(http, plan, RealTime(SystemClock()), lambda _: None).run()
    assert str(caught.value).startswith("found of t0/u0 was answered 429 rate_limited; ")
    assert "TRUSTED_PROXY_HOPS" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--attacks", "phishing"), "no attack is called phishing"),
        (("--users", "3"), "users is 8 to 1000"),
        (("--start", "monday"), "--start: a time is RFC 3339"),
    ],
)
def test_options_without_a_plan(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert main(("--url", "http://127.0.0.1:1")) == 1
    assert capsys.readouterr().err.startswith("simulate: no answer: ConnectError")
