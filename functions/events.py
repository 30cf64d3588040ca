"""The trail: searched, and read event by event."""

from typing import Literal

from pydantic import Field

from functions._api import Answer, Api, Body, Call, Nothing
from functions._event_search import EventQuery, answer_search, reads_personal, record_search
from functions._proofs import proof_of
from functions._shapes import EventList, EventShape
from shared.identity.model import READERS

api = Api("events")
_SCOPE = "events:read"


@api.endpoint("GET", "v1/events", who=READERS, scope=_SCOPE, query=EventQuery, response=EventList)
async def list_events(call: Call[Nothing, EventQuery]) -> Answer:
    """The tenant's events, newest first, by any filters together. A search is one event, not one per page. API keys
    see whom an event concerns, but nothing personal."""
    return await answer_search(call, log="events")


class OneEventQuery(Body):
    """What is wanted of an event."""

    proof: Literal["true", "false"] = Field(default="false", description="With the proof that it is sealed.")


@api.endpoint(
    "GET",
    "v1/events/{id:guid}",
    who=READERS,
    scope=_SCOPE,
    query=OneEventQuery,
    response=EventShape,
    errors=(404, 409),
)
async def get_event(call: Call[Nothing, OneEventQuery]) -> Answer:
    """One event. Looking at it is an event of its own. With its proof, it is answered once it is sealed, some seconds
    after it was recorded; until then: 409 `not_sealed` with `Retry-After`."""
    search, caller, wanted = call.services.search, call.known, call.path["id"]
    event = await search.read(caller.tenant_id, wanted)
    if event is None:
        raise await call.services.access.unknown_id(caller, "event", wanted, call.request)
    proven = await proof_of(call, wanted) if call.query.proof == "true" else None
    await record_search(call, "events", {"id": wanted}, 1)
    shown = await search.shown(event, opened=reads_personal(call))
    return Answer(shown if proven is None else {**shown, "proof": proven.body()})
