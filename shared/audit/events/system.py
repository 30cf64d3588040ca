"""system.*: the life of the service itself."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("system.start")
class SystemStart(AuditEvent):
    """An instance of the service started, in a version."""

    version: str


@event_type("system.heartbeat")
class SystemHeartbeat(AuditEvent):
    """A sign of life, so that silence can be told from nothing to say. `source`: whose."""

    source: str


@event_type("system.error", outcomes=("error",), severity="medium")
class SystemFailure(AuditEvent):
    """A part of the service failed in a way that its operators have to look at. `error_code` is stable; no text of the
    error is kept."""

    source: str
    error_code: str
