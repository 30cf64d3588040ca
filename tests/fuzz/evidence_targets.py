"""What auditors' machines read of strangers: bundles, notes, keys, proofs, exports. Nothing may make the readers fail
in another way than they say, and nothing may be verified that was not written."""

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from shared.audit.entries import entry_of
from shared.ledger.bundle import MANIFEST_TITLE, Scope
from shared.ledger.checkpoint import CheckpointError
from shared.ledger.checkpoint import parse_checkpoint as parse_our_checkpoint
from shared.ledger.note import (
    MAX_NOTE_BYTES,
    Cosigner,
    NoteError,
    Signer,
    VerifierKey,
    parse_note,
    parse_signatures,
    with_signatures,
)
from shared.ledger.proof import ProofFileError, parse_proof
from tests.ledger.evidence import LOG, VKEY, Evidence, closing, event, resigned
from tools import verify_evidence as verifier
from tools import verify_subject_export as subject_verifier

type Target = Callable[[bytes], None]

_FOLDER = Path(tempfile.mkdtemp(prefix="kraftd-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # noqa: S108
_FREE = ("README.txt", "verify_evidence.py", "manifest.json")
"""Files of a bundle of which nothing is said but that they are as they were signed, or that have further names."""


def small() -> Evidence:
    """Two months of few entries, the second of which closes the first."""
    march = [event("2026-03", number) for number in range(3)]
    april = [event("2026-04", 0), closing("2026-04", 1, "2026-03", [entry_of(each) for each in march])]
    return Evidence({"2026-03": march, "2026-04": april})


def _bundle() -> bytes:
    return resigned(small().parts()[0], lambda files: files.update({"verify_evidence.py": b"# none\n"}))


def _files(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return {name: source.read(name) for name in source.namelist()}


WHOLE = _bundle()
FILES = _files(WHOLE)
NAMES = sorted(FILES.keys() - {"manifest.note"})
EXPORTED = "".join(json.dumps(each) + "\n" for events in small().events.values() for each in events).encode()


def verified(data: bytes, *, events: bytes | None = None, trust: bool = False) -> verifier.Checks:
    """What the verifier says of these bytes, all of which it reads from a file. Its answer can be shown."""
    path = _FOLDER / "part.zip"
    path.write_bytes(data)
    (_FOLDER / "events.jsonl").write_bytes(events or b"")
    exported = [str(_FOLDER / "events.jsonl")] if events is not None else []
    checks = verifier.verify([str(path)], () if trust else (VKEY,), trust_bundled_key=trust, events=exported)
    verifier.table(checks).encode()
    verifier.as_json(checks).encode("utf-8", "backslashreplace")
    return checks


def bundle(data: bytes) -> None:
    """A file that should be a part of a bundle."""
    if verified(data).result == verifier.OK and _files(data) != FILES:
        raise AssertionError("verified, and something in it is another")


def signed_bundle(data: bytes) -> None:
    """A file of a bundle, by its place, with content by someone who has the key and signs whatever it is."""
    name = NAMES[data[0] % len(NAMES)] if data else NAMES[0]
    content = data[1:]
    if name == "manifest.json":
        made = signed_with_manifest(content)
    else:
        made = resigned(WHOLE, lambda files: files.update({name: content}))
    result = verified(made, trust=bool(data) and data[0] >= 128).result
    fixed = name not in _FREE and "/disclosed/" not in name  # of what is disclosed, less may be shown
    if result == verifier.OK and fixed and content != FILES[name]:
        raise AssertionError(f"verified, and {name} is another")


def signed_with_manifest(content: bytes) -> bytes:
    """The bundle with this as its manifest, signed by the key."""
    text = f"{MANIFEST_TITLE}\nsha256 {hashlib.sha256(content).hexdigest()}\n"
    note = Signer(f"{LOG}/bundle", bytes(range(32))).sign(text).encode().encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for each, held in (FILES | {"manifest.json": content, "manifest.note": note}).items():
            target.writestr(each, held)
    return out.getvalue()


@dataclass
class Hostile(Evidence):
    """A service that seals what it likes: the totals are those of other entries."""

    def scope(self) -> Scope:
        shards = []
        for shard in small().scope().shards:
            made = self.checkpoint(shard.period)
            shards.append(replace(shard, checkpoint=made, note=self.signed(made)))
        return replace(small().scope(), shards=tuple(shards))


def entry(data: bytes) -> None:
    """An entry that a service sealed, whatever it is."""
    hostile = Hostile(small().events)
    if data and len(data) <= verifier.MAX_ENTRY_BYTES:
        hostile.sealed["2026-04"][0] = data
        verified(hostile.parts()[0])


def exported_events(data: bytes) -> None:
    """An export of the trail beside a bundle."""
    if verified(WHOLE, events=data).result == verifier.OK:
        said = [json.loads(line) for line in data.splitlines()]
        if sorted(each["id"] for each in said) != sorted(json.loads(line)["id"] for line in EXPORTED.splitlines()):
            raise AssertionError("verified, and other events are in it")


def subject_export(data: bytes) -> None:
    """A file that should be a person's export."""
    path = _FOLDER / "export.json"
    path.write_bytes(data)
    if subject_verifier.verify([str(path)], [VKEY]).result == verifier.OK:
        raise AssertionError("verified, and nobody signed it")


def note(data: bytes) -> None:
    """A signed note. Our two readers agree, and what is read is written alike."""
    key = Signer(f"{LOG}/2026-03", bytes(range(32))).verifier
    ours = theirs = None
    with contextlib.suppress(NoteError):
        read = parse_note(data)
        ours = read.text
        if read.encode().encode() != data:
            raise AssertionError("a note that is written in another way than it was read")
    with contextlib.suppress(verifier.Wrong):
        theirs, _ = verifier.open_note(data, [])
    if len(data) <= MAX_NOTE_BYTES and ours != theirs:
        raise AssertionError(f"one reads {ours!r}, the other {theirs!r}")
    with contextlib.suppress(verifier.Wrong):
        verifier.open_note(data, [verifier.parse_vkey(key.encode())])


def signatures(data: bytes) -> None:
    """Signature lines, as a witness answers them."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(NoteError):
        if "".join(each.encode() for each in parse_signatures(text)) != text:
            raise AssertionError("lines that are written in another way than they were read")


def vkey(data: bytes) -> None:
    """A verifier key, as somebody typed or sent it. Our two readers agree."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        ours: bytes | None = VerifierKey.decode(text).public_key
    except NoteError:
        ours = None
    theirs: bytes | None = None
    for kind in (1, 4):
        with contextlib.suppress(verifier.Wrong):
            theirs = verifier.parse_vkey(text, kind).public
    if ours != theirs:
        raise AssertionError(f"one reads {ours!r}, the other {theirs!r}")


def checkpoint(data: bytes) -> None:
    """A checkpoint's text. Our two readers agree, and what is read is written alike."""
    text = data.decode("utf-8", "replace")
    ours = theirs = None
    with contextlib.suppress(CheckpointError):
        read = parse_our_checkpoint(text)
        ours = (read.origin, read.size, read.root)
        if read.text() != text:
            raise AssertionError("a checkpoint that is written in another way than it was read")
    with contextlib.suppress(verifier.Wrong):
        theirs = verifier.parse_checkpoint(text)
    if ours != theirs:
        raise AssertionError(f"one reads {ours!r}, the other {theirs!r}")


def proof(data: bytes) -> None:
    """A proof file. What is read is written alike, but for extra data."""
    with contextlib.suppress(ProofFileError):
        if parse_proof(data).text().encode() != data and b"\nextra " not in data:
            raise AssertionError("a proof that is written in another way than it was read")


_SIGNED = small().signed(small().checkpoint("2026-03")).encode()
_COSIGNER = Cosigner("example.org/one", b"\1" * 32)
_COSIGNED = with_signatures(parse_note(_SIGNED), [_COSIGNER.cosign(parse_note(_SIGNED).text, 5)]).encode().encode()
_PROOF = FILES["shards/2026-03/proofs/2.tlog-proof"]
_SUBJECT = {
    "format": subject_verifier.FORMAT,
    "export": {"id": "x", "part": 1, "last": True, "tenant_id": "t", "subject": "s", "ids": ["s"], "received_at": "2"},
    "keys": [VKEY],
    "months": [{"period": "2026-03", "state": "sealed", "size": 1, "root": "AA==", "checkpoint": _SIGNED.decode()}],
    "statement": _SIGNED.decode(),
    "account": None,
    **{name: [] for name in ("consents", "sessions", "requests", "alerts", "events")},
}

EVIDENCE: dict[str, tuple[Target, list[bytes]]] = {
    "bundle": (bundle, [WHOLE]),
    "signed_bundle": (signed_bundle, [bytes([at]) + FILES[name] for at, name in enumerate(NAMES)]),
    "entry": (entry, [entry_of(event("2026-04", 0)), entry_of(closing("2026-04", 0, "2026-03", []))]),
    "exported_events": (exported_events, [EXPORTED]),
    "subject_export": (subject_export, [json.dumps(_SUBJECT).encode()]),
    "note": (note, [_SIGNED, _COSIGNED]),
    "signatures": (signatures, [_COSIGNED.partition(b"\n\n")[2]]),
    "vkey": (vkey, [VKEY.encode(), _COSIGNER.verifier.encode().encode()]),
    "checkpoint": (checkpoint, [parse_note(_SIGNED).text.encode()]),
    "proof": (proof, [_PROOF]),
}
"""By name: what is called with any bytes, and bytes that it takes, to begin from."""
