"""Second factors: signing in with one, and the caller's own."""

from collections.abc import Awaitable
from typing import Annotated

from pydantic import Field

from functions._api import Answer, Api, Body, Call, Nothing, Shape
from functions._tokens import TokensShape, tokens
from shared.core.errors import FieldError, Invalid, Unauthenticated
from shared.identity.model import USERS
from shared.identity.one_time_codes import OneTimeCode, RecoveryCode
from shared.identity.passwords import TypedPassword

api = Api("mfa")


class CodeBody(Body):
    """A code of the authenticator app."""

    code: OneTimeCode = Field(repr=False)


class AnswerBody(Body):
    """The answer to a challenge: a code of the authenticator app, or one of the recovery codes; not both."""

    challenge: Annotated[str, Field(min_length=1, max_length=200)] = Field(repr=False)
    code: OneTimeCode | None = Field(default=None, repr=False)
    recovery_code: RecoveryCode | None = Field(default=None, repr=False)


class DisableBody(Body):
    """Both proofs, again."""

    password: TypedPassword = Field(repr=False)
    code: OneTimeCode = Field(repr=False)


class EnrollmentAnswer(Shape):
    """A secret that waits for ten minutes to be confirmed: in base32, and as a QR code carries it."""

    secret: str
    otpauth_uri: str


class RecoveryCodesAnswer(Shape):
    """The ten recovery codes, shown this once. Each takes the place of the factor one time."""

    recovery_codes: list[str]


@api.endpoint("POST", "v1/login/mfa", who=None, body=AnswerBody, response=TokensShape, errors=(401, 423, 429))
async def login_mfa(call: Call[AnswerBody, Nothing]) -> Answer:
    """Answer the challenge of a sign-in with a second factor. A challenge takes five tries within five minutes."""
    from shared.identity.factors import Proof
    from shared.identity.tokens import TokenRejected

    await call.services.throttle.check("login", call.request)
    code, recovery_code = call.body.code, call.body.recovery_code
    if code is not None and recovery_code is None:
        proof = Proof("totp", code)
    elif recovery_code is not None and code is None:
        proof = Proof("recovery", recovery_code)
    else:
        fault = FieldError("code", "one_of", "give either a code or a recovery_code")
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=(fault,))
    try:
        return Answer(tokens(await call.services.challenges.finish(call.body.challenge, proof, call.request)))
    except TokenRejected as rejected:
        await call.services.rejections.count(rejected.reason, call.request)
        raise Unauthenticated("invalid_challenge", "The challenge does not hold; sign in again.") from None


@api.endpoint("POST", "v1/mfa/enroll", who=USERS, response=EnrollmentAnswer, enrollment=True)
async def mfa_enroll(call: Call[Nothing, Nothing]) -> Answer:
    """Begin to set up a second factor. It counts once a code confirms it, and replaces the one that is there then."""
    begun = await call.services.mfa.enroll(call.principal, call.request)
    return Answer({"secret": begun.secret, "otpauth_uri": begun.otpauth_uri})


@api.endpoint(
    "POST", "v1/mfa/confirm", who=USERS, body=CodeBody, response=RecoveryCodesAnswer, errors=(409,), enrollment=True
)
async def mfa_confirm(call: Call[CodeBody, Nothing]) -> Answer:
    """Confirm the second factor with its first code. After five wrong codes the secret is dropped."""
    done = call.services.mfa.confirm(call.principal, call.body.code, call.request)
    return Answer({"recovery_codes": await _unless_ended(call, done)})


@api.endpoint("DELETE", "v1/mfa", who=USERS, body=DisableBody, status=204, errors=(409, 423, 429))
async def mfa_disable(call: Call[DisableBody, Nothing]) -> Answer:
    """Remove the own second factor, with the password and a code. Not where the organization's policy asks for one."""
    await call.services.throttle.check("login", call.request)
    await _unless_ended(
        call, call.services.mfa.disable(call.principal, call.body.password, call.body.code, call.request)
    )
    return Answer(status=204)


@api.endpoint("POST", "v1/step-up", who=USERS, body=CodeBody, status=204, errors=(409, 423, 429))
async def step_up(call: Call[CodeBody, Nothing]) -> Answer:
    """Show the second factor again in this session, for calls that ask for a fresh one (at most 15 minutes old)."""
    await call.services.throttle.check("login", call.request)
    await _unless_ended(call, call.services.mfa.step_up(call.principal, call.body.code, call.request))
    return Answer(status=204)


async def _unless_ended[T](call: Call[CodeBody, Nothing] | Call[DisableBody, Nothing], work: Awaitable[T]) -> T:
    """What the work gives; 401 when the session was ended by another call meanwhile."""
    from shared.identity.tokens import TokenRejected

    try:
        return await work
    except TokenRejected as rejected:
        raise await call.services.access.rejected(rejected.reason, call.request) from None
