"""consent.*: what a person agreed to."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("consent.grant")
class ConsentGrant(AuditEvent):
    """A person agreed to a purpose (terms, privacy, marketing), in the version that was shown."""

    purpose: str
    version: str
