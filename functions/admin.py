"""What administrators and auditors look at."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from functions._api import Answer, Api, Call, ListQuery, Nothing
from functions._cursors import read_cursor, write_cursor
from functions._shapes import EventList, page
from shared.audit.model import Draft
from shared.core.text import Moment, Opaque, address
from shared.identity.model import READERS
from shared.privacy.emails import Email

if TYPE_CHECKING:  # cold start
    from shared.audit.search import EventFilter

api = Api("admin")

type TypePattern = Annotated[str, StringConstraints(pattern=r"^[a-z_]+\.([A-Za-z0-9._:-]{1,64}|\*)$", max_length=80)]
type Address = Annotated[str, StringConstraints(max_length=45), AfterValidator(address)]


class EventQuery(ListQuery):
    """Filters of a search in the trail; all given ones must hold."""

    type: tuple[TypePattern, ...] = Field(default=(), max_length=20, description="Repeatable; `auth.*` for a family.")
    outcome: Literal["success", "failure", "denied", "error"] | None = None
    severity: Literal["info", "low", "medium", "high", "critical"] | None = None
    actor: Opaque | None = Field(default=None, description="Id of who did it.")
    target: Opaque | None = Field(default=None, description="Id of what it was done to.")
    subject: Opaque | None = Field(default=None, description="Id of a person concerned.")
    ip: Address | None = Field(default=None, description="Address it came from.")
    email: Email | None = Field(default=None, description="E-mail of the actor or the target.")
    data_class: Literal["none", "personal", "confidential", "phi", "cardholder"] | None = None
    from_: Moment | None = Field(default=None, alias="from", description="Recorded at or after.")
    to: Moment | None = Field(default=None, description="Recorded before.")

    def wanted(self) -> "EventFilter":
        """The filters as the domain takes them."""
        from shared.audit.search import EventFilter

        return EventFilter(
            types=self.type,
            outcome=self.outcome,
            severity=self.severity,
            actor=self.actor,
            target=self.target,
            subject=self.subject,
            data_class=self.data_class,
            from_=self.from_,
            to=self.to,
            ip=self.ip,
            email=self.email,
        )


@api.endpoint("GET", "v1/admin/logs/authorization", who=READERS, query=EventQuery, response=EventList)
async def get_authorization_log(call: Call[Nothing, EventQuery]) -> Answer:
    """Sign-ins, refusals, role and status changes, newest first. A search is one event, not one per page."""
    from shared.audit.events.audit import AuditSearch
    from shared.audit.search import AUTHORIZATION_LOG

    search, query = call.services.search, call.query
    after = await read_cursor(call)
    found = await search.page(
        call.principal.tenant_id, query.wanted(), within=AUTHORIZATION_LOG, limit=query.limit, after=after
    )
    if after is None:
        filters = query.model_dump(mode="json", by_alias=True, exclude={"cursor", "limit"}, exclude_defaults=True)
        await call.services.recorder.record(
            Draft(
                call.principal.tenant_id,
                AuditSearch(log="authorization", filters=filters),
                call.request,
                actor=call.principal.actor,
                person=call.principal.user_id,
                record_count=len(found.items),
            )
        )
    return Answer(page([await search.shown(event) for event in found.items], await write_cursor(call, found.next)))
