"""Made-up trails for tests of compliance: events are said in a word, and become facts and evidence without a store."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from shared.audit.entries import entry_of
from shared.compliance.evidence import (
    Account,
    AlertRow,
    Evidence,
    LedgerState,
    Operations,
    Organization,
    Period,
    Policies,
    RequestRow,
    Seed,
)
from shared.compliance.facts.fold import fold
from shared.compliance.facts.merged import Facts
from shared.compliance.report_model import Gate, GateCheck, Shard
from shared.compliance.thresholds import thresholds_for
from shared.core.clock import rfc3339
from shared.core.ids import IdFactory
from tests.fakes import ManualClock

TENANT = "0195c000-0000-7000-8000-0000000000aa"
FROM, TO = date(2026, 3, 1), date(2026, 4, 1)
PERIOD = Period(FROM, TO)
DAYS = PERIOD.days
CHECKS = ("checkpoint", "counted", "facts", "unbroken", "checked", "chained", "retained")
CLASSES = ("personal", "confidential", "phi", "cardholder")
PASSED = Gate(True, tuple(GateCheck(name, name, True, "as it must be") for name in CHECKS))


def failed(*names: str) -> Gate:
    """A gate of which some checks failed."""
    return Gate(False, tuple(GateCheck(name, name, name not in names, "not so") for name in CHECKS))


class Trail:
    """Events of one organization, in the order in which they are said."""

    def __init__(self) -> None:
        self._ids = IdFactory(ManualClock(), random.Random(5).getrandbits)  # noqa: S311 - reproducible on purpose
        self.entries: list[dict[str, Any]] = []

    def say(
        self,
        kind: str,
        at: str = "02T12:00",
        *,
        outcome: str = "success",
        reason: str | None = None,
        who: str | None = "ada",
        role: str | None = "tenant_admin",
        actor: str = "user",
        target: str | None = "thing",
        about: Sequence[str] = (),
        data_class: str = "none",
        records: int = 1,
        late_seconds: int = 0,
        session: str | None = None,
        origin: tuple[str, str] = ("api_key", "key-1"),
        sealed: bool = True,
        request: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add an event of March 2026, recorded at `DDTHH:MM[:SS]`; its id."""
        moment = datetime.fromisoformat(f"2026-03-{at}").replace(tzinfo=UTC)
        event_id = self._ids.new(moment)
        self.entries.append(
            {
                "schema": 1,
                "id": event_id,
                "tenant_id": TENANT,
                "period": "2026-03",
                "type": kind,
                "outcome": outcome,
                "reason": reason,
                "severity": "info",
                "recorded_at": rfc3339(moment),
                "occurred_at": rfc3339(moment - timedelta(seconds=late_seconds)),
                "actor": {"kind": actor, "id": who, "role": role},
                "target": None if target is None else {"kind": "user", "id": target},
                "subjects": list(about),
                "source": {"kind": origin[0], "id": origin[1]},
                "context": {
                    "request_id": request or event_id,
                    "trace_id": None,
                    "session_id": session,
                    "route": "GET /v1/x",
                    "duration_ms": 1,
                },
                "data_class": data_class,
                "record_count": records,
                "attributes": attributes,
                "commitments": {"ada": "c"} if sealed else {},
            }
        )
        return event_id

    def login(self, who: str, at: str, outcome: str = "success", *, mfa: bool = True, reason: str | None = None) -> str:
        """A sign-in, with a second factor unless it is said otherwise."""
        request = f"r{len(self.entries)}"
        if outcome == "success" and mfa:
            self.say("mfa.challenge", at, who=who, target=who, request=request, factor="totp")
        wrong = reason or "bad_credentials"
        return self.say(
            "auth.login",
            at,
            outcome=outcome,
            reason=None if outcome == "success" else wrong,
            who=who if outcome == "success" else None,
            actor="user" if outcome == "success" else "anonymous",
            role="user" if outcome == "success" else None,
            target=who,
            request=request,
            attempt_count=0,
        )

    def documents(self) -> dict[str, dict[str, Any]]:
        """The facts of each day, as a sealer's order gives them."""
        days: dict[str, list[tuple[int, bytes]]] = {}
        for index, entry in enumerate(self.entries):
            days.setdefault(entry["recorded_at"][:10], []).append((index, entry_of(entry)))
        return {day: fold(day, sealed) | {"checkpoints": _signed(day)} for day, sealed in sorted(days.items())}

    def facts(self) -> Facts:
        """The facts of the period."""
        return Facts(DAYS, self.documents())


