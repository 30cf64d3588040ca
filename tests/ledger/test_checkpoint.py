"""Checkpoints and proof files: the published log, strict forms, one shard never standing for another."""

import base64
import hashlib

import pytest

from shared.ledger.checkpoint import (
    Checkpoint,
    CheckpointError,
    log_origin,
    open_checkpoint,
    parse_checkpoint,
    shard_origin,
)
from shared.ledger.merkle import EMPTY_ROOT, ProofError, inclusion_proof, leaf_hashes, root_of
from shared.ledger.note import Note, NoteError, Signature, Signer, VerifierKey
from shared.ledger.proof import Proof, ProofFileError, parse_proof
from tests.ledger import known
from tests.ledger.support import TiledTree, flip

ORIGIN = "example.com/ledger/tenant-1/2026-03"
SIGNER = Signer(ORIGIN, bytes(range(32)))
ENTRIES = [b"entry %d" % number for number in range(11)]
TREE = TiledTree()
TREE.append(ENTRIES)
ROOT = root_of(leaf_hashes(ENTRIES))
CHECKPOINT = Checkpoint(ORIGIN, 11, ROOT)
PROOF = Proof(6, tuple(inclusion_proof(6, 11, TREE.read)), CHECKPOINT.sign(SIGNER).encode())


def test_the_known_log() -> None:
    signer = Signer("example.com/log/testdata", known.seed_of(known.LOG_PRIVATE))
    tree = TiledTree()
    tree.append(known.LOG_ENTRIES)
    checkpoint = Checkpoint(signer.verifier.name, 15, root_of(leaf_hashes(known.LOG_ENTRIES)))
    note = checkpoint.sign(signer)
    assert signer.verifier.key_id.hex() == "33d7b496"
    assert note.text == f"example.com/log/testdata\n15\n{known.LOG_ROOT}\n"
    assert note.encode().splitlines()[-1] == f"— example.com/log/testdata {known.LOG_SIGNATURE}"
    assert hashlib.sha256(tree.tiles[0, 0]).hexdigest() == known.LOG_TILE_SHA256


def test_a_checkpoint_opens_under_its_own_origin_alone() -> None:
    note = CHECKPOINT.sign(SIGNER).encode().encode()
    assert open_checkpoint(note, ORIGIN, [SIGNER.verifier])[0] == CHECKPOINT
    for other in (ORIGIN.replace("03", "04"), ORIGIN.replace("tenant-1", "tenant-2"), ORIGIN + "/"):
        with pytest.raises(CheckpointError) as error:
            open_checkpoint(note, other, [SIGNER.verifier])
        assert error.value.code == "wrong_origin"
        with pytest.raises(NoteError):
            open_checkpoint(note, other, [VerifierKey(other, SIGNER.verifier.public_key)])


def test_a_key_of_another_shard_cannot_sign() -> None:
    other = Signer(ORIGIN.replace("tenant-1", "tenant-2"), bytes(range(32)))
    with pytest.raises(CheckpointError) as error:
        CHECKPOINT.sign(other)
    assert error.value.code == "wrong_origin"
    note = other.sign(CHECKPOINT.text()).encode().encode()
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(note, ORIGIN, [other.verifier])
    assert error.value.code == "wrong_origin"


ROOT64 = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        f"a\n11\n{ROOT64}",
        f"a\n11\n{ROOT64}\n\n",
        f"a\n11\n{ROOT64}\nextension\n",
        f"\n11\n{ROOT64}\n",
        f"a b\n11\n{ROOT64}\n",
        f"a+b\n11\n{ROOT64}\n",
        f"a\n011\n{ROOT64}\n",
        f"a\n+11\n{ROOT64}\n",
        f"a\n-1\n{ROOT64}\n",
        f"a\n 11\n{ROOT64}\n",
        f"a\n1_1\n{ROOT64}\n",
        f"a\n١\n{ROOT64}\n",
        f"a\n9223372036854775808\n{ROOT64}\n",
        f"a\n{'9' * 5000}\n{ROOT64}\n",
        f"a\n\n{ROOT64}\n",
        f"a\n0\n{ROOT64}\n",
        f"a\n11\n{ROOT64[:-1]}\n",
        f"a\n11\n{ROOT64} \n",
        f"a\n11\n{base64.b64encode(ROOT + b'x').decode()}\n",
        f"a\n11\n{ROOT64[:-2]}{chr(ord(ROOT64[-2]) + 1)}=\n",
        f"a\r\n11\r\n{ROOT64}\r\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(CheckpointError) as error:
        parse_checkpoint(text)
    assert error.value.code == "malformed_checkpoint"


