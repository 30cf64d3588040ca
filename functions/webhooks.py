"""The webhook that a tenant's events are streamed to."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from functions._api import Answer, Api, Call, ListQuery, Nothing, Shape
from functions._approvals import ApprovalFields, checked_approval
from functions._cursors import read_cursor, write_cursor
from functions._shapes import ListShape, page
from shared.identity.model import ADMINS

if TYPE_CHECKING:  # cold start
    from shared.storage.documents import Item
    from shared.streaming.service import By

api = Api("webhook")

type EventTypes = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}\.(\*|[a-zA-Z0-9._:-]{1,64})$")]

MOST_TYPES = 50
SETTABLE = ("types", "format", "personal", "gzip", "enabled", "approved_by", "ticket")
"""What a refusal may keep of a body: neither the URL, which can hold a token, nor the secret."""


class WebhookBody(ApprovalFields):
    """What the webhook is to be."""

    url: str = Field(min_length=1, max_length=2000, repr=False, description="https://…, at a public address.")
    types: list[EventTypes] = Field(
        default=[], max_length=MOST_TYPES, description="Event types such as `auth.login` or `alert.*`; none: all."
    )
    format: Literal["native", "ocsf"] = "native"
    personal: Literal["omitted", "opened"] = Field(
        default="omitted", description="Whether personal data goes along, of persons who were not erased."
    )
    gzip: bool = Field(default=False, description="Pack messages with gzip; the signature is of what is in it.")
    enabled: bool = Field(default=True, description="false: nothing is sent, and all waits.")
    secret: str | None = Field(
        default=None,
        max_length=100,
        repr=False,
        description="`whsec_` and base64 of 24 to 64 bytes. A new webhook without one gets one; else it stays.",
    )
    new_secret: bool = Field(default=False, description="Make a new secret; the one before signs for a day more.")


class SecretShape(Shape):
    """When a secret signs; the current one without end."""

    since: str
    until: str | None


class WebhookShape(Shape):
    """The webhook and its stream. `positions`: per month, the index in the ledger that comes next; `backlog`: sealed
    events that were not looked at yet. `secret`: only where it was made just now."""

    url: str
    types: list[str]
    format: Literal["native", "ocsf"]
    personal: Literal["omitted", "opened"]
    gzip: bool
    enabled: bool
    state: Literal["active", "paused", "off"]
    paused_reason: Literal["failing", "gone"] | None
    paused_at: str | None
    failures: int
    failing_since: str | None
    retry_at: str | None
    delivered_at: str | None
    positions: list[str]
    backlog: int
    secrets: list[SecretShape]
    secret: str | None = None
    created_at: str
    updated_at: str


@api.endpoint("GET", "v1/webhook", who=ADMINS, response=WebhookShape, errors=(404,))
async def get_webhook(call: Call[Nothing, Nothing]) -> Answer:
    """The tenant's webhook and how far its stream is. `ETag` names the version of what was set."""
    found = await call.services.streaming.webhooks.get(call.principal.tenant_id)
    return Answer(found.body, headers={"ETag": found.tag})


@api.endpoint(
    "PUT",
    "v1/webhook",
    who=ADMINS,
    body=WebhookBody,
    response=WebhookShape,
    errors=(412,),
    step_up=True,
    told=SETTABLE,
)
async def set_webhook(call: Call[WebhookBody, Nothing]) -> Answer:
    """Set the tenant's webhook as a whole; the secret stays where none is given. A paused stream goes on where it
    stopped. A new one begins with what is sealed from now on. `If-Match` guards against lost updates."""
    from shared.streaming.service import Wanted

    body = call.body
    wanted = Wanted(
        url=body.url,
        types=tuple(dict.fromkeys(body.types)),
        format=body.format,
        personal=body.personal,
        gzip=body.gzip,
        enabled=body.enabled,
        secret=body.secret,
        new_secret=body.new_secret,
    )
    found = await call.services.streaming.webhooks.put(await _by(call, body), wanted, call.if_match, call.request)
    made = {} if found.secret is None else {"secret": found.secret}
    return Answer({**found.body, **made}, headers={"ETag": found.tag})


@api.endpoint(
    "DELETE",
    "v1/webhook",
    who=ADMINS,
    query=ApprovalFields,
    status=204,
    errors=(404, 412),
    step_up=True,
    told=("approved_by", "ticket"),
)
async def delete_webhook(call: Call[Nothing, ApprovalFields]) -> Answer:
    """Take the webhook away, and how far it was. `If-Match` guards against lost updates."""
    await call.services.streaming.webhooks.delete(await _by(call, call.query), call.if_match, call.request)
    return Answer(status=204)


class TestShape(Shape):
    """What came of a sample. `reason`: why it counts as failed; `beginning`: of the answer's body, in ASCII, where
    webhooks can be at public addresses only."""

    delivered: bool
    message_id: str
    status: int | None
    reason: str | None
    milliseconds: int
    media_type: str | None
    beginning: str


@api.endpoint("POST", "v1/webhook/test", who=ADMINS, response=TestShape, errors=(404, 429), step_up=True)
async def test_webhook(call: Call[Nothing, Nothing]) -> Answer:
    """Send a sample, signed like any message, to the webhook, also to one that is off or paused. Ten in a minute,
    by all administrators together."""
    return Answer(await call.services.streaming.webhooks.test(await _by(call), call.request))


class ReplayBody(ApprovalFields):
    """Where to begin again."""

    from_position: str = Field(
        min_length=9, max_length=30, description="Month and index in the ledger, such as `2026-03/17`."
    )


@api.endpoint(
    "POST",
    "v1/webhook/replay",
    who=ADMINS,
    body=ReplayBody,
    response=WebhookShape,
    errors=(404,),
    step_up=True,
    told=("from_position", "approved_by", "ticket"),
)
async def replay_webhook(call: Call[ReplayBody, Nothing]) -> Answer:
    """Deliver again: that month from this index on, and every later month whole. Messages get new ids."""
    by = await _by(call, call.body)
    found = await call.services.streaming.webhooks.replay(by, call.body.from_position, call.request)
    return Answer(found.body, headers={"ETag": found.tag})


class DeliveryShape(Shape):
    """One attempt. `first`, `last`: positions of its events; `failures`: attempts that had failed in a row before."""

    at: str
    message_id: str
    outcome: Literal["delivered", "failed"]
    status: int | None
    reason: str | None
    first: str
    last: str
    events: int
    bytes: int
    milliseconds: int
    failures: int


class DeliveryList(ListShape):
    """One page of attempts."""

    items: list[DeliveryShape]


@api.endpoint("GET", "v1/webhook/deliveries", who=ADMINS, query=ListQuery, response=DeliveryList)
async def list_webhook_deliveries(call: Call[Nothing, ListQuery]) -> Answer:
    """The last 200 attempts of the last week, newest first."""
    found = await call.services.streaming.webhooks.attempts(
        call.principal.tenant_id, limit=call.query.limit, after=await read_cursor(call)
    )
    return Answer(page([_shown(item) for item in found.items], await write_cursor(call, found.next)))


def _shown(item: "Item") -> dict[str, Any]:
    names = (
        "message_id",
        "outcome",
        "status",
        "reason",
        "first",
        "last",
        "events",
        "bytes",
        "milliseconds",
        "failures",
    )
    return {"at": item["created_at"], **{name: item[name] for name in names}}


async def _by(call: Call[Any, Any], said: ApprovalFields | None = None) -> "By":
    from shared.streaming.service import By

    approval = {} if said is None else await checked_approval(call, said)
    return By(call.principal.tenant_id, call.principal.actor, call.principal.person, approval)
