"""session.*: sessions, ended from outside of them."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("session.revoke")
class SessionRevoke(AuditEvent):
    """A user ended one of the own sessions, from another one or from itself (reason by_user)."""

    sessions_ended: int
