"""Secrets that name what they open: `<kind>_<tenant>.<record>.<secret>`, stored as a hash.

The public part names tenant and record, so that looking one up is one point read. The secret has 256 random bits: a
plain hash is enough, and there is nothing to guess.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.storage.documents import Item

INVITATION, API_KEY = "ki", "kak"
_FORM = re.compile(
    r"(?P<kind>[a-z]{2,3})_(?P<tenant>platform|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"\.(?P<record>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?P<secret>[A-Za-z0-9_-]{43})"
)


@dataclass(frozen=True, slots=True)
class SecretLink:
    """One secret, read: whose it says it is."""

    tenant_id: str
    record_id: str
    secret: str = field(repr=False)

    def opens(self, item: Item) -> bool:
        """Whether it is the secret whose hash the item holds."""
        return hmac.compare_digest(hash_of(self.secret), item["secret_hash"])


def new_secret(
    kind: str, tenant_id: str, record_id: str, random_text: Callable[[int], str] = secrets.token_urlsafe
) -> tuple[str, str]:
    """A new secret as it is shown once, and the hash to store."""
    secret = random_text(32)
    return f"{kind}_{tenant_id}.{record_id}.{secret}", hash_of(secret)


def read_secret(kind: str, text: str) -> SecretLink | None:
    """A secret as somebody gave it; None for what cannot be one of this kind."""
    found = _FORM.fullmatch(text)
    if found is None or found["kind"] != kind:
        return None
    return SecretLink(found["tenant"], found["record"], found["secret"])


def hash_of(secret: str) -> str:
    """What is stored of a random secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
