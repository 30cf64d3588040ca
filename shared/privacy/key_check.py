"""Which versions of the `index` secret the store was indexed under, and a check that ours are the same.

The directory and every blind-index value are keyed hashes: under another key no e-mail would be found, accounts would
be orphaned and their e-mails free to be registered again. So the store keeps the versions' names with a value that only
the right key gives: those versions are used and no other, and the app does not start without them (docs/adr/0009,
0052).

The key that wraps persons' keys is held on to in the same way, by a key of nobody's that is wrapped under it: under
another one everything personal would look damaged. That one may be rotated, so `rewrap` wraps it anew.
"""

import base64
import binascii
import hashlib
import hmac

from shared.core.clock import Clock
from shared.privacy.blind_index import BlindIndex, missing_index
from shared.privacy.index_versions import ITEM, IndexVersions, KeptVersion, Ring, check_value
from shared.privacy.key_wrapping import KeyDamaged, KeyWrapper, Wrapped
from shared.privacy.secrets import SecretsError, SecretsPort, SecretVersion
from shared.storage.containers import DIRECTORY
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.telemetry import get_log

_PERSONS_ID = "key_check|persons"
_OF_NOBODY = hashlib.sha256(b"kraftd/persons/key-check").digest()

_log = get_log(__name__)


async def open_index(store: DocumentStore, secrets: SecretsPort, clock: Clock) -> BlindIndex:
    """The index of a store, under the versions that it was indexed under. SecretsError as for `pin_index`."""
    return BlindIndex(secrets, IndexVersions(store, clock, await pin_index(store, secrets)))


async def pin_index(store: DocumentStore, secrets: SecretsPort) -> Ring:
    """The versions that the store was indexed under; a new store takes the newest, once for all instances.

    SecretsError when one of them is not to be had, or is another secret of the same name.
    """
    try:
        held = await store.read(DIRECTORY, (ITEM,), ITEM)
    except NotFound:
        held = await _take(store, (await secrets.versions("index"))[0])
    ring = Ring.of(held)
    for each in ring.kept:
        await _check(each, secrets)
    return ring


async def _check(kept: KeptVersion, secrets: SecretsPort) -> None:
    root = await secrets.find("index", kept.version)
    if root is None:
        _log.error("index_secret_missing", version=kept.version)
        raise missing_index(kept.version)
    if not hmac.compare_digest(kept.value, check_value(root)):
        _log.error("index_secret_differs", version=kept.version)
        raise SecretsError(
            f"secret index: the data was indexed under another one ({kept.version}); put that one back. "
            "This version cannot rotate it."
        )


async def _take(store: DocumentStore, newest: SecretVersion) -> Item:
    """Bind an empty store to a version, or find that another instance did."""
    try:
        return await store.create(DIRECTORY, (ITEM,), Ring((KeptVersion(newest.version, check_value(newest)),)).item())
    except Conflict:
        return await store.read(DIRECTORY, (ITEM,), ITEM)


class PersonsPin:
    """What the store holds on to of the key that wraps persons' keys."""

    def __init__(self, store: DocumentStore, wrapper: KeyWrapper) -> None:
        self._store = store
        self._wrapper = wrapper

    async def check(self) -> None:
        """SecretsError unless what the store's keys were wrapped under is there, and the same. A new store takes the
        current version."""
        try:
            held = await self._store.read(DIRECTORY, (_PERSONS_ID,), _PERSONS_ID)
        except NotFound:
            held = await self._take()
        version = str(held.get("version"))
        try:
            is_same = await self._wrapper.unwrap(_pinned(held)) == _OF_NOBODY
        except KeyDamaged:
            is_same = False
        if not is_same:
            _log.error("persons_key_differs", version=version)
            raise SecretsError(
                f"persons' keys: those of this store were wrapped under another key than the {version} that is there; "
                "put that one back"
            )

    async def renew(self) -> None:
        """Wrap it under the current version. SecretsError as `check`."""
        await self.check()
        held = await self._store.read(DIRECTORY, (_PERSONS_ID,), _PERSONS_ID)
        if await self._wrapper.is_current(held["version"]):
            return
        try:
            await self._store.replace(DIRECTORY, (_PERSONS_ID,), await self._made(), if_match=held["_etag"])
        except PreconditionFailed:
            return  # another run did

    async def _take(self) -> Item:
        try:
            return await self._store.create(DIRECTORY, (_PERSONS_ID,), await self._made())
        except Conflict:
            return await self._store.read(DIRECTORY, (_PERSONS_ID,), _PERSONS_ID)

    async def _made(self) -> Item:
        wrapped = await self._wrapper.wrap(_OF_NOBODY)
        return {"id": _PERSONS_ID, "version": wrapped.kek, "value": base64.b64encode(wrapped.key).decode()}


def _pinned(held: Item) -> Wrapped:
    try:
        return Wrapped(str(held["version"]), base64.b64decode(held["value"], validate=True))
    except (KeyError, TypeError, binascii.Error):
        raise KeyDamaged("the store's own check is not as it was stored") from None
