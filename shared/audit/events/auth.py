"""auth.*: proving who one is."""

from typing import Annotated

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("auth.register", outcomes=("success", "failure"))
class AuthRegister(AuditEvent):
    """An account was opened, or refused (reasons email_taken, throttled). When the e-mail is taken the target is the
    account that has it, and the name that was typed is not kept. Throttled calls are sampled to one event per address
    and minute in the tenant platform; its record_count adds those not recorded since then."""

    organization: bool
    terms_version: str
    privacy_version: str
    first_name: Annotated[str | None, PersonalOf("actor")] = None
    last_name: Annotated[str | None, PersonalOf("actor")] = None


@event_type("auth.login", outcomes=("success", "failure"))
class AuthLogin(AuditEvent):
    """A sign-in attempt. Reasons of failure: bad_credentials, locked, suspended, unknown_account, throttled,
    mfa_failed. Where there is a second factor, success is when that was shown, too; a success with the reason
    mfa_enrollment opened a session that only enrolls one. The target is the account that was tried; `attempt_count`
    counts its failures since the last success, this one included. Throttled calls are sampled to one event per address
    and minute in the tenant platform, without a target; `attempt_count` adds those not recorded since then."""

    attempt_count: int


@event_type("auth.logout")
class AuthLogout(AuditEvent):
    """A session was ended by its user. `session_seconds` is how long it lived."""

    session_seconds: int


@event_type("auth.token_rejected", outcomes=("denied",))
class AuthTokenRejected(AuditEvent):
    """A request carried a token that does not hold (reasons: malformed, bad_signature, expired, unknown_key,
    session_ended, user_inactive, tenant_suspended), or a challenge for a second factor (malformed, challenge_ended). At
    most one per address and minute; `count` adds those not recorded since then."""

    count: int
