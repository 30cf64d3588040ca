"""Signatures of Standard Webhooks, version 1: HMAC-SHA256 over `id.timestamp.payload`, the payload before compression.

Source: the Standard Webhooks specification, "Symmetric keys".
"""

import base64
import binascii
import hashlib
import hmac
import secrets as random_source
from collections.abc import Callable, Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32
_LEAST, _MOST = 24, 64
"""Bytes that the specification wants of a secret."""


def new_secret(random_bytes: Callable[[int], bytes] = random_source.token_bytes) -> str:
    """A secret as it is handed out: `whsec_` and base64."""
    return PREFIX + base64.b64encode(random_bytes(SECRET_BYTES)).decode()


def read_secret(text: str) -> bytes:
    """The bytes of a secret. ValueError unless it is `whsec_` and base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if not text.startswith(PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise ValueError(f"a secret is {PREFIX} and the base64 of {_LEAST} to {_MOST} bytes")
    return key


def signature(key: bytes, message_id: str, timestamp: int, payload: bytes) -> str:
    """One signature, `v1,<base64>`. `timestamp`: seconds since 1970."""
    signed = f"{message_id}.{timestamp}.".encode() + payload
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(keys: Iterable[bytes], message_id: str, timestamp: int, payload: bytes) -> dict[str, str]:
    """The three headers; one signature for each key."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, message_id, timestamp, payload) for key in keys),
    }
