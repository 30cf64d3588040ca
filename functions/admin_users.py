"""The users of a tenant, for its administrators."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from functions._api import Answer, Api, Body, Call, ListQuery, Nothing, absent, given
from functions._approvals import ApprovalFields, approval_of, changes_of
from functions._cursors import read_cursor, write_cursor
from functions._shapes import ListShape, UserShape, page
from functions.profile import ProfileFields
from shared.core.clock import rfc3339
from shared.core.errors import FieldError, Invalid
from shared.core.text import Line, Moment, not_blank, printable
from shared.identity.model import ADMINS, shown_user

if TYPE_CHECKING:  # cold start
    from shared.identity.members import Said

api = Api("administration")

type GrantableRole = Literal["viewer", "user", "auditor", "tenant_admin"]
type UserStatus = Literal["active", "suspended"]


type Reason = Annotated[
    str, StringConstraints(min_length=3, max_length=500), AfterValidator(printable), AfterValidator(not_blank)
]


class UserQuery(ListQuery):
    """Filters of the list of users; all given ones must hold."""

    role: Literal["viewer", "user", "auditor", "tenant_admin", "system_admin"] | None = None
    status: UserStatus | None = None
    q: Line | None = Field(
        default=None, description="How a name, a last name or an e-mail begins, without regard to case."
    )


class UserBody(ProfileFields, ApprovalFields):
    """The fields to change; null clears one of the profile. E-mail, tenant and id are not to be changed."""

    role: GrantableRole = Field(default_factory=absent)
    status: UserStatus = Field(default_factory=absent)
    reason: Reason = Field(default_factory=absent, repr=False, description="Why; with `status` only.")
    left_at: Moment = Field(
        default_factory=absent, description="When the user left, not in the future; with the status suspended only."
    )


_OF_STATUS = ("reason", "left_at")


class DeletionBody(Body):
    """Why, unless the query string says it."""

    reason: Reason = Field(default_factory=absent, repr=False)


class DeletionQuery(Body):
    """Why, unless the body says it."""

    reason: Reason = Field(default_factory=absent, repr=False)


class UserList(ListShape):
    """One page of users."""

    items: list[UserShape]


@api.endpoint("GET", "v1/admin/users", who=ADMINS, query=UserQuery, response=UserList)
async def list_users(call: Call[Nothing, UserQuery]) -> Answer:
    """The tenant's users, newest first. Each page that is read is an event."""
    from shared.identity.members import MemberFilter

    query = call.query
    wanted = MemberFilter(query.role, query.status, query.q)
    after = await read_cursor(call)
    found = await call.services.members.page(call.principal, wanted, call.request, limit=query.limit, after=after)
    return Answer(page([shown_user(each) for each in found.items], await write_cursor(call, found.next)))


@api.endpoint("GET", "v1/admin/users/{id:guid}", who=ADMINS, response=UserShape, errors=(404,))
async def get_user(call: Call[Nothing, Nothing]) -> Answer:
    """One user. `ETag` names the version."""
    from shared.storage.versions import entity_tag

    user = await call.services.members.view(call.principal, call.path["id"], call.request)
    return Answer(shown_user(user), headers={"ETag": entity_tag(user)})


@api.endpoint(
    "PUT",
    "v1/admin/users/{id:guid}",
    who=ADMINS,
    body=UserBody,
    response=UserShape,
    errors=(404, 409, 412),
    step_up=True,
    told=tuple(UserBody.model_fields),
)
async def update_user(call: Call[UserBody, Nothing]) -> Answer:
    """Change a user below the own rank, or another tenant_admin. Fields that are not given stay; a new role or status
    ends the user's sessions. Nobody changes the own role or status; the last active tenant_admin stays one: 409
    `last_admin`. `If-Match` guards against lost updates. Who approved it, the ticket, and of a new status why and since
    when are in the events of the change."""
    from shared.storage.versions import entity_tag

    changes = {name: value for name, value in changes_of(call.body).items() if name not in _OF_STATUS}
    user = await call.services.members.update(
        call.principal, call.path["id"], changes, call.if_match, call.request, _said(call)
    )
    return Answer(shown_user(user), headers={"ETag": entity_tag(user)})


def _said(call: Call[UserBody, Nothing]) -> "Said":
    """What is said of a change. Invalid (422) where there is nothing that it could be about."""
    from shared.identity.members import Said

    found = given(call.body)
    status, left_at = found.get("status"), found.get("left_at")
    faults: list[FieldError] = []
    if "reason" in found and status is None:
        faults.append(FieldError("reason", "without_status", "goes with a status"))
    if left_at is not None and status != "suspended":
        faults.append(FieldError("left_at", "without_status", "goes with the status suspended"))
    elif left_at is not None and left_at > call.services.clock.now():
        faults.append(FieldError("left_at", "future", "must not be in the future"))
    if faults:
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=tuple(faults))
    return Said(approval_of(call.body), found.get("reason"), None if left_at is None else rfc3339(left_at))


@api.endpoint(
    "DELETE",
    "v1/admin/users/{id:guid}",
    who=ADMINS,
    body=DeletionBody,
    query=DeletionQuery,
    status=204,
    errors=(404, 409, 412),
    step_up=True,
    told=("reason",),
)
async def delete_user(call: Call[DeletionBody, DeletionQuery]) -> Answer:
    """Delete a user, for a reason of 3 to 500 characters: in the body or in the query string. The user's sessions end,
    the e-mail is free, the trail stays. Not oneself, and not the last active tenant_admin: 409 `last_admin`."""
    reasons = [*given(call.body).values(), *given(call.query).values()]
    if len(reasons) != 1:
        field = FieldError("reason", "repeated" if reasons else "missing", "give it once, in the body or the query")
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=(field,))
    await call.services.members.remove(call.principal, call.path["id"], reasons[0], call.if_match, call.request)
    return Answer(status=204)


@api.endpoint("POST", "v1/admin/users/{id:guid}/unlock", who=ADMINS, status=204, errors=(404,), step_up=True)
async def unlock_user(call: Call[Nothing, Nothing]) -> Answer:
    """Forget a user's failed sign-ins, and with them the lock that they led to."""
    await call.services.members.unlock(call.principal, call.path["id"], call.request)
    return Answer(status=204)
