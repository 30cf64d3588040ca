"""access.*: what was refused."""

from typing import Annotated, Any

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("access.denied", outcomes=("denied",))
class AccessDenied(AuditEvent):
    """A known caller was refused. Reasons: role (not enough rank), unknown_id (nothing of that id in the tenant),
    scope (an API key that may not do this), step_up (no fresh second factor), mfa_enrollment (no second factor, where
    one is due), self (one's own role, status or account), last_admin (the tenant would have none). `route` of the
    context says what was tried; `attempted` the change that was refused, sealed under the person it was about."""

    required_role: str | None = None
    held_role: str | None = None
    required_scope: str | None = None
    attempted: Annotated[dict[str, Any] | None, PersonalOf("target")] = None


@event_type("access.cross_tenant_denied", outcomes=("denied",), severity="high")
class AccessCrossTenantDenied(AuditEvent):
    """A known caller asked for an id that the directory knows in another tenant. The caller sees a plain 404."""
