"""What a change may say of its approval."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from functions._api import Body, Call, absent, given
from shared.audit.sensitive import kind_of
from shared.core.text import Opaque

if TYPE_CHECKING:  # cold start
    from shared.identity.approvals import Approval


def _no_secret(text: str) -> str:
    if kind_of(text) is not None:
        raise PydanticCustomError("sensitive", "must not hold a card number or a secret")
    return text


type Ticket = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,63}$"), AfterValidator(_no_secret)
]
"""What names a request in another system, such as CHG-1042. It is kept in clear: never a person's name."""


class ApprovalFields(Body):
    """Who approved the change, and the ticket in which that was asked for; both are in the events of the change."""

    approved_by: Opaque = Field(
        default_factory=absent, description="Id of the user who approved the change: neither the caller nor its target."
    )
    ticket: Ticket = Field(default_factory=absent, description="What names the request in your own system.")


def approval_of(body: ApprovalFields) -> "Approval":
    """What a body says of its approval."""
    from shared.identity.approvals import Approval

    found = given(body)
    return Approval(found.get("approved_by"), found.get("ticket"))


async def checked_approval(call: Call[Any, Any], said: ApprovalFields) -> dict[str, str | None]:
    """What the events of a change carry of its approval. Invalid (422) for an approver who cannot be one."""
    from shared.identity.approvals import check_approval

    approval = approval_of(said)
    await check_approval(call.services.store, call.principal, approval)
    return approval.attributes


def changes_of(body: ApprovalFields) -> dict[str, Any]:
    """What a body would change: the fields that it names, but for the approval."""
    return {name: value for name, value in given(body).items() if name not in ApprovalFields.model_fields}
