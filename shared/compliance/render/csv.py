"""A report as CSV files, one for each table: RFC 4180, UTF-8, no cell that a spreadsheet takes for a formula.

As in exports of the trail, what could be a formula stands behind an apostrophe. An empty cell is no value; truth is
`true` or `false`; rows that belong to a control begin with its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Final

from shared.audit.export_formats import csv_record
from shared.compliance.render.archive import zipped
from shared.compliance.render.json import digest_of
from shared.compliance.render.text import whole
from shared.compliance.report_model import Cell, Chart, ControlResult, EventRef, Report

type Row = Sequence[Cell]

REFERENCE: Final = ("period", "index", "event_id", "recorded_at", "type", "outcome")
"""The columns of a sealed event."""
_DEVICE: Final = re.compile(r"con|prn|aux|nul|(?:com|lpt)[0-9]", re.IGNORECASE)


def csv_files(report: Report) -> dict[str, bytes]:
    """Every table of a report, by the name of its file."""
    files = {name: table(columns, rows) for name, columns, rows in _tables(report)}
    taken: set[str] = set()
    for each in report.tables:
        files[f"tables/{file_name(each.id, taken)}.csv"] = table(each.columns, each.rows)
    taken.clear()
    for chart in report.charts:
        files[f"charts/{file_name(chart.id, taken)}.csv"] = table(
            ("label", *(s.name for s in chart.series)), _chart(chart)
        )
    return files


def csv_zip(report: Report) -> bytes:
    """Every table of a report in one ZIP file."""
    return zipped(csv_files(report))


def table(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """One file."""
    return b"".join((csv_record(columns), *(csv_record(map(_value, row)) for row in rows)))


def file_name(text: str, taken: set[str]) -> str:
    """A text as a name that is a file's on any system, and no other's: letters, digits, dots, dashes; no dot at an end,
    and none of the names that Windows has for devices, whatever follows their first dot."""
    plain = re.sub(r"(?:[^A-Za-z0-9_.-]|\.\.+)+", "_", text)[:80].strip(".") or "_"
    if _DEVICE.fullmatch(plain.partition(".")[0]):
        plain = f"_{plain}"
    name, number = plain, 2
    while name.lower() in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name.lower())
    return name


def reference(event: EventRef) -> tuple[Cell, ...]:
    """The cells of a sealed event."""
    return (event.period, event.index, event.event_id, event.recorded_at, event.type, event.outcome)


def _value(value: Cell) -> Cell:
    if isinstance(value, bool):
        return "true" if value else "false"
    return whole(value) if isinstance(value, str) else value


def _tables(report: Report) -> Iterator[tuple[str, Sequence[str], Iterable[Row]]]:
    yield "report.csv", ("field", "value"), _report(report)
    yield "controls.csv", _CONTROL, map(_control, report.controls)
    yield "evidence.csv", ("control", "type", "outcome", "events"), _evidence(report.controls)
    yield "evidence_by_day.csv", ("control", "type", "day", "events"), _by_day(report)
    yield "metrics.csv", ("control", "id", "title", "value", "unit"), _metrics(report)
    yield "rules.csv", ("control", "rule", "severity", "text", "parameters", "findings"), _rules(report.controls)
    yield "exceptions.csv", _FINDING, _findings(report)
    yield "exception_events.csv", ("finding", *REFERENCE), _finding_events(report)
    yield "samples.csv", ("control", "population", "seed", "method", *REFERENCE), _samples(report.controls)
    yield (
        "population.csv",
        ("period", "size", "root", "events", "first", "last", "checkpoint"),
        ((s.period, s.size, s.root, s.events, s.first, s.last, s.checkpoint) for s in report.population),
    )
    yield (
        "silent_spans.csv",
        ("period", "source", "since", "until"),
        ((shard.period, s.source, s.since, s.until) for shard in report.population for s in shard.silent_spans),
    )
    yield (
        "gate.csv",
        ("id", "title", "passed", "detail"),
        ((each.id, each.title, each.passed, each.detail) for each in report.gate.checks),
    )
    yield "thresholds.csv", ("name", "value", "origin"), report.method.thresholds
    yield (
        "sign_offs.csv",
        ("signed_as", "role", "user_id", "at", "statement"),
        ((each.signed_as, each.role, each.user_id, each.at, each.statement) for each in report.sign_offs),
    )


def _report(report: Report) -> Iterator[Row]:
    """What the cover says, and the four counts. `sha256`: of report.json without sign-offs."""
    for name in ("id", "tenant_id", "organization"):
        yield name, getattr(report, name)
    yield "framework", report.framework.id
    yield "framework_version", report.framework.version
    for name in ("from_day", "to_day", "generated_at", "generated_by", "product_version", "catalogue_version"):
        yield name, getattr(report, name)
    yield "sha256", digest_of(report)
    yield "replaces", report.replaces
    yield "gate_passed", report.gate.passed
    yield "events_in_period", report.events_in_period
    for name in ("satisfied", "exception", "not_evidenced", "not_applicable"):
        yield name, getattr(report.summary, name)


_CONTROL: Final = (
    *("id", "oscal_id", "title", "status", "reason", "strength", "pattern", "question", "tested", "population"),
    *("explanation", "limits", "missing", "findings", "confirmation", "declared"),
)


def _control(control: ControlResult) -> Row:
    lists = {"missing": "; ".join(control.missing), "findings": " ".join(control.findings)}
    return [lists.get(name, getattr(control, name)) for name in _CONTROL]


def _evidence(controls: Iterable[ControlResult]) -> Iterator[Row]:
    for control in controls:
        for each in control.evidence:
            for outcome, count in each.by_outcome:
                yield control.id, each.type, outcome, count
            if not each.by_outcome:
                yield control.id, each.type, None, each.total


def _by_day(report: Report) -> Iterator[Row]:
    """Days on which something happened."""
    first = date.fromisoformat(report.from_day)
    for control in report.controls:
        for each in control.evidence:
            for number, count in enumerate(each.by_day):
                if count:
                    yield control.id, each.type, (first + timedelta(number)).isoformat(), count


def _metrics(report: Report) -> Iterator[Row]:
    for each in report.completeness:
        yield None, each.id, each.title, each.value, each.unit
    for control in report.controls:
        for each in control.metrics:
            yield control.id, each.id, each.title, each.value, each.unit


def _rules(controls: Iterable[ControlResult]) -> Iterator[Row]:
    for control in controls:
        for each in control.rules:
            parameters = "; ".join(f"{name}={_value(value)}" for name, value in each.parameters)
            yield control.id, each.rule, each.severity, each.text, parameters, each.findings


_FINDING: Final = (
    *("id", "controls", "rule", "severity", "text", "count", "first_seen", "last_seen"),
    *("owner", "response", "remedied_at", "accepted_by"),
)


def _findings(report: Report) -> Iterator[Row]:
    for each in report.exceptions:
        controls = " ".join(control.id for control in report.controls if each.id in control.findings)
        yield [controls if name == "controls" else getattr(each, name) for name in _FINDING]


def _finding_events(report: Report) -> Iterator[Row]:
    for each in report.exceptions:
        for event in each.events:
            yield each.id, *reference(event)


def _samples(controls: Iterable[ControlResult]) -> Iterator[Row]:
    for control in controls:
        if control.samples is not None:
            sample = control.samples
            for event in sample.events:
                yield control.id, sample.population, sample.seed, sample.method, *reference(event)


def _chart(chart: Chart) -> Iterator[Row]:
    for at, label in enumerate(chart.labels):
        yield label, *(each.values[at] if at < len(each.values) else None for each in chart.series)
