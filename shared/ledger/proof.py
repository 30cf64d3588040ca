"""Proof files (c2sp.org/tlog-proof@v1): that an event is in the ledger, checkable offline with a vkey alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.ledger._text import decode_base64, decode_decimal, encode_base64
from shared.ledger.checkpoint import Checkpoint, open_checkpoint
from shared.ledger.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from shared.ledger.note import VerifierKey

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = 1_100_000
_LONGEST_PATH = 63


class ProofFileError(ValueError):
    """A file that is not a proof file. `code` is malformed_proof."""

    code = "malformed_proof"


@dataclass(frozen=True, slots=True)
class Proof:
    """Where an entry is, the hashes from its leaf's sibling upward, and the checkpoint (note) they lead to."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str

    def text(self) -> str:
        """The proof file."""
        lines = [HEADER, f"index {self.index}", *(encode_base64(each) for each in self.path), "", self.checkpoint]
        return "\n".join(lines)

    def verify(self, entry: bytes, origin: str, keys: Iterable[VerifierKey]) -> Checkpoint:
        """Check that `entry` is in the shard with this origin, under a checkpoint signed by one of the keys.

        NoteError, CheckpointError or ProofError otherwise.
        """
        checkpoint, _ = open_checkpoint(self.checkpoint.encode(), origin, keys)
        verify_inclusion(leaf_hash(entry), self.index, checkpoint.size, self.path, checkpoint.root)
        return checkpoint

    def body(self, event_id: str, period: str, entry: bytes) -> dict[str, Any]:
        """The JSON shape of the API."""
        return {
            "event_id": event_id,
            "period": period,
            "index": self.index,
            "entry": encode_base64(entry),
            "path": [encode_base64(each) for each in self.path],
            "checkpoint": self.checkpoint,
            "text": self.text(),
        }


def parse_proof(data: bytes) -> Proof:
    """A proof from its file. Extra data, which nobody signed, is passed over. ProofFileError for anything malformed."""
    if len(data) > MAX_PROOF_BYTES:
        raise ProofFileError("the proof is too large")
    try:
        head, separator, checkpoint = data.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError:
        raise ProofFileError("the proof is not UTF-8") from None
    lines = head.split("\n")
    if not separator or lines[0] != HEADER:
        raise ProofFileError(f"a proof begins with {HEADER} and ends with a checkpoint after an empty line")
    try:
        return Proof(*_body_of(lines[1:]), checkpoint)
    except ValueError as error:
        raise ProofFileError(f"not a proof: {error}") from None


def _body_of(lines: Sequence[str]) -> tuple[int, tuple[bytes, ...]]:
    if lines and lines[0].startswith("extra "):
        decode_base64(lines[0].removeprefix("extra "))
        lines = lines[1:]
    if not lines or not lines[0].startswith("index "):
        raise ValueError("the line of the index is missing")
    path = tuple(decode_base64(line) for line in lines[1:])
    if len(path) > _LONGEST_PATH or any(len(each) != HASH_BYTES for each in path):
        raise ValueError("a path is at most 63 hashes of 32 bytes")
    return decode_decimal(lines[0].removeprefix("index ")), path
