"""Evidence bundles: whole shards, their checkpoints and rollups in ZIP files that anyone can check offline.

The format is docs/evidence-format.md; `tools/verify_evidence.py`, which travels in every part, checks it. A part is
written in one pass, also to a stream that cannot seek, and holds one entry bundle in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Self

from shared.ledger._text import encode_base64
from shared.ledger.checkpoint import Checkpoint
from shared.ledger.note import Signer
from shared.ledger.proof import Proof
from shared.ledger.tiles import ENTRIES, Tile, encode_bundle, width_of

FORMAT = "kraftd-audit-evidence/1"
MANIFEST_TITLE = "kraftd-audit evidence manifest"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_README = """Evidence bundle of an audit trail

Everything that was sealed in the months named in manifest.json, in the order in which it was sealed.

To check it you need Python 3.11 or newer with the package "cryptography", and the key of the service, as you have it
from a source other than this file:

    python verify_evidence.py PART.zip [PART.zip ...] --vkey "..."

Rather use a copy of verify_evidence.py that you already have than the one in here.
"""


class BundleError(ValueError):
    """What is put into a bundle does not fit into it. The message says what."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One month: its checkpoint, that as a signed note, and the totals of its days' rollups at that size.

    An expired month has a checkpoint, but its entries are gone.
    """

    period: str
    checkpoint: Checkpoint
    note: str
    rollups: Sequence[Mapping[str, Any]] = ()
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Attached:
    """A report that travels in a bundle: what the manifest says of it (id, framework, generated_at), and its files.

    One of the files is report.json, which says the same and names the checkpoints that the report stands on.
    """

    about: Mapping[str, str]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a bundle is about; the same in all of its parts. `start` and `end` are days (YYYY-MM-DD), `end` excluded.

    `shards` are all months that the days touch, ascending; `origin` is that of the tenant (see `log_origin`). `report`:
    what the manifest says of a report that is in it.
    """

    bundle_id: str
    origin: str
    tenant_id: str
    start: str
    end: str
    made_at: str
    shards: tuple[Shard, ...]
    report: Mapping[str, str] | None = None

    @property
    def key_name(self) -> str:
        """The name under which manifests are signed."""
        return f"{self.origin}/bundle"


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Personal data of one person in one event, opened, with the salt of its commitment (base64)."""

    index: int
    event_id: str
    subject: str
    salt: str
    personal: Mapping[str, Any]

    def line(self) -> str:
        """One line of a file of disclosures."""
        fields = {"index": self.index, "event_id": self.event_id, "subject": self.subject, "salt": self.salt}
        return json.dumps(fields | {"personal": self.personal}, ensure_ascii=False, separators=(",", ":")) + "\n"


class PartWriter:
    """Writes one part of a bundle to `out`. Add what belongs into it in order, then close it.

    A context manager: leaving it without `close` abandons the part, which then has no manifest and verifies nowhere.
    """

    def __init__(self, out: IO[bytes], scope: Scope, part: int, signer: Signer, verifier: bytes) -> None:
        if signer.verifier.name != scope.key_name:
            raise BundleError("a bundle is signed under the name of its tenant's bundles")
        self._zip = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._scope = scope
        self._part = part
        self._signer = signer
        self._files: dict[str, dict[str, Any]] = {}
        self._sizes = {each.period: each.checkpoint.size for each in scope.shards if not each.expired}
        self.entries = 0
        self.bytes = 0
        self._put("README.txt", _README.encode())
        self._put("verify_evidence.py", verifier)
        for shard in scope.shards:
            self._put(f"shards/{shard.period}/checkpoint", shard.note.encode())
            if part == 1:
                lines = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in shard.rollups)
                self._put(f"shards/{shard.period}/rollups.jsonl", lines.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def add_entries(
        self, period: str, number: int, entries: Sequence[bytes], disclosures: Iterable[Disclosure] = ()
    ) -> None:
        """Add entry bundle `number` of a month, whole (indexes from 256·number on), with what is disclosed of it.

        BundleError when it has not as many entries as the checkpoint says.
        """
        width = width_of(ENTRIES, number, self._sizes.get(period, 0))
        if len(entries) != width or not width:
            raise BundleError(f"{period}: entry bundle {number} has {len(entries)} entries, expected {width}")
        tile = Tile(ENTRIES, number, width)
        self._put(f"shards/{period}/{tile.path}", encode_bundle(entries))
        lines = "".join(each.line() for each in disclosures)
        if lines:
            self._put(f"shards/{period}/{_disclosed(tile)}", lines.encode())
        self.entries += width

    def add_proof(self, period: str, proof: Proof) -> None:
        """Add the proof file of one entry, for whoever wants to pass it on alone."""
        self._put(f"shards/{period}/proofs/{proof.index}.tlog-proof", proof.text().encode())

    def add_report(self, attached: Attached) -> None:
        """Add the files of the report that the scope names. BundleError when it names another, or none."""
        if attached.about != self._scope.report or "report.json" not in attached.files:
            raise BundleError("the report is not the one that the bundle is about")
        for name, content in attached.files.items():
            self._put(f"report/{name}", content)

    def close(self, *, last: bool) -> None:
        """Sign the manifest and finish the file. `last` says that no part follows."""
        manifest = json.dumps(self._manifest(last), indent=1, sort_keys=True).encode() + b"\n"
        self._put("manifest.json", manifest)
        text = f"{MANIFEST_TITLE}\nsha256 {hashlib.sha256(manifest).hexdigest()}\n"
        self._put("manifest.note", self._signer.sign(text).encode().encode())
        self._zip.close()

    def _manifest(self, last: bool) -> dict[str, Any]:
        scope = self._scope
        return {
            "format": FORMAT,
            "bundle_id": scope.bundle_id,
            "part": self._part,
            "last": last,
            "origin": scope.origin,
            "tenant_id": scope.tenant_id,
            "from": scope.start,
            "to": scope.end,
            "made_at": scope.made_at,
            "key": self._signer.verifier.encode(),
            "shards": [
                {
                    "period": each.period,
                    "size": each.checkpoint.size,
                    "root": encode_base64(each.checkpoint.root),
                    "expired": each.expired,
                }
                for each in scope.shards
            ],
            "files": self._files,
            **({"report": dict(scope.report)} if scope.report is not None else {}),
        }

    def _put(self, name: str, content: bytes) -> None:
        if name in self._files:
            raise BundleError(f"{name}: added twice")
        info = zipfile.ZipInfo(name, _ZIP_TIME)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        self._zip.writestr(info, content)
        self._files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        self.bytes += len(content)


def _disclosed(tile: Tile) -> str:
    return tile.path.replace("tile/entries/", "disclosed/", 1) + ".jsonl"
