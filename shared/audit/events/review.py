"""review.*: administrators look at who may do what."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("review.complete")
class ReviewComplete(AuditEvent):
    """An access review was completed: of how many users, and how many of them keep their access, get another one, or
    lose it."""

    population: int
    keep: int
    change: int
    remove: int
