"""No tenant sees another's data: an id of another tenant is told apart from one that nobody has by nothing at all."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devhost.host import Host
from functions import ENDPOINTS
from functions._api import Endpoint, ListQuery
from shared.storage.sqlite import SqliteStore
from tests.acceptance.test_access_matrix import BODIES, Stage, set_stage
from tests.app import Account, App, assert_problem, running
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore
from tests.storage.conftest import open_cosmos

NOBODYS = "01890a5d-ac96-774b-bcce-b302099a8057"
BY_ID = [each for each in ENDPOINTS if ":guid" in each.route]
LISTS = [each for each in ENDPOINTS if issubclass(each.query, ListQuery)]


@pytest.fixture
async def stage(host: Host, clock: ManualClock, adapter: str, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Ada's tenant and Grace's, with things of each kind in both, on a store that notes its calls."""
    if adapter == "cosmos":
        store = FaultyFeedStore(await open_cosmos(request.getfixturevalue("emulator"), clock))
    else:
        store = FaultyFeedStore(await SqliteStore.open(None, clock=clock))
    async with running(host, clock, store) as app:
        yield await set_stage(Stage(app))


def admin(stage: Stage) -> Account:
    found = stage.callers["tenant_admin"]
    assert found is not None
    return found


async def ask(stage: Stage, endpoint: Endpoint, wanted: str) -> tuple[httpx.Response, list[tuple[str, str]]]:
    """The answer for an id, and what the store was asked for it."""
    path = re.sub(r"\{\w+:guid\}", wanted, endpoint.route)
    template = re.sub(r"\{\w+:guid\}", "{}", endpoint.route.removeprefix("v1"))
    body = BODIES.get(f"{endpoint.method} {template}")
    store = stage.app.store
    assert isinstance(store, FaultyFeedStore)
    store.arm(10**6)
    answer = await stage.app.client.request(endpoint.method, f"/{path}", headers=admin(stage).auth, json=body)
    return answer, [(call.operation, call.container) for call in store.calls]


def told(answer: httpx.Response) -> Any:
    """All that a caller can see of an answer, but for what is new in each."""
    body = {name: value for name, value in answer.json().items() if name != "request_id"} if answer.content else None
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "content-length")}
    return answer.status_code, body, headers, len(answer.content)


def foreign_ids(stage: Stage) -> list[str]:
    grace = [identifier for (_, which), identifier in stage.ids.items() if which == "foreign"]
    return sorted({*grace, stage.foreign_tenant})


@pytest.mark.parametrize("endpoint", BY_ID, ids=[each.name for each in BY_ID])
async def test_a_foreign_id_and_nobodys_look_alike(stage: Stage, endpoint: Endpoint) -> None:
    """In status, body, headers, length, and in what the store is asked, which is what takes the time."""
    app = stage.app
    nothing, asked = await ask(stage, endpoint, NOBODYS)
    assert_problem(nothing, 404, "not_found")
    before = await app.events(stage.foreign_tenant)
    for wanted in foreign_ids(stage):
        answer, calls = await ask(stage, endpoint, wanted)
        assert told(answer) == told(nothing), wanted
        assert calls == asked, wanted
    assert await app.events(stage.foreign_tenant) == before, "the other tenant's trail says nothing of it"
    own = await app.events(admin(stage).tenant_id)
    attempts = [e for e in own if e["target"] and e["target"]["id"] in foreign_ids(stage)]
    assert {e["type"] for e in attempts} <= {"access.denied", "access.cross_tenant_denied"}
    assert len(attempts) == len(foreign_ids(stage))
    users = [e for e in attempts if e["target"]["id"] == stage.ids["users", "foreign"]]
    assert {e["type"] for e in users} == {"access.cross_tenant_denied"}


