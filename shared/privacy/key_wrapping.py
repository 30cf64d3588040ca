"""Wrapping the data keys of persons under a key-encryption key, which never leaves where it lives.

Adapters: `vault_keys.VaultKeys` in Azure (Key Vault wraps and unwraps), `LocalKeys` for the embedded default.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from shared.core.clock import Clock
from shared.privacy.secrets import SecretsError, SecretsPort, signing_version


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A wrapped key, and the name of the key-encryption key that opens it."""

    kek: str
    key: bytes = field(repr=False)


class KeyWrapper(Protocol):
    """Holds key-encryption keys. Every call may raise SecretsError (503): the key cannot be had now."""

    async def wrap(self, key: bytes) -> Wrapped:
        """Wrap a data key under the current key-encryption key."""
        ...

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """The data key. KeyDamaged when it is not what was wrapped; SecretsUnreached when nobody answers now."""
        ...

    async def is_current(self, kek: str) -> bool:
        """Whether new keys are wrapped under this one now."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class KeyDamaged(ValueError):
    """What is stored of a data key is not what was wrapped: it was changed."""


class LocalKeys:
    """RFC 3394 (AES key wrap) under versions of the root secret `persons`, which is a file of mode 0600."""

    def __init__(self, secrets: SecretsPort, clock: Clock) -> None:
        self._secrets = secrets
        self._clock = clock

    async def wrap(self, key: bytes) -> Wrapped:
        """Wrap under the version that every instance knows."""
        from cryptography.hazmat.primitives.keywrap import aes_key_wrap

        version = signing_version(await self._secrets.versions("persons"), self._clock.now(), timedelta(0))
        return Wrapped(version.version, aes_key_wrap(version.value, key))

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """Unwrap under the version that is named."""
        from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

        version = await self._secrets.find("persons", wrapped.kek)
        if version is None:
            raise SecretsError("secret persons: the version that a person's key is wrapped under is not there")
        try:
            return aes_key_unwrap(version.value, wrapped.key)
        except InvalidUnwrap:
            raise KeyDamaged("a person's key does not unwrap") from None

    async def is_current(self, kek: str) -> bool:
        """Whether it is the version that `wrap` takes."""
        versions = await self._secrets.versions("persons")
        return signing_version(versions, self._clock.now(), timedelta(0)).version == kek

    async def close(self) -> None:
        """The secrets are somebody else's to close."""
