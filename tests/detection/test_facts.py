"""What patterns see of an event, event by event."""

from typing import Any

import pytest

from shared.detection import all_patterns
from shared.storage.documents import Item
from tests.detection.support import START, stored_event

BULK, DELETION, ESCALATION, UNAUTHORIZED = (
    all_patterns()[name]
    for name in ("bulk_data_access", "mass_deletion", "privilege_escalation", "unauthorized_access")
)
RECORD = {"kind": "record", "id": "r1"}


def event(type_: str, **fields: Any) -> Item:
    return stored_event("e1", START, type=type_, **fields)


@pytest.mark.parametrize(
    ("type_", "target", "count", "fact"),
    [
        ("data.read", RECORD, 0, (("record", "r1"), 0)),
        ("data.read", RECORD, 1, (("record", "r1"), 0)),
        ("data.read", RECORD, 2, (None, 2)),
        ("user.view", RECORD, 1, (("record", "r1"), 0)),
        ("data.read", None, 0, (None, 1)),
        ("data.read", None, 7, (None, 7)),
        ("data.export", RECORD, 1, (None, 1)),
        ("data.export", RECORD, 0, (None, 1)),
        ("data.export", None, 400, (None, 400)),
    ],
)
def test_how_much_was_read(type_: str, target: Item | None, count: int, fact: tuple[Any, int]) -> None:
    for data_class, sensitive in (("phi", True), ("cardholder", True), ("personal", False), ("none", False)):
        read = event(type_, target=target, record_count=count, data_class=data_class)
        assert BULK.fact(read) == (*fact, sensitive)


def test_what_was_deleted() -> None:
    assert DELETION.fact(event("data.delete", target=RECORD)) == ("record", "r1")
    assert DELETION.fact(event("data.delete", target=None))[1] == "e1", "something of its own"


@pytest.mark.parametrize(
    ("wanted", "held", "own", "raises"),
    [
        ("viewer", None, False, False),
        ("user", None, False, True),
        ("user", None, True, False),
        ("auditor", None, True, True),
        ("viewer", "guest", False, True),
        ("root", "system_admin", False, True),
        ("tenant_admin", "system_admin", False, False),
        ("tenant_admin", "tenant_admin", True, False),
        ("tenant_admin", "auditor", True, True),
        (None, "viewer", False, False),
    ],
)
def test_which_attempts_would_have_raised_a_role(wanted: str | None, held: str | None, own: bool, raises: bool) -> None:
    actor = {"kind": "user", "id": "u1", "role": "user"}
    target = {"kind": "user", "id": "u1" if own else "u2"}
    tried = {"attempted_role": wanted, "target_role": held}
    assert ESCALATION.matches(event("access.denied", actor=actor, target=target, attributes=tried)) == raises


@pytest.mark.parametrize(
    ("type_", "route", "reason", "fact"),
    [
        ("access.denied", "GET /v1/events", "role", "high"),
        ("access.denied", "GET /v1/events/{id:guid}", "scope", "high"),
        ("access.denied", "GET /v1/events/{id:guid}", "unknown_id", None),
        ("access.denied", "GET /v1/admin/logs/authorization", "role", "high"),
        ("access.denied", "POST /v1/events", "role", None),
        ("access.denied", "", "role", None),
        ("access.cross_tenant_denied", "GET /v1/events/{id:guid}", "cross_tenant", "critical"),
    ],
)
def test_which_refusals_cross_by_themselves(type_: str, route: str, reason: str, fact: str | None) -> None:
    assert UNAUTHORIZED.fact(event(type_, reason=reason, context={"route": route})) == fact
    if fact != "critical":
        assert UNAUTHORIZED.fact(event(type_, reason=reason, context=None)) is None
