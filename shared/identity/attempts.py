"""Failures of one account since its last sign-in: wrong passwords and wrong second factors in one count.

The count is an item beside the user (docs/adr/0003), written in the batch of whatever counts, under its etag.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.audit.model import RequestContext, StoredEvent
from shared.identity.model import attempts_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, delete, replace
from shared.storage.errors import NotFound

_TTL_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Failures:
    """How often it failed since the last success, and the stored count (None: there is none)."""

    count: int
    item: Item | None


@dataclass(frozen=True, slots=True)
class Counted:
    """One failure more: the count with it, and what has to be in the batch that records it."""

    count: int
    operations: Sequence[BatchOperation]
    events: Sequence[StoredEvent] = ()


class FailureCounter(Protocol):
    """What second factors need of the lockout. Nothing is written here: the steps go into the caller's batch."""

    async def read(self, user: Item, request: RequestContext) -> Failures:
        """The failures of an account. AccountLocked (423), audited, while it is locked."""
        ...

    def cleared(self, failures: Failures) -> Sequence[BatchOperation]:
        """The steps that forget them, unless another attempt was counted meanwhile."""
        ...

    async def counted(self, user: Item, failures: Failures, request: RequestContext) -> Counted:
        """One more; with the event of the lock, when this one locks the account."""
        ...


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

    def cleared(self, failures: Failures) -> Sequence[BatchOperation]:
        """The steps that forget them."""
        return [] if failures.item is None else [delete(failures.item["id"], if_match=failures.item["_etag"])]

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