@pytest.mark.parametrize("size", [0, 1, 2**63 - 1])
def test_checkpoints_round_trip(size: int) -> None:
    checkpoint = Checkpoint("example.com/a", size, ROOT if size else EMPTY_ROOT)
    assert parse_checkpoint(checkpoint.text()) == checkpoint


def test_origins() -> None:
    tenant = "0195c000-0000-7000-8000-0000000000aa"
    assert shard_origin("ledger.example.com", tenant, "2026-03") == f"ledger.example.com/{tenant}/2026-03"
    assert log_origin("example.com/a", "platform") == "example.com/a/platform"


@pytest.mark.parametrize("base", ["", "https://example.com", "a b", "a+b", "example.com/", "/a", "a//b", "a?b", "a#b"])
def test_bases_that_no_origin_can_have(base: str) -> None:
    with pytest.raises(CheckpointError) as error:
        log_origin(base, "t")
    assert error.value.code == "malformed_origin"


@pytest.mark.parametrize(
    ("tenant", "period"), [("", "2026-03"), ("a/b", "2026-03"), ("a b", "2026-03"), ("t", "2026-13"), ("t", "2026-3")]
)
def test_parts_that_no_origin_can_have(tenant: str, period: str) -> None:
    with pytest.raises(CheckpointError) as error:
        shard_origin("example.com", tenant, period)
    assert error.value.code == "malformed_origin"


def test_a_proof_file_holds() -> None:
    data = PROOF.text().encode()
    assert parse_proof(data) == PROOF
    assert PROOF.verify(ENTRIES[6], ORIGIN, [SIGNER.verifier]) == CHECKPOINT
    lines = PROOF.text().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 6"]
    assert lines[2 + len(PROOF.path) :][:3] == ["", ORIGIN, "11"]
    assert parse_proof(PROOF.text().replace("\nindex", "\nextra QUJD\nindex").encode()) == PROOF


def test_the_json_shape_of_a_proof() -> None:
    body = PROOF.body("id-1", "2026-03", ENTRIES[6])
    assert list(body) == ["event_id", "period", "index", "entry", "path", "checkpoint", "text"]
    assert base64.b64decode(body["entry"]) == ENTRIES[6]
    assert parse_proof(body["text"].encode()).path == tuple(base64.b64decode(each) for each in body["path"])


def test_every_bit_of_a_proof_file_and_of_its_entry_matters() -> None:
    data = PROOF.text().encode()
    refusals = (ProofFileError, ProofError, NoteError, CheckpointError)
    for bit in range(len(data) * 8):
        with pytest.raises(refusals):
            parse_proof(flip(data, bit)).verify(ENTRIES[6], ORIGIN, [SIGNER.verifier])
    for bit in range(len(ENTRIES[6]) * 8):
        with pytest.raises(ProofError):
            PROOF.verify(flip(ENTRIES[6], bit), ORIGIN, [SIGNER.verifier])


TEXT = PROOF.text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.replace("@v1", "@v2"),
        "\n" + TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("index 6", "index 06"),
        TEXT.replace("index 6", "index -6"),
        TEXT.replace("index 6", "index  6"),
        TEXT.replace("index 6\n", ""),
        TEXT.replace("index 6", "extra !\nindex 6"),
        TEXT.replace("index 6", "extra QUJD\nextra QUJD\nindex 6"),
        TEXT.replace("index 6\n", "index 6\nQUJD\n"),
        TEXT.replace("index 6\n", "index 6\n" + f"{ROOT64}\n" * 64),
        TEXT.replace("\n\nexample", "\nexample", 1).split("\n\n")[0],
        TEXT + "x" * 1_100_000,
    ],
)
def test_malformed_proof_files_are_refused(text: str) -> None:
    with pytest.raises(ProofFileError) as error:
        parse_proof(text.encode())
    assert error.value.code == "malformed_proof"


def test_proofs_that_are_not_utf_8_or_of_nothing_signed_are_refused() -> None:
    with pytest.raises(ProofFileError):
        parse_proof(b"\xff" + TEXT.encode())
    unsigned = Note(CHECKPOINT.text(), (Signature(ORIGIN, SIGNER.verifier.key_id, bytes(64)),))
    with pytest.raises(NoteError):
        Proof(6, PROOF.path, unsigned.encode()).verify(ENTRIES[6], ORIGIN, [SIGNER.verifier])
    with pytest.raises(ProofError):
        Proof(11, PROOF.path, PROOF.checkpoint).verify(ENTRIES[6], ORIGIN, [SIGNER.verifier])