def _signed(day: str, *gaps: tuple[str, str]) -> dict[str, Any]:
    """Checkpoints from midnight to midnight, with these times between them that are longer."""
    told = [[f"{day}T{since}:00.000000Z", f"{day}T{until}:00.000000Z"] for since, until in gaps]
    return {"n": 288, "first": f"{day}T00:00:00.000000Z", "last": f"{day}T23:59:00.000000Z", "gaps": told}


def new_evidence(trail: Trail, framework: str = "soc2", facts: Facts | None = None, **changed: Any) -> Evidence:
    """Evidence of a trail: the gate passed, every port told that there is nothing, settings are strict."""
    facts = facts or trail.facts()
    size = len(trail.entries)
    shard = Shard("2026-03", size, "cm9vdA==", "note", size, 0 if size else None, size - 1 if size else None)
    given = Evidence(
        framework=framework,
        organization=Organization(TENANT, "Example", "2026-02-01T00:00:00.000000Z"),
        period=PERIOD,
        facts=facts,
        gate=PASSED,
        shards=(shard,),
        ledger=LedgerState(2555, "2026-02"),
        policies=Policies(
            lockout_failures=10,
            lockout_minutes=30,
            password_min_length=12,
            password_history=4,
            session_idle_minutes=15,
            require_mfa="all",
            retention_days=2555,
            sources=("api_key:key-1",),
            on_call=frozenset({"ada"}),
            data_roles=dict.fromkeys(CLASSES, ("tenant_admin", "service", "user")),
        ),
        thresholds=thresholds_for(framework, {}),
        alerts=(),
        requests=(),
        accounts=(),
        operations=Operations(frozenset(DAYS), (), 1),
        last_review_at="2026-03-02T00:00:00.000000Z",
        seed=Seed("2026-03", size, "cm9vdA==") if size else None,
    )
    return dataclasses.replace(given, **changed)


def account(name: str = "ada", **changed: Any) -> Account:
    """An account in order."""
    given = Account(name, "user", "active", True, "2026-02-01T00:00:00.000000Z", "2026-03-20T00:00:00.000000Z")
    return dataclasses.replace(given, **changed)


def alert(name: str = "alert-1", **changed: Any) -> AlertRow:
    """An alert that was seen and closed within hours."""
    at = "2026-03-10T{:02}:00:00.000000Z"
    given = AlertRow(
        id=name,
        pattern="brute_force",
        severity="high",
        key="ada",
        raised_at=at.format(8),
        first_seen=at.format(7),
        last_seen=at.format(8),
        acknowledged_at=at.format(9),
        closed_at=at.format(12),
        closed_note=True,
    )
    return dataclasses.replace(given, **changed)


def request(name: str = "request-1", **changed: Any) -> RequestRow:
    """A request that was answered in time."""
    given = RequestRow(
        name,
        "erasure",
        "patient-9",
        "executed",
        "2026-03-03T00:00:00.000000Z",
        "2026-04-03T00:00:00.000000Z",
        "2026-03-05T12:00:00.000000Z",
        False,
    )
    return dataclasses.replace(given, **changed)


def good_trail() -> Trail:
    """A month in which everything happened that a control may ask for, and nothing that a rule may find."""
    trail = Trail()
    for day in range(1, 32):
        at = f"{day:02}T"
        trail.say(
            "report.generate",
            f"{at}01:00",
            who=None,
            actor="system",
            role=None,
            framework="activity",
            period_from=f"2026-03-{day:02}",
            period_to="",
            digest="d",
        )
        trail.say("system.heartbeat", f"{at}02:00", who=None, actor="system", role=None, source="detect_threats")
        trail.say(
            "data.read", f"{at}10:00", data_class="phi", about=["patient-1"], purpose="care", legal_basis="consent"
        )
        trail.say("profile.view", f"{at}11:00", target="ada", session=f"s-{day}")
    _people(trail)
    trail.say("data.create", "09T09:00", actor="service", who="billing", role=None, data_class="confidential")
    trail.login("ada", "09T08:00")
    for data_class in CLASSES:
        for op in ("read", "create", "update"):
            trail.say(
                f"data.{op}",
                "09T10:00",
                data_class=data_class,
                about=["patient-1"],
                purpose="care",
                legal_basis="consent",
            )
        trail.say(
            "data.delete", "09T11:00", data_class=data_class, about=["patient-1"], reason="due", legal_basis="law"
        )
        trail.say(
            "data.export",
            "09T12:00",
            data_class=data_class,
            about=["patient-1"],
            purpose="care",
            recipient="clinic.example.com",
            legal_basis="contract",
            description="summary",
        )
    trail.say("access.denied", "10T08:00", outcome="denied", reason="role")
    trail.say("access.cross_tenant_denied", "10T09:00", outcome="denied")
    trail.say("privacy.export", "11T08:00", target="ada", request_id="r-1", counts={})
    trail.say("privacy.erasure", "11T09:00", target="patient-9", reason="executed", request_id="request-1", counts={})
    trail.say("consent.grant", "11T10:00", about=["patient-1"], purpose="care", version="1")
    trail.say("consent.withdraw", "11T11:00", about=["patient-2"], purpose="care", version="1")
    trail.say(
        "incident.record",
        "12T10:00",
        target="alert-1",
        aware_at="2026-03-10T09:00:00.000000Z",
        decision="not reportable",
        authority_notified_at=None,
    )
    trail.say(
        "alert.raise",
        "10T08:00",
        who=None,
        actor="system",
        role=None,
        target="alert-1",
        pattern="brute_force",
        severity="high",
    )
    for status in ("acknowledged", "resolved"):
        trail.say(
            "alert.update",
            "10T12:00",
            target="alert-1",
            pattern="brute_force",
            severity="high",
            old_status="open",
            new_status=status,
        )
    for kind in ("audit.search", "audit.export", "report.read"):
        trail.say(kind, "13T10:00", role="auditor", who="carl", target=None)
    trail.say("ledger.checkpoint", "09T00:10", who=None, actor="system", role=None, period="2026-02", size=1, root="r")
    trail.say(
        "system.error",
        "14T00:10",
        outcome="error",
        who=None,
        actor="system",
        role=None,
        source="service",
        error_code="x",
    )
    trail.entries.sort(key=lambda each: (each["recorded_at"], each["id"]))
    return trail


