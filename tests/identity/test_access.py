"""Who is let through and what the trail says of who is not: the checks alone, over an embedded store."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from shared.audit.model import RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import rfc3339
from shared.core.errors import Forbidden, Invalid, NotFoundError, Unauthenticated
from shared.core.ids import IdFactory
from shared.identity.access import Access
from shared.identity.api_keys import ApiKeys
from shared.identity.approvals import Approval, check_approval
from shared.identity.attempted import Attempted
from shared.identity.directory import Directory, Entry
from shared.identity.factor_policy import factor_due, is_fresh, requires_factor
from shared.identity.model import Applicant, Principal, Role, ServicePrincipal, new_tenant, new_user
from shared.identity.rejections import Rejections
from shared.identity.sessions import SessionLimits, Sessions
from shared.identity.tokens import AccessTokens
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS, IDENTITY
from shared.storage.documents import Eq, Item, PatchSet, Query
from shared.storage.sqlite import SqliteStore
from tests.fakes import ClearBox, ManualClock

HERE, ELSEWHERE = "0195c000-0000-7000-8000-0000000000aa", "0195c000-0000-7000-8000-0000000000bb"
ADA, BOB, GRACE = (f"0195c000-0000-7000-8000-0000000000{n}" for n in ("a1", "b1", "c1"))
NOBODY = "0195c000-0000-7000-8000-0000000000ff"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass
class Gate:
    """Two tenants: ada, an administrator, and bob are of one, grace of the other; each has a session."""

    store: SqliteStore
    clock: ManualClock
    access: Access
    keys: ApiKeys
    sessions: Sessions
    request: RequestContext
    tokens: dict[str, str]

    async def change(self, item_id: str, tenant_id: str = HERE, **fields: Any) -> None:
        """What stands in the store from now on."""
        sets = [PatchSet(name, value) for name, value in fields.items()]
        await self.store.patch(IDENTITY, (tenant_id,), item_id, sets)

    async def caller(self, user_id: str = ADA) -> Principal:
        """Who calls with that user's token."""
        return await self.access.authenticate(self.tokens[user_id], self.request)

    async def told(self, type_: str = "access.denied", tenant_id: str = HERE) -> list[Item]:
        """The events of a type."""
        query = Query((Eq("type", type_),), order_by="recorded_at", limit=100)
        return (await self.store.query(AUDIT_EVENTS, (tenant_id,), query)).items

    async def last(self, type_: str = "access.denied") -> dict[str, Any]:
        """The one event of a type: what it says beside when and where, without what is not there."""
        (event,) = await self.told(type_)
        assert event["outcome"] == "denied"
        said = {name: value for name, value in event["attributes"].items() if value}
        return {"reason": event["reason"], "actor": event["actor"]["id"], "target": event["target"], **said}


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    clock, secrets = ManualClock(), MemorySecrets()
    store = await SqliteStore.open(None, clock=clock)
    ids, index = IdFactory(clock), BlindIndex(secrets, "v1")
    recorder = Recorder(store, clock, ids, ClearBox(), index)
    outbox = Outbox(store, recorder, clock, ids)
    tokens = AccessTokens(secrets, clock, 15 * MINUTE)
    rejections = Rejections(store, recorder, outbox, index, clock, terms_version="1", privacy_version="1")
    directory = Directory(store, index, clock)
    access = Access(store, recorder, tokens, directory, rejections, clock)
    sessions = Sessions(tokens, clock, ids, SessionLimits(30 * 24 * HOUR, 24 * HOUR))
    request = RequestContext(ids.new(), "GET /v1/x", "x", clock.now(), ip="192.0.2.1", user_agent="pytest")
    shown = {}
    for tenant_id in (HERE, ELSEWHERE):
        await store.create(IDENTITY, (tenant_id,), new_tenant(tenant_id, "Example", clock.now()))
    for user_id, tenant_id, name, role in (
        (ADA, HERE, "ada", Role.TENANT_ADMIN),
        (BOB, HERE, "bob", Role.USER),
        (GRACE, ELSEWHERE, "grace", Role.TENANT_ADMIN),
    ):
        applicant = Applicant(
            email=f"{name}@example.com", password="", first_name=name, last_name="L", marketing_opt_in=False
        )
        entry = Entry(tenant_id, user_id)
        user = new_user(user_id, tenant_id, applicant, role, "-", clock.now())
        session, made = await sessions.draft(user)
        await store.create(IDENTITY, (tenant_id,), user)
        await store.create(IDENTITY, (tenant_id,), session)
        await directory.confirm(await directory.reserve(applicant.email, entry), entry)
        shown[user_id] = made.access_token
    keys = ApiKeys(store, recorder, outbox, access, clock, ids)
    yield Gate(store, clock, access, keys, sessions, request, shown)
    await store.close()


