"""Writing a part of an evidence bundle: what lies where in it, what is signed, and what does not fit into it."""

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.ledger._text import encode_base64
from shared.ledger.bundle import Attached, BundleError, Disclosure, PartWriter, Scope, Shard
from shared.ledger.checkpoint import Checkpoint
from shared.ledger.merkle import leaf_hashes, root_of
from shared.ledger.note import Signer, parse_note, verify_note
from shared.ledger.proof import Proof
from shared.ledger.tiles import encode_bundle
from tests.ledger.evidence import LOG, SEED, TENANT

MARCH = [b'{"n":%d}' % number for number in range(258)]
FEBRUARY = [b'{"f":1}', b'{"f":22}']
SIGNER = Signer(f"{LOG}/bundle", SEED)
ABOUT = {"id": "rep-1", "framework": "soc2", "generated_at": "2026-04-01T00:00:00.000000Z"}
REPORT = Attached(ABOUT, {"report.json": b"{}", "report.md": b"# x"})
TOTALS = [{"day": "2026-03-01", "events": 1}, {"day": "2026-03-02", "events": 2}]


def month(period: str, entries: list[bytes], **more: Any) -> Shard:
    checkpoint = Checkpoint(f"{LOG}/{period}", len(entries), root_of(leaf_hashes(entries)))
    return Shard(period, checkpoint, f"note of {period}", **more)


JANUARY = month("2026-01", [b"gone"], expired=True)
SHARDS = (JANUARY, month("2026-02", FEBRUARY), month("2026-03", MARCH, rollups=TOTALS))
SCOPE = Scope("b-1", LOG, TENANT, "2026-01-01", "2026-04-01", "2026-04-02T00:00:00.000000Z", SHARDS)


def write(
    fill: Callable[[PartWriter], None], scope: Scope = SCOPE, part: int = 1, *, last: bool = True
) -> dict[str, bytes]:
    """The files of a part, in the order in which they were written."""
    out = io.BytesIO()
    with PartWriter(out, scope, part, SIGNER, b"the verifier") as writer:
        fill(writer)
        writer.close(last=last)
    with zipfile.ZipFile(out) as file:
        return {name: file.read(name) for name in file.namelist()}


def everything(writer: PartWriter) -> None:
    disclosed = [Disclosure(1, "e-1", "u-1", "c2FsdA==", {"email": "é@example.com", "tries": 3})] * 2
    writer.add_entries("2026-02", 0, FEBRUARY, disclosed)
    writer.add_entries("2026-03", 0, MARCH[:256])
    writer.add_entries("2026-03", 1, MARCH[256:], iter(disclosed[:1]))
    writer.add_proof("2026-03", Proof(7, (b"\1" * 32,), "a note"))


LINE = '{"index":1,"event_id":"e-1","subject":"u-1","salt":"c2FsdA==","personal":{"email":"é@example.com","tries":3}}\n'


def test_where_everything_lies() -> None:
    files = write(everything)
    readme, verifier, *rest = list(files.items())[:-2]
    assert readme[0] == "README.txt"
    assert readme[1].startswith(b"Evidence bundle of an audit trail\n\nEverything that was sealed in the months")
    assert verifier == ("verify_evidence.py", b"the verifier")
    assert rest == [
        ("shards/2026-01/checkpoint", b"note of 2026-01"),
        ("shards/2026-01/rollups.jsonl", b""),
        ("shards/2026-02/checkpoint", b"note of 2026-02"),
        ("shards/2026-02/rollups.jsonl", b""),
        ("shards/2026-03/checkpoint", b"note of 2026-03"),
        ("shards/2026-03/rollups.jsonl", b'{"day":"2026-03-01","events":1}\n{"day":"2026-03-02","events":2}\n'),
        ("shards/2026-02/tile/entries/000.p/2", encode_bundle(FEBRUARY)),
        ("shards/2026-02/disclosed/000.p/2.jsonl", (LINE * 2).encode()),
        ("shards/2026-03/tile/entries/000", encode_bundle(MARCH[:256])),
        ("shards/2026-03/tile/entries/001.p/2", encode_bundle(MARCH[256:])),
        ("shards/2026-03/disclosed/001.p/2.jsonl", LINE.encode()),
        ("shards/2026-03/proofs/7.tlog-proof", Proof(7, (b"\1" * 32,), "a note").text().encode()),
    ]
    assert list(files)[-2:] == ["manifest.json", "manifest.note"]


