"""Reports."""

from typing import Literal

from pydantic import Field

from functions._api import Answer, Api, Call, ListQuery, Nothing, Shape
from functions._cursors import read_cursor, write_cursor
from functions._shapes import ListShape, page
from shared.identity.model import READERS

api = Api("reports")


class AlertsRaised(Shape):
    """Alerts raised in the period."""

    total: int
    by_pattern: dict[str, int]


class AccessDeniedCounts(Shape):
    """Refusals in the period."""

    total: int
    by_reason: dict[str, int]


class ReportShape(Shape):
    """A daily activity report. `building` while its day can still get events."""

    id: str
    framework: Literal["activity"]
    from_: str = Field(alias="from")
    to: str
    generated_at: str
    status: Literal["building", "ready"]
    events_in_period: int
    by_type: dict[str, dict[str, int]]
    alerts_raised: AlertsRaised
    access_denied: AccessDeniedCounts


class ReportList(ListShape):
    """One page of reports."""

    items: list[ReportShape]


@api.endpoint("GET", "v1/reports", who=READERS, scope="reports:read", query=ListQuery, response=ReportList)
async def list_reports(call: Call[Nothing, ListQuery]) -> Answer:
    """The tenant's reports, newest period first."""
    from shared.compliance.model import shown_report

    after = await read_cursor(call)
    found = await call.services.reports.page(call.known.tenant_id, limit=call.query.limit, after=after)
    return Answer(page([shown_report(item) for item in found.items], await write_cursor(call, found.next)))


@api.endpoint("GET", "v1/reports/{id:guid}", who=READERS, scope="reports:read", response=ReportShape, errors=(404,))
async def get_report(call: Call[Nothing, Nothing]) -> Answer:
    """One report. Reading it is an event of its own."""
    from shared.compliance.model import shown_report

    wanted = call.path["id"]
    caller = call.known
    item = await call.services.reports.read(caller.tenant_id, wanted, caller.actor, call.request)
    if item is None:
        raise await call.services.access.unknown_id(caller, "report", wanted, call.request)
    return Answer(shown_report(item))
