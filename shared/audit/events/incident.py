"""incident.*: what an organization decided about an incident."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("incident.record", severity="medium")
class IncidentRecord(AuditEvent):
    """The decision about an alert that may have to be notified: when the organization became aware of it, what it
    decided, and when authority and persons were told. The target is the alert."""

    aware_at: str
    decision: str
    authority_notified_at: str | None = None
    subjects_notified_at: str | None = None
