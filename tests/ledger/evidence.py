"""Bundles for tests: a tenant's months, sealed and written as the app will, with ways to tamper at every step."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.audit.entries import entry_of
from shared.core.clock import rfc3339
from shared.core.ids import lowest_id_at
from shared.ledger._text import encode_base64
from shared.ledger.bundle import MANIFEST_TITLE, Attached, Disclosure, PartWriter, Scope, Shard
from shared.ledger.checkpoint import Checkpoint
from shared.ledger.merkle import inclusion_proof, leaf_hashes, root_of
from shared.ledger.note import Note, Signer
from shared.ledger.proof import Proof
from shared.ledger.rollups import rollups_of
from shared.privacy.boxes import commitment_of
from tests.app import ROOT
from tests.ledger.support import TiledTree

TENANT = "0195c000-0000-7000-8000-0000000000aa"
LOG = f"ledger.example.com/{TENANT}"
SEED = bytes(range(32))
VERIFIER = ROOT / "tools" / "verify_evidence.py"
SALT = b"\x5a" * 32
SALT64 = encode_base64(SALT)
VKEY = Signer(f"{LOG}/2026-03", SEED).verifier.encode()

type Event = dict[str, Any]


def event(period: str, number: int, **changes: Any) -> Event:
    """The stored form of an event: one an hour from the first of the month on, every third about a person."""
    at = datetime.fromisoformat(f"{period}-01T00:00:00Z").astimezone(UTC) + timedelta(
        hours=number % 600, seconds=number
    )
    event_id = lowest_id_at(at)[:-12] + f"{number:012x}"
    personal = {f"user-{number % 7}": {"email": f"p{number}@example.com", "tries": number}} if number % 3 == 0 else {}
    return {
        "schema": 1,
        "id": event_id,
        "tenant_id": TENANT,
        "period": period,
        "type": ("auth.login", "data.read", f"custom.kind{number % 5}")[number % 3],
        "outcome": "failure" if number % 10 == 0 else "success",
        "reason": "bad_credentials" if number % 10 == 0 else None,
        "severity": "info",
        "recorded_at": rfc3339(at),
        "occurred_at": rfc3339(at),
        "actor": {"kind": "user", "id": f"user-{number % 7}", "role": "user"},
        "target": None,
        "subjects": list(personal),
        "source": {"kind": "function", "id": "login"},
        "context": {"request_id": f"r{number}", "trace_id": None, "session_id": None, "route": "x", "duration_ms": 3},
        "data_class": "none",
        "record_count": 0,
        "attributes": {"note": "é\u2028😀", "n": number},
        "personal": personal,
        "commitments": {subject: commitment_of(SALT, data) for subject, data in personal.items()},
    } | changes


def closing(period: str, number: int, closed: str, entries: Sequence[bytes]) -> Event:
    """The statement, in a later month, of how an earlier one ended."""
    root = encode_base64(root_of(leaf_hashes(entries)))
    attributes = {"period": closed, "size": len(entries), "root": root}
    return event(period, number, type="ledger.checkpoint", attributes=attributes)


@dataclass
class Evidence:
    """What a service has sealed. Change its fields to tamper with what it then writes."""

    events: dict[str, list[Event]]
    start: str = "2026-03-01"
    end: str = "2026-05-01"
    log: str = LOG
    tenant_id: str = TENANT
    seed: bytes = SEED
    bundle_id: str = "b-1"
    bundles_a_part: int = 1000
    sealed: dict[str, list[bytes]] = field(default_factory=dict)
    disclosed: dict[str, list[Disclosure]] = field(default_factory=dict)
    expired: tuple[str, ...] = ()
    report: Attached | None = None
    change_rollups: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda totals: totals
    change_note: Callable[[Note], Note] = lambda note: note
    written: Callable[[str, list[bytes]], list[bytes]] = lambda _, entries: entries

    def __post_init__(self) -> None:
        for period, events in self.events.items():
            self.sealed.setdefault(period, [entry_of(each) for each in events])
            self.disclosed.setdefault(period, list(self.disclosures(period)))

    def disclosures(self, period: str) -> Iterator[Disclosure]:
        for index, each in enumerate(self.events[period]):
            for subject, personal in each["personal"].items():
                yield Disclosure(index, each["id"], subject, SALT64, personal)

    def checkpoint(self, period: str, size: int | None = None) -> Checkpoint:
        """The month's checkpoint, as it is or as it was when the month had `size` entries."""
        entries = self.sealed[period][:size]
        return Checkpoint(f"{self.log}/{period}", len(entries), root_of(leaf_hashes(entries)))

    def signed(self, checkpoint: Checkpoint) -> str:
        return self.change_note(checkpoint.sign(Signer(checkpoint.origin, self.seed))).encode()

    def scope(self) -> Scope:
        shards = []
        for period in sorted(self.sealed):
            parsed = [json.loads(entry) for entry in self.sealed[period]]
            totals = [day.totals() for day in rollups_of(parsed).values()]
            checkpoint = self.checkpoint(period)
            note = self.signed(checkpoint)
            shards.append(Shard(period, checkpoint, note, self.change_rollups(totals), period in self.expired))
        made_at = "2026-06-01T00:00:00.000000Z"
        about = self.report.about if self.report else None
        return Scope(self.bundle_id, self.log, self.tenant_id, self.start, self.end, made_at, tuple(shards), about)

    def parts(self) -> list[bytes]:
        """The files of the bundle."""
        scope = self.scope()
        signer = Signer(scope.key_name, self.seed)
        pieces = [
            (shard, number)
            for shard in scope.shards
            for number in range(-(-shard.checkpoint.size // 256))
            if not shard.expired
        ]
        groups = [pieces[at : at + self.bundles_a_part] for at in range(0, len(pieces), self.bundles_a_part)] or [[]]
        files = []
        for part, group in enumerate(groups, 1):
            out = io.BytesIO()
            with PartWriter(out, scope, part, signer, VERIFIER.read_bytes()) as writer:
                if self.report and part == 1:
                    writer.add_report(self.report)
                for shard, number in group:
                    self._add(writer, shard, number)
                writer.close(last=part == len(groups))
            files.append(out.getvalue())
        return files

    def _add(self, writer: PartWriter, shard: Shard, number: int) -> None:
        period, at = shard.period, number * 256
        entries = self.written(period, self.sealed[period])[at : at + 256]
        shown = [each for each in self.disclosed[period] if at <= each.index < at + 256]
        writer.add_entries(period, number, entries, shown)
        if number == 0:
            tree = TiledTree()
            tree.append(self.sealed[period])
            index = min(2, tree.size - 1)
            path = tuple(inclusion_proof(index, tree.size, tree.read))
            writer.add_proof(period, Proof(index, path, shard.note))


def evidence(**changes: Any) -> Evidence:
    """Two months: 270 entries, and 30 of which two close the first."""
    march = [event("2026-03", number) for number in range(270)]
    april = [event("2026-04", number) for number in range(30)]
    april[4] = closing("2026-04", 4, "2026-03", [entry_of(each) for each in march[:268]])
    april[29] = closing("2026-04", 29, "2026-03", [entry_of(each) for each in march])
    return Evidence(**({"events": {"2026-03": march, "2026-04": april}} | changes))


def save(folder: Path, files: Iterable[bytes]) -> list[str]:
    """Write the files, and return their paths."""
    paths = []
    for number, data in enumerate(files, 1):
        path = folder / f"part-{number}.zip"
        path.write_bytes(data)
        paths.append(str(path))
    return paths


def repacked(data: bytes, change: Callable[[dict[str, bytes]], Any]) -> bytes:
    """The ZIP with its files changed, signatures and manifest left as they were."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        files = {name: source.read(name) for name in source.namelist()}
    change(files)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return out.getvalue()


def disclosing(at: int, events: Sequence[Event], **changes: Any) -> Disclosure:
    """A disclosure of one event, changed."""
    subject, personal = next(iter(events[at]["personal"].items()))
    return replace(Disclosure(at, events[at]["id"], subject, SALT64, personal), **changes)


def resigned(
    data: bytes,
    change_files: Callable[[dict[str, bytes]], Any] = lambda _: None,
    change_manifest: Callable[[dict[str, Any]], Any] = lambda _: None,
) -> bytes:
    """The ZIP with files and manifest changed by someone who has the key: digests and signature are made anew."""

    def change(files: dict[str, bytes]) -> None:
        change_files(files)
        manifest = json.loads(files.pop("manifest.json"))
        del files["manifest.note"]
        manifest["files"] = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        }
        change_manifest(manifest)
        files["manifest.json"] = json.dumps(manifest).encode()
        digest = hashlib.sha256(files["manifest.json"]).hexdigest()
        text = f"{MANIFEST_TITLE}\nsha256 {digest}\n"
        files["manifest.note"] = Signer(f"{LOG}/bundle", SEED).sign(text).encode().encode()

    return repacked(data, change)
