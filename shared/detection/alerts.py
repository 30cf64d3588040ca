"""Alert documents, and what has to change about them so that they say what the events say. Pure functions.

An alert's id is a name-based UUID of tenant, pattern, key and the event of the episode's first crossing point: neither
the run's time nor the pattern's version enters it. When late events put a crossing point before the first one, or
bridge two episodes, the id changes with it: the alert of that name remains, and every other one whose first crossing
point lies in the episode becomes `superseded_by` it. One that becomes an episode's alert again is reinstated. An alert
that takes over starts open, also when the superseded one was closed: it stands on events that nobody has judged yet.

Severity is the highest of the episode's crossing points: it only rises while an episode grows, and falls if the
episode is parted. Status, history and closing are people's: evaluation adds to the history and leaves the rest alone.

An alert that stood on "never seen before" is withdrawn when an earlier sign-in turns up (`familiarity.py`): it counts
as superseded, by no other. Alerts whose events were erased, or that other thresholds raised, stay as they are.

Beside the alerts stands one document per (pattern, key), its series: every change of the key's alerts replaces it with
if_match, so that of two concurrent evaluations one starts over, even when they touch different alerts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from shared.audit.events.alert import AlertRaise, AlertUpdate
from shared.audit.model import AuditEvent
from shared.core.clock import parse_rfc3339, rfc3339
from shared.detection.episodes import MAX_MEMBERS, Closing, Episode
from shared.detection.model import AlertSeverity, Moment, Observed, Pattern, Span
from shared.storage.documents import Item

ALERT_KIND: Final = "alert"
SERIES_KIND: Final = "alert_series"
BY_SYSTEM: Final = "system"
MOST_ENTRIES: Final = 100
"""Lines of a history, two of them with a note by people: an alert stays far below the 2 MB of an item."""
NAMES = UUID("6b1f2f0e-6a3c-5d0b-9a53-6f0e0d4a8c11")
CLOSED: Final = ("resolved", "dismissed")
WITHDRAWN: Final = "withdrawn"
"""What an alert is superseded by that should not have been raised."""
OVERDUE: Final = "overdue_request"
"""The `pattern` of alerts on requests of persons that were not answered in time; a timer finds them, no pattern."""
_SHOWN = (
    *("id", "pattern", "severity", "status", "key", "title", "first_seen", "last_seen", "count", "event_ids"),
    *("count_is_minimum", "attack", "runbook", "superseded_by", "incident", "closed_at", "created_at", "history"),
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

    def of(self, tenant_id: str) -> "Series":
        """The same of another tenant."""
        return Series(tenant_id, self.pattern, self.key)

    def digest_id(self, hour: datetime) -> str:
        """Id of the digest of one hour."""
        return f"digest|{self._named(rfc3339(hour))}"

    def _named(self, what: str) -> str:
        return str(uuid5(NAMES, "\n".join((self.tenant_id, self.pattern.id, self.key, what))))


@dataclass(frozen=True, slots=True)
class Finding:
    """An episode, and what its alert tells of it."""

    episode: Episode
    severity: AlertSeverity
    first_seen: datetime
    last_seen: datetime
    count: int
    event_ids: tuple[str, ...]
    named_until: str | None = None
    is_minimum: bool = False

    @classmethod
    def of(cls, episode: Episode, members: Sequence[Observed], *, is_minimum: bool = False) -> "Finding":
        """An episode as some of its members show it."""
        named = members[:MAX_MEMBERS]
        until = rfc3339(named[-1].at) if len(members) > MAX_MEMBERS else None
        first, last = members[0].at, members[-1].at
        ids = tuple(each.id for each in named)
        return cls(episode, episode.severity, first, last, len(members), ids, until, is_minimum)

    @property
    def evidence(self) -> dict[str, Any]:
        """The fields of the alert."""
        return {
            "severity": self.severity,
            "first_seen": rfc3339(self.first_seen),
            "last_seen": rfc3339(self.last_seen),
            "count": self.count,
            "event_ids": list(self.event_ids),
            "named_until": self.named_until,
            "count_is_minimum": self.is_minimum or None,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """An alert to create (`etag` None) or to replace, and the event that says so; None for mere growth."""

    item: Item
    etag: str | None
    event: AuditEvent | None


def anchor_of(alert: Item) -> Moment:
    """The first crossing point of an alert's episode when it was last written."""
    return parse_rfc3339(alert["crossed"]["at"]), alert["crossed"]["id"]


def extent_of(alert: Item) -> Span:
    """From an alert's first member to its last crossing point."""
    return Span(parse_rfc3339(alert["first_seen"]), parse_rfc3339(alert["last_seen"]))


def closings_of(stored: Sequence[Item]) -> list[Closing]:
    """The closings among a series' alerts, superseded ones included: a person's decision stays where it was made."""
    return [Closing(anchor_of(each), parse_rfc3339(each["closed_at"])) for each in stored if each.get("closed_at")]


