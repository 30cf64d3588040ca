"""A sign-in after five failures in 15 minutes; or a new password within 15 minutes of a sign-in from somewhere new."""

from typing import Any

from tests.detection.cases import Case, Expected, Sample

ACCOUNT = {"kind": "user", "id": "0195c000-0000-7000-8000-00000000a0a0"}
WINDOW = 900.0
DAY = 86_400.0
TICK = 1e-6
HOME = {"ip_key": "v1:home", "ua_key": "v1:browser"}
AWAY = {"ip_key": "v1:away", "ua_key": "v1:script"}


def failure(at: float, reason: str = "bad_credentials") -> Sample:
    return at, {"type": "auth.login", "outcome": "failure", "reason": reason, "target": ACCOUNT, **AWAY}


def failures(*times: float) -> list[Sample]:
    return [failure(at) for at in times]


def done(at: float, kind: str, origin: dict[str, Any], **fields: Any) -> Sample:
    common = {"outcome": "success", "reason": None, "actor": ACCOUNT, "target": ACCOUNT}
    return at, {"type": kind, **common, **origin, **fields}


def sign_in(at: float, origin: dict[str, Any] = HOME) -> Sample:
    return done(at, "auth.login", origin)


def change(at: float, origin: dict[str, Any] = AWAY, **fields: Any) -> Sample:
    return done(at, "auth.password_change", origin, **fields)


CASES = [
    Case("guessed", "firing", [*failures(0, 1, 2, 3, 4), sign_in(5)], (Expected("critical", 6, 0, 5),)),
    Case(
        "guessed in spite of the lock and the second factor",
        "firing",
        [*failures(0, 1, 2), failure(3, "locked"), failure(4, "mfa_failed"), sign_in(5)],
        (Expected("critical", 6, 0, 5),),
    ),
    Case(
        "in from somewhere new, and a new password",
        "firing",
        [sign_in(0), sign_in(10 * DAY, AWAY), change(10 * DAY + 60)],
        (Expected("critical", 2, 10 * DAY, 10 * DAY + 60),),
    ),
    Case(
        "a second sign-in makes the first no older",
        "firing",
        [sign_in(0), sign_in(DAY, AWAY), sign_in(DAY + 10, AWAY), change(DAY + 60)],
        (Expected("critical", 3, DAY, DAY + 60),),
    ),
    Case(
        "what was seen long ago is new again",
        "firing",
        [sign_in(0, AWAY), sign_in(5 * DAY), sign_in(30 * DAY + 1, AWAY), change(30 * DAY + 2)],
        (Expected("critical", 2, 30 * DAY + 1, 30 * DAY + 2),),
    ),
    Case("only failures", "quiet", failures(*range(30))),
    Case("a sign-in before the failures", "quiet", [sign_in(0), *failures(1, 2, 3, 4, 5)]),
    Case("failures of a suspended account", "quiet", [*(failure(n, "suspended") for n in range(6)), sign_in(6)]),
    Case("a new password at home", "quiet", [sign_in(0), sign_in(DAY), change(DAY + 60, HOME)]),
    Case(
        "a new browser at home, the same browser on the road",
        "quiet",
        [
            sign_in(0),
            sign_in(DAY, {**AWAY, "ip_key": "v1:home"}),
            change(DAY + 60),
            sign_in(2 * DAY, {**HOME, "ip_key": "v1:hotel"}),
            change(2 * DAY + 60),
        ],
    ),
    Case(
        "where the account was registered",
        "quiet",
        [done(0, "auth.register", AWAY), sign_in(DAY, AWAY), change(DAY + 60)],
    ),
    Case("a change that failed", "quiet", [sign_in(0), sign_in(DAY, AWAY), change(DAY + 60, outcome="failure")]),
    Case("four failures: one less than it takes", "boundary", [*failures(0, 1, 2, 3), sign_in(4)]),
    Case("exactly five", "boundary", [*failures(0, 1, 2, 3, 4), sign_in(4)], (Expected("critical", 6, 0, 4),)),
    Case(
        "the first failure exactly at the window's edge",
        "boundary",
        [*failures(0, 1, 2, 3, 4), sign_in(WINDOW)],
        (Expected("critical", 6, 0, WINDOW),),
    ),
    Case("the first failure just outside", "boundary", [*failures(0, 1, 2, 3, 4), sign_in(WINDOW + TICK)]),
    Case(
        "the new password exactly a window after",
        "boundary",
        [sign_in(0), sign_in(DAY, AWAY), change(DAY + WINDOW)],
        (Expected("critical", 2, DAY, DAY + WINDOW),),
    ),
    Case("the new password just later", "boundary", [sign_in(0), sign_in(DAY, AWAY), change(DAY + WINDOW + TICK)]),
    Case(
        "seen exactly 30 days before",
        "boundary",
        [sign_in(0, AWAY), sign_in(DAY), sign_in(30 * DAY, AWAY), change(30 * DAY + 1)],
    ),
]
