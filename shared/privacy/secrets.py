"""The secrets port, what it promises, and the keys that derive from root secrets.

Every key is HKDF-SHA256 (RFC 5869) of one versioned root secret, with a label that names its one use. Adapters:
`key_vault.KeyVaultSecrets` in Azure, `file_secrets.FileSecrets` on a disk, `MemorySecrets` for a process.
"""

import functools
import secrets as random_source
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, runtime_checkable

from shared.core.errors import Unready

type RootName = Literal["tokens", "index", "ledger", "persons"]
ROOTS: tuple[RootName, ...] = ("tokens", "index", "ledger")
LOCAL_ROOTS: tuple[RootName, ...] = (*ROOTS, "persons")
"""Those of the embedded adapters: `persons` is the key-encryption key, which in Azure never leaves the vault."""
ROOT_BYTES = 32
SETTLING = timedelta(seconds=150)
"""How long a new version only verifies: until every instance must have seen it (docs/adr/0011)."""


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version of a root secret. Its value never shows in a repr, and never changes; all the rest may.

    `changed_at`: when it was made, or last changed; `not_before`, `expires_at`: when it begins and ends. None: always.
    """

    version: str
    value: bytes = field(repr=False)
    changed_at: datetime | None = field(default=None, compare=False)
    not_before: datetime | None = field(default=None, compare=False)
    expires_at: datetime | None = field(default=None, compare=False)

    def is_usable(self, now: datetime) -> bool:
        """Whether it has begun and not ended."""
        begun = self.not_before is None or self.not_before <= now
        return begun and (self.expires_at is None or now < self.expires_at)

    def is_settled(self, now: datetime) -> bool:
        """Whether every instance knows it as it is now."""
        return all(moment is None or moment <= now - SETTLING for moment in (self.changed_at, self.not_before))


class SecretsError(Unready):
    """A secret is missing, unreadable or open to others, or nobody can tell. The text names it, never its value.

    Callers of the API get 503 `secrets_unavailable` and not this text.
    """

    def __init__(self, message: str) -> None:
        super().__init__("secrets_unavailable", "The app cannot get at its keys now.", retry_after_seconds=5)
        self._message = message

    def __str__(self) -> str:
        return self._message


class SecretsUnreached(SecretsError):
    """Nobody could be asked: no answer, or not now. It says nothing of what was known before."""


class SecretsPort(Protocol):
    """Where root secrets live. Answers come from memory where they can, and are asked for anew within two minutes."""

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        """The usable versions that are held, newest first (at least one). SecretsError when there is none to be had."""
        ...

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        """One usable version. What is not held is looked for, at most once in ten seconds; None: there is none such.

        SecretsError when that could not be found out. Text that no version can be called is None at once.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. What is held goes on being answered, nothing is asked for any more."""
        ...


@runtime_checkable
class RotatableSecrets(Protocol):
    """An adapter whose secrets an operator can rotate through it."""

    async def rotate(self, name: RootName) -> str:
        """Add a version with a value of its own; its name. Instances see it by themselves. SecretsError when it cannot
        be written; ValueError for a root that is rotated elsewhere."""
        ...


class MemorySecrets:
    """Root secrets that live as long as the process: for `:memory:` stores. They cannot be rotated."""

    def __init__(self, random_bytes: Callable[[int], bytes] = random_source.token_bytes) -> None:
        self._held = {name: (SecretVersion("v1", random_bytes(ROOT_BYTES)),) for name in LOCAL_ROOTS}

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        """The one version of this process."""
        return self._held[name]

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        """The one version, if it is called so."""
        (only,) = self._held[name]
        return only if only.version == version else None

    async def close(self) -> None:
        """Nothing to let go of."""


def signing_version(versions: Sequence[SecretVersion], now: datetime, lifetime: timedelta) -> SecretVersion:
    """Of all usable versions (newest first), the one to sign with what has to verify everywhere for `lifetime`.

    The newest that is settled and does not end before what it signs. If none is both: the oldest that does not end, for
    most instances know it; if all end, the newest settled one.
    """
    lasting = [each for each in versions if each.expires_at is None or each.expires_at >= now + lifetime]
    candidates = lasting or versions
    settled = [each for each in candidates if each.is_settled(now)]
    return settled[0] if settled else candidates[-1]


@functools.lru_cache(maxsize=4096)
def derive(root: bytes, label: str, length: int = 32) -> bytes:
    """HKDF-SHA256 of a root secret under a label such as `access-token` or `blind-index/<tenant>`."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=length, salt=None, info=f"kraftd/{label}".encode()).derive(root)