async def refused(doing: Any, status: type[Any], code: str) -> Any:
    with pytest.raises(status) as caught:
        await doing
    assert caught.value.code == code
    return caught.value


async def test_the_caller_is_who_the_token_says(gate: Gate) -> None:
    ada = await gate.caller()
    assert (ada.user_id, ada.tenant_id, ada.role, ada.email) == (ADA, HERE, Role.TENANT_ADMIN, "ada@example.com")
    assert (ada.user["kind"], ada.session["kind"], ada.tenant["kind"]) == ("user", "session", "tenant")
    assert ada.session["session_id"] == ada.session_id
    assert await gate.told("auth.token_rejected", "platform") == []


async def test_without_a_token_nothing_is_counted(gate: Gate) -> None:
    error = await refused(gate.access.authenticate(None, gate.request), Unauthenticated, "missing_token")
    assert "bearer token" in error.detail
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
    allowed = (Role.SYSTEM_ADMIN, Role.AUDITOR, Role.TENANT_ADMIN)
    await gate.access.require_role(ada, allowed, gate.request)
    assert await gate.told() == []
    error = await refused(gate.access.require_role(bob, allowed, gate.request), Forbidden, "forbidden")
    assert error.detail == "This call needs the role auditor or above."
    assert await gate.last() == {
        "reason": "role",
        "actor": BOB,
        "target": None,
        "held_role": "user",
        "required_role": "auditor",
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
    (fault,) = (await refused(checking, Invalid, "invalid_request")).errors
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


async def made(gate: Gate, **given: Any) -> tuple[Item, str]:
    asked: dict[str, Any] = {"name": "feed", "scopes": ["alerts:read"], "expires_at": None, **given}
    return await gate.keys.make(await gate.caller(), request=gate.request, **asked)


async def test_a_key_is_its_tenants_and_does_what_its_scopes_say(gate: Gate) -> None:
    expires = gate.clock.now() + HOUR
    item, text = await made(gate, scopes=["reports:read", "alerts:read"], expires_at=expires)
    assert {name: value for name, value in item.items() if name not in ("id", "key_id", "secret_hash")} == {
        "tenant_id": HERE,
        "kind": "api_key",
        "name": "feed",
        "scopes": ["alerts:read", "reports:read"],
        "created_by": ADA,
        "created_at": rfc3339(gate.clock.now()),
        "expires_at": rfc3339(expires),
        "last_used_at": None,
        "last_sent_at": None,
        "silent_since": None,
    }
    (event,) = await gate.told("apikey.create")
    assert (event["actor"]["id"], event["target"]) == (ADA, {"kind": "api_key", "id": item["key_id"]})
    assert event["attributes"] == {"scopes": ["alerts:read", "reports:read"], "expires_at": rfc3339(expires)}

    program = await gate.keys.authenticate(text, gate.request)
    assert program == ServicePrincipal(item["key_id"], HERE, frozenset({"alerts:read", "reports:read"}))
    await gate.keys.require_scope(program, "alerts:read", gate.request)
    assert await gate.told() == []
    for scope, detail in (
        ("events:write", "This call needs the scope events:write."),
        (None, "This call is not for API keys."),
    ):
        error = await refused(gate.keys.require_scope(program, scope, gate.request), Forbidden, "forbidden")
        assert error.detail == detail
        event = (await gate.told())[-1]
        assert (event["reason"], event["attributes"]["required_scope"]) == ("scope", scope)
        assert event["actor"] == {"kind": "service", "id": item["key_id"], "role": None}
        gate.clock.advance(seconds=1)


async def test_a_key_says_what_it_sent_last(gate: Gate) -> None:
    item, text = await made(gate)
    await gate.change(
        item["id"], last_sent_at="2026-03-15T11:00:00.000000Z", silent_since="2026-03-15T11:30:00.000000Z"
    )
    program = await gate.keys.authenticate(text, gate.request)
    assert (program.last_sent_at, program.silent) == ("2026-03-15T11:00:00.000000Z", True)


async def test_a_key_that_is_over_before_it_begins_is_refused(gate: Gate) -> None:
    now = gate.clock.now()
    (fault,) = (await refused(made(gate, expires_at=now), Invalid, "invalid_request")).errors
    assert (fault.field, fault.code, fault.message) == ("expires_at", "past", "must be in the future")
    await made(gate, expires_at=now + timedelta(microseconds=1))
    await refused(made(gate, approval=Approval(ADA)), Invalid, "invalid_request")
    assert len(await gate.told("apikey.create")) == 1


async def test_a_key_that_does_not_hold(gate: Gate) -> None:
    item, text = await made(gate, expires_at=gate.clock.now() + HOUR)
    other, another = await made(gate)
    swapped = text.rpartition(".")[0] + "." + another.rpartition(".")[2]
    foreign = text.replace(HERE, ELSEWHERE)
    wrong = [("", "malformed"), (text[:-1], "malformed"), (swapped, "api_key_unknown"), (foreign, "api_key_unknown")]

    async def reason_for(key: str) -> str:
        await refused(gate.keys.authenticate(key, gate.request), Unauthenticated, "invalid_token")
        gate.clock.advance(seconds=61)  # one a minute is recorded by itself
        return str((await gate.told("auth.token_rejected", "platform"))[-1]["reason"])

    for key, reason in wrong:
        assert await reason_for(key) == reason
    gate.clock.set(gate.clock.now().replace(hour=13, minute=0, second=0, microsecond=0) - timedelta(microseconds=1))
    assert (await gate.keys.authenticate(text, gate.request)).key_id == item["key_id"]
    gate.clock.advance(seconds=1e-6)
    assert await reason_for(text) == "expired"
    assert (await gate.keys.authenticate(another, gate.request)).key_id == other["key_id"]
    await gate.change("tenant", status="suspended")
    assert await reason_for(another) == "tenant_suspended"


async def test_the_use_of_a_key_is_noted_once_an_hour(gate: Gate) -> None:
    item, text = await made(gate)
    noted = []
    for minutes in (0, 59, 1, 59, 1):
        gate.clock.advance(minutes=minutes)
        await gate.keys.authenticate(text, gate.request)
        held = await gate.store.read(IDENTITY, (HERE,), item["id"])
        noted.append(held["last_used_at"])
    start = gate.clock.now() - 2 * HOUR
    assert noted == [rfc3339(start + n * HOUR) for n in (0, 0, 1, 1, 2)]


async def test_keys_are_listed_newest_first_and_end_at_once(gate: Gate) -> None:
    first, text = await made(gate)
    gate.clock.advance(seconds=1)
    second, _ = await made(gate, name="second")
    page = await gate.keys.page(HERE, limit=1, after=None)
    assert [each["key_id"] for each in page.items] == [second["key_id"]]
    rest = await gate.keys.page(HERE, limit=5, after=page.next)
    assert [each["key_id"] for each in rest.items] == [first["key_id"]]
    assert (await gate.keys.page(ELSEWHERE, limit=5, after=None)).items == []

    await gate.keys.revoke(await gate.caller(), first["key_id"], gate.request)
    await refused(gate.keys.authenticate(text, gate.request), Unauthenticated, "invalid_token")
    (event,) = await gate.told("apikey.revoke")
    assert (event["target"], event["actor"]["id"]) == ({"kind": "api_key", "id": first["key_id"]}, ADA)
    assert event["attributes"] == {"scopes": ["alerts:read"]}


async def test_another_tenants_key_is_nobodys_to_end(gate: Gate) -> None:
    item, text = await made(gate)
    revoking = gate.keys.revoke(await gate.caller(GRACE), item["key_id"], gate.request)
    await refused(revoking, NotFoundError, "not_found")
    (event,) = await gate.told("access.denied", ELSEWHERE)
    assert (event["reason"], event["target"]) == ("unknown_id", {"kind": "api_key", "id": item["key_id"]})
    assert (await gate.keys.authenticate(text, gate.request)).tenant_id == HERE
