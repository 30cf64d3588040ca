"""Everything that is not as it has to be, one line each: about alerts, calls without events, and what tenants see."""

import re
from collections import Counter
from collections.abc import Iterator

from devhost.demo.seen import Json, Seen
from devhost.simulation.attacks import PATTERNS
from shared.audit.model import PLATFORM_TENANT
from shared.compliance.catalogue import FRAMEWORKS

_USER = "v1/admin/users/{id}"
LEAVES: dict[tuple[str, str, int], str] = {
    ("POST", "v1/register", 201): r"auth\.register consent\.grant consent\.grant",
    ("POST", "v1/login", 200): r"auth\.login",
    ("POST", "v1/login", 401): r"(auth\.account_locked )?auth\.login",
    ("POST", "v1/login", 423): r"auth\.login",
    ("POST", "v1/logout", 204): r"auth\.logout",
    ("POST", "v1/password", 204): r"auth\.password_change",
    ("POST", "v1/password", 403): r"auth\.password_change",
    ("GET", "v1/profile", 200): r"profile\.view",
    ("GET", "v1/profile", 401): r"auth\.token_rejected",
    ("POST", "v1/admin/api-keys", 201): r"apikey\.create",
    ("POST", "v1/admin/invitations", 201): r"user\.invite",
    ("GET", _USER, 404): r"access\.cross_tenant_denied",
    ("PUT", _USER, 200): r"user\.(role|status)_change",
    ("PUT", _USER, 403): r"access\.denied",
    ("DELETE", _USER, 204): r"user\.delete",
    ("GET", "v1/admin/users", 403): r"access\.denied",
    ("GET", "v1/admin/logs/authorization", 200): r"audit\.search",
    ("POST", "v1/events", 201): r"data\.\w+( data\.\w+)*",
    ("GET", "v1/reports/{id}", 200): r"report\.read",
    ("GET", "v1/reports/{id}", 404): r"access\.denied",
    ("GET", "v1/reports", 200): r"",
    ("GET", "v1/alerts", 200): r"",
    ("GET", "v1/health/ready", 200): r"",
}
"""The event types, in the order of the alphabet, that a call leaves with a status. A pattern of its own."""
_BY_THE_APP = re.compile(r"alert\.(raise|update)|report\.generate|system\.(start|heartbeat)")


def faults(seen: Seen) -> list[str]:
    """What is wrong; empty when all is well."""
    return [*_about_alerts(seen), *_about_reports(seen), *_about_calls(seen), *_about_cases(seen), *_about_sight(seen)]


def _about_alerts(seen: Seen) -> Iterator[str]:
    """Attacks without their alerts, and alerts without an attack."""
    names, explained = seen.tenants, set()
    for pattern in sorted(set(PATTERNS) - {case["pattern"] for case in seen.attacks}):
        yield f"there was no attack for {pattern} to find"
    for case in seen.attacks:
        found = list(seen.explained_by(case))
        explained |= {(tenant_id, alert["id"]) for tenant_id, alert in found}
        own = {tenant_id: alert for tenant_id, alert in found if alert["pattern"] == case["pattern"]}
        for tenant_id in case["tenants"]:
            if tenant_id not in own:
                yield f"{case['name']} raised no alert {case['pattern']} in {names[tenant_id]}"
            elif (lacks := _lacks(seen, case, tenant_id, own[tenant_id])) > 0:
                yield f"the alert {case['pattern']} in {names[tenant_id]} lacks {lacks} events of {case['name']}"
    for tenant_id, alerts in seen.alerts.items():
        for alert in alerts:
            if (tenant_id, alert["id"]) not in explained:
                what = f"{alert['pattern']} in {names[tenant_id]} on {seen.who(alert['key'])}"
                yield f"no attack explains the alert {what}"


def _lacks(seen: Seen, case: Json, tenant_id: str, alert: Json) -> int:
    """How many events of a case an alert does not name: of the platform's all, of a tenant's its own."""
    everybody = tenant_id == PLATFORM_TENANT
    events = {each["id"] for each in seen.events_of(case) if everybody or each["tenant_id"] == tenant_id}
    return len(events - set(alert["event_ids"])) if events else case["events"]


def _about_reports(seen: Seen) -> Iterator[str]:
    for tenant in seen.truth["tenants"]:
        if not seen.reports.get(tenant["id"]):
            yield f"{tenant['name']} has no report"
    for framework in FRAMEWORKS:
        made = [each for each in seen.made if each.framework == framework]
        if not made:
            yield f"there is no report on {framework}"
        for each in made:
            if each.fault is not None:
                yield f"the report on {framework}: {each.fault}"
            if not each.gate_passed:
                yield f"the report on {framework} does not rely on the trail"


def _about_calls(seen: Seen) -> Iterator[str]:
    """Calls that did not leave their events, and events that stem from no call and no function."""
    left: dict[str, Counter[str]] = {}
    for trail in seen.trails.values():
        for event in trail:
            left.setdefault(event["context"]["request_id"], Counter())[event["type"]] += 1
    for call in seen.calls:
        held = " ".join(sorted(left.pop(call.request_id, Counter()).elements()))
        wanted = LEAVES.get((call.method, call.route, call.status))
        if wanted is None:
            yield f"{call} was not to be"
        elif not re.fullmatch(wanted, held):
            yield f"{call} left {held or 'no event'}"
    for kinds in left.values():
        for kind in kinds:
            if not _BY_THE_APP.fullmatch(kind):
                yield f"no call left {kind}"


def _about_cases(seen: Seen) -> Iterator[str]:
    """Attacks and near misses that did not leave all they are made of: what other services reported, too."""
    for case in seen.truth["cases"]:
        if (number := len(seen.events_of(case))) != case["events"]:
            yield f"{case['name']} left {number} events, not {case['events']}"


def _about_sight(seen: Seen) -> Iterator[str]:
    """What one tenant has or is shown of another."""
    homes = {each["id"]: tenant["id"] for tenant in seen.truth["tenants"] for each in tenant["users"]}
    for tenant_id, name in seen.tenants.items():
        trail = seen.trails.get(tenant_id, ())
        if not trail:
            yield f"the trail of {name} is empty"
        if any(homes.get(each, tenant_id) != tenant_id for event in trail for each in _named_in(event)):
            yield f"the trail of {name} names people of another organization"
        if tenant_id == PLATFORM_TENANT:
            continue
        own = {event["id"] for event in trail}
        log = seen.logs.get(tenant_id, ())
        if not log:
            yield f"the log of {name} is empty"
        if any(event["id"] not in own or event["tenant_id"] != tenant_id for event in log):
            yield f"{name} is shown another's events"
        if any(each not in own for alert in seen.alerts.get(tenant_id, ()) for each in alert["event_ids"]):
            yield f"an alert of {name} names another's events"
        if {alert["id"] for alert in seen.shown.get(tenant_id, ())} != {
            a["id"] for a in seen.alerts.get(tenant_id, ())
        }:
            yield f"{name} is shown other alerts than its own"


def _named_in(event: Json) -> set[str]:
    """The ids of people in an event. Whoever reaches across tenants names somebody of the other one."""
    target = event["target"] if event["type"] != "access.cross_tenant_denied" else None
    return {each["id"] for each in (event["actor"], target) if each and each["id"]} | set(event["personal"])
