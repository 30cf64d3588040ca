"""Who else may come in: invitations for people, API keys for programs."""

from typing import Annotated, Literal

from pydantic import Field

from functions._api import Answer, Api, Call, ListQuery, Nothing, Shape, absent
from functions._approvals import ApprovalFields, approval_of
from functions._cursors import read_cursor, write_cursor
from functions._shapes import ListShape, page
from functions.admin_users import GrantableRole
from shared.core.text import Line, Moment
from shared.identity.model import ADMINS, Role
from shared.privacy.emails import Email

api = Api("administration")

type Scope = Literal["events:write", "events:read", "alerts:read", "reports:read", "ledger:read"]


class InvitationBody(ApprovalFields):
    """Whom to invite, and to which role."""

    email: Email = Field(repr=False)
    role: GrantableRole


class NewInvitation(Shape):
    """An invitation and its secret, which is shown here and never again."""

    id: str
    invitation: str
    expires_at: str


class InvitationShape(Shape):
    """An invitation that is open."""

    id: str
    email: str
    role: GrantableRole
    invited_by: str
    created_at: str
    expires_at: str


class InvitationList(ListShape):
    """One page of invitations."""

    items: list[InvitationShape]


class ApiKeyBody(ApprovalFields):
    """What the key is called and may do, and until when."""

    name: Line
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=5)]
    expires_at: Moment = Field(default_factory=absent, description="Without it the key is good until it is revoked.")


class ApiKeyShape(Shape):
    """An API key. `last_sent_at`: when it last sent events, true to the hour. `silent_since`: the same, once the key
    counts as silent."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    last_sent_at: str | None
    silent_since: str | None


class NewApiKey(ApiKeyShape):
    """An API key with its secret, which is shown here and never again."""

    key: str


class ApiKeyList(ListShape):
    """One page of API keys."""

    items: list[ApiKeyShape]


@api.endpoint(
    "POST",
    "v1/admin/invitations",
    who=ADMINS,
    body=InvitationBody,
    response=NewInvitation,
    status=201,
    errors=(409,),
    step_up=True,
    told=("role", "approved_by", "ticket"),
)
async def invite_user(call: Call[InvitationBody, Nothing]) -> Answer:
    """Invite someone to a role below the own rank, or a tenant_admin another one. The invitation is good for seven
    days, for this e-mail, once, and for as long as whoever sent it could send it."""
    item, text = await call.services.invitations.invite(
        call.principal, call.body.email, Role(call.body.role), call.request, approval_of(call.body)
    )
    return Answer({"id": item["invitation_id"], "invitation": text, "expires_at": item["expires_at"]}, status=201)


@api.endpoint("GET", "v1/admin/invitations", who=ADMINS, query=ListQuery, response=InvitationList)
async def list_invitations(call: Call[Nothing, ListQuery]) -> Answer:
    """The invitations that are open, newest first."""
    from shared.identity.invitations import shown_invitation

    after = await read_cursor(call)
    found = await call.services.invitations.page(call.principal.tenant_id, limit=call.query.limit, after=after)
    return Answer(page([shown_invitation(each) for each in found.items], await write_cursor(call, found.next)))


@api.endpoint("DELETE", "v1/admin/invitations/{id:guid}", who=ADMINS, status=204, errors=(404,), step_up=True)
async def revoke_invitation(call: Call[Nothing, Nothing]) -> Answer:
    """Take an open invitation back."""
    await call.services.invitations.revoke(call.principal, call.path["id"], call.request)
    return Answer(status=204)


@api.endpoint(
    "POST",
    "v1/admin/api-keys",
    who=ADMINS,
    body=ApiKeyBody,
    response=NewApiKey,
    status=201,
    step_up=True,
    told=("name", "scopes", "expires_at", "approved_by", "ticket"),
)
async def create_api_key(call: Call[ApiKeyBody, Nothing]) -> Answer:
    """Make an API key. It belongs to the tenant, and stays when whoever made it goes."""
    from shared.identity.api_keys import shown_api_key

    body = call.body
    item, text = await call.services.api_keys.make(
        call.principal, body.name, body.scopes, body.expires_at, call.request, approval_of(body)
    )
    return Answer({**shown_api_key(item), "key": text}, status=201)


@api.endpoint("GET", "v1/admin/api-keys", who=ADMINS, query=ListQuery, response=ApiKeyList)
async def list_api_keys(call: Call[Nothing, ListQuery]) -> Answer:
    """The tenant's API keys, newest first. `last_used_at` is true to the hour."""
    from shared.identity.api_keys import shown_api_key

    after = await read_cursor(call)
    found = await call.services.api_keys.page(call.principal.tenant_id, limit=call.query.limit, after=after)
    return Answer(page([shown_api_key(each) for each in found.items], await write_cursor(call, found.next)))


@api.endpoint("DELETE", "v1/admin/api-keys/{id:guid}", who=ADMINS, status=204, errors=(404,), step_up=True)
async def revoke_api_key(call: Call[Nothing, Nothing]) -> Answer:
    """Revoke an API key; it is good for nothing from then on."""
    await call.services.api_keys.revoke(call.principal, call.path["id"], call.request)
    return Answer(status=204)
