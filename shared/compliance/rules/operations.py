"""Rules on alerts and incidents, on detection, and on changes of settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.compliance.evidence import AlertRow, Evidence, day_after, hour_off, hours_between, midnight_of
from shared.compliance.report_model import EventRef
from shared.compliance.rules.model import (
    MOST_EVENTS,
    NOTHING,
    Found,
    Result,
    approval,
    bounded,
    missing,
    of_extracts,
    rule,
)

_DUE = ("reportable", "notifiable", "notify", "to be notified", "must be notified")
_NOT_DUE = ("not reportable", "not notifiable", "no notification", "not to be notified")
"""How decisions about incidents begin."""
_BETWEEN = re.compile(r"[\s_-]+")
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
    """Incidents that were recorded in the period, whose time ran out in it, or of which nobody was told yet. The
    earliest awareness and the first notice count, whatever later records say, and a decision that comes after the time
    takes none back that was overdue by then."""
    allowed, period = evidence.at_least("gdpr_breach_hours"), evidence.period
    found, unknown = [], False
    for alert, (records, refs) in _incidents(evidence).items():
        aware = min(str(each["aware_at"]) for each in records)
        told = first_notice(records)
        until = hour_off(aware, allowed)
        was_due, is_due = was_reportable(records, until), is_reportable(records)
        if not refs and (told or is_due is False) and until < period.start:
            continue  # it was over before the period
        unknown |= was_due is None and told is None
        if (told or was_due) and hours_between(aware, told or period.end) > allowed:
            text = f"Incident of alert {alert}: {allowed} hours passed"
            taken_back = None if told or is_due else "It was decided later that it is not reportable"
            last = max(aware, told or period.end)
            found.append(Found(text, 1, aware, last, refs, response=taken_back, remedied_at=told))
    return Result(bounded(found), ("decision",) if unknown else ())


def _incidents(evidence: Evidence) -> dict[str, tuple[list[Mapping[str, Any]], tuple[EventRef, ...]]]:
    """By alert what was recorded of the incident behind it, by time, and the events of the period. Of what was recorded
    at one time, that it has to be notified comes last: nothing takes that back at once."""
    found: dict[str, tuple[list[Mapping[str, Any]], tuple[EventRef, ...]]] = {}
    for alert, given in evidence.incidents_before:
        found[alert] = ([*found.get(alert, ([], ()))[0], given], ())
    for each in evidence.facts.extracts("incident.record"):
        records, refs = found.get(str(each.target), ([], ()))
        given = {**each.attributes, "recorded_at": each.at}
        found[str(each.target)] = ([*records, given], (*refs, each.ref)[:MOST_EVENTS])
    for records, _ in found.values():
        records.sort(key=lambda each: (str(each["recorded_at"]), bool(is_reportable([each]))))
    return found


def first_notice(records: Sequence[Mapping[str, Any]]) -> str | None:
    """When the authority was told, as it was first recorded. One that was still to come then is none."""
    named = ((str(each.get("authority_notified_at") or ""), str(each["recorded_at"])) for each in records)
    return next((told for told, recorded_at in named if told and told <= recorded_at), None)


def is_reportable(records: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether an incident has to be notified, as its decisions, free texts, begin; None where they do not say. The
    last that says something counts; what says nothing takes nothing back."""
    for each in reversed(records):
        words = " ".join(_BETWEEN.split(str(each.get("decision", "")).casefold())).strip()
        if words.startswith(_NOT_DUE):
            return False
        if words.startswith(_DUE):
            return True
    return None


def was_reportable(records: Sequence[Mapping[str, Any]], until: str) -> bool | None:
    """Whether it had to be when the time (RFC 3339) ran out, or any decision after that says so; None where none says.
    Whatever was decided in time can be taken back in time."""
    in_time = [each for each in records if str(each["recorded_at"]) <= until]
    later = [each for each in records if str(each["recorded_at"]) > until]
    said = [is_reportable(in_time), *(is_reportable([each]) for each in later)]
    return True if any(said) else None if all(each is None for each in said) else False


@rule("INC-04", "low", "The same was raised again soon after it was resolved", "recurrence_days")
def not_again(evidence: Evidence) -> Result:
    """Alerts of the same pattern on the same key."""
    if evidence.alerts is None:
        return missing("alerts")
    return Result(bounded([_again(each) for each in recurrences(evidence)]))


def recurrences(evidence: Evidence) -> list[AlertRow]:
    """Alerts raised in the period, of which one of the same kind was closed shortly before, be that before it."""
    within = evidence.at_least("recurrence_days") * 24
    closed: dict[tuple[str, str], list[str]] = {}
    for each in (*(evidence.alerts or ()), *evidence.alerts_before):
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
    start, end = midnight_of(lost[0]), midnight_of(day_after(lost[-1]))
    return Result((Found(f"Detection did not run on {', '.join(lost[:10])}", len(lost), start, end),))


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


RULES = (
    *(acknowledged, resolved, notified, not_again, detected, detection_kept),
    *(recorded, four_eyes),
)
