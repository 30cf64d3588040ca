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
from shared.identity.model import Role
from shared.ledger.shards import Head
from shared.storage.containers import IDENTITY, LEDGER
from shared.storage.sqlite import SqliteStore
from shared.streaming.model import Attempt, Position, Progress
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


CALLERS = (*(role.value for role in Role), "API key")


def headers_of(stage: Stage, caller: str) -> dict[str, str]:
    account = stage.callers[caller]
    return account.auth if account else {"Authorization": f"Bearer {stage.keys[caller]}"}


def may_call(endpoint: Endpoint, caller: str) -> bool:
    if caller == "API key":
        return endpoint.scope is not None
    return endpoint.who is None or Role(caller) in endpoint.who


async def ask(stage: Stage, endpoint: Endpoint, wanted: str, caller: str) -> tuple[httpx.Response, list[Any]]:
    """The answer for an id, and what the store was asked for it."""
    path = re.sub(r"\{\w+:guid\}", wanted, endpoint.route)
    template = re.sub(r"\{\w+:guid\}", "{}", endpoint.route.removeprefix("v1"))
    body = BODIES.get(f"{endpoint.method} {template}")
    store = stage.app.store
    assert isinstance(store, FaultyFeedStore)
    store.arm(10**6)
    headers = headers_of(stage, caller)
    answer = await stage.app.client.request(endpoint.method, f"/{path}", headers=headers, json=body)
    return answer, [(call.operation, call.container) for call in store.calls]


async def raise_alerts(app: App, *accounts: Account) -> None:
    """An alert about each account."""
    for account in accounts:
        for _ in range(6):
            await app.login(account.email, "a guess")
    await app.host.drain_feed()


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
    """To each role and to a key: in status, body, headers, length, and in what the store is asked, which is what takes
    the time. The own trail tells them apart, for those who may look at all."""
    app, foreign = stage.app, foreign_ids(stage)
    await app.client.get("/v1/alerts", headers=headers_of(stage, "API key"))  # notes that the key is in use
    before = await app.events(stage.foreign_tenant)
    for caller in CALLERS:
        account = stage.callers[caller]
        actor = account.id if account else stage.keys[caller].split(".")[1]
        nothing, asked = await ask(stage, endpoint, NOBODYS, caller)
        if may_call(endpoint, caller):
            assert_problem(nothing, 404, "not_found")
        else:
            assert_problem(nothing, 403, "forbidden")
        for wanted in foreign:
            answer, calls = await ask(stage, endpoint, wanted, caller)
            assert told(answer) == told(nothing), (caller, wanted)
            assert calls == asked, (caller, wanted)
        tenant_id = account.tenant_id if account else admin(stage).tenant_id
        own = [each for each in await app.events(tenant_id) if each["actor"]["id"] == actor]
        attempts = [e for e in own if e["target"] and e["target"]["id"] in foreign]
        assert {e["type"] for e in attempts} <= {"access.denied", "access.cross_tenant_denied"}
        assert len(attempts) == (len(foreign) if may_call(endpoint, caller) else 0), caller
        users = [e for e in attempts if e["target"]["id"] == stage.ids["users", "foreign"]]
        assert {e["type"] for e in users} == ({"access.cross_tenant_denied"} if may_call(endpoint, caller) else set())
    assert await app.events(stage.foreign_tenant) == before, "the other tenant's trail says nothing of it"


@pytest.mark.parametrize("endpoint", LISTS, ids=[each.name for each in LISTS])
async def test_no_list_shows_what_is_of_another_tenant(stage: Stage, endpoint: Endpoint) -> None:
    if endpoint.name == "list_alerts":
        await raise_alerts(stage.app, admin(stage), stage.foreign_admin)
    if endpoint.name == "list_subject_requests":
        for account, kind in ((admin(stage), "other"), (stage.foreign_admin, "foreign")):
            leaver = await stage.app.join(account, f"asks.{kind}@example.net")
            await ask_to_erase(stage.app, account, leaver.id)
    await stage.app.host.drain_feed()  # so that there are ledgers
    for caller in CALLERS:
        if not may_call(endpoint, caller):
            continue
        answer = await stage.app.client.get(
            f"/{endpoint.route}", headers=headers_of(stage, caller), params={"limit": "200"}
        )
        assert answer.status_code == 200
        own_alone = endpoint.name == "list_subject_requests" and caller != "tenant_admin"
        assert answer.json()["items"] or caller == "system_admin" or own_alone, caller
        for secret in (*foreign_ids(stage), "grace@example.org", "foreign.guest@example.com"):
            assert secret not in answer.text, caller


async def ask_to_erase(app: App, admin: Account, user_id: str) -> None:
    """A request that somebody be erased; nothing is, until the timer runs."""
    path = f"/v1/admin/users/{user_id}/erasure"
    assert (await app.client.post(path, json={"reason": "as asked"}, headers=admin.auth)).status_code == 202


async def more_of_each(app: App, account: Account) -> dict[str, str]:
    """A second page for each list of a tenant; the header of a session that is later than all of it."""
    await app.client.post("/v1/admin/api-keys", json={"name": "x", "scopes": ["alerts:read"]}, headers=account.auth)
    await app.invite(account, "one.more@example.com")
    attempt = Attempt("m", Position("2026-03", 0), Position("2026-03", 0), 1, 1, 1)
    for number in range(2):
        progress = Progress(tenant_id=account.tenant_id, next={}, created_at="", attempts=100 + number)
        await app.store.create(IDENTITY, (account.tenant_id,), attempt.item(progress, app.clock.now()))
    month_before = Head("2026-02").item(account.tenant_id)
    await app.store.create(LEDGER, (account.tenant_id, "2026-02"), month_before)
    await raise_alerts(app, account, another := await app.join(account, "another@example.com"))
    for each in (another, await app.join(account, "yet.another@example.com")):
        await ask_to_erase(app, account, each.id)
    app.clock.advance(days=1)
    assert await app.host.run_timer("daily_reports")
    for _ in range(2):
        tokens = (await app.login(account.email)).json()
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def test_a_cursor_of_another_tenant_leads_nowhere(stage: Stage) -> None:
    app = stage.app
    headers = await more_of_each(app, stage.foreign_admin)
    own = {"Authorization": f"Bearer {(await app.login(admin(stage).email)).json()['access_token']}"}
    for endpoint in LISTS:
        first = await app.client.get(f"/{endpoint.route}", headers=headers, params={"limit": "1"})
        cursor = first.json()["next_cursor"]
        assert cursor is not None, endpoint.name
        params = {"limit": "1", "cursor": cursor}
        assert (await app.client.get(f"/{endpoint.route}", headers=headers, params=params)).status_code == 200
        for other in (own, headers_of(stage, "API key")):
            if other is own or endpoint.scope is not None:
                answer = await app.client.get(f"/{endpoint.route}", headers=other, params=params)
                assert_problem(answer, 422, "invalid_request", "cursor")


FILTERS = ("actor", "target", "subject", "email", "ip")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
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
