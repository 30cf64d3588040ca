"""Accounts: register, login, logout."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from functions._api import Answer, Api, Body, Call, Nothing, absent, given
from functions._shapes import UserShape
from functions._tokens import LoginAnswer, TokensShape, login_answer, tokens
from shared.core.errors import FieldError, Invalid
from shared.core.text import Line, accepted
from shared.identity.model import USERS, Acceptance, Registration, shown_user
from shared.identity.passwords import NewPassword, TypedPassword
from shared.privacy.emails import Email

api = Api("accounts")

type Accepted = Annotated[bool, AfterValidator(accepted), WithJsonSchema({"const": True})]


class RegisterBody(Body):
    """A new account: with a new organization, or in the one that the invitation is of."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["organization"]}, {"required": ["invitation"]}]}
    )

    email: Email = Field(
        repr=False,
        description="Kept as typed; compared without regard to case, in Unicode NFKC, the domain in its ASCII form. "
        "Plus tags stay, so `a+x@example.com` is an address of its own.",
    )
    password: NewPassword = Field(repr=False)
    first_name: Line = Field(repr=False)
    last_name: Line = Field(repr=False)
    organization: Line = Field(default_factory=absent)
    invitation: str = Field(default_factory=absent, min_length=1, max_length=300, repr=False)
    accept_terms: Accepted
    accept_privacy: Accepted
    marketing_opt_in: bool = False


_APPLICANT = {"email", "password", "first_name", "last_name", "marketing_opt_in"}


class LoginBody(Body):
    """Who one is and the proof of it."""

    email: Email = Field(repr=False)
    password: TypedPassword = Field(repr=False)


class RegisterAnswer(TokensShape):
    """The new account, signed in."""

    user: UserShape


@api.endpoint(
    "POST", "v1/register", who=None, body=RegisterBody, response=RegisterAnswer, status=201, errors=(409, 429)
)
async def register(call: Call[RegisterBody, Nothing]) -> Answer:
    """Open an account: with a new organization, whose tenant_admin the caller becomes, or by an invitation, with the
    role that it carries and for the e-mail that it was sent to. Any other invitation is 422 `invalid_invitation`."""
    named = given(call.body).keys() & {"organization", "invitation"}
    if len(named) != 1:
        field = FieldError("organization", "organization_or_invitation", "give this or an invitation, and not both")
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=(field,))
    await call.services.throttle.check("register", call.request)
    fields = call.body.model_dump(include=_APPLICANT | named)
    if "invitation" in named:
        done = await call.services.joining.join(Acceptance(**fields), call.request)
    else:
        done = await call.services.identity.register(Registration(**fields), call.request)
    return Answer({"user": shown_user(done.user), **tokens(done.tokens)}, status=201)


@api.endpoint("POST", "v1/login", who=None, body=LoginBody, response=LoginAnswer, errors=(401, 423, 429))
async def login(call: Call[LoginBody, Nothing]) -> Answer:
    """Sign in, or learn that a second factor is due. A wrong password and an unknown e-mail get the same answer, and
    both lock after too many of them."""
    await call.services.throttle.check("login", call.request)
    done = await call.services.identity.login(call.body.email, call.body.password, call.request)
    return Answer(login_answer(done))


class RefreshBody(Body):
    """A refresh token, which is used up by this call."""

    refresh_token: str = Field(min_length=1, max_length=512, repr=False)


@api.endpoint("POST", "v1/token/refresh", who=None, body=RefreshBody, response=TokensShape, errors=(401, 429))
async def refresh_token(call: Call[RefreshBody, Nothing]) -> Answer:
    """Exchange a refresh token for new tokens. One that was exchanged before ends its session: sign in again."""
    await call.services.throttle.check("refresh", call.request)
    return Answer(tokens(await call.services.session_life.refresh(call.body.refresh_token, call.request)))


@api.endpoint("POST", "v1/logout", who=USERS, status=204, enrollment=True)
async def logout(call: Call[Nothing, Nothing]) -> Answer:
    """End the session of the token; it and its refresh token die at once."""
    from shared.identity.tokens import TokenRejected

    try:
        await call.services.identity.logout(call.principal, call.request)
    except TokenRejected as rejected:
        raise await call.services.access.rejected(rejected.reason, call.request) from None
    return Answer(status=204)
