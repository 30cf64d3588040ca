"""The deliverable: a bundle with a report in it, written as the service does and checked by the offline verifier."""

import csv
import hashlib
import io
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.audit.entries import entry_of
from shared.compliance.facts.fold import fold
from shared.compliance.facts.merged import Facts
from shared.compliance.render import bundle, pdf
from shared.compliance.render.json import report_json
from shared.compliance.report_model import (
    Cell,
    EventRef,
    Gate,
    GateCheck,
    Metric,
    Report,
    RuleRun,
    Sample,
    Shard,
    Table,
)
from shared.compliance.report_model import Evidence as Speaks
from shared.compliance.samples import sample, seed_of
from shared.compliance.selectors import Row
from shared.ledger._text import encode_base64
from shared.ledger.bundle import Attached, BundleError, PartWriter
from shared.ledger.merkle import leaf_hash
from shared.ledger.note import Signer
from shared.ledger.rollups import rollups_of
from tests.compliance.reports import report
from tests.ledger.evidence import SEED, TENANT, VKEY, Evidence, evidence, repacked, resigned, save
from tools import verify_evidence as verifier

WHOLE = evidence()
MARCH = "2026-03"


def stands_on(size: int, month: str = MARCH, whole: Evidence = WHOLE) -> Shard:
    """What a report says of a month as it was at a size."""
    checkpoint = whole.checkpoint(month, size)
    return Shard(month, size, encode_base64(checkpoint.root), whole.signed(checkpoint), size, 0, size - 1)


STOOD = {MARCH: 268, "2026-04": 30}
"""How many entries months had when the report was made; March had two more later."""


MADE = "2026-03-20T00:10:00.000000Z"
"""When it was made: within the time in which the two that came later may be sealed."""


def rows_of(whole: Evidence = WHOLE) -> dict[Row, int]:
    """What the report counts."""
    found: dict[Row, int] = {}
    for month, size in STOOD.items():
        for rollup in rollups_of(whole.events[month][:size]).values():
            for row, count in rollup.counts.items():
                found[row] = found.get(row, 0) + count
    return found


PERIOD = [(date(2026, 3, 1) + timedelta(days=number)).isoformat() for number in range(61)]
SPEAKS = {0: "auth.login+failure", 3: "auth.* data.read+success custom.*"}
"""Which events speak to the controls that any do."""


def facts() -> Facts:
    """What the service folds of the entries that the report is of."""
    found = {}
    for day in PERIOD:
        held = WHOLE.sealed[day[:7]][: STOOD[day[:7]]]
        found[day] = fold(
            day, [(at, text) for at, text in enumerate(held) if json.loads(text)["recorded_at"][:10] == day]
        )
    return Facts(PERIOD, {day: each for day, each in found.items() if each["events"]})


FACTS = facts()


def speaks(text: str) -> tuple[Speaks, ...]:
    """The events that selectors mean, counted anew."""
    found: dict[str, tuple[Counter[str], list[int]]] = {}
    for place, day in enumerate(PERIOD):
        for event in WHOLE.events[day[:7]][: STOOD[day[:7]]]:
            kind, outcome = event["type"], event["outcome"]
            if event["recorded_at"][:10] == day and any(
                kind.startswith(word.partition("+")[0].rstrip("*")) and word.partition("+")[2] in ("", outcome)
                for word in text.split()
            ):
                name = "custom.*" if kind.startswith("custom.") else kind
                outcomes, by_day = found.setdefault(name, (Counter(), [0] * len(PERIOD)))
                outcomes[outcome] += 1
                by_day[place] += 1
    return tuple(
        Speaks(kind, sum(by_day), tuple(sorted(outcomes.items())), tuple(by_day))
        for kind, (outcomes, by_day) in sorted(found.items())
    )


def figures() -> tuple[Table, Table]:
    """The tables of days and of counts."""
    days: dict[str, tuple[Cell, ...]] = {}
    for name in PERIOD:
        held = rollups_of(WHOLE.events[name[:7]][: STOOD[name[:7]]]).get(name)
        actors = held.totals()["distinct_actors"] if held else 0
        days[name] = (name, held.events, held.first, held.last, actors, 0) if held else (name, 0, None, None, 0, 0)
    rows_by_name = [(*row, count) for row, count in sorted(rows_of().items(), key=lambda each: str(each[0]))]
    columns = ("Day", "Events", "First index", "Last index", "Actors", "Checkpoints")
    return (
        Table("days", "Events by day", columns, tuple(days.values()), len(days)),
        Table(
            "counts",
            "Events by type",
            ("Type", "Outcome", "Class", "Reason", "Events"),
            tuple(rows_by_name),
            len(rows_by_name),
        ),
    )


