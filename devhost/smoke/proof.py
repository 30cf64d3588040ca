"""The proof that an event is sealed, checked offline by the program that auditors have (tools/verify_evidence.py)."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from devhost.smoke.deployment import Wrong
from tools import verify_evidence as verifier


@dataclass(frozen=True, slots=True)
class Sealed:
    """Where an event is: entry `index` of the `size` that the key named `origin` signed for."""

    origin: str
    index: int
    size: int


def check_checkpoint(note: str, vkey: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint that a key signed. Wrong unless it did, and the ledger is the key's."""
    try:
        key = verifier.parse_vkey(vkey)
        text, signers = verifier.open_note(note.encode(), [key])
        origin, size, root = verifier.parse_checkpoint(text)
        verifier.require(signers, "the checkpoint is not signed by the published key")
        verifier.require(origin == key.name, "the checkpoint is of another ledger than the key")
    except verifier.Wrong as wrong:
        raise Wrong(f"offline: {wrong}") from None
    return origin, size, root


def check_proof(event: dict[str, Any], proof: dict[str, Any], vkey: str) -> Sealed:
    """Check a proof (JSON form) of an event as it was read, under a published verifier key. Wrong says what fails.

    The key signed the checkpoint; its root is reached from the entry; and the entry is of this event, field by field.
    """
    try:
        origin, size, root = check_checkpoint(proof["checkpoint"], vkey)
        entry = base64.b64decode(proof["entry"], validate=True)
        path = [base64.b64decode(each, validate=True) for each in proof["path"]]
        index, leaf = proof["index"], hashlib.sha256(b"\x00" + entry).digest()
        verifier.require(
            verifier.root_from_path(leaf, index, size, path) == root, "the proof does not lead to the signed root"
        )
        sealed = verifier.parse_entry(entry)
        differ = sorted(name for name in verifier.FIELDS if sealed[name] != event.get(name))
        verifier.require(not differ, f"the event is not what was sealed: {', '.join(differ)}")
    except verifier.Wrong as wrong:
        raise Wrong(f"offline: {wrong}") from None
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError):
        raise Wrong("offline: the proof has not the form of one") from None
    return Sealed(origin, index, size)
