"""Cursors are good for the tenant, the session, the route and the filters that they were made for, and for no other."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import Field

from functions._api import Call, ListQuery, Nothing
from functions._cursors import LIFETIME_SECONDS, read_cursor, write_cursor
from shared.audit.model import RequestContext
from shared.core.errors import Invalid
from shared.identity.model import Principal, Role, ServicePrincipal
from shared.storage.documents import Cursor
from tests.app import App

POSITION = Cursor("2026-03-15T12:00:00.000000Z", "an-id")


class FilteredQuery(ListQuery):
    """A list that can be filtered."""

    color: str | None = Field(default=None)


def asking(app: App, query: ListQuery | None = None) -> Call[Nothing, ListQuery]:
    now = app.clock.now()
    caller = Principal("user-1", "tenant-1", "session-1", Role.AUDITOR, "ada@example.com", {}, {}, {})
    request = RequestContext("request-1", "GET /v1/things", "list_things", now)
    return Call(app.services, request, Nothing(), query or FilteredQuery(color="red"), {}, caller)


async def turn(call: Call[Nothing, ListQuery], cursor: str) -> Cursor | None:
    """What the call makes of a cursor."""
    return await read_cursor(replace(call, query=call.query.model_copy(update={"cursor": cursor})))


def from_caller(call: Call[Nothing, ListQuery], **changes: Any) -> Call[Nothing, ListQuery]:
    return replace(call, caller=replace(call.principal, **changes))


async def written(call: Call[Nothing, ListQuery]) -> str:
    cursor = await write_cursor(call, POSITION)
    assert cursor is not None
    return cursor


async def test_a_cursor_leads_back_to_its_position(app: App) -> None:
    call = asking(app)
    cursor = await written(call)
    assert await turn(call, cursor) == POSITION
    assert await turn(replace(call, query=FilteredQuery(color="red", limit=7)), cursor) == POSITION
    elsewhere = replace(call.request, request_id="request-2", ip="203.0.113.7", user_agent="probe/1")
    assert await turn(replace(call, request=elsewhere), cursor) == POSITION


async def test_no_further_page_has_no_cursor_and_no_cursor_is_the_first_page(app: App) -> None:
    assert await write_cursor(asking(app), None) is None
    assert await read_cursor(asking(app)) is None


@pytest.mark.parametrize("part", ["tenant_id", "session_id"])
async def test_a_cursor_of_another_caller_is_refused(app: App, part: str) -> None:
    call = asking(app)
    other = from_caller(call, **{part: f"{part}-2"})
    for made_for, used_by in ((call, other), (other, call)):
        cursor = await written(made_for)
        assert await turn(made_for, cursor) == POSITION
        with pytest.raises(Invalid):
            await turn(used_by, cursor)


async def test_tenant_and_session_are_told_apart(app: App) -> None:
    call = from_caller(asking(app), tenant_id="one", session_id="two")
    with pytest.raises(Invalid):
        await turn(from_caller(call, tenant_id="two", session_id="one"), await written(call))


@pytest.mark.parametrize("route", ["GET /v1/others", "POST /v1/things", "GET /v1/things/{id:guid}"])
async def test_a_cursor_of_another_route_is_refused(app: App, route: str) -> None:
    call = asking(app)
    other = replace(call, request=replace(call.request, route=route))
    for made_for, used_for in ((call, other), (other, call)):
        cursor = await written(made_for)
        assert await turn(made_for, cursor) == POSITION
        with pytest.raises(Invalid):
            await turn(used_for, cursor)


@pytest.mark.parametrize("query", [FilteredQuery(), FilteredQuery(color="blue"), ListQuery()], ids=repr)
async def test_a_cursor_of_other_filters_is_refused(app: App, query: ListQuery) -> None:
    with pytest.raises(Invalid):
        await turn(asking(app, query), await written(asking(app)))


async def test_a_cursor_is_good_for_a_quarter_of_an_hour(app: App) -> None:
    call = asking(app)
    cursor = await written(call)
    app.clock.advance(seconds=LIFETIME_SECONDS - 1)
    assert await turn(call, cursor) == POSITION
    app.clock.advance(seconds=1)
    with pytest.raises(Invalid):
        await turn(call, cursor)


async def test_a_cursor_in_another_spelling_of_the_same_bytes_is_refused(app: App) -> None:
    """One position has one cursor: else a list of those that were used could be gone around."""
    call = asking(app)
    spelled = [await written(call) for _ in range(1)]
    while not {"-", "_"} & set(spelled[-1]):
        app.clock.advance(seconds=1)
        spelled.append(await written(asking(app)))
    cursor = spelled[-1]
    assert await turn(call, cursor) == POSITION
    with pytest.raises(Invalid):
        await turn(call, cursor.replace("-", "+").replace("_", "/"))


def test_a_call_has_only_what_its_endpoint_declares(app: App) -> None:
    """Handlers cannot ask for services or callers that nobody checked."""
    call = asking(app)
    with pytest.raises(RuntimeError, match="bare"):
        _ = replace(call, wired=None).services
    with pytest.raises(RuntimeError, match="open to anyone"):
        _ = replace(call, caller=None).known
    program = ServicePrincipal("key-1", "tenant-1", frozenset())
    with pytest.raises(TypeError, match="API keys"):
        _ = replace(call, caller=program).principal
