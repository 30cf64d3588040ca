"""The own profile."""

from functions._api import Answer, Api, Call, Nothing
from functions._shapes import UserShape
from shared.identity.model import USERS, shown_user

api = Api("profile")


@api.endpoint("GET", "v1/profile", who=USERS, response=UserShape)
async def get_profile(call: Call[Nothing, Nothing]) -> Answer:
    """The caller's own account."""
    return Answer(shown_user(await call.services.identity.view_profile(call.principal, call.request)))
