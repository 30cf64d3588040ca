"""Blind index: keyed hashes that let equal values be found without storing the values.

HMAC-SHA256 under a key of its own per tenant and kind of value, except addresses and the e-mail directory, whose keys
are deployment-wide (an attacker's address has to be recognized across tenants, an e-mail signs in before its tenant is
known). Form: `<key version>:<hex>`.
"""

import functools
import hashlib
import hmac

from shared.privacy.emails import normal_email
from shared.privacy.secrets import SecretsPort, SecretVersion, derive


class BlindIndex:
    """Computes index values under the newest version of the `index` root secret."""

    def __init__(self, secrets: SecretsPort) -> None:
        self._secrets = secrets

    async def for_email(self, tenant_id: str, email: str) -> str:
        """The index value of an e-mail within one tenant, the same for every spelling of its normal form."""
        return _keyed(await self._newest(), f"blind-index/tenant/{tenant_id}/email", normal_email(email))

    async def for_user_agent(self, tenant_id: str, user_agent: str) -> str:
        """The index value of a user agent within one tenant."""
        return _keyed(await self._newest(), f"blind-index/tenant/{tenant_id}/user_agent", user_agent)

    async def for_address(self, address: str) -> str:
        """The index value of an IP address, the same in every tenant."""
        return _keyed(await self._newest(), "blind-index/address", address)

    async def for_directory(self, email: str) -> str:
        """The index value of an e-mail in the directory, the same in every tenant."""
        return _keyed(await self._newest(), "blind-index/directory", normal_email(email))

    async def _newest(self) -> SecretVersion:
        return (await self._secrets.versions("index"))[0]


@functools.lru_cache(maxsize=4096)
def _keyed(root: SecretVersion, label: str, value: str) -> str:
    return f"{root.version}:{hmac.digest(derive(root.value, label), value.encode(), hashlib.sha256).hex()}"