@pytest.mark.parametrize(("part", "last"), [(1, False), (2, True)])
def test_the_manifest_lists_what_is_there_and_is_signed(part: int, last: bool) -> None:
    files = write(everything, part=part, last=last)
    note, manifest = files.pop("manifest.note"), files.pop("manifest.json")
    expected = {
        "format": "kraftd-audit-evidence/1",
        "bundle_id": "b-1",
        "part": part,
        "last": last,
        "origin": LOG,
        "tenant_id": TENANT,
        "from": "2026-01-01",
        "to": "2026-04-01",
        "made_at": "2026-04-02T00:00:00.000000Z",
        "key": SIGNER.verifier.encode(),
        "shards": [
            {
                "period": shard.period,
                "size": shard.checkpoint.size,
                "root": encode_base64(shard.checkpoint.root),
                "expired": shard.period == "2026-01",
            }
            for shard in SHARDS
        ],
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
    }
    assert manifest.decode() == json.dumps(expected, indent=1, sort_keys=True) + "\n"
    verified = verify_note(parse_note(note), [SIGNER.verifier])
    digest = hashlib.sha256(manifest).hexdigest()
    assert verified.text == f"kraftd-audit evidence manifest\nsha256 {digest}\n"
    assert ("shards/2026-03/rollups.jsonl" in files) is (part == 1)


def test_how_much_is_in_it() -> None:
    with PartWriter(io.BytesIO(), SCOPE, 1, SIGNER, b"the verifier") as writer:
        assert writer.entries == 0
        everything(writer)
        assert writer.entries == len(FEBRUARY) + len(MARCH)
        assert writer.bytes == sum(file["bytes"] for file in writer._files.values())


def test_files_are_packed_and_alike_whenever_they_are_written() -> None:
    out = io.BytesIO()
    with PartWriter(out, SCOPE, 1, SIGNER, b"x" * 10_000) as writer:
        writer.close(last=True)
    infos = zipfile.ZipFile(out).infolist()
    assert {each.date_time for each in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {each.compress_type for each in infos} == {zipfile.ZIP_DEFLATED}
    assert {each.external_attr for each in infos} == {0o644 << 16}
    assert stat.filemode(infos[0].external_attr >> 16) == "?rw-r--r--"
    assert out.tell() < 10_000


def test_a_part_that_was_left_has_no_manifest() -> None:
    out = io.BytesIO()
    with PartWriter(out, SCOPE, 1, SIGNER, b"the verifier"):
        pass
    assert "manifest.json" not in zipfile.ZipFile(out).namelist()


def test_a_report_travels_with_it() -> None:
    files = write(lambda writer: writer.add_report(REPORT), replace(SCOPE, report=ABOUT))
    assert {name: content for name, content in files.items() if name.startswith("report/")} == {
        "report/report.json": b"{}",
        "report/report.md": b"# x",
    }
    assert json.loads(files["manifest.json"])["report"] == ABOUT
    assert "report" not in json.loads(write(everything)["manifest.json"])


@pytest.mark.parametrize(
    ("about", "attached"),
    [
        (None, REPORT),
        (ABOUT | {"id": "rep-2"}, REPORT),
        (ABOUT, replace(REPORT, files={"report.md": b"# x"})),
    ],
)
def test_a_report_is_the_one_that_the_bundle_names(about: dict[str, str] | None, attached: Attached) -> None:
    with pytest.raises(BundleError, match=r"^the report is not the one that the bundle is about$"):
        write(lambda writer: writer.add_report(attached), replace(SCOPE, report=about))


@pytest.mark.parametrize(
    ("period", "number", "entries", "expected"),
    [
        ("2026-02", 0, FEBRUARY[:1], 2),
        ("2026-02", 0, [*FEBRUARY, b"{}"], 2),
        ("2026-02", 1, [], 0),
        ("2026-02", 1, FEBRUARY, 0),
        ("2026-03", 0, MARCH, 256),
        ("2026-03", 1, MARCH[:256], 2),
        ("2026-01", 0, [b"gone"], 0),
        ("2026-04", 0, [b"{}"], 0),
        ("2026-04", 0, [], 0),
    ],
)
def test_entries_that_the_checkpoint_does_not_speak_of(
    period: str, number: int, entries: list[bytes], expected: int
) -> None:
    said = f"{period}: entry bundle {number} has {len(entries)} entries, expected {expected}"
    with pytest.raises(BundleError, match=f"^{said}$"):
        write(lambda writer: writer.add_entries(period, number, entries))


def test_nothing_is_there_twice() -> None:
    with PartWriter(io.BytesIO(), SCOPE, 1, SIGNER, b"the verifier") as writer:
        writer.add_entries("2026-02", 0, FEBRUARY)
        with pytest.raises(BundleError, match=r"^shards/2026-02/tile/entries/000\.p/2: added twice$"):
            writer.add_entries("2026-02", 0, FEBRUARY)


@pytest.mark.parametrize("name", [LOG, f"{LOG}/2026-03", "ledger.example.com/other/bundle"])
def test_a_bundle_is_signed_under_one_name(name: str) -> None:
    with pytest.raises(BundleError, match=r"^a bundle is signed under the name of its tenant's bundles$"):
        PartWriter(io.BytesIO(), SCOPE, 1, Signer(name, SEED), b"")