def real(**changes: Any) -> Report:
    """A report of the bundle's tenant and days, when March had 268 entries; its events are entries of it."""
    made = report(
        controls=5, rows=3, tenant_id=TENANT, to_day="2026-05-01", population=(stands_on(268), stands_on(30, "2026-04"))
    )
    (finding,) = [replace(each, events=(sealed(2),)) for each in made.exceptions if each.id == "F-2"]
    root = encode_base64(WHOLE.checkpoint("2026-04", 30).root)
    controls = []
    for number, each in enumerate(made.controls):
        text, run = SPEAKS.get(number, ""), RuleRun(finding.rule, "", "high", (), 120 if number == 1 else 0)
        total = sum(held.total for held in speaks(text))
        controls.append(
            replace(
                each,
                pattern="external" if each.reason == "manual-only" else "violation",
                population=f"{total or 3} occasions: {text.replace(' ', ', ') or 'things that were done'}",
                evidence=speaks(text),
                metrics=(*each.metrics, Metric("evidence_events", "Events", total)),
                rules=(run,) if number == 1 else (),
                samples=sample(FACTS, text, seed_of(root, each.oscal_id), 25),
            )
        )
    told = tuple((each.oscal_id, SPEAKS.get(at, ""), each.metrics[-1].value) for at, each in enumerate(controls))
    own = Table("evidence", "Evidence", ("Control", "Which", "Events"), told, len(told))
    drawn = (("sampling_month", "2026-04"), ("sampling_size", 30), ("sampling_root", root))
    method = replace(
        made.method,
        thresholds=(("sample_size", 25, "a choice"),),
        parameters=(*made.method.parameters, *drawn),
    )
    given: dict[str, Any] = {
        "generated_at": MADE,
        "gate": Gate(True, tuple(GateCheck(name, "A condition", True, "as it must be") for name in verifier.GATE)),
        "exceptions": (finding,),
        "controls": tuple(controls),
        "tables": (*figures(), own, *made.tables),
        "events_in_period": sum(STOOD.values()),
        "method": method,
    }
    return replace(made, **(given | changes))


def sealed(index: int) -> EventRef:
    event = WHOLE.events[MARCH][index]
    return EventRef(MARCH, index, event["id"], event["recorded_at"], event["type"], event["outcome"])


def entries_of(wanted: list[bundle.Place]) -> dict[bundle.Place, bytes]:
    return {(month, index): WHOLE.sealed[month][index] for month, index in wanted}


@pytest.fixture(scope="module")
def whole() -> Attached:
    made = real()
    return bundle.attached(made, entries_of(bundle.places(made)))


def attached(made: Report) -> Attached:
    """Only what the verifier reads."""
    about = {"id": made.id, "framework": made.framework.id, "generated_at": made.generated_at}
    return Attached(about, {"report.json": report_json(made)})


def checked(folder: Path, carried: Attached | None, **changes: Any) -> verifier.Checks:
    return verifier.verify(save(folder, replace(WHOLE, report=carried, **changes).parts()), (VKEY,))


def wrongs(checks: verifier.Checks) -> str:
    assert checks.result == verifier.WRONG, verifier.table(checks)
    return "; ".join(f"{line.subject}: {line.detail}" for line in checks.lines if line.result == verifier.WRONG)


@pytest.mark.parametrize("bundles_a_part", [1000, 1])
def test_the_verifier_accepts_the_deliverable_and_says_which_report_it_is(
    tmp_path: Path, whole: Attached, bundles_a_part: int
) -> None:
    checks = checked(tmp_path, whole, bundles_a_part=bundles_a_part)
    assert checks.result == verifier.OK, verifier.table(checks)
    text = verifier.table(checks)
    assert f"pci_dss, report {real().id}, generated {MADE}; {len(whole.files)} files" in text
    assert "it stands on the first 268 entries of 2026-03, and they are these" in text
    assert "it stands on the first 30 entries of 2026-04" in text
    assert "298 events by day, type, outcome, class and reason: counted again from the entries" in text
    assert "drawn by is that of the first 30 entries of 2026-04" in text
    assert "5 controls stand on exactly the events that there are, and the samples are those of the seeds" in text
    assert "findings and register agree; not checked: which controls, selectors and rules there have to be" in text


