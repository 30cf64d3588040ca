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
    """Someone took a part of the trail out of it, in a format. One event per export; the envelope's record_count says
    how many events it has. The filters are sealed under whoever exported."""

    format: Literal["csv", "jsonl", "ocsf"]
    filters: Annotated[dict[str, Any], PersonalOf("actor")]
