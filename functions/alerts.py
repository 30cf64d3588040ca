"""Alerts."""

from typing import Literal

from pydantic import Field

from functions._api import Answer, Api, Call, ListQuery, Nothing, Shape
from functions._cursors import read_cursor, write_cursor
from functions._shapes import ListShape, page
from shared.core.text import Moment, Opaque
from shared.identity.model import READERS

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
    event_ids: list[str]
    attack: list[str]
    runbook: list[str]
    superseded_by: str | None = None
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
