"""What users agree to."""

from typing import Literal

from pydantic import Field

from functions._api import Answer, Api, Body, Call, Nothing, Shape
from shared.core.text import Opaque
from shared.identity.model import ADMINS, USERS

api = Api("privacy")

MOST_DECISIONS = 100


class ConsentQuery(Body):
    """Whose consents."""

    subject: Opaque | None = Field(default=None, description="Id of a user, for administrators; your own if left out.")


class DecisionOnPurpose(Body):
    """What you decide about a purpose."""

    purpose: Opaque
    granted: bool
    version: Opaque | None = Field(default=None, description="Of the text that you saw; needed to agree.")


class ConsentsBody(Body):
    """What you decide; purposes that are not named stay as they are."""

    consents: list[DecisionOnPurpose] = Field(min_length=1, max_length=MOST_DECISIONS)


class ConsentShape(Shape):
    """A purpose and the person's answer. `version`: of the text that holds now, null where the purpose is no more.
    `outdated`: agreed to, in another version. `answered_version`: of what was agreed to, or withdrawn."""

    purpose: str
    version: str | None
    required: bool
    state: Literal["granted", "outdated", "withdrawn", "not_given"]
    answered_version: str | None
    answered_at: str | None


class ConsentsShape(Shape):
    """Every purpose, in order of name. `needed`: what to ask for now, because it is required or its text changed."""

    consents: list[ConsentShape]
    needed: list[str]


@api.endpoint("GET", "v1/privacy/consent", who=USERS, query=ConsentQuery, response=ConsentsShape, errors=(404,))
async def get_consent(call: Call[Nothing, ConsentQuery]) -> Answer:
    """What you agreed to, and what to ask for again. Administrators may name another user, which is a `user.view`
    event. `ETag` names the version."""
    from shared.identity.consents import consents_tag, shown

    services, principal, wanted = call.services, call.principal, call.query.subject
    user = principal.user
    if wanted not in (None, principal.user_id):
        await services.access.require_role(principal, ADMINS, call.request)
        user = await services.members.view(principal, str(wanted), call.request)
    purposes = services.consents.purposes(principal.tenant)
    return Answer(shown(purposes, user), headers={"ETag": consents_tag(purposes, user)})


@api.endpoint(
    "PUT",
    "v1/privacy/consent",
    who=USERS,
    body=ConsentsBody,
    response=ConsentsShape,
    errors=(412,),
    told=tuple(ConsentsBody.model_fields),
)
async def update_consent(call: Call[ConsentsBody, Nothing]) -> Answer:
    """Agree to purposes, or no longer. Each that changes is a `consent.grant` or `consent.withdraw` event; the same
    again is none. To agree, name the version that you saw: one that no longer holds is 422. `If-Match` guards against
    lost updates."""
    from shared.identity.consents import Decision, consents_tag, shown
    from shared.identity.tokens import TokenRejected

    services, principal = call.services, call.principal
    decisions = [Decision(each.purpose, each.granted, each.version) for each in call.body.consents]
    try:
        user = await services.consents.change(principal, decisions, call.if_match, call.request)
    except TokenRejected as rejected:  # ended while this call was under way
        raise await services.access.rejected(rejected.reason, call.request) from None
    purposes = services.consents.purposes(principal.tenant)
    return Answer(shown(purposes, user), headers={"ETag": consents_tag(purposes, user)})
