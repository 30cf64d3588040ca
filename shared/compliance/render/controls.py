"""The pages of controls and the register of exceptions, as blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from shared.compliance.render.blocks import REASON, STATUS, Block, Facts, Grid, Heading, Paragraph, cell, pairs, spark
from shared.compliance.report_model import ControlResult, EventRef, Finding, Report

_REFERENCES = ("Recorded at", "Type", "Outcome", "Month", "Index", "Event id")


def control_blocks(report: Report) -> Iterator[Block]:
    """Every control, in the order of the report."""
    found = {each.id: each for each in report.exceptions}
    yield Heading(2, "Controls", "controls", page=True)
    yield Paragraph(
        "What was asked of each control, what the trail says about it, and how strong that is as evidence: direct, "
        "partial, or contextual, where it only surrounds the control."
    )
    if not report.controls:
        yield Paragraph("The report has no control.", "note")
        return
    rows = tuple(
        (each.id, each.title, _in_short(each), each.strength, cell(len(each.findings))) for each in report.controls
    )
    columns = ("Control", "Title", "Status", "Strength", "Exceptions")
    yield Grid("All controls", columns, ("text", "text", "text", "text", "number"), rows)
    for number, control in enumerate(report.controls, 1):
        yield from _control(control, number, found)


def control_id(number: int) -> str:
    """What links to the page of a control, counted from 1."""
    return f"control-{number}"


def _control(control: ControlResult, number: int, found: dict[str, Finding]) -> Iterator[Block]:
    yield Heading(3, f"{control.id}  {control.title}", control_id(number))
    yield Paragraph(control.explanation, "status", status_of(control))
    yield Facts(
        (
            ("Question", control.question),
            ("Tested", control.tested),
            ("Population", control.population),
            ("Strength", f"{control.strength}; test of {control.pattern}"),
            ("Limits", control.limits or "none stated"),
            *((("Missing data", "; ".join(control.missing)),) if control.missing else ()),
            *((("Declared", control.declared),) if control.declared else ()),
            ("Source", control.confirmation),
        )
    )
    if control.metrics:
        rows = tuple((each.title, cell(each.value), each.unit) for each in control.metrics)
        yield Grid(f"Figures of {control.id}", ("Figure", "Value", "Unit"), ("text", "number", "text"), rows)
    if control.evidence:
        yield _evidence(control)
    if control.rules:
        ran = tuple((r.rule, r.severity, r.text, pairs(r.parameters), cell(r.findings)) for r in control.rules)
        columns = ("Rule", "Severity", "What it looks for", "Parameters", "Findings")
        yield Grid(f"Rules run for {control.id}", columns, ("text", "text", "text", "text", "number"), ran)
    if control.findings:
        rows = tuple(_finding_line(each, found.get(each)) for each in control.findings)
        yield Grid(f"Exceptions of {control.id}", ("Finding", "Severity", "What was found"), ("text",) * 3, rows)
    if control.samples is not None:
        sample = control.samples
        note = f"{sample.method}. Drawn from {cell(sample.population)} by the seed {sample.seed}."
        yield _references(f"Sample for {control.id}", sample.events, note)


def status_of(control: ControlResult) -> str:
    """A control's status in words, with the reason where it is not evidenced."""
    reason = f" ({REASON[control.reason]})" if control.reason else ""
    return f"{STATUS[control.status]}{reason}"


def _in_short(control: ControlResult) -> str:
    return f"{STATUS[control.status]} ({control.reason})" if control.reason else STATUS[control.status]


def _evidence(control: ControlResult) -> Grid:
    rows = tuple(
        (
            each.type,
            cell(each.total),
            ", ".join(f"{name} {cell(count)}" for name, count in each.by_outcome) or "–",
            cell(max(each.by_day, default=0)),
            spark(each.by_day),
        )
        for each in control.evidence
    )
    columns = ("Event type", "Events", "By outcome", "Most in a day", "Trend")
    kinds = ("text", "number", "text", "number", "spark")
    return Grid(f"Evidence for {control.id}", columns, kinds, rows)  # type: ignore[arg-type]


def _finding_line(finding_id: str, finding: Finding | None) -> tuple[str, str, str]:
    if finding is None:
        return finding_id, "–", "not in the register of exceptions"
    state = f"; remedied {finding.remedied_at}" if finding.remedied_at else "; open"
    return finding_id, finding.severity, f"{finding.text} ({cell(finding.count)} times{state})"


def _references(caption: str, events: Iterable[EventRef], note: str = "") -> Grid:
    """Events, by where they are in the ledger."""
    kinds = ("code", "text", "text", "text", "number", "code")
    return Grid(caption, _REFERENCES, kinds, tuple(map(_reference, events)), note)  # type: ignore[arg-type]


def _reference(event: EventRef) -> tuple[str, ...]:
    return event.recorded_at, event.type, event.outcome, event.period, cell(event.index), event.event_id


def register_blocks(findings: Sequence[Finding], controls: Sequence[ControlResult]) -> Iterator[Block]:
    """The register of exceptions."""
    yield Heading(2, "Register of exceptions", "exceptions", page=True)
    if not findings:
        yield Paragraph("No rule found anything in this period.")
        return
    yield Paragraph("What was remedied stays listed, with its remedy. Dates are those of the first and last event.")
    concerned: dict[str, list[str]] = {}
    for control in controls:
        for finding_id in control.findings:
            concerned.setdefault(finding_id, []).append(control.id)
    for number, finding in enumerate(findings, 1):
        yield Heading(3, f"{finding.id}  {finding.rule}", f"finding-{number}")
        yield Paragraph(finding.text, "status", f"{finding.severity.capitalize()}, {_state(finding)}")
        yield Facts(
            (
                ("Controls", ", ".join(concerned.get(finding.id, [])) or "none"),
                ("Seen", f"{cell(finding.count)} times, {finding.first_seen} to {finding.last_seen}"),
                ("Owner", finding.owner or "not named"),
                ("Response", finding.response or "none recorded"),
                ("Remedied", finding.remedied_at or "no"),
                ("Accepted by", finding.accepted_by or "nobody"),
            )
        )
        if finding.events:
            is_cut = finding.count > len(finding.events)
            note = f"The first {len(finding.events)} of {cell(finding.count)}." if is_cut else ""
            yield _references(f"Events of {finding.id}", finding.events, note)


def _state(finding: Finding) -> str:
    if finding.remedied_at:
        return f"remedied {finding.remedied_at}"
    return f"accepted by {finding.accepted_by}" if finding.accepted_by else "open"
