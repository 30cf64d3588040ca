"""Alert documents, and what has to change about them so that they say what the events say. Pure functions.

An alert's id is a name-based UUID of tenant, pattern, key and the event of the episode's first crossing point: neither
the run's time nor the pattern's version enters it. When late events put a crossing point before the first one, or
bridge two episodes, the id changes with it: the alert of that name remains, and every other one whose first crossing
point lies in the episode becomes `superseded_by` it. One that becomes an episode's alert again is reinstated. An alert
that takes over starts open, also when the superseded one was closed: it stands on events that nobody has judged yet.

Severity is the highest of the episode's crossing points: it only rises while an episode grows, and falls if the
episode is parted. Status, history and closing are people's: evaluation adds to the history and leaves the rest alone.

Beside the alerts stands one document per (pattern, key), its series: every change of the key's alerts replaces it with
if_match, so that of two concurrent evaluations one starts over, even when they touch different alerts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from shared.audit.events.alert import AlertRaise, AlertUpdate
from shared.audit.model import AuditEvent
from shared.core.clock import parse_rfc3339, rfc3339
from shared.detection.episodes import Closing, Episode
from shared.detection.model import Moment, Pattern
from shared.storage.documents import Item

ALERT_KIND: Final = "alert"
SERIES_KIND: Final = "alert_series"
BY_SYSTEM: Final = "system"
_NAMES = UUID("6b1f2f0e-6a3c-5d0b-9a53-6f0e0d4a8c11")
_SHOWN = (
    *("id", "pattern", "severity", "status", "key", "title", "first_seen", "last_seen", "count", "event_ids"),
    *("attack", "runbook", "superseded_by", "incident", "closed_at", "created_at", "history"),
)


@dataclass(frozen=True, slots=True)
class Series:
    """All alerts of one pattern on one key of one tenant."""

    tenant_id: str
    pattern: Pattern[Any]
    key: str

    @property
    def name(self) -> str:
        """What alerts of the series carry as `series`."""
        return f"{self.pattern.id}|{self.key}"

    @property
    def head_id(self) -> str:
        """Id of the series' own document. Hashed: a key may hold what an id may not."""
        return f"series|{self._named('series')}"

    def alert_id(self, episode: Episode) -> str:
        """Id of the alert of an episode."""
        return self._named(episode.anchor[1])

    def _named(self, what: str) -> str:
        return str(uuid5(_NAMES, "\n".join((self.tenant_id, self.pattern.id, self.key, what))))


@dataclass(frozen=True, slots=True)
class Change:
    """An alert to create (`etag` None) or to replace, and the event that says so; None for mere growth."""

    item: Item
    etag: str | None
    event: AuditEvent | None


def anchor_of(alert: Item) -> Moment:
    """The first crossing point of an alert's episode when it was last written."""
    return parse_rfc3339(alert["crossed"]["at"]), alert["crossed"]["id"]


def closings_of(stored: Sequence[Item]) -> list[Closing]:
    """The closings among a series' alerts, superseded ones included: a person's decision stays where it was made."""
    return [Closing(anchor_of(each), parse_rfc3339(each["closed_at"])) for each in stored if each.get("closed_at")]


def reconcile(series: Series, found: Sequence[Episode], stored: Sequence[Item], now: str) -> list[Change]:
    """What to write so that the stored alerts of a series show its episodes. Nothing when they do."""
    known = {alert["id"]: alert for alert in stored}
    remaining = {series.alert_id(episode): episode for episode in found}
    changes: list[Change] = []
    for alert_id, episode in remaining.items():
        if alert_id not in known:
            changes.append(_raised(series, alert_id, episode, now))
        elif (change := _updated(series, known[alert_id], episode, now)) is not None:
            changes.append(change)
    for alert in stored:
        if alert["id"] in remaining:
            continue
        heir = next((name for name, episode in remaining.items() if episode.covers(anchor_of(alert))), None)
        if heir is not None and alert.get("superseded_by") != heir:
            changed = {**alert, "superseded_by": heir}
            changes.append(_change(series, alert, changed, f"superseded by {heir}", now))
    return changes


def shown(alert: Item) -> dict[str, Any]:
    """An alert as the API shows it, without what only the store and the engine use."""
    return {name: alert[name] for name in _SHOWN if alert.get(name) is not None}


def _evidence(episode: Episode) -> dict[str, Any]:
    return {
        "severity": episode.severity,
        "first_seen": rfc3339(episode.first_seen),
        "last_seen": rfc3339(episode.last_seen),
        "count": episode.count,
        "event_ids": list(episode.event_ids),
    }


def _raised(series: Series, alert_id: str, episode: Episode, now: str) -> Change:
    pattern = series.pattern
    item: Item = {
        "id": alert_id,
        "tenant_id": series.tenant_id,
        "kind": ALERT_KIND,
        "series": series.name,
        "pattern": pattern.id,
        "key": series.key,
        "title": pattern.title,
        "status": "open",
        **_evidence(episode),
        "crossed": {"at": rfc3339(episode.anchor[0]), "id": episode.anchor[1]},
        "attack": list(pattern.attack),
        "runbook": list(pattern.runbook),
        "history": [_entry(now, None, "open", "raised")],
        "created_at": now,
    }
    return Change(item, None, AlertRaise(pattern=pattern.id, severity=episode.severity))


def _updated(series: Series, alert: Item, episode: Episode, now: str) -> Change | None:
    """The alert with the episode's evidence; None when it has it. Title and runbook stay as they were raised."""
    evidence = _evidence(episode)
    notes: list[str] = []
    if alert["severity"] != episode.severity:
        notes.append(f"severity {alert['severity']} to {episode.severity}")
    if alert.get("superseded_by") is not None:
        notes.append("reinstated")
    if not notes and all(alert[name] == value for name, value in evidence.items()):
        return None
    changed = {name: value for name, value in (alert | evidence).items() if name != "superseded_by"}
    if not notes:
        return Change(_stored_form(changed), alert["_etag"], None)
    return _change(series, alert, changed, ", ".join(notes), now)


def _change(series: Series, before: Item, after: Item, note: str, now: str) -> Change:
    """A change worth an event and a line in the history."""
    old, new = _state(before), _state(after)
    item = _stored_form(after)
    item["history"] = [*before["history"], _entry(now, old, new, note)]
    event = AlertUpdate(pattern=series.pattern.id, severity=after["severity"], old_status=old, new_status=new)
    return Change(item, before["_etag"], event)


def _entry(now: str, old: str | None, new: str, note: str) -> dict[str, Any]:
    return {"at": now, "by": BY_SYSTEM, "from": old, "to": new, "note": note}


def _state(alert: Item) -> str:
    """The status as history and events tell it: a superseded alert is no longer open or closed."""
    return "superseded" if alert.get("superseded_by") is not None else str(alert["status"])


def _stored_form(alert: Item) -> Item:
    return {name: value for name, value in alert.items() if not name.startswith("_")}
