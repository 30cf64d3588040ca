"""profile.*: a person and the own data."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("profile.view")
class ProfileView(AuditEvent):
    """A person read the own profile."""
