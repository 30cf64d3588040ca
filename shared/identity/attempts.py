"""Failures of one account since its last sign-in: wrong passwords and wrong second factors in one count.

The count is an item beside the user (docs/adr/0003), written in the batch of whatever counts, under its etag.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.audit.model import RequestContext, StoredEvent
from shared.storage.documents import BatchOperation, Item


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

    def cleared(self, user: Item, failures: Failures) -> Sequence[BatchOperation]:
        """The steps that forget them, unless another attempt was counted meanwhile."""
        ...

    def unchanged(self, user: Item, failures: Failures) -> Sequence[BatchOperation]:
        """The steps that change nothing, and fail when another attempt was counted meanwhile."""
        ...

    async def counted(self, user: Item, failures: Failures, request: RequestContext) -> Counted:
        """One more; with the event of the lock, when this one locks the account."""
        ...
