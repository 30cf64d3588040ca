"""Three failed changes in 15 minutes, or a change from where the account was not seen for 30 days."""

from typing import Any

from tests.detection.cases import Case, Expected, Sample

ACCOUNT = {"kind": "user", "id": "0195c000-0000-7000-8000-00000000a0a0"}
WINDOW = 900.0
HOUR = 3600.0
DAY = 86_400.0
TICK = 1e-6
HOME = {"ip_key": "v1:home", "ua_key": "v1:browser"}
AWAY = {"ip_key": "v1:away", "ua_key": "v1:script"}


def event(at: float, kind: str, origin: dict[str, Any], outcome: str = "success", reason: str | None = None) -> Sample:
    who = {"actor": ACCOUNT, "target": ACCOUNT}
    return at, {"type": kind, "outcome": outcome, "reason": reason, **who, **origin}


def failed(at: float, reason: str = "wrong_password") -> Sample:
    return event(at, "auth.password_change", HOME, "failure", reason)


def changed(at: float, origin: dict[str, Any] = HOME) -> Sample:
    return event(at, "auth.password_change", origin)


def sign_in(at: float, origin: dict[str, Any] = HOME) -> Sample:
    return event(at, "auth.login", origin)


CASES = [
    Case("guessing the old password", "firing", [failed(0), failed(1), failed(2)], (Expected("medium", 3, 0, 2),)),
    Case(
        "until it works",
        "firing",
        [sign_in(-DAY), failed(0), failed(1), failed(2, "locked"), changed(3)],
        (Expected("high", 4, 0, 3),),
    ),
    Case(
        "from somewhere new",
        "firing",
        [sign_in(0), changed(DAY, AWAY)],
        (Expected("medium", 1, DAY, DAY),),
    ),
    Case(
        "from somewhere new after a failure",
        "firing",
        [sign_in(0), failed(DAY - 1), changed(DAY, AWAY)],
        (Expected("high", 2, DAY - 1, DAY),),
    ),
    Case(
        "a sign-in just before makes nothing known",
        "firing",
        [sign_in(0), sign_in(DAY - 60, AWAY), changed(DAY, AWAY)],
        (Expected("medium", 1, DAY, DAY),),
    ),
    Case("at home", "quiet", [sign_in(0), changed(DAY)]),
    Case("one failure, then right, at home", "quiet", [sign_in(0), failed(DAY), failed(DAY + 1), changed(DAY + 2)]),
    Case(
        "the new one was refused",
        "quiet",
        [sign_in(0), *(failed(DAY + n, "refused") for n in range(5)), changed(DAY + 9)],
    ),
    Case("a fresh registration", "quiet", [event(0, "auth.register", HOME), changed(HOUR, AWAY)]),
    Case("the same browser elsewhere", "quiet", [sign_in(0), changed(DAY, {**HOME, "ip_key": "v1:hotel"})]),
    Case("two failures: one less than it takes", "boundary", [failed(0), failed(1)]),
    Case(
        "the first exactly at the window's edge",
        "boundary",
        [failed(0), failed(1), failed(WINDOW)],
        (Expected("medium", 3, 0, WINDOW),),
    ),
    Case("the first just outside the window", "boundary", [failed(0), failed(1), failed(WINDOW + TICK)]),
    Case("seen exactly 30 days before", "boundary", [sign_in(0, AWAY), sign_in(DAY), changed(30 * DAY, AWAY)]),
    Case(
        "seen just longer ago",
        "boundary",
        [sign_in(0, AWAY), sign_in(DAY), changed(30 * DAY + TICK, AWAY)],
        (Expected("medium", 1, 30 * DAY + TICK, 30 * DAY + TICK),),
    ),
    Case("seen exactly a window before", "boundary", [sign_in(0), sign_in(DAY, AWAY), changed(DAY + WINDOW, AWAY)]),
    Case(
        "seen just within the window",
        "boundary",
        [sign_in(0), sign_in(DAY + TICK, AWAY), changed(DAY + WINDOW, AWAY)],
        (Expected("medium", 1, DAY + WINDOW, DAY + WINDOW),),
    ),
    Case("registered exactly 24 hours before", "boundary", [event(0, "auth.register", HOME), changed(DAY, AWAY)]),
    Case(
        "registered just longer ago",
        "boundary",
        [event(0, "auth.register", HOME), changed(DAY + TICK, AWAY)],
        (Expected("medium", 1, DAY + TICK, DAY + TICK),),
    ),
]
