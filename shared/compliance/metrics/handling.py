"""Metrics of data, of persons' requests, of alerts, incidents and reports."""

from __future__ import annotations

from statistics import median

from shared.compliance.evidence import Evidence, hours_between
from shared.compliance.metrics.model import Measured, counted, marked, shown, spread, told
from shared.compliance.report_model import Cell
from shared.compliance.rules.data import is_late
from shared.compliance.rules.operations import first_seen_by_people, recurrences

_CLASSES = ("personal", "confidential", "phi", "cardholder")


def _by_class(evidence: Evidence, operations: str) -> Cell:
    counts = {each: evidence.facts.count(" ".join(f"{op}:{each}" for op in operations.split())) for each in _CLASSES}
    return told({name: n for name, n in counts.items() if n})


def _exports(evidence: Evidence) -> Cell:
    counts: dict[str, int] = {}
    records = 0
    for (_, _, _, _, op, data_class), (n, of) in evidence.facts.uses.items():
        if op == "export":
            counts[data_class] = counts.get(data_class, 0) + n
            records += of
    return f"{told(counts)}; {records} records" if counts else "none"


def _touched(evidence: Evidence) -> Cell:
    n, exact = evidence.facts.persons_touched
    return n if exact else f"at least {n}"


def _patterns(evidence: Evidence) -> Cell:
    counts: dict[str, int] = {}
    for each in evidence.facts.extracts("alert.raise"):
        name = f"{each.attributes.get('pattern')} ({each.attributes.get('severity')})"
        counts[name] = counts.get(name, 0) + 1
    return told(counts)


def _open(evidence: Evidence) -> Cell:
    if evidence.alerts is None:
        return None
    return sum(
        each.raised_at < evidence.period.end and each.is_open_at(evidence.period.end) for each in evidence.alerts
    )


def _to_acknowledge(evidence: Evidence) -> Cell:
    seen = [(each.raised_at, first_seen_by_people(each)) for each in evidence.raised]
    return spread([hours_between(raised, at) for raised, at in seen if at is not None])


def _to_resolve(evidence: Evidence) -> Cell:
    closed = [(each.raised_at, each.closed_at) for each in evidence.raised]
    return spread([hours_between(raised, at) for raised, at in closed if at is not None])


def _breaches(evidence: Evidence) -> Cell:
    if evidence.alerts is None:
        return None
    hours, days, end = (
        evidence.at_least("alert_ack_hours"),
        evidence.at_least("alert_resolve_days"),
        evidence.period.end,
    )
    return sum(
        hours_between(each.raised_at, first_seen_by_people(each) or end) > hours
        or hours_between(each.raised_at, each.closed_at or end) > days * 24
        for each in evidence.raised
    )


def _detection(evidence: Evidence) -> Cell:
    if evidence.operations is None or not evidence.operations.detection_days:
        return None
    days = evidence.period.days
    return f"{sum(day in evidence.operations.detection_days for day in days)} of {len(days)}"


def _received(evidence: Evidence) -> Cell:
    if evidence.requests is None:
        return None
    kinds: dict[str, int] = {}
    for each in evidence.requests:
        if each.received_at >= evidence.period.start:
            kinds[each.kind] = kinds.get(each.kind, 0) + 1
    return told(kinds)


def _on_time(evidence: Evidence) -> Cell:
    closed = [each for each in evidence.requests or () if each.answered_at is not None]
    if not closed:
        return None
    return shown(100 * sum(not is_late(each, evidence.period.end) for each in closed) / len(closed))


def _days_to_close(evidence: Evidence) -> Cell:
    days = [hours_between(e.received_at, e.answered_at) / 24 for e in evidence.requests or () if e.answered_at]
    return f"median {shown(median(days))}, max {shown(max(days))}" if days else None


def _overdue(evidence: Evidence) -> Cell:
    if evidence.requests is None:
        return None
    return sum(each.answered_at is None and is_late(each, evidence.period.end) for each in evidence.requests)


def _to_notify(evidence: Evidence) -> Cell:
    hours = [
        hours_between(str(each.attributes["aware_at"]), str(each.attributes["authority_notified_at"]))
        for each in evidence.facts.extracts("incident.record")
        if each.attributes.get("authority_notified_at")
    ]
    return shown(max(hours)) if hours else None


def _disclosures(evidence: Evidence) -> Cell:
    count, persons = evidence.facts.total("disclosed_n"), len(evidence.facts.summed("disclosed"))
    least = "at least " if evidence.facts.total("disclosed_left") else ""
    return f"{count} about {least}{persons} persons" if count else "none"


def _generated(evidence: Evidence) -> Cell:
    made: dict[str, int] = {}
    for each in evidence.facts.extracts("report.generate"):
        name = str(each.attributes.get("framework"))
        made[name] = made.get(name, 0) + 1
    return told(made)


HANDLING = (
    Measured("sensitive_reads", "Reads of sensitive data, by class", "", lambda e: _by_class(e, "data.read")),
    Measured(
        "sensitive_writes",
        "Changes of sensitive data, by class",
        "",
        lambda e: _by_class(e, "data.create data.update data.delete"),
    ),
    Measured("sensitive_exports", "Exports of sensitive data, by class", "", _exports),
    Measured("subjects_touched", "Persons whose data was read or changed", "persons", _touched),
    marked("exports_without_purpose", "Exports without recipient or purpose", "without_purpose"),
    Measured("alerts_by_pattern", "Alerts raised, by pattern and severity", "", _patterns),
    Measured("alerts_open", "Alerts open at the end of the period", "alerts", _open),
    Measured("mtta_hours", "From an alert to its being seen", "hours", _to_acknowledge),
    Measured("mttr_hours", "From an alert to its being closed", "hours", _to_resolve),
    Measured("sla_breaches", "Alerts past the limits", "alerts", _breaches),
    Measured(
        "recurrences", "Alerts raised again soon after they were resolved", "alerts", lambda e: len(recurrences(e))
    ),
    Measured("days_with_detection", "Days on which detection ran", "days", _detection),
    counted("consents_granted", "Consents given", "consent.grant"),
    counted("consents_revoked", "Consents withdrawn", "consent.withdraw"),
    Measured(
        "use_after_revoke",
        "Consents that were relied upon after they were withdrawn",
        "consents",
        lambda e: (
            e.facts.used_after("withdrawn", "relied", "after_withdrawal")[0]
            if e.facts.total("based_on_consent")
            else None
        ),
    ),
    Measured("dsr_received", "Requests received, by kind", "", _received),
    Measured("dsr_on_time_pct", "Requests answered in time", "%", _on_time),
    Measured("dsr_days_p50_max", "Days until a request was answered", "days", _days_to_close),
    Measured("dsr_overdue", "Requests that are overdue", "requests", _overdue),
    counted("exports_to_subject", "Copies handed to persons", "privacy.export+success"),
    counted("erasures", "Persons erased", "privacy.erasure=executed"),
    Measured(
        "access_after_erasure",
        "Persons whose data was used after it was erased",
        "persons",
        lambda e: e.facts.used_after("erased", "touched", "after_erasure")[0],
    ),
    counted("incidents", "Incidents recorded", "incident.record"),
    Measured("hours_aware_to_notify", "From awareness to notice, at most", "hours", _to_notify),
    Measured("disclosures", "Disclosures, of exports", "", _disclosures),
    Measured("reports_generated", "Reports made", "", _generated),
    counted("reports_signed", "Reports signed off", "report.sign_off"),
)