def reconcile(
    series: Series,
    found: Sequence[Finding],
    stored: Sequence[Item],
    now: str,
    *,
    rules: str,
    withdrawn: Sequence[Span] = (),
) -> list[Change]:
    """What to write so that the stored alerts of a series show its episodes. Nothing when they do.

    `rules` tells under which rules they were found. An alert that was raised under the same ones, begins within one of
    the spans of `withdrawn` and belongs to no episode is withdrawn.
    """
    known = {alert["id"]: alert for alert in stored}
    remaining = {series.alert_id(each.episode): each for each in found}
    changes: list[Change] = []
    for alert_id, finding in remaining.items():
        if alert_id not in known:
            changes.append(_raised(series, alert_id, finding, now, rules))
        elif (change := _updated(series, known[alert_id], finding, now)) is not None:
            changes.append(change)
    for alert in stored:
        if alert["id"] in remaining:
            continue
        anchor = anchor_of(alert)
        heir = next((name for name, each in remaining.items() if each.episode.covers(anchor)), None)
        if heir is None and alert.get("rules") == rules and any(span.holds(anchor[0]) for span in withdrawn):
            heir = WITHDRAWN
        if heir is not None and alert.get("superseded_by") != heir:
            changed = {**alert, "superseded_by": heir}
            note = "withdrawn: an earlier sign-in turned up" if heir == WITHDRAWN else f"superseded by {heir}"
            changes.append(noted(series, alert, changed, note, now))
    return changes


def overdue_alert(tenant_id: str, subject: str, event_id: str, due_at: str, now: str) -> Item:
    """The alert that a person's request, which was made in that event, is overdue. The same for every run."""
    return {
        "id": str(uuid5(NAMES, "\n".join((tenant_id, OVERDUE, event_id)))),
        "tenant_id": tenant_id,
        "kind": ALERT_KIND,
        "series": f"{OVERDUE}|{subject}",
        "pattern": OVERDUE,
        "key": subject,
        "title": "A person's request is overdue",
        "severity": "high",
        "status": "open",
        "first_seen": due_at,
        "last_seen": due_at,
        "count": 1,
        "event_ids": [event_id],
        "attack": [],
        "runbook": [
            "See what it waits for: GET /privacy/requests; `cause` says legal_hold or last_admin.",
            "Answer the person, with the reason for the delay and where to complain (GDPR article 12(4)).",
            "Remove the cause; the timer run_erasures goes on within five minutes. Then close the alert with a note.",
        ],
        "history": [entry(now, None, "open", "raised")],
        "created_at": now,
    }


def shown(alert: Item) -> dict[str, Any]:
    """An alert as the API shows it, without what only the store and the engine use."""
    return {name: alert[name] for name in _SHOWN if alert.get(name) is not None}


def _raised(series: Series, alert_id: str, finding: Finding, now: str, rules: str) -> Change:
    pattern, anchor = series.pattern, finding.episode.anchor
    item: Item = {
        "id": alert_id,
        "tenant_id": series.tenant_id,
        "kind": ALERT_KIND,
        "series": series.name,
        "pattern": pattern.id,
        "key": series.key,
        "title": pattern.title,
        "status": "open",
        **_present(finding.evidence),
        "crossed": {"at": rfc3339(anchor[0]), "id": anchor[1]},
        "rules": rules,
        "attack": list(pattern.attack),
        "runbook": list(pattern.runbook),
        "history": [entry(now, None, "open", "raised")],
        "created_at": now,
    }
    return Change(item, None, AlertRaise(pattern=pattern.id, severity=finding.severity))


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _updated(series: Series, alert: Item, finding: Finding, now: str) -> Change | None:
    """The alert with the episode's evidence; None when it has it. Title and runbook stay as they were raised."""
    evidence = finding.evidence
    notes: list[str] = []
    if alert["severity"] != finding.severity:
        notes.append(f"severity {alert['severity']} to {finding.severity}")
    if alert.get("superseded_by") is not None:
        notes.append("reinstated")
    if alert["status"] in CLOSED and alert["count"] != finding.count:
        notes.append(f"count {alert['count']} to {finding.count} after the closing")
    if not notes and all(alert.get(name) == value for name, value in evidence.items()):
        return None
    changed = {name: value for name, value in _present(alert | evidence).items() if name != "superseded_by"}
    if not notes:
        return Change(stored_form(changed), alert["_etag"], None)
    return noted(series, alert, changed, ", ".join(notes), now)


def noted(series: Series, before: Item, after: Item, note: str, now: str) -> Change:
    """A change worth an event and a line in the history. `before` is as it was read."""
    old, new = _state(before), _state(after)
    item = stored_form(after)
    item["history"] = lengthened(before["history"], entry(now, old, new, note))
    event = AlertUpdate(pattern=series.pattern.id, severity=after["severity"], old_status=old, new_status=new)
    return Change(item, before["_etag"], event)


def entry(now: str, old: str | None, new: str, note: str) -> dict[str, Any]:
    """A line of the history that the system writes."""
    return {"at": now, "by": BY_SYSTEM, "from": old, "to": new, "note": note}


def lengthened(history: Sequence[Item], line: Item) -> list[Item]:
    """A history with one line more. Of too many the oldest that the system wrote after the first one is left out; each
    of them is an event of the trail as well."""
    lines = [*history, line]
    if len(lines) > MOST_ENTRIES:
        del lines[next(n for n, each in enumerate(lines) if n and each["by"] == BY_SYSTEM)]
    return lines


def _state(alert: Item) -> str:
    """The status as history and events tell it: a superseded alert is no longer open or closed."""
    return "superseded" if alert.get("superseded_by") is not None else str(alert["status"])


def stored_form(alert: Item) -> Item:
    """An alert without what the store adds."""
    return {name: value for name, value in alert.items() if not name.startswith("_")}
