"""What a report says, as blocks in reading order: one text for HTML and for the PDF. Renderers add form, not words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from shared.compliance.render.blocks import (
    STATUS,
    Block,
    Bullets,
    Facts,
    Figure,
    Grid,
    Heading,
    Kind,
    Paragraph,
    cell,
    fitted,
    kinds_of,
    listed,
    pairs,
)
from shared.compliance.render.controls import control_blocks, register_blocks
from shared.compliance.report_model import Metric, Report, Scope, Summary, Table

_NOT_A_CERTIFICATE: Final = (
    "This report is evidence from an audit trail. It is not a certification, not an attestation and not legal advice. "
    "A control that the trail cannot speak to is reported as not evidenced, never as satisfied."
)
_SEVERITIES: Final = ("critical", "high", "medium", "low")


def title_of(report: Report) -> str:
    """What the report is called."""
    return f"{report.framework.name} compliance report"


def period_of(report: Report) -> str:
    """The days that the report is about, in words."""
    return f"{report.from_day} up to {report.to_day} (excluded), UTC days of recording"


def document(report: Report, digest: str) -> tuple[Block, ...]:
    """The whole report, without its title. `digest`: of its JSON, as `report.generate` names it."""
    return (
        *_cover(report, digest),
        *_summary(report),
        *_charts(report),
        *_scope(report),
        *_population(report),
        *control_blocks(report),
        *register_blocks(report.exceptions, report.controls),
        *_tables(report.tables),
        *_method(report),
        *_sign_offs(report),
    )


def _cover(report: Report, digest: str) -> Iterator[Block]:
    yield Facts(
        (
            ("Organization", report.organization),
            ("Framework", f"{report.framework.name}, {report.framework.version}"),
            ("Period", period_of(report)),
            ("Time zone of the tenant", report.scope.time_zone),
            ("Generated", f"{report.generated_at} by {report.generated_by}"),
            ("Report", report.id),
            *(
                (("Replaces", f"{report.replaces}, built before the trail had been checked"),)
                if report.replaces
                else ()
            ),
            ("Tenant", report.tenant_id),
            ("SHA-256", f"{digest} (report.json without sign-offs; the event report.generate names it)"),
            ("Versions", f"product {report.product_version}, catalogue of controls {report.catalogue_version}"),
        )
    )
    if report.gate.passed:
        yield Paragraph("Every check of the trail's integrity held.", "status", "Integrity gate: passed")
    else:
        failed = [check.title for check in report.gate.checks if not check.passed]
        text = f"No control can be satisfied from a trail that cannot be relied on. Failed: {listed(failed)}."
        yield Paragraph(text, "warning", "Integrity gate: failed")
    yield Paragraph(_NOT_A_CERTIFICATE, "note")


def _summary(report: Report) -> Iterator[Block]:
    yield Heading(2, "Summary", "summary")
    now, before = _counts(report.summary), _counts(report.previous) if report.previous else None
    rows = tuple(
        (STATUS[name], cell(now[name]), cell(before[name]), _change(now[name] - before[name]))
        if before
        else (STATUS[name], cell(now[name]), "–", "–")
        for name in STATUS
    )
    columns = ("Status", "Controls", "Last period", "Change")
    yield Grid("Controls by status", columns, ("text", "number", "number", "number"), rows)
    opened = Counter(each.severity for each in report.exceptions if not each.remedied_at)
    done = Counter(each.severity for each in report.exceptions if each.remedied_at)
    by_severity = tuple((name.capitalize(), cell(opened[name]), cell(done[name])) for name in _SEVERITIES)
    yield Grid("Exceptions by severity", ("Severity", "Open", "Remedied"), ("text", "number", "number"), by_severity)
    yield Paragraph(f"{cell(report.events_in_period)} events were recorded in the period.")


def _counts(summary: Summary) -> dict[str, int]:
    return {
        "satisfied": summary.satisfied,
        "exception": summary.exception,
        "not-evidenced": summary.not_evidenced,
        "not-applicable": summary.not_applicable,
    }


def _change(by: int) -> str:
    return f"{by:+d}" if by else "0"


def _charts(report: Report) -> Iterator[Block]:
    if report.charts:
        yield Heading(2, "Charts", "charts")
        for number, chart in enumerate(report.charts, 1):
            yield Figure(chart, number)


def _scope(report: Report) -> Iterator[Block]:
    scope = report.scope
    yield Heading(2, "Scope", "scope")
    declared = [f"{each.id}: {each.declared}" for each in report.controls if each.declared]
    silent = [name for name in scope.sources_expected if name not in scope.sources_seen]
    yield Facts(
        (
            ("Sources expected", listed(scope.sources_expected)),
            ("Sources seen", listed(scope.sources_seen)),
            ("Expected, not seen", listed(silent)),
            ("Classes of data", listed(scope.data_classes)),
            ("Declared not applicable", "; ".join(declared) or "nothing"),
        )
    )
    for title, items, none in (
        ("Exclusions", scope.exclusions, "Nothing is excluded."),
        ("Duties of the customer", scope.customer_duties, "None are stated."),
    ):
        yield Heading(3, title, title.lower().replace(" ", "-"))
        yield Bullets(items) if items else Paragraph(none)


def _population(report: Report) -> Iterator[Block]:
    yield Heading(2, "Completeness of the population", "population")
    yield Paragraph(
        "The report counts events of whole months, as signed checkpoints of the ledger cover them. Whoever holds a "
        "checkpoint can prove that the months in the evidence bundle are the same, without the service's help."
    )
    rows = tuple((each.title, "passed" if each.passed else "FAILED", each.detail) for each in report.gate.checks)
    yield Grid("Checks of the integrity gate", ("Check", "Result", "Detail"), ("text", "text", "text"), rows)
    shards = tuple(
        (each.period, cell(each.size), cell(each.events), cell(each.first), cell(each.last), each.root)
        for each in report.population
    )
    columns = ("Month", "Sealed events", "In the period", "First index", "Last index", "Root")
    yield Grid("Months of the ledger", columns, ("text", "number", "number", "number", "number", "code"), shards)
    spans = tuple((s.source, s.since, s.until) for each in report.population for s in each.silent_spans)
    if spans:
        yield Grid("Silent spans", ("Source", "From", "Until"), ("text", "code", "code"), spans)
    yield from _unheard(report.scope, any_silent=bool(spans))
    if report.completeness:
        yield _metrics("Figures of completeness", report.completeness)
    for each in report.population:
        yield Paragraph(each.checkpoint, "note", f"Checkpoint of {each.period}, a signed note")


def _unheard(scope: Scope, *, any_silent: bool) -> Iterator[Block]:
    """What is to be said of sources beside their silences: nobody knows of those that are not expected."""
    never = [each for each in scope.sources_expected if each not in scope.sources_seen]
    if never:
        yield Paragraph(f"Expected, and not heard at all: {', '.join(never)}.")
    elif not scope.sources_expected:
        yield Paragraph("No sources are expected: the organization named none, and nobody can tell which are silent.")
    elif not any_silent:
        yield Paragraph("No expected source was silent for longer than its threshold.")


def _metrics(caption: str, metrics: tuple[Metric, ...]) -> Grid:
    rows = tuple((each.title, cell(each.value), each.unit) for each in metrics)
    return Grid(caption, ("Figure", "Value", "Unit"), ("text", "number", "text"), rows)


def _tables(tables: tuple[Table, ...]) -> Iterator[Block]:
    if tables:
        yield Heading(2, "Tables", "tables", page=True)
    for number, table in enumerate(tables, 1):
        yield Heading(3, table.title, f"table-{number}")
        if not table.rows:
            yield Paragraph(f"No rows. {table.note}".strip(), "note")
            continue
        cut = (
            f"The first {cell(len(table.rows))} of {cell(table.total)} rows. " if table.total > len(table.rows) else ""
        )
        kinds = kinds_of(table.columns, table.rows)
        rows = tuple(fitted([*map(cell, row)], len(table.columns)) for row in table.rows)
        yield Grid(table.title, table.columns, kinds, rows, cut + table.note)


def _method(report: Report) -> Iterator[Block]:
    method = report.method
    yield Heading(2, "Method and limits", "method")
    if method.status_rules:
        yield Bullets(method.status_rules)
    thresholds = tuple((name, cell(value), origin) for name, value, origin in method.thresholds)
    if thresholds:
        yield Grid("Thresholds", ("Threshold", "Value", "Where it comes from"), ("text", "number", "text"), thresholds)
    yield Paragraph(pairs(method.parameters), "plain", "Parameters of this report: ")
    if method.gaps:
        yield Grid("What stays a gap", ("Gap", "What it means"), ("text", "text"), method.gaps)


def _sign_offs(report: Report) -> Iterator[Block]:
    yield Heading(2, "Sign-off", "sign-off")
    if not report.sign_offs:
        yield Paragraph("Nobody has signed this report.")
        return
    rows = tuple(
        (each.signed_as.capitalize(), each.user_id, each.role, each.at, each.statement) for each in report.sign_offs
    )
    kinds: tuple[Kind, ...] = ("text", "code", "text", "code", "text")
    yield Grid("Signatures", ("Signed as", "User", "Role", "At", "Statement"), kinds, rows)
