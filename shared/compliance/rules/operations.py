"""Rules on alerts and incidents, on detection, on changes of settings, and on reports."""

from __future__ import annotations

from datetime import timedelta

from shared.compliance.evidence import AlertRow, Evidence, hour_off, hours_between
from shared.compliance.rules.model import (
    NOTHING,
    Found,
    Result,
    approval,
    bounded,
    missing,
    of_extracts,
    rule,
    whole_period,
)
from shared.core.clock import parse_rfc3339, rfc3339

_GRAVE = frozenset({"high", "critical"})
_DETECTION = frozenset({"thresholds", "mutes", "allow_lists"})
_CHANGES = ("user.role_change", "user.status_change", "config.change", "apikey.create", "user.invite")


def first_seen_by_people(alert: AlertRow) -> str | None:
    """When somebody acknowledged an alert, or closed it."""
    times = [at for at in (alert.acknowledged_at, alert.closed_at) if at is not None]
    return min(times, default=None)


@rule("INC-01", "high", "A high or critical alert was not acknowledged in time", "alert_ack_hours")
def acknowledged(evidence: Evidence) -> Result:
    """Grave alerts by the time until somebody saw them."""
    if evidence.alerts is None:
        return missing("alerts")
    allowed = evidence.at_least("alert_ack_hours")
    late = [
        (each, seen)
        for each in evidence.alerts
        if each.severity in _GRAVE
        and each.raised_at < evidence.period.end
        and hours_between(each.raised_at, (seen := first_seen_by_people(each)) or evidence.period.end) > allowed
    ]
    told = [
        Found(
            f"Alert {each.id} ({each.pattern}) was not acknowledged for {allowed} hours",
            1,
            each.raised_at,
            seen or evidence.period.end,
            remedied_at=seen,
        )
        for each, seen in late
        if (seen or evidence.period.end) >= evidence.period.start
    ]
    return Result(bounded(told))


@rule("INC-02", "medium", "An alert was not resolved in time, or without a note", "alert_resolve_days")
def resolved(evidence: Evidence) -> Result:
    """Alerts by the time until they were closed."""
    if evidence.alerts is None:
        return missing("alerts")
    allowed, end = evidence.at_least("alert_resolve_days"), evidence.period.end
    found = []
    for each in evidence.alerts:
        until = each.closed_at or end
        if each.raised_at < end and hours_between(each.raised_at, until) > allowed * 24:
            text = f"Alert {each.id} ({each.pattern}) was open for more than {allowed} days"
            found.append(Found(text, 1, each.raised_at, until, remedied_at=each.closed_at))
        elif each.closed_at is not None and not each.closed_note:
            found.append(Found(f"Alert {each.id} was closed without a note", 1, each.raised_at, each.closed_at))
    return Result(bounded(found))


@rule("INC-03", "critical", "An authority was told of an incident too late, or not at all", "gdpr_breach_hours")
def notified(evidence: Evidence) -> Result:
    """Recorded incidents. What was decided is free text: one that begins with notify or reportable has to be told."""
    allowed, found = evidence.at_least("gdpr_breach_hours"), []
    latest = {each.target: each for each in evidence.facts.extracts("incident.record")}
    for alert, each in latest.items():
        given = each.attributes
        told, aware = given.get("authority_notified_at"), str(given.get("aware_at"))
        due = str(given.get("decision", "")).strip().lower().startswith(("notify", "reportable"))
        if (told or due) and hours_between(aware, str(told or evidence.period.end)) > allowed:
            text = f"Incident of alert {alert}: {allowed} hours passed"
            found.append(Found(text, 1, aware, str(told or evidence.period.end), (each.ref,), remedied_at=told))
    return Result(bounded(found))


@rule("INC-04", "low", "The same was raised again soon after it was resolved", "recurrence_days")
def not_again(evidence: Evidence) -> Result:
    """Alerts of the same pattern on the same key."""
    if evidence.alerts is None:
        return missing("alerts")
    return Result(bounded([_again(each) for each in recurrences(evidence)]))


