"""The report as a whole: equal input gives equal bytes, the gate comes first, tables and charts fit the counts."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from shared.compliance.builder import Order, build
from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.evidence import AlertRow, Evidence, Organization, Period
from shared.compliance.parts import decode, encode, parts_of
from shared.compliance.render.json import FORMAT, report_json
from shared.compliance.report_model import Chart, Report, Series, Summary
from tests.compliance.trails import DAYS, FROM, Trail, alert, failed, good_evidence, good_trail, new_evidence, request
from tests.compliance.worlds import firing

ORDER = Order("report", "2026-04-01T06:00:00.000000Z", "system", Summary(1, 2, 3, 4))


@pytest.fixture(scope="module")
def good() -> Trail:
    return good_trail()


@pytest.fixture(scope="module", params=FRAMEWORKS)
def report(request: pytest.FixtureRequest, good: Trail) -> Report:
    return build(good_evidence(request.param, good), ORDER)


def test_equal_evidence_gives_equal_bytes(report: Report) -> None:
    again = build(good_evidence(report.framework.id, good_trail()), ORDER)
    text = encode(report)
    assert encode(again) == text
    assert decode(text).controls == report.controls
    assert encode(decode(text)) == text, "what is read back is written the same"


def test_the_json_is_canonical_and_names_its_form(report: Report) -> None:
    import rfc8785

    told = json.loads(encode(report))
    assert told["format"] == FORMAT
    assert encode(report) == rfc8785.dumps(told) == report_json(report)


def test_counts_add_up(report: Report, good: Trail) -> None:
    summary = report.summary
    assert sum(dataclasses.astuple(summary)) == len(report.controls)
    assert report.events_in_period == len(good.entries) == sum(shard.events for shard in report.population)
    assert report.previous == Summary(1, 2, 3, 4)
    for chart in report.charts:
        for series in chart.series:
            assert len(series.values) == len(chart.labels), chart.id
    events = next(chart for chart in report.charts if chart.id == "events")
    assert sum(sum(series.values) for series in events.series) == len(good.entries)
    for control in report.controls:
        for each in control.evidence:
            assert each.total == sum(each.by_day) == sum(n for _, n in each.by_outcome), control.oscal_id
    days = next(table for table in report.tables if table.id == "days")
    assert sum(int(str(row[1])) for row in days.rows) == len(good.entries)
    for table in report.tables:
        assert table.total >= len(table.rows)
        assert all(len(row) == len(table.columns) for row in table.rows), table.id


def test_every_finding_is_listed_once_and_named_by_a_control() -> None:
    trail = good_trail()
    trail.say("config.change", "20T10:00", key="settings", changed_fields=["mutes"])
    made = build(good_evidence("soc2", trail), ORDER)
    names = [each.id for each in made.exceptions]
    assert len(set(names)) == len(names)
    assert set(names) == {name for control in made.controls for name in control.findings}
    assert {each.rule for each in made.exceptions} == {"CHG-01", "MON-02"}
    assert all(each.events[0].event_id == trail.entries[-1]["id"] for each in made.exceptions)
    assert {control.oscal_id for control in made.controls if control.findings} >= {"soc2-cc8.1", "soc2-cc7.1"}


@pytest.mark.parametrize("check", ["checkpoint", "counted", "facts", "unbroken", "checked", "chained", "retained"])
@pytest.mark.parametrize("framework", ["gdpr", "pci_dss"])
def test_behind_a_failed_gate_nothing_passes(framework: str, check: str, good: Trail) -> None:
    made = build(good_evidence(framework, good, gate=failed(check)), ORDER)
    assert made.summary.satisfied == 0
    assert not made.gate.passed
    of_integrity = {c.oscal_id for c in FRAMEWORKS[framework].controls if {"INT-01", "INT-02"} & set(c.rules.split())}
    for control in made.controls:
        if control.oscal_id in of_integrity:
            assert control.status == "exception"
        else:
            assert control.status == "not-evidenced"
            assert control.reason in ("gate-failed", "manual-only")
            assert control.samples is None


def test_erased_persons_are_shown_as_erased() -> None:
    made = build(good_evidence("gdpr"), ORDER)
    requests = next(table for table in made.tables if table.id == "requests")
    assert [row[2] for row in requests.rows] == ["patient-9 (erased)", "ada"]


def test_a_disclosure_is_told_by_patient_and_with_all_fields() -> None:
    made = build(good_evidence("hipaa"), ORDER)
    accounting = next(table for table in made.tables if table.id == "accounting")
    rows = {str(row[0]): row for row in accounting.rows}
    assert rows["patient-1"][2:8] == ("clinic.example.com", None, "summary", "care", "phi", 1)
    uses = next(table for table in made.tables if table.id == "phi_access")
    assert ("2026-03-09", "ada", "user", "tenant_admin", "export", 1, 1) in uses.rows


def test_card_access_has_the_fields_of_10_2_2() -> None:
    made = build(good_evidence("pci_dss"), ORDER)
    listed = next(table for table in made.tables if table.id == "card_events")
    assert listed.columns[:8] == ("When", "Type", "Outcome", "Who", "Role", "From where", "What", "Records")
    assert listed.total == len(listed.rows) == 5
    assert all(None not in row[:8] for row in listed.rows)


def test_long_tables_are_cut_and_say_so() -> None:
    many = tuple(request(f"request-{number}") for number in range(1500))
    made = build(good_evidence("gdpr", requests=many), ORDER)
    table = next(each for each in made.tables if each.id == "requests")
    assert (len(table.rows), table.total) == (1000, 1500)


def test_markup_and_formulas_come_through_as_they_are() -> None:
    """Renderers neutralize; the model keeps what was sealed."""
    trail, hostile = good_trail(), '=cmd|"/C x"!A1 <script>#import "x"'
    trail.say("data.export", "20T10:00", data_class="phi", about=[hostile], purpose=hostile, recipient=hostile)
    made = build(good_evidence("hipaa", trail), ORDER)
    accounting = next(table for table in made.tables if table.id == "accounting")
    assert any(row[0] == hostile and row[2] == hostile for row in accounting.rows)
    assert decode(encode(made)).tables == made.tables


def shifted(evidence: Evidence, period: Period) -> Evidence:
    return dataclasses.replace(evidence, period=period)


def test_one_event_and_none() -> None:
    trail = Trail()
    trail.say("profile.view", "02T10:00")
    for evidence in (new_evidence(trail), new_evidence(Trail())):
        made = build(evidence, ORDER)
        assert decode(encode(made)).summary == made.summary
        assert made.events_in_period == len(evidence.facts.documents)
    assert {each.reason for each in made.controls if each.status == "not-evidenced"} <= {"no-source", "manual-only"}


def test_days_before_the_organization_began_are_told() -> None:
    organization = Organization("t", "Example", "2026-03-10T10:00:00.000000Z")
    made = build(good_evidence("soc2", organization=organization), ORDER)
    assert "Days before 2026-03-10, when the organization began" in made.scope.exclusions
    assert made.from_day == FROM.isoformat()
    assert len(DAYS) == 31


def test_a_report_is_cut_into_parts_between_characters(report: Report) -> None:
    text = ("é😀x" * 400_000).encode()
    parts = list(parts_of("t", "r", text))
    assert len(parts) == 4
    assert "".join(part["text"] for part in parts).encode() == text
    assert all(len(json.dumps(part, ensure_ascii=False).encode()) < 1_500_000 for part in parts)
    assert len({part["id"] for part in parts}) == 4


def test_alerts_that_nobody_saw_are_no_quick_ones(good: Trail) -> None:
    """Neither "0 hours" where nobody looked, nor a median added to a maximum."""
    seen = alert("alert-1", raised_at="2026-03-10T00:00:00.000000Z", acknowledged_at="2026-03-10T02:00:00.000000Z")
    slow = alert("alert-2", raised_at="2026-03-10T00:00:00.000000Z", acknowledged_at="2026-03-10T06:00:00.000000Z")
    none = [alert(f"alert-{n}", acknowledged_at=None, closed_at=None, severity="critical") for n in range(3, 6)]

    def chart(*alerts: AlertRow) -> Chart:
        made = build(good_evidence("soc2", good, alerts=alerts), ORDER)
        return next(each for each in made.charts if each.id == "acknowledged")

    unseen = chart(*none)
    assert unseen.title == "Time until alerts were seen: nobody saw 3 of 3"
    assert (unseen.labels, unseen.series[0].values) == ((), ())
    both = chart(seen, slow, *none)
    assert both.title == "Time until alerts were seen: nobody saw 3 of 5"
    assert both.labels == (f"{seen.severity}, median", f"{seen.severity}, longest")
    assert both.series == (Series("hours", (4.0, 6.0)),)
    assert chart().title == "Time until alerts were seen"


def test_who_was_erased_is_shown_as_erased_in_findings(good: Trail) -> None:
    gone = request("erase-1", kind="erasure", subject="oscar", state="executed")
    made = build(firing("AUTH-06", "pci_dss"), ORDER)
    assert any("ada: " in each.text for each in made.exceptions if each.rule == "AUTH-06"), made.exceptions
    told = dataclasses.replace(firing("AUTH-06", "pci_dss"), requests=(dataclasses.replace(gone, subject="ada"),))
    after = build(told, ORDER)
    (finding,) = [each for each in after.exceptions if each.rule == "AUTH-06"]
    assert "ada (erased): " in finding.text
    assert not [each.text for each in after.exceptions if re.search(r"\bada\b(?! \(erased\))", each.text)]
