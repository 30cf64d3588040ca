"""ledger.*: the state of the tamper-evident ledger."""

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("ledger.checkpoint")
class LedgerCheckpoint(AuditEvent):
    """A month's ledger is closed, or has grown since it was: its size and root as of now. The next month's ledger holds
    this event, so that each root covers the one before."""

    period: str
    size: int
    root: str


@event_type("ledger.verify_failed", outcomes=("failure",), severity="critical")
class LedgerVerifyFailed(AuditEvent):
    """What is stored is not what was sealed. `what`: the check that failed; `index`: of the entry, where it is one;
    `event_id`: of the event whose sealed data does not open, or is not what was recorded. Concerns that person."""

    what: str
    period: str
    index: int | None = None
    event_id: str | None = None
