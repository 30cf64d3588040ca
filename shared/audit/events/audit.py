"""audit.*: reading the trail is part of the trail."""

from typing import Annotated, Any, Literal

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("audit.search")
class AuditSearch(AuditEvent):
    """Someone searched the trail. One event per search, not per page; the envelope's record_count is the first
    page's. The filters can hold e-mails and addresses, so they are sealed under the searcher."""

    log: str
    filters: Annotated[dict[str, Any], PersonalOf("actor")]


@event_type("audit.export", outcomes=("success", "failure"), severity="medium")
class AuditExport(AuditEvent):
    """Someone took a part of the trail out of it, in a format. One event per export; the envelope's record_count says
    how many events it has. The filters are sealed under whoever exported."""

    format: Literal["csv", "jsonl", "ocsf"]
    filters: Annotated[dict[str, Any], PersonalOf("actor")]
