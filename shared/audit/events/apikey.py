"""apikey.*: keys with which programs call."""

from shared.audit.model import ApprovedEvent, AuditEvent
from shared.audit.registry import event_type


@event_type("apikey.create")
class ApiKeyCreate(ApprovedEvent):
    """An API key was made. The target is the key; its secret was shown once and is in no event."""

    scopes: tuple[str, ...]
    expires_at: str | None = None


@event_type("apikey.revoke")
class ApiKeyRevoke(AuditEvent):
    """An API key was revoked; it is good for nothing from then on."""

    scopes: tuple[str, ...]
