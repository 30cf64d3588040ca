"""Verifiers that this project did not write check what the running app serves over HTTP, and refuse it when it is
tampered with on the way."""

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aics_tlog
import httpx
import pytest
from aics_tlog.checkpoint import checkpoint_from_note
from aics_tlog.tiles import entry_bundle_path, tile_path, tree_root_from_tiles
from cryptography.exceptions import InvalidSignature
from proofbundle.tlogproof import verify_tlog_proof
from tlog_scales.signing import Vkey
from tlog_scales.tlog import (
    Checkpoint,
    ConsistencyProof,
    ConsistencyProofInvalid,
    InclusionProof,
    InclusionProofInvalid,
)

from devhost.launch import served
from tests.app import ROOT, registration
from tests.ledger.support import flip

PATIENCE_SECONDS = 60.0
EVENT = {"type": "custom.invoice_paid", "actor": {"kind": "service", "id": "billing"}}


@dataclass(frozen=True)
class Auditor:
    """Someone with a token and an HTTP client, and with software of other people."""

    client: httpx.Client
    period: str

    def get(self, path: str, **params: Any) -> httpx.Response:
        answer = self.client.get(f"/v1/ledger/{path}", params=params or None)
        assert answer.status_code == 200, answer.text
        return answer

    def json(self, path: str, **params: Any) -> Any:
        return self.client.get(f"/v1/ledger/{path}", params=params, headers={"Accept": "application/json"}).json()

    def note(self) -> bytes:
        return self.get("checkpoint", period=self.period).content

    def vkey(self) -> str:
        return self.get("key", period=self.period).text.strip()

    def sealed(self, at_least: int) -> None:
        """Wait until so many events are sealed."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            if any(each["size"] >= at_least for each in self.json("shards")["items"]):
                return
            time.sleep(0.2)
        raise AssertionError("the events were not sealed")

    def read_tile(self, level: int, index: int, width: int | None) -> bytes | None:
        return self._read(tile_path(level, index, width))

    def read_entry_bundle(self, index: int, width: int | None) -> bytes | None:
        return self._read(entry_bundle_path(index, width))

    def _read(self, path: str) -> bytes | None:
        answer = self.client.get(f"/v1/ledger/{self.period}/{path}")
        return answer.content if answer.status_code == 200 else None


class Tampering:
    """A reader in between that changes one bit of one resource."""

    def __init__(self, auditor: Auditor, path: str) -> None:
        self._auditor = auditor
        self._path = path

    def read_tile(self, level: int, index: int, width: int | None) -> bytes | None:
        return self._changed(tile_path(level, index, width), self._auditor.read_tile(level, index, width))

    def read_entry_bundle(self, index: int, width: int | None) -> bytes | None:
        content = self._auditor.read_entry_bundle(index, width)
        return self._changed(entry_bundle_path(index, width), content)

    def _changed(self, path: str, content: bytes | None) -> bytes | None:
        return flip(content, 77) if content and path == self._path else content


@pytest.fixture(scope="module")
def auditor() -> Iterator[Auditor]:
    """The app as a process of its own, with some 600 sealed events of one tenant."""
    settings = {"LEDGER_ORIGIN": "audit.example.com/ledger"}
    with served(ROOT, ":memory:", settings=settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        made = client.post("/v1/register", json=registration()).json()
        client.headers["Authorization"] = f"Bearer {made['access_token']}"
        for count in (500, 90):
            assert client.post("/v1/events", json={"events": [EVENT] * count}).status_code == 201
        newest = client.get("/v1/events", params={"limit": "1"}).json()["items"][0]
        found = Auditor(client, newest["recorded_at"][:7])
        found.sealed(590)
        yield found


def test_aics_tlog_audits_the_whole_log(auditor: Auditor) -> None:
    note = auditor.json("proof", event_id=event_ids(auditor)[0])["checkpoint"].encode()  # of all that is sealed
    key = aics_tlog.parse_vkey(auditor.vkey())
    checkpoint, _ = checkpoint_from_note(note)
    assert checkpoint.origin.startswith("audit.example.com/ledger/")
    assert aics_tlog.verify_checkpoint(aics_tlog.parse_note(note), key, expected_origin=checkpoint.origin).ok
    report = aics_tlog.audit_tiles(auditor, checkpoint.size, checkpoint.root)
    assert (report.size, report.bundles) == (checkpoint.size, 3)
    last = checkpoint.size - 512
    for path in (
        "tile/0/000",
        f"tile/0/002.p/{last}",
        "tile/1/000.p/2",
        "tile/entries/001",
        f"tile/entries/002.p/{last}",
    ):
        with pytest.raises((aics_tlog.TileVerificationError, ValueError)):
            aics_tlog.audit_tiles(Tampering(auditor, path), checkpoint.size, checkpoint.root)
    changed = note.replace(b"\n%d\n" % checkpoint.size, b"\n%d\n" % (checkpoint.size - 1))
    assert not aics_tlog.verify_checkpoint(aics_tlog.parse_note(changed), key).ok


def event_ids(auditor: Auditor) -> list[str]:
    """Some events of the first page, the second, and the oldest."""
    page = auditor.client.get("/v1/events", params={"limit": "200", "type": "custom.*"}).json()["items"]
    oldest = auditor.client.get("/v1/events", params={"type": "auth.register"}).json()["items"]
    return [each["id"] for each in (page[0], page[-1], oldest[-1])]


def test_proofbundle_verifies_proof_files(auditor: Auditor) -> None:
    vkey = auditor.vkey()
    for event_id in event_ids(auditor):
        text = auditor.get("proof", event_id=event_id).text
        shown = auditor.json("proof", event_id=event_id)
        entry = base64.b64decode(shown["entry"])
        origin = vkey.partition("+")[0]
        assert verify_tlog_proof(text, entry, vkey, [], threshold=0, expected_origin=origin)["ok"]
        index = shown["index"]
        for other in (
            text.replace(f"index {index}\n", f"index {index ^ 1}\n"),
            text.replace(shown["path"][0], base64.b64encode(flip(base64.b64decode(shown["path"][0]), 3)).decode()),
            text.replace(f"{origin}\n", f"{origin[:-1]}x\n"),
        ):
            assert other != text
            assert not verify_tlog_proof(other, entry, vkey, [], threshold=0)["ok"]
        assert not verify_tlog_proof(text, flip(entry, 99), vkey, [], threshold=0)["ok"]


def test_tlog_scales_verifies_proofs_and_growth(auditor: Auditor) -> None:
    note = auditor.note().decode()
    old, key = Checkpoint.from_text(note), Vkey.from_string(auditor.vkey())
    old.verify(key)
    with pytest.raises(InvalidSignature):
        Checkpoint.from_text(note.replace(f"\n{old.size}\n", f"\n{old.size + 1}\n")).verify(key)
    for event_id in event_ids(auditor):
        shown = auditor.json("proof", event_id=event_id)
        signed = Checkpoint.from_text(shown["checkpoint"])
        signed.verify(key)
        leaf = aics_tlog.leaf_hash(base64.b64decode(shown["entry"]))
        path = [base64.b64decode(each) for each in shown["path"]]
        InclusionProof(shown["index"], signed.size, path).check(leaf, signed.root_hash)
        with pytest.raises(InclusionProofInvalid):
            InclusionProof(shown["index"], signed.size, path).check(flip(leaf, 1), signed.root_hash)
    assert auditor.client.post("/v1/events", json={"events": [EVENT] * 70}).status_code == 201
    auditor.sealed(old.size + 70)
    new_size = max(each["size"] for each in auditor.json("shards")["items"])
    shown = auditor.json("consistency", period=auditor.period, **{"from": old.size, "to": new_size})
    new_root = tree_root_from_tiles(auditor, new_size)
    path = [base64.b64decode(each) for each in shown["path"]]
    ConsistencyProof(old.size, new_size, path).check(old.root_hash, new_root)
    for roots in ((flip(old.root_hash, 8), new_root), (old.root_hash, flip(new_root, 8))):
        with pytest.raises(ConsistencyProofInvalid):
            ConsistencyProof(old.size, new_size, path).check(*roots)


def test_the_offline_verifier_in_the_bundle_checks_the_bundle(auditor: Auditor, tmp_path: Path) -> None:
    """As an auditor would: with the program of the first part, in a process of its own, outside of this project."""
    note = auditor.note()
    month = auditor.period
    following = f"{int(month[:4]) + int(month[5:]) // 12:04}-{int(month[5:]) % 12 + 1:02}"
    answer = auditor.get("bundle", **{"from": f"{month}-01", "to": f"{following}-01"})
    (tmp_path / "part.zip").write_bytes(answer.content)
    (tmp_path / "kept.txt").write_bytes(note)
    (tmp_path / "verify_evidence.py").write_bytes((ROOT / "tools" / "verify_evidence.py").read_bytes())
    command = [sys.executable, "-P", "verify_evidence.py", "part.zip", "--vkey", auditor.vkey(), "--since", "kept.txt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Checkpoint kept in kept.txt" in done.stdout
    (tmp_path / "part.zip").write_bytes(flip(answer.content, 8 * len(answer.content) // 2))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode in (1, 2), done.stdout
