"""Which OCSF class and activity each event type is exported as (OCSF 1.6.0, https://schema.ocsf.io/1.6.0/): data only.

What has no entry (custom.*, a type that is newer than this table) is API Activity, Other, named after its type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

OCSF_VERSION = "1.6.0"
OTHER = 99


@dataclass(frozen=True, slots=True)
class OcsfClass:
    """One event class: its ids, and the captions of the activities that it knows."""

    uid: int
    name: str
    category_uid: int
    category: str
    activities: Mapping[int, str]


AUTHENTICATION = OcsfClass(
    3002,
    "Authentication",
    3,
    "Identity & Access Management",
    {1: "Logon", 2: "Logoff", 5: "Service Ticket Renew"},
)
ACCOUNT_CHANGE = OcsfClass(
    3001,
    "Account Change",
    3,
    "Identity & Access Management",
    {
        1: "Create",
        2: "Enable",
        3: "Password Change",
        5: "Disable",
        6: "Delete",
        9: "Lock",
        10: "MFA Factor Enable",
        11: "MFA Factor Disable",
        12: "Unlock",
    },
)
ENTITY_MANAGEMENT = OcsfClass(
    3004,
    "Entity Management",
    3,
    "Identity & Access Management",
    {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 11: "Deactivate"},
)
API_ACTIVITY = OcsfClass(
    6003, "API Activity", 6, "Application Activity", {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}
)
DETECTION_FINDING = OcsfClass(2004, "Detection Finding", 2, "Findings", {1: "Create", 2: "Update", 3: "Close"})


@dataclass(frozen=True, slots=True)
class Mapped:
    """What an event type becomes. `named`: the caption of an activity that OCSF has no number for (Other).

    `by`: the attribute whose value decides about the activity instead, as `values` says.
    """

    ocsf: OcsfClass
    activity: int = OTHER
    named: str = ""
    by: str | None = None
    values: Mapping[str, int] = field(default_factory=dict)


def _other(ocsf: OcsfClass, named: str) -> Mapped:
    return Mapped(ocsf, OTHER, named)


BY_METHOD: Mapping[str, int] = {"GET": 2, "POST": 1, "PUT": 3, "PATCH": 3, "DELETE": 4}
"""The activity of a call that was refused, by what was tried."""
REFUSED = Mapped(API_ACTIVITY, OTHER, "Refused", by="method", values=BY_METHOD)

EVENT_TYPES: Mapping[str, Mapped] = {
    "access.cross_tenant_denied": REFUSED,
    "access.denied": REFUSED,
    "alert.raise": Mapped(DETECTION_FINDING, 1),
    "alert.update": Mapped(
        DETECTION_FINDING, 2, by="new_status", values={"resolved": 3, "dismissed": 3, "superseded": 3}
    ),
    "apikey.create": Mapped(ENTITY_MANAGEMENT, 1),
    "apikey.revoke": Mapped(ENTITY_MANAGEMENT, 11),
    "audit.export": _other(API_ACTIVITY, "Export"),
    "audit.search": Mapped(API_ACTIVITY, 2),
    "auth.account_locked": Mapped(ACCOUNT_CHANGE, 9),
    "auth.login": Mapped(AUTHENTICATION, 1),
    "auth.logout": Mapped(AUTHENTICATION, 2),
    "auth.password_change": Mapped(ACCOUNT_CHANGE, 3),
    "auth.register": Mapped(ACCOUNT_CHANGE, 1),
    "auth.token_refresh": Mapped(AUTHENTICATION, 5),
    "auth.token_rejected": _other(AUTHENTICATION, "Token Rejected"),
    "config.change": Mapped(ENTITY_MANAGEMENT, 3),
    "consent.grant": Mapped(ENTITY_MANAGEMENT, 1),
    "consent.withdraw": Mapped(ENTITY_MANAGEMENT, 4),
    "data.create": Mapped(API_ACTIVITY, 1),
    "data.delete": Mapped(API_ACTIVITY, 4),
    "data.export": _other(API_ACTIVITY, "Export"),
    "data.read": Mapped(API_ACTIVITY, 2),
    "data.update": Mapped(API_ACTIVITY, 3),
    "incident.record": Mapped(ENTITY_MANAGEMENT, 3),
    "ledger.checkpoint": Mapped(ENTITY_MANAGEMENT, 1),
    "ledger.verify_failed": Mapped(DETECTION_FINDING, 1),
    "mfa.challenge": _other(AUTHENTICATION, "Second Factor"),
    "mfa.challenge_issued": _other(AUTHENTICATION, "Second Factor Requested"),
    "mfa.disable": Mapped(ACCOUNT_CHANGE, 11),
    "mfa.enroll": Mapped(ACCOUNT_CHANGE, 10),
    "mfa.recovery_used": _other(AUTHENTICATION, "Recovery Code Used"),
    "privacy.erasure": Mapped(ENTITY_MANAGEMENT, 4),
    "privacy.export": Mapped(ENTITY_MANAGEMENT, 2),
    "profile.update": _other(ACCOUNT_CHANGE, "Update"),
    "profile.view": Mapped(ENTITY_MANAGEMENT, 2),
    "report.generate": Mapped(ENTITY_MANAGEMENT, 1),
    "report.order": _other(ENTITY_MANAGEMENT, "Order"),
    "report.read": Mapped(ENTITY_MANAGEMENT, 2),
    "report.sign_off": Mapped(ENTITY_MANAGEMENT, 3),
    "review.complete": _other(ENTITY_MANAGEMENT, "Access Review"),
    "session.revoke": Mapped(AUTHENTICATION, 2),
    "system.error": _other(API_ACTIVITY, "Error"),
    "system.heartbeat": _other(API_ACTIVITY, "Heartbeat"),
    "system.start": _other(API_ACTIVITY, "Start"),
    "user.delete": Mapped(ACCOUNT_CHANGE, 6),
    "user.invite": Mapped(ENTITY_MANAGEMENT, 1),
    "user.invite_revoke": Mapped(ENTITY_MANAGEMENT, 4),
    "user.list": Mapped(API_ACTIVITY, 2),
    "user.role_change": _other(ACCOUNT_CHANGE, "Role Change"),
    "user.status_change": Mapped(
        ACCOUNT_CHANGE, OTHER, "Status Change", by="new_status", values={"active": 2, "suspended": 5}
    ),
    "user.unlock": Mapped(ACCOUNT_CHANGE, 12),
    "user.update": _other(ACCOUNT_CHANGE, "Update"),
    "user.view": Mapped(ENTITY_MANAGEMENT, 2),
    "webhook.pause": _other(ENTITY_MANAGEMENT, "Pause"),
}
UNKNOWN = Mapped(API_ACTIVITY)

SEVERITIES: Mapping[str, tuple[int, str]] = {
    "info": (1, "Informational"),
    "low": (2, "Low"),
    "medium": (3, "Medium"),
    "high": (4, "High"),
    "critical": (5, "Critical"),
}
STATUSES: Mapping[str, tuple[int, str]] = {
    "success": (1, "Success"),
    "failure": (2, "Failure"),
    "denied": (2, "Failure"),
    "error": (2, "Failure"),
}
FINDING_STATUSES: Mapping[str, tuple[int, str]] = {
    "open": (1, "New"),
    "acknowledged": (2, "In Progress"),
    "dismissed": (3, "Suppressed"),
    "resolved": (4, "Resolved"),
    "superseded": (5, "Archived"),
}
ENTITY_TYPES: Mapping[str, tuple[int, str]] = {"user": (2, "User"), "tenant": (4, "Organization")}
"""Kinds of targets that OCSF has a number for; any other is Other under its own name."""
USER_TYPES: Mapping[str, tuple[int, str]] = {
    "service": (4, "Service"),
    "system": (3, "System"),
    "anonymous": (0, "Unknown"),
    "tenant_admin": (2, "Admin"),
    "system_admin": (2, "Admin"),
}
"""By kind of actor, then by role; any other person is a User."""
ADDRESS, EMAIL, USER_AGENT, USER_UID = 2, 5, 16, 31
"""Types of observables."""
OBSERVABLE_NAMES: Mapping[int, str] = {
    ADDRESS: "IP Address",
    EMAIL: "Email Address",
    USER_AGENT: "HTTP User-Agent",
    USER_UID: "User Object: uid",
}
FACTORS: Mapping[str, dict[str, object]] = {
    "totp": {"factor_type_id": 7, "factor_type": "OTP", "is_totp": True},
    "recovery": {"factor_type_id": OTHER, "factor_type": "Recovery Code"},
}
