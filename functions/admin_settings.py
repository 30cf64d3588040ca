"""The settings of a tenant."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from functions._api import Answer, Api, Body, Call, Nothing, Shape, absent, given
from shared.identity.model import ADMINS

if TYPE_CHECKING:  # cold start
    from shared.storage.documents import Item

api = Api("administration")

type RequireMfa = Literal["off", "admins", "all"]


class SettingsBody(Body):
    """The settings to change; those that are not given stay."""

    require_mfa: RequireMfa = Field(default_factory=absent, description="Who needs a second factor.")


class SettingsShape(Shape):
    """The settings of a tenant."""

    require_mfa: RequireMfa


@api.endpoint("GET", "v1/admin/settings", who=ADMINS, response=SettingsShape)
async def get_settings(call: Call[Nothing, Nothing]) -> Answer:
    """The tenant's settings. `ETag` names their version."""
    return _answer(call.principal.tenant)


@api.endpoint(
    "PUT",
    "v1/admin/settings",
    who=ADMINS,
    body=SettingsBody,
    response=SettingsShape,
    errors=(412,),
    step_up=True,
    told=tuple(SettingsBody.model_fields),
)
async def update_settings(call: Call[SettingsBody, Nothing]) -> Answer:
    """Change settings of the tenant. `If-Match` guards against lost updates."""
    changed = await call.services.tenant_settings.change(call.principal, given(call.body), call.if_match, call.request)
    return _answer(changed)


def _answer(tenant: "Item") -> Answer:
    from shared.identity.tenant_settings import settings_of, settings_tag

    return Answer(settings_of(tenant), headers={"ETag": settings_tag(tenant)})
