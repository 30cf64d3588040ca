"""Accounts: register, login, logout."""

from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from functions._api import Answer, Api, Body, Call, Nothing
from functions._shapes import UserShape
from functions._tokens import LoginAnswer, TokensShape, login_answer, tokens
from shared.core.text import Line, accepted
from shared.identity.model import USERS, Registration, shown_user
from shared.identity.passwords import NewPassword, TypedPassword
from shared.privacy.emails import Email

api = Api("accounts")

type Accepted = Annotated[bool, AfterValidator(accepted), WithJsonSchema({"const": True})]


class RegisterBody(Body):
    """A new account with a new organization."""

    email: Email = Field(
        repr=False,
        description="Kept as typed; compared without regard to case, in Unicode NFKC, the domain in its ASCII form. "
        "Plus tags stay, so `a+x@example.com` is an address of its own.",
    )
    password: NewPassword = Field(repr=False)
    first_name: Line = Field(repr=False)
    last_name: Line = Field(repr=False)
    organization: Line
    accept_terms: Accepted
    accept_privacy: Accepted
    marketing_opt_in: bool = False


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
    """Open an account with a new organization; the caller becomes its tenant_admin."""
    await call.services.throttle.check("register", call.request)
    body = call.body
    registration = Registration(
        email=body.email,
        password=body.password,
        first_name=body.first_name,
        last_name=body.last_name,
        organization=body.organization,
        marketing_opt_in=body.marketing_opt_in,
    )
    done = await call.services.identity.register(registration, call.request)
    return Answer({"user": shown_user(done.user), **tokens(done.tokens)}, status=201)


@api.endpoint("POST", "v1/login", who=None, body=LoginBody, response=LoginAnswer, errors=(401, 429))
async def login(call: Call[LoginBody, Nothing]) -> Answer:
    """Sign in, or learn that a second factor is due. A wrong password and an unknown e-mail get the same answer."""
    await call.services.throttle.check("login", call.request)
    done = await call.services.identity.login(call.body.email, call.body.password, call.request)
    return Answer(login_answer(done))


@api.endpoint("POST", "v1/logout", who=USERS, status=204, enrollment=True)
async def logout(call: Call[Nothing, Nothing]) -> Answer:
    """End the session of the token; it and its refresh token die at once."""
    from shared.identity.tokens import TokenRejected

    try:
        await call.services.identity.logout(call.principal, call.request)
    except TokenRejected as rejected:
        raise await call.services.access.rejected(rejected.reason, call.request) from None
    return Answer(status=204)
