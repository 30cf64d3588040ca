"""Who is let through and what the trail says of who is not: the checks alone, over an embedded store."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.audit.model import Target
from shared.core.clock import rfc3339
from shared.core.errors import Forbidden, Invalid, Unauthenticated
from shared.identity.approvals import Approval, check_approval
from shared.identity.attempted import Attempted
from shared.identity.factor_policy import factor_due, is_fresh, requires_factor
from shared.identity.model import Role, ServicePrincipal
from shared.storage.containers import IDENTITY
from tests.fakes import ManualClock
from tests.identity.gate import ADA, BOB, ELSEWHERE, GRACE, HERE, MINUTE, NOBODY, Gate, refused


async def test_the_caller_is_who_the_token_says(gate: Gate) -> None:
    ada = await gate.caller()
    assert (ada.user_id, ada.tenant_id, ada.role, ada.email) == (ADA, HERE, Role.TENANT_ADMIN, "ada@example.com")
    assert (ada.user["kind"], ada.session["kind"], ada.tenant["kind"]) == ("user", "session", "tenant")
    assert ada.session["session_id"] == ada.session_id
    assert await gate.told("auth.token_rejected", "platform") == []


async def test_without_a_token_nothing_is_counted(gate: Gate) -> None:
    error = await refused(gate.access.authenticate(None, gate.request), Unauthenticated, "missing_token")
    assert error.detail == "This call needs a bearer token."
    assert await gate.told("auth.token_rejected", "platform") == []


@pytest.mark.parametrize(
    ("item", "fields", "reason"),
    [
        (f"user|{ADA}", {"status": "suspended"}, "user_inactive"),
        ("tenant", {"status": "suspended"}, "tenant_suspended"),
        (f"user|{ADA}", {"sessions_valid_from": "2026-03-15T12:00:00.000001Z"}, "session_ended"),
    ],
)
async def test_who_may_not_call_is_told_nothing_and_the_trail_why(
    gate: Gate, item: str, fields: dict[str, Any], reason: str
) -> None:
    await gate.change(item, **fields)
    error = await refused(gate.caller(), Unauthenticated, "invalid_token")
    assert error.detail == "The token is not valid."
    (event,) = await gate.told("auth.token_rejected", "platform")
    assert (event["reason"], event["context"]["request_id"]) == (reason, gate.request.request_id)
    assert (await gate.caller(GRACE)).user_id == GRACE, "another tenant's are not concerned"


@pytest.mark.parametrize("gone", ["user", "tenant", "session"])
async def test_what_is_gone_ends_the_session(gate: Gate, gone: str) -> None:
    ada = await gate.caller()
    item = {"user": f"user|{ADA}", "tenant": "tenant", "session": f"session|{ada.session_id}"}[gone]
    await gate.store.delete(IDENTITY, (HERE,), item)
    await refused(gate.caller(), Unauthenticated, "invalid_token")
    assert [each["reason"] for each in await gate.told("auth.token_rejected", "platform")] == ["session_ended"]


async def test_a_role_that_may_call_and_one_that_may_not(gate: Gate) -> None:
    ada, bob = await gate.caller(), await gate.caller(BOB)
    allowed = (Role.SYSTEM_ADMIN, Role.TENANT_ADMIN)
    await gate.access.require_role(ada, allowed, gate.request)
    assert await gate.told() == []
    error = await refused(gate.access.require_role(bob, allowed, gate.request), Forbidden, "forbidden")
    assert error.detail == "This call needs the role tenant_admin or above."
    assert await gate.last() == {
        "reason": "role",
        "actor": BOB,
        "target": None,
        "held_role": "user",
        "required_role": "tenant_admin",
    }


@pytest.mark.parametrize(
    ("enrollment_only", "mfa", "policy", "enrollment", "step_up", "minutes", "reason"),
    [
        (False, False, "off", False, True, None, None),
        (True, False, "off", False, False, None, "mfa_enrollment"),
        (True, False, "off", True, False, None, None),
        (False, False, "admins", False, False, None, "mfa_enrollment"),
        (False, False, "admins", True, False, None, None),
        (False, True, "admins", False, False, None, None),
        (False, True, "admins", False, True, None, "step_up"),
        (False, True, "admins", False, True, 15, None),
        (False, True, "admins", False, True, 15.01, "step_up"),
        (False, True, "admins", True, True, 16, "step_up"),
        (False, True, "off", False, True, 16, None),
    ],
)
async def test_a_second_factor_where_one_is_due(
    gate: Gate,
    enrollment_only: bool,
    mfa: bool,
    policy: str,
    enrollment: bool,
    step_up: bool,
    minutes: float | None,
    reason: str | None,
) -> None:
    ada = await gate.caller()
    shown_at = None if minutes is None else rfc3339(gate.clock.now() - timedelta(minutes=minutes))
    ada = replace(
        ada,
        user={**ada.user, "mfa": mfa},
        session={**ada.session, "enrollment_only": enrollment_only, "mfa_at": shown_at},
        tenant={**ada.tenant, "settings": {"require_mfa": policy}},
    )
    asked = gate.access.require_factor(
        ada, gate.request, lambda: Attempted("user", BOB), enrollment=enrollment, step_up=step_up
    )
    if reason is None:
        await asked
        assert await gate.told() == []
        return
    code, detail = {
        "step_up": ("step_up_required", "Show your second factor again first."),
        "mfa_enrollment": ("mfa_enrollment_required", "Enroll a second factor first."),
    }[reason]
    assert (await refused(asked, Forbidden, code)).detail == detail
    found = await gate.last()
    assert (found["reason"], found["target"], found["target_role"]) == (reason, {"kind": "user", "id": BOB}, "user")


def test_whom_a_policy_asks_for_a_factor() -> None:
    for policy, asked in (
        (None, set()),
        ("off", set()),
        ("admins", {Role.TENANT_ADMIN, Role.SYSTEM_ADMIN}),
        ("all", set(Role)),
        ("a word of later", set(Role)),
    ):
        settings = {} if policy is None else {"settings": {"require_mfa": policy}}
        assert {role for role in Role if requires_factor(settings, role)} == asked
        assert {role for role in Role if factor_due(settings, {"mfa": False, "role": role.value})} == asked
        assert not any(factor_due(settings, {"mfa": True, "role": role.value}) for role in Role)
    assert not requires_factor({"settings": {}}, Role.TENANT_ADMIN)


def test_a_factor_stays_fresh_for_15_minutes() -> None:
    now = ManualClock().now()
    assert not is_fresh({"mfa_at": None}, now)
    assert is_fresh({"mfa_at": rfc3339(now - 15 * MINUTE)}, now)
    assert not is_fresh({"mfa_at": rfc3339(now - 15 * MINUTE - timedelta(microseconds=1))}, now)


@pytest.mark.parametrize(
    ("attempt", "target", "target_role"),
    [
        (Attempted("user", BOB), {"kind": "user", "id": BOB}, "user"),
        (Attempted(oneself=True), {"kind": "user", "id": ADA}, "tenant_admin"),
        (Attempted("user", GRACE), None, None),
        (Attempted("user", NOBODY), None, None),
        (Attempted("user"), None, None),
        (Attempted(None, BOB), None, None),
        (Attempted("attempts", BOB), None, None),
        (None, None, None),
    ],
)
async def test_what_an_attempt_is_about(
    gate: Gate, attempt: Attempted | None, target: dict[str, str] | None, target_role: str | None
) -> None:
    """An id names a target only where it is of that kind, and of the caller's own tenant."""
    await gate.store.create(IDENTITY, (HERE,), {"id": f"attempts|{BOB}", "tenant_id": HERE, "kind": "counter"})
    await gate.access.denied(await gate.caller(), "role", gate.request, attempt, required_scope="events:write")
    found = await gate.last()
    assert (found["target"], found.get("target_role")) == (target, target_role)
    assert (found["held_role"], found["required_scope"]) == ("tenant_admin", "events:write")


