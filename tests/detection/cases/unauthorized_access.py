"""Five refusals of one actor in ten minutes, one across tenants, or one of the audit log."""

from typing import Any

from tests.detection.cases import Case, Expected, Sample

USER = {"kind": "user", "id": "0195c000-0000-7000-8000-00000000u501", "role": "user"}
WINDOW = 600.0
TICK = 1e-6


def denied(
    at: float,
    route: str = "GET /v1/admin/users",
    reason: str = "role",
    kind: str = "access.denied",
    actor: dict[str, Any] = USER,
) -> Sample:
    common = {"outcome": "denied", "target": None, "context": {"route": route}}
    return at, {"type": kind, "reason": reason, "actor": actor, **common}


def each(*times: float) -> list[Sample]:
    return [denied(at) for at in times]


ANOTHER_TENANT = denied(0, "GET /v1/admin/users/{id:guid}", "cross_tenant", "access.cross_tenant_denied")
NOBODY = {"kind": "anonymous", "id": None, "role": None}

CASES = [
    Case("knocking at every door", "firing", each(*range(9)), (Expected("high", 9, 0, 8),)),
    Case("another tenant's user", "firing", [ANOTHER_TENANT], (Expected("critical", 1, 0, 0),)),
    Case(
        "both",
        "firing",
        [ANOTHER_TENANT, *each(1, 2, 3, 4, 5)],
        (Expected("critical", 6, 0, 5),),
    ),
    Case("the audit log", "firing", [denied(0, "GET /v1/events")], (Expected("high", 1, 0, 0),)),
    Case("its export", "firing", [denied(0, "GET /v1/events/export")], (Expected("high", 1, 0, 0),)),
    Case(
        "the log of authorization",
        "firing",
        [denied(0, "GET /v1/admin/logs/authorization")],
        (Expected("high", 1, 0, 0),),
    ),
    Case("a key without the scope", "firing", [denied(0, "GET /v1/events", "scope")], (Expected("high", 1, 0, 0),)),
    Case("now and then", "quiet", each(*range(0, 6000, 200))),
    Case("an id that leads nowhere", "quiet", [denied(0, "GET /v1/events/{id:guid}", "unknown_id")]),
    Case("nobody", "quiet", [denied(n, actor=NOBODY) for n in range(9)]),
    Case("writing events", "quiet", [denied(0, "POST /v1/events", "scope")]),
    Case("four: one less than it takes", "boundary", each(0, 1, 2, 3)),
    Case("exactly five", "boundary", each(0, 1, 2, 3, 4), (Expected("high", 5, 0, 4),)),
    Case("the first at the edge", "boundary", each(0, 1, 2, 3, WINDOW), (Expected("high", 5, 0, WINDOW),)),
    Case("the first just outside", "boundary", each(0, 1, 2, 3, WINDOW + TICK)),
]
