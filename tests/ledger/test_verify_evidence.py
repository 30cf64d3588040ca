"""The offline verifier: accepts what the service writes, and says what is wrong with everything else."""

import base64
import io
import json
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audit.entries import ENTRY_FIELDS, entry_of
from shared.ledger import bundle
from shared.ledger.note import Cosigner, Note, Signer, with_signatures
from shared.ledger.rollups import MAX_EXACT, DayRollup
from shared.ledger.tiles import ENTRIES, Tile
from tests.app import ROOT
from tests.ledger.evidence import (
    LOG,
    VERIFIER,
    VKEY,
    Evidence,
    closing,
    disclosing,
    event,
    evidence,
    repacked,
    resigned,
    save,
)
from tests.ledger.support import flip
from tools import verify_evidence as verifier

WHOLE = evidence()
FILE = WHOLE.parts()[0]
WITNESSES = [Cosigner("example.org/one", b"\1" * 32), Cosigner("example.net/two", b"\2" * 32)]
MARCH = "shards/2026-03/"


def checked(folder: Path, files: list[bytes], **options: Any) -> verifier.Checks:
    return verifier.verify(save(folder, files), options.pop("vkeys", (VKEY,)), **options)


def wrongs(checks: verifier.Checks) -> str:
    """What is wrong, in one line."""
    assert checks.result == verifier.WRONG, verifier.table(checks)
    return "; ".join(f"{line.subject}: {line.detail}" for line in checks.lines if line.result == verifier.WRONG)


def unknowns(checks: verifier.Checks) -> str:
    """What could not be checked, in one line."""
    assert checks.result == verifier.UNKNOWN, verifier.table(checks)
    return "; ".join(f"{line.subject}: {line.detail}" for line in checks.lines if line.result == verifier.UNKNOWN)


# ---- what is whole --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bundles_a_part", [1000, 2, 1])
def test_a_whole_bundle_is_verified_in_any_number_of_parts(
    tmp_path: Path, bundles_a_part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "MAX_OPEN", 1)
    files = replace(WHOLE, bundles_a_part=bundles_a_part).parts()
    assert len(files) == {1000: 1, 2: 2, 1: 3}[bundles_a_part]
    checks = checked(tmp_path, files[::-1])
    assert checks.result == verifier.OK, verifier.table(checks)
    text = verifier.table(checks)
    assert "entries 0 to 269 give the signed root" in text
    assert "90 of 90 are shown" in text
    assert "agrees with the 268 entries of 2026-03" in text
    assert text.endswith("Everything in this bundle is verified.\n")


def test_it_runs_alone_whatever_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "verify.py").write_bytes(zipfile.ZipFile(io.BytesIO(FILE)).read("verify_evidence.py"))
    [path] = save(tmp_path, [FILE])
    for module in ("json", "operator", "zipfile", "cryptography"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit(0)", encoding="utf-8")
    command = [sys.executable, "verify.py", path, "--vkey", VKEY, "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["result"], answer["exit"]) == ("ok", 0)
    assert {line["result"] for line in answer["checks"]} == {"ok"}


def test_it_imports_the_standard_library_and_cryptography_alone() -> None:
    text = VERIFIER.read_text(encoding="utf-8")
    modules = set(re.findall(r"^\s*(?:from|import) ([a-z_0-9]+)", text, re.MULTILINE))
    assert modules <= sys.stdlib_module_names | {"cryptography"}


def test_exit_statuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [path] = save(tmp_path, [FILE])
    (tmp_path / "bad.zip").write_bytes(repacked(FILE, lambda files: files.pop("README.txt")))
    assert verifier.main([path, "--vkey", VKEY]) == 0
    assert verifier.main([path, "--trust-bundled-key"]) == 0
    assert verifier.main([str(tmp_path / "bad.zip"), "--vkey", VKEY]) == 1
    assert verifier.main([path]) == 2
    assert "NOT CHECKED  give --vkey" in capsys.readouterr().out
    for wrong in ([], [path, "--quorum", "1"], [path, "--quorum", "0", "--witness-vkey", "x"]):
        with pytest.raises(SystemExit) as usage:
            verifier.main(wrong)
        assert usage.value.code == 2


def central(change: Callable[[bytearray, int], None]) -> bytes:
    """The file with the first line of its list of files changed."""
    data = bytearray(FILE)
    change(data, data.index(b"PK\1\2"))
    return bytes(data)


def huge(data: bytearray, at: int) -> None:
    data[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFF00)  # the size when unpacked


def odd(data: bytearray, at: int) -> None:
    data[at + 10 : at + 12] = struct.pack("<H", 99)  # a way of compressing that nobody knows


def locked(data: bytearray, at: int) -> None:
    data[at + 8] |= 1


BAD_FILES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 2),
    "no ZIP": (b"x" * 5000, 2),
    "cut": (FILE[:-30], 2),
    "begins late": (FILE[100:], 1),
    "the list is cut": (FILE[: FILE.index(b"PK\1\2")] + FILE[FILE.rindex(b"PK\5\6") :], 2),
    "encrypted": (central(locked), 1),
    "huge": (central(huge), 1),
    "compressed oddly": (central(odd), 1),
    "a name upward": (repacked(FILE, lambda files: files.update({"../../etc/passwd": b"x"})), 1),
    "a bomb": (repacked(FILE, lambda files: files.update({f"{MARCH}rollups.jsonl": b"\0" * (60 << 20)})), 1),
    "no manifest": (repacked(FILE, lambda files: files.pop("manifest.json")), 1),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_ends_with_the_status_that_is_promised(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, status = BAD_FILES[name]
    (tmp_path / "part.zip").write_bytes(data)
    assert verifier.main([str(tmp_path / "part.zip"), "--vkey", VKEY]) == status
    assert verifier.main([str(tmp_path / "part.zip"), "--vkey", VKEY, "--json"]) == status
    shown = capsys.readouterr()
    assert f'"exit": {status}' in shown.out
    assert shown.err == ""
    assert [each.name for each in tmp_path.iterdir()] == ["part.zip"], "nothing is unpacked"


def test_what_else_cannot_be_read_ends_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [path] = save(tmp_path, [FILE])
    (tmp_path / "empty").write_bytes(b"")
    nowhere, folder, empty = str(tmp_path / "none"), str(tmp_path), str(tmp_path / "empty")
    for arguments in (
        [nowhere, "--vkey", VKEY],
        [folder, "--vkey", VKEY],
        ["", "--vkey", VKEY],
        *([path, "--vkey", vkey] for vkey in ("", "x", VKEY[:-4], f" {VKEY}", VKEY + "\n", "\udcff")),
        *([path, "--vkey", VKEY, "--since", since] for since in ("", nowhere, folder, empty)),
        *([path, "--vkey", VKEY, "--events", events] for events in ("", nowhere, folder)),
        [path, "--vkey", VKEY, "--witness-vkey", "x"],
    ):
        assert verifier.main(arguments) == 2, arguments
    assert "NOT CHECKED" in capsys.readouterr().out


def test_a_fault_of_the_verifier_itself_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: object) -> str:
        raise RuntimeError("a defect")

    monkeypatch.setattr(verifier.Bundle, "check_parts", fails)
    assert verifier.main([*save(tmp_path, [FILE]), "--vkey", VKEY]) == 2
    assert "could not be completed (RuntimeError: a defect)" in capsys.readouterr().err


def test_empty_and_expired_months(tmp_path: Path) -> None:
    empty = Evidence({"2026-03": [], "2026-04": [event("2026-04", number) for number in range(3)]})
    assert checked(tmp_path, empty.parts()).result == verifier.OK
    text = unknowns(checked(tmp_path, replace(WHOLE, expired=("2026-03",)).parts()))
    assert text == "Month 2026-03: its retention has ended: the checkpoint is left, no entries"


def test_a_withheld_disclosure_is_no_fault(tmp_path: Path) -> None:
    shown = WHOLE.disclosed | {"2026-03": WHOLE.disclosed["2026-03"][5:7]}
    text = verifier.table(checked(tmp_path, replace(WHOLE, disclosed=shown).parts()))
    assert "2 of 90 are shown" in text


# ---- without the key: whoever holds the file changes it -------------------------------------------------------------


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], None]:
    def apply(files: dict[str, bytes]) -> None:
        assert name in files
        files[name] = change(files[name])

    return apply


