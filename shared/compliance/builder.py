"""Building a report from evidence. Pure: the same evidence gives an equal report, and the same JSON byte for byte."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.compliance.catalogue import CATALOGUE_VERSION, FRAMEWORKS, GAPS
from shared.compliance.charts import charts_of
from shared.compliance.controls.model import Control
from shared.compliance.evidence import Evidence, moment_after
from shared.compliance.facts.merged import Facts
from shared.compliance.facts.parts import FACTS_VERSION
from shared.compliance.metrics import METRICS
from shared.compliance.occasions import groups_of, occasions, told
from shared.compliance.report_model import (
    Cell,
    ControlResult,
    Finding,
    Method,
    Metric,
    Report,
    RuleRun,
    Sample,
    Scope,
    SilentSpan,
    Summary,
)
from shared.compliance.report_model import Evidence as Shown
from shared.compliance.rules import RULES
from shared.compliance.rules.model import Found, Result
from shared.compliance.samples import METHOD, SEED, sample, seed_of
from shared.compliance.selectors import selectors
from shared.compliance.status import STATUS_RULES, Judged, status_of
from shared.compliance.tables import tables_of
from shared.compliance.thresholds import THRESHOLDS
from shared.core.version import VERSION

_ID = re.compile(r"[A-Za-z0-9._:-]+")
"""What may be the id of somebody in a text."""
_COMPLETENESS = (
    *("events_total", "seq_first", "seq_last", "seq_missing", "checkpoints", "integrity_failures"),
    *("field_completeness_pct", "unattributed_events", "clock_skew_p99_ms", "time_reversals"),
    *("sources_expected_seen", "longest_silence_hours"),
)
_STRENGTH = {
    "direct": "The trail speaks to this control itself.",
    "partial": "The trail is one of several pieces of evidence for this control.",
    "contextual": "The trail gives background only.",
}
_TESTED = {
    "activity": "Whether what it is about happened in the period, and whether any rule fired.",
    "violation": "Whether any rule fired, where there were occasions for it.",
    "state": "Whether it held when it was looked at, and whether any rule fired.",
    "external": "Nothing but what the trail can add: it takes evidence from elsewhere.",
}


@dataclass(frozen=True, slots=True)
class Order:
    """Which report, made when and by whom (`system`, or a user's id). `previous`: the counts of the report before.
    `replaces`: the id of one of the same period, where there is."""

    id: str
    generated_at: str
    generated_by: str
    previous: Summary | None = None
    replaces: str | None = None


class _Rules:
    """Runs each rule once, and numbers what it finds."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._erased = evidence.erased
        self._results: dict[str, Result] = {}

    def result(self, rule_id: str) -> Result:
        if rule_id not in self._results:
            self._results[rule_id] = RULES[rule_id].run(self._evidence)
        return self._results[rule_id]

    def ids(self, rule_id: str) -> list[str]:
        return [f"{rule_id}/{number}" for number in range(1, len(self.result(rule_id).found) + 1)]

    def findings(self, rule_id: str) -> list[Finding]:
        rule, found = RULES[rule_id], self.result(rule_id).found
        return [
            Finding(
                id=name,
                rule=rule_id,
                severity=rule.severity,
                text=self._told(each.text),
                count=each.count,
                first_seen=each.first_seen,
                last_seen=each.last_seen,
                events=each.events,
                owner=self._told(each.owner) if each.owner else None,
                remedied_at=each.remedied_at,
                **self._answer(rule_id, each),
            )
            for name, each in zip(self.ids(rule_id), found, strict=True)
        ]

    def _answer(self, rule_id: str, found: Found) -> dict[str, str | None]:
        """The response to what was found, and who accepted it: whoever did so of its rule, for when it began."""
        wanted = (self._evidence.framework, rule_id)
        for each in self._evidence.policies.acceptances:
            if (each.framework, each.rule) == wanted and found.first_seen < each.until:
                told = f"Accepted on {each.at[:10]}, until {each.until[:10]}: {each.reason}"
                return {"response": f"{found.response}. {told}" if found.response else told, "accepted_by": each.by}
        return {"response": found.response, "accepted_by": None}

    def _told(self, text: str) -> str:
        """A text of a rule with the persons in it who were erased shown as such."""

        def marked(found: re.Match[str]) -> str:
            name = found[0] if found[0] in self._erased else found[0].rstrip(".:")
            return f"{name} (erased){found[0][len(name) :]}" if name in self._erased else found[0]

        return _ID.sub(marked, text)

    def run(self, rule_id: str) -> RuleRun:
        rule, result = RULES[rule_id], self.result(rule_id)
        parameters: list[tuple[str, Cell]] = [(name, self._evidence.at_least(name)) for name in rule.parameters]
        if result.missing:
            parameters.append(("not run, or not wholly, for want of", ", ".join(result.missing)))
        return RuleRun(rule_id, rule.text, rule.severity, tuple(parameters), sum(each.count for each in result.found))


class _Metrics:
    """Has each metric reckoned once."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._had: dict[str, Metric] = {}

    def of(self, name: str) -> Metric:
        if name not in self._had:
            self._had[name] = METRICS[name].of(self._evidence)
        return self._had[name]


def build(evidence: Evidence, order: Order) -> Report:
    """The report. KeyError for a framework that is none."""
    listed = FRAMEWORKS[evidence.framework]
    rules, metrics = _Rules(evidence), _Metrics(evidence)
    controls = tuple(_control(control, evidence, rules, metrics) for control in listed.controls)
    summary = _summary(controls)
    told = {name.partition("/")[0] for control in controls for name in control.findings}
    return Report(
        id=order.id,
        tenant_id=evidence.organization.id,
        organization=evidence.organization.name,
        framework=listed.framework,
        from_day=evidence.period.from_day.isoformat(),
        to_day=evidence.period.to_day.isoformat(),
        generated_at=order.generated_at,
        generated_by=order.generated_by,
        product_version=VERSION,
        catalogue_version=CATALOGUE_VERSION,
        gate=evidence.gate,
        scope=_scope(evidence, listed.duties),
        population=evidence.shards,
        completeness=tuple(metrics.of(name) for name in _COMPLETENESS),
        events_in_period=evidence.facts.events,
        summary=summary,
        previous=order.previous,
        controls=controls,
        exceptions=tuple(finding for name in sorted(told) for finding in rules.findings(name)),
        tables=tables_of(evidence),
        charts=charts_of(evidence, summary),
        method=_method(evidence, listed.controls),
        replaces=order.replaces,
    )


def _control(control: Control, evidence: Evidence, rules: _Rules, metrics: _Metrics) -> ControlResult:
    wanted = control.rules.split()
    judged = status_of(control, evidence, {name: rules.result(name) for name in wanted})
    is_read = judged.status == "exception" or (evidence.gate.passed and judged.status != "not-applicable")
    return ControlResult(
        id=control.id,
        oscal_id=control.oscal_id,
        title=control.title,
        question=control.question,
        status=judged.status,
        reason=judged.reason,
        explanation=judged.explanation,
        strength=control.strength,
        pattern=control.pattern,
        confirmation=control.confirmed,
        tested=_TESTED[control.pattern],
        population=_population(control, evidence),
        evidence=_evidence(control, evidence),
        metrics=tuple(_metric(name, control, evidence, metrics) for name in control.metrics.split()),
        rules=tuple(rules.run(name) for name in wanted) if is_read else (),
        findings=_finding_ids(judged, wanted, rules),
        samples=_sample(control, evidence) if is_read else None,
        missing=tuple(GAPS[gap] for gap in control.gaps.split()),
        limits=" ".join(part for part in (_STRENGTH[control.strength], control.note) if part),
        declared=judged.declared,
    )


def _finding_ids(judged: Judged, wanted: Sequence[str], rules: _Rules) -> tuple[str, ...]:
    return tuple(name for each in wanted for name in rules.ids(each)) if judged.status == "exception" else ()


def _metric(name: str, control: Control, evidence: Evidence, metrics: _Metrics) -> Metric:
    found = metrics.of(name)
    if name != "evidence_events":
        return found
    return Metric(found.id, found.title, evidence.facts.count(control.evidence), found.unit)


def _population(control: Control, evidence: Evidence) -> str:
    wanted = control.exposure or control.needs
    if not wanted:
        return f"{evidence.facts.count(control.evidence)} events: {control.evidence or 'none'}"
    counts = [(group, occasions(group, evidence)) for group in groups_of(wanted)]
    return "; ".join(f"{'unknown' if count is None else count} occasions: {told(group)}" for group, count in counts)


def _evidence(control: Control, evidence: Evidence) -> tuple[Shown, ...]:
    facts = evidence.facts
    found: dict[str, tuple[dict[str, int], list[int]]] = {}
    for row in sorted(facts.matched(control.evidence), key=lambda row: tuple(part or "" for part in row)):
        outcomes, by_day = found.setdefault(row[0], ({}, [0] * len(facts.days)))
        outcomes[row[1]] = outcomes.get(row[1], 0) + facts.rows[row]
        for place, n in enumerate(facts.daily[row]):
            by_day[place] += n
    shown = [
        Shown(kind, sum(outcomes.values()), tuple(sorted(outcomes.items())), tuple(by_day))
        for kind, (outcomes, by_day) in found.items()
    ]
    if "alert.update" not in found:
        statuses = sorted({each.status for each in selectors(control.evidence) if each.status is not None})
        shown += [_updates(evidence, status) for status in statuses if facts.statuses.get(status)]
    return tuple(shown)


def _updates(evidence: Evidence, status: str) -> Shown:
    """Updates of alerts that came to a status."""
    by_day = [0] * len(evidence.facts.days)
    for day in evidence.facts.documents:
        by_day[evidence.facts.place[day["day"]]] = day["statuses"].get(status, 0)
    return Shown(f"alert.update to {status}", sum(by_day), (("success", sum(by_day)),), tuple(by_day))


def _sample(control: Control, evidence: Evidence) -> Sample | None:
    if evidence.seed is None or not control.evidence:
        return None
    seed = seed_of(evidence.seed.root, control.oscal_id)
    return sample(evidence.facts, control.evidence, seed, evidence.at_least("sample_size"))


def _summary(controls: Sequence[ControlResult]) -> Summary:
    counts: Mapping[str, int] = {
        status: sum(control.status == status for control in controls)
        for status in ("satisfied", "exception", "not-evidenced", "not-applicable")
    }
    return Summary(counts["satisfied"], counts["exception"], counts["not-evidenced"], counts["not-applicable"])


def _scope(evidence: Evidence, duties: tuple[str, ...]) -> Scope:
    seen = sorted(evidence.facts.heard.sources)
    classes = sorted({row[2] for row in evidence.facts.rows} - {"none"})
    exclusions = []
    enrolled = evidence.organization.enrolled_at[:10]
    if enrolled > evidence.period.from_day.isoformat():
        exclusions.append(f"Days before {enrolled}, when the organization began")
    exclusions += [f"{e.control}: {e.reason} ({e.by}, {e.at[:10]})" for e in evidence.policies.declarations]
    return Scope(
        time_zone=evidence.organization.time_zone,
        sources_expected=tuple(evidence.policies.sources or ()),
        sources_seen=tuple(seen),
        data_classes=tuple(classes),
        exclusions=tuple(exclusions),
        customer_duties=duties,
    )


def _method(evidence: Evidence, controls: Sequence[Control]) -> Method:
    wanted = {name for control in controls for rule in control.rules.split() for name in RULES[rule].parameters}
    gaps = sorted({gap for control in controls for gap in f"{control.gaps} {control.blocked_by}".split()})
    hours = evidence.policies.working_hours
    return Method(
        status_rules=STATUS_RULES,
        thresholds=tuple(
            (name, evidence.at_least(name), THRESHOLDS[name].origin) for name in sorted(wanted | {"sample_size"})
        ),
        gaps=tuple((gap, GAPS[gap]) for gap in gaps),
        parameters=(
            ("population", "all sealed entries whose recorded_at lies in the period (UTC days, the last one excluded)"),
            ("facts_version", FACTS_VERSION),
            ("sampling", METHOD),
            *_seed(evidence),
            ("working_hours", hours.text),
            ("not_a_certification", "It supports an assessment, and is none."),
        ),
    )


def _seed(evidence: Evidence) -> tuple[tuple[str, Cell], ...]:
    """What anybody needs to have the seeds again, from the ledger alone."""
    if evidence.seed is None:
        return ()
    return (
        ("sampling_seed", SEED),
        ("sampling_month", evidence.seed.period),
        ("sampling_size", evidence.seed.size),
        ("sampling_root", evidence.seed.root),
    )


def silences(facts: Facts, since: str, hours: int) -> list[SilentSpan]:
    """The longest silence of each source that had one of more than so many hours, as far as it lies in the period."""
    return [
        SilentSpan(name, moment_after(since, max(0, start)), moment_after(since, end))
        for name, (_, _, (start, end)) in sorted(facts.heard.sources.items())
        if end - start > hours * 3600
    ]
