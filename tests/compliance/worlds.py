"""For every rule a month in which it fires, made of the good month by one change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from shared.compliance.evidence import Evidence, LedgerState, Operations, Outage, Policies
from shared.compliance.facts.merged import Facts
from tests.compliance.trails import (
    DAYS,
    Trail,
    account,
    alert,
    failed,
    good_evidence,
    good_trail,
    new_evidence,
    request,
)

type Change = Callable[[Trail], None]

ALERTED: dict[str, Any] = {"alerts": (alert(),), "requests": (request(),)}


def _login_after_exit(trail: Trail) -> None:
    trail.login("dan", "08T09:00")


def _failures(count: int, day: str = "20") -> Change:
    def change(trail: Trail) -> None:
        for minute in range(count):
            trail.login("oscar", f"{day}T10:{minute:02}", "failure")
        trail.login("oscar", f"{day}T10:{count:02}")

    return change


def _lock(trail: Trail) -> None:
    trail.say("auth.account_locked", "20T10:00", who=None, actor="anonymous", role=None, target="oscar")
    trail.login("oscar", "20T10:20")


def _one_factor(trail: Trail) -> None:
    trail.login("ada", "20T10:00", mfa=False)
    trail.say("data.read", "20T10:01", data_class="cardholder", purpose="x")


def _sessions(trail: Trail) -> None:
    for minute in range(3):
        trail.say("profile.view", f"20T10:0{minute}", session=f"t-{minute}")
        trail.say("profile.view", f"20T10:1{minute}", session=f"t-{minute}")


def _idle(trail: Trail) -> None:
    trail.say("profile.view", "20T10:00", session="t-1")
    trail.say("profile.view", "20T10:40", session="t-1")


def _refused(kind: str) -> Change:
    def change(trail: Trail) -> None:
        for minute in range(6):
            trail.say(kind, f"20T10:0{minute}", who="oscar", role="user", outcome="denied")

    return change


def _said(kind: str, at: str = "20T10:00", **told: Any) -> Change:
    return lambda trail: (trail.say(kind, at, **told), None)[1]


def _failure(what: str) -> Change:
    return _said(
        "ledger.verify_failed", outcome="failure", who=None, actor="system", role=None, what=what, period="2026-03"
    )


def _twice(trail: Trail) -> None:
    trail.say("config.change", "20T10:00", who="ada", key="settings", changed_fields=["x"], approved_by="ada")


def _ledger(**changed: Any) -> dict[str, Any]:
    return {"ledger": dataclasses.replace(LedgerState(2555, "2026-02"), **changed)}


def _settings(**changed: Any) -> dict[str, Any]:
    strict = Policies(10, 30, 12, 4, 15, "all", 2555, sources=("api_key:key-1",))
    return {"policies": dataclasses.replace(strict, **changed)}


def _operations(**changed: Any) -> dict[str, Any]:
    return {"operations": dataclasses.replace(Operations(frozenset(DAYS), (), 1), **changed)}


OUTAGE = Outage("2026-03-20T10:00:00.000000Z", "2026-03-20T11:00:00.000000Z", "audit_writer")
OLD = "2025-06-01T00:00:00.000000Z"
FIRING: dict[str, tuple[Change | None, dict[str, Any]]] = {
    "INT-01": (_failure("entries"), {}),
    "INT-02": (None, {"gate": failed("counted")}),
    "INT-03": (None, {"checkpoint_gap": ("09:00", "12:30")}),
    "INT-04": (_said("data.read", target=None, data_class="phi", legal_basis="consent"), {}),
    "INT-05": (_said("data.read", late_seconds=4000, data_class="phi"), {}),
    "INT-06": (None, _settings(sources=("api_key:key-1", "api_key:key-2"))),
    "INT-07": (None, _operations(outages=(OUTAGE,))),
    "INT-08": (_failure("entries"), {}),
    "RET-01": (None, _ledger(oldest_month="2026-03")),
    "RET-02": (_failure("deleted"), {}),
    "RET-03": (None, _ledger(kept_past=("2019-01",))),
    "AUTH-01": (_failures(11), {}),
    "AUTH-02": (_lock, {}),
    "AUTH-03": (_failures(6), {}),
    "AUTH-04": (_idle, {}),
    "AUTH-05": (
        lambda trail: (trail.login("bob", "20T10:00", mfa=False), None)[1],
        {"accounts": (account("bob", mfa=False, created_at=OLD),)},
    ),
    "AUTH-06": (_one_factor, {}),
    "AUTH-07": (_sessions, {}),
    "IDL-01": (None, _settings(session_idle_minutes=1440)),
    "PWD-01": (None, _settings(password_min_length=8)),
    "PWD-02": (None, _settings(password_history=0)),
    "LCK-01": (None, _settings(lockout_failures=20)),
    "ACC-01": (_login_after_exit, {}),
    "ACC-02": (_said("user.role_change", target="oscar", old_role="user", new_role="tenant_admin"), {}),
    "ACC-03": (_said("user.role_change", target="ada", old_role="user", new_role="tenant_admin", ticket="T"), {}),
    "ACC-04": (None, {"accounts": (account("old", created_at=OLD, last_login_at=OLD),)}),
    "ACC-05": (None, {"last_review_at": OLD}),
    "ACC-06": (_said("data.read", who=None, data_class="phi", legal_basis="consent"), {}),
    "ACC-07": (_said("data.read", at="21T23:00", data_class="phi", purpose="x"), _settings(on_call=frozenset({"eve"}))),
    "ACC-08": (_said("user.view", who="oscar", role="user"), {}),
    "ACC-09": (_refused("access.cross_tenant_denied"), {}),
    "ACC-10": (_said("audit.search", who="oscar", role="user"), {}),
    "ACC-12": (lambda trail: (trail.login("billing", "20T10:00"), None)[1], {}),
    "ACC-11": (_refused("access.denied"), {}),
    "DATA-01": (_said("data.export", data_class="phi", records=5000, recipient="x"), {}),
    "DATA-02": (_said("data.read", data_class="phi", about=["patient-9"], purpose="x"), {}),
    "DATA-03": (
        _said("data.read", data_class="personal", about=["patient-2"], purpose="care", legal_basis="consent"),
        {},
    ),
    "DATA-04": (_said("data.export", data_class="phi", about=["patient-1"]), {}),
    "DATA-05": (_said("data.update", data_class="phi", sealed=False), {}),
    "DSR-01": (
        None,
        {"requests": (request(answered_at=None, state="received", due_at="2026-03-20T00:00:00.000000Z"),)},
    ),
    "DSR-02": (None, {"requests": (request("never", subject="patient-7"),)}),
    "INC-01": (None, {"alerts": (alert(acknowledged_at=None, closed_at=None),)}),
    "INC-02": (None, {"alerts": (alert(closed_note=False),)}),
    "INC-03": (
        _said(
            "incident.record",
            target="alert-1",
            aware_at="2026-03-10T00:00:00.000000Z",
            decision="notify the authority",
            authority_notified_at="2026-03-15T00:00:00.000000Z",
        ),
        {},
    ),
    "INC-04": (
        None,
        {
            "alerts": (
                alert(),
                alert(
                    "alert-2",
                    raised_at="2026-03-20T00:00:00.000000Z",
                    acknowledged_at="2026-03-20T01:00:00.000000Z",
                    closed_at="2026-03-20T02:00:00.000000Z",
                ),
            )
        },
    ),
    "MON-01": (None, _operations(detection_days=frozenset(DAYS[1:]))),
    "MON-02": (_said("config.change", key="settings", changed_fields=["mutes"]), {}),
    "CHG-01": (_said("config.change", key="settings", changed_fields=["x"]), {}),
    "CHG-02": (_twice, {}),
    "RPT-01": (
        _said(
            "report.generate",
            who=None,
            actor="system",
            role=None,
            target="report-2",
            framework="hipaa",
            period_from="x",
            period_to="y",
            digest="d",
        ),
        {},
    ),
}
"""By rule: what is said beside the good month, and what else of the evidence is other than good."""


@lru_cache(maxsize=100)
def _changed(rule: str) -> tuple[Trail, Facts]:
    change, changed = FIRING[rule]
    trail = good_trail()
    if change is not None:
        change(trail)
        trail.entries.sort(key=lambda each: (each["recorded_at"], each["id"]))
    documents = trail.documents()
    if "checkpoint_gap" in changed:
        day = "2026-03-10"
        documents[day]["checkpoints"]["gaps"] = [[f"{day}T{at}:00.000000Z" for at in changed["checkpoint_gap"]]]
    return trail, Facts(DAYS, documents)


@lru_cache(maxsize=500)
def firing(rule: str, framework: str) -> Evidence:
    """Evidence of which a rule has findings."""
    trail, facts = _changed(rule)
    given = {name: value for name, value in FIRING[rule][1].items() if name != "checkpoint_gap"}
    return good_evidence(framework, trail, facts=facts, **given)


def empty(framework: str) -> Evidence:
    """Evidence of a month in which nothing happened, nothing was looked at and no port tells anything."""
    nothing: dict[str, Any] = {"alerts": None, "requests": None, "accounts": None, "operations": None}
    return new_evidence(Trail(), framework, policies=Policies(), **nothing)


def quiet(framework: str) -> Evidence:
    """Evidence of a month in which one source was alive and nothing else happened, the ports telling so."""
    trail = Trail()
    for day in range(1, 32):
        trail.say("custom.tick", f"{day:02}T12:00", actor="service", who="key-1", role=None)
    return new_evidence(trail, framework)
