"""Reports."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlencode

from pydantic import ConfigDict, Field

from functions._api import Answer, Api, Body, Call, ListQuery, Nothing, OneOf, Shape
from functions._cursors import read_cursor, read_place, refused, write_cursor, write_place
from functions._report_settings import Framework
from functions._shapes import ListShape, page
from shared.compliance.kinds import DAILY, ORDER
from shared.core.errors import Clash, FieldError, Forbidden, Invalid
from shared.core.text import Day, Paragraphs
from shared.identity.model import ADMINS, READERS

type SignedAs = Literal["prepared", "reviewed", "approved"]

if TYPE_CHECKING:  # cold start
    from shared.storage.documents import Item

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
    """Who signed a report off, when, and what they stated. `role`: that of the account then; `signed_as`: whether they
    prepared, reviewed or approved it. `digest`: SHA-256, hex, of the report as it was shown, without its sign-offs:
    canonical JSON, as `report.generate` has it."""

    user_id: str
    role: str
    signed_as: SignedAs
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


class SummaryShape(Shape):
    """How many controls have which status."""

    satisfied: int
    exception: int
    not_evidenced: int
    not_applicable: int


class FrameworkReportShape(Shape):
    """A report on the controls of a framework. `digest`: SHA-256, hex, of its JSON form while nobody has signed it off;
    `bytes`: the size of that. `gate_passed`: whether the trail of the period can be relied on."""

    id: str
    framework: Framework
    from_: str = Field(alias="from")
    to: str
    status: Literal["ready"]
    generated_at: str
    generated_by: str
    gate_passed: bool
    events_in_period: int
    summary: SummaryShape
    digest: str
    bytes: int
    sign_offs: list[SignOffShape] | None = Field(default=None, description="Oldest first; not in lists.")


class OrderedReportShape(Shape):
    """A report that was asked for and is not there yet. `reason`: why it failed; it may be asked for again.
    `waits_for`: what has to come by for its period first: the check of the ledger, or detection."""

    id: str
    framework: Framework
    from_: str = Field(alias="from")
    to: str
    status: Literal["queued", "building", "failed"]
    ordered_at: str
    reason: str | None = None
    waits_for: Literal["ledger_check", "detection"] | None = None


class WholeReportShape(Shape):
    """A framework's report in its JSON form; docs/compliance-report.schema.json is its schema."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow", frozen=True, defer_build=True)

    format: Literal["kraftd-audit-report/1"]
    id: str


class ListedReport(OneOf):
    """A report as lists show it."""

    root: ReportShape | FrameworkReportShape | OrderedReportShape


class OneReport(OneOf):
    """A report: what there is to tell of it, or with `format=json` all of it."""

    root: ReportShape | FrameworkReportShape | OrderedReportShape | WholeReportShape


class MadeReport(OneOf):
    """The report that was asked for."""

    root: FrameworkReportShape


class ReportList(ListShape):
    """One page of reports."""

    items: list[ListedReport]


class ReportsQuery(ListQuery):
    """Filters of the list of reports."""

    framework: Literal["activity"] | Framework | None = Field(
        default=None, description="`activity` is that of the daily reports."
    )


class ReportQuery(Body):
    """In which form a report is wanted."""

    format: Literal["json", "html", "pdf", "csv", "oscal", "bundle"] | None = Field(
        default=None, description="Without one: what there is to tell of the report, as lists have it."
    )
    cursor: str | None = Field(default=None, max_length=2048, description="As `Link` of the part before names it.")


class ReportBody(Body):
    """Which report. Days are of UTC; the last one is the day before `to`, and must be over."""

    framework: Framework
    from_: Day = Field(alias="from", description="The first day.")
    to: Day = Field(description="The day after the last one; 366 days at most.")


@api.endpoint(
    "POST",
    "v1/reports",
    who=ADMINS,
    body=ReportBody,
    response=MadeReport,
    status=201,
    errors=(404,),
    also={202: OrderedReportShape},
    told=("framework", "from", "to"),
)
async def create_report(call: Call[ReportBody, Nothing]) -> Answer:
    """Ask for a report on a framework. There is one for each framework and period: asked for again, it is the same.
    201 when it is there, or quickly made; 202 when it takes longer, its last day is over for less than an hour, or the
    trail of the period is still to be checked: `Location` is where it will be."""
    body, caller = call.body, call.principal
    wanted = (caller.tenant_id, body.framework, body.from_, body.to)
    item = await call.services.framework_reports.orders.ask(*wanted, caller.actor, call.request)
    shown = _shown(item)
    status = 201 if shown["status"] == "ready" else 202
    return Answer(shown, status=status, headers={"Location": f"/api/v1/reports/{shown['id']}"})


@api.endpoint("GET", "v1/reports", who=READERS, scope="reports:read", query=ReportsQuery, response=ReportList)
async def list_reports(call: Call[Nothing, ReportsQuery]) -> Answer:
    """The tenant's reports, newest period first: daily ones, those on frameworks, and those still to be made."""
    after, query = await read_cursor(call), call.query
    found = await call.services.reports.page(
        call.known.tenant_id, limit=query.limit, after=after, framework=query.framework
    )
    made = {item["id"] for item in found.items}
    items = [_shown(item) for item in found.items if item.get("report_id") not in made]
    return Answer(page(items, await write_cursor(call, found.next)))