def swap(one: str, two: str) -> Callable[[dict[str, bytes]], None]:
    def apply(files: dict[str, bytes]) -> None:
        files[one], files[two] = files[two], files[one]

    return apply


def manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, bytes]], None]:
    def apply(files: dict[str, bytes]) -> None:
        value = json.loads(files["manifest.json"])
        change(value)
        files["manifest.json"] = json.dumps(value).encode()

    return apply


TILE = f"{MARCH}tile/entries/000"
EDITS: dict[str, Callable[[dict[str, bytes]], Any]] = {
    "an entry": edit(TILE, lambda data: data.replace(b'"failure"', b'"success"', 1)),
    "a bit": edit(TILE, lambda data: flip(data, 4321)),
    "a file cut": edit(TILE, lambda data: data[:-1]),
    "a file gone": lambda files: files.pop(TILE),
    "two files swapped": swap(TILE, f"{MARCH}tile/entries/001.p/14"),
    "months swapped": swap(f"{MARCH}checkpoint", "shards/2026-04/checkpoint"),
    "a rollup": edit(f"{MARCH}rollups.jsonl", lambda data: data.replace(b'"events":24', b'"events":25', 1)),
    "a disclosure": edit(f"{MARCH}disclosed/000.jsonl", lambda data: data.replace(b"p3@", b"p4@", 1)),
    "a proof": edit(f"{MARCH}proofs/2.tlog-proof", lambda data: data.replace(b"index 2", b"index 3", 1)),
    "the verifier": edit("verify_evidence.py", lambda data: data.replace(b"OK", b"KO", 1)),
    "no verifier": lambda files: files.pop("verify_evidence.py"),
    "a file more": lambda files: files.update({f"{MARCH}tile/entries/009": b""}),
    "a strange file": lambda files: files.update({"notes.txt": b""}),
    "no note": lambda files: files.pop("manifest.note"),
    "no manifest": lambda files: files.pop("manifest.json"),
    "manifest, period": manifest(lambda value: value.update({"to": "2026-04-30"})),
    "manifest, size": manifest(lambda value: value["shards"][0].update({"size": 269})),
    "manifest, expired": manifest(lambda value: value["shards"][0].update({"expired": True})),
    "manifest, month dropped": manifest(lambda value: value["shards"].pop()),
    "manifest, digest": manifest(lambda value: value["files"][TILE].update({"sha256": "0" * 64})),
    "manifest, no JSON": edit("manifest.json", lambda _: b"{"),
    "manifest, twice": edit("manifest.json", lambda data: data.replace(b"{", b'{"part":1,', 1)),
    "manifest, a list": edit("manifest.json", lambda _: b"[]"),
    "manifest, deep": edit("manifest.json", lambda _: b"[" * 200_000),
    "note, not UTF-8": edit("manifest.note", lambda _: b"\xff\n\n"),
    "note, another text": edit("manifest.note", lambda data: data.replace(b"sha256 ", b"sha256  ")),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_file_that_was_changed_is_refused(tmp_path: Path, name: str) -> None:
    assert wrongs(checked(tmp_path, [repacked(FILE, EDITS[name])]))


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "shards/../../x", "C:\\x", "shards/2026-03/", "shards\\2026-03\\checkpoint", "a\0b", ""],
)
def test_strange_names_are_refused(tmp_path: Path, name: str) -> None:
    assert "does not belong" in wrongs(checked(tmp_path, [repacked(FILE, lambda files: files.update({name: b"x"}))]))
    assert [path.name for path in tmp_path.iterdir()] == ["part-1.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO(FILE)
    with zipfile.ZipFile(out, "a") as file:
        file.writestr("README.txt", b"another")
    assert "appears twice" in wrongs(checked(tmp_path, [out.getvalue()]))


def test_bombs_are_refused_without_unpacking_them(tmp_path: Path) -> None:
    large = b"\0" * (60 << 20)
    for name in (f"{MARCH}rollups.jsonl", "README.txt"):
        bomb = repacked(FILE, lambda files, name=name: files.update({name: large}))  # type: ignore[misc]
        assert re.search("a trap|larger than", wrongs(checked(tmp_path, [bomb])))


def test_encrypted_files_are_refused(tmp_path: Path) -> None:
    at = FILE.index(b"PK\1\2") + 8
    assert "encrypted" in wrongs(checked(tmp_path, [FILE[:at] + b"\1" + FILE[at + 1 :]]))


@pytest.mark.parametrize(("count", "found"), [(10**7, "more files"), (None, "is it whole")])
def test_the_long_form_of_the_list_is_bounded_too(tmp_path: Path, count: int | None, found: str) -> None:
    at = FILE.rindex(b"PK\5\6")
    wide = b"" if count is None else b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, 9, 0)
    wide += b"PK\6\7" + struct.pack("<IQI", 0, at, 1)
    checks = checked(tmp_path, [FILE[:at] + wide + FILE[at : at + 8] + b"\xff" * 12 + b"\0\0"])
    assert found in (unknowns(checks) if count is None else wrongs(checks))


