"""The occasions of controls, counted: what has to have happened before anything can be said of them. Pure.

What `needs` and `exposure` of a control name: selectors of events, or populations, whose names begin with `@`. Between
`/` stand groups; there has to be something of each. Whatever else speaks to a control is context, and shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.compliance.evidence import AlertRow, Evidence
from shared.compliance.facts.card_use import card_users, systems_signed_in
from shared.compliance.rules.operations import first_seen_by_people
from shared.compliance.selectors import selectors

FOLLOWED = frozenset({"@acknowledged", "@decided", "@acted"})
"""Populations of what people did about alerts."""
_ANSWERED = "alert.update@acknowledged alert.update@resolved alert.update@dismissed"
_GRAVE = frozenset({"high", "critical"})
_COPIES = frozenset({"access", "export"})


def groups_of(text: str) -> list[str]:
    """The groups of a text; of each there has to be something."""
    return [group.strip() for group in text.split("/")]


def occasions(text: str, evidence: Evidence) -> int | None:
    """How many occasions the words of a group name; None where they cannot be counted."""
    named = [_POPULATIONS[word](evidence) for word in text.split() if word.startswith("@")]
    if any(count is None for count in named):
        return None
    plain = " ".join(word for word in text.split() if not word.startswith("@"))
    return evidence.facts.count(plain) + sum(count or 0 for count in named)


def check_words(text: str) -> None:
    """ValueError for a word that is neither a selector nor a population."""
    for word in text.replace("/", " ").split():
        if word.startswith("@"):
            if word not in _POPULATIONS:
                raise ValueError(f"{word} is no population")
        else:
            selectors(word)


def decided_at(alert: AlertRow) -> str | None:
    """When somebody closed an alert with a note, or recorded the incident behind it."""
    if alert.closed_at is not None and alert.closed_note:
        return alert.closed_at
    return str(alert.incident.get("recorded_at")) if alert.incident else None


def _handled(evidence: Evidence, when: Callable[[AlertRow], str | None], trail: str) -> int | None:
    """Alerts that people handled, where the trail of the period has steps of them; where there were grave ones, of
    these: whoever handled nothing but trifles has shown nothing yet."""
    if evidence.alerts is None:
        return None
    rows = _alerts(evidence, when)
    grave = [each for each in rows if each.severity in _GRAVE]
    return sum(when(each) is not None for each in grave or rows) if evidence.facts.count(trail) else 0


def _alerts(evidence: Evidence, when: Callable[[AlertRow], str | None]) -> list[AlertRow]:
    """Alerts that were raised, or handled, in the period."""
    start, end = evidence.period.start, evidence.period.end
    return [
        each
        for each in evidence.alerts or ()
        if each.raised_at < end and (each.raised_at >= start or (when(each) or "") >= start)
    ]


def _acknowledged(evidence: Evidence) -> int | None:
    return _handled(evidence, first_seen_by_people, _ANSWERED)


def _decided(evidence: Evidence) -> int | None:
    return _handled(evidence, decided_at, "alert.update@resolved alert.update@dismissed incident.record")


def _acted(evidence: Evidence) -> int | None:
    """Alerts that people acted on; where none was raised, the days on which detection found that."""
    if evidence.alerts is not None and not _alerts(evidence, first_seen_by_people):
        return _detection(evidence)
    return _acknowledged(evidence)


def _detection(evidence: Evidence) -> int | None:
    if evidence.operations is None:
        return None
    return sum(day in evidence.operations.detection_days for day in evidence.period.days)


def _starts(evidence: Evidence) -> int | None:
    return None if evidence.operations is None else evidence.operations.starts + len(evidence.operations.outages)


def _answered(evidence: Evidence, kinds: frozenset[str] | None = None) -> int | None:
    if evidence.requests is None:
        return None
    start, end = evidence.period.start, evidence.period.end
    return sum(
        start <= (each.answered_at or "") < end and each.state != "withdrawn" and (kinds is None or each.kind in kinds)
        for each in evidence.requests
    )


def _accounts(evidence: Evidence, *, password_only: bool = False) -> int | None:
    if evidence.accounts is None:
        return None
    return sum(each.status == "active" and not (password_only and each.mfa) for each in evidence.accounts)


def _service_logins(evidence: Evidence) -> int | None:
    found = systems_signed_in(evidence.facts)
    return len(found.names) if found.names or not found.gaps else None


def _changes(evidence: Evidence) -> int:
    """Changes of settings by people: what rules look at. A sample of a webhook changes nothing."""
    facts = evidence.facts
    idle = [
        e for e in facts.extracts("config.change") if e.attributes.get("key") == "webhook.test" or e.actor[0] != "user"
    ]
    return max(0, facts.count("config.change+success") - len(idle))


_POPULATIONS: Mapping[str, Callable[[Evidence], int | None]] = {
    "@people": lambda evidence: evidence.facts.total("by_people"),
    "@sessions": lambda evidence: evidence.facts.total("sessions_n"),
    "@with_purpose": lambda evidence: evidence.facts.total("with_purpose"),
    "@accounts": _accounts,
    "@password_only": lambda evidence: _accounts(evidence, password_only=True),
    "@changes": _changes,
    "@leavers": lambda evidence: evidence.facts.endings,
    "@service_logins": _service_logins,
    "@card_users": lambda evidence: card_users(evidence.facts).total,
    "@answered": _answered,
    "@answered_access": lambda evidence: _answered(evidence, _COPIES),
    "@acknowledged": _acknowledged,
    "@decided": _decided,
    "@acted": _acted,
    "@detection": _detection,
    "@starts": _starts,
}
"""Populations by their names: what each counts is told to readers by `TOLD`."""

TOLD: Mapping[str, str] = {
    "@people": "events of people",
    "@sessions": "sessions",
    "@with_purpose": "uses of data with a purpose",
    "@accounts": "active accounts",
    "@password_only": "active accounts without a second factor",
    "@changes": "changes of settings by people",
    "@leavers": "accounts that were ended",
    "@service_logins": "accounts of systems that signed in",
    "@card_users": "people who used card data",
    "@answered": "requests of persons that were answered",
    "@answered_access": "requests for a copy that were answered",
    "@acknowledged": "alerts that somebody saw",
    "@decided": "alerts closed with a note, or with an incident recorded",
    "@acted": "alerts that somebody saw, or days of detection where none was raised",
    "@detection": "days on which detection ran",
    "@starts": "starts of the service, and outages of the trail",
}
"""What populations are, in words."""


def told(text: str) -> str:
    """Words of occasions as reports tell them."""
    return "; and of: ".join(", ".join(TOLD.get(word, word) for word in group.split()) for group in groups_of(text))