@pytest.mark.parametrize(("stood", "drawn"), [(268, 30), (268, 20), (260, 30)])
def test_the_lines_of_the_answer_come_in_one_order_whatever_the_sizes(tmp_path: Path, stood: int, drawn: int) -> None:
    """What a report stands on and what its samples are drawn by may be of one size, or either one the larger."""
    made = real()
    root = encode_base64(WHOLE.checkpoint("2026-04", drawn).root)
    told = dict(made.method.parameters) | {"sampling_size": drawn, "sampling_root": root}
    controls = tuple(
        replace(each, samples=sample(FACTS, SPEAKS.get(at, ""), seed_of(root, each.oscal_id), 25))
        for at, each in enumerate(made.controls)
    )
    made = replace(
        made,
        controls=controls,
        population=(stands_on(stood), replace(stands_on(28, "2026-04"), events=30, last=29)),
        method=replace(made.method, parameters=tuple(told.items())),
    )
    april, march = (Path(tmp_path, f"kept-{month}") for month in ("2026-04", MARCH))
    april.write_text(WHOLE.signed(WHOLE.checkpoint("2026-04", 29)), encoding="utf-8")
    march.write_text(WHOLE.signed(WHOLE.checkpoint(MARCH, 3)), encoding="utf-8")
    parts = save(tmp_path, replace(WHOLE, report=attached(made)).parts())
    checks = verifier.verify(parts, (VKEY,), (str(april), str(march)))
    assert [line.subject for line in checks.lines][3:12] == [
        "Report",
        "Checkpoint kept in kept-2026-04",
        "Checkpoint kept in kept-2026-03",
        "Report: month 2026-03",
        "Report: month 2026-04",
        "Report: samples",
        "Report: figures",
        "Report: evidence",
        "Report: controls",
    ]


def test_it_holds_every_form_and_a_file_for_each_control(tmp_path: Path, whole: Attached) -> None:
    [path] = save(tmp_path, replace(WHOLE, report=whole).parts())
    with zipfile.ZipFile(path) as made:
        names = {name.removeprefix("report/") for name in made.namelist() if name.startswith("report/")}
    assert {"report.json", "report.html", "report.pdf", "assessment-results.json", "catalog.json"} <= names
    assert {"csv/controls.csv", "csv/tables/access_log.csv"} <= names
    assert {name for name in names if name.startswith("controls/")} == {
        f"controls/{each.oscal_id}.csv" for each in real().controls
    }


def test_a_controls_file_says_what_was_sealed(whole: Attached) -> None:
    made = real()
    control = made.controls[1]
    [row] = csv.DictReader(io.StringIO(whole.files[f"controls/{control.oscal_id}.csv"].decode(), newline=""))
    event = WHOLE.events[MARCH][int(row["index"])]
    assert (row["shown_for"], row["event_id"], row["actor_id"]) == ("F-2", event["id"], event["actor"]["id"])
    assert row["hash"] == leaf_hash(entry_of(event)).hex()
    assert row["resource_id"] == ""
    without = bundle.attached(replace(made, controls=(control,)))
    [row] = csv.DictReader(io.StringIO(without.files[f"controls/{control.oscal_id}.csv"].decode(), newline=""))
    assert (row["event_id"], row["actor_id"], row["hash"]) == (event["id"], "", "")


WRONG: list[tuple[Callable[[], Report], str]] = [
    (lambda: real(tenant_id=TENANT[:-1] + "b"), "another tenant or period"),
    (lambda: real(from_day="2026-03-02"), "another tenant or period"),
    (lambda: real(from_day="0001-01-01", to_day="9999-12-31"), "of more days than one can be"),
    (lambda: real(to_day="2026-03-01"), "of more days than one can be"),
    (lambda: real(population=(replace(stands_on(268), size=267),)), "not those of its checkpoint"),
    (lambda: real(population=(replace(stands_on(268), root=stands_on(267).root),)), "not those of its checkpoint"),
    (lambda: real(population=(replace(stands_on(268), root="AAAA="),)), "should be base64"),
    (lambda: real(population=(replace(stands_on(268), checkpoint="x"),)), "not the form of a signed note"),
    (lambda: real(population=(stands_on(3, whole=replace(WHOLE, seed=SEED[::-1])),)), "not signed by the key"),
    (lambda: real(population=(stands_on(3, whole=forged()),)), "history was rewritten"),
    (lambda: real(population=(stands_on(300, whole=longer()),)), "had 300 entries then and has 270"),
]


def forged() -> Evidence:
    """Another trail under the same key: one event of it is another."""
    changed = evidence()
    changed.sealed[MARCH][1] = entry_of(WHOLE.events[MARCH][1] | {"reason": "other"})
    return changed


def longer() -> Evidence:
    """A trail from which 30 entries were dropped since."""
    more = evidence()
    more.sealed[MARCH] += more.sealed["2026-04"]
    return more


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_a_report_that_stands_on_another_trail_is_refused(
    tmp_path: Path, make: Callable[[], Report], message: str
) -> None:
    assert message in wrongs(checked(tmp_path, attached(make())))


