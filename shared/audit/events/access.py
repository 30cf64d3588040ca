"""access.*: what was refused."""

from typing import Annotated, Any

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("access.denied", outcomes=("denied",))
class AccessDenied(AuditEvent):
    """A known caller was refused. Reasons: role (not enough rank), unknown_id (nothing of that id in the tenant),
    scope (an API key that may not do this), step_up (no fresh second factor), mfa_enrollment (no second factor, where
    one is due), self (one's own role, status or account), last_admin (the tenant would have none). `route` of the
    context says what was tried. `required_role` is the lowest that would have done; null where no role would.

    Of a change that was refused: `attempted_fields` names what it would have changed, `attempted` holds the values,
    sealed under the person it was about, or under the actor where it was about nobody else. Secrets are never among
    them, and of what is long the beginning alone. `attempted_role` is the role that was asked for, `target_role` the
    one that the target has: where the first is the higher one, or there is no target that has one, somebody wanted to
    raise a role. The target is set where it is the tenant's own."""

    required_role: str | None = None
    held_role: str | None = None
    required_scope: str | None = None
    attempted_fields: tuple[str, ...] = ()
    attempted_role: str | None = None
    target_role: str | None = None
    attempted: Annotated[dict[str, Any] | None, PersonalOf("concerned")] = None


@event_type("access.cross_tenant_denied", outcomes=("denied",), severity="high")
class AccessCrossTenantDenied(AuditEvent):
    """A known caller asked for an id that the directory knows in another tenant. The caller sees a plain 404."""
