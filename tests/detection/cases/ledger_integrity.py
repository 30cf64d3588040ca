"""Every finding of the ledger's check about a month; those less than an hour apart are one alert."""

from tests.detection.cases import Case, Expected, Sample

SYSTEM = {"kind": "system", "id": None, "role": None}
WINDOW = 3600.0
TICK = 1e-6


def found(at: float, period: str = "2026-03", kind: str = "ledger.verify_failed", outcome: str = "failure") -> Sample:
    target = {"kind": "ledger", "id": period}
    return at, {"type": kind, "outcome": outcome, "reason": "edited", "actor": SYSTEM, "target": target}


CASES = [
    Case("an edited event", "firing", [found(0)], (Expected("critical", 1, 0, 0),)),
    Case("many in a run", "firing", [found(n) for n in range(40)], (Expected("critical", 40, 0, 39),)),
    Case(
        "two months",
        "firing",
        [found(0), found(1, "2026-02")],
        (Expected("critical", 1, 0, 0), Expected("critical", 1, 1, 1)),
    ),
    Case("a month that was closed", "quiet", [found(0, kind="ledger.checkpoint", outcome="success")]),
    Case("just within", "boundary", [found(0), found(WINDOW - TICK)], (Expected("critical", 2, 0, WINDOW - TICK),)),
    Case(
        "at the edge: another alert, which has both in its window",
        "boundary",
        [found(0), found(WINDOW)],
        (Expected("critical", 2, 0, WINDOW), Expected("critical", 1, 0, 0)),
    ),
    Case(
        "just outside",
        "boundary",
        [found(0), found(WINDOW + TICK)],
        (Expected("critical", 1, 0, 0), Expected("critical", 1, WINDOW + TICK, WINDOW + TICK)),
    ),
]
