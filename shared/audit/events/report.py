"""report.*: evidence that was made and read."""

from typing import Annotated, ClassVar

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("report.generate", outcomes=("success", "failure"))
class ReportGenerate(AuditEvent):
    """A report was built, or could not be (`reason` says why). `digest` is the SHA-256 of its canonical JSON, hex; the
    target is the report. Of a framework's report: how many controls have which status, and whether the trail of the
    period could be relied on; `new_exceptions` of them are exceptions that the framework's last report of an earlier
    period did not have, where there is one."""

    sparse: ClassVar[frozenset[str]] = frozenset(
        {"satisfied", "exceptions", "new_exceptions", "not_evidenced", "not_applicable", "gate_passed"}
    )
    framework: str
    period_from: str
    period_to: str
    digest: str | None
    satisfied: int | None = None
    exceptions: int | None = None
    new_exceptions: int | None = None
    not_evidenced: int | None = None
    not_applicable: int | None = None
    gate_passed: bool | None = None


@event_type("report.order")
class ReportOrder(AuditEvent):
    """A report was ordered that is not there yet: by whoever asked for it, or by a schedule. The target is the report
    to be. Whoever orders one anew that could not be made does so, too; asking for what is there or ordered does not."""

    framework: str
    period_from: str
    period_to: str


@event_type("report.read")
class ReportRead(AuditEvent):
    """Someone read a report, in a format."""

    framework: str
    format: str


@event_type("report.sign_off")
class ReportSignOff(AuditEvent):
    """Someone answerable signed a report off, as who prepared, reviewed or approved it (`signed_as`). `digest` is that
    of the report which was signed; what was stated is sealed under whoever signed."""

    framework: str
    period_from: str
    period_to: str
    digest: str
    signed_as: str = "reviewed"
    statement: Annotated[str | None, PersonalOf("actor")] = None
