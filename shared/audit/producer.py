"""Events of producers: what POST /events takes, and every reason why one is refused.

Pure: a JSON value and the time go in, a checked event or the list of its faults comes out. Ids are opaque: the service
gives them no meaning, and they are searched for as they are.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.audit.events.consent import ConsentGrant, ConsentWithdraw
from shared.audit.events.custom import CUSTOM_NAME, MAX_NAME, PREFIX, Custom
from shared.audit.events.data import DataCreate, DataDelete, DataExport, DataRead, DataUpdate
from shared.audit.model import AuditEvent, FreeEvent, Outcome
from shared.audit.registry import type_of_class
from shared.audit.sensitive import MESSAGES, find_sensitive
from shared.audit.values import attribute_faults, personal_faults
from shared.core.errors import FieldError
from shared.core.text import Moment, Opaque, address
from shared.privacy.emails import MAX_LENGTH, normal_email

AHEAD = timedelta(minutes=5)
BEHIND = timedelta(days=7)
MOST_SUBJECTS = 20
MOST_RECORDS = 1_000_000_000
LONGEST_PERSONAL = 16_384
LONGEST_AGENT = 512
MOST_FAULTS = 20
_DATA: dict[str, type[FreeEvent]] = {
    "data.read": DataRead,
    "data.create": DataCreate,
    "data.update": DataUpdate,
    "data.delete": DataDelete,
    "data.export": DataExport,
}
_CONSENTS: dict[str, type[AuditEvent]] = {
    "consent.grant": ConsentGrant,
    "consent.withdraw": ConsentWithdraw,
}
_NAME = 64

type Kind = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,39}$")]


class ProducerActor(BaseModel):
    """Who did it: a person (`user`) or a program (`service`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    kind: Literal["user", "service"]
    id: Opaque


class ProducerTarget(BaseModel):
    """What it was done to. The kind `user` is a person."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    kind: Kind
    id: Opaque


class ProducerEvent(BaseModel):
    """One event as a producer gives it. What may be left out may be null."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    type: Annotated[str, StringConstraints(max_length=len(PREFIX) + MAX_NAME)] = Field(
        description="`data.read`, `.create`, `.update`, `.delete`, `.export`, `consent.grant`, `consent.withdraw`, or "
        "`custom.<name>`."
    )
    actor: ProducerActor
    target: ProducerTarget | None = None
    outcome: Outcome = "success"
    producer_id: Opaque | None = Field(
        default=None, description="The producer's own id of the event: honored once within 7 days."
    )
    occurred_at: Moment | None = Field(
        default=None, description="At most 5 minutes ahead and 7 days behind; without it: when it is received."
    )
    data_class: Literal["none", "personal", "confidential", "phi", "cardholder"] | None = None
    record_count: Annotated[int, Field(ge=0, le=MOST_RECORDS)] | None = Field(
        default=None, description="How many records; without it 1 for a `data.*` that succeeded, else 0."
    )
    attributes: dict[str, Any] = Field(
        default_factory=dict, description="At most 50: names of at most 40 characters, texts of at most 500."
    )
    personal: Annotated[dict[Opaque, dict[str, Any]], Field(max_length=MOST_SUBJECTS)] = Field(
        default_factory=dict,
        description="What is known of persons, by their id: sealed under each. E-mail (`email`), address (`ip`) and "
        "`user_agent` of the actor, and the e-mail of the target, can be searched for.",
    )
    subjects: Annotated[list[Opaque], Field(max_length=MOST_SUBJECTS)] = Field(
        default_factory=list, description="Further persons whom it concerns."
    )


@dataclass(frozen=True, slots=True)
class Produced:
    """A producer's event that passed every check."""

    given: ProducerEvent
    event: AuditEvent

    @property
    def record_count(self) -> int:
        """How many records it is about."""
        if self.given.record_count is not None:
            return self.given.record_count
        return int(self.given.outcome == "success" and self.given.type.startswith("data."))

    @property
    def persons(self) -> Iterable[str]:
        """The ids of those of whom it tells something personal."""
        return self.given.personal.keys()

    @property
    def of_actor(self) -> dict[str, Any]:
        """What is known of the actor."""
        return self.given.personal.get(self.given.actor.id, {})

    @property
    def of_target(self) -> dict[str, Any]:
        """What is known of the target."""
        target = self.given.target
        return self.given.personal.get(target.id, {}) if target else {}


