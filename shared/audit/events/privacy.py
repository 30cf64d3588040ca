"""privacy.*: requests of persons about their own data."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("privacy.export", outcomes=("success", "failure"), severity="medium", data_class="personal")
class PrivacyExport(AuditEvent):
    """A person's data was handed out to them, or on their behalf. `counts` says how much of each kind."""

    request_id: str
    counts: dict[str, int]
    due_at: str | None = None


@event_type("privacy.erasure", outcomes=("success", "failure"), severity="medium", data_class="personal")
class PrivacyErasure(AuditEvent):
    """A person's data is to be erased, or was (`counts` says how much of each kind). `due_at`: when it has to be."""

    request_id: str
    counts: dict[str, int]
    due_at: str | None = None
