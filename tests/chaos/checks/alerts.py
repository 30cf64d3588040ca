"""The alerts against the oracle: the published rules, written down in SQL over all events that are in the store."""

from collections.abc import Iterable
from datetime import datetime

from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.detection.oracle import RULES, Attack, attacks


def check_alerts(snapshot: Snapshot) -> list[Finding]:
    """Every attack has its alert, of the severity and with the members that the rules give; and there are no others."""
    current = [each for each in snapshot.of("alerts", "alert") if not each.get("superseded_by")]
    findings: list[Finding] = []
    for pattern in RULES:
        demanded = {_comparable(each): each for each in attacks(snapshot.events, pattern)}
        raised = {_comparable(each): each for each in _told(current, pattern)}
        findings += [
            Finding("alert_missing", _shown(pattern, demanded[each])) for each in demanded.keys() - raised.keys()
        ]
        findings += [Finding("alert_false", _shown(pattern, raised[each])) for each in raised.keys() - demanded.keys()]
    known = {alert["pattern"] for alert in current}
    findings += [Finding("alert_false", f"no rule for {pattern}") for pattern in known - RULES.keys()]
    return findings


def _told(alerts: Iterable[Item], pattern: str) -> Iterable[Attack]:
    for alert in alerts:
        if alert["pattern"] == pattern:
            yield Attack(
                alert["tenant_id"],
                alert["crossed"]["id"],
                alert["severity"],
                datetime.fromisoformat(alert["first_seen"]),
                datetime.fromisoformat(alert["last_seen"]),
                tuple(alert["event_ids"]),
            )


def _comparable(attack: Attack) -> tuple[object, ...]:
    """Alerts name their first 500 members."""
    return (*(getattr(attack, name) for name in ("tenant", "crossed", "severity", "first_seen")), attack.members[:500])


def _shown(pattern: str, attack: Attack) -> str:
    return f"{pattern} {attack.severity} of {attack.tenant}, crossed at {attack.crossed}, {len(attack.members)} events"
