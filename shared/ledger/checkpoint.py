"""Checkpoints (c2sp.org/tlog-checkpoint): the signed statement of how large a shard is and what its root is.

A shard is the tree of one tenant and month. Its origin, `<LEDGER_ORIGIN>/<tenant id>/<YYYY-MM>`, is also the name of
the key that signs it, so that a checkpoint of one shard can never stand for another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.ledger._text import decode_base64, decode_decimal, encode_base64
from shared.ledger.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from shared.ledger.note import Note, NoteError, Signer, Verified, VerifierKey, check_name, parse_note, verify_note

_TENANT = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_PERIOD = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


class CheckpointError(ValueError):
    """Text that is no checkpoint of ours, or one of another log. `code`: malformed_checkpoint, malformed_origin,
    wrong_origin."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def log_origin(ledger_origin: str, tenant_id: str) -> str:
    """What the origins of a tenant's shards begin with: `<LEDGER_ORIGIN>/<tenant id>`.

    CheckpointError unless the first is a URL without scheme, query, spaces, plus and trailing slash.
    """
    try:
        check_name(ledger_origin)
    except NoteError:
        raise CheckpointError("malformed_origin", "an origin has no space, plus or control character") from None
    if "://" in ledger_origin or set("?#") & set(ledger_origin) or "" in ledger_origin.split("/"):
        raise CheckpointError("malformed_origin", "an origin is host and path, without scheme, query or empty parts")
    if not _TENANT.fullmatch(tenant_id):
        raise CheckpointError("malformed_origin", "a tenant id is 1 to 64 of A-Z a-z 0-9 . _ : -")
    return f"{ledger_origin}/{tenant_id}"


def shard_origin(ledger_origin: str, tenant_id: str, period: str) -> str:
    """The origin of one shard. CheckpointError when a part of it cannot be."""
    if not _PERIOD.fullmatch(period):
        raise CheckpointError("malformed_origin", "a period is YYYY-MM")
    return f"{log_origin(ledger_origin, tenant_id)}/{period}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and root of a shard."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise CheckpointError("malformed_checkpoint", "a size is from 0 to 2^63 - 1 and a root has 32 bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError("malformed_checkpoint", "an empty tree has one root")

    def text(self) -> str:
        """The note's text: origin, size and root, a line each."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    def sign(self, signer: Signer) -> Note:
        """The signed note. CheckpointError when the signer is another log's."""
        if signer.verifier.name != self.origin:
            raise CheckpointError("wrong_origin", "a checkpoint is signed under its own origin")
        return signer.sign(self.text())


def parse_checkpoint(text: str) -> Checkpoint:
    """A checkpoint from a note's text. CheckpointError for extension lines, which we never sign, and other forms."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise CheckpointError("malformed_checkpoint", "a checkpoint is three lines: origin, size, root")
    try:
        check_name(lines[0])
        return Checkpoint(lines[0], decode_decimal(lines[1]), decode_base64(lines[2]))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError("malformed_checkpoint", f"not a checkpoint: {error}") from None


def open_checkpoint(note: bytes, origin: str, keys: Iterable[VerifierKey]) -> tuple[Checkpoint, Verified]:
    """The checkpoint in a note of the shard with this origin, once a key of that name has signed it.

    NoteError or CheckpointError otherwise. `keys` may hold those of witnesses: see `Verified.distinct_cosigners`.
    """
    verified = verify_note(parse_note(note), keys)
    checkpoint = parse_checkpoint(verified.text)
    if checkpoint.origin != origin:
        raise CheckpointError("wrong_origin", "the checkpoint is of another log")
    if not any(key.name == origin for key in verified.signers):
        raise CheckpointError("wrong_origin", "the checkpoint is not signed under its own origin")
    return checkpoint, verified
