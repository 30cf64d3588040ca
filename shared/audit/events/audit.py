"""audit.*: reading the trail is part of the trail."""

from typing import Annotated, Any

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