async def test_what_is_no_user_has_no_role(gate: Gate) -> None:
    held = {"id": f"session|{NOBODY}", "tenant_id": HERE, "kind": "session", "role": "auditor"}
    await gate.store.create(IDENTITY, (HERE,), held)
    await gate.access.denied(await gate.caller(), "role", gate.request, Attempted("session", NOBODY))
    found = await gate.last()
    assert found["target"] == {"kind": "session", "id": NOBODY}
    assert "target_role" not in found


async def test_a_program_is_nobody_to_be_oneself(gate: Gate) -> None:
    program = ServicePrincipal(NOBODY, HERE, frozenset())
    await gate.access.denied(program, "scope", gate.request, Attempted(oneself=True))
    (event,) = await gate.told()
    assert (event["target"], event["actor"]) == (None, {"kind": "service", "id": NOBODY, "role": None})
    assert event["attributes"]["held_role"] == "service"


async def test_what_was_tried_is_sealed_under_whom_it_was_about(gate: Gate) -> None:
    attempt = Attempted("user", BOB, fields=("company", "role"), role=Role.AUDITOR, values={"company": "Example"})
    await gate.access.denied(await gate.caller(), "role", gate.request, attempt)
    (event,) = await gate.told()
    assert event["attributes"]["attempted_fields"] == ["company", "role"]
    assert event["attributes"]["attempted_role"] == "auditor"
    assert event["personal"][BOB]["data"]["attempted"] == {"company": "Example"}
    assert event["personal"][BOB]["data"]["email"] == "bob@example.com"
    assert event["personal"][ADA]["data"]["ip"] == "192.0.2.1"
    assert "attempted" not in event["personal"][ADA]["data"]


