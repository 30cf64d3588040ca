"""A check that the store was indexed under the `index` secret that we hold.

The directory and every blind-index value are keyed hashes: under another key no e-mail would be found, accounts would
be orphaned and their e-mails free to be registered again. So the store keeps a value that only the right key gives,
and the app does not start with another one.
"""

import hashlib
import hmac

from shared.privacy.secrets import SecretsError, SecretsPort, derive
from shared.storage.containers import DIRECTORY
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import Conflict

_ID = "key_check|index"


async def check_index_key(store: DocumentStore, secrets: SecretsPort) -> None:
    """Compare the newest `index` secret with the store's; a new store takes it. SecretsError when they differ."""
    newest = (await secrets.versions("index"))[0]
    value = hmac.digest(derive(newest.value, "key-check"), newest.version.encode(), hashlib.sha256).hex()
    held = await _held(store, {"id": _ID, "version": newest.version, "value": value})
    if not hmac.compare_digest(held["value"], value):
        raise SecretsError(
            f"secret index: the data was indexed under another one ({held['version']}); put that one back. "
            "This version cannot rotate it."
        )


async def _held(store: DocumentStore, ours: Item) -> Item:
    try:
        return await store.create(DIRECTORY, (_ID,), ours)
    except Conflict:
        return await store.read(DIRECTORY, (_ID,), _ID)
