"""The alerts against the oracle: the published rules, written down in SQL over all events that are in the store."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.detection.oracle import RULES, Attack, attacks

NAMED = 500
"""Alerts name so many of their members."""
PLATFORM = "platform"
MOST_LINES = 100
"""So long an alert's history is at most."""
WITHDRAWN = "withdrawn"
OF_NEW_PLACES = ("account_takeover", "suspicious_password_change")
"""Patterns that an earlier sign-in which turns up changes: their alerts are withdrawn, their attacks lose members."""

type Compared = tuple[Any, ...]
"""Organization, event at which it began, severity, first and last moment, number of members, those that are named."""

FIELDS = frozenset(
    {
        *("id", "tenant_id", "kind", "series", "pattern", "key", "title", "status", "severity", "superseded_by"),
        *("first_seen", "last_seen", "count", "event_ids", "named_until", "count_is_minimum", "crossed", "rules"),
        *("attack", "runbook", "history", "created_at"),
    }
)
"""What an alert may have that nobody closed."""
TITLES = {
    "account_takeover": "An account may be taken over",
    "brute_force": "Password guessing against one account",
    "bulk_data_access": "One actor reads very much",
    "credential_stuffing": "One address tries many accounts",
    "ledger_integrity": "The audit trail was tampered with",
    "mass_deletion": "One actor deletes very much",
    "privilege_escalation": "Somebody gains power over the organization",
    "suspicious_password_change": "A password change that the owner may not have made",
    "unauthorized_access": "Somebody reaches for what is not theirs",
    "webhook_paused": "Events no longer reach the webhook",
}


def check_alerts(snapshot: Snapshot) -> list[Finding]:
    """Every attack has its one alert, of the severity and with the members that the rules give; there are no others;
    and each says of itself what the events say."""
    alerts = snapshot.of("alerts", "alert")
    current = [each for each in alerts if not each.get("superseded_by")]
    findings: list[Finding] = []
    for pattern in RULES:
        demanded = Counter(map(_of_attack, attacks(snapshot.events, pattern)))
        raised = Counter(_of_alert(each) for each in current if each["pattern"] == pattern)
        findings += [Finding("alert_missing", _shown(pattern, each)) for each in demanded - raised]
        findings += [Finding("alert_false", _shown(pattern, each)) for each in raised - demanded]
    known = {alert["pattern"] for alert in alerts}
    findings += [Finding("alert_false", f"no rule for {pattern}") for pattern in known - RULES.keys()]
    return [*findings, *_superseded(alerts), *_contents(snapshot, alerts)]


def _of_attack(attack: Attack) -> Compared:
    of = (attack.tenant, attack.crossed, attack.severity, attack.first_seen, attack.last_seen)
    return (*of, len(attack.members), attack.members[:NAMED])


def _of_alert(alert: Item) -> Compared:
    seen = (datetime.fromisoformat(alert[name]) for name in ("first_seen", "last_seen"))
    of = (alert["tenant_id"], alert["crossed"]["id"], alert["severity"], *seen, alert["count"])
    return (*of, tuple(alert["event_ids"]))


def _shown(pattern: str, compared: Compared) -> str:
    tenant, crossed, severity, first, last, count, _ = compared
    return f"{pattern} {severity} of {tenant}, crossed at {crossed}, {count} events from {first} to {last}"


def _superseded(alerts: Sequence[Item]) -> Iterator[Finding]:
    """One that is superseded began in the attack of another one, of the same series, that is there; or was withdrawn.
    No two began at the same event."""
    known = {each["id"]: each for each in alerts}
    whole = {(each["series"], each["crossed"]["id"]): each for each in alerts if each["tenant_id"] == PLATFORM}
    began = Counter((each["tenant_id"], each["series"], each["crossed"]["id"]) for each in alerts)
    for (tenant, series, crossed), number in began.items():
        if number > 1:
            yield Finding("alert_false", f"{number} alerts {series} of {tenant} began at {crossed}")
    for each in alerts:
        heir = each.get("superseded_by")
        if heir is None or each["pattern"] not in RULES or (heir == WITHDRAWN and each["pattern"] in OF_NEW_PLACES):
            continue
        other = known.get(heir)
        if other is None or any(each[name] != other[name] for name in ("tenant_id", "series")):
            yield Finding("alert_false", f"alert {each['id']} is superseded by {heir}, which is none of its series")
            continue
        if RULES[each["pattern"]].across:  # of an attack on several, that of the platform alone names all members
            other = whole.get((other["series"], other["crossed"]["id"]), other)
        is_named = each["crossed"]["id"] in other["event_ids"] or other["count"] > NAMED
        if not is_named and each["pattern"] not in OF_NEW_PLACES:
            yield Finding("alert_false", f"alert {each['id']} began outside the attack of {heir}")


def _contents(snapshot: Snapshot, alerts: Sequence[Item]) -> Iterator[Finding]:
    events = {event["id"]: event for event in snapshot.events}
    updates: dict[str, list[Item]] = defaultdict(list)
    for event in snapshot.events:
        if event["type"].startswith("alert."):
            updates[event["target"]["id"]].append(event)
    for alert in alerts:
        for wrong in _wrong(alert, events.get(alert["crossed"]["id"]), updates[alert["id"]]):
            yield Finding("alert_otherwise", f"alert {alert['id']}: {wrong}")


def _wrong(alert: Item, crossed: Item | None, told: Sequence[Item]) -> Iterator[str]:
    """What an alert says of itself: where it began, how many events it is about, and what became of it."""
    pattern = alert["pattern"]
    if unknown := sorted(name for name in alert.keys() - FIELDS if not name.startswith("_")):
        yield f"nothing makes it have {', '.join(unknown)}"
    if crossed is None:
        return (yield "the event at which it began is not there")
    if alert["crossed"]["at"] not in (crossed["occurred_at"], crossed["recorded_at"]):
        yield f"it began at {alert['crossed']['at']}, and its event was at another time"
    key = _key(RULES[pattern].key, crossed) if pattern in RULES else None
    if alert["key"] != key or alert["series"] != f"{pattern}|{key}":
        yield f"it is about {alert['key']}, and began at an event of {key}"
    if alert["title"] != TITLES.get(pattern):
        yield f"it is called {alert['title']}"
    for event in told:
        if event["tenant_id"] != alert["tenant_id"] or event["attributes"]["pattern"] != pattern:
            yield f"{event['type']} {event['id']} is of another one"
    yield from _wrong_history(alert["history"], told)


def _key(name: str, event: Mapping[str, Any]) -> str | None:
    found = event["ip_key"] if name == "ip" else (event[name] or {}).get("id")
    return None if found is None else str(found)


def _wrong_history(history: Sequence[Item], told: Sequence[Item]) -> Iterator[str]:
    """Each line is an event, and each event a line: the same move, by the same person. A long history lacks some."""
    lines = Counter((each["from"], each["to"], each["by"]) for each in history)
    moves = Counter[tuple[str | None, str, str]]()
    for event in told:
        said, by = event["attributes"], event["actor"]["id"] or "system"
        moves[said.get("old_status"), said.get("new_status", "open"), by] += 1
    if lines - moves or (moves - lines and len(history) < MOST_LINES):
        yield f"its history of {len(history)} is not what {len(told)} events say"