def test_a_list_of_too_many_files_is_refused_before_it_is_read(tmp_path: Path) -> None:
    at = FILE.rindex(b"PK\5\6")
    many = FILE[: at + 8] + b"\xfe\xff\xfe\xff" + b"\xff\xff\xff\x7f" + FILE[at + 16 :]
    assert "more files" in wrongs(checked(tmp_path, [many]))


@pytest.mark.parametrize("data", [b"", b"PK", FILE[:1000], FILE[:-30], b"\0" * 70_000])
def test_a_file_that_is_not_whole_cannot_be_checked(tmp_path: Path, data: bytes) -> None:
    assert "is it whole" in unknowns(checked(tmp_path, [data]))


def test_the_end_of_a_file_alone_is_not_verified(tmp_path: Path) -> None:
    assert checked(tmp_path, [FILE[len(FILE) // 2 :]]).result != verifier.OK


def test_a_missing_file_cannot_be_checked(tmp_path: Path) -> None:
    assert "cannot be read" in unknowns(verifier.verify([str(tmp_path / "none.zip")], [VKEY]))


@given(st.integers(0, len(FILE) * 8 - 1))
@settings(max_examples=60)
def test_no_single_bit_of_the_file_can_change_what_is_verified(tmp_path_factory: Any, bit: int) -> None:
    """A bit of the ZIP's own bookkeeping (a time, a flag that nobody reads) may; then all content is as it was."""
    folder = tmp_path_factory.mktemp("flip")
    checks = checked(folder, [flip(FILE, bit)])
    if checks.result == verifier.OK:
        with zipfile.ZipFile(folder / "part-1.zip") as changed, zipfile.ZipFile(io.BytesIO(FILE)) as original:
            assert changed.namelist() == original.namelist()
            assert all(changed.read(name) == original.read(name) for name in original.namelist())


# ---- the wrong key, tenant, part ------------------------------------------------------------------------------------


def test_another_key_is_refused(tmp_path: Path) -> None:
    stranger = Signer(f"{LOG}/2026-03", b"\7" * 32).verifier.encode()
    assert "not signed by the key" in wrongs(checked(tmp_path, [FILE], vkeys=(stranger,)))
    other_log = Signer("ledger.example.com/other/2026-03", bytes(range(32))).verifier.encode()
    assert "for which you gave no key" in wrongs(checked(tmp_path, [FILE], vkeys=(other_log,)))
    assert checked(tmp_path, [FILE], vkeys=(other_log, stranger, VKEY)).result == verifier.OK


def test_a_key_of_another_log_does_not_count_here(tmp_path: Path) -> None:
    theirs = Signer("ledger.example.com/tenant-2/2026-03", b"\7" * 32)

    def forge(note: Note) -> Note:
        return Signer(note.text.split("\n", 1)[0], b"\7" * 32).sign(note.text)

    forged = replace(WHOLE, change_note=forge)
    assert "not signed by the key" in wrongs(checked(tmp_path, forged.parts(), vkeys=(VKEY, theirs.verifier.encode())))


@pytest.mark.parametrize("vkey", ["", "a", "a+b+c", VKEY[:-1], VKEY.replace("+AQ", "+BA"), VKEY.upper()])
def test_a_key_that_is_none_is_said(tmp_path: Path, vkey: str) -> None:
    assert unknowns(checked(tmp_path, [FILE], vkeys=(vkey,))).startswith("Keys given")


def test_another_tenant_is_refused(tmp_path: Path) -> None:
    other = evidence(log="ledger.example.com/tenant-2", tenant_id="tenant-2")
    assert "for which you gave no key" in wrongs(checked(tmp_path, other.parts()))
    theirs = (Signer("ledger.example.com/tenant-2/x", bytes(range(32))).verifier.encode(),)
    assert "belongs to another tenant" in wrongs(checked(tmp_path, other.parts(), vkeys=theirs))
    mixed = evidence(log="ledger.example.com/tenant-2")
    assert "one tenant and the log of another" in wrongs(checked(tmp_path, mixed.parts(), vkeys=theirs))


def test_parts_have_to_be_all_and_of_one_bundle(tmp_path: Path) -> None:
    files = replace(WHOLE, bundles_a_part=1).parts()
    other = replace(WHOLE, bundles_a_part=1, bundle_id="b-2").parts()
    assert "parts are missing: 2" in unknowns(checked(tmp_path, [files[0], files[2]]))
    assert "parts are missing: those after 2" in unknowns(checked(tmp_path, files[:2]))
    assert "parts are missing: 1" in unknowns(checked(tmp_path, files[1:]))
    assert "there twice" in wrongs(checked(tmp_path, [*files, files[1]]))
    assert "different bundles" in wrongs(checked(tmp_path, [files[0], other[1], *files[2:]]))
    assert "follows the last" in wrongs(checked(tmp_path, [*files[:2], FILE]))


# ---- with the key: the service itself rewrites what it sealed -------------------------------------------------------


def rewritten(change: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
    """Parts whose entries are not those that the signed checkpoint was made of."""

    def written(period: str, entries: list[bytes]) -> list[bytes]:
        return change(list(entries)) if period == "2026-03" else entries

    return replace(WHOLE, written=written, disclosed={"2026-03": [], "2026-04": []}).parts()


REWRITES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "edited": lambda entries: [*entries[:7], entries[7].replace(b'"success"', b'"failure"'), *entries[8:]],
    "reordered": lambda entries: [entries[1], entries[0], *entries[2:]],
    "dropped, one repeated": lambda entries: [*entries[:5], entries[4], *entries[6:]],
    "a late one moved": lambda entries: [*entries[:-2], entries[-1], entries[-2]],
    "a bit": lambda entries: [*entries[:260], flip(entries[260], 2000), *entries[261:]],
}


@pytest.mark.parametrize("name", REWRITES)
def test_entries_that_are_not_those_sealed_are_refused(tmp_path: Path, name: str) -> None:
    assert "do not give the signed root" in wrongs(checked(tmp_path, rewritten(REWRITES[name])))


def resealed(march: list[dict[str, Any]]) -> Evidence:
    """A history that was rewritten and signed again, closing statements and all."""
    april = [event("2026-04", number) for number in range(30)]
    april[29] = closing("2026-04", 29, "2026-03", [entry_of(each) for each in march])
    return Evidence({"2026-03": march, "2026-04": april})


@pytest.mark.parametrize("size", [0, 1, 255, 256, 269, 270])
def test_a_checkpoint_kept_from_before_agrees_with_a_history_that_only_grew(tmp_path: Path, size: int) -> None:
    (tmp_path / "kept").write_text(WHOLE.signed(WHOLE.checkpoint("2026-03", size)), encoding="utf-8")
    checks = checked(tmp_path, [FILE], since=[str(tmp_path / "kept")])
    assert checks.result == verifier.OK, verifier.table(checks)
    assert f"2026-03 had {size:,} entries then" in verifier.table(checks)


@pytest.mark.parametrize(("size", "found"), [(9, False), (10, False), (11, True), (256, True), (270, True)])
def test_a_rewritten_history_is_found_with_a_checkpoint_kept_from_before(
    tmp_path: Path, size: int, found: bool
) -> None:
    march = list(WHOLE.events["2026-03"])
    march[10] = march[10] | {"outcome": "success", "reason": None}
    files = resealed(march).parts()
    assert checked(tmp_path, files).result == verifier.OK
    (tmp_path / "kept").write_text(WHOLE.signed(WHOLE.checkpoint("2026-03", size)), encoding="utf-8")
    checks = checked(tmp_path, files, since=[str(tmp_path / "kept")])
    if found:
        assert wrongs(checks) == "Checkpoint kept in kept: history was rewritten since"
    else:
        assert checks.result == verifier.OK


def test_a_rewritten_month_is_found_with_a_later_months_checkpoint(tmp_path: Path) -> None:
    """A root covers the closing statement of the month before: keeping April's checkpoint also guards March."""
    march = WHOLE.events["2026-03"][:-1]
    (tmp_path / "kept").write_text(WHOLE.signed(WHOLE.checkpoint("2026-04")), encoding="utf-8")
    checks = checked(tmp_path, resealed(march).parts(), since=[str(tmp_path / "kept")])
    assert "history was rewritten" in wrongs(checks)
    kept_april = Evidence({"2026-03": march, "2026-04": WHOLE.events["2026-04"]})
    text = wrongs(checked(tmp_path, kept_april.parts(), since=[str(tmp_path / "kept")]))
    assert "closing statement in entry 29: it had 270 entries then and has 269" in text


def test_a_bundle_shorter_than_a_checkpoint_kept_from_before_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text(WHOLE.signed(WHOLE.checkpoint("2026-04")), encoding="utf-8")
    short = Evidence(WHOLE.events | {"2026-04": WHOLE.events["2026-04"][:-1]})
    text = wrongs(checked(tmp_path, short.parts(), since=[str(tmp_path / "kept")]))
    assert text == "Checkpoint kept in kept: it had 30 entries then and has 29 in the bundle"


def test_a_kept_checkpoint_that_is_none_or_of_elsewhere(tmp_path: Path) -> None:
    def kept(text: str) -> verifier.Checks:
        (tmp_path / "kept").write_text(text, encoding="utf-8")
        return checked(tmp_path, [FILE], since=[str(tmp_path / "kept")])

    checkpoint = WHOLE.checkpoint("2026-03")
    other = replace(checkpoint, origin=f"{LOG}/2025-12")
    assert "does not have the month 2025-12" in unknowns(kept(WHOLE.signed(other)))
    assert "does not hold" in wrongs(kept(WHOLE.signed(checkpoint).replace("\n270\n", "\n271\n")))
    assert "not signed by the key" in wrongs(kept(replace(WHOLE, seed=b"\7" * 32).signed(checkpoint)))
    assert "it is of" in wrongs(kept(WHOLE.signed(replace(checkpoint, origin="example.com/x/2026-03"))))
    for none in (
        "nonsense",
        "",
        "\n\n\n",
        WHOLE.signed(checkpoint)[:60],
        WHOLE.signed(checkpoint).rstrip("\n"),
        "x" * 2**21,
    ):
        assert "this is no checkpoint" in unknowns(kept(none))
    (tmp_path / "folder").mkdir()
    assert "cannot be read" in unknowns(checked(tmp_path, [FILE], since=[str(tmp_path / "folder")]))
    assert "cannot be read" in unknowns(checked(tmp_path, [FILE], since=[""]))
    assert "cannot be read" in unknowns(checked(tmp_path, [FILE], since=[str(tmp_path / "none")]))


OTHER_KEY = Signer(f"{LOG}/bundle", b"\7" * 32).verifier.encode()
SIGNED_NONSENSE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "format": (lambda value: value.update({"format": "x/2"}), "not of the format"),
    "a field of another type": (lambda value: value.update({"part": "1"}), "lacks a field"),
    "part true": (lambda value: value.update({"part": True}), "lacks a field"),
    "no name": (lambda value: value.update({"origin": ""}), "lacks a field"),
    "a month of another type": (lambda value: value["shards"].append("2026-05"), "a month in the manifest"),
    "a size of another type": (lambda value: value["shards"][0].update({"size": 270.0}), "a month in the manifest"),
    "a file of another type": (lambda value: value["files"].update({"README.txt": 7}), "a file in the manifest"),
    "a day that is none": (lambda value: value.update({"from": "2026-02-30"}), "not two days"),
    "a day in another form": (lambda value: value.update({"from": "20260301"}), "YYYY-MM-DD"),
    "an empty period": (lambda value: value.update({"to": "2026-03-01"}), "not those of its period"),
    "a longer period": (lambda value: value.update({"to": "2026-05-02"}), "not those of its period"),
    "an endless period": (lambda value: value.update({"to": "9999-12-31"}), "not those of its period"),
    "another key": (
        lambda value: value.update({"key": OTHER_KEY.replace("bundle", "2026-03")}),
        "id in the verifier key",
    ),
    "no key": (lambda value: value.update({"key": "x"}), "not the form of a verifier key"),
    "another size": (lambda value: value["shards"][0].update({"size": 269}), "not that of the manifest"),
    "a negative size": (lambda value: value["shards"][0].update({"size": -1}), "not that of the manifest"),
    "no root": (lambda value: value["shards"][0].update({"root": "?"}), "should be base64"),
    "another spelling": (lambda value: value["shards"][0].update({"root": "AB=="}), "unusual spelling"),
    "fewer files": (lambda value: value["files"].pop(TILE), "not those that the manifest lists"),
    "another length": (lambda value: value["files"][TILE].update({"bytes": 1}), "not the size"),
}


@pytest.mark.parametrize("name", SIGNED_NONSENSE)
def test_a_signed_manifest_that_makes_no_sense_is_refused(tmp_path: Path, name: str) -> None:
    change, said = SIGNED_NONSENSE[name]
    assert said in wrongs(checked(tmp_path, [resigned(FILE, change_manifest=change)]))


def moved(one: str, two: str) -> Callable[[dict[str, bytes]], None]:
    def apply(files: dict[str, bytes]) -> None:
        files[two] = files.pop(one)

    return apply


CHECKPOINT = f"{MARCH}checkpoint"
PROOF = f"{MARCH}proofs/2.tlog-proof"
SIGNED_FILES: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "an entry bundle cut": (edit(TILE, lambda data: data[:-1]), "ends in the middle"),
    "an entry fewer": (edit(TILE, lambda data: data[2 + int.from_bytes(data[:2]) :]), "has 255 entries"),
    "no entry bundle": (lambda files: files.pop(TILE), "is missing"),
    "entries beyond": (lambda files: files.update({f"{MARCH}tile/entries/002.p/1": b"\0\0"}), "beyond the signed size"),
    "disclosures beyond": (lambda files: files.update({f"{MARCH}disclosed/009.jsonl": b""}), "beyond the signed size"),
    "disclosures elsewhere": (
        edit(f"{MARCH}disclosed/000.jsonl", lambda data: data.replace(b'"index":3,', b'"index":256,')),
        "an entry that is elsewhere",
    ),
    "disclosures, no JSON": (edit(f"{MARCH}disclosed/000.jsonl", lambda _: b"{"), "is not JSON"),
    "no totals": (lambda files: files.pop(f"{MARCH}rollups.jsonl"), "is missing"),
    "totals, a list": (edit(f"{MARCH}rollups.jsonl", lambda _: b"[]"), "totals are malformed"),
    "no checkpoint": (lambda files: files.pop(CHECKPOINT), "missing in a part"),
    "another month's checkpoint": (swap(CHECKPOINT, "shards/2026-04/checkpoint"), "a checkpoint is of"),
    "a checkpoint of more lines": (
        edit(CHECKPOINT, lambda data: WHOLE.change_note(_extended(data)).encode().encode()),
        "not the form of a checkpoint",
    ),
    "a checkpoint without signature": (edit(CHECKPOINT, lambda data: data.split(b"\n\n")[0] + b"\n"), "signed note"),
    "a checkpoint with 101": (edit(CHECKPOINT, lambda data: data + data.split(b"\n\n")[1] * 100), "more than 100"),
    "a checkpoint with a short line": (edit(CHECKPOINT, lambda data: data + "— x AAAA\n".encode()), "signature line"),
    "a proof of another entry": (moved(PROOF, PROOF.replace("2.t", "3.t")), "is malformed"),
    "a proof beyond": (moved(PROOF, PROOF.replace("2.t", "999.t")), "is malformed"),
    "a proof too short": (edit(PROOF, lambda data: re.sub(rb"index 2\n.*\n", b"index 2\n", data)), "wrong length"),
    "a proof to elsewhere": (
        edit(PROOF, lambda data: re.sub(rb"index 2\n.*\n", b"index 2\n" + b"A" * 43 + b"=\n", data)),
        "does not lead to the root",
    ),
    "a proof of short hashes": (
        edit(PROOF, lambda data: re.sub(rb"index 2\n.*\n", b"index 2\nAAAA\n", data)),
        "is malformed",
    ),
    "a proof under an older checkpoint": (
        edit(
            PROOF,
            lambda data: data.split(b"\n\n")[0] + b"\n\n" + WHOLE.signed(WHOLE.checkpoint("2026-03", 9)).encode(),
        ),
        "another checkpoint",
    ),
}


def _extended(note: bytes) -> Note:
    text = note.decode().split("\n\n")[0] + "\nextension\n"
    return Signer(f"{LOG}/2026-03", bytes(range(32))).sign(text)


@pytest.mark.parametrize("name", SIGNED_FILES)
def test_a_signed_file_that_makes_no_sense_is_refused(tmp_path: Path, name: str) -> None:
    change, said = SIGNED_FILES[name]
    assert said in wrongs(checked(tmp_path, [resigned(FILE, change)]))


def totals(change: Callable[[dict[str, Any]], Any]) -> Evidence:
    """Rollups of which the last day of each month is changed."""

    def apply(days: list[dict[str, Any]]) -> list[dict[str, Any]]:
        changed = json.loads(json.dumps(days))
        change(changed[-1])
        return list(changed)

    return replace(WHOLE, change_rollups=apply)


TOTALS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "events": lambda day: day.update(events=day["events"] + 1),
    "first": lambda day: day.update(first=0),
    "last": lambda day: day.update(last=day["last"] + 1),
    "counts": lambda day: day["counts"][0].__setitem__(4, 99),
    "counts, moved": lambda day: day["counts"].reverse(),
    "counts, twice": lambda day: day["counts"].append(day["counts"][0]),
    "counts, none": lambda day: day.update(counts=None),
    "counts, true": lambda day: day["counts"].__setitem__(0, [*day["counts"][0][:4], True]),
    "hours": lambda day: day["hours"]["auth.login"].__setitem__(3, 7),
    "actors": lambda day: day.update(distinct_actors=1),
    "exact": lambda day: day.update(distinct_actors_exact=False),
    "more": lambda day: day.update(more=1),
    "less": lambda day: day.pop("hours"),
    "day": lambda day: day.update(day="2026-03-31"),
    "day, none": lambda day: day.pop("day"),
}


