"""Which version of the `index` secret the store was indexed under, and a check that ours is the same.

The directory and every blind-index value are keyed hashes: under another key no e-mail would be found, accounts would
be orphaned and their e-mails free to be registered again. So the store keeps the version's name with a value that only
the right key gives: that version is used for good, and the app does not start without it (docs/adr/0009).
"""

import hashlib
import hmac

from shared.privacy.blind_index import missing_index
from shared.privacy.secrets import SecretsError, SecretsPort, SecretVersion, derive
from shared.storage.containers import DIRECTORY
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import Conflict, NotFound
from shared.telemetry import get_log

_ID = "key_check|index"

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
