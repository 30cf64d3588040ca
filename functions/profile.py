"""The own account: profile, password, sessions."""

from pydantic import Field

from functions._api import Answer, Api, Body, Call, ListQuery, Nothing, Shape, absent, given
from functions._cursors import read_cursor, write_cursor
from functions._shapes import ListShape, UserShape, page
from shared.core.text import Line, Paragraphs, Phone, Website
from shared.identity.model import USERS, shown_user
from shared.identity.passwords import NewPassword, TypedPassword

api = Api("profile")


class ProfileFields(Body):
    """What a profile holds; null clears a field that may be empty."""

    first_name: Line = Field(default_factory=absent, repr=False)
    last_name: Line = Field(default_factory=absent, repr=False)
    phone: Phone | None = Field(default=None, repr=False)
    company: Line | None = Field(default=None, repr=False)
    job_title: Line | None = Field(default=None, repr=False)
    location: Line | None = Field(default=None, repr=False)
    website: Website | None = Field(default=None, repr=False)
    bio: Paragraphs | None = Field(default=None, repr=False)


class ProfileBody(ProfileFields):
    """The fields to change; null clears one that may be empty. Role, tenant and e-mail are not here."""


class PasswordBody(Body):
    """The present password and the one to come."""

    current_password: TypedPassword = Field(repr=False)
    new_password: NewPassword = Field(repr=False)


class SessionShape(Shape):
    """One of the own sessions. `current`: the one that asks. `mfa_at`: when a second factor was last shown in it."""

    id: str
    current: bool
    created_at: str
    refreshed_at: str
    expires_at: str
    idle_expires_at: str
    mfa_at: str | None


class SessionList(ListShape):
    """One page of the own sessions."""

    items: list[SessionShape]


@api.endpoint("GET", "v1/profile", who=USERS, response=UserShape)
async def get_profile(call: Call[Nothing, Nothing]) -> Answer:
    """The caller's own account."""
    from shared.storage.versions import entity_tag

    user = await call.services.own_account.view_profile(call.principal, call.request)
    return Answer(shown_user(user), headers={"ETag": entity_tag(user)})


@api.endpoint(
    "PUT",
    "v1/profile",
    who=USERS,
    body=ProfileBody,
    response=UserShape,
    errors=(412,),
    told=tuple(ProfileBody.model_fields),
)
async def update_profile(call: Call[ProfileBody, Nothing]) -> Answer:
    """Change fields of the own account; those that are not given stay. `If-Match` guards against lost updates."""
    from shared.identity.tokens import TokenRejected
    from shared.storage.versions import entity_tag

    fields = given(call.body)
    try:
        user = await call.services.own_account.update_profile(call.principal, fields, call.if_match, call.request)
    except TokenRejected as rejected:  # ended while this call was under way
        raise await call.services.access.rejected(rejected.reason, call.request) from None
    return Answer(shown_user(user), headers={"ETag": entity_tag(user)})


@api.endpoint("POST", "v1/password", who=USERS, body=PasswordBody, status=204, errors=(412, 423, 429))
async def change_password(call: Call[PasswordBody, Nothing]) -> Answer:
    """Set a new password; all other sessions end. A wrong present one is 403 `wrong_password` and counts like a failed
    sign-in."""
    body = call.body
    await call.services.throttle.check("login", call.request)
    await call.services.own_account.change_password(
        call.principal, body.current_password, body.new_password, call.request
    )
    return Answer(status=204)


@api.endpoint("GET", "v1/sessions", who=USERS, query=ListQuery, response=SessionList)
async def list_sessions(call: Call[Nothing, ListQuery]) -> Answer:
    """The own sessions that are open, newest first."""
    from shared.identity.session_life import shown_session

    after = await read_cursor(call)
    found = await call.services.session_life.page(call.principal, limit=call.query.limit, after=after)
    shown = [shown_session(each, call.principal.session_id) for each in found.items]
    return Answer(page(shown, await write_cursor(call, found.next)))


@api.endpoint("DELETE", "v1/sessions/{id:guid}", who=USERS, status=204, errors=(404,))
async def revoke_session(call: Call[Nothing, Nothing]) -> Answer:
    """End one of the own sessions; its tokens die at once."""
    wanted = call.path["id"]
    if not await call.services.session_life.revoke(call.principal, wanted, call.request):
        raise await call.services.access.unknown_id(call.principal, "session", wanted, call.request)
    return Answer(status=204)
