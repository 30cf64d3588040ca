"""Searching the trail over HTTP: the filters that every search takes, its answer, and the event that it leaves."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from functions._api import Answer, Body, Call, ListQuery, Nothing
from functions._cursors import read_cursor, write_cursor
from functions._shapes import page
from shared.core.text import Moment, Opaque, address
from shared.identity.model import ServicePrincipal
from shared.privacy.emails import Email

if TYPE_CHECKING:  # cold start
    from shared.audit.search import EventFilter

type TypePattern = Annotated[str, StringConstraints(pattern=r"^[a-z_]+\.([A-Za-z0-9._:-]{1,64}|\*)$", max_length=80)]
type Address = Annotated[str, StringConstraints(max_length=45), AfterValidator(address)]


class EventFilters(Body):
    """Filters of the trail; all given ones must hold."""

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

    @field_validator("to")
    @classmethod
    def _not_before_from(cls, to: datetime | None, info: ValidationInfo) -> datetime | None:
        from_ = info.data.get("from_")
        if to is not None and from_ is not None and to < from_:
            raise PydanticCustomError("range", "must not be before from")
        return to

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


class EventQuery(EventFilters, ListQuery):
    """A search in the trail."""


async def answer_search(call: Call[Nothing, EventQuery], *, log: str, within: tuple[str, ...] = ()) -> Answer:
    """One page of a search. The first is audited, before anybody sees it; the others belong to the same search."""
    search, query, caller = call.services.search, call.query, call.known
    after = await read_cursor(call)
    found = await search.page(caller.tenant_id, query.wanted(), within=within, limit=query.limit, after=after)
    if after is None:
        filters = query.model_dump(mode="json", by_alias=True, exclude={"cursor", "limit"}, exclude_defaults=True)
        await record_search(call, log, filters, len(found.items))
    items = await search.shown_all(found.items, opened=reads_personal(call))
    return Answer(page(items, await write_cursor(call, found.next)))


async def record_search(call: Call[Any, Any], log: str, filters: dict[str, Any], count: int) -> None:
    """Record that the caller searched a log and saw so many events of it."""
    from shared.audit.model import Draft
    from shared.audit.search import searched

    caller = call.known
    kept, personal = await call.services.directory.set_apart(caller.tenant_id, caller.person, "email", filters)
    event = searched(log, kept, by_person=caller.person is not None, by=filters)
    about: dict[str, Any] = {"person": caller.person, "personal": personal, "record_count": count}
    await call.services.recorder.record(Draft(caller.tenant_id, event, call.request, actor=caller.actor, **about))


def reads_personal(call: Call[Any, Any]) -> bool:
    """Whether the caller sees personal data: people who may read the trail do, programs do not."""
    return not isinstance(call.known, ServicePrincipal)