def recurrences(evidence: Evidence) -> list[AlertRow]:
    """Alerts raised in the period, of which one of the same kind was closed shortly before."""
    within = evidence.at_least("recurrence_days") * 24
    closed: dict[tuple[str, str], list[str]] = {}
    for each in evidence.alerts or ():
        if each.closed_at is not None:
            closed.setdefault((each.pattern, each.key), []).append(each.closed_at)
    return [
        each
        for each in evidence.raised
        if any(at <= each.raised_at <= hour_off(at, within) for at in closed.get((each.pattern, each.key), ()))
    ]


def _again(alert: AlertRow) -> Found:
    return Found(f"{alert.pattern} was raised again: alert {alert.id}", 1, alert.raised_at, alert.raised_at)


@rule("MON-01", "high", "A day on which detection did not run")
def detected(evidence: Evidence) -> Result:
    """Days of the period without a sign of life of detection."""
    days = evidence.operations.detection_days if evidence.operations is not None else frozenset()
    if not days:
        return missing("operations")
    first = evidence.organization.enrolled_at[:10]
    lost = [day for day in evidence.period.days if day not in days and day >= first]
    if not lost:
        return NOTHING
    start, end = f"{lost[0]}T00:00:00.000000Z", _end_of(lost[-1])
    return Result((Found(f"Detection did not run on {', '.join(lost[:10])}", len(lost), start, end),))


def _end_of(day: str) -> str:
    return rfc3339(parse_rfc3339(f"{day}T00:00:00Z") + timedelta(days=1))


@rule("MON-02", "high", "Detection was changed, and nobody approved it")
def detection_kept(evidence: Evidence) -> Result:
    """Thresholds, mutes and lists of what is left alone, changed without an approver or a ticket."""
    changed = [
        each
        for each in evidence.facts.extracts("config.change")
        if _DETECTION & set(each.attributes.get("changed_fields", ())) and not approval(each.attributes)
    ]
    return Result(of_extracts(changed, lambda each: f"{', '.join(each.attributes['changed_fields'])} changed"))


@rule("CHG-01", "medium", "Settings were changed without an actor, values or an approval")
def recorded(evidence: Evidence) -> Result:
    """Changes by people. What the operator's command line does is not approved in the trail, and a webhook's sample
    changes nothing."""
    lacking = [
        each
        for each in evidence.facts.extracts("config.change")
        if each.attributes.get("key") != "webhook.test"
        and each.actor[0] == "user"
        and not (each.actor[1] and each.is_sealed and approval(each.attributes))
    ]
    return Result(of_extracts(lacking, lambda each: f"{each.attributes.get('key')} changed without an approval"))


@rule("CHG-02", "medium", "Somebody approved the own change")
def four_eyes(evidence: Evidence) -> Result:
    """Changes whose approver is their actor."""
    own = [
        each
        for each in evidence.facts.extracts(*_CHANGES)
        if each.attributes.get("approved_by") and each.attributes["approved_by"] == each.actor[1]
    ]
    return Result(of_extracts(own, lambda each: f"{each.ref.type} approved by whoever did it"))


@rule("RPT-01", "low", "A report that was due was not made, or nobody signed one off")
def reported(evidence: Evidence) -> Result:
    """The daily activity reports, and sign-offs of the others."""
    made = evidence.facts.extracts("report.generate")
    days = {str(each.attributes.get("period_from")) for each in made if each.attributes.get("framework") == "activity"}
    first = evidence.organization.enrolled_at[:10]
    lost = [day for day in evidence.period.days if day not in days and day >= first]
    found = []
    if lost:
        text = f"No activity report of {', '.join(lost[:10])}"
        found.append(Found(text, len(lost), f"{lost[0]}T00:00:00.000000Z", _end_of(lost[-1])))
    signed = {each.target for each in evidence.facts.extracts("report.sign_off")}
    unsigned = [e for e in made if e.attributes.get("framework") != "activity" and e.target not in signed]
    found += of_extracts(unsigned, lambda each: f"{each.attributes.get('framework')} report {each.target} not signed")
    given = {each.attributes.get("framework") for each in made}
    if len(evidence.period.days) > 31:
        found += [
            each
            for name in evidence.policies.schedules
            if name not in given
            for each in whole_period(evidence, f"No {name} report was made")
        ]
    return Result(tuple(found))


RULES = (
    *(acknowledged, resolved, notified, not_again, detected, detection_kept),
    *(recorded, four_eyes, reported),
)
