"""Five accounts tried from one address in 20 minutes, whatever their tenants."""

from tests.detection.cases import Case, Expected, Sample

WINDOW = 1200.0
TICK = 1e-6
ADDRESS = "v1:attacker"


def tried(at: float, account: str | None, reason: str = "bad_credentials", ip_key: str | None = ADDRESS) -> Sample:
    target = {"kind": "user", "id": account} if account else None
    return at, {
        **{"type": "auth.login", "outcome": "failure", "reason": reason, "target": target, "ip_key": ip_key},
        "actor_key": None,
    }


def unknown(at: float, email: str) -> Sample:
    moment, fields = tried(at, None, "unknown_account")
    return moment, {**fields, "actor_key": email}


def each(*times: float) -> list[Sample]:
    """Another account each time."""
    return [tried(at, f"account-{n}") for n, at in enumerate(times)]


CASES = [
    Case("a list of accounts", "firing", each(*range(9)), (Expected("high", 9, 0, 8),)),
    Case("slowly", "firing", each(0, 290, 580, 870, 1160), (Expected("high", 5, 0, 1160),)),
    Case(
        "unknown and locked accounts count",
        "firing",
        [*each(0, 1), tried(2, "locked-one", "locked"), unknown(3, "v1:mail-1"), unknown(4, "v1:mail-2")],
        (Expected("high", 5, 0, 4),),
    ),
    Case(
        "several tries of each are evidence",
        "firing",
        [*each(0, 1, 2, 3), *each(4, 5, 6, 7, 8)],
        (Expected("high", 9, 0, 8),),
    ),
    Case("one account, many times", "quiet", [tried(n, "account-1") for n in range(50)]),
    Case("four accounts, many times", "quiet", [tried(n, f"account-{n % 4}") for n in range(40)]),
    Case("five addresses", "quiet", [tried(n, f"account-{n}", ip_key=f"v1:{n}") for n in range(5)]),
    Case("no address", "quiet", [tried(n, f"account-{n}", ip_key=None) for n in range(9)]),
    Case("suspended accounts", "quiet", [tried(n, f"account-{n}", "suspended") for n in range(9)]),
    Case("an unknown account without an e-mail", "quiet", [tried(n, None, "unknown_account") for n in range(9)]),
    Case("four: one less than it takes", "boundary", each(0, 1, 2, 3)),
    Case("exactly five", "boundary", each(0, 1, 2, 3, 4), (Expected("high", 5, 0, 4),)),
    Case("five at one moment", "boundary", each(3, 3, 3, 3, 3), (Expected("high", 5, 3, 3),)),
    Case(
        "the first exactly at the window's edge",
        "boundary",
        each(0, 1, 2, 3, WINDOW),
        (Expected("high", 5, 0, WINDOW),),
    ),
    Case("the first just outside the window", "boundary", each(0, 1, 2, 3, WINDOW + TICK)),
]
