"""Roles, the stored forms of tenant, user and session, and the caller of a request."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.audit.model import Actor
from shared.core.clock import parse_rfc3339, rfc3339
from shared.core.text import folded

if TYPE_CHECKING:  # cold start: functions import this module
    from shared.storage.documents import Item

TENANT_ITEM = "tenant"
"""The id of a tenant's own item in its partition."""
PROFILE_FIELDS = ("phone", "company", "job_title", "location", "website", "bio")


class Role(StrEnum):
    """Roles of a tenant's users, by rank."""

    VIEWER = "viewer"
    USER = "user"
    AUDITOR = "auditor"
    TENANT_ADMIN = "tenant_admin"
    SYSTEM_ADMIN = "system_admin"

    @property
    def rank(self) -> int:
        """10 (viewer) to 50 (system_admin)."""
        return 10 * (list(Role).index(self) + 1)


USERS: tuple[Role, ...] = tuple(Role)
ADMINS: tuple[Role, ...] = (Role.TENANT_ADMIN, Role.SYSTEM_ADMIN)
PRODUCERS: tuple[Role, ...] = (Role.TENANT_ADMIN,)
"""Users who may write events as programs do: those who can make a key for it anyway."""
READERS: tuple[Role, ...] = (Role.AUDITOR, *ADMINS)
"""Who may read events, alerts and reports: auditors and administrators."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a request, after token, session and user were checked."""

    user_id: str
    tenant_id: str
    session_id: str
    role: Role
    email: str = field(repr=False)
    user: "Item" = field(repr=False)
    session: "Item" = field(repr=False)
    tenant: "Item" = field(repr=False)

    @property
    def session_started_at(self) -> datetime:
        """When the session was opened."""
        return parse_rfc3339(self.session["created_at"])

    @property
    def actor(self) -> Actor:
        """The caller as the actor of an event."""
        return Actor("user", self.user_id, self.role.value, self.email)

    @property
    def person(self) -> str:
        """Whose address and user agent the request carries."""
        return self.user_id

    @property
    def source_id(self) -> str:
        """What the caller shows to be known: the session."""
        return self.session_id

    @property
    def power(self) -> str:
        """What refusals name: the role."""
        return self.role.value


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """A program that calls with an API key, after the key and its tenant were checked. It is nobody's person."""

    key_id: str
    tenant_id: str
    scopes: frozenset[str]
    person: None = None
    power: str = "service"
    last_sent_at: str | None = None
    """When the key last sent events, true to the hour; None: it never did."""
    silent: bool = False
    """Whether it was told of that it sends none any more."""

    @property
    def actor(self) -> Actor:
        """The caller as the actor of an event."""
        return Actor("service", self.key_id)

    @property
    def source_id(self) -> str:
        """What the caller shows to be known: the key."""
        return self.key_id


type Caller = Principal | ServicePrincipal


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """Who wants an account, however it is come by. Texts are validated, the e-mail as typed."""

    email: str = field(repr=False)
    password: str = field(repr=False)
    first_name: str = field(repr=False)
    last_name: str = field(repr=False)
    marketing_opt_in: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(Applicant):
    """What someone gives to open an account with a new organization."""

    organization: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance(Applicant):
    """What someone gives to open an account in the organization that an invitation is of."""

    invitation: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client gets for proving who it is. `expires_in`: seconds that the access token lives."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int


def user_key(user_id: str) -> str:
    """The id of a user's item in its tenant's partition."""
    return f"user|{user_id}"


def session_key(session_id: str) -> str:
    """The id of a session's item in its tenant's partition."""
    return f"session|{session_id}"


def attempts_key(user_id: str) -> str:
    """The id of the item that counts a user's failed logins since the last success."""
    return f"attempts|{user_id}"


def new_tenant(tenant_id: str, name: str, now: datetime) -> "Item":
    """The stored form of a new tenant."""
    return {
        "id": TENANT_ITEM,
        "tenant_id": tenant_id,
        "kind": "tenant",
        "name": name,
        "status": "active",
        "admins": 1,
        "created_at": rfc3339(now),
    }


def admins_of(tenant: "Item") -> int:
    """How many active tenant_admins a tenant has. Tenants of version 0.1.0 do not say: they have their first one."""
    return int(tenant.get("admins", 1))


def is_active_admin(user: "Item") -> bool:
    """Whether a user counts among those that a tenant must have one of."""
    return bool(user["role"] == Role.TENANT_ADMIN and user["status"] == "active")


def new_user(
    user_id: str, tenant_id: str, registration: Applicant, role: Role, password_hash: str, now: datetime
) -> "Item":
    """The stored form of a new user."""
    user: Item = {
        "id": user_key(user_id),
        "tenant_id": tenant_id,
        "kind": "user",
        "user_id": user_id,
        "email": registration.email,
        "first_name": registration.first_name,
        "last_name": registration.last_name,
        "role": role.value,
        "status": "active",
        "password_hash": password_hash,
        "mfa": False,
        "sessions_valid_from": rfc3339(now),
        "created_at": rfc3339(now),
        "updated_at": rfc3339(now),
        **dict.fromkeys(PROFILE_FIELDS),
    }
    return {**user, **search_fields(user)}


SEARCHED = ("search_email", "search_name", "search_last_name")


def search_fields(user: "Item") -> dict[str, str]:
    """What the search for users looks at, from names and e-mail: whoever changes those writes these again."""
    first, last = user["first_name"], user["last_name"]
    return dict(zip(SEARCHED, (folded(user["email"]), folded(f"{first} {last}"), folded(last)), strict=True))


def shown_user(user: "Item") -> dict[str, Any]:
    """A user as the API shows it: without hashes and store fields."""
    names = ("email", "first_name", "last_name", "role", "status", "tenant_id", "created_at", "updated_at", "mfa")
    return {"id": user["user_id"], **{name: user[name] for name in (*names, *PROFILE_FIELDS)}}
