"""Signed notes (c2sp.org/signed-note) with Ed25519 keys, and cosignatures (c2sp.org/tlog-cosignature, type 0x04).

A note is text that ends in a newline, an empty line, and signature lines `— <name> <base64(key id ‖ signature)>`.
A key id is SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]. It tells keys apart, it proves nothing: signatures do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from shared.ledger._text import decode_base64, encode_base64

if TYPE_CHECKING:  # cold start
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
KEY_BYTES = 32
_DASH = "\u2014 "
_LONGEST_TIME = 2**63 - 1


class NoteError(ValueError):
    """A note, or a key, that is malformed or does not hold. `code`: malformed_note, malformed_key, bad_signature,
    unsigned, too_few_cosignatures."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class KeyType(IntEnum):
    """The signature types of signed-note that we use."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key, what it signs as, and how."""

    name: str
    public_key: bytes
    type: KeyType = KeyType.ED25519

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != KEY_BYTES:
            raise NoteError("malformed_key", "an Ed25519 key has 32 bytes")

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell this key apart from others of its name."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public_key).digest()[:4]

    def encode(self) -> str:
        """The vkey: `<name>+<hex key id>+<base64(type ‖ key)>`."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.type]) + self.public_key)}"

    @classmethod
    def decode(cls, vkey: str) -> VerifierKey:
        """The key that a vkey stands for. NoteError unless it is exactly in the form of `encode`."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise NoteError("malformed_key", "a vkey is <name>+<key id>+<key>")
        try:
            data = decode_base64(parts[2])
            key = cls(parts[0], data[1:], KeyType(data[0] if data else 0))
        except NoteError:
            raise
        except ValueError:
            raise NoteError("malformed_key", "the key is not base64, or of a type unknown here") from None
        if parts[1] != key.key_id.hex():
            raise NoteError("malformed_key", "the key id is not that of name and key")
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line."""

    name: str
    key_id: bytes
    payload: bytes

    def encode(self) -> str:
        """The line, with its newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.payload)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read: its text must not be believed before a signature is verified."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> str:
        """The note as it is published."""
        return self.text + "\n" + "".join(each.encode() for each in self.signatures)


