"""What is no note, key, checkpoint, tile or proof is refused with a code for programs and a reason for people."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from shared.ledger._text import decode_base64, decode_decimal
from shared.ledger.checkpoint import Checkpoint, CheckpointError, log_origin, parse_checkpoint, shard_origin
from shared.ledger.merkle import Frontier, ProofError, verify_consistency, verify_inclusion
from shared.ledger.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Cosigner,
    NoteError,
    Signature,
    Signer,
    Verified,
    VerifierKey,
    parse_note,
    parse_signatures,
    require_cosigners,
    verify_note,
    with_signatures,
)
from shared.ledger.proof import MAX_PROOF_BYTES, ProofFileError, parse_proof
from shared.ledger.tiles import Tile, TileError, decode_bundle, encode_bundle, grown, hash_reader, parse_path, tile_at

HASH, OTHER = b"\x01" * 32, b"\x02" * 32
SIGNER = Signer("example.com/log", bytes(range(32)))
WITNESS = Cosigner("example.org/witness", bytes(32))
NOTE = SIGNER.sign("a\n")
LINE = NOTE.signatures[0].encode()
COSIGNED = WITNESS.cosign("a\n", 7)
LONG = Signature(COSIGNED.name, COSIGNED.key_id, (2**63).to_bytes(8) + COSIGNED.payload[8:])
SHORT = Signature(COSIGNED.name, COSIGNED.key_id, COSIGNED.payload[:-1])
BAD = Signature(SIGNER.verifier.name, SIGNER.verifier.key_id, bytes(64))
KEYS = [SIGNER.verifier, WITNESS.verifier]
ROOT64 = base64.b64encode(HASH).decode()
HEADER = "c2sp.org/tlog-proof@v1"

REFUSALS: list[tuple[Callable[[], Any], type[ValueError], str, str]] = [
    (lambda: Frontier(-1), ProofError, "size_range", "a size is a number from 0 to 2^63 - 1"),
    (lambda: Frontier(2**63, [HASH]), ProofError, "size_range", "a size is a number from 0 to 2^63 - 1"),
    (lambda: Frontier(3, [HASH]), ProofError, "path_length", "the edge of 3 leaves has 2 nodes"),
    (lambda: Frontier(1, [b"x"]), ProofError, "hash_size", "a hash has 32 bytes"),
    (lambda: Frontier().extend([b"x"]), ProofError, "hash_size", "a hash has 32 bytes"),
    (
        lambda: verify_inclusion(HASH, 0, 0, [], HASH),
        ProofError,
        "size_range",
        "a tree with a leaf has a size from 1 to 2^63 - 1",
    ),
    (
        lambda: verify_inclusion(HASH, 0, 2**63, [], HASH),
        ProofError,
        "size_range",
        "a tree with a leaf has a size from 1 to 2^63 - 1",
    ),
    (lambda: verify_inclusion(HASH, 3, 3, [], HASH), ProofError, "index_range", "the index is not below the size"),
    (lambda: verify_inclusion(HASH, -1, 3, [], HASH), ProofError, "index_range", "the index is not below the size"),
    (
        lambda: verify_inclusion(HASH, 0, 2, [], HASH),
        ProofError,
        "path_length",
        "the proof has too few or too many hashes",
    ),
    (
        lambda: verify_inclusion(HASH, 0, 1, [], OTHER),
        ProofError,
        "root_mismatch",
        "the proof does not lead to the root",
    ),
    (
        lambda: verify_consistency(0, 2, [], HASH, HASH),
        ProofError,
        "size_range",
        "sizes are 0 < old size ≤ size < 2^63",
    ),
    (
        lambda: verify_consistency(1, 2, [], HASH, HASH),
        ProofError,
        "path_length",
        "the proof has too few or too many hashes",
    ),
    (lambda: verify_consistency(2, 2, [], HASH, OTHER), ProofError, "root_mismatch", "two roots for one size"),
    (
        lambda: verify_consistency(1, 2, [HASH], HASH, OTHER),
        ProofError,
        "root_mismatch",
        "the proof does not lead to the root",
    ),
    (
        lambda: verify_consistency(3, 4, [HASH, HASH, HASH], OTHER, OTHER),
        ProofError,
        "old_root_mismatch",
        "the proof does not lead to the old root",
    ),
    (
        lambda: Tile(0, 0, 257),
        TileError,
        "malformed_path",
        "a tile has level 0 to 63, index from 0, and width 1 to 256",
    ),
    (lambda: parse_path("x"), TileError, "malformed_path", "a path is tile/<level>/<index>[.p/<width>]"),
    (lambda: parse_path("tile/64/000"), TileError, "malformed_path", "a path is tile/<level>/<index>[.p/<width>]"),
    (lambda: parse_path("tile/0/x000/001"), TileError, "malformed_path", "a tile has one path"),
    (lambda: tile_at(64, 0, 2**63 - 1), TileError, "missing_tile", "the tree has no such tile"),
    (lambda: tile_at(0, 1, 256), TileError, "missing_tile", "the tree has no such tile"),
    (
        lambda: grown(1, {}, [[HASH]]),
        TileError,
        "wrong_size",
        "a tile of the edge is not as wide as the tree says",
    ),
    (
        lambda: hash_reader({})((0, 0)),
        TileError,
        "missing_tile",
        "a tile that a hash comes from is missing or too short",
    ),
    (
        lambda: encode_bundle([b"x" * 65_536]),
        TileError,
        "malformed_bundle",
        "an entry has at most 65,535 bytes",
    ),
    (lambda: decode_bundle(b"\0"), TileError, "malformed_bundle", "the bundle ends in the middle of an entry"),
    (lambda: decode_bundle(bytes(514)), TileError, "malformed_bundle", "a bundle has at most 256 entries"),
    (
        lambda: Checkpoint("a", -1, HASH),
        CheckpointError,
        "malformed_checkpoint",
        "a size is from 0 to 2^63 - 1 and a root has 32 bytes",
    ),
    (
        lambda: Checkpoint("a", 1, HASH + b"x"),
        CheckpointError,
        "malformed_checkpoint",
        "a size is from 0 to 2^63 - 1 and a root has 32 bytes",
    ),
    (
        lambda: Checkpoint("a", 2**63, HASH),
        CheckpointError,
        "malformed_checkpoint",
        "a size is from 0 to 2^63 - 1 and a root has 32 bytes",
    ),
    (lambda: Checkpoint("a", 0, HASH), CheckpointError, "malformed_checkpoint", "an empty tree has one root"),
    (
        lambda: Checkpoint("a", 1, HASH).sign(SIGNER),
        CheckpointError,
        "wrong_origin",
        "a checkpoint is signed under its own origin",
    ),
    (
        lambda: parse_checkpoint("a\n1\n"),
        CheckpointError,
        "malformed_checkpoint",
        "a checkpoint is three lines: origin, size, root",
    ),
    (
        lambda: parse_checkpoint(f"a\n01\n{ROOT64}\n"),
        CheckpointError,
        "malformed_checkpoint",
        "not a checkpoint: not a decimal number below 2^63",
    ),
    (
        lambda: parse_checkpoint("a\n1\n%\n"),
        CheckpointError,
        "malformed_checkpoint",
        "not a checkpoint: not base64",
    ),
    (
        lambda: parse_checkpoint(f"a b\n1\n{ROOT64}\n"),
        CheckpointError,
        "malformed_checkpoint",
        "not a checkpoint: a key's name is not empty and has no space, plus or control character",
    ),
    (
        lambda: log_origin("a b", "t"),
        CheckpointError,
        "malformed_origin",
        "an origin has no space, plus or control character",
    ),
    (
        lambda: log_origin("a//b", "t"),
        CheckpointError,
        "malformed_origin",
        "an origin is host and path, without scheme, query or empty parts",
    ),
    (
        lambda: log_origin("a", "t/t"),
        CheckpointError,
        "malformed_origin",
        "a tenant id is 1 to 64 of A-Z a-z 0-9 . _ : -",
    ),
    (
        lambda: log_origin("a", "t" * 65),
        CheckpointError,
        "malformed_origin",
        "a tenant id is 1 to 64 of A-Z a-z 0-9 . _ : -",
    ),
    (lambda: shard_origin("a", "t", "2026-3"), CheckpointError, "malformed_origin", "a period is YYYY-MM"),
    (lambda: VerifierKey("a", HASH[1:]), NoteError, "malformed_key", "an Ed25519 key has 32 bytes"),
    (lambda: Signer("a", HASH[1:]), NoteError, "malformed_key", "an Ed25519 seed has 32 bytes"),
    (
        lambda: VerifierKey("a+b", HASH),
        NoteError,
        "malformed_key",
        "a key's name is not empty and has no space, plus or control character",
    ),
    (lambda: VerifierKey.decode("a+b"), NoteError, "malformed_key", "a vkey is <name>+<key id>+<key>"),
    (
        lambda: VerifierKey.decode("a+b+"),
        NoteError,
        "malformed_key",
        "the key is not base64, or of a type unknown here",
    ),
    (
        lambda: VerifierKey.decode("a+b+%"),
        NoteError,
        "malformed_key",
        "the key is not base64, or of a type unknown here",
    ),
    (
        lambda: VerifierKey.decode(f"a+b+{base64.b64encode(b'\x01' + HASH).decode()}"),
        NoteError,
        "malformed_key",
        "the key id is not that of name and key",
    ),
    (lambda: parse_note(b"x" * (MAX_NOTE_BYTES + 1)), NoteError, "malformed_note", "the note is too large"),
    (lambda: parse_note(b"\xff"), NoteError, "malformed_note", "the note is not UTF-8"),
    (
        lambda: parse_note(b"a\n"),
        NoteError,
        "malformed_note",
        "a note is text, an empty line and signature lines",
    ),
    (
        lambda: parse_note(f"a\n\n{LINE * (MAX_SIGNATURES + 1)}".encode()),
        NoteError,
        "malformed_note",
        "the note has too many signatures",
    ),
    (
        lambda: parse_note(f"\t\n\n{LINE}".encode()),
        NoteError,
        "malformed_note",
        "a note's text ends in a newline and has no other control characters",
    ),
    (
        lambda: parse_note(b"a\n\n- a AAAAAAA=\n"),
        NoteError,
        "malformed_note",
        "a signature line begins with a dash (U+2014) and a space",
    ),
    (
        lambda: parse_note("a\n\n— a %\n".encode()),
        NoteError,
        "malformed_note",
        "a signature line is a dash, a name and base64",
    ),
    (
        lambda: parse_note("a\n\n— a AAAAAA==\n".encode()),
        NoteError,
        "malformed_note",
        "a signature is a key id and more",
    ),
    (lambda: parse_signatures("x"), NoteError, "malformed_note", "a signature line ends in a newline"),
    (lambda: verify_note(NOTE, []), NoteError, "unsigned", "no signature of a known key"),
    (
        lambda: verify_note(with_signatures(NOTE, [BAD]), KEYS),
        NoteError,
        "bad_signature",
        "the signature of example.com/log does not hold",
    ),
    *(
        (
            lambda line=line: verify_note(with_signatures(NOTE, [line]), KEYS),
            NoteError,
            "bad_signature",
            "the cosignature of example.org/witness is not a time and a signature",
        )
        for line in (LONG, SHORT)
    ),
    (
        lambda: require_cosigners(Verified("a\n", (SIGNER.verifier,)), 2),
        NoteError,
        "too_few_cosignatures",
        "fewer than 2 known witnesses cosigned",
    ),
    (lambda: parse_proof(b"x" * (MAX_PROOF_BYTES + 1)), ProofFileError, "malformed_proof", "the proof is too large"),
    (lambda: parse_proof(b"\xff"), ProofFileError, "malformed_proof", "the proof is not UTF-8"),
    (
        lambda: parse_proof(b"x"),
        ProofFileError,
        "malformed_proof",
        f"a proof begins with {HEADER} and ends with a checkpoint after an empty line",
    ),
    (
        lambda: parse_proof(f"{HEADER}\n\nx".encode()),
        ProofFileError,
        "malformed_proof",
        "not a proof: the line of the index is missing",
    ),
    (
        lambda: parse_proof(f"{HEADER}\nindex x\n\nx".encode()),
        ProofFileError,
        "malformed_proof",
        "not a proof: not a decimal number below 2^63",
    ),
    (
        lambda: parse_proof(f"{HEADER}\nindex 0\nAAAA\n\nx".encode()),
        ProofFileError,
        "malformed_proof",
        "not a proof: a path is at most 63 hashes of 32 bytes",
    ),
]


@pytest.mark.parametrize(("call", "kind", "code", "reason"), REFUSALS, ids=[f"{each[3]:.40}" for each in REFUSALS])
def test_every_refusal_has_its_code_and_its_reason(
    call: Callable[[], Any], kind: type[ValueError], code: str, reason: str
) -> None:
    with pytest.raises(kind) as error:
        call()
    assert (error.value.code, str(error.value)) == (code, reason)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("%", "not base64"), ("AAA", "not base64"), ("é", "not base64"), ("AAB=", "base64 in an unusual spelling")],
)
def test_base64_that_is_none(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        decode_base64(text)


@pytest.mark.parametrize("text", ["", "-1", "01", "1.0", " 1", "9223372036854775808", "10000000000000000000"])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a decimal number below 2\^63$"):
        decode_decimal(text)


def test_the_largest_of_everything_is_taken() -> None:
    assert decode_decimal("9223372036854775807") == 2**63 - 1
    assert decode_decimal("0") == 0
    assert Checkpoint("a", 2**63 - 1, HASH).size == 2**63 - 1
    assert Frontier(2**63 - 1, [HASH] * 63).size == 2**63 - 1
    assert Tile(63, 2**63 - 1, 256).level == 63
    verify_inclusion(HASH, 0, 1, [], HASH)
    verify_consistency(2**63 - 1, 2**63 - 1, [], HASH, HASH)
    assert log_origin("a", "t" * 64) == f"a/{'t' * 64}"
    assert len(parse_note(f"a\n\n{LINE * MAX_SIGNATURES}".encode()).signatures) == MAX_SIGNATURES
    filler = "x" * (MAX_NOTE_BYTES - len(f"\n\n{LINE}".encode()))
    assert parse_note(f"{filler}\n\n{LINE}".encode()).text == f"{filler}\n"
    path = "\n".join([ROOT64] * 63)
    proof = f"{HEADER}\nindex 0\n{path}\n\n"
    assert len(parse_proof(f"{proof}{'x' * (MAX_PROOF_BYTES - len(proof))}".encode()).path) == 63
    with pytest.raises(ProofFileError):
        parse_proof(f"{HEADER}\nindex 0\n{path}\n{ROOT64}\n\nx".encode())
    latest = WITNESS.cosign("a\n", 2**63 - 1)
    assert verify_note(with_signatures(NOTE, [latest]), KEYS).cosigned_at_seconds == (2**63 - 1,)


def test_witnesses_are_counted_once_and_none_is_the_log_itself() -> None:
    """One key under two names, and the log's own key as a witness, add nothing."""
    other = Cosigner("example.net/other", bytes(32))
    itself = Cosigner("example.com/itself", bytes(range(32)))
    lines = [each.cosign("a\n", at) for each, at in ((WITNESS, 7), (other, 8), (itself, 9))]
    verified = verify_note(with_signatures(NOTE, lines), [*KEYS, other.verifier, itself.verifier])
    assert verified.signers == (SIGNER.verifier,)
    assert verified.cosigners == (WITNESS.verifier, other.verifier)
    assert verified.cosigned_at_seconds == (7, 8)
    assert verified.distinct_cosigners() == 1
    require_cosigners(verified, 1)