def _table(table_id: str, change: Callable[[list[list[Any]]], Any]) -> Callable[[], Report]:
    """A report one of whose tables is another."""

    def make() -> Report:
        made = real()
        tables = []
        for each in made.tables:
            rows = [list(row) for row in each.rows]
            if each.id == table_id:
                change(rows)
            tables.append(replace(each, rows=tuple(map(tuple, rows)), total=len(rows)))
        return replace(made, tables=tuple(tables))

    return make


def _cut(table_id: str) -> Callable[[], Report]:
    """A report one of whose tables says that it is cut, and is not that long."""

    def make() -> Report:
        made = real()
        tables = [replace(each, rows=each.rows[1:]) if each.id == table_id else each for each in made.tables]
        return replace(made, tables=tuple(tables))

    return make


LATE = "2026-05-01T02:00:00.000000Z"


def _control(at: int = 0, **changes: Any) -> Report:
    made = real()
    controls = list(made.controls)
    controls[at] = replace(controls[at], **changes)
    return replace(made, controls=tuple(controls))


def _evidence(**changes: Any) -> Report:
    return _control(evidence=(replace(real().controls[0].evidence[0], **changes),))


def _named(**changes: Any) -> Report:
    made = real()
    finding = replace(made.exceptions[0], events=(replace(sealed(5), **changes),))
    return replace(made, exceptions=(finding, *made.exceptions[1:]))


def _held(at: int) -> Sample:
    held = real().controls[at].samples
    assert held is not None
    return held


def _sample(at: int = 0, **changes: Any) -> Report:
    return _control(at, samples=replace(_held(at), **changes))


def _other_sample() -> Report:
    """One that was chosen: an event that is no less true, in place of one that was drawn."""
    held = _held(3).events
    other = next(each for each in map(sealed, range(1, 268)) if each not in held and each.outcome == held[0].outcome)
    return _sample(3, events=(replace(other, type=other.type), *held[1:]))


def _finding(**changes: Any) -> Report:
    made = real()
    return replace(made, exceptions=(replace(made.exceptions[0], **changes),))


def _runs(findings: int) -> tuple[RuleRun, ...]:
    return (replace(real().controls[1].rules[0], findings=findings),)


def _clean() -> Report:
    """All that tells of the exception taken away, but for one place."""
    made = _control(1, status="satisfied", findings=())
    return replace(made, exceptions=(), summary=replace(made.summary, satisfied=2, exception=0))


def _drawn(name: str, value: Any) -> Report:
    made = real()
    parameters = tuple((key, value if key == name else held) for key, held in made.method.parameters)
    return replace(made, method=replace(made.method, parameters=parameters))


def _seeded(month: str, size: int) -> Report:
    """A report whose samples are drawn by a root of choice."""
    made, root = real(), encode_base64(WHOLE.checkpoint(month, size).root)
    told: dict[str, Cell] = {"sampling_month": month, "sampling_size": size, "sampling_root": root}
    parameters = tuple((dict(made.method.parameters) | told).items())
    controls = tuple(
        replace(each, samples=sample(FACTS, SPEAKS.get(at, ""), seed_of(root, each.oscal_id), 25))
        for at, each in enumerate(made.controls)
    )
    return replace(made, controls=controls, method=replace(made.method, parameters=parameters))


def _undrawn(made: Report) -> Report:
    """A report without samples, nor what they are drawn by."""
    parameters = tuple(each for each in made.method.parameters if not each[0].startswith("sampling_"))
    controls = tuple(replace(each, samples=None) for each in made.controls)
    return replace(made, controls=controls, method=replace(made.method, parameters=parameters))


def _speak_not(*names: str) -> Table:
    rows = tuple((name, "", 0) for name in names)
    return Table("evidence", "Evidence", ("Control", "Which", "Events"), rows, len(rows))


def _silenced() -> Report:
    """A report to whose controls nothing speaks."""
    made = real()
    controls = tuple(replace(each, evidence=(), samples=None, metrics=()) for each in made.controls)
    return replace(made, controls=controls, tables=(*figures(), _speak_not(*(each.oscal_id for each in controls))))


def _failed(made: Report) -> Report:
    """A report whose gate failed, and nothing else of it is another."""
    checks = (replace(made.gate.checks[0], passed=False), *made.gate.checks[1:])
    return replace(made, gate=Gate(False, checks))


def _gated(made: Report) -> Report:
    """A report whose gate failed, as it tells it then."""
    controls = tuple(
        replace(each, status="not-evidenced", reason="gate-failed")
        if each.status == "satisfied" or each.reason == "no-occurrence"
        else each
        for each in made.controls
    )
    return _failed(replace(made, controls=controls, summary=replace(made.summary, satisfied=0, not_evidenced=3)))


