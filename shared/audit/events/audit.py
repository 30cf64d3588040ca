"""audit.*: reading the trail is part of the trail."""

from typing import Annotated, Any, Literal

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("audit.search")
class AuditSearch(AuditEvent):
    """Someone searched the trail, or looked at one event of it. One event per search, not per page; the envelope's
    record_count is the first page's. `filtered_by` names the filters. Their values can hold e-mails and addresses, so
    they are sealed under the searcher; of a program, which is nobody's person, `criteria` keeps those that cannot."""

    log: str
    filtered_by: tuple[str, ...] = ()
    criteria: dict[str, Any] | None = None
    filters: Annotated[dict[str, Any] | None, PersonalOf("actor")] = None


@event_type("audit.export", outcomes=("success", "failure"), severity="medium")
class AuditExport(AuditEvent):
    """Someone took a copy of the trail, in a format; `bundle` is an evidence bundle. One event per export, not per
    part; the envelope's record_count is how many events were handed out. An export of one part is recorded before it is
    answered; of several parts, before the last one is. Reason abandoned: the last part was not asked for, and nobody
    can any more; record_count is what was handed out until then, and `occurred_at` tells when it began. The filters are
    kept as those of audit.search."""

    format: Literal["csv", "jsonl", "ocsf", "bundle"]
    filtered_by: tuple[str, ...] = ()
    criteria: dict[str, Any] | None = None
    filters: Annotated[dict[str, Any] | None, PersonalOf("actor")] = None