@pytest.mark.parametrize("name", TOTALS)
def test_totals_that_are_not_those_of_the_entries_are_refused(tmp_path: Path, name: str) -> None:
    assert "daily totals" in wrongs(checked(tmp_path, totals(TOTALS[name]).parts()))


def test_days_that_are_missing_or_there_twice_are_refused(tmp_path: Path) -> None:
    for change in (lambda days: days[1:], lambda days: [*days, days[0]], lambda _: []):
        assert "daily totals" in wrongs(checked(tmp_path, replace(WHOLE, change_rollups=change).parts()))


DISCLOSURES: dict[str, dict[str, Any]] = {
    "data": {"personal": {"email": "someone@example.com", "tries": 3}},
    "a field more": {"personal": {"email": "p3@example.com", "tries": 3, "more": 1}},
    "another type": {"personal": {"email": "p3@example.com", "tries": "3"}},
    "another person": {"subject": "user-4"},
    "another event": {"event_id": WHOLE.events["2026-03"][6]["id"]},
    "another salt": {"salt": base64.b64encode(bytes(32)).decode()},
    "a short salt": {"salt": "AAAA"},
    "no salt": {"salt": "?"},
    "another entry": {"index": 6},
    "an entry without": {"index": 4},
    "no data": {"personal": None},
}


