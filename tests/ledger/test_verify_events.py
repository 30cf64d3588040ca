"""The offline verifier holds an export of the trail against the entries of a bundle."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.audit.export_formats import json_line
from tests.ledger.evidence import VKEY, Event, evidence, save
from tests.ledger.test_verify_evidence import unknowns, wrongs
from tools import verify_evidence as verifier

WHOLE = evidence()
FILES = WHOLE.parts()
EVENTS = [event for period in sorted(WHOLE.events) for event in WHOLE.events[period]]


def exported(folder: Path, events: list[Event], name: str = "trail.jsonl") -> str:
    path = folder / name
    path.write_bytes(b"".join(json_line({**each, "personal": {}, "erased_at": None}) for each in events))
    return str(path)


def checked(folder: Path, *paths: str) -> verifier.Checks:
    return verifier.verify(save(folder, FILES), (VKEY,), events=paths)


def test_a_whole_export_is_what_was_sealed(tmp_path: Path) -> None:
    checks = checked(tmp_path, exported(tmp_path, EVENTS))
    assert checks.result == verifier.OK, verifier.table(checks)
    text = verifier.table(checks)
    assert "300 of 300 are exactly what was sealed" in text
    assert "every event that was sealed in the period is there" in text


def test_the_order_and_the_number_of_files_do_not_matter(tmp_path: Path) -> None:
    paths = [exported(tmp_path, EVENTS[100:][::-1], "b"), exported(tmp_path, EVENTS[:100], "a")]
    assert checked(tmp_path, *paths).result == verifier.OK


def changed(at: int, **fields: Any) -> Callable[[list[Event]], None]:
    return lambda events: events[at].update(fields)


TAMPERED: dict[str, tuple[Callable[[list[Event]], Any], str]] = {
    "edited": (changed(7, outcome="error"), f"1 is not what was sealed: {EVENTS[7]['id']}"),
    "an attribute": (changed(280, attributes={"note": "e"}), f"1 is not what was sealed: {EVENTS[280]['id']}"),
    "another type of a number": (changed(7, record_count=0.5), "1 is not what was sealed"),
    "no number": (lambda events: events[7].pop("record_count"), "1 is not what was sealed"),
    "re-dated": (changed(7, recorded_at="2026-03-30T00:00:00.000000Z"), "1 is not what was sealed"),
    "another month": (changed(7, period="2026-04"), "1 is not what was sealed"),
    "deleted": (lambda events: events.pop(7), f"1 is sealed, and not in the export: {EVENTS[7]['id']}"),
    "many deleted": (lambda events: events.__delitem__(slice(20)), "20 are sealed, and not in the export: "),
    "inserted": (
        lambda events: events.append({**events[7], "id": "019ca690-0000-7000-8000-0000000000ff"}),
        "1 is in the export, and never sealed: 019ca690-0000-7000-8000-0000000000ff",
    ),
    "twice": (lambda events: events.append(events[7]), "an event is exported twice"),
    "another tenant's": (changed(7, tenant_id="x"), "is of another tenant"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_done_to_an_event_is_wrong(tmp_path: Path, name: str) -> None:
    tamper, expected = TAMPERED[name]
    events = [dict(event) for event in EVENTS]
    tamper(events)
    checks = checked(tmp_path, exported(tmp_path, events))
    assert expected in wrongs(checks)
    assert verifier.EXITS[checks.result] == 1


def test_of_many_the_first_are_named(tmp_path: Path) -> None:
    said = wrongs(checked(tmp_path, exported(tmp_path, EVENTS[20:])))
    assert said.count("019c") == verifier.MAX_SHOWN
    assert said.endswith(", …")


def test_what_the_bundle_cannot_tell_is_not_checked(tmp_path: Path) -> None:
    young = {**EVENTS[-1], "id": "019d0000-0000-7000-8000-0000000000ff", "recorded_at": "2026-05-31T23:50:00.000000Z"}
    elsewhere = {**EVENTS[0], "id": "019c0000-0000-7000-8000-0000000000ff", "period": "2026-02"}
    assert "too young" in unknowns(checked(tmp_path, exported(tmp_path, [*EVENTS, young])))
    assert "months that this bundle does not show" in unknowns(
        checked(tmp_path, exported(tmp_path, [*EVENTS, elsewhere]))
    )


def test_of_a_month_only_the_days_of_the_bundle_have_to_be_exported(tmp_path: Path) -> None:
    files = replace(WHOLE, start="2026-03-05").parts()
    later = [event for event in EVENTS if event["recorded_at"] >= "2026-03-05"]
    path = exported(tmp_path, later)
    assert verifier.verify(save(tmp_path, files), (VKEY,), events=[path]).result == verifier.OK
    path = exported(tmp_path, [event for event in later if event["id"] != later[0]["id"]])
    assert later[0]["id"] in wrongs(verifier.verify(save(tmp_path, files), (VKEY,), events=[path]))


def test_a_month_that_is_broken_answers_for_no_event(tmp_path: Path) -> None:
    april = WHOLE.sealed["2026-04"]
    broken = replace(
        WHOLE, written=lambda period, sealed: sealed if period == "2026-03" else [april[1], april[0], *april[2:]]
    )
    checks = verifier.verify(save(tmp_path, broken.parts()), (VKEY,), events=[exported(tmp_path, EVENTS)])
    wrongs(checks)
    assert "the entries of a month could not be checked" in verifier.table(checks)


@pytest.mark.parametrize("text", [b"{}\n", b"[1]\n", b"no json\n", b'{"id": 7}\n', json_line(EVENTS[0])[:-1]])
def test_what_is_no_export_cannot_be_checked(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x").write_bytes(text)
    assert "there is no event as the service exports them" in unknowns(checked(tmp_path, str(tmp_path / "x")))


def test_a_file_that_is_not_there_cannot_be_checked(tmp_path: Path) -> None:
    assert "cannot be read" in unknowns(checked(tmp_path, str(tmp_path / "none")))


def test_the_command_takes_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [path] = save(tmp_path, FILES)
    assert verifier.main([path, "--vkey", VKEY, "--events", exported(tmp_path, EVENTS), "--json"]) == 0
    assert "Events of the export: unchanged" in {
        line["subject"] for line in json.loads(capsys.readouterr().out)["checks"]
    }
    assert verifier.main([path, "--vkey", VKEY, "--events", exported(tmp_path, EVENTS[1:])]) == 1
