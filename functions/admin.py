"""What administrators and auditors look at."""

from functions._api import Answer, Api, Call, Nothing
from functions._event_search import EventQuery, answer_search
from functions._shapes import EventList
from shared.identity.model import READERS

api = Api("admin")


@api.endpoint("GET", "v1/admin/logs/authorization", who=READERS, query=EventQuery, response=EventList)
async def get_authorization_log(call: Call[Nothing, EventQuery]) -> Answer:
    """Sign-ins, refusals, role and status changes, newest first. A search is one event, not one per page."""
    from shared.audit.search import AUTHORIZATION_LOG

    return await answer_search(call, log="authorization", within=AUTHORIZATION_LOG)