def _lacking(at: int) -> Report:
    run = RuleRun("AUTH-03", "", "high", (("not run, or not wholly, for want of", "alerts"),), 0)
    return _control(at, rules=(run,))


STATUSES: list[tuple[Callable[[], Report], str]] = [
    (lambda: _lacking(0), "is satisfied, and AUTH-03 was not run wholly"),
    (lambda: _lacking(2), "is not-evidenced (no-occurrence), and AUTH-03 was not run wholly"),
    (lambda: _control(2, status="satisfied"), "only what is not evidenced has a reason"),
    (lambda: _control(2, reason=None), "only what is not evidenced has a reason"),
    (lambda: _control(2, reason="gate-failed"), "and the gate passed"),
    (lambda: _control(2, reason="manual-only"), "and its pattern is violation"),
    (lambda: _control(2, reason="no-source"), "of 298 events in all"),
    (lambda: _control(3, status="satisfied", reason=None), "and its pattern is external"),
    (lambda: _control(4, declared=None), "not-applicable is what was declared so"),
    (lambda: _control(0, declared="by somebody"), "not-applicable is what was declared so"),
    (lambda: _control(0, status="not-applicable"), "not-applicable is what was declared so"),
    (lambda: _control(0, population="0 occasions: things done"), "there were no occasions for it"),
    (lambda: _control(0, population="2 occasions: a; unknown occasions: b"), "there were no occasions for it"),
    (lambda: _control(0, population="12 events"), "there were no occasions for it"),
    (lambda: _failed(_control(0, status="not-evidenced", reason="no-occurrence")), "and the gate failed"),
]
"""What a control says of itself, and cannot be with what it says beside that."""


def _first(rows: list[list[Any]], by: int) -> None:
    rows[0][-1] += by