@api.endpoint(
    "GET",
    "v1/reports/{id:guid}",
    who=READERS,
    scope="reports:read",
    query=ReportQuery,
    response=OneReport,
    errors=(404, 409),
    produces={
        "text/html": "`html`: to read and to print.",
        "application/pdf": "`pdf`: PDF/A-3.",
        "application/zip": "`csv`: a file for each table. `bundle`: one part of an evidence bundle with the report.",
        "application/oscal+json": "`oscal`: assessment results.",
    },
)
async def get_report(call: Call[Nothing, ReportQuery]) -> Answer:
    """One report, or one on a framework in a form. Reading one is an event of its own. A form comes in parts of at most
    8 MiB; `Link` with `rel="next"` names the next part, for 15 minutes; joined byte by byte they are one file. A
    bundle's parts are files of their own, and not for API keys. A report that is not there yet: 409 `report_not_ready`
    if a form of it is asked for."""
    from shared.compliance.sign_off import shown_sign_off

    wanted, caller, form = call.path["id"], call.known, call.query.format
    delivery = call.services.framework_reports.delivery
    item = await delivery.find(caller.tenant_id, wanted)
    if item is None:
        raise await call.services.access.unknown_id(caller, "report", wanted, call.request)
    if form is not None and item["kind"] != DAILY:
        return await _in_form(call, item, form)
    if form not in (None, "json"):
        raise _no_such_form()
    if item["kind"] == ORDER:
        return Answer(_shown(item))
    await delivery.tell(item, "json" if item["kind"] == DAILY else "summary", caller.actor, call.request)
    signed = await call.services.sign_offs.of(caller.tenant_id, wanted)
    return Answer({**_shown(item), "sign_offs": [shown_sign_off(each) for each in signed]})


async def _in_form(call: Call[Nothing, ReportQuery], item: "Item", form: str) -> Answer:
    """A framework's report in a form, or a part of that."""
    from shared.audit.export_runs import RunOver

    if item["status"] != "ready":
        raise Clash("report_not_ready", "The report is not there yet; nothing but its status can be read.")
    place = await read_place(call)
    try:
        return await (_bundle(call, item, place) if form == "bundle" else _file(call, item, form, place))
    except RunOver:
        raise refused() from None


async def _file(call: Call[Nothing, ReportQuery], head: "Item", form: Any, place: list[Any] | None) -> Answer:
    delivery, known = call.services.framework_reports.delivery, call.known
    cut = await delivery.cut(head, form, (place[0], place[1], place[2]) if place else None)
    if place is None:
        await delivery.tell(head, form, known.actor, call.request)
    headers = {"Content-Disposition": f'attachment; filename="{cut.file.file_name}"'}
    if form == "html":
        from shared.compliance.render.html import policy

        headers["Content-Security-Policy"] = f"{policy()}; frame-ancestors 'none'"
    if cut.next is not None:
        headers["Link"] = _link(form, await write_place(call, [cut.number + 1, cut.next, cut.digest]))
    return Answer(cut.body, headers=headers, media_type=cut.file.media_type.partition(";")[0])


async def _bundle(call: Call[Nothing, ReportQuery], head: "Item", place: list[Any] | None) -> Answer:
    """The evidence of a report holds the whole trail of its months: for people, as the ledger's own bundles are."""
    from shared.audit.model import Draft
    from shared.audit.search import exported
    from shared.ledger.evidence import Place

    known = call.known
    if known.person is None:
        await call.services.access.denied(known, "scope", call.request, None, required_scope=None)
        raise Forbidden("forbidden", "Bundles are not for API keys.")
    event = exported("bundle", {"report": head["id"]}, by_person=True)
    draft = Draft(known.tenant_id, event, call.request, actor=known.actor, person=known.person)
    part = await call.services.framework_reports.delivery.bundle(head, Place(*place) if place else None, draft)
    if place is None:
        await call.services.framework_reports.delivery.tell(head, "bundle", known.actor, call.request)
    name = f"{head['framework']}-{head['from']}-{head['to']}-bundle-{part.number:05d}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Record-Count": str(part.entries)}
    if part.next is not None:
        at = part.next
        headers["Link"] = _link("bundle", await write_place(call, [at.run, at.part, at.entries, at.period, at.number]))
    return Answer(part.body, headers=headers, media_type="application/zip")


def _link(form: str, cursor: str) -> str:
    return f'<?{urlencode({"format": form, "cursor": cursor})}>; rel="next"'


def _no_such_form() -> Invalid:
    fault = FieldError("format", "no_such_form", "daily reports are JSON alone")
    return Invalid("invalid_request", "Some fields are not as they must be.", errors=(fault,))


def _shown(item: "Item") -> dict[str, Any]:
    """What lists tell of a report of any kind."""
    if item["kind"] == DAILY:
        from shared.compliance.model import shown_report

        return shown_report(item)
    if item["kind"] == ORDER:
        from shared.compliance.orders import shown_order

        return shown_order(item)
    from shared.compliance.delivery import shown_head

    return shown_head(item)


class SignOffBody(Body):
    """What the caller states about the report, and as whom: who prepared, reviewed or approved it."""

    statement: Annotated[Paragraphs, Field(min_length=3)] = Field(repr=False)
    signed_as: SignedAs = "reviewed"


@api.endpoint(
    "POST",
    "v1/reports/{id:guid}/sign-off",
    who=READERS,
    body=SignOffBody,
    response=SignOffShape,
    status=201,
    errors=(404, 409),
    told=("statement", "signed_as"),
)
async def sign_off_report(call: Call[SignOffBody, Nothing]) -> Answer:
    """Sign a report off, once and for good. A report that can still change: 409 `report_not_ready`. Who has signed it
    already and states something else: 409 `signed_off_already`; the same again is no second sign-off."""
    from shared.compliance.sign_off import shown_sign_off

    caller, wanted, body = call.principal, call.path["id"], call.body
    about = (caller.tenant_id, wanted, body.statement, caller.actor, call.request)
    item = await call.services.sign_offs.sign(*about, body.signed_as)
    if item is None:
        raise await call.services.access.unknown_id(caller, "report", wanted, call.request)
    return Answer(shown_sign_off(item), status=201)
