"""The production adapter of key wrapping: Azure Key Vault.

The vault holds one RSA key, KEY. The data key of a person is wrapped (RSA-OAEP-256) under its newest version that is
enabled, has begun and has not expired. Wrapping takes the public half alone, so it happens here; unwrapping is asked of
the vault, which keeps the private half, and names the version, newest or not.

A new version wraps as soon as an instance sees it, within LOOK_AFTER. It need not settle as secrets do (docs/adr/0011):
an instance that never heard of a version can still ask the vault to unwrap with it.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyOperation, KeyType, KeyVaultKey
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import KeyWrapAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient

from shared.core.clock import Clock
from shared.core.deadline import remaining
from shared.privacy._held_versions import KEEP_FOR, LOAD_SECONDS, HeldVersions, Loaded
from shared.privacy._vault import VERSION, Connection, asking, counting, id_of, version_of
from shared.privacy.key_wrapping import KeyDamaged, Wrapped
from shared.privacy.secrets import SecretsError, SecretsUnreached, SecretVersion
from shared.telemetry import get_log

if TYPE_CHECKING:  # cold start
    from cryptography.hazmat.primitives.asymmetric.padding import OAEP
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

KEY = "kraftd-persons"
LEAST_BITS = 2048
LOOK_AFTER = timedelta(minutes=10)
_SIZES = frozenset({256, 384, 512})
"""Bytes of what an RSA key of the vault wraps: keys there have 2048, 3072 or 4096 bits."""
_OPERATIONS = frozenset({KeyOperation.wrap_key, KeyOperation.unwrap_key})
_MOST_CLIENTS = 20
_RETRIED = frozenset({"GET", "POST"})  # unwrapping twice does no harm
_WHAT = f"key {KEY}"

_log = get_log(__name__)


class VaultKeys:
    """A key-encryption key in a vault; `_held_versions` says when it is asked for versions.

    `identity` as in `Connection`. `credential`, `load_seconds` and `options` (of the SDK's client) are for tests: no
    setting leads to them. Nothing is asked of the vault yet. ValueError for a URI that is not safe to use.
    """

    def __init__(
        self,
        uri: str,
        *,
        clock: Clock,
        identity: str | None = None,
        credential: AsyncTokenCredential | None = None,
        load_seconds: float = LOAD_SECONDS,
        **options: Any,
    ) -> None:
        self._connection = Connection(KeyClient, uri, identity, credential, options)
        self._clock = clock
        self._load_seconds = load_seconds
        self._closed = False
        self._unwrapping: dict[str, CryptographyClient] = {}
        self._unfit: set[str] = set()
        self._held = HeldVersions(
            KEY, self._load, VERSION, clock, load_seconds, kind="key", ask_after=LOOK_AFTER, fresh_for=LOOK_AFTER
        )

    async def wrap(self, key: bytes) -> Wrapped:
        """Wrap under the newest version; the key does not leave the process. SecretsError when there is none."""
        version = (await self._held.usable())[0]
        return Wrapped(version.version, _public_key(version.value).encrypt(key, _padding()))

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """What the vault unwraps with the version that is named. SecretsError also when that is disabled or gone."""
        if not VERSION.fullmatch(wrapped.kek):
            raise SecretsError(f"{_WHAT}: the version that a person's key is wrapped under is not there")
        if len(wrapped.key) not in _SIZES:
            raise KeyDamaged("a person's key does not unwrap")
        try:
            async with asyncio.timeout(remaining(self._load_seconds)):
                with asking(_WHAT):
                    return await self._ask(wrapped)
        except TimeoutError:
            raise SecretsUnreached(f"{_WHAT}: no answer in time") from None

    async def is_current(self, kek: str) -> bool:
        """Whether it is the version that `wrap` takes."""
        return (await self._held.usable())[0].version == kek

    async def close(self) -> None:
        """Let go of connections and of the credential. Nothing is asked of the vault any more."""
        self._closed = True
        await self._held.close()
        await self._connection.close()

    def _connected(self) -> KeyClient:
        if self._closed:
            raise SecretsError(f"{_WHAT}: the app is shutting down")
        return self._connection.client()

    async def _ask(self, wrapped: Wrapped) -> bytes:
        try:
            client = self._client_of(wrapped.kek)
            answer = await client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.key, retry_on_methods=_RETRIED)
        except HttpResponseError as error:
            if error.status_code == 400 and error.error is not None and error.error.code == "BadParameter":
                raise KeyDamaged("a person's key does not unwrap") from None
            raise
        if not isinstance(answer.key, bytes) or not answer.key:
            raise SecretsError(f"{_WHAT}: the vault answered nothing")
        return answer.key

    def _client_of(self, version: str) -> CryptographyClient:
        """The SDK's client of a version, over our own connections; it asks for the public half once, then keeps it."""
        connected = self._connected()
        if version not in self._unwrapping:
            if len(self._unwrapping) >= _MOST_CLIENTS:
                self._unwrapping.clear()
            self._unwrapping[version] = connected.get_cryptography_client(KEY, key_version=version)
        return self._unwrapping[version]

    async def _load(self, known: Mapping[str, SecretVersion] | None, _wanted: str | None) -> Loaded:
        """The versions to wrap under, now or before we ask again: all down to the newest that can be used all along."""
        held: list[SecretVersion] = []
        now = self._clock.now()
        with asking(_WHAT):
            listed = await counting(self._connected().list_properties_of_key_versions(KEY), now)
            for each in listed:
                before = (known or {}).get(id_of(each))
                public = await self._fetch(id_of(each)) if before is None else before.value
                if public is not None:
                    held.append(version_of(each, public))
                    if held[-1].is_usable(now) and (each.expires_on is None or each.expires_on > now + KEEP_FOR):
                        break
        if not held and listed:
            raise SecretsError(f"{_WHAT}: no version is an RSA key of {LEAST_BITS} bits or more that wraps and unwraps")
        return Loaded(tuple(held))

    async def _fetch(self, version: str) -> bytes | None:
        """The public half of a version; None, with an error in the log the first time, when it is not fit for use."""
        public = _public(await self._connected().get_key(KEY, version))
        if public is None and version not in self._unfit:
            self._unfit.add(version)
            _log.error(
                "key_version_passed_over", root=KEY, version=version, why="not RSA, or too short, or not to wrap"
            )
        return public


def _public(key: KeyVaultKey) -> bytes | None:
    """The public half (SubjectPublicKeyInfo, DER) of an RSA key that is long enough and may wrap and unwrap."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if key.key_type not in (KeyType.rsa, KeyType.rsa_hsm) or not set(key.key_operations) >= _OPERATIONS:
        return None
    numbers = RSAPublicNumbers(*(int.from_bytes(each) for each in (key.key.e, key.key.n)))  # type: ignore[attr-defined]
    if numbers.n.bit_length() < LEAST_BITS:
        return None
    return numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_key(der: bytes) -> "RSAPublicKey":
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    return cast("RSAPublicKey", load_der_public_key(der))


def _padding() -> "OAEP":
    """RSA-OAEP-256 of JSON Web Algorithms (RFC 7518, 4.3): SHA-256 for the digest and for MGF1, no label."""
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.hashes import SHA256

    return OAEP(MGF1(SHA256()), SHA256(), None)