LIES: list[tuple[Callable[[], Report], str]] = [
    (lambda: real(events_in_period=299), "counts 299 events in the period, and there are 298"),
    (
        lambda: real(population=(replace(stands_on(268), events=267), stands_on(30, "2026-04"))),
        "other events of 2026-03",
    ),
    (lambda: real(population=(replace(stands_on(268), first=1), stands_on(30, "2026-04"))), "other events of 2026-03"),
    (_table("days", lambda rows: rows[0].__setitem__(1, 3)), "other events of 2026-03-01"),
    (_table("days", lambda rows: rows[0].__setitem__(3, 3)), "other events of 2026-03-01"),
    (_table("days", lambda rows: rows.pop(1)), "other events of 2026-03-02"),
    (_table("days", list.clear), "other events of 2026-03-01"),
    (_table("counts", lambda rows: _first(rows, 1)), "and there are"),
    (_table("counts", lambda rows: _first(rows, -1)), "and there are"),
    (_table("counts", list.pop), "other types than there are"),
    (_table("counts", lambda rows: rows.append(["user.delete", "success", "none", None, 0])), "other types"),
    (_table("counts", lambda rows: rows.__setitem__(0, rows[1])), "counted twice"),
    (_table("counts", lambda rows: rows[0].pop()), "and there are"),
    (_table("counts", lambda rows: rows[0].clear()), "figures that are none"),
    (_table("counts", lambda rows: rows.append(rows[0])), "counts events of other types"),
    (_table("days", lambda rows: rows.append(rows[0])), "other events of None"),
    (_table("days", lambda rows: rows[0].__setitem__(4, 1)), "other events of 2026-03-01"),
    (_cut("counts"), "table of counts was cut short"),
    (lambda: _evidence(by_outcome=(("failure", 90),), total=90), "stands on other events of auth.login"),
    (lambda: _evidence(total=7), "stands on other events of auth.login"),
    (lambda: _evidence(by_day=(1,)), "stands on other events of auth.login"),
    (lambda: _evidence(type="user.delete"), "stands on other events of auth.login"),
    (lambda: _evidence(total=9, by_outcome=(("failure", 9),)), "stands on other events of auth.login"),
    (lambda: _control(evidence=()), "stands on other events of auth.login"),
    (lambda: _control(evidence=(*real().controls[0].evidence, *speaks("data.read"))), "other events of data.read"),
    (lambda: _control(metrics=(Metric("evidence_events", "Events", 3),)), "another than its evidence"),
    (_table("evidence", lambda rows: rows.pop()), "of other controls than it has"),
    (_table("evidence", list.reverse), "of other controls than it has"),
    (_table("evidence", lambda rows: rows[0].__setitem__(1, "auth.login+denied")), "other events of auth.login"),
    (_table("evidence", lambda rows: rows[0].__setitem__(1, "auth.login; x")), "does not say which events are meant"),
    (_table("evidence", lambda rows: _first(rows, -1)), "stands on 9 events, and there are 10"),
    (lambda: _control(samples=None), "has no sample"),
    (lambda: _sample(population=9), "is of another population"),
    (lambda: _sample(3, events=_held(3).events[1:]), "is not the one that its seed draws"),
    (lambda: _sample(3, events=()), "is not the one that its seed draws"),
    (_other_sample, "is not the one that its seed draws"),
    (lambda: real(exceptions=()), "other findings than its controls"),
    (lambda: real(exceptions=(*real().exceptions, *real().exceptions)), "there twice"),
    (lambda: _finding(id="F-9"), "other findings than its controls"),
    (lambda: _finding(count=0), "more events than it counts"),
    (lambda: _finding(count=119), "found 120, not 119"),
    (lambda: _finding(rule="AUTH-03"), "found 120, not 0"),
    (_clean, "found 120, not 0"),
    (lambda: _control(1, rules=_runs(119)), "found 119, not 120"),
    (lambda: _control(1, findings=()), "other findings than its controls"),
    (lambda: _control(2, findings=("F-2",)), "has other findings than its rules"),
    (lambda: _control(2, rules=_runs(120)), "has other findings than its rules"),
    (lambda: _control(1, status="satisfied"), "is satisfied, and a rule fired"),
    (lambda: _control(0, status="exception"), "is exception, and no rule fired"),
    (lambda: _control(0, status="not-evidenced", reason="no-occurrence"), "counts other statuses"),
    *STATUSES,
    (lambda: _control(0, status="fine"), "figures that are none"),
    (lambda: real(gate=replace(real().gate, passed=False)), "gate is not that of its checks"),
    (lambda: _failed(real()), "is satisfied, and the gate failed"),
    (lambda: real(population=(stands_on(268),)), "does not stand on all its months"),
    (
        lambda: real(population=(replace(stands_on(3), last=2), stands_on(30, "2026-04")), generated_at=LATE),
        "was there when it was made, and it leaves it out",
    ),
    (lambda: _named(event_id=sealed(6).event_id), "entry 5 of 2026-03 is not the event that it names"),
    (lambda: _named(outcome="denied"), "entry 5 of 2026-03 is not the event that it names"),
    (lambda: _named(index=268), "entry 268 of 2026-03, which it names, is not among"),
    (lambda: _sample(events=(replace(sealed(7), type="user.delete"),)), "entry 7 of 2026-03 is not the event"),
    (lambda: _sample(seed="0" * 64), "has another seed"),
    (lambda: _drawn("sampling_root", encode_base64(b"1" * 32)), "has another seed"),
    (lambda: _drawn("sampling_size", 29), "history was rewritten"),
    (lambda: _drawn("sampling_size", "30"), "size that samples are drawn by is none"),
    (lambda: _drawn("sampling_month", "2026-06"), "2026-06, which the bundle does not have"),
    (lambda: _seeded(MARCH, 268), "not drawn by the last entry of its period"),
    (lambda: _seeded("2026-04", 20), "not drawn by the last entry of its period"),
    (lambda: _undrawn(real()), "does not say what its samples are drawn by"),
    (_silenced, "no events speak to any of its controls"),
    (lambda: real(controls=(), tables=(*figures(), _speak_not())), "no events speak to any of its controls"),
    (lambda: real(gate=Gate(True, ())), "its gate lacks the check checkpoint"),
    (lambda: real(gate=Gate(True, real().gate.checks[:-1])), "its gate lacks the check retained"),
    (lambda: _control(0, population="9 occasions: auth.login+failure"), "tells of 9 occasions (auth.login+failure)"),
]


@pytest.mark.parametrize(("make", "message"), LIES)
def test_a_report_that_counts_what_is_not_there_is_refused(
    tmp_path: Path, make: Callable[[], Report], message: str
) -> None:
    """Signed or not, and whatever made it so: figures are counted again from the entries."""
    assert message in wrongs(checked(tmp_path, attached(make())))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("counts", "the report has no table of counts by type"),
        ("evidence", "does not say which events speak to each control"),
    ],
)
def test_a_report_without_a_table_that_is_counted_again_is_not_checked(tmp_path: Path, table: str, told: str) -> None:
    made = real()
    made = replace(made, tables=tuple(each for each in made.tables if each.id != table))
    checks = checked(tmp_path, attached(made))
    assert checks.result == verifier.UNKNOWN, verifier.table(checks)
    assert told in verifier.table(checks)


def test_behind_a_failed_gate_a_report_may_have_no_samples(tmp_path: Path) -> None:
    """The root that they would be drawn by may be what is broken."""
    checks = checked(tmp_path, attached(_undrawn(_gated(real()))))
    assert checks.result == verifier.UNKNOWN, verifier.table(checks)
    assert "it has no samples, nor says what they would be drawn by" in said(checks, "Report: evidence")


