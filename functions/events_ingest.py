"""Events of other services: how they enter the trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from functions._api import Answer, Api, Call, Nothing, ReadBody, Shape
from functions._parsing import idempotency_key
from functions._shapes import FieldFault, Problem, shown_faults
from shared.audit.producer import ProducerEvent
from shared.audit.sensitive import may_hold_sensitive
from shared.core.errors import FieldError, Invalid
from shared.identity.model import PRODUCERS, ServicePrincipal

if TYPE_CHECKING:  # cold start
    from shared.audit.ingest import Result

api = Api("events")

MOST_EVENTS = 500
MOST_FAULTS = 500


@dataclass(frozen=True, slots=True)
class Sent:
    """The events of a request, unchecked but for their number: what each is, ingest says one by one."""

    values: Sequence[Any]
    suspicious: bool
    single: bool

    def path(self, place: int, field: str) -> str:
        """A field of the event at a place, as a path into the body."""
        if self.single:
            return field
        inside = field if not field or field.startswith("[") else f".{field}"
        return f"events[{place}]{inside}"


def _either(schema: dict[str, Any]) -> None:
    schema.pop("required", None)
    schema["oneOf"] = [{"required": ["type", "actor"]}, {"required": ["events"]}]


class EventsBody(ReadBody, ProducerEvent):
    """One event, or `events`: 1 to 500 of them, and nothing else."""

    model_config = ConfigDict(json_schema_extra=_either)

    events: list[ProducerEvent] = Field(default_factory=list, min_length=1, max_length=MOST_EVENTS)

    @classmethod
    def read(cls, value: Any, text: str) -> Sent:
        """The events, or the one that it is."""
        single = not (isinstance(value, dict) and "events" in value)
        return Sent([value] if single else _listed(value), may_hold_sensitive(text), single)


def _listed(value: dict[str, Any]) -> list[Any]:
    """The events of a list. Invalid (422) for what stands beside it, and for a list of no or too many."""
    others = tuple(
        FieldError(name[:100], "extra_forbidden", "does not go with events") for name in value if name != "events"
    )
    events = value["events"]
    fault = None
    if not isinstance(events, list):
        fault = FieldError("events", "list_type", "is a list of events")
    elif not 1 <= len(events) <= MOST_EVENTS:
        code = "too_long" if events else "too_short"
        fault = FieldError("events", code, f"has 1 to {MOST_EVENTS} events")
    faults = (*others[:20], *([fault] if fault else []))
    if faults:
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=faults)
    return list(events)


class ItemShape(Shape):
    """What became of one event."""

    id: str | None
    status: Literal["created", "duplicate", "rejected"]
    errors: list[FieldFault] | None = None


class IngestShape(Shape):
    """What became of each event, in their order."""

    items: list[ItemShape]


class RejectedShape(Problem):
    """Every event was refused."""

    items: list[ItemShape] | None = None


@api.endpoint(
    "POST",
    "v1/events",
    who=PRODUCERS,
    body=EventsBody,
    response=IngestShape,
    status=201,
    also={207: IngestShape, 422: RejectedShape},
    scope="events:write",
    idempotent=True,
    told=("type", "outcome", "data_class", "record_count", "occurred_at", "producer_id"),
)
async def write_events(call: Call[Any, Nothing]) -> Answer:
    """Write events of other services into the trail, each once. 201: every event is created, or was before
    (duplicate); 207: some are, the others are refused; 422: all are refused. What is accepted is durable. With an
    Idempotency-Key the same body has the same answer for 24 hours; a producer_id is honored once within 7 days."""
    from shared.audit.ingest import Batch, Source

    sent: Sent = call.body
    source = Source(call.known.tenant_id, _caller(call))
    batch = Batch(sent.values, sent.suspicious, idempotency_key(call.idempotency_key))
    results = await call.services.ingest.accept(source, batch, call.request)
    if any(each.id is not None for each in results) and isinstance(call.known, ServicePrincipal):
        await call.services.sources.sent(call.known, call.request)
    items = [_shown(sent, place, each) for place, each in enumerate(results)]
    refused = [item for item in items if item["status"] == "rejected"]
    if len(refused) == len(items):
        faults = tuple(FieldError(**fault) for item in items for fault in item["errors"])[:MOST_FAULTS]
        raise Invalid("invalid_request", "No event was accepted.", errors=faults, members={"items": items})
    return Answer({"items": items}, status=207 if refused else 201)


def _caller(call: Call[Any, Any]) -> str:
    """Whose idempotency keys these are: one API key's, or one user's in all sessions."""
    actor = call.known.actor
    return f"{actor.kind}|{actor.id}"


def _shown(sent: Sent, place: int, result: "Result") -> dict[str, Any]:
    item: dict[str, Any] = {"id": result.id, "status": result.status}
    if result.errors:
        faults = (FieldError(sent.path(place, each.field), each.code, each.message) for each in result.errors)
        item["errors"] = shown_faults(faults)
    return item
