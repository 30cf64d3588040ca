"""Generated histories: for each pattern, what its events may look like, and bursts of them at every edge."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from shared.storage.documents import Item
from tests.detection.oracle import RULES
from tests.detection.support import START, seconds, stored_event

DAY = 86_400
TENANTS = ("0195c000-0000-7000-8000-0000000000aa", "0195c000-0000-7000-8000-0000000000bb")
LATENESS = (0, 0, 0, 1, 3600, DAY, 7 * DAY, -300, 7 * DAY + 1, -301, 30 * DAY, -30 * DAY)
"""Seconds from occurred_at to recorded_at; those beyond seven days, or five minutes ahead, are implausible."""

type Fields = dict[str, Any]


def _who(name: str, role: str = "user") -> Fields:
    return {"kind": "user", "id": name, "role": role}


def _thing(name: str, kind: str = "user") -> Fields:
    return {"kind": kind, "id": name}


def _login(account: str, outcome: str, reason: str | None, origin: str = "home") -> Fields:
    actor = _who(account) if outcome == "success" else {"kind": "anonymous", "id": None, "role": None}
    keys = {"ip_key": f"v1:{origin}", "ua_key": f"v1:{origin}-browser"}
    return {
        "type": "auth.login",
        "outcome": outcome,
        "reason": reason,
        "actor": actor,
        "target": _thing(account),
        **keys,
    }


def _of_account(kind: str, outcome: str, reason: str | None, origin: str = "home") -> Fields:
    return {**_login("a", outcome, reason, origin), "type": kind, "actor": _who("a")}


def _by(actor: str, kind: str, outcome: str = "success", **fields: Any) -> Fields:
    return {"type": kind, "outcome": outcome, "reason": None, "actor": _who(actor), **fields}


def _tried(n: int, tenant: int) -> Fields:
    return {**_login(f"a{n}", "failure", "bad_credentials", "attacker"), "tenant_id": TENANTS[tenant]}


def _found(kind: str, outcome: str, period: str) -> Fields:
    actor = {"kind": "system", "id": None, "role": None}
    target = _thing(period, "ledger")
    return {"type": kind, "outcome": outcome, "reason": "edited", "actor": actor, "target": target}


def _of_webhook(kind: str, outcome: str, key: str) -> Fields:
    actor = {"kind": "system", "id": None, "role": None}
    return {"type": kind, "outcome": outcome, "reason": "failing", "actor": actor, "target": _thing(key, "webhook")}


FLAVORS: dict[str, list[Fields]] = {
    "brute_force": [
        *[_login("a", "failure", "bad_credentials")] * 4,
        _login("a", "failure", "locked"),
        _login("a", "failure", "suspended"),
        _login("a", "success", None),
        _login("b", "failure", "bad_credentials"),
    ],
    "credential_stuffing": [
        *(_tried(n, tenant) for n in range(4) for tenant in (0, 1)),
        {
            **_login("x", "failure", "unknown_account", "attacker"),
            "tenant_id": "platform",
            "target": None,
            "actor_key": "v1:m",
        },
        _login("a9", "failure", "bad_credentials", "elsewhere"),
    ],
    "account_takeover": [
        *[_login("a", "failure", "bad_credentials")] * 5,
        _login("a", "success", None),
        *(_login("a", "success", None, origin) for origin in ("away", "hotel")),
        {**_login("a", "success", None, "away"), "ip_key": "v1:home"},
        *(_of_account("auth.password_change", "success", None, origin) for origin in ("home", "away")),
        _of_account("auth.register", "success", None, "hotel"),
    ],
    "privilege_escalation": [
        *[_by("a", "user.role_change", target=_thing(f"u{n}"), attributes={"new_role": "user"}) for n in range(6)],
        _by("a", "user.role_change", target=_thing("u"), attributes={"new_role": "tenant_admin"}),
        _by("a", "user.role_change", target=_thing("a"), attributes={"new_role": "viewer"}),
        _by("a", "user.invite", target=_thing("i", "invitation"), attributes={"role": "tenant_admin"}),
        _by("a", "user.invite", target=_thing("i", "invitation"), attributes={"role": "user"}),
        *[
            _by("a", "access.denied", "denied", target=_thing(target), attributes={"attempted_role": wanted})
            for target, wanted in (("a", "auditor"), ("a", "viewer"), ("u", "viewer"), ("u", "user"), ("u", None))
        ],
    ],
    "unauthorized_access": [
        *[_by("a", "access.denied", "denied", context={"route": "GET /v1/admin/users"})] * 9,
        {**_by("a", "access.denied", "denied", context={"route": "GET /v1/events/{id:guid}"}), "reason": "unknown_id"},
        {**_by("a", "access.denied", "denied", context={"route": "GET /v1/events"}), "reason": "role"},
        _by("a", "access.cross_tenant_denied", "denied", context={"route": "GET /v1/admin/users/{id:guid}"}),
        _by("b", "access.denied", "denied", context={"route": "GET /v1/admin/users"}),
    ],
    "ledger_integrity": [
        *(_found("ledger.verify_failed", "failure", period) for period in ("2026-02", "2026-03", "2026-03")),
        _found("ledger.checkpoint", "success", "2026-02"),
    ],
    "webhook_paused": [
        *(_of_webhook("webhook.pause", "failure", key) for key in ("w", "w", "x")),
        _of_webhook("config.change", "success", "w"),
    ],
    "mass_deletion": [
        *[_by("a", "data.delete", target=_thing(f"r{n}", "record")) for n in range(12)],
        *[_by("a", "user.delete", target=_thing(f"r{n}")) for n in range(3)],
        _by("a", "data.delete", target=None),
        _by("a", "data.delete", "failure", target=_thing("r99", "record")),
    ],
    "bulk_data_access": [
        *[
            _by("a", "data.read", target=_thing(f"r{n}", "record"), record_count=1, data_class="personal")
            for n in range(6)
        ],
        _by("a", "user.view", target=_thing("u1"), record_count=1, data_class="personal"),
        _by("a", "data.read", target=None, record_count=12, data_class="none"),
        _by("a", "data.read", target=_thing("r1", "record"), record_count=9, data_class="phi"),
        *[_by("a", "data.export", target=None, record_count=n, data_class="none") for n in (0, 14, 50)],
        _by("a", "data.read", "denied", target=None, record_count=99, data_class="phi"),
    ],
    "suspicious_password_change": [
        *[_of_account("auth.password_change", "failure", "wrong_password")] * 4,
        _of_account("auth.password_change", "failure", "refused"),
        *(_of_account("auth.password_change", "success", None, origin) for origin in ("home", "away")),
        *(_login("a", "success", None, origin) for origin in ("home", "away")),
        _of_account("auth.register", "success", None, "hotel"),
    ],
}


@st.composite
def histories(draw: st.DrawFn, pattern: str) -> list[Item]:
    """Some bursts over some days, noise between them, late and implausible events among them."""
    window = RULES[pattern].window
    is_signal = pattern == "credential_stuffing"  # signals expire: everything within some days
    starts = [0.0, 3600.0, 43_200.0 - 2 * window, 40_000.0, *([] if is_signal else [8.0 * DAY, 30.0 * DAY])]
    gaps = [0.0, 1.0, 40.0, window / 9, window / 4, window / 4 + 1e-6, window / 2, float(window), window - 1e-6]
    offsets: list[float] = []
    for _ in range(draw(st.integers(1, 3))):
        start, gap = draw(st.sampled_from(starts)), draw(st.sampled_from(gaps))
        offsets += [start + n * gap for n in range(draw(st.sampled_from([1, 4, 5, 9, 20, 35])))]
    flavors = FLAVORS[pattern]
    picks = draw(st.lists(st.integers(0, len(flavors) - 1), min_size=8, max_size=24))
    late = draw(st.lists(st.sampled_from((0, 1, 300) if is_signal else LATENESS), min_size=1, max_size=7))
    ids = [f"e{n:04}" for n in range(len(offsets))]
    draw(st.randoms(use_true_random=False)).shuffle(ids)
    return [
        stored_event(
            ids[n],
            START + seconds(at),
            START + seconds(at + late[n % len(late)]),
            **{"ip_key": None, "ua_key": None, "actor_key": None, **flavors[picks[n % len(picks)]]},
        )
        for n, at in enumerate(offsets)
    ]


NOW: Callable[[str], Any] = lambda pattern: START + timedelta(days=2 if pattern == "credential_stuffing" else 80)  # noqa: E731
"""When it is evaluated: before signals expire."""
