"""What the alerts have to be, worked out anew in SQL over all events: quadratic joins, no incremental window.

Written from the published rules alone; of the app it uses nothing.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

DAY = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SEVERITIES = ("medium", "high", "critical")

NEVER_SEEN = """NOT EXISTS (SELECT 1 FROM e s WHERE s.tenant = {0}.tenant AND s.target = {0}.target
    AND s.type IN ('auth.login', 'auth.register') AND s.outcome = 'success' AND (s.at, s.id) < ({0}.at, {0}.id)
    AND s.at BETWEEN {0}.at - 30 * 86400000000 AND {0}.at - {1} AND (s.ip IS {0}.ip OR s.ua IS {0}.ua))"""
FRESH = """EXISTS (SELECT 1 FROM e s WHERE s.tenant = b.tenant AND s.target = b.target AND s.type = 'auth.register'
    AND s.outcome = 'success' AND (s.at, s.id) < (b.at, b.id) AND s.at >= b.at - 86400000000)"""
RANK = (
    "CASE {} WHEN 'viewer' THEN 10 WHEN 'user' THEN 20 WHEN 'auditor' THEN 30 WHEN 'tenant_admin' THEN 40 ELSE 50 END"
)
RAISES = f"""m.type = 'access.denied' AND m.wanted IS NOT NULL
    AND {RANK.format("m.wanted")} > CASE WHEN m.target = m.actor THEN {RANK.format("m.role")} ELSE 10 END"""


@dataclass(frozen=True)
class Rule:
    """One pattern: which events are its members (m), when it fires at b over the window's members a, how severely."""

    window: int
    members: str
    key: str
    fires: str
    severity: str
    across: bool = False


RULES: Mapping[str, Rule] = {
    "brute_force": Rule(
        900,
        "m.type = 'auth.login' AND m.outcome = 'failure' AND m.reason IN ('bad_credentials', 'locked')",
        "target",
        "count(*) >= 5",
        "CASE WHEN count(*) >= 20 THEN 2 ELSE 1 END",
    ),
    "credential_stuffing": Rule(
        1200,
        "m.type = 'auth.login' AND m.outcome = 'failure'"
        " AND m.reason IN ('bad_credentials', 'locked', 'unknown_account') AND coalesce(m.target, m.mail) IS NOT NULL",
        "ip",
        "count(DISTINCT coalesce(a.target, a.mail)) >= 5",
        "1",
        across=True,
    ),
    "account_takeover": Rule(
        900,
        "m.type = 'auth.login' AND (m.outcome = 'success' OR m.reason IN ('bad_credentials', 'locked', 'mfa_failed'))"
        " OR m.type = 'auth.password_change' AND m.outcome = 'success'",
        "target",
        "b.type = 'auth.login' AND b.outcome = 'success' AND sum(a.outcome = 'failure') >= 5"
        " OR b.type = 'auth.password_change' AND"
        f" sum(a.type = 'auth.login' AND a.outcome = 'success' AND {NEVER_SEEN.format('a', 0)}) > 0",
        "2",
    ),
    "privilege_escalation": Rule(
        3600,
        "m.type = 'user.role_change' OR m.type = 'user.invite' AND m.given = 'tenant_admin' OR " + RAISES,
        "actor",
        "b.type <> 'user.role_change' OR b.new_role = 'tenant_admin' OR sum(a.type = 'user.role_change') >= 5",
        "CASE WHEN b.type = 'access.denied' OR b.type = 'user.role_change' AND b.target = b.actor"
        " OR b.type = 'user.role_change' AND sum(a.type = 'user.role_change') >= 5"
        " AND sum(a.type = 'user.role_change' AND a.target = a.actor) > 0 THEN 2 ELSE 1 END",
    ),
    "unauthorized_access": Rule(
        600,
        "m.type IN ('access.denied', 'access.cross_tenant_denied')",
        "actor",
        "b.type = 'access.cross_tenant_denied' OR sum(a.type = 'access.denied') >= 5"
        " OR (b.route LIKE 'GET /v1/events%' OR b.route LIKE 'GET /v1/admin/logs/%') AND b.reason <> 'unknown_id'",
        "CASE WHEN b.type = 'access.cross_tenant_denied' THEN 2 ELSE 1 END",
    ),
    "ledger_integrity": Rule(
        3600,
        "m.type = 'ledger.verify_failed' AND m.outcome = 'failure'",
        "target",
        "count(*) >= 1",
        "2",
    ),
    "webhook_paused": Rule(
        3600,
        "m.type = 'webhook.pause' AND m.outcome = 'failure'",
        "target",
        "count(*) >= 1",
        "1",
    ),
    "mass_deletion": Rule(
        1800,
        "m.type IN ('user.delete', 'data.delete') AND m.outcome = 'success'",
        "actor",
        "count(DISTINCT coalesce(a.target_kind || '|' || a.target, a.id)) >= 10",
        "CASE WHEN count(DISTINCT coalesce(a.target_kind || '|' || a.target, a.id)) >= 50 THEN 2 ELSE 1 END",
    ),
    "bulk_data_access": Rule(
        900,
        "m.type IN ('user.view', 'data.read', 'data.export') AND m.outcome = 'success'",
        "actor",
        "count(DISTINCT CASE WHEN a.type <> 'data.export' AND a.records <= 1 THEN a.target_kind || '|' || a.target END)"
        " + sum(CASE WHEN a.type = 'data.export' OR a.target IS NULL OR a.records > 1"
        " THEN max(1, a.records) ELSE 0 END) >= 50",
        "max(a.class IN ('phi', 'cardholder'))",
    ),
    "suspicious_password_change": Rule(
        900,
        "m.type = 'auth.password_change' AND (m.outcome = 'success' OR m.reason IN ('wrong_password', 'locked'))",
        "target",
        "sum(a.outcome = 'failure') >= 3"
        f" OR b.outcome = 'success' AND {NEVER_SEEN.format('b', 900_000_000)} AND NOT {FRESH}",
        "CASE WHEN b.outcome = 'success' AND sum(a.outcome = 'failure') > 0 THEN 1 ELSE 0 END",
    ),
}


