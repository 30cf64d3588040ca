"""mfa.*: second factors."""

from typing import Annotated, Literal

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type

type Factor = Literal["totp", "recovery"]


@event_type("mfa.enroll", outcomes=("success", "failure"))
class MfaEnroll(AuditEvent):
    """A person sets up a second factor. Reasons of success: started (a secret was handed out), confirmed (the factor
    counts from now on), replaced (it took the place of the one before). Reasons of failure: wrong_code, not_enrolled
    (there was nothing to confirm, or no more). `sessions_ended` counts the other sessions, in which it was not shown:
    they ended when it was confirmed."""

    factor: Factor
    sessions_ended: int = 0


@event_type("mfa.challenge_issued")
class MfaChallengeIssued(AuditEvent):
    """A right password was answered with the question for a second factor. Where no mfa.challenge follows, somebody
    may know the password and not have the factor. The target is the account."""

    factor: Factor


@event_type("mfa.challenge", outcomes=("success", "failure"))
class MfaChallenge(AuditEvent):
    """A second factor was shown: to sign in (then auth.login tells how that ended), or to renew it in a session.
    Reasons of failure: wrong_code, replayed (a code that was used before), not_enrolled."""

    factor: Factor


@event_type("mfa.recovery_used", severity="low")
class MfaRecoveryUsed(AuditEvent):
    """A recovery code took the place of the second factor. `remaining` is how many are left."""

    factor: Factor
    remaining: int


@event_type("mfa.disable", outcomes=("success", "failure"), severity="medium")
class MfaDisable(AuditEvent):
    """A person removed the own second factor, or was refused. Reasons of failure: wrong_password, wrong_code, replayed,
    not_enrolled, required (the organization's policy asks for one). Reason of success operator: the operator's command
    line removed it, and all sessions of the person ended; what was given as the reason is sealed under the person."""

    factor: Factor
    reason_text: Annotated[str | None, PersonalOf("target")] = None
