"""Blind index: keyed hashes that let equal values be found without storing the values.

HMAC-SHA256 under a key of its own per tenant and kind of value, except addresses and the e-mail directory, whose keys
are deployment-wide (an attacker's address has to be recognized across tenants, an e-mail signs in before its tenant is
known). Form: `<key version>:<hex>`.
"""

import hashlib
import hmac
from typing import Literal

from shared.privacy.secrets import SecretsPort, SecretVersion, derive

type TenantKind = Literal["email", "user_agent"]


class BlindIndex:
    """Computes index values under the newest version of the `index` root secret."""

    def __init__(self, secrets: SecretsPort) -> None:
        self._secrets = secrets

    async def for_tenant(self, tenant_id: str, kind: TenantKind, value: str) -> str:
        """The index value of `value` within one tenant."""
        return _keyed(await self._newest(), f"blind-index/tenant/{tenant_id}/{kind}", value)

    async def for_address(self, address: str) -> str:
        """The index value of an IP address, the same in every tenant."""
        return _keyed(await self._newest(), "blind-index/address", address)

    async def for_directory(self, email: str) -> str:
        """The index value of a normalized e-mail in the directory, the same in every tenant."""
        return _keyed(await self._newest(), "blind-index/directory", email)

    async def _newest(self) -> SecretVersion:
        return (await self._secrets.versions("index"))[0]


def _keyed(root: SecretVersion, label: str, value: str) -> str:
    digest = hmac.new(derive(root.value, label), value.encode(), hashlib.sha256).hexdigest()
    return f"{root.version}:{digest}"