def read_event(value: Any, now: datetime, *, suspicious: bool = True) -> Produced | list[FieldError]:
    """The event that a JSON value is, or what is wrong with it; the paths of its fields begin inside of it.

    `suspicious`: whether the text that it came in may hold card numbers or secrets (`may_hold_sensitive`). No fault
    shows a value; where something sensitive was found nothing else is said.
    """
    if suspicious:
        found = find_sensitive(value)
        if found:
            return [FieldError(each.field, each.kind, MESSAGES[each.kind]) for each in found[:MOST_FAULTS]]
    try:
        given = ProducerEvent.model_validate(value)
    except ValidationError as error:
        return _faults_of(error)
    faults = [*_envelope_faults(given, now), *_personal_faults(given)]
    event = _event_of(given, faults)
    if event is None or faults:
        return faults[:MOST_FAULTS]
    return Produced(given, event)


def _envelope_faults(given: ProducerEvent, now: datetime) -> Iterator[FieldError]:
    if given.occurred_at is not None:
        if given.occurred_at > now + AHEAD:
            yield FieldError("occurred_at", "too_far_ahead", "is at most 5 minutes ahead of the server's clock")
        elif given.occurred_at < now - BEHIND:
            yield FieldError("occurred_at", "too_far_behind", "is at most 7 days behind the server's clock")
    if given.type.startswith("data.") and given.data_class in (None, "none"):
        allowed = "phi, cardholder, personal or confidential"
        yield FieldError("data_class", "missing", f"says what data it was: {allowed}")


def _event_of(given: ProducerEvent, faults: list[FieldError]) -> AuditEvent | None:
    """The typed event; None, and why, when the type is not the producer's to write, or not so."""
    model = _DATA.get(given.type) or _CONSENTS.get(given.type) or Custom
    name = given.type.removeprefix(PREFIX)
    if model is Custom:
        if name == given.type:
            faults.append(FieldError("type", "type_not_allowed", "is data.*, consent.* or custom.<name>"))
            return None
        if not CUSTOM_NAME.fullmatch(name):
            words = "words of lower-case letters and digits, joined by . _ or -"
            faults.append(FieldError("type", "custom_name", f"the name after custom. is {words}"))
            return None
    kind = type_of_class(model)
    if given.outcome not in kind.outcomes:
        faults.append(FieldError("outcome", "outcome_not_allowed", f"is {' or '.join(sorted(kind.outcomes))}"))
    faults += attribute_faults(given.attributes)
    if given.type in _CONSENTS:
        return _consent_of(model, given, faults)
    values = {"attributes": given.attributes, **({"named": name} if model is Custom else {})}
    return model.model_construct(None, **values)


def _consent_of(model: type[AuditEvent], given: ProducerEvent, faults: list[FieldError]) -> AuditEvent | None:
    """A consent: its attributes are purpose and version, and it is a person's."""
    if given.actor.kind != "user" and (given.target is None or given.target.kind != "user") and not given.subjects:
        faults.append(FieldError("subjects", "missing", "a consent is of a person: the actor, the target or a subject"))
    try:
        return model.model_validate(given.attributes)
    except ValidationError as error:
        faults += _faults_of(error, "attributes.")
        return None


def _personal_faults(given: ProducerEvent) -> Iterator[FieldError]:
    target = given.target.id if given.target else None
    for subject, data in given.personal.items():
        path = f"personal.{subject}"
        before = 0
        for fault in personal_faults(data, path):
            before += 1
            yield fault
        if before:
            continue
        if _size(data) > LONGEST_PERSONAL:
            yield FieldError(path, "too_large", f"has at most {LONGEST_PERSONAL} bytes as JSON")
        elif subject in (given.actor.id, target):
            yield from _indexed_faults(data, path)


def _indexed_faults(data: dict[str, Any], path: str) -> Iterator[FieldError]:
    """What is searched for has to be what its name says."""
    email, ip, agent = data.get("email"), data.get("ip"), data.get("user_agent")
    if email is not None and not _is_email(email):
        yield FieldError(f"{path}.email", "email", "is an e-mail address")
    if ip is not None and not _is_address(ip):
        yield FieldError(f"{path}.ip", "ip_address", "is an IPv4 or IPv6 address")
    if agent is not None and not (isinstance(agent, str) and len(agent) <= LONGEST_AGENT):
        yield FieldError(f"{path}.user_agent", "string_too_long", f"is text of at most {LONGEST_AGENT} characters")


def _is_email(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) <= MAX_LENGTH and bool(normal_email(value))
    except ValueError:
        return False


def _is_address(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(address(value))
    except ValueError:
        return False


def _size(data: dict[str, Any]) -> int:
    """Bytes of personal data as JSON."""
    return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def _faults_of(error: ValidationError, at: str = "") -> list[FieldError]:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return [FieldError(at + _path(each["loc"]), each["type"], each["msg"]) for each in faults[:MOST_FAULTS]]


def _path(loc: tuple[int | str, ...]) -> str:
    """Where a fault is, as a path; pydantic's own marks are no part of it."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in part[:_NAME])
            path += f".{shown}" if path else shown
    return path
