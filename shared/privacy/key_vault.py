"""The production adapter of the secrets port: Azure Key Vault.

The vault holds one secret for each root, NAMES; the value of a version is the base64 of 32 random bytes, its name is
the version id that the vault gave it. What counts is every version that is enabled, has begun and has not expired. A
value is fetched once, for it cannot change; after that the list of versions is enough.

Rotating: `az keyvault secret set` with the same name makes a new version, which signs after SETTLING and is known
everywhere by then. Older ones verify until they expire, are disabled, or the secret is deleted (docs/secrets.md).
"""

import base64
import binascii
import secrets as random_source
from collections.abc import Mapping
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.keyvault.secrets.aio import SecretClient

from shared.core.clock import Clock
from shared.privacy._held_versions import LOAD_SECONDS, HeldVersions, Load, Loaded
from shared.privacy._vault import VERSION, Connection, asking, counting, id_of, version_of
from shared.privacy.secrets import ROOT_BYTES, ROOTS, RootName, SecretsError, SecretVersion
from shared.telemetry import get_log

NAMES: Mapping[RootName, str] = {
    "tokens": "kraftd-tokens",
    "index": "kraftd-index",
    "ledger": "kraftd-ledger",
}
MAX_HELD = 10
"""Values fetched of the newest versions without being asked; of an older one, when a token or the store names it."""

_log = get_log(__name__)


class KeyVaultSecrets:
    """Root secrets in a vault; `_held_versions` says when it is asked.

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
        self._connection = Connection(SecretClient, uri, identity, credential, options)
        self._clock = clock
        self._malformed: set[str] = set()
        self._held = {
            root: HeldVersions(name, self._loader(name), VERSION, clock, load_seconds) for root, name in NAMES.items()
        }

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        """The usable versions that are held, newest first. SecretsError, also an hour after the vault fell silent."""
        return await self._held[name].usable()

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        """The usable version of that id, asked for if need be. SecretsError when the vault cannot be asked."""
        return await self._held[name].find(version)

    async def rotate(self, name: RootName) -> str:
        """Add a version in the vault; its id. It takes the right to set secrets, which the app itself need not have."""
        if name == "persons":
            raise ValueError("kraftd-persons is a key of the vault: rotate it there, then run rewrap")
        value = base64.b64encode(random_source.token_bytes(ROOT_BYTES)).decode()
        with asking(f"secret {NAMES[name]}"):
            made = await self._connection.client().set_secret(NAMES[name], value)
        await self._held[name].renew()
        return made.properties.version or ""

    async def close(self) -> None:
        """Let go of connections and of the credential."""
        for root in ROOTS:
            await self._held[root].close()
        await self._connection.close()

    def _loader(self, name: str) -> Load:
        async def load(known: Mapping[str, SecretVersion] | None, wanted: str | None) -> Loaded:
            with asking(f"secret {name}"):
                return await self._ask(name, known or {}, wanted)

        return load

    async def _ask(self, name: str, known: Mapping[str, SecretVersion], wanted: str | None) -> Loaded:
        listed = await counting(self._connection.client().list_properties_of_secret_versions(name), self._clock.now())
        chosen = [
            each for i, each in enumerate(listed) if i < MAX_HELD or id_of(each) in known or id_of(each) == wanted
        ]
        values = await self._fetch(name, [id_of(each) for each in chosen if id_of(each) not in known])
        values |= {version: held.value for version, held in known.items()}
        held = tuple(version_of(each, values[id_of(each)]) for each in chosen if id_of(each) in values)
        wrong = [id_of(each) for each in listed if id_of(each) in self._malformed]
        if wrong and not held:
            raise SecretsError(f"secret {name}: version {wrong[0]} must be the base64 of {ROOT_BYTES} bytes")
        return Loaded(held, frozenset(id_of(each) for each in listed) - values.keys() - set(wrong))

    async def _fetch(self, name: str, versions: list[str]) -> dict[str, bytes]:
        """Values by version. A malformed one is passed over, with an error in the log the first time."""
        client = self._connection.client()
        asked = [version for version in versions if version not in self._malformed]
        values: dict[str, bytes] = {}
        for version in asked:
            value = _decoded((await client.get_secret(name, version)).value or "")
            if value is None:
                self._malformed.add(version)
                _log.error("secret_version_passed_over", root=name, version=version, why="not base64 of 32 bytes")
            else:
                values[version] = value
        return values


def _decoded(text: str) -> bytes | None:
    """The bytes of a root secret; None for anything else. White space around it is a pasted line's."""
    try:
        value = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == ROOT_BYTES else None
