"""access.*: what was refused."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("access.denied", outcomes=("denied",))
class AccessDenied(AuditEvent):
    """A known caller was refused. Reasons: role (not enough rank), unknown_id (nothing of that id in the tenant),
    scope, step_up (no fresh second factor), mfa_enrollment (no second factor, where one is due). `route` of the context
    says what was tried."""

    required_role: str | None = None
    held_role: str | None = None


@event_type("access.cross_tenant_denied", outcomes=("denied",), severity="high")
class AccessCrossTenantDenied(AuditEvent):
    """A known caller asked for an id that the directory knows in another tenant. The caller sees a plain 404."""