def test_a_lock_that_nobody_met_needs_no_occasion(tmp_path: Path) -> None:
    """Its settings speak for themselves."""
    run = RuleRun("LCK-01", "", "high", (), 0)
    checks = checked(tmp_path, attached(_control(0, rules=(run,), population="0 occasions: things done")))
    assert checks.result == verifier.OK, verifier.table(checks)


def test_a_sample_that_was_drawn_in_another_way_is_not_checked(tmp_path: Path) -> None:
    checks = checked(tmp_path, attached(_sample(3, method="Those that looked well")))
    assert checks.result == verifier.UNKNOWN, verifier.table(checks)
    assert "in a way that this verifier does not know" in verifier.table(checks)


def test_a_month_that_the_bundle_does_not_have(tmp_path: Path) -> None:
    may = replace(stands_on(30, "2026-04"), period="2026-05")
    origin = f"{WHOLE.log}/2026-05"
    checkpoint = replace(WHOLE.checkpoint("2026-04"), origin=origin)
    made = real(population=(replace(may, checkpoint=WHOLE.signed(checkpoint)),))
    assert "stands on 2026-05, which the bundle does not have" in wrongs(checked(tmp_path, attached(made)))


def said(checks: verifier.Checks, subject: str) -> str:
    [line] = [line for line in checks.lines if line.subject == subject]
    return f"{line.result}: {line.detail}"


def test_of_an_expired_month_a_report_is_checked_as_far_as_can_be(tmp_path: Path) -> None:
    checks = checked(tmp_path, attached(real()), expired=(MARCH,))
    assert checks.result == verifier.UNKNOWN, verifier.table(checks)
    assert said(checks, "Report: month 2026-03") == "not checked: the entries of 2026-03 could not be checked"
    assert said(checks, "Report: month 2026-04").startswith("ok: ")
    lacking = "not checked: the entries of 2026-03 could not be checked; nor, for want of them, "
    assert said(checks, "Report: figures") == f"{lacking}how many there are of each type"
    assert said(checks, "Report: evidence") == f"{lacking}totals and samples"
    assert said(checks, "Report: controls").startswith("ok: ")


def _april(at: int, by: int) -> Report:
    """Another number of events in evidence on a day of April, and none more in all."""
    by_day = list(real().controls[at].evidence[0].by_day)
    place = next(place for place, n in enumerate(by_day) if n and PERIOD[place] >= "2026-04")
    by_day[place] += by
    return _control(at, evidence=(replace(real().controls[at].evidence[0], by_day=tuple(by_day)),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: real(events_in_period=299), "counts 299 events in the period, and there are 298"),
        (
            lambda: real(population=(stands_on(268), replace(stands_on(30, "2026-04"), events=29))),
            "other events of 2026-04",
        ),
        (_table("days", lambda rows: rows[-1].__setitem__(1, 3)), "other events of 2026-04-30"),
        (_table("days", lambda rows: rows.pop(0)), "other events of 2026-03-01"),
        (lambda: _named(period="2026-04", index=30), "entry 30 of 2026-04, which it names, is not among"),
        (lambda: _april(3, 1), "stands on other events of"),
        (lambda: _control(1, status="satisfied"), "is satisfied, and a rule fired"),
    ],
)
def test_what_is_wrong_of_the_other_months_is_found(tmp_path: Path, make: Callable[[], Report], message: str) -> None:
    assert message in wrongs(checked(tmp_path, attached(make()), expired=(MARCH,)))


def silent(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Report:
    """A report that was made once the retention of March was over."""
    monkeypatch.setitem(STOOD, MARCH, 0)
    monkeypatch.setattr(sys.modules[__name__], "FACTS", facts())
    made = real(population=(replace(Shard(MARCH, 0, "", "", 0, None, None), **changes), stands_on(30, "2026-04")))
    return _gated(replace(made, exceptions=tuple(replace(each, events=()) for each in made.exceptions)))


@pytest.mark.parametrize("expired", [(MARCH,), ()])
def test_a_report_that_stands_on_nothing_of_a_month_is_checked_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expired: tuple[str, ...]
) -> None:
    checks = checked(tmp_path, attached(silent(monkeypatch)), expired=expired)
    assert checks.result == verifier.UNKNOWN, verifier.table(checks)
    none = "not checked: there was no checkpoint of 2026-03 when it was made, and its gate failed"
    assert said(checks, "Report: month 2026-03") == none
    rest = "not checked: it stands on nothing of 2026-03; of the other months: "
    assert said(checks, "Report: figures").startswith(f"{rest}30 events by day")
    assert said(checks, "Report: evidence").startswith(f"{rest}5 controls stand on exactly the events")
    for subject in ("Report", "Report: month 2026-04", "Report: samples", "Report: controls"):
        assert said(checks, subject).startswith("ok: ")