@pytest.mark.parametrize("name", DISCLOSURES)
def test_disclosed_data_that_was_not_committed_to_is_refused(tmp_path: Path, name: str) -> None:
    shown = {"2026-03": [disclosing(3, WHOLE.events["2026-03"], **DISCLOSURES[name])], "2026-04": []}
    text = wrongs(checked(tmp_path, replace(WHOLE, disclosed=shown).parts()))
    assert "not what was committed to" in text


def foreign(**changes: Any) -> Evidence:
    march = list(WHOLE.events["2026-03"])
    march[8] = march[8] | changes
    return Evidence({"2026-03": march, "2026-04": []})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tenant_id": "tenant-2"}, "entry 8 belongs to another tenant or month"),
        ({"period": "2026-04"}, "entry 8 belongs to another tenant or month"),
        ({"recorded_at": "2026-04-01T00:00:00.000000Z"}, "entry 8 was not recorded in this month"),
        ({"recorded_at": "2026-03-01T08:00:08.001000Z"}, "entry 8 has an id that was made at another time"),
        ({"recorded_at": "2026-03-01T08:00:08Z"}, "entry 8 was not recorded in this month"),
        ({"recorded_at": "2026-03-32T08:00:08.000000Z"}, "entry 8 has a field of the wrong form"),
        ({"id": WHOLE.events["2026-03"][8]["id"].replace("-7", "-4", 1)}, "entry 8 was not recorded in this month"),
        ({"actor": None}, "entry 8 has a field of the wrong form"),
        ({"type": 7}, "entry 8 has a field of the wrong form"),
        ({"commitments": None}, "entry 8 has a field of the wrong form"),
    ],
)
def test_sealed_events_that_cannot_be_are_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    broken = foreign(**changes)
    broken.disclosed = {"2026-03": [], "2026-04": []}
    broken.change_rollups = lambda _: []
    made = _with_rollups_of(broken)
    assert said in wrongs(checked(tmp_path, made.parts()))


