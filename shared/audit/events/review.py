"""review.*: administrators look at who may do what."""

from typing import ClassVar

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("review.complete")
class ReviewComplete(AuditEvent):
    """An access review was completed: of how many users, and how many of them keep their access, get another one, or
    lose it. The target is the review. `digest`: SHA-256, hex, of the canonical JSON of its decisions, user ids and
    what was decided, by which the kept review can be held against the trail."""

    sparse: ClassVar[frozenset[str]] = frozenset({"digest"})
    population: int
    keep: int
    change: int
    remove: int
    digest: str | None = None
