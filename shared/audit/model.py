"""What every event is made of, around the typed attributes of its own class."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # cold start: functions import this module
    from shared.storage.documents import Item

SCHEMA = 1
PLATFORM_TENANT = "platform"
"""Reserved tenant of what belongs to no customer: failed logins of unknown accounts, rejected tokens."""

type Outcome = Literal["success", "failure", "denied", "error"]
type Severity = Literal["info", "low", "medium", "high", "critical"]
type DataClass = Literal["none", "personal", "confidential", "phi", "cardholder"]
type ActorKind = Literal["user", "service", "system", "anonymous"]
type SourceKind = Literal["session", "api_key", "function"]
type StoredEvent = Item


@dataclass(frozen=True, slots=True)
class PersonalOf:
    """Marks a field of an event class as personal data of the event's actor or of its target; `concerned`: of the
    target where that is a person, invited ones included, of the actor otherwise."""

    whose: Literal["actor", "target", "concerned"]


class AuditEvent(BaseModel):
    """Base of every event class: its fields are the event's attributes, those marked PersonalOf are sealed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it. `id` and `role` are None for the anonymous and the system; `email` is sealed, never stored clear."""

    kind: ActorKind
    id: str | None = None
    role: str | None = None
    email: str | None = field(default=None, repr=False)


ANONYMOUS = Actor("anonymous")
SYSTEM = Actor("system")


@dataclass(frozen=True, slots=True)
class Target:
    """What it was done to. `email` only for a person: sealed, and searchable through the blind index."""

    kind: str
    id: str
    email: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What is known of the request in which something happened. Address and user agent are personal data."""

    request_id: str
    route: str
    function: str
    started_at: datetime
    ip: str | None = field(default=None, repr=False)
    user_agent: str | None = field(default=None, repr=False)
    trace_id: str | None = None
    session_id: str | None = None
    api_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be: the typed event and everything around it that its writer knows.

    `person` owns e-mail, address and user agent of the request: the acting user; for a failed login the account
    tried. Nobody there, nothing personal is kept. `email_typed` is what stood in the form, when it is not the actor's.
    """

    tenant_id: str
    event: AuditEvent
    request: RequestContext
    outcome: Outcome = "success"
    reason: str | None = None
    actor: Actor = ANONYMOUS
    target: Target | None = None
    person: str | None = None
    email_typed: str | None = field(default=None, repr=False)
    data_class: DataClass = "none"
    record_count: int = 0
    occurred_at: datetime | None = None
    severity: Severity | None = None
