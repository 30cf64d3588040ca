"""Five failures in 15 minutes on one account; critical from 20."""

from typing import Any

from tests.detection.cases import Case, Expected, Sample

ACCOUNT = "0195c000-0000-7000-8000-00000000a0a0"
WINDOW = 900.0
TICK = 1e-6


def failure(at: float, reason: str = "bad_credentials", target: str | None = ACCOUNT) -> Sample:
    whom = {"kind": "user", "id": target} if target else None
    return at, {"type": "auth.login", "outcome": "failure", "reason": reason, "target": whom}


def success(at: float) -> Sample:
    user: dict[str, Any] = {"kind": "user", "id": ACCOUNT}
    return at, {"type": "auth.login", "outcome": "success", "reason": None, "actor": user, "target": user}


def failures(*times: float) -> list[Sample]:
    return [failure(at) for at in times]


def every(seconds: float, count: int, start: float = 0) -> list[Sample]:
    return [failure(start + n * seconds) for n in range(count)]


CASES = [
    Case("a burst", "firing", every(2, 7), (Expected("high", 7, 0, 12),)),
    Case("low and slow: five over 14 minutes", "firing", every(210, 5), (Expected("high", 5, 0, 840),)),
    Case(
        "tries while locked count as well",
        "firing",
        [failure(0), failure(1), failure(2), failure(3, "locked"), failure(4, "locked")],
        (Expected("high", 5, 0, 4),),
    ),
    Case(
        "a success in between does not excuse them",
        "firing",
        [*failures(0, 1, 2), success(3), *failures(4, 5)],
        (Expected("high", 5, 0, 5),),
    ),
    Case("twenty in one window", "firing", every(30, 20), (Expected("critical", 20, 0, 570),)),
    Case(
        "two attacks, hours apart",
        "firing",
        [*every(2, 5), *every(2, 20, start=7200)],
        (Expected("high", 5, 0, 8), Expected("critical", 20, 7200, 7238)),
    ),
    Case("a thousand in a row, 500 of them named", "firing", every(1, 1000), (Expected("critical", 1000, 0, 999),)),
    Case("four are a bad morning", "quiet", every(2, 4)),
    Case("one every five minutes", "quiet", every(300, 40)),
    Case("reasons that are not guessing", "quiet", [failure(n, "suspended") for n in range(9)]),
    Case("the second factor is another pattern's", "quiet", [failure(n, "mfa_failed") for n in range(9)]),
    Case("unknown accounts have no key", "quiet", [failure(n, "unknown_account", None) for n in range(9)]),
    Case("bad passwords without an account", "quiet", [failure(n, target=None) for n in range(9)]),
    Case("successes", "quiet", [success(n) for n in range(9)]),
    Case("four: one less than it takes", "boundary", failures(0, 1, 2, 3)),
    Case("exactly five", "boundary", failures(0, 1, 2, 3, 4), (Expected("high", 5, 0, 4),)),
    Case("five at one moment", "boundary", failures(7, 7, 7, 7, 7), (Expected("high", 5, 7, 7),)),
    Case(
        "the first exactly at the window's edge",
        "boundary",
        failures(0, 1, 2, 3, WINDOW),
        (Expected("high", 5, 0, 900),),
    ),
    Case("the first just outside the window", "boundary", failures(0, 1, 2, 3, WINDOW + TICK)),
    Case("nineteen in one window", "boundary", every(30, 19), (Expected("high", 19, 0, 540),)),
    Case(
        "twenty, the first exactly at the window's edge",
        "boundary",
        [*every(1, 19), failure(WINDOW)],
        (Expected("critical", 20, 0, 900),),
    ),
    Case(
        "twenty, the first just outside the window",
        "boundary",
        [*every(1, 19), failure(WINDOW + TICK)],
        (Expected("high", 20, 0, WINDOW + TICK),),
    ),
    Case(
        "crossing points just closer than the window are one episode",
        "boundary",
        [*failures(0, 0, 0, 0, 4), *failures(901, 902, 903, 904 - TICK)],
        (Expected("high", 9, 0, 904 - TICK),),
    ),
    Case(
        "crossing points a window apart are two",
        "boundary",
        [*failures(0, 0, 0, 0, 4), *failures(901, 902, 903, 904)],
        (Expected("high", 5, 0, 4), Expected("high", 5, 4, 904)),
    ),
]