def _with_rollups_of(broken: Evidence) -> Evidence:
    """Rollups cannot be made of a broken event; the test is about the entry."""
    entries = broken.sealed["2026-03"]
    whole = [entry_of(each) for each in WHOLE.events["2026-03"]]
    made = replace(broken, sealed=broken.sealed | {"2026-03": whole}, written=lambda period, given: given)
    original = made.scope
    checkpoint = replace(broken, change_rollups=lambda _: []).checkpoint("2026-03")

    def scope() -> bundle.Scope:
        found = original()
        shard = bundle.Shard("2026-03", checkpoint, broken.signed(checkpoint))
        return replace(found, shards=(shard, *found.shards[1:]))

    made.scope = scope  # type: ignore[method-assign]
    made.written = lambda period, given: entries if period == "2026-03" else given
    return made


def test_an_event_sealed_twice_is_said(tmp_path: Path) -> None:
    march = WHOLE.events["2026-03"]
    twice = Evidence({"2026-03": [*march[:9], march[3], *march[9:]], "2026-04": []})
    assert "an event appears twice" in wrongs(checked(tmp_path, twice.parts()))


def with_late(number: int, **changes: Any) -> Evidence:
    """Entry 200 of March is an event that was recorded at the time of the one of this number."""
    march = list(WHOLE.events["2026-03"])
    march[200] = event("2026-03", number, **changes)
    march[200]["id"] = march[200]["id"][:-12] + "0123456789ab"
    return Evidence({"2026-03": march, "2026-04": []})