async def test_a_change_that_a_rule_refuses(gate: Gate) -> None:
    ada = await gate.caller()
    tried = {"role": "system_admin", "company": "Example"}
    target = Target("user", BOB, "bob@example.com")
    error = await gate.access.refused(
        ada, target, "self", tried, gate.request, target_role="user", required=Role.SYSTEM_ADMIN
    )
    assert (error.code, error.detail) == ("forbidden", "The caller's role does not allow this change.")
    assert await gate.last() == {
        "reason": "self",
        "actor": ADA,
        "target": {"kind": "user", "id": BOB},
        "held_role": "tenant_admin",
        "required_role": "system_admin",
        "attempted_fields": ["company", "role"],
        "attempted_role": "system_admin",
        "target_role": "user",
    }
    (event,) = await gate.told()
    assert event["personal"][BOB]["data"]["attempted"] == tried


async def test_a_change_that_nobody_could_make_names_no_role(gate: Gate) -> None:
    target = Target("user", BOB)
    await gate.access.refused(await gate.caller(), target, "self", {"status": "suspended"}, gate.request)
    found = await gate.last()
    assert found["attempted_fields"] == ["status"]
    assert not {"required_role", "attempted_role", "target_role"} & found.keys()


async def test_an_id_of_another_tenant_is_recorded_as_such_and_looks_like_nobodys(gate: Gate) -> None:
    ada, answers = await gate.caller(), []
    for wanted, type_, reason in (
        (GRACE, "access.cross_tenant_denied", "cross_tenant"),
        (NOBODY, "access.denied", "unknown_id"),
        (BOB, "access.denied", "unknown_id"),
    ):
        error = await gate.access.unknown_id(ada, "user", wanted, gate.request)
        answers.append((error.status, error.code, error.detail))
        event = (await gate.told(type_))[-1]
        assert (event["reason"], event["outcome"], event["target"]["id"]) == (reason, "denied", wanted)
        assert event["target"]["kind"] == "user"
        gate.clock.advance(seconds=1)
    assert set(answers) == {(404, "not_found", "There is nothing of that id.")}
    assert {each["attributes"]["held_role"] for each in await gate.told()} == {"tenant_admin"}
    assert await gate.told("access.cross_tenant_denied", ELSEWHERE) == [], "whose it is is not told"


@pytest.mark.parametrize(
    ("approver", "concerned", "code"),
    [(ADA, None, "self"), (BOB, BOB, "concerned"), (GRACE, None, "unknown"), (NOBODY, None, "unknown")],
)
async def test_who_cannot_have_approved(gate: Gate, approver: str, concerned: str | None, code: str) -> None:
    checking = check_approval(gate.store, await gate.caller(), Approval(approver), concerned)
    error = await refused(checking, Invalid, "invalid_request")
    assert error.detail == "Some fields are not as they must be."
    (fault,) = error.errors
    assert (fault.field, fault.code) == ("approved_by", code)
    assert fault.message in {
        "is whoever makes the change: somebody else has to approve it",
        "is whom the change is about: somebody else has to approve it",
        "is no user of the organization",
    }


async def test_who_can_have_approved(gate: Gate) -> None:
    ada = await gate.caller()
    await check_approval(gate.store, ada, Approval(BOB, "CHG-1"))
    await check_approval(gate.store, ada, Approval(BOB), ADA)
    await check_approval(gate.store, ada, Approval(None, "CHG-1"), BOB)
    assert Approval(BOB, "CHG-1").attributes == {"approved_by": BOB, "ticket": "CHG-1"}
