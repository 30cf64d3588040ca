"""A refused attempt to raise a role, a grant of tenant_admin, or five role changes by one actor in an hour."""

from typing import Any

from tests.detection.cases import Case, Expected, Sample

ADMIN = {"kind": "user", "id": "0195c000-0000-7000-8000-00000000ad01", "role": "tenant_admin"}
USER = {"kind": "user", "id": "0195c000-0000-7000-8000-00000000u501", "role": "user"}
WINDOW = 3600.0
TICK = 1e-6


def changed(at: float, new: str = "user", old: str = "viewer", target: str = "someone") -> Sample:
    attributes = {"old_role": old, "new_role": new}
    fields: dict[str, Any] = {"type": "user.role_change", "outcome": "success", "reason": None, "actor": ADMIN}
    return at, {**fields, "target": {"kind": "user", "id": target}, "attributes": attributes}


def denied(
    at: float, wanted: str | None, target: str = USER["id"], reason: str = "self", held: str | None = None
) -> Sample:
    attributes = {"held_role": "user", "attempted_role": wanted, "target_role": held}
    fields: dict[str, Any] = {"type": "access.denied", "outcome": "denied", "reason": reason, "actor": USER}
    return at, {**fields, "target": {"kind": "user", "id": target}, "attributes": attributes}


def invited(at: float, role: str) -> Sample:
    target = {"kind": "invitation", "id": "invitation-1"}
    fields: dict[str, Any] = {"type": "user.invite", "outcome": "success", "reason": None, "actor": ADMIN}
    return at, {**fields, "target": target, "attributes": {"role": role}}


def changes(*times: float) -> list[Sample]:
    return [changed(at, target=f"user-{n}") for n, at in enumerate(times)]


CASES = [
    Case("raising one's own role", "firing", [denied(0, "tenant_admin")], (Expected("critical", 1, 0, 0),)),
    Case(
        "raising another's role", "firing", [denied(0, "auditor", "someone", "role")], (Expected("critical", 1, 0, 0),)
    ),
    Case("a role that nobody knows", "firing", [denied(0, "root")], (Expected("critical", 1, 0, 0),)),
    Case(
        "another's role, by as much as one's own",
        "firing",
        [denied(0, "user", "someone", "role")],
        (Expected("critical", 1, 0, 0),),
    ),
    Case(
        "from a role that nobody knows",
        "firing",
        [denied(0, "viewer", "someone", "role", "guest")],
        (Expected("critical", 1, 0, 0),),
    ),
    Case("a new administrator", "firing", [changed(0, "tenant_admin")], (Expected("high", 1, 0, 0),)),
    Case("an administrator is invited", "firing", [invited(0, "tenant_admin")], (Expected("high", 1, 0, 0),)),
    Case("many changes", "firing", changes(0, 600, 1200, 1800, 2400, 3000), (Expected("high", 6, 0, 3000),)),
    Case(
        "one's own among many",
        "firing",
        [changed(0, target=ADMIN["id"]), *changes(1, 2, 3, 4)],
        (Expected("critical", 5, 0, 4),),
    ),
    Case(
        "one's own in the middle",
        "firing",
        [*changes(0, 1), changed(2, target=ADMIN["id"]), *changes(3, 4)],
        (Expected("critical", 5, 0, 4),),
    ),
    Case("lowering an administrator", "quiet", [denied(0, "user", "someone", "role", "tenant_admin")]),
    Case("lowering one's own role", "quiet", [denied(0, "viewer"), changed(1, "user", "tenant_admin", ADMIN["id"])]),
    Case("keeping it", "quiet", [denied(0, "user")]),
    Case("lowering another's to the least", "quiet", [denied(0, "viewer", "someone", "role")]),
    Case("refused for something else", "quiet", [denied(n, None) for n in range(9)]),
    Case("invitations of users", "quiet", [invited(n, "user") for n in range(9)]),
    Case("four changes", "boundary", changes(0, 1, 2, 3)),
    Case("exactly five", "boundary", changes(0, 1, 2, 3, 4), (Expected("high", 5, 0, 4),)),
    Case("the first at the edge", "boundary", changes(0, 1, 2, 3, WINDOW), (Expected("high", 5, 0, WINDOW),)),
    Case("the first just outside", "boundary", changes(0, 1, 2, 3, WINDOW + TICK)),
]