@pytest.mark.parametrize(
    ("number", "kind", "is_late"),
    [
        (176, "auth.login", False),
        (175, "auth.login", True),
        (175, "custom.paid", False),
        (8, "data.read", False),
        (6, "data.read", True),
    ],
)
def test_what_was_put_in_long_after_its_time_is_said(tmp_path: Path, number: int, kind: str, is_late: bool) -> None:
    checks = checked(tmp_path, with_late(number, type=kind).parts())
    if is_late:
        assert "1 were put in long after the time that they name, the first: 200" in wrongs(checks)
    else:
        assert checks.result == verifier.OK, verifier.table(checks)


def test_a_failed_check_of_the_service_is_said(tmp_path: Path) -> None:
    attributes = {"what": "inserted_behind", "period": "2026-02", "index": 7, "event_id": None}
    checks = checked(tmp_path, with_late(200, type="ledger.verify_failed", attributes=attributes).parts())
    assert "it failed 1 times, as the trail says: entry 200: inserted_behind of 2026-02, 7" in wrongs(checks)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"period": "2026-04", "size": 1, "root": "AAAA"},
        {"period": "2026-03", "size": -1, "root": base64.b64encode(bytes(32)).decode()},
        {"period": "2026-03", "size": "1", "root": base64.b64encode(bytes(32)).decode()},
        {"period": "2026-03", "size": 270, "root": base64.b64encode(bytes(32)).decode()},
        {"period": "2026-03", "size": 271, "root": base64.b64encode(bytes(32)).decode()},
    ],
)
def test_closing_statements_that_do_not_hold_are_refused(tmp_path: Path, attributes: dict[str, Any]) -> None:
    april = [event("2026-04", 0, type="ledger.checkpoint", attributes=attributes)]
    lied = Evidence({"2026-03": WHOLE.events["2026-03"], "2026-04": april})
    assert "closing statement in entry 0" in wrongs(checked(tmp_path, lied.parts()))


def test_entries_that_are_not_canonical_are_said(tmp_path: Path) -> None:
    good = WHOLE.sealed["2026-03"][0]
    variants = {
        b" " + good: "not in canonical form",
        good.replace(b'"actor":', b'"actor":1,"actor":', 1): "not in canonical form",
        good.replace(b'"schema":1', b'"schema":1.0'): "not canonical JSON",
        good.replace(b'"schema":1', b'"schema":NaN'): "not canonical JSON",
        good.replace(b'"schema":1', b'"schema":' + b"[" * 60_000): "not canonical JSON",
        good.replace(b'"schema":1', b'"schema":"\\ud800"'): "not in canonical form",
        b"\xff": "not canonical JSON",
        b"[]": "has not the fields",
        good.replace(b'"schema":1,', b""): "has not the fields",
    }
    for entry, said in variants.items():
        with pytest.raises(verifier.Wrong, match=said):
            verifier.parse_entry(entry)
    assert verifier.parse_entry(good)["schema"] == 1


