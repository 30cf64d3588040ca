"""Who approved a change, and where that was asked for: as whoever makes the change says, checked where it can be."""

from dataclasses import dataclass

from shared.core.errors import FieldError, Invalid
from shared.identity.model import Principal, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore
from shared.storage.errors import NotFound


@dataclass(frozen=True, slots=True)
class Approval:
    """`approved_by`: the id of a user. `ticket`: what names the request in the organization's own system."""

    approved_by: str | None = None
    ticket: str | None = None

    @property
    def attributes(self) -> dict[str, str | None]:
        """What events of the change carry of it."""
        return {"approved_by": self.approved_by, "ticket": self.ticket}


NOT_SAID = Approval()


async def check_approval(
    store: DocumentStore, principal: Principal, approval: Approval, concerned: str | None = None
) -> None:
    """Invalid (422 approved_by) unless the approver, if one is named, is another user of the caller's tenant than the
    caller (`self`) and the user whom the change is about (`concerned`)."""
    approver = approval.approved_by
    if approver is None:
        return
    if approver == principal.user_id:
        raise _invalid("self", "is whoever makes the change: somebody else has to approve it")
    if approver == concerned:
        raise _invalid("concerned", "is whom the change is about: somebody else has to approve it")
    try:
        found = await store.read(IDENTITY, (principal.tenant_id,), user_key(approver))
    except NotFound:
        found = {"kind": "nothing"}
    if found["kind"] != "user":
        raise _invalid("unknown", "is no user of the organization")


def _invalid(code: str, message: str) -> Invalid:
    fault = FieldError("approved_by", code, message)
    return Invalid("invalid_request", "Some fields are not as they must be.", errors=(fault,))
