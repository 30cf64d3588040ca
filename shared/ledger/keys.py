"""The keys that sign checkpoints and bundles: Ed25519, one at a time for the whole deployment, under many names.

The seed is the root secret `ledger` of the secrets port, its 32 bytes as they are. Its public half is published before
it first signs, with the time, and stays published: what an old key signed is verified with it as long as that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.ledger._text import decode_base64, encode_base64
from shared.ledger.checkpoint import log_origin, shard_origin
from shared.ledger.note import Signer, VerifierKey
from shared.ledger.shards import BrokenShard
from shared.privacy.secrets import SecretsPort, SecretVersion, signing_version
from shared.storage.containers import DIRECTORY
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Unavailable

_ID = "ledger_keys"
_RACES = 10
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A public key of the deployment, and when it signed: from, and up to the next one's time (None: it signs now)."""

    version: str
    public_key: bytes
    since: datetime
    until: datetime | None


class LedgerKeys:
    """Signers and verifier keys of shards and bundles. Names begin with `ledger_origin` (LEDGER_ORIGIN)."""

    def __init__(self, secrets: SecretsPort, store: DocumentStore, clock: Clock, ledger_origin: str) -> None:
        self._secrets = secrets
        self._store = store
        self._clock = clock
        self._origin = ledger_origin
        self._known: set[str] = set()

    def shard(self, tenant_id: str, period: str) -> str:
        """The origin of a shard, which is the name of what signs it. CheckpointError when a part of it cannot be."""
        return shard_origin(self._origin, tenant_id, period)

    def log(self, tenant_id: str) -> str:
        """What the origins of a tenant's shards begin with."""
        return log_origin(self._origin, tenant_id)

    async def signer(self, name: str) -> Signer:
        """What signs under a name now; its key is published. SecretsError, StoreError, BrokenShard."""
        version = signing_version(await self._secrets.versions("ledger"), self._clock.now(), timedelta(0))
        signer = Signer(name, version.value)
        if version.version not in self._known:
            await self._publish(version, signer.verifier.public_key)
            self._known.add(version.version)
        return signer

    async def verifiers(self, name: str) -> list[VerifierKey]:
        """Every key that has signed, under a name; the newest first. StoreError, BrokenShard."""
        return [VerifierKey(name, key.public_key) for key in await self.published()]

    async def published(self) -> list[PublishedKey]:
        """Every key that has signed, the newest first. StoreError; BrokenShard: their list is not as we write it."""
        held = (await self._held())["keys"]
        ends = [*(parse_rfc3339(each["since"]) for each in held[1:]), None][: len(held)]
        keys = [
            PublishedKey(each["version"], decode_base64(each["public_key"]), parse_rfc3339(each["since"]), end)
            for each, end in zip(held, ends, strict=True)
        ]
        return keys[::-1]

    async def _publish(self, version: SecretVersion, public_key: bytes) -> None:
        """Add a key to the published ones, unless it is there."""
        own = {"version": version.version, "public_key": encode_base64(public_key)}
        for _ in range(_RACES):
            held = await self._held()
            if any(each["public_key"] == own["public_key"] for each in held["keys"]):
                return
            keys: Sequence[Item] = [*held["keys"], own | {"since": rfc3339(self._clock.now())}]
            try:
                if "_etag" in held:
                    await self._store.replace(DIRECTORY, (_ID,), {**held, "keys": keys}, held["_etag"])
                else:
                    await self._store.create(DIRECTORY, (_ID,), {**held, "keys": keys})
            except (Conflict, NotFound, PreconditionFailed):
                continue
            return
        raise Unavailable("the list of ledger keys is contended")

    async def _held(self) -> Item:
        try:
            held = await self._store.read(DIRECTORY, (_ID,), _ID)
        except NotFound:
            return {"id": _ID, "keys": []}
        if not _is_formed(held):
            raise BrokenShard("checkpoint", "the list of published keys is not as we write it")
        return held


def _is_formed(held: Item) -> bool:
    try:
        for each in held["keys"]:
            parse_rfc3339(each["since"])
            if type(each["version"]) is not str or len(decode_base64(each["public_key"])) != _KEY_BYTES:
                return False
    except (KeyError, TypeError, ValueError):
        return False
    return True
