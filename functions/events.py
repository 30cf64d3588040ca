"""The trail: searched, and read event by event."""

from functions._api import Answer, Api, Call, Nothing
from functions._event_search import EventQuery, answer_search, reads_personal, record_search
from functions._shapes import EventList, EventShape
from shared.identity.model import READERS

api = Api("events")
_SCOPE = "events:read"


@api.endpoint("GET", "v1/events", who=READERS, scope=_SCOPE, query=EventQuery, response=EventList)
async def list_events(call: Call[Nothing, EventQuery]) -> Answer:
    """The tenant's events, newest first, by any filters together. A search is one event, not one per page. API keys
    see whom an event concerns, but nothing personal."""
    return await answer_search(call, log="events")


@api.endpoint("GET", "v1/events/{id:guid}", who=READERS, scope=_SCOPE, response=EventShape, errors=(404,))
async def get_event(call: Call[Nothing, Nothing]) -> Answer:
    """One event. Looking at it is an event of its own."""
    search, caller, wanted = call.services.search, call.known, call.path["id"]
    event = await search.read(caller.tenant_id, wanted)
    if event is None:
        raise await call.services.access.unknown_id(caller, "event", wanted, call.request)
    await record_search(call, "events", {"id": wanted}, 1)
    return Answer(await search.shown(event, opened=reads_personal(call)))
