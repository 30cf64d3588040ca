"""The charts of a report: events by day, logins, alerts, and the four counts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from shared.compliance.evidence import Evidence, hours_between
from shared.compliance.metrics.model import shown
from shared.compliance.report_model import Chart, Series, Summary
from shared.compliance.rules.operations import first_seen_by_people

MOST_DAYS = 92
"""Of longer periods charts show weeks."""
_CATEGORIES = {
    "signing in": ("auth.", "mfa.", "session."),
    "access": ("access.", "audit.", "profile.view", "user.list", "user.view", "report.read"),
    "changes": ("user.", "profile.", "config.", "apikey."),
    "data": ("data.",),
    "privacy": ("privacy.", "consent."),
    "service": ("alert.", "ledger.", "system.", "report.", "review.", "incident."),
}
_OTHER = "other"
_SEVERITIES = ("critical", "high", "medium")


def charts_of(evidence: Evidence, summary: Summary) -> tuple[Chart, ...]:
    """Every chart, in the order of a report."""
    return (_events(evidence), _logins(evidence), _alerts(evidence), _acknowledged(evidence), _statuses(summary))


def category_of(event_type: str) -> str:
    """The category under which a type is shown."""
    return next((name for name, starts in _CATEGORIES.items() if event_type.startswith(starts)), _OTHER)


def _steps(evidence: Evidence) -> list[slice]:
    days = len(evidence.period.days)
    step = 1 if days <= MOST_DAYS else 7
    return [slice(start, start + step) for start in range(0, days, step)]


def _labels(evidence: Evidence) -> tuple[str, ...]:
    return tuple(evidence.period.days[step.start] for step in _steps(evidence))


def _summed(evidence: Evidence, by_day: Sequence[int]) -> tuple[float, ...]:
    return tuple(sum(by_day[step]) for step in _steps(evidence))


def _unit(evidence: Evidence, what: str) -> str:
    return f"{what} a day" if len(evidence.period.days) <= MOST_DAYS else f"{what} a week"


def _events(evidence: Evidence) -> Chart:
    days = len(evidence.period.days)
    found: dict[str, list[int]] = {name: [0] * days for name in (*_CATEGORIES, _OTHER)}
    for (kind, *_), by_day in evidence.facts.daily.items():
        own = found[category_of(kind)]
        for place, n in enumerate(by_day):
            own[place] += n
    series = tuple(Series(name, _summed(evidence, by_day)) for name, by_day in found.items())
    title = "Events by category"
    return Chart("events", title, "stacked", _labels(evidence), series, _unit(evidence, "events"))


def _logins(evidence: Evidence) -> Chart:
    days = len(evidence.period.days)
    found = {"success": [0] * days, "failure": [0] * days}
    for (kind, outcome, *_), by_day in evidence.facts.daily.items():
        if kind == "auth.login" and outcome in found:
            found[outcome] = [one + other for one, other in zip(found[outcome], by_day, strict=True)]
    series = tuple(Series(name, _summed(evidence, by_day)) for name, by_day in found.items())
    return Chart("logins", "Logins", "line", _labels(evidence), series, _unit(evidence, "logins"))


def _alerts(evidence: Evidence) -> Chart:
    place, days = evidence.facts.place, len(evidence.period.days)
    found = {severity: [0] * days for severity in _SEVERITIES}
    for each in evidence.raised:
        if each.severity in found:
            found[each.severity][place[each.raised_at[:10]]] += 1
    series = tuple(Series(name, _summed(evidence, by_day)) for name, by_day in found.items())
    return Chart("alerts", "Alerts by severity", "stacked", _labels(evidence), series, _unit(evidence, "alerts"))


def _acknowledged(evidence: Evidence) -> Chart:
    """Of the alerts that somebody saw; how many nobody did is in the title."""
    hours: dict[str, list[float]] = {severity: [] for severity in _SEVERITIES}
    for each in evidence.raised:
        seen = first_seen_by_people(each)
        if seen is not None and each.severity in hours:
            hours[each.severity].append(hours_between(each.raised_at, seen))
    bars = {}
    for severity, found in hours.items():
        if found:
            bars[f"{severity}, median"] = float(shown(median(found)))
            bars[f"{severity}, longest"] = float(shown(max(found)))
    raised = sum(each.severity in hours for each in evidence.raised)
    unseen = raised - sum(map(len, hours.values()))
    said = f": nobody saw {unseen} of {raised}" if unseen else ""
    series = (Series("hours", tuple(bars.values())),)
    return Chart("acknowledged", f"Time until alerts were seen{said}", "bar", tuple(bars), series, "hours")


def _statuses(summary: Summary) -> Chart:
    counts = {
        "satisfied": summary.satisfied,
        "exception": summary.exception,
        "not-evidenced": summary.not_evidenced,
        "not-applicable": summary.not_applicable,
    }
    series = (Series("controls", tuple(counts.values())),)
    return Chart("statuses", "Controls by status", "bar", tuple(counts), series, "controls")