@pytest.mark.parametrize("endpoint", LISTS, ids=[each.name for each in LISTS])
async def test_no_list_shows_what_is_of_another_tenant(stage: Stage, endpoint: Endpoint) -> None:
    answer = await stage.app.client.get(f"/{endpoint.route}", headers=admin(stage).auth, params={"limit": "200"})
    assert answer.status_code == 200
    assert answer.json()["items"] or endpoint.name == "list_alerts"
    for secret in (*foreign_ids(stage), "grace@example.org", "foreign.guest@example.com"):
        assert secret not in answer.text


@pytest.mark.parametrize("endpoint", LISTS, ids=[each.name for each in LISTS])
async def test_a_cursor_of_another_tenant_leads_nowhere(stage: Stage, endpoint: Endpoint, clock: ManualClock) -> None:
    app, grace = stage.app, stage.foreign_admin
    for _ in range(2):  # so that each list has a second page
        clock.advance(seconds=1)
        await app.login(grace.email)
        await app.client.post("/v1/admin/api-keys", json={"name": "x", "scopes": ["alerts:read"]}, headers=grace.auth)
        await app.invite(grace, f"{clock.now().timestamp()}@example.com")
        await app.join(grace, f"more.{clock.now().timestamp()}@example.com")
    first = await app.client.get(f"/{endpoint.route}", headers=grace.auth, params={"limit": "1"})
    cursor = first.json()["next_cursor"]
    if cursor is None:
        assert endpoint.name in ("list_alerts", "list_reports"), "every other list has a second page here"
        return
    answer = await app.client.get(
        f"/{endpoint.route}", headers=admin(stage).auth, params={"limit": "1", "cursor": cursor}
    )
    assert_problem(answer, 422, "invalid_request", "cursor")


FILTERS = ("actor", "target", "subject", "email", "ip")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILTERS), which=st.integers(0, 99), kind=st.sampled_from(["auth.*", "access.*", "user.*"]))
async def test_no_filter_reaches_across(
    app: App, ada: Account, grace: Account, name: str, which: int, kind: str
) -> None:
    """Whatever of the other tenant a search names, it finds only what is of the own."""
    values = {"actor": grace.id, "target": grace.id, "subject": grace.id, "email": grace.email, "ip": "203.0.113.9"}
    params = {name: values[name], "type": kind, "limit": str(1 + which)}
    for path in ("/v1/admin/logs/authorization", "/v1/events"):
        answer = await app.client.get(path, headers=ada.auth, params=params)
        assert answer.status_code == 200
        assert {each["tenant_id"] for each in answer.json()["items"]} <= {ada.tenant_id}
    found = await app.client.get("/v1/admin/users", headers=ada.auth, params={"q": grace.email[: 1 + which % 12]})
    assert grace.id not in found.text


async def test_tokens_of_one_tenant_are_none_of_another(app: App, ada: Account, grace: Account) -> None:
    """A refresh token, invitation, key or challenge names its tenant; renamed, it opens nothing."""
    invitation = await app.invite(ada, "guest@example.com")
    made = await app.client.post("/v1/admin/api-keys", json={"name": "x", "scopes": ["alerts:read"]}, headers=ada.auth)
    swapped = ada.refresh_token.replace(ada.tenant_id, grace.tenant_id)
    answer = await app.client.post("/v1/token/refresh", json={"refresh_token": swapped})
    assert_problem(answer, 401, "invalid_token")
    key = made.json()["key"].replace(ada.tenant_id, grace.tenant_id)
    assert_problem(await app.client.get("/v1/alerts", headers={"Authorization": f"Bearer {key}"}), 401, "invalid_token")
    body = {"email": "guest@example.com", "password": "a quite different password", "first_name": "A", "last_name": "B"}
    body |= {"invitation": invitation.replace(ada.tenant_id, grace.tenant_id)}
    joined = await app.client.post("/v1/register", json={**body, "accept_terms": True, "accept_privacy": True})
    assert_problem(joined, 422, "invalid_invitation", "invitation")
