"""The judge on one account of a few events: its fields, sessions, invitations and roles; and on signs of life."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.chaos.checks import Snapshot
from tests.chaos.checks.calls import check_calls
from tests.chaos.checks.kinds import WORKING, check_kinds
from tests.chaos.checks.model import email_id
from tests.chaos.checks.own_work import check_own_work
from tests.chaos.checks.state import check_state
from tests.chaos.journal import Attempt

TOY = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASHES = {password: TOY.hash(password) for password in ("first", "second", "third", "fourth", "fifth")}
CONSENT = {"granted": True, "version": "1", "at": "a time"}
NAMES = {"first_name": "Some", "last_name": "Body"}
INVITED = {"email": "g@example.com", "role": "user"}

type Item = dict[str, Any]


def event(trace: str | None, kind: str, target: str = "u", **attributes: Any) -> Item:
    return {
        "id": f"{trace} {kind} {target} {attributes}",
        "tenant_id": "t",
        "type": kind,
        "outcome": "success",
        "recorded_at": "2026-11-01T15:30:00.000000Z",
        "actor": {"kind": "user", "id": "u"},
        "target": {"kind": "user", "id": target},
        "source": {"kind": "session", "id": "s"},
        "context": {"trace_id": trace, "request_id": "r", "session_id": "s", "route": "PUT /v1/admin/users/{id:guid}"},
        "attributes": attributes,
    }


def attempt(number: int, call: str, status: int = 200, seen: Item | None = None, **told: Any) -> Attempt:
    given = {"user": "u", "tenant": "t", "session": "s", "asked": "PUT /admin/users/" + ID, **told}
    return Attempt(str(number), number, call, given, status, seen or {})


ID = "11111111-1111-7111-8111-111111111111"
JOINED = Attempt(
    *("1", 1, "register", {"email": "e@example.com", "value": "first", "organization": "o", **NAMES}, 201),
    {"user": "u", "session": "s", "secret_hash": "a hash"},
)
BEGUN = [
    event("1", "auth.register", organization=True),
    *(event("1", "consent.grant", purpose=purpose, version="1") for purpose in ("terms", "privacy")),
]
USER: Item = {
    **{"id": "user|u", "kind": "user", "user_id": "u", "tenant_id": "t", "email": "e@example.com", **NAMES},
    **{"role": "tenant_admin", "status": "active", "password_hash": HASHES["first"], "mfa": False},
    **dict.fromkeys(("phone", "company", "job_title", "location", "website", "bio")),
    **{"search_email": "e@example.com", "search_name": "some body", "search_last_name": "body"},
    "consents": {"terms": CONSENT, "privacy": CONSENT},
}
TENANT: Item = {"id": "tenant", "kind": "tenant", "tenant_id": "t", "name": "o", "status": "active", "admins": 1}
SESSION: Item = {
    **{"id": "session|s", "kind": "session", "session_id": "s", "user_id": "u", "tenant_id": "t"},
    **{"enrollment_only": False, "mfa_at": None, "refresh_hash": "a hash"},
}


def found(
    events: Sequence[Item] = (), asked: Sequence[Attempt] = (), *more: Item, user: Item = USER, tenant: Item = TENANT
) -> list[str]:
    """What the judge finds in the state, beside one account that is as it began."""
    items = {
        "audit_events": [*BEGUN, *events],
        "identity": [user, tenant, *(more or (SESSION,))],
        "directory": [
            {"id": email_id(bytes(32), "e@example.com"), "state": "confirmed", "user_id": "u", "tenant_id": "t"},
            {"id": "user|u", "tenant_id": "t"},
        ],
        "tenants": [{"id": "t"}],
    }
    return [each.check for each in check_state(Snapshot(items), [JOINED, *asked])]


def test_an_account_as_it_began_is_right() -> None:
    assert found() == []


@pytest.mark.parametrize("field", [*sorted(USER.keys() - {"kind", "user_id"}), "another"])
def test_each_field_of_an_account_follows_from_its_events(field: str) -> None:
    other = {} if field == "consents" else "forged"
    assert "change_without_event" in found(user={**USER, field: other})


@pytest.mark.parametrize("field", [*sorted(TENANT.keys() - {"kind", "tenant_id"}), "settings"])
def test_each_field_of_an_organization_follows_from_its_events(field: str) -> None:
    assert found(tenant={**TENANT, field: {"forged": True}}) == ["change_without_event"]


@pytest.mark.parametrize(("told_of", "holds"), [([], None), (["2"], "one"), (["3"], "two"), (["2", "3"], "two")])
def test_a_field_is_what_the_last_change_with_an_event_made_it(told_of: list[str], holds: str | None) -> None:
    values = ((2, "one"), (3, "two"))
    asked = [attempt(n, "profile_update", 503, field="bio", value=value) for n, value in values]
    events = [event(each, "profile.update") for each in told_of]
    for stored in (None, "one", "two"):
        wanted = [] if stored == holds else ["change_without_event"]
        assert found(events, asked, user={**USER, "bio": stored}) == wanted


def password(number: int, value: str, status: int) -> Attempt:
    return attempt(number, "password", status, field="password", value=value)


@pytest.mark.parametrize(
    ("changes", "told_of", "holds"),
    [
        ([], [], ["first"]),
        ([password(2, "second", 204)], ["2"], ["second", "first"]),
        ([password(2, "second", 204)], [], ["second", "first"]),
        ([password(2, "second", 0)], ["2"], ["second", "first"]),
        ([password(2, "second", 503)], [], ["first"]),
        ([password(2, "second", 403)], [], ["first"]),
        ([password(2, "second", 204), password(3, "third", 503)], ["2"], ["second", "first"]),
        (
            [password(n, value, 204) for n, value in enumerate(("second", "third", "fourth", "fifth"), 2)],
            ["2", "3", "4", "5"],
            ["fifth", "fourth", "third", "second"],
        ),
    ],
)
def test_the_passwords_are_the_last_that_were_set(changes: list[Attempt], told_of: list[str], holds: list[str]) -> None:
    events = [event(each, "auth.password_change") for each in told_of]
    last, *former = (HASHES[each] for each in holds)
    kept = {"password_history": former} if former else {}
    assert found(events, changes, user={**USER, "password_hash": last, **kept}) == []
    for stored in (*HASHES.values(), "no hash at all"):
        wanted = [] if stored == last else ["change_without_event"]
        assert found(events, changes, user={**USER, "password_hash": stored, **kept}) == wanted
    if former:
        assert found(events, changes, user={**USER, "password_hash": last}) == ["change_without_event"]


OTHERS: Item = {"tenant_id": "other"}
SECOND = [
    {**USER, **OTHERS},
    {**TENANT, "status": "suspended"},
    {**SESSION, **OTHERS, "user_id": "v"},
    {**SESSION, "user_id": "v"},
]


@pytest.mark.parametrize("second", SECOND)
def test_a_second_item_of_one_name_is_found_wherever_it_lies(second: Item) -> None:
    there = [USER, TENANT, SESSION]
    for items in ([*there, second], [second, *there]):
        doubled = [each for each in check_kinds(Snapshot({"identity": items})) if "2 times" in each.detail]
        assert [each.check for each in doubled] == ["change_without_event"]
    assert list(check_kinds(Snapshot({"identity": there}))) == []
    assert "change_without_event" in found([], [], second, SESSION)


@pytest.mark.parametrize("kind", ["mfa", "webhook", "factor", "challenge", "subject_request", None])
def test_what_no_client_makes_is_not_there(kind: str | None) -> None:
    assert found([], [], SESSION, {"id": "1", "kind": kind, "tenant_id": "t"}) == ["change_without_event"]


def test_what_is_kept_for_its_own_work_may_be_there() -> None:
    kept = [{"id": f"{kind}|1", "kind": kind, "tenant_id": "t"} for kind in WORKING]
    assert found([], [], SESSION, *kept) == []


LEFT = event("2", "auth.logout")


@pytest.mark.parametrize(
    ("events", "sessions", "finding"),
    [
        ([], [SESSION], []),
        ([LEFT], [SESSION], ["event_without_change", "change_without_event"]),
        ([LEFT], [], []),
        ([], [], ["acknowledged_and_lost"]),
        ([], [{**SESSION, "user_id": "v"}], ["change_without_event"] * 2),
        ([], [SESSION, {**SESSION, "id": "session|z", "session_id": "z"}], ["change_without_event"]),
        ([LEFT], [{**SESSION, "id": "session|z", "session_id": "z"}], ["change_without_event"]),
        ([], [{**SESSION, "enrollment_only": True}], ["change_without_event"]),
    ],
)
def test_sessions_are_those_that_were_given_and_did_not_end(
    events: list[Item], sessions: list[Item], finding: list[str]
) -> None:
    assert found(events, [], *(sessions or [{"kind": "pulse"}])) == finding


@pytest.mark.parametrize(
    ("status", "is_told", "holds"),
    [(200, True, {"newer"}), (503, True, {"a hash", "newer"}), (503, False, {"a hash"}), (401, False, {"a hash"})],
)
def test_a_session_goes_on_with_the_token_that_was_given_last(status: int, *, is_told: bool, holds: set[str]) -> None:
    given = {"session": "s", "secret_hash": "newer"} if status == 200 else {}
    asked, told = attempt(2, "refresh", status, given), event("2", "auth.token_refresh")
    for stored in ("a hash", "newer"):
        wanted = [] if stored in holds else ["change_without_event"]
        assert found([told] if is_told else [], [asked], {**SESSION, "refresh_hash": stored}) == wanted


OPEN: Item = {
    **{"id": "invitation|i", "kind": "invitation", "invitation_id": "i", "tenant_id": "t", **INVITED},
    **{"invited_by": "u", "secret_hash": "a hash"},
}
INVITE = attempt(2, "invite", 201, {"id": "i", "secret_hash": "a hash"}, **INVITED)
TOLD = event("2", "user.invite", "i", role="user")


@pytest.mark.parametrize(
    ("told", "held", "finding"),
    [
        (True, OPEN, []),
        (True, None, ["event_without_change"]),
        (False, OPEN, ["change_without_event"]),
        *((True, {**OPEN, field: "forged"}, ["change_without_event"]) for field in ("email", "role", "secret_hash")),
    ],
)
def test_an_invitation_is_open_until_somebody_takes_it(told: bool, held: Item | None, finding: list[str]) -> None:
    more = [SESSION] if held is None else [SESSION, held]
    assert found([TOLD] if told else [], [INVITE], *more) == finding


def test_an_invitation_that_was_taken_is_gone() -> None:
    taken = Attempt(
        "3", 3, "register", {"email": INVITED["email"], "value": "first", "organization": None, **NAMES}, 503
    )
    events = [TOLD, event("3", "auth.register", "v", organization=False)]
    assert "event_without_change" in found(events, [INVITE, taken], SESSION, OPEN)
    there = found([*events, event("4", "user.delete", "v")], [INVITE, taken], SESSION)
    assert there == []


KEY: Item = {
    **{"id": "api_key|k", "kind": "api_key", "key_id": "k", "tenant_id": "t", "name": "Key 1", "silent_since": None},
    **{"scopes": ["events:read"], "created_by": "u", "secret_hash": "a hash"},
}
MADE = attempt(2, "key_create", 201, {"id": "k", "secret_hash": "a hash"}, name="Key 1", scopes=["events:read"])
FELL = {**event(None, "system.error", "k", source="api_key", since="noon"), "outcome": "error"}
WOKE = event("9", "system.heartbeat", "k", source="api_key", window_from="noon")


@pytest.mark.parametrize("field", sorted(KEY.keys() - {"kind", "key_id"}))
def test_each_field_of_a_key_follows_from_its_events(field: str) -> None:
    made = event("2", "apikey.create", "k")
    assert found([made], [MADE], SESSION, KEY) == []
    assert found([made], [MADE], SESSION, {**KEY, field: "forged"}) == ["change_without_event"]


@pytest.mark.parametrize(("events", "since"), [([], None), ([FELL], "noon"), ([FELL, WOKE], None)])
def test_a_key_is_silent_until_it_sends_again(events: list[Item], since: str | None) -> None:
    told = [event("2", "apikey.create", "k"), *events]
    for stored in (None, "noon"):
        wanted = [] if stored == since else ["change_without_event"]
        assert found(told, [MADE], SESSION, {**KEY, "silent_since": stored}) == wanted


@pytest.mark.parametrize(
    ("old", "new", "is_right"),
    [("user", "viewer", True), ("user", "auditor", False), ("viewer", "viewer", False), ("auditor", "viewer", False)],
)
def test_an_event_tells_the_role_that_was_asked_for(old: str, new: str, *, is_right: bool) -> None:
    asked = attempt(2, "user_role", field="role", value="viewer", target="v")
    told = event("2", "user.role_change", "v", old_role=old, new_role=new)
    findings = check_calls(Snapshot({"audit_events": [told]}), [asked])
    assert {each.check for each in findings} == (set() if is_right else {"event_otherwise"})


def test_an_account_is_locked_by_nobody() -> None:
    asked = attempt(2, "wrong_password", 403, asked="POST /password")
    failed = {**event("2", "auth.password_change"), "outcome": "failure", "reason": "wrong_password"}
    locked = {**event("2", "auth.account_locked"), "actor": {"kind": "anonymous", "id": None}}
    for told in (failed, locked):
        told["context"] = {**told["context"], "route": "POST /v1/password"}
    events = [failed, locked]
    assert check_calls(Snapshot({"audit_events": events}), [asked]) == []
    elsewhere = {"kind": "user", "id": "v"}
    for wrong in ([failed, {**locked, "target": elsewhere}], [{**failed, "reason": "locked"}, locked]):
        found_of = {each.check for each in check_calls(Snapshot({"audit_events": wrong}), [asked])}
        assert found_of == {"event_otherwise"}


def beat(minute: int, source: str = "service", **said: Any) -> Item:
    made = copy.deepcopy(event(None, "system.heartbeat", source=source, **said))
    return {**made, "recorded_at": f"2026-11-01T15:{minute:02}:00.000000Z"}


@pytest.mark.parametrize(
    ("beats", "is_right"),
    [
        ([beat(30)], True),
        ([beat(0), beat(30)], True),  # the first was due in the hour before
        ([beat(29), beat(30)], False),
        ([beat(0), beat(0), beat(30)], False),
        ([beat(30, "policy"), beat(30)], True),
        ([beat(0, "policy"), beat(30, "policy")], False),
        (
            [
                beat(30, "detect_threats", window_from="2026-10-31T"),
                beat(30, "detect_threats", window_from="2026-10-30T"),
            ],
            True,
        ),
        ([beat(30, "detect_threats", window_from="2026-10-31T")] * 2, False),
        ([beat(30, "somebody")], False),
    ],
)
def test_signs_of_life_come_when_they_are_due(beats: list[Item], *, is_right: bool) -> None:
    assert (check_own_work(Snapshot({"audit_events": beats}), [], 0, 0) == []) == is_right


@pytest.mark.parametrize(
    ("counted", "check"), [(2, "acknowledged_without_event"), (3, None), (4, "event_without_cause")]
)
def test_refused_tokens_are_counted_as_often_as_they_were_refused(counted: int, check: str | None) -> None:
    refused = {"type": "auth.token_rejected", "outcome": "denied", "attributes": {"count": counted}}
    told = [{**event(None, "auth.token_rejected"), **refused}]
    asked = [attempt(number, "profile", 401) for number in range(3)]
    findings = check_own_work(Snapshot({"audit_events": told}), asked, 0, 0)
    assert [each.check for each in findings if "counted" in each.detail] == ([] if check is None else [check])
