"""Blind index: keyed hashes that let equal values be found without storing the values.

HMAC-SHA256 under a key of its own per tenant and kind of value, except addresses and the e-mail directory, whose keys
are deployment-wide (an attacker's address has to be recognized across tenants, an e-mail signs in before its tenant is
known). Form: `<key version>:<hex>`.
"""

import functools
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

from shared.privacy.emails import normal_email
from shared.privacy.index_versions import IndexVersions, KeptVersion, Ring
from shared.privacy.secrets import SecretsError, SecretsPort, SecretVersion, derive
from shared.telemetry import get_log

_ADDRESS, _DIRECTORY = "blind-index/address", "blind-index/directory"

_log = get_log(__name__)


class BlindIndex:
    """Computes index values under the versions of the `index` root secret that the store was indexed under.

    Those and no others, however new: values under another one would meet nothing that is stored. `for_…` is what is
    written now; `every_…` is what may stand in the store, the newest first. SecretsError (503) from every call while a
    version that it needs is not to be had; StoreError while nobody can tell which versions these are.
    """

    def __init__(self, secrets: SecretsPort, versions: IndexVersions | str) -> None:
        """`versions`: those of a store; or one and only one, by its name."""
        self._secrets = secrets
        self._versions = None if isinstance(versions, str) else versions
        self._fixed = Ring((KeptVersion(versions),)) if isinstance(versions, str) else None
        self._warned = False

    @property
    def versions(self) -> IndexVersions:
        """The store's versions, for whoever changes them. ValueError where there is one for good."""
        if self._versions is None:
            raise ValueError("this index has one version for good")
        return self._versions

    async def ring(self) -> Ring:
        """The versions that are kept."""
        return self._fixed if self._fixed is not None else await self.versions.ring()

    async def written(self) -> "Written":
        """The index values that are written now, for whoever needs several."""
        return Written(await self.root())

    async def for_email(self, tenant_id: str, email: str) -> str:
        """The index value of an e-mail within one tenant, the same for every spelling of its normal form."""
        return (await self.written()).email(tenant_id, email)

    async def every_email(self, tenant_id: str, email: str) -> tuple[str, ...]:
        """All index values that events of one tenant may have for an e-mail."""
        return await self._every(_email_label(tenant_id), normal_email(email))

    async def for_user_agent(self, tenant_id: str, user_agent: str) -> str:
        """The index value of a user agent within one tenant."""
        return (await self.written()).user_agent(tenant_id, user_agent)

    async def for_address(self, address: str, at: datetime | None = None) -> str:
        """The index value of an IP address, the same in every tenant: as written now, or at a moment."""
        return Written(await self.root(at)).address(address)

    async def every_address(self, address: str) -> tuple[str, ...]:
        """All index values that events may have for an IP address."""
        return await self._every(_ADDRESS, address)

    async def for_directory(self, email: str) -> str:
        """The index value of an e-mail outside of any tenant, the same in every tenant."""
        return _keyed(await self.root(), _DIRECTORY, normal_email(email))

    async def in_directory(self, email: str) -> tuple[str, ...]:
        """The index values that the directory knows an e-mail by, the oldest first: one, or two during a rotation."""
        ring = await self.ring()
        return await self._under(ring.directory, _DIRECTORY, normal_email(email))

    async def every_directory(self, email: str) -> tuple[str, ...]:
        """All index values that the directory may still have for an e-mail, those that count no more included."""
        return await self._every(_DIRECTORY, normal_email(email))

    async def for_operator(self, name: str) -> str:
        """An opaque id for an operator, the same in every tenant: who did two things can be told without a name."""
        return f"operator-{_keyed(await self.root(), 'blind-index/operator', name).rpartition(':')[2][:32]}"

    async def check(self) -> None:
        """SecretsError unless values can be computed under every version that we know of. The store is not asked."""
        for version in (self._fixed or self.versions.held).versions:
            await self.secret(version)

    async def root(self, at: datetime | None = None) -> SecretVersion:
        """The version that is written under, now or at a moment, for other keys that go with the store's values."""
        ring = await self.ring()
        if len(ring.kept) == 1:
            version = ring.newest.version
        else:
            version = ring.written(self.versions.now() if at is None else at)
        await self._warn_of_newer(ring)
        return await self.secret(version)

    async def _every(self, label: str, value: str) -> tuple[str, ...]:
        return await self._under(tuple(reversed((await self.ring()).versions)), label, value)

    async def _under(self, versions: tuple[str, ...], label: str, value: str) -> tuple[str, ...]:
        return tuple([_keyed(await self.secret(version), label, value) for version in versions])

    async def _warn_of_newer(self, ring: Ring) -> None:
        newest = (await self._secrets.versions("index"))[0].version
        named = ring.versions if self._versions is None else self._versions.named
        if newest not in named and not self._warned:
            self._warned = True
            _log.warning("index_secret_version_ignored", newest=newest, used=ring.newest.version)

    async def secret(self, version: str) -> SecretVersion:
        """One version of the root secret."""
        return await index_secret(self._secrets, version)


@dataclass(frozen=True, slots=True)
class Written:
    """The index values under one version of the root secret."""

    root: SecretVersion

    def email(self, tenant_id: str, email: str) -> str:
        """As `for_email`."""
        return _keyed(self.root, _email_label(tenant_id), normal_email(email))

    def user_agent(self, tenant_id: str, user_agent: str) -> str:
        """As `for_user_agent`."""
        return _keyed(self.root, f"blind-index/tenant/{tenant_id}/user_agent", user_agent)

    def address(self, address: str) -> str:
        """As `for_address`."""
        return _keyed(self.root, _ADDRESS, address)


def _email_label(tenant_id: str) -> str:
    return f"blind-index/tenant/{tenant_id}/email"


async def index_secret(secrets: SecretsPort, version: str) -> SecretVersion:
    """A version of the root secret that the store was indexed under. SecretsError when it is not to be had."""
    found = await secrets.find("index", version)
    if found is None:
        raise missing_index(version)
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
