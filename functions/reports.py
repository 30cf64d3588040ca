"""Reports."""

from typing import Annotated, Literal

from pydantic import Field

from functions._api import Answer, Api, Body, Call, ListQuery, Nothing, Shape
from functions._cursors import read_cursor, write_cursor
from functions._shapes import ListShape, page
from shared.core.text import Paragraphs
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


class SignOffShape(Shape):
    """Who signed a report off, as what, when, and what they stated. `digest`: SHA-256, hex, of the report as it was
    shown, without its sign-offs: canonical JSON, as `report.generate` has it."""

    user_id: str
    role: str
    at: str
    statement: str
    digest: str


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
    sign_offs: list[SignOffShape] | None = Field(default=None, description="Oldest first; not in lists.")


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
    from shared.compliance.sign_off import shown_sign_off

    wanted = call.path["id"]
    caller = call.known
    item = await call.services.reports.read(caller.tenant_id, wanted, caller.actor, call.request)
    if item is None:
        raise await call.services.access.unknown_id(caller, "report", wanted, call.request)
    signed = await call.services.sign_offs.of(caller.tenant_id, wanted)
    return Answer({**shown_report(item), "sign_offs": [shown_sign_off(each) for each in signed]})


class SignOffBody(Body):
    """What the caller states about the report."""

    statement: Annotated[Paragraphs, Field(min_length=3)] = Field(repr=False)


@api.endpoint(
    "POST",
    "v1/reports/{id:guid}/sign-off",
    who=READERS,
    body=SignOffBody,
    response=SignOffShape,
    status=201,
    errors=(404, 409),
    told=("statement",),
)
async def sign_off_report(call: Call[SignOffBody, Nothing]) -> Answer:
    """Sign a report off, once and for good. A report that can still change: 409 `report_not_ready`. Who has signed it
    already and states something else: 409 `signed_off_already`; the same statement again is no second sign-off."""
    from shared.compliance.sign_off import shown_sign_off

    caller, wanted = call.principal, call.path["id"]
    item = await call.services.sign_offs.sign(caller.tenant_id, wanted, call.body.statement, caller.actor, call.request)
    if item is None:
        raise await call.services.access.unknown_id(caller, "report", wanted, call.request)
    return Answer(shown_sign_off(item), status=201)
