"""What every event is made of, around the typed attributes of its own class."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.audit.values import attribute_faults

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


def _checked(attributes: dict[str, Any]) -> dict[str, Any]:
    for fault in attribute_faults(attributes):
        raise ValueError(f"{fault.field} {fault.message}")
    return attributes


type Attributes = Annotated[dict[str, Any], AfterValidator(_checked)]
"""Attributes of a writer's own: see `attribute_faults`."""


class AuditEvent(BaseModel):
    """Base of every event class: its fields are the event's attributes, those marked PersonalOf are sealed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)
    sparse: ClassVar[frozenset[str]] = frozenset()
    """Attributes that are not stored where they are None."""

    def type_name(self, registered: str) -> str:
        """The type that is stored: the registered one, but where a class stands for many."""
        return registered

    def stored_attributes(self, personal: Collection[str]) -> dict[str, Any]:
        """The attributes as they are stored, in clear: all fields but the personal ones, and `sparse` ones if given."""
        stored = self.model_dump(mode="json", exclude=set(personal))
        return {name: value for name, value in stored.items() if value is not None or name not in self.sparse}


class ApprovedEvent(AuditEvent):
    """Base of changes that somebody else may have approved. `approved_by`: the id of that user; `ticket`: what names
    the request in the organization's own system. Both are as whoever made the change said."""

    sparse: ClassVar[frozenset[str]] = frozenset({"approved_by", "ticket"})
    approved_by: str | None = None
    ticket: str | None = None


class FreeEvent(AuditEvent):
    """Base of event classes whose attributes are their writer's own, within bounds."""

    attributes: Attributes = Field(default_factory=dict)

    def stored_attributes(self, personal: Collection[str]) -> dict[str, Any]:
        """The attributes as they were given."""
        return self.attributes


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
    `data_class` and `severity`: None for those of the type. `personal`: what a producer knows of persons, by their id;
    `subjects`: further persons whom it concerns.
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
    data_class: DataClass | None = None
    record_count: int = 0
    occurred_at: datetime | None = None
    severity: Severity | None = None
    personal: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    subjects: tuple[str, ...] = ()