@dataclass(frozen=True)
class Attack:
    """One alert as the rules demand it."""

    tenant: str
    crossed: str
    severity: str
    first_seen: datetime
    last_seen: datetime
    members: tuple[str, ...]


def attacks(events: Iterable[Mapping[str, Any]], pattern: str) -> set[Attack]:
    """The attacks among stored events, each event once, whatever their order."""
    rule = RULES[pattern]
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE e (id TEXT PRIMARY KEY, " + ", ".join(f"{name}" for name in _COLUMNS) + ")")
    marks = ", ".join("?" * (1 + len(_COLUMNS)))
    database.executemany(f"INSERT OR IGNORE INTO e VALUES ({marks})", [_row(event) for event in events])  # noqa: S608
    scope = rule.key if rule.across else f"tenant, {rule.key}"
    database.execute(f"CREATE VIEW v AS SELECT * FROM e m WHERE ({rule.members}) AND m.{rule.key} IS NOT NULL")  # noqa: S608
    same = " AND ".join(f"a.{name} = b.{name}" for name in scope.split(", "))
    inside = f"{same} AND (a.at, a.id) <= (b.at, b.id) AND a.at >= b.at - {rule.window * 1_000_000}"
    points = database.execute(
        f"SELECT b.tenant, b.{rule.key}, b.at, b.id, {rule.severity} FROM v b JOIN v a ON {inside} "  # noqa: S608
        f"GROUP BY b.id HAVING {rule.fires} ORDER BY b.at, b.id"
    ).fetchall()
    windows: dict[str, list[Any]] = {}
    for point, *member in database.execute(f"SELECT b.id, a.at, a.id, a.tenant FROM v b JOIN v a ON {inside}"):  # noqa: S608
        windows.setdefault(point, []).append(tuple(member))
    database.close()
    keys: dict[Any, list[Any]] = {}
    for tenant, key, *point in points:
        keys.setdefault(key if rule.across else (tenant, key), []).append((tenant, *point))
    found: set[Attack] = set()
    for mine in keys.values():
        for group in _groups(mine, rule.window * 1_000_000):
            found |= _told(group, windows, across=rule.across)
    return found


def _told(group: Sequence[Any], windows: Mapping[str, list[Any]], *, across: bool) -> set[Attack]:
    members = sorted(set().union(*(windows[event_id] for _, _, event_id, _ in group)))
    severity = SEVERITIES[max(each[3] for each in group)]
    tenants = {"platform", *(tenant for _, _, tenant in members)} if across else {group[0][0]}
    found = set()
    for tenant in tenants:
        own = [each for each in members if not across or tenant in {"platform", each[2]}]
        first, last = (_EPOCH + timedelta(microseconds=own[end][0]) for end in (0, -1))
        found.add(Attack(tenant, group[0][2], severity, first, last, tuple(each[1] for each in own)))
    return found


def _groups(points: Sequence[Any], window: int) -> list[list[Any]]:
    """Chains of points closer than the window; chains above 24 hours by the day."""
    chains: list[list[Any]] = []
    for point in points:
        if chains and point[1] - chains[-1][-1][1] < window:
            chains[-1].append(point)
        else:
            chains.append([point])
    found = []
    for chain in chains:
        if chain[-1][1] - chain[0][1] <= DAY:
            found.append(chain)
        else:
            days = sorted({point[1] // DAY for point in chain})
            found += [[point for point in chain if point[1] // DAY == day] for day in days]
    return found


_COLUMNS = (
    *("tenant", "type", "outcome", "reason", "at", "actor", "role", "target", "target_kind", "ip", "ua", "mail"),
    *("route", "records", "class", "wanted", "new_role", "given"),
)


def _row(event: Mapping[str, Any]) -> tuple[Any, ...]:
    target, actor = event.get("target") or {}, event.get("actor") or {}
    attributes, context = event.get("attributes") or {}, event.get("context") or {}
    return (
        event["id"],
        *(event[name] for name in ("tenant_id", "type", "outcome", "reason")),
        _time(event),
        *(actor.get("id"), actor.get("role"), target.get("id"), target.get("kind")),
        *(event.get(name) for name in ("ip_key", "ua_key", "actor_key")),
        *(context.get("route"), event.get("record_count"), event.get("data_class")),
        *(attributes.get(name) for name in ("attempted_role", "new_role", "role")),
    )


def _time(event: Mapping[str, Any]) -> int:
    """Event time as the rules give it, in microseconds."""
    occurred, recorded = (
        (datetime.fromisoformat(event[name]) - _EPOCH) // timedelta(microseconds=1)
        for name in ("occurred_at", "recorded_at")
    )
    return occurred if -300_000_000 <= recorded - occurred <= 7 * DAY else recorded
