"""Boxes: what one event holds about one person, behind one interface, and the commitment that the ledger covers.

commitment = base64(SHA-256(32 random salt bytes ‖ canonical JSON (RFC 8785) of the personal fields)): it proves what
was recorded without showing it, and stays valid when the box is erased.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from shared.core.canonical import canonical

type Personal = dict[str, Any]

SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Sealed:
    """A closed box (JSON) and the commitment to what is in it."""

    box: dict[str, Any]
    commitment: str


class PersonalBox(Protocol):
    """Closes and opens personal data of one person in one event."""

    async def seal(self, tenant_id: str, subject: str, event_id: str, personal: Personal) -> Sealed:
        """Close `personal`; the box opens only for the same tenant, subject and event."""
        ...

    async def open(self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any]) -> Personal:
        """What is in the box."""
        ...

    async def disclose(
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any]
    ) -> tuple[Personal, bytes]:
        """What is in the box, and the salt with which anyone can hold it against its commitment."""
        ...


class ClearBox:
    """A box with a glass lid: personal data as clear JSON beside its salt, until sealing is switched on."""

    def __init__(self, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._random_bytes = random_bytes

    async def seal(self, tenant_id: str, subject: str, event_id: str, personal: Personal) -> Sealed:
        """Keep `personal` readable, with the salt that its commitment needs."""
        salt = self._random_bytes(SALT_BYTES)
        box = {"form": "clear", "salt": base64.b64encode(salt).decode(), "data": personal}
        return Sealed(box, commitment_of(salt, personal))

    async def open(self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any]) -> Personal:
        """The data as it was put in."""
        data: Personal = box["data"]
        return data

    async def disclose(
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any]
    ) -> tuple[Personal, bytes]:
        """The data as it was put in, and its salt."""
        return await self.open(tenant_id, subject, event_id, box), base64.b64decode(box["salt"])


def commitment_of(salt: bytes, personal: Personal) -> str:
    """The commitment to `personal` under `salt`. ValueError when it has no canonical JSON (NaN, lone surrogate)."""
    return base64.b64encode(hashlib.sha256(salt + canonical(personal)).digest()).decode()
