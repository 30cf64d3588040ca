"""The deliverable: a bundle with a report in it, written as the service does and checked by the offline verifier."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.audit.entries import entry_of
from shared.compliance.render import bundle, pdf
from shared.compliance.render.json import report_json
from shared.compliance.report_model import EventRef, Report, Shard
from shared.ledger._text import encode_base64
from shared.ledger.bundle import Attached, BundleError, PartWriter
from shared.ledger.merkle import leaf_hash
from shared.ledger.note import Signer
from tests.compliance.reports import report
from tests.ledger.evidence import SEED, TENANT, VKEY, Evidence, evidence, repacked, resigned, save
from tools import verify_evidence as verifier

WHOLE = evidence()
MARCH = "2026-03"


def stands_on(size: int, month: str = MARCH, whole: Evidence = WHOLE) -> Shard:
    """What a report says of a month as it was at a size."""
    checkpoint = whole.checkpoint(month, size)
    return Shard(month, size, encode_base64(checkpoint.root), whole.signed(checkpoint), size, 0, size - 1)


def real(**changes: Any) -> Report:
    """A report of the bundle's tenant and days, when March had 268 entries; its events are entries of it."""
    made = report(
        controls=5, rows=3, tenant_id=TENANT, to_day="2026-05-01", population=(stands_on(268), stands_on(30, "2026-04"))
    )
    findings = tuple(replace(each, events=(sealed(int(each.id[2:])),)) for each in made.exceptions)
    return replace(made, exceptions=findings, **changes)


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
    assert f"pci_dss, report {real().id}, generated 2026-04-01T00:10:00.000000Z; {len(whole.files)} files" in text
    assert "it stands on the first 268 entries of 2026-03, and they are these" in text
    assert "it stands on the first 30 entries of 2026-04" in text


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


def test_a_month_that_the_bundle_does_not_have(tmp_path: Path) -> None:
    may = replace(stands_on(30, "2026-04"), period="2026-05")
    origin = f"{WHOLE.log}/2026-05"
    checkpoint = replace(WHOLE.checkpoint("2026-04"), origin=origin)
    made = real(population=(replace(may, checkpoint=WHOLE.signed(checkpoint)),))
    assert "stands on 2026-05, which the bundle does not have" in wrongs(checked(tmp_path, attached(made)))


def test_an_expired_month_leaves_the_report_unchecked(tmp_path: Path) -> None:
    checks = checked(tmp_path, attached(real()), expired=(MARCH,))
    assert checks.result == verifier.UNKNOWN, verifier.table(checks)
    assert "the entries of 2026-03 could not be checked" in verifier.table(checks)


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