# ---- witnesses ------------------------------------------------------------------------------------------------------


def test_witnesses_are_counted_by_key(tmp_path: Path) -> None:
    cosigned = replace(
        WHOLE, change_note=lambda note: with_signatures(note, [each.cosign(note.text, 1) for each in WITNESSES])
    ).parts()
    keys = [each.verifier.encode() for each in WITNESSES]
    renamed = Cosigner("example.org/renamed", b"\1" * 32).verifier.encode()
    assert checked(tmp_path, cosigned, witness_vkeys=keys).result == verifier.OK
    assert checked(tmp_path, cosigned, witness_vkeys=[keys[0], renamed], quorum=1).result == verifier.OK
    assert "cosigned by 1" in wrongs(checked(tmp_path, cosigned, witness_vkeys=[keys[0], renamed]))
    assert "cosigned by 0" in wrongs(checked(tmp_path, [FILE], witness_vkeys=keys, quorum=1))
    assert "Keys given" in unknowns(checked(tmp_path, [FILE], witness_vkeys=[VKEY]))


# ---- its own copies of what the service has --------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(json_values)
def test_canonical_json_agrees_with_the_library(value: Any) -> None:
    assert verifier.canonical(value).encode() == rfc8785.dumps(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=500)
def test_canonical_numbers_agree_with_the_library(value: float) -> None:
    assert verifier.canonical_float(value).encode() == rfc8785.dumps(value)


def test_counting_agrees_beyond_the_bound_of_exact_actors() -> None:
    ours, theirs = DayRollup("2026-03-01"), verifier.Day()
    for number in range(MAX_EXACT * 3):
        each = event("2026-03", 0, actor={"kind": "user", "id": f"u{number % (MAX_EXACT * 2)}", "role": None})
        ours.add(each, number)
        theirs.add(each, number)
    assert {"day": "2026-03-01"} | theirs.totals() == ours.totals()
    assert ours.actors.exact is False


@given(st.integers(0, 10**9), st.integers(1, 256))
def test_names_of_entry_bundles_agree(number: int, width: int) -> None:
    path = Tile(ENTRIES, number, width).path
    assert f"tile/entries/{verifier.tile_name(number, width)}" == path
    assert verifier.limit_of(f"{MARCH}{path}") is not None


def test_the_description_of_the_format_names_everything() -> None:
    page = (ROOT / "docs" / "evidence-format.md").read_text(encoding="utf-8")
    with zipfile.ZipFile(io.BytesIO(FILE)) as file:
        manifest_fields = json.loads(file.read("manifest.json"))
        totals_fields = json.loads(file.read(f"{MARCH}rollups.jsonl").splitlines()[0])
        disclosure_fields = json.loads(file.read(f"{MARCH}disclosed/000.jsonl").splitlines()[0])
    assert all(f"`{field}`" in page for field in [*manifest_fields, *totals_fields])
    for fields in (manifest_fields["shards"][0], disclosure_fields, ENTRY_FIELDS):
        assert all(re.search(rf"\b{field}\b", page) for field in fields)
    assert bundle.FORMAT in page
    assert bundle.MANIFEST_TITLE in page
    usage = subprocess.run([sys.executable, VERIFIER, "--help"], capture_output=True, text=True, check=True)  # noqa: S603
    assert all(option in page for option in set(re.findall(r"--[a-z-]+", usage.stdout)) - {"--help"})


def test_constants_agree() -> None:
    assert (verifier.FORMAT, verifier.MANIFEST_TITLE) == (bundle.FORMAT, bundle.MANIFEST_TITLE)
    assert frozenset(ENTRY_FIELDS) == verifier.FIELDS
    assert verifier.MAX_ACTORS == MAX_EXACT


def test_what_is_printed_cannot_move_the_cursor(tmp_path: Path) -> None:
    hostile = repacked(FILE, lambda files: files.update({"\x1b[2J\u202e": b""}))
    text = verifier.table(checked(tmp_path, [hostile]))
    assert "\x1b" not in text
    assert "\u202e" not in text


# ---- the writer -----------------------------------------------------------------------------------------------------


def test_a_part_takes_whole_entry_bundles_of_its_months_alone() -> None:
    scope, signer = WHOLE.scope(), Signer(WHOLE.scope().key_name, bytes(range(32)))
    entries = WHOLE.sealed["2026-03"]
    with bundle.PartWriter(io.BytesIO(), scope, 1, signer, b"") as writer:
        for period, number, some in (("2026-03", 0, entries[:9]), ("2026-03", 3, []), ("2026-05", 0, entries[:256])):
            with pytest.raises(bundle.BundleError):
                writer.add_entries(period, number, some)
        writer.add_entries("2026-03", 0, entries[:256])
        with pytest.raises(bundle.BundleError, match="twice"):
            writer.add_entries("2026-03", 0, entries[:256])
        assert writer.entries == 256
    with pytest.raises(bundle.BundleError, match="name"):
        bundle.PartWriter(io.BytesIO(), scope, 1, Signer(f"{LOG}/2026-03", bytes(32)), b"")


def test_the_same_evidence_gives_the_same_bytes_also_without_seeking() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += data
            return len(data)

    assert evidence().parts() == [FILE]
    scope, pipe = WHOLE.scope(), Pipe()
    writer = bundle.PartWriter(pipe, scope, 1, Signer(scope.key_name, bytes(range(32))), b"")  # type: ignore[arg-type]
    writer.add_entries("2026-03", 0, WHOLE.sealed["2026-03"][:256])
    writer.close(last=True)
    with zipfile.ZipFile(io.BytesIO(bytes(pipe.data))) as file:
        assert file.testzip() is None
