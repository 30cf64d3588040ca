"""What persons may ask about their own data: to be erased, and what became of it."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from functions._api import Answer, Api, Body, Call, ListQuery, Nothing, Shape
from functions._cursors import read_cursor, write_cursor
from functions._shapes import ListShape, page
from functions.admin_users import Reason
from shared.identity.model import ADMINS, USERS
from shared.identity.passwords import TypedPassword

if TYPE_CHECKING:  # cold start
    from shared.storage.documents import Item

api = Api("privacy")

type RequestState = Literal["received", "cooling_off", "deferred", "running", "executed", "refused", "withdrawn"]


class OwnErasureBody(Body):
    """Why, and the proof that it is really you."""

    reason: Reason = Field(repr=False)
    password: TypedPassword = Field(repr=False)


class ErasureBody(Body):
    """Why."""

    reason: Reason = Field(repr=False)


class DecisionBody(Body):
    """What is decided about a request, and why: the person is to be told."""

    decision: Literal["extended", "refused"]
    reason: Reason = Field(repr=False)


class AcceptedShape(Shape):
    """A request that was taken, or the one of the person that is open already."""

    request_id: str
    state: RequestState
    due_at: str


class CountsShape(Shape):
    """How much; of an erasure at least. Items: sessions, and all else that is neither account nor event."""

    accounts: int
    events: int
    items: int


class RequestShape(Shape):
    """A request of a person. `cause`: what a deferred one waits for, or that nobody went on with an export. `by`: the
    user who made it, null for the operator. `counts`: how much was erased, or handed out, so far."""

    id: str
    kind: Literal["erasure", "export"]
    subject: str
    state: RequestState
    cause: Literal["legal_hold", "last_admin", "abandoned"] | None
    by: str | None
    received_at: str
    due_at: str
    extended: bool
    overdue: bool
    cooling_off_until: str | None
    started_at: str | None
    executed_at: str | None
    counts: CountsShape


class RequestList(ListShape):
    """One page of requests."""

    items: list[RequestShape]


@api.endpoint(
    "POST",
    "v1/privacy/erasure",
    who=USERS,
    body=OwnErasureBody,
    response=AcceptedShape,
    status=202,
    errors=(409, 412, 423, 429),
    step_up=True,
    told=("reason",),
)
async def request_erasure(call: Call[OwnErasureBody, Nothing]) -> Answer:
    """Ask to be erased. A wrong password is 403 `wrong_password` and counts like a failed sign-in. The last active
    tenant_admin is refused: 409 `last_admin`. A second call answers with the request that is open."""
    body = call.body
    await call.services.throttle.check("login", call.request)
    requests = call.services.subject_requests
    return _accepted(await requests.ask_own(call.principal, body.reason, body.password, call.request))


@api.endpoint(
    "POST",
    "v1/admin/users/{id:guid}/erasure",
    who=ADMINS,
    body=ErasureBody,
    response=AcceptedShape,
    status=202,
    errors=(404, 412),
    step_up=True,
    told=("reason",),
)
async def request_user_erasure(call: Call[ErasureBody, Nothing]) -> Answer:
    """Ask to erase somebody below the own rank, or another tenant_admin; also one whose account is gone, or who never
    had one and is known from the trail. A second call answers with the request that is open."""
    requests = call.services.subject_requests
    return _accepted(await requests.ask_for(call.principal, call.path["id"], call.body.reason, call.request))


@api.endpoint("GET", "v1/privacy/requests", who=USERS, query=ListQuery, response=RequestList)
async def list_subject_requests(call: Call[Nothing, ListQuery]) -> Answer:
    """The requests of persons, newest first: administrators see those of the tenant, everybody else the own ones."""
    requests, after = call.services.subject_requests, await read_cursor(call)
    found = await requests.page(call.principal, limit=call.query.limit, after=after)
    return Answer(page([requests.shown(each) for each in found.items], await write_cursor(call, found.next)))


@api.endpoint("DELETE", "v1/privacy/requests/{id:guid}", who=USERS, status=204, errors=(404, 409), step_up=True)
async def withdraw_subject_request(call: Call[Nothing, Nothing]) -> Answer:
    """Take back a request that you made, while nothing was erased yet; then it is 409 `request_running`, and so is an
    export."""
    await call.services.subject_requests.withdraw(call.principal, call.path["id"], call.request)
    return Answer(status=204)


@api.endpoint(
    "PATCH",
    "v1/privacy/requests/{id:guid}",
    who=ADMINS,
    body=DecisionBody,
    response=RequestShape,
    errors=(404, 409, 412),
    step_up=True,
    told=tuple(DecisionBody.model_fields),
)
async def decide_subject_request(call: Call[DecisionBody, Nothing]) -> Answer:
    """Refuse a request before it is carried out (409 `request_running`), or extend its time by two months: once (409
    `request_extended`), and before it is overdue (409 `request_overdue`). `If-Match` guards against lost updates."""
    from shared.storage.versions import entity_tag

    requests, body = call.services.subject_requests, call.body
    item = await requests.decide(
        call.principal, call.path["id"], body.decision, body.reason, call.if_match, call.request
    )
    return Answer(requests.shown(item), headers={"ETag": entity_tag(item)})


def _accepted(item: "Item") -> Answer:
    return Answer({"request_id": item["request_id"], "state": item["state"], "due_at": item["due_at"]}, status=202)
