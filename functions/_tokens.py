"""What a sign-in answers: tokens, a challenge for a second factor, or tokens that only enroll one."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from functions._api import OneOf, Shape
from shared.identity.model import Tokens

if TYPE_CHECKING:  # cold start
    from shared.identity.challenges import Challenge
    from shared.identity.service import SignedIn


class TokensShape(Shape):
    """Tokens of a new session. `expires_in`: seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"]
    expires_in: int


class ChallengeShape(Shape):
    """The password was right, and a second factor is asked for: answer with POST /login/mfa within five minutes."""

    mfa_required: Literal[True]
    challenge: str
    enrollment_required: Literal[False]


class EnrollmentShape(TokensShape):
    """The password was right, and the organization asks for a second factor that is not there yet.

    Until POST /mfa/enroll and POST /mfa/confirm have set one up, the tokens are good for these two and POST /logout;
    every other call answers 403 `mfa_enrollment_required`. From then on the same tokens are good for everything.
    """

    mfa_required: Literal[True]
    challenge: None = Field(description="Always null: there is no factor that could answer one.")
    enrollment_required: Literal[True]


class LoginAnswer(OneOf):
    """Tokens, or what is due before there are any that are good for everything."""

    root: TokensShape | ChallengeShape | EnrollmentShape


def login_answer(done: "SignedIn | Challenge") -> dict[str, Any]:
    """What POST /login answers."""
    from shared.identity.challenges import Challenge

    if isinstance(done, Challenge):
        return {"mfa_required": True, "challenge": done.token, "enrollment_required": False}
    if done.enrollment_only:
        return {"mfa_required": True, "challenge": None, "enrollment_required": True, **tokens(done.tokens)}
    return tokens(done.tokens)


def tokens(of: Tokens) -> dict[str, Any]:
    """Tokens as the API shows them."""
    return {
        "access_token": of.access_token,
        "refresh_token": of.refresh_token,
        "token_type": "bearer",
        "expires_in": of.expires_in,
    }
