"""The error tree: what a caller may be told.

    KraftdError                 code, status, detail, field errors, retry_after
    ├── BadRequest          400 malformed_json, invalid_encoding
    ├── Unauthenticated     401 invalid_token, invalid_credentials, invalid_challenge
    ├── Forbidden           403 forbidden, step_up_required, mfa_enrollment_required, wrong_password, wrong_code
    ├── NotFoundError       404 not_found, not_witnessed, period_expired
    ├── Clash               409 email_taken, last_admin, mfa_not_enrolled, mfa_required, not_sealed, ledger_broken,
    │                           report_not_ready, report_damaged, signed_off_already
    ├── VersionConflict     412 version_conflict
    ├── TooLargeBody        413 body_too_large
    ├── Invalid             422 invalid_request, with one FieldError per field; idempotency_key_reused
    ├── AccountLocked       423 account_locked; Retry-After
    ├── TooMany             429 rate_limited; Retry-After
    └── Unready             503 store_unavailable, audit_unavailable, secrets_unavailable; Retry-After

`code` is stable public API; `detail` is for people and holds nothing that the caller did not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: `field` is a dotted path, `code` is machine-readable."""

    field: str
    code: str
    message: str


class KraftdError(Exception):
    """Base of every error that reaches a caller as problem+json (RFC 9457)."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after_seconds: int | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """`members`: further members of the problem (RFC 9457, section 3.2), as JSON."""
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.retry_after_seconds = retry_after_seconds
        self.members = members or {}


class BadRequest(KraftdError):
    """The request cannot be read at all."""

    status = 400
    title = "Bad request"


class Unauthenticated(KraftdError):
    """No proof of identity, or one that does not hold."""

    status = 401
    title = "Unauthenticated"


class Forbidden(KraftdError):
    """Known, but not allowed."""

    status = 403
    title = "Forbidden"


class NotFoundError(KraftdError):
    """Nothing of that id in the caller's tenant."""

    status = 404
    title = "Not found"


class Clash(KraftdError):
    """The change collides with what is there."""

    status = 409
    title = "Conflict"


class VersionConflict(KraftdError):
    """What is to be changed is no longer what the caller saw (If-Match)."""

    status = 412
    title = "Precondition failed"


class TooLargeBody(KraftdError):
    """The body is above the limit."""

    status = 413
    title = "Content too large"


class Invalid(KraftdError):
    """The request was understood and some of its fields are wrong."""

    status = 422
    title = "Invalid request"


class AccountLocked(KraftdError):
    """Too many failures on one account; it cannot be signed in to for a while."""

    status = 423
    title = "Locked"


class TooMany(KraftdError):
    """More calls than are allowed in a time; nothing was done."""

    status = 429
    title = "Too many requests"


class Unready(KraftdError):
    """A part that we need did not answer; nothing was done, or what was done is safe to repeat."""

    status = 503
    title = "Service unavailable"
