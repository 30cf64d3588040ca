"""A counter of failures that locks nobody out: for tests of second factors that are about something else."""

from collections.abc import Sequence

from shared.audit.model import RequestContext
from shared.identity.attempts import Counted, Failures
from shared.identity.model import attempts_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, delete, replace
from shared.storage.errors import NotFound

_TTL_SECONDS = 86_400


class Attempts:
    """Counts, and locks nobody out."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    async def read(self, user: Item, request: RequestContext) -> Failures:
        """The failures of an account."""
        try:
            item = await self._store.read(IDENTITY, (user["tenant_id"],), attempts_key(user["user_id"]))
        except NotFound:
            return Failures(0, None)
        return Failures(item["count"], item)

    def cleared(self, user: Item, failures: Failures) -> Sequence[BatchOperation]:
        """The steps that forget them."""
        return [] if failures.item is None else [delete(failures.item["id"], if_match=failures.item["_etag"])]

    def unchanged(self, user: Item, failures: Failures) -> Sequence[BatchOperation]:
        """None: who locks nobody out need not look."""
        return []

    async def counted(self, user: Item, failures: Failures, request: RequestContext) -> Counted:
        """One more."""
        count = failures.count + 1
        item: Item = {
            "id": attempts_key(user["user_id"]),
            "tenant_id": user["tenant_id"],
            "kind": "attempts",
            "count": count,
            "ttl": _TTL_SECONDS,
        }
        held = failures.item
        return Counted(count, [create(item) if held is None else replace(item, if_match=held["_etag"])])
