"""Ten different targets deleted by one actor in 30 minutes; critical from 50."""

from typing import Any

from tests.detection.cases import Case, Expected, Sample

ADMIN = {"kind": "user", "id": "0195c000-0000-7000-8000-00000000ad01", "role": "tenant_admin"}
WINDOW = 1800.0
TICK = 1e-6


def deleted(at: float, target: str | None, kind: str = "data.delete", **fields: Any) -> Sample:
    what = {"kind": "record", "id": target} if target else None
    common = {"outcome": "success", "reason": None, "actor": ADMIN, "target": what}
    return at, {"type": kind, **common, **fields}


def each(*times: float) -> list[Sample]:
    return [deleted(at, f"record-{n}") for n, at in enumerate(times)]


CASES = [
    Case("a script", "firing", each(*range(12)), (Expected("high", 12, 0, 11),)),
    Case(
        "accounts and records",
        "firing",
        [*each(*range(5)), *(deleted(5 + n, f"user-{n}", "user.delete") for n in range(5))],
        (Expected("high", 10, 0, 9),),
    ),
    Case("very many", "firing", each(*range(60)), (Expected("critical", 60, 0, 59),)),
    Case("what is not named", "firing", [deleted(n, None) for n in range(10)], (Expected("high", 10, 0, 9),)),
    Case("the same ones again and again", "quiet", [deleted(n, f"record-{n % 9}") for n in range(90)]),
    Case("tries that failed", "quiet", [deleted(n, f"record-{n}", outcome="failure") for n in range(20)]),
    Case(
        "the service itself", "quiet", [deleted(n, f"r-{n}", actor={"kind": "system", "id": None}) for n in range(20)]
    ),
    Case("changes", "quiet", [deleted(n, f"record-{n}", "data.update") for n in range(20)]),
    Case("nine: one less than it takes", "boundary", each(*range(9))),
    Case("exactly ten", "boundary", each(*range(10)), (Expected("high", 10, 0, 9),)),
    Case("49", "boundary", each(*range(49)), (Expected("high", 49, 0, 48),)),
    Case("exactly 50", "boundary", each(*range(50)), (Expected("critical", 50, 0, 49),)),
    Case("the first at the edge", "boundary", each(*range(9), WINDOW), (Expected("high", 10, 0, WINDOW),)),
    Case("the first just outside", "boundary", each(*range(9), WINDOW + TICK)),
]
