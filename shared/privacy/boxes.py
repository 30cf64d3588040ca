"""Boxes: what one event holds about one person, sealed under that person's key, and the commitment to it.

    box        = {"form": "aes-256-gcm", "nonce": 12 bytes, "sealed": AES-256-GCM(salt ‖ canonical JSON)}, in base64
    commitment = base64(SHA-256(32 random salt bytes ‖ canonical JSON (RFC 8785) of the personal fields))

A box opens only for its tenant, person and event (the associated data is `tenant|subject|event id`). The ledger covers
the commitment: it proves what was recorded without showing it, and stays valid when the box is erased.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.core.canonical import canonical
from shared.privacy.key_wrapping import KeyDamaged
from shared.privacy.person_keys import PersonKeys

type Personal = dict[str, Any]

FORM = "aes-256-gcm"
SALT_BYTES = 32
NONCE_BYTES = 12
_decode = json.JSONDecoder().decode  # `loads` guesses the encoding first


class BoxDamaged(ValueError):
    """A box does not open although its person's key is there: it was changed, or moved from another event. Or it opens,
    and what is in it is not what was recorded."""


class KeyOfBoxDamaged(BoxDamaged):
    """The person's key itself is not what was wrapped: none of their boxes opens."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A closed box (JSON) and the commitment to what is in it."""

    box: dict[str, Any]
    commitment: str


@dataclass(frozen=True, slots=True)
class Opened:
    """What was in a box, and the salt with which it leads to its commitment."""

    personal: Personal = field(repr=False)
    salt: bytes = field(repr=False)

    @property
    def commitment(self) -> str:
        """The commitment that the event has to hold."""
        return commitment_of(self.salt, self.personal)


class PersonalBox(Protocol):
    """Closes and opens personal data of one person in one event. SecretsError, StoreError: keys cannot be had now."""

    async def seal(self, tenant_id: str, subject: str, event_id: str, personal: Personal) -> Sealed | None:
        """Close `personal`; None for a person who was erased, of whom nothing is kept. KeyOfBoxDamaged."""
        ...

    async def prepare(self, tenant_id: str, subjects: Iterable[str], *, sealing: bool = False) -> None:
        """Have ready what boxes of many persons need, which is quicker than one after the other."""
        ...

    async def open(
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any], commitment: str | None = None
    ) -> Opened | None:
        """What is in the box; None when the person was erased. BoxDamaged when it is not what was closed, or does not
        lead to the `commitment` that was recorded with it (None: nobody asks)."""
        ...

    async def check_erased(self, tenant_id: str, subject: str, event_id: str) -> None:
        """BoxDamaged unless a person was erased, of whom an event has a commitment and no box, and does not say so."""
        ...


class SealedBoxes:
    """Boxes under the keys of persons."""

    def __init__(self, keys: PersonKeys, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._keys = keys
        self._random_bytes = random_bytes

    async def prepare(self, tenant_id: str, subjects: Iterable[str], *, sealing: bool = False) -> None:
        """Have the persons' keys in memory."""
        await self._keys.prepare(tenant_id, subjects, make=sealing)

    async def seal(self, tenant_id: str, subject: str, event_id: str, personal: Personal) -> Sealed | None:
        """Seal under the person's key, which is made if there is none."""
        try:
            held = self._keys.held(tenant_id, subject)
            cipher = held or await self._keys.for_sealing(tenant_id, subject)
        except KeyDamaged as error:
            raise KeyOfBoxDamaged(str(error)) from None
        if cipher is None:
            return None
        random = self._random_bytes(SALT_BYTES + NONCE_BYTES)
        nonce, content = random[SALT_BYTES:], random[:SALT_BYTES] + canonical(personal)
        sealed = cipher.encrypt(nonce, content, _bound_to(tenant_id, subject, event_id))
        box = {"form": FORM, "nonce": _text(nonce), "sealed": _text(sealed)}
        return Sealed(box, _text(hashlib.sha256(content).digest()))

    async def open(
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any], commitment: str | None = None
    ) -> Opened | None:
        """Open with the person's key."""
        from cryptography.exceptions import InvalidTag

        try:
            held = self._keys.held(tenant_id, subject)
            cipher = held or await self._keys.for_opening(tenant_id, subject)
        except KeyDamaged as error:
            raise KeyOfBoxDamaged(f"a box does not open: {type(error).__name__}") from None
        if cipher is None:
            return None
        try:
            nonce, sealed = a2b_base64(box["nonce"], strict_mode=True), a2b_base64(box["sealed"], strict_mode=True)
            content = cipher.decrypt(nonce, sealed, _bound_to(tenant_id, subject, event_id))
            opened = Opened(_decode(content[SALT_BYTES:].decode()), content[:SALT_BYTES])
        except (InvalidTag, KeyError, TypeError, ValueError) as error:
            raise BoxDamaged(f"a box does not open: {type(error).__name__}") from None
        if commitment is not None and _text(hashlib.sha256(content).digest()) != commitment:
            raise BoxDamaged("a box holds something else than what was recorded")
        return opened

    async def check_erased(self, tenant_id: str, subject: str, event_id: str) -> None:
        """Ask the store, and no memory, for a tombstone."""
        if await self._keys.stored(tenant_id, subject) != "tombstone":
            raise BoxDamaged("a box is gone although its person was not erased")


def commitment_of(salt: bytes, personal: Personal) -> str:
    """The commitment to `personal` under `salt`. ValueError when it has no canonical JSON (NaN, lone surrogate)."""
    return _text(hashlib.sha256(salt + canonical(personal)).digest())


def _bound_to(tenant_id: str, subject: str, event_id: str) -> bytes:
    return f"{tenant_id}|{subject}|{event_id}".encode()


def _text(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).decode()
