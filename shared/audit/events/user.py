"""user.*: accounts, changed by others or by the service itself."""

from typing import Annotated, Any, ClassVar

from shared.audit.model import ApprovedEvent, AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("user.list", data_class="personal")
class UserList(AuditEvent):
    """Someone read a page of the tenant's users; the envelope's record_count says how many. One event for each page,
    since each shows other people. The filters can hold names and e-mails, so they are sealed under the reader; the
    e-mail of an account under whose it is."""

    filters: Annotated[dict[str, Any], PersonalOf("actor")]


@event_type("user.view", data_class="personal")
class UserView(AuditEvent):
    """Someone read one user's account, or asked for a change that changed nothing."""


@event_type("user.update", data_class="personal")
class UserUpdate(ApprovedEvent):
    """An administrator changed a user's name or profile. The values are sealed under that user. Role and status have
    events of their own."""

    changed_fields: tuple[str, ...]
    old_values: Annotated[dict[str, Any], PersonalOf("target")]
    new_values: Annotated[dict[str, Any], PersonalOf("target")]


@event_type("user.role_change", severity="medium")
class UserRoleChange(ApprovedEvent):
    """A user got another role. All sessions of the user ended with it."""

    old_role: str
    new_role: str


@event_type("user.status_change")
class UserStatusChange(ApprovedEvent):
    """A user was suspended, or may act again. All sessions of the user ended with it. What was given as the reason is
    sealed under the user; `left_at` is when the user left, as whoever made the change said. Reason operator: by the
    operator's command line."""

    sparse: ClassVar[frozenset[str]] = ApprovedEvent.sparse | {"left_at"}
    old_status: str
    new_status: str
    left_at: str | None = None
    reason_text: Annotated[str | None, PersonalOf("target")] = None


@event_type("user.unlock")
class UserUnlock(AuditEvent):
    """An administrator forgot a user's failed sign-ins, and with them the lock that they had led to, if any. Reason
    operator: the operator's command line did; what was given as the reason is sealed under the user."""

    reason_text: Annotated[str | None, PersonalOf("target")] = None


@event_type("user.delete", severity="medium", data_class="personal")
class UserDelete(AuditEvent):
    """An account was removed; its e-mail is free, its trail stays. What the administrator gave as the reason and the
    profile as it was last are sealed under the user. Reason email_taken: its registration lost the e-mail to another
    one before it was complete, and the service took it back. Reason erasure: the person was erased, and nothing is
    sealed."""

    reason_text: Annotated[str | None, PersonalOf("target")] = None
    last_profile: Annotated[dict[str, Any] | None, PersonalOf("target")] = None


@event_type("user.invite")
class UserInvite(ApprovedEvent):
    """Someone was invited to the tenant. The target is the invitation; the e-mail is sealed under its id, for there is
    no user yet."""

    role: str


@event_type("user.invite_revoke")
class UserInviteRevoke(AuditEvent):
    """An invitation that was still open was taken back. The target is the invitation."""
