"""auth.*: proving who one is."""

from typing import Annotated

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("auth.register", outcomes=("success", "failure"))
class AuthRegister(AuditEvent):
    """An account was opened, or refused (reasons email_taken, throttled, invalid_invitation). When the e-mail is taken
    the target is the account that has it, and the name that was typed is not kept. An invitation that does not hold is
    in the trail of the tenant that it names. Throttled calls are sampled to one event per address and minute in the
    tenant platform; its record_count adds those not recorded since then. `organization`: whether a new one was opened
    with it."""

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
    counts its failures since the last success, this one included, without those that met a lock. Throttled calls are
    sampled to one event per address and minute in the tenant platform, without a target; `attempt_count` adds those not
    recorded since then."""

    attempt_count: int


@event_type("auth.logout")
class AuthLogout(AuditEvent):
    """A session was ended by its user. `session_seconds` is how long it lived."""

    session_seconds: int


@event_type("auth.account_locked", severity="medium")
class AuthAccountLocked(AuditEvent):
    """Too many failures locked an account until `locked_until`. `attempt_count`: its failures since the last success.
    In the tenant platform, reason unknown_account: an e-mail that has no account locked in the same way."""

    attempt_count: int
    locked_until: str


@event_type("auth.token_refresh", outcomes=("success", "failure"))
class AuthTokenRefresh(AuditEvent):
    """A session's refresh token was exchanged for new tokens, or refused. Reasons: reused (it had been exchanged
    before, so the session was ended: somebody else may have it), expired, suspended, throttled (sampled as for
    auth.login, in the tenant platform)."""


@event_type("auth.password_change", outcomes=("success", "failure"), severity="low")
class AuthPasswordChange(AuditEvent):
    """A user set a new password; `sessions_ended` counts the other sessions, which ended with it. Reasons of failure:
    wrong_password, locked, refused (the new one may not be used), version_conflict."""

    sessions_ended: int


@event_type("auth.token_rejected", outcomes=("denied",))
class AuthTokenRejected(AuditEvent):
    """A request carried a token or an API key that does not hold (reasons: malformed, bad_signature, expired,
    unknown_key, session_ended, user_inactive, tenant_suspended, api_key_unknown), or a challenge for a second factor
    (malformed, challenge_ended). At most one per address and minute; `count` adds those not recorded since then."""

    count: int
