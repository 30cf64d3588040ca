"""alert.*: what detection found."""

from typing import Literal

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("alert.raise", severity="high")
class AlertRaise(AuditEvent):
    """A threat pattern fired for the first time in an episode. The target is the alert."""

    pattern: str
    severity: Literal["medium", "high", "critical"]


@event_type("alert.update")
class AlertUpdate(AuditEvent):
    """An alert changed: its severity rose, its status changed, or another alert superseded it."""

    pattern: str
    severity: Literal["medium", "high", "critical"]
    old_status: str
    new_status: str