class Signer:
    """Signs notes under one name. Ed25519 is deterministic: one text has one signature."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = _private_key(seed)
        self.verifier = VerifierKey(name, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> Note:
        """The text as a note with our signature. NoteError when a note cannot hold it."""
        _check_text(text)
        payload = self._key.sign(text.encode())
        return Note(text, (Signature(self.verifier.name, self.verifier.key_id, payload),))


class Cosigner:
    """Signs that it has seen a checkpoint at a time, as a witness does."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = _private_key(seed)
        self.verifier = VerifierKey(name, self._key.public_key().public_bytes_raw(), KeyType.COSIGNATURE)

    def cosign(self, text: str, time_seconds: int) -> Signature:
        """The signature line over a note's text at a POSIX time."""
        payload = time_seconds.to_bytes(8) + self._key.sign(_cosigned(text, time_seconds))
        return Signature(self.verifier.name, self.verifier.key_id, payload)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verified note says, and who signed it."""

    text: str
    signers: tuple[VerifierKey, ...]
    cosigners: tuple[VerifierKey, ...] = ()
    cosigned_at_seconds: tuple[int, ...] = field(default=())

    def distinct_cosigners(self) -> int:
        """How many keys cosigned: keys count, not the names they use."""
        return len({key.public_key for key in self.cosigners})


def check_name(name: str) -> None:
    """NoteError for what cannot be the name of a key: empty, or with a space, a plus or a control character."""
    bad = not name or "+" in name or any(c.isspace() or c < " " or "\ud800" <= c <= "\udfff" for c in name)
    if bad:
        raise NoteError("malformed_key", "a key's name is not empty and has no space, plus or control character")


def parse_note(data: bytes) -> Note:
    """A note from its bytes. NoteError for what signed-note does not allow."""
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError("malformed_note", "the note is too large")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NoteError("malformed_note", "the note is not UTF-8") from None
    text, separator, lines = whole.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise NoteError("malformed_note", "a note is text, an empty line and signature lines")
    text += "\n"
    _check_text(text)
    signatures = tuple(_parse_line(line) for line in lines[:-1].split("\n"))
    if len(signatures) > MAX_SIGNATURES:
        raise NoteError("malformed_note", "the note has too many signatures")
    return Note(text, signatures)


def verify_note(note: Note, keys: Iterable[VerifierKey]) -> Verified:
    """Verify every signature of a known key; others are ignored, as signed-note wants it.

    NoteError when one of a known key is wrong, or none of an ED25519 key is there. Cosignatures are counted by
    `Verified.distinct_cosigners`; a log's own key never counts as a witness of itself.
    """
    known = {(key.name, key.key_id): key for key in keys}
    signers: dict[VerifierKey, None] = {}
    cosigners: dict[VerifierKey, int] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        if key.type is KeyType.ED25519:
            _verify(key, signature.payload, note.text.encode())
            signers[key] = None
        else:
            cosigners[key] = _verify_cosignature(key, signature.payload, note.text)
    if not signers:
        raise NoteError("unsigned", "no signature of a known key")
    own = {key.public_key for key in signers}
    others = {key: at for key, at in cosigners.items() if key.public_key not in own}
    return Verified(note.text, tuple(signers), tuple(others), tuple(others.values()))


def require_cosigners(verified: Verified, count: int) -> None:
    """NoteError unless at least `count` different keys cosigned."""
    if verified.distinct_cosigners() < count:
        raise NoteError("too_few_cosignatures", f"fewer than {count} known witnesses cosigned")


def with_signatures(note: Note, lines: Sequence[Signature]) -> Note:
    """The note with further signature lines, such as those of witnesses."""
    return Note(note.text, (*note.signatures, *lines))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Signature lines alone, as a witness answers them. NoteError for anything else."""
    if not lines.endswith("\n"):
        raise NoteError("malformed_note", "a signature line ends in a newline")
    return tuple(_parse_line(line) for line in lines[:-1].split("\n"))


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(c < " " and c != "\n" for c in text):
        raise NoteError("malformed_note", "a note's text ends in a newline and has no other control characters")


def _parse_line(line: str) -> Signature:
    dash, name, payload = line[:2], *_two(line[2:])
    if dash != _DASH:
        raise NoteError("malformed_note", "a signature line begins with a dash (U+2014) and a space")
    try:
        check_name(name)
        data = decode_base64(payload)
    except ValueError:
        raise NoteError("malformed_note", "a signature line is a dash, a name and base64") from None
    if len(data) < 5:
        raise NoteError("malformed_note", "a signature is a key id and more")
    return Signature(name, data[:4], data[4:])


def _two(text: str) -> tuple[str, str]:
    name, _, payload = text.partition(" ")
    return name, payload


def _private_key(seed: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if len(seed) != KEY_BYTES:
        raise NoteError("malformed_key", "an Ed25519 seed has 32 bytes")
    return Ed25519PrivateKey.from_private_bytes(seed)


def _verify(key: VerifierKey, signature: bytes, message: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise NoteError("bad_signature", f"the signature of {key.name} does not hold") from None


def _verify_cosignature(key: VerifierKey, payload: bytes, text: str) -> int:
    at = int.from_bytes(payload[:8])
    if len(payload) != 72 or at > _LONGEST_TIME:
        raise NoteError("bad_signature", f"the cosignature of {key.name} is not a time and a signature")
    _verify(key, payload[8:], _cosigned(text, at))
    return at


def _cosigned(text: str, time_seconds: int) -> bytes:
    return f"cosignature/v1\ntime {time_seconds}\n{text}".encode()
