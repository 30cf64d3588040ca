"""Which version of the `index` secret the store was indexed under, and a check that ours is the same.

The directory and every blind-index value are keyed hashes: under another key no e-mail would be found, accounts would
be orphaned and their e-mails free to be registered again. So the store keeps the version's name with a value that only
the right key gives: that version is used for good, and the app does not start without it (docs/adr/0009).

The key that wraps persons' keys is held on to in the same way, by a key of nobody's that is wrapped under it: under
another one everything personal would look damaged. That one may be rotated, so `rewrap` wraps it anew.
"""

import base64
import binascii
import hashlib
import hmac

from shared.privacy.blind_index import missing_index
from shared.privacy.key_wrapping import KeyDamaged, KeyWrapper, Wrapped
from shared.privacy.secrets import SecretsError, SecretsPort, SecretVersion, derive
from shared.storage.containers import DIRECTORY
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.telemetry import get_log

_ID = "key_check|index"
_PERSONS_ID = "key_check|persons"
_OF_NOBODY = hashlib.sha256(b"kraftd/persons/key-check").digest()

_log = get_log(__name__)


async def pin_index(store: DocumentStore, secrets: SecretsPort) -> str:
    """The version that the store was indexed under; a new store takes the newest, once for all instances.

    SecretsError when that version is not to be had, or is another secret of the same name.
    """
    try:
        held = await store.read(DIRECTORY, (_ID,), _ID)
    except NotFound:
        held = await _take(store, (await secrets.versions("index"))[0])
    version: str = held["version"]
    root = await secrets.find("index", version)
    if root is None:
        _log.error("index_secret_missing", version=version)
        raise missing_index(version)
    if not hmac.compare_digest(held["value"], _check_value(root)):
        _log.error("index_secret_differs", version=version)
        raise SecretsError(
            f"secret index: the data was indexed under another one ({version}); put that one back. "
            "This version cannot rotate it."
        )
    return version


async def _take(store: DocumentStore, newest: SecretVersion) -> Item:
    """Bind an empty store to a version, or find that another instance did."""
    try:
        return await store.create(
            DIRECTORY, (_ID,), {"id": _ID, "version": newest.version, "value": _check_value(newest)}
        )
    except Conflict:
        return await store.read(DIRECTORY, (_ID,), _ID)


def _check_value(root: SecretVersion) -> str:
    return hmac.digest(derive(root.value, "key-check"), root.version.encode(), hashlib.sha256).hex()


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
        version = str(held["version"])
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
    except (TypeError, binascii.Error):
        raise KeyDamaged("the store's own check is not as it was stored") from None
