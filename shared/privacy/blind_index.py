"""Blind index: keyed hashes that let equal values be found without storing the values.

HMAC-SHA256 under a key of its own per tenant and kind of value, except addresses and the e-mail directory, whose keys
are deployment-wide (an attacker's address has to be recognized across tenants, an e-mail signs in before its tenant is
known). Form: `<key version>:<hex>`.
"""

import functools
import hashlib
import hmac

from shared.privacy.emails import normal_email
from shared.privacy.secrets import SecretsError, SecretsPort, SecretVersion, derive
from shared.telemetry import get_log

_log = get_log(__name__)


class BlindIndex:
    """Computes index values under one version of the `index` root secret, the one that the store was indexed under.

    That one and no other, however new: values under another one would meet nothing that is stored. SecretsError
    (503) from every call while it is not to be had.
    """

    def __init__(self, secrets: SecretsPort, version: str) -> None:
        self._secrets = secrets
        self._version = version
        self._warned = False

    @property
    def version(self) -> str:
        """The version of the root secret that the store holds on to."""
        return self._version

    async def for_email(self, tenant_id: str, email: str) -> str:
        """The index value of an e-mail within one tenant, the same for every spelling of its normal form."""
        return _keyed(await self.root(), f"blind-index/tenant/{tenant_id}/email", normal_email(email))

    async def for_user_agent(self, tenant_id: str, user_agent: str) -> str:
        """The index value of a user agent within one tenant."""
        return _keyed(await self.root(), f"blind-index/tenant/{tenant_id}/user_agent", user_agent)

    async def for_address(self, address: str) -> str:
        """The index value of an IP address, the same in every tenant."""
        return _keyed(await self.root(), "blind-index/address", address)

    async def for_directory(self, email: str) -> str:
        """The index value of an e-mail in the directory, the same in every tenant."""
        return _keyed(await self.root(), "blind-index/directory", normal_email(email))

    async def for_operator(self, name: str) -> str:
        """An opaque id for an operator, the same in every tenant: who did two things can be told without a name."""
        return f"operator-{_keyed(await self.root(), 'blind-index/operator', name).rpartition(':')[2][:32]}"

    async def check(self) -> None:
        """SecretsError unless values can be computed."""
        await self.root()

    async def root(self) -> SecretVersion:
        """The version itself, for other keys that must stay as long as the store's values do."""
        newest = (await self._secrets.versions("index"))[0]
        if newest.version == self._version:
            return newest
        if not self._warned:
            self._warned = True
            _log.warning("index_secret_version_ignored", newest=newest.version, used=self._version)
        found = await self._secrets.find("index", self._version)
        if found is None:
            raise missing_index(self._version)
        return found


def missing_index(version: str) -> SecretsError:
    """The error when the version that the store was indexed under is not to be had."""
    return SecretsError(
        f"secret index: the data was indexed under version {version}, which is not there, or disabled, or expired; "
        "put that one back. No other version can take its place."
    )


@functools.lru_cache(maxsize=4096)
def _keyed(root: SecretVersion, label: str, value: str) -> str:
    return f"{root.version}:{hmac.digest(derive(root.value, label), value.encode(), hashlib.sha256).hex()}"
