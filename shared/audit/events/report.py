"""report.*: evidence that was made and read."""

from typing import Annotated

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("report.generate", outcomes=("success", "failure"))
class ReportGenerate(AuditEvent):
    """A report was built. `digest` is the SHA-256 of its canonical JSON, hex; the target is the report."""

    framework: str
    period_from: str
    period_to: str
    digest: str


@event_type("report.read")
class ReportRead(AuditEvent):
    """Someone read a report, in a format."""

    framework: str
    format: str


@event_type("report.sign_off")
class ReportSignOff(AuditEvent):
    """Someone answerable signed a report off. `digest` is that of the report which was signed; what was stated is
    sealed under whoever signed."""

    framework: str
    period_from: str
    period_to: str
    digest: str
    statement: Annotated[str | None, PersonalOf("actor")] = None
