"""Alerts."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from functions._api import Answer, Api, Body, Call, ListQuery, Nothing, Shape
from functions._cursors import read_cursor, write_cursor
from functions._shapes import ListShape, page
from shared.core.errors import FieldError, Invalid, NotFoundError
from shared.core.text import Moment, Opaque, Paragraphs
from shared.identity.model import ADMINS, READERS

if TYPE_CHECKING:  # cold start
    from collections.abc import Awaitable

    from shared.detection.handling import Handler
    from shared.storage.documents import Item

api = Api("alerts")


class AlertQuery(ListQuery):
    """Filters of the alert list; all given ones must hold."""

    pattern: Opaque | None = None
    severity: Literal["medium", "high", "critical"] | None = None
    status: Literal["open", "acknowledged", "resolved", "dismissed"] | None = None
    from_: Moment | None = Field(default=None, alias="from", description="First seen at or after.")
    to: Moment | None = Field(default=None, description="First seen before.")


class HistoryEntry(Shape):
    """One change of an alert."""

    at: str
    by: str
    from_: str | None = Field(alias="from")
    to: str
    note: str | None


class IncidentShape(Shape):
    """What was decided about the incident behind an alert."""

    aware_at: str
    decision: str
    authority_notified_at: str | None
    subjects_notified_at: str | None
    facts: str
    recorded_at: str
    recorded_by: str | None


class AlertShape(Shape):
    """One alert: an episode of one pattern on one key."""

    id: str
    pattern: str
    severity: Literal["medium", "high", "critical"]
    status: Literal["open", "acknowledged", "resolved", "dismissed", "superseded"]
    key: str
    title: str
    first_seen: str
    last_seen: str
    count: int
    count_is_minimum: Literal[True] | None = None
    event_ids: list[str]
    attack: list[str]
    runbook: list[str]
    superseded_by: str | None = None
    incident: IncidentShape | None = None
    created_at: str
    closed_at: str | None = None
    history: list[HistoryEntry]


class AlertList(ListShape):
    """One page of alerts."""

    items: list[AlertShape]


@api.endpoint("GET", "v1/alerts", who=READERS, scope="alerts:read", query=AlertQuery, response=AlertList)
async def list_alerts(call: Call[Nothing, AlertQuery]) -> Answer:
    """The tenant's alerts, newest episode first."""
    query = call.query
    alerts = call.services.alerts
    found = await alerts.list(
        call.known.tenant_id,
        pattern=query.pattern,
        severity=query.severity,
        status=query.status,
        from_=query.from_,
        to=query.to,
        limit=query.limit,
        after=await read_cursor(call),
    )
    return Answer(page([alerts.shown(item) for item in found.items], await write_cursor(call, found.next)))


@api.endpoint("GET", "v1/alerts/{id:guid}", who=READERS, scope="alerts:read", response=AlertShape, errors=(404,))
async def get_alert(call: Call[Nothing, Nothing]) -> Answer:
    """One alert, also a superseded one. `ETag` names its version: it changes while the attack goes on."""
    return await _answer(call, call.services.alerts.get(call.known.tenant_id, call.path["id"]))


class HandlingBody(Body):
    """What becomes of an alert."""

    status: Literal["acknowledged", "resolved", "dismissed"]
    note: Annotated[Paragraphs, Field(min_length=3, max_length=2000)] | None = Field(
        default=None, description="What was found; required to resolve or dismiss."
    )


@api.endpoint(
    "PATCH",
    "v1/alerts/{id:guid}",
    who=ADMINS,
    body=HandlingBody,
    response=AlertShape,
    errors=(404, 409, 412),
    step_up=True,
    told=tuple(HandlingBody.model_fields),
)
async def update_alert(call: Call[HandlingBody, Nothing]) -> Answer:
    """Acknowledge, resolve or dismiss an alert. What happens after the closing opens another one. A closed or
    superseded alert stays as it is: 409 `alert_closed`; so does an acknowledged one that is acknowledged again: 409
    `alert_unchanged`. `If-Match` guards against lost updates."""
    body = call.body
    if body.note is None and body.status != "acknowledged":
        fault = FieldError("note", "missing", "is required to resolve or dismiss")
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=(fault,))
    alerts, handler, alert_id = call.services.alerts, _handler(call), call.path["id"]
    return await _answer(call, alerts.update(handler, alert_id, body.status, body.note, call.if_match, call.request))


class IncidentBody(Body):
    """What was decided about the incident behind an alert; deadlines of notification begin at `aware_at`."""

    aware_at: Moment
    decision: Annotated[Paragraphs, Field(min_length=3, max_length=500)] = Field(
        description="Reports read how it begins: `reportable`, or `not reportable`; else they say that it is not known."
    )
    facts: Annotated[Paragraphs, Field(min_length=3, max_length=4000)]
    authority_notified_at: Moment | None = None
    subjects_notified_at: Moment | None = None


@api.endpoint(
    "PUT",
    "v1/alerts/{id:guid}/incident",
    who=ADMINS,
    body=IncidentBody,
    response=AlertShape,
    errors=(404, 412),
    step_up=True,
    told=tuple(IncidentBody.model_fields),
)
async def record_incident(call: Call[IncidentBody, Nothing]) -> Answer:
    """Record the incident behind an alert, open or closed, in place of what was recorded before."""
    from shared.detection.handling import Incident

    body = call.body
    if body.aware_at > call.services.clock.now():
        fault = FieldError("aware_at", "future", "must not be in the future")
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=(fault,))
    incident = Incident(body.aware_at, body.decision, body.facts, body.authority_notified_at, body.subjects_notified_at)
    alerts, handler, alert_id = call.services.alerts, _handler(call), call.path["id"]
    return await _answer(call, alerts.record_incident(handler, alert_id, incident, call.if_match, call.request))


class PatternShape(Shape):
    """One threat pattern, with the thresholds that hold for the tenant."""

    id: str
    title: str
    severity: Literal["medium", "high", "critical"]
    attack: list[str]
    description: str
    false_positives: list[str]
    runbook: list[str]
    thresholds: dict[str, int]


class PatternList(Shape):
    """Every threat pattern."""

    items: list[PatternShape]


@api.endpoint("GET", "v1/alert-patterns", who=READERS, response=PatternList)
async def list_alert_patterns(call: Call[Nothing, Nothing]) -> Answer:
    """The threat patterns: what they find, what to do then, and the thresholds that hold for the tenant."""
    return Answer({"items": await call.services.alerts.patterns(call.known.tenant_id)})


def _handler(call: Call[Any, Any]) -> "Handler":
    from shared.detection.handling import Handler

    return Handler(call.principal.tenant_id, call.principal.actor, call.principal.person)


async def _answer(call: Call[Any, Any], work: "Awaitable[Item]") -> Answer:
    from shared.storage.versions import entity_tag

    try:
        alert = await work
    except NotFoundError:
        raise await call.services.access.unknown_id(call.known, "alert", call.path["id"], call.request) from None
    return Answer(call.services.alerts.shown(alert), headers={"ETag": entity_tag(alert)})