def test_only_behind_a_failed_gate_a_report_stands_on_nothing_of_a_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each: list[dict[str, Any]] = [{"size": 1}, {"events": 1}, {"root": stands_on(3).root}, {"last": 0}]
    for number, changes in enumerate(each):
        folder = tmp_path / str(number)
        folder.mkdir()
        made = silent(monkeypatch, **changes)
        assert "counts events of 2026-03 without a checkpoint" in wrongs(checked(folder, attached(made)))
    made = silent(monkeypatch)
    passed = replace(made.gate, passed=True, checks=tuple(replace(check, passed=True) for check in made.gate.checks))
    told = wrongs(checked(tmp_path, attached(replace(made, gate=passed)), expired=(MARCH,)))
    assert "counts events of 2026-03 without a checkpoint" in told


def test_what_a_silent_report_says_of_other_months_is_held_against_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = replace(silent(monkeypatch), events_in_period=31)
    assert "counts 31 events in the period, and there are 30" in wrongs(
        checked(tmp_path, attached(made), expired=(MARCH,))
    )


def renamed(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        files[name] = files.pop("report/report.json")

    return change


@pytest.mark.parametrize(
    ("change_files", "change_manifest", "message"),
    [
        (lambda files: files.pop("report/report.json"), lambda _: None, "there is no report/report.json"),
        (lambda _: None, lambda m: m.pop("report"), "the manifest names none"),
        (lambda _: None, lambda m: m["report"].update(id="other"), "another report than the manifest names"),
        (lambda _: None, lambda m: m["report"].update(more="x"), "of a report is malformed"),
        (lambda _: None, lambda m: m.update(report=None), "of a report is malformed"),
        (lambda f: f.update({"report/report.json": b"{}"}), lambda _: None, "has not the form of a report"),
        (lambda f: f.update({"report/report.json": b"[1"}), lambda _: None, "is not JSON"),
        (renamed("report/../report.json"), lambda _: None, "does not belong into a bundle"),
        (renamed("report/.hidden"), lambda _: None, "does not belong into a bundle"),
        (renamed("report//report.json"), lambda _: None, "does not belong into a bundle"),
        (renamed("report/a/b/c/report.json"), lambda _: None, "does not belong into a bundle"),
    ],
)
def test_a_bundle_whose_report_is_not_as_it_must_be(
    tmp_path: Path,
    change_files: Callable[[dict[str, bytes]], Any],
    change_manifest: Callable[[dict[str, Any]], Any],
    message: str,
) -> None:
    [data] = replace(WHOLE, report=attached(real())).parts()
    files = save(tmp_path, [resigned(data, change_files, change_manifest)])
    assert message in wrongs(verifier.verify(files, (VKEY,)))


def test_a_changed_file_of_the_report_is_found_without_the_key(tmp_path: Path) -> None:
    carried = attached(real())
    carried = replace(carried, files={**carried.files, "report.html": b"<p>satisfied"})
    [data] = replace(WHOLE, report=carried).parts()
    changed = repacked(data, lambda files: files.update({"report/report.html": b"<p>Satisfied"}))
    assert "report/report.html is not what the signed manifest lists" in wrongs(
        verifier.verify(save(tmp_path, [changed]), (VKEY,))
    )


def test_a_writer_takes_only_the_report_that_its_bundle_is_about() -> None:
    carried = attached(real())
    other = replace(carried, about=carried.about | {"id": "other"})  # type: ignore[operator]
    nameless = replace(carried, files={"other.json": b"{}"})
    for wrong, about in ((other, carried), (carried, None), (nameless, carried)):
        scope = replace(WHOLE, report=about).scope()
        signer = Signer(scope.key_name, SEED)
        with pytest.raises(BundleError), PartWriter(io.BytesIO(), scope, 1, signer, b"") as writer:
            writer.add_report(wrong)


def test_the_forms_in_it_say_the_same_report(whole: Attached) -> None:
    read = json.loads(whole.files["report.json"])
    assert read["id"] == whole.about["id"]
    results = json.loads(whole.files["assessment-results.json"])["assessment-results"]
    [resource] = [each for each in results["back-matter"]["resources"] if each["title"] == "The whole report"]
    assert resource["rlinks"][0]["hashes"][0]["value"] == hashlib.sha256(whole.files["report.json"]).hexdigest()
    assert whole.files["report.pdf"] == pdf.report_pdf(real())