def _people(trail: Trail) -> None:
    """Accounts that come, change, sign in and go."""
    trail.say("auth.register", "02T08:00", target="bob")
    trail.say("user.invite", "02T08:10", target="invitation", approved_by="eve")
    trail.entries[-1]["attributes"]["role"] = "user"
    trail.login("ada", "02T09:00")
    trail.login("bob", "02T09:30", "failure")
    trail.login("bob", "02T09:31", mfa=True)
    trail.say("auth.token_refresh", "02T09:40", session="s-1")
    trail.say("auth.token_refresh", "02T09:41", outcome="failure", reason="expired")
    trail.say("auth.logout", "02T09:50", session_seconds=10)
    trail.say("auth.account_locked", "03T09:00", who=None, actor="anonymous", role=None, target="mallory")
    trail.say("user.unlock", "03T09:10", target="mallory")
    trail.say("auth.password_change", "04T09:00", target="bob", who="bob", role="user")
    trail.say("auth.password_change", "04T09:01", outcome="failure", reason="refused", who="bob", role="user")
    trail.say("profile.update", "04T09:05", who="bob", role="user", changed_fields=["phone"])
    trail.say("user.view", "05T09:00", target="bob")
    trail.say("user.list", "05T09:01", target=None)
    trail.say("user.update", "05T09:02", target="bob", changed_fields=["phone"], approved_by="eve")
    trail.say("user.role_change", "05T09:03", target="bob", old_role="viewer", new_role="auditor", approved_by="eve")
    trail.say(
        "user.status_change",
        "06T09:03",
        target="dan",
        old_status="active",
        new_status="suspended",
        approved_by="eve",
        left_at="2026-03-06T09:03:00.000000Z",
    )
    trail.say("user.delete", "06T09:04", target="frank")
    trail.say(
        "config.change", "07T09:00", key="settings", changed_fields=["require_mfa"], ticket="CHG-1", approved_by="eve"
    )
    trail.say("apikey.create", "07T09:01", target="key-1", scopes=["events:write"], approved_by="eve")
    trail.say("review.complete", "08T09:00", population=3, keep=2, change=1, remove=0)
    trail.say(
        "report.generate",
        "08T10:00",
        who=None,
        actor="system",
        role=None,
        target="report-1",
        framework="soc2",
        period_from="2026-02-01",
        period_to="2026-03-01",
        digest="d",
    )
    trail.say(
        "report.sign_off", "08T11:00", target="report-1", framework="soc2", period_from="", period_to="", digest="d"
    )


def good_evidence(framework: str, trail: Trail | None = None, **changed: Any) -> Evidence:
    """Evidence of the good month, with alerts, requests and accounts in order."""
    told: dict[str, Any] = {
        "alerts": (alert(),),
        "requests": (request(), request("r-1", kind="access", subject="ada")),
        "accounts": (account("ada", passwords=("2026-02-10T00:00:00.000000Z",)), account("bob", mfa=False)),
    }
    return new_evidence(trail or good_trail(), framework, **(told | changed))
