"""user.*: accounts, changed by others or by the service itself."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("user.delete", severity="medium")
class UserDelete(AuditEvent):
    """An account was removed. Reason email_taken: its registration lost the e-mail to another one before it was
    complete, and the service took it back."""
