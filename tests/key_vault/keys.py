"""The keys of the stand-in vault: real ones, with what it answers to Get Key and Unwrap Key.

As documented for api-version 7.4: a disabled version serves nobody, one outside of its nbf and exp goes on unwrapping,
an operation that is not among its key_ops is forbidden, and what does not decrypt is a BadParameter.
"""

import base64
import binascii
import functools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from tests.key_vault.answers import Answer, Attributes, refusal

OPERATIONS = ("wrapKey", "unwrapKey")
DATA_KEY = bytes(range(32))
PADDING = OAEP(MGF1(SHA256()), SHA256(), None)

type Private = RSAPrivateKey | ec.EllipticCurvePrivateKey


@functools.cache
def rsa_key(number: int, bits: int = 2048) -> RSAPrivateKey:
    """Always the same for a number: making one takes a while."""
    return generate_private_key(65537, bits)


@dataclass
class KeyVersion(Attributes):
    """One version of a key as the vault keeps it."""

    private: Private = field(default_factory=lambda: rsa_key(0))
    operations: tuple[str, ...] = OPERATIONS

    def item(self, kid: str) -> dict[str, Any]:
        """What the list of versions shows."""
        return {"kid": kid, "attributes": self.shown(), "tags": {}}

    def bundle(self, kid: str) -> dict[str, Any]:
        """What Get Key answers: the public half."""
        key = {"kid": kid, "key_ops": list(self.operations), **public_jwk(self.private)}
        return {"key": key, "attributes": self.shown(), "tags": {}}

    def unwrap(self, kid: str, sent: Mapping[str, Any]) -> Answer:
        """What Unwrap Key answers."""
        if not self.enabled:
            return refusal(403, "Forbidden", "Operation unwrapKey is not allowed on a disabled key.", "KeyDisabled")
        if "unwrapKey" not in self.operations:
            return refusal(403, "Forbidden", "Operation unwrapKey is not permitted on this key.")
        if sent.get("alg") != "RSA-OAEP-256" or not isinstance(self.private, RSAPrivateKey):
            return refusal(400, "BadParameter", "Key and algorithm are incompatible.")
        try:
            value = decoded(sent["value"])
        except (KeyError, binascii.Error):
            return refusal(400, "BadParameter", "Content of 'value' is not base64url.")
        try:
            return Answer(200, {"kid": kid, "value": encoded(self.private.decrypt(value, PADDING))})
        except ValueError:
            return refusal(400, "BadParameter", "Error occurred while decoding OAEP padding.")


def new_version(number: int, now: int, private: Private | None, operations: tuple[str, ...]) -> KeyVersion:
    made = private or rsa_key(number)
    return KeyVersion(secrets.token_hex(16), now, now, private=made, operations=operations)


def public_jwk(key: Private) -> dict[str, str]:
    if isinstance(key, RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    point = key.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": number(point.x), "y": number(point.y)}


def private_jwk(key: RSAPrivateKey) -> dict[str, Any]:
    """For the SDK's own cryptography: numbers as bytes."""
    numbers = key.private_numbers()
    held = {
        "n": numbers.public_numbers.n,
        "e": numbers.public_numbers.e,
        "d": numbers.d,
        "p": numbers.p,
        "q": numbers.q,
    }
    shown = {name: value.to_bytes((value.bit_length() + 7) // 8) for name, value in held.items()}
    return {"kid": "https://v.vault.azure.net/keys/k/1", "kty": "RSA", "key_ops": list(OPERATIONS), **shown}


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
