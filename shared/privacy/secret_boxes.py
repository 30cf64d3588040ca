"""Small secrets of tenants at rest: what the app itself has to read again, unlike passwords and tokens.

AES-256-GCM under a key of its own per kind and tenant, derived from the `index` root secret: the version that the store
writes under (docs/adr/0052), for its versions stay until nothing needs them. Each box names its version.
"""

import base64
import secrets as random_source
from collections.abc import Callable
from typing import Literal

from shared.privacy.blind_index import BlindIndex, index_secret
from shared.privacy.secrets import SecretsError, SecretsPort, SecretVersion, derive

type Kind = Literal["mfa", "webhook"]
type SecretBox = dict[str, str]

_NONCE_BYTES = 12


class SecretBoxes:
    """Seals and opens. SecretsError (503) while the key is not to be had.

    `version`: the index whose version is to seal; or one for good, by its name.
    """

    def __init__(
        self,
        secrets: SecretsPort,
        version: BlindIndex | str,
        random_bytes: Callable[[int], bytes] = random_source.token_bytes,
    ) -> None:
        self._secrets = secrets
        self._version = version
        self._random_bytes = random_bytes

    async def seal(self, kind: Kind, tenant_id: str, owner: str, value: str) -> SecretBox:
        """A box (JSON) that opens only for the same kind, tenant and owner."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        root, nonce = await self._current(), self._random_bytes(_NONCE_BYTES)
        sealed = AESGCM(_key(root, kind, tenant_id)).encrypt(nonce, value.encode(), _bound_to(tenant_id, owner))
        return {"key": root.version, "nonce": _text(nonce), "sealed": _text(sealed)}

    async def open(self, kind: Kind, tenant_id: str, owner: str, box: SecretBox) -> str:
        """What is in a box. SecretsError, too, for one that was changed, or made for somebody else."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        root = await index_secret(self._secrets, box["key"])
        nonce, sealed = base64.b64decode(box["nonce"]), base64.b64decode(box["sealed"])
        try:
            value = AESGCM(_key(root, kind, tenant_id)).decrypt(nonce, sealed, _bound_to(tenant_id, owner))
        except InvalidTag:
            raise SecretsError(f"a sealed secret ({kind}) does not open: it was changed, or moved") from None
        return value.decode()

    async def renewed(self, kind: Kind, tenant_id: str, owner: str, box: SecretBox) -> SecretBox:
        """The same secret in a box under the current version; the box itself if it is under that one."""
        if box["key"] == (await self._current()).version:
            return box
        return await self.seal(kind, tenant_id, owner, await self.open(kind, tenant_id, owner, box))

    async def _current(self) -> SecretVersion:
        version = self._version
        return await (index_secret(self._secrets, version) if isinstance(version, str) else version.root())


def _key(root: SecretVersion, kind: Kind, tenant_id: str) -> bytes:
    return derive(root.value, f"{kind}-secret/{tenant_id}")


def _bound_to(tenant_id: str, owner: str) -> bytes:
    return f"{tenant_id}|{owner}".encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
