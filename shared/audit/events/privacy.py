"""privacy.*: requests of persons about their own data."""

from typing import Annotated

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("privacy.export", outcomes=("success", "failure"), severity="medium", data_class="personal")
class PrivacyExport(AuditEvent):
    """A person's data was handed out to them, or on their behalf. `counts` says how much of each kind, so far. Reasons
    of a success: executed (all of it), requested (the first of several parts); of a failure: abandoned (nobody asked
    for the rest)."""

    request_id: str
    counts: dict[str, int]
    due_at: str | None = None


@event_type("privacy.erasure", outcomes=("success", "failure"), severity="medium", data_class="personal")
class PrivacyErasure(AuditEvent):
    """Something became of a request to erase a person, who is the target. Reasons of a success: requested, extended
    (`due_at` is the new one), withdrawn, executed (`counts` says how much of each kind), replayed (after a restore, by
    the operator). Of a failure: refused, deferred by a legal_hold or because of the last_admin; and, where it was not
    taken at all, wrong_password, locked, last_admin. What was given as the reason is sealed under the person."""

    request_id: str
    counts: dict[str, int]
    due_at: str | None = None
    reason_text: Annotated[str | None, PersonalOf("target")] = None
