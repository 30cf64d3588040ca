"""Every pause of a webhook; those less than an hour apart are one alert."""

from tests.detection.cases import Case, Expected, Sample

SYSTEM = {"kind": "system", "id": None, "role": None}
WINDOW = 3600.0
TICK = 1e-6


def paused(at: float, tenant: str = "t1", kind: str = "webhook.pause", outcome: str = "failure") -> Sample:
    target = {"kind": "webhook", "id": tenant}
    return at, {"type": kind, "outcome": outcome, "reason": "failing", "actor": SYSTEM, "target": target}


CASES = [
    Case("a receiver that is away", "firing", [paused(0)], (Expected("high", 1, 0, 0),)),
    Case("several", "firing", [paused(n) for n in range(40)], (Expected("high", 40, 0, 39),)),
    Case(
        "two of them",
        "firing",
        [paused(0), paused(1, "t2")],
        (Expected("high", 1, 0, 0), Expected("high", 1, 1, 1)),
    ),
    Case("another event about it", "quiet", [paused(0, kind="config.change", outcome="success")]),
    Case("just within", "boundary", [paused(0), paused(WINDOW - TICK)], (Expected("high", 2, 0, WINDOW - TICK),)),
    Case(
        "at the edge: another alert, which has both in its window",
        "boundary",
        [paused(0), paused(WINDOW)],
        (Expected("high", 2, 0, WINDOW), Expected("high", 1, 0, 0)),
    ),
    Case(
        "just outside",
        "boundary",
        [paused(0), paused(WINDOW + TICK)],
        (Expected("high", 1, 0, 0), Expected("high", 1, WINDOW + TICK, WINDOW + TICK)),
    ),
]
