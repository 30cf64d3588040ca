"""The rules that hold on every route, walked over every declared endpoint. Calls share an app, but no account."""

import re
from collections.abc import AsyncIterator
from itertools import count
from typing import Any, cast

import pytest
from pydantic import BaseModel

from devhost.host import Host
from functions import ENDPOINTS
from functions._api import Endpoint, ListQuery, Nothing
from functions._http import SECURITY_HEADERS
from functions._openapi import error_statuses
from functions._shapes import Problem
from shared.audit.registry import all_types
from shared.core.clock import rfc3339
from shared.identity.model import TENANT_ITEM, Role
from shared.storage.containers import CONTAINERS, IDENTITY
from shared.storage.documents import PatchSet
from shared.storage.sqlite import SqliteStore
from tests.app import PASSWORD, PEER, Account, App, assert_problem, registration, running
from tests.calls import NOWHERE, QUERIES, path_of
from tests.fakes import ManualClock
from tests.second_factors import MFA_BODIES, good_body

WALK = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=[e.name for e in ENDPOINTS])
_numbers = count()

SIGNED: set[tuple[str, str | None]] = {("ledger", "checkpoint"), ("ledger", "head"), ("directory", None)}
READING_LEAVES: dict[str, set[tuple[str, str | None]]] = {
    "export_subject": {("identity", "subject_request")},
    "get_ledger_bundle": SIGNED,
    "get_ledger_proof": SIGNED,
}
"""What calls that read may write beside the trail: that somebody used a right, and a signature of what is sealed."""
WITHOUT_TARGET = {
    *("get_authorization_log", "list_events", "export_events", "list_users", "get_ledger_proof", "get_ledger_bundle"),
    *("logout", "write_events"),
}
"""Of the whole trail or all users, of the session that called, or of what a producer names or not."""
PROVING = frozenset({"login", "login_mfa", "refresh_token"})
"""What is asked for a proof of identity: 401 is an answer there."""

BODIES: dict[str, dict[str, Any]] = {
    "complete_access_review": {
        "population": [NOWHERE],
        "decisions": [{"user_id": NOWHERE, "decision": "keep"}],
    },
    "create_report": {"framework": "soc2", "from": "2026-03-14", "to": "2026-03-15"},
    "create_api_key": {"name": "reader", "scopes": ["alerts:read"]},
    "request_erasure": {"reason": "wants to be forgotten", "password": PASSWORD},
    "request_user_erasure": {"reason": "wants to be forgotten"},
    "decide_subject_request": {"decision": "refused", "reason": "it is not the person who asks"},
    "delete_user": {"reason": "left the company"},
    "invite_user": {"email": "new@example.com", "role": "viewer"},
    "update_settings": {"require_mfa": "admins"},
    "update_consent": {"consents": [{"purpose": "marketing", "granted": True, "version": "1"}]},
    "set_webhook": {"url": "https://receiver.example.com/in"},
    "replay_webhook": {"from_position": "2026-03/0"},
    "update_alert": {"status": "acknowledged"},
    "record_incident": {"aware_at": "2026-03-15T12:00:00Z", "decision": "not notified", "facts": "A test."},
    "update_user": {"role": "viewer"},
    "refresh_token": {"refresh_token": "kr_a"},
    "update_profile": {"first_name": "Other"},
    "change_password": {"current_password": PASSWORD, "new_password": "a quite different password"},
    "login_mfa": {"challenge": "kc_x", "code": "123456"},
    "mfa_confirm": {"code": "123456"},
    "mfa_disable": {"password": PASSWORD, "code": "123456"},
    "sign_off_report": {"statement": "I have read it."},
    "step_up": {"code": "123456"},
    "write_events": {"type": "custom.test", "actor": {"kind": "service", "id": "billing"}},
}
"""Bodies of the right shape."""


def _body(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.name in BODIES:
        return BODIES[endpoint.name]
    if endpoint.name == "register":
        return registration(f"new{next(_numbers)}@example.com")
    if endpoint.name == "login":
        return {"email": "ada@example.com", "password": PASSWORD}
    assert endpoint.body is Nothing, f"say what a valid body of {endpoint.name} is"
    return {}


async def _call(app: App, endpoint: Endpoint, account: Account | None = None, **more: Any) -> Any:
    headers = (account.auth if account and endpoint.who else {}) | more.pop("headers", {})
    if endpoint.body is not Nothing and "content" not in more:
        more.setdefault("json", _body(endpoint))
    params = QUERIES.get(endpoint.name, {}) | more.pop("params", {})
    return await app.client.request(endpoint.method, path_of(endpoint), headers=headers, params=params, **more)


@pytest.fixture(scope="module")
async def app(host: Host) -> AsyncIterator[App]:
    """The app that the calls of this module share."""
    async with running(host, ManualClock()) as started:
        yield started


@pytest.fixture
async def ada(app: App) -> Account:
    """The tenant_admin of a tenant of her own, which began the day before: there is a day that can be reported on."""
    admin = await app.register(f"ada{next(_numbers)}@example.com")
    began = PatchSet("created_at", "2026-03-14T00:00:00.000000Z")
    await app.store.patch(IDENTITY, (admin.tenant_id,), TENANT_ITEM, [began])
    return admin


@pytest.fixture(scope="module")
async def settled(app: App) -> Account:
    """The tenant_admin of a tenant in which there is something to read of every kind."""
    admin = await app.register("settled@example.com")
    await app.host.run_timer("daily_reports")
    for _ in range(6):  # so that there is an alert to list
        await app.login(admin.email, "a guess")
    await app.host.drain_feed()
    await app.invite(admin, "invited@example.com")
    bob = await app.join(admin, "bob@example.com", Role.TENANT_ADMIN)
    wanted = BODIES["request_user_erasure"]
    await app.client.post(f"/v1/admin/users/{bob.id}/erasure", json=wanted, headers=admin.auth)
    await app.client.post("/v1/admin/api-keys", json=BODIES["create_api_key"], headers=admin.auth)
    await app.client.put("/v1/webhook", json=BODIES["set_webhook"], headers=admin.auth)
    await app.host.drain_feed()
    return admin


async def _prepared(app: App, ada: Account, caller: Account, endpoint: Endpoint) -> dict[str, Any]:
    """What has to be there for a good call is; what is particular about the call."""
    good = {"json": await good_body(app, ada, endpoint.name)} if endpoint.name in MFA_BODIES else {}
    if endpoint.name == "refresh_token":
        good = {"json": {"refresh_token": ada.refresh_token}}
    if endpoint.name == "login":
        good = {"json": {"email": ada.email, "password": PASSWORD}}
    if endpoint.name in ("delete_webhook", "test_webhook", "replay_webhook"):
        await app.client.put("/v1/webhook", json=BODIES["set_webhook"], headers=ada.auth)
    if endpoint.name == "request_erasure":
        await app.join(ada, f"heir.of.{ada.email}", Role.TENANT_ADMIN)
    if endpoint.name == "complete_access_review":
        good = {"json": {"population": [ada.id], "decisions": [{"user_id": ada.id, "decision": "keep"}]}}
    if endpoint.name == "get_ledger_proof":
        await app.host.drain_feed()  # all of them happened at the same moment: any may be the first
        good = {"params": {"event_id": (await app.events(caller.tenant_id))[0]["id"]}}
    return good


@WALK
async def test_a_good_call_answers_in_the_declared_shape(
    app: App, ada: Account, settled: Account, endpoint: Endpoint
) -> None:
    caller = settled if endpoint.method == "GET" else ada
    good = await _prepared(app, ada, caller, endpoint)
    if endpoint.response is not None:
        good["headers"] = {"Accept": "application/json"}
    answer = await _call(app, endpoint, caller, **good)
    if ":guid" in endpoint.route:
        assert_problem(answer, 404, "not_found")
        return
    assert answer.status_code == endpoint.status, answer.text
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    assert media_type in {*endpoint.produces, "application/json"} or answer.status_code == 204
    if endpoint.response is not None:
        endpoint.response.model().model_validate_json(answer.content, strict=True)
    if issubclass(endpoint.query, ListQuery):
        assert set(answer.json()) == {"items", "next_cursor"}
        assert answer.json()["items"]


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.method == "GET"], ids=lambda each: each.name)
async def test_what_only_reads_changes_nothing(app: App, ada: Account, settled: Account, endpoint: Endpoint) -> None:
    """But the trail, which says that it was read."""
    good = await _prepared(app, ada, settled, endpoint)
    feed = cast(SqliteStore, app.store)
    before = {name: await feed.last_position(container) for name, container in CONTAINERS.items()}
    await _call(app, endpoint, settled, **good)
    changed = {
        (name, each.item.get("kind"))
        for name, container in CONTAINERS.items()
        for each in await feed.changes(container, before[name], 100)
    }
    assert changed <= {("audit_events", None)} | READING_LEAVES.get(endpoint.name, set())


@WALK
async def test_every_answer_carries_request_id_and_security_headers(app: App, ada: Account, endpoint: Endpoint) -> None:
    for answer in (await _call(app, endpoint, ada), await _call(app, endpoint, ada, content=b"\xff")):
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]+", answer.headers["x-request-id"])
        assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@WALK
async def test_what_a_call_leaves_says_who_what_when_and_where(
    app: App, ada: Account, settled: Account, endpoint: Endpoint
) -> None:
    """Each event, also of a refusal; what changes anything leaves one. Of all types: `tests/audit/test_envelope.py`."""
    caller = settled if endpoint.method == "GET" else ada
    good = await _prepared(app, ada, caller, endpoint)
    now = rfc3339(app.clock.advance(seconds=1))
    answer = await _call(app, endpoint, caller, **good)
    body = answer.json() if endpoint.name == "register" else {"user": {"tenant_id": caller.tenant_id, "id": caller.id}}
    left = await app.events(body["user"]["tenant_id"])
    left = [event for event in left if event["context"]["request_id"] == answer.headers["x-request-id"]]
    assert left or endpoint.method == "GET"
    for event in left:
        assert event["type"] in all_types() or event["type"] == "custom.test"
        assert event["outcome"] == ("success" if answer.is_success else "denied")
        assert event["actor"]["id"] == ("billing" if endpoint.name == "write_events" else body["user"]["id"])
        assert event["target"] or endpoint.name in WITHOUT_TARGET
        assert event["recorded_at"] == event["occurred_at"] == now
        assert event["context"]["route"] == f"{endpoint.method} /{endpoint.route}"
        session, function = event["context"]["session_id"], {"kind": "function", "id": endpoint.name}
        assert event["source"] == ({"kind": "session", "id": session} if session else function)
        assert session or endpoint.who is None
        if endpoint.name != "write_events":
            assert event["personal"][body["user"]["id"]]["data"]["ip"] == PEER[0]


@WALK
async def test_a_session_begins_with_a_sign_in_alone(
    app: App, ada: Account, settled: Account, endpoint: Endpoint
) -> None:
    caller = settled if endpoint.method == "GET" else ada
    good = await _prepared(app, ada, caller, endpoint)
    feed, now = cast(SqliteStore, app.store), app.clock.advance(seconds=1)
    before = await feed.last_position(IDENTITY)
    await _call(app, endpoint, caller, **good)
    written = [change.item for change in await feed.changes(IDENTITY, before, 100)]
    begun = [item for item in written if item.get("kind") == "session" and item["created_at"] == rfc3339(now)]
    assert len(begun) == (endpoint.name in ("login", "login_mfa", "register"))


@WALK
async def test_no_token(app: App, endpoint: Endpoint) -> None:
    if endpoint.who is None:
        assert (await _call(app, endpoint)).status_code != 401 or endpoint.name in PROVING
        return
    answer = await _call(app, endpoint)
    assert_problem(answer, 401, "missing_token")
    assert answer.headers["www-authenticate"] == "Bearer"


@WALK
@pytest.mark.parametrize("role", list(Role))
async def test_roles(app: App, ada: Account, endpoint: Endpoint, role: Role) -> None:
    await app.give_role(ada, role)
    answer = await _call(app, endpoint, ada)
    if endpoint.who is None or role in endpoint.who:
        assert answer.status_code != 403
        nothing_there = ":guid" in endpoint.route or NOWHERE in QUERIES.get(endpoint.name, {}).values()
        assert await app.events(ada.tenant_id, "access.denied") == [] or nothing_there
    else:
        assert_problem(answer, 403, "forbidden")
        assert len(await app.events(ada.tenant_id, "access.denied")) == 1


@WALK
async def test_a_query_parameter_that_nobody_knows(app: App, ada: Account, endpoint: Endpoint) -> None:
    assert_problem(await _call(app, endpoint, ada, params={"surprise": "1"}), 422, "invalid_request", "surprise")


@WALK
async def test_a_body_field_that_nobody_knows(app: App, ada: Account, endpoint: Endpoint) -> None:
    body = _body(endpoint) | {"surprise": 1}
    assert_problem(await _call(app, endpoint, ada, json=body), 422, "invalid_request", "surprise")


@WALK
async def test_a_body_that_is_no_json(app: App, ada: Account, endpoint: Endpoint) -> None:
    assert_problem(await _call(app, endpoint, ada, content=b"{"), 400, "malformed_json")
    assert_problem(await _call(app, endpoint, ada, content=b"\xff\xfe"), 400, "invalid_encoding")


@WALK
async def test_a_body_that_is_too_large(app: App, ada: Account, endpoint: Endpoint) -> None:
    answer = await _call(app, endpoint, ada, content=b" " * (2 * 1024 * 1024))
    assert_problem(answer, 413, "body_too_large")


@WALK
async def test_another_method_is_405_with_what_is_allowed(app: App, endpoint: Endpoint) -> None:
    allowed = sorted(e.method for e in ENDPOINTS if e.route == endpoint.route)
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} - set(allowed):
        answer = await app.client.request(method, path_of(endpoint))
        assert answer.status_code == 405, method
        assert answer.headers["allow"] == ", ".join(allowed)
        if method != "HEAD":
            assert_problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/profiles",
        "/v2/profile",
        "/v1/reports/not-a-guid",
        "/v1/profile/x",
        "/v1/%2e%2e/admin",
        "//v1/profile",
    ],
)
async def test_an_unknown_path_is_404(app: App, ada: Account, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert_problem(await app.client.request(method, path, headers=ada.auth), 404, "not_found")


async def test_paths_are_case_insensitive(app: App, ada: Account) -> None:
    assert (await app.client.get("/V1/Profile", headers=ada.auth)).status_code == 200


@WALK
def test_every_endpoint_documents_its_errors(endpoint: Endpoint) -> None:
    assert (endpoint.handler.__doc__ or "").strip()
    assert {400, 413, 422, 500} <= set(error_statuses(endpoint))


@WALK
async def test_a_defect_is_a_500_that_tells_nothing(
    app: App, ada: Account, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The host would log an exception whole, personal data included; so none may get that far."""
    secret = "ada@example.com said hello"

    def broken(*_: object) -> BaseModel:
        raise RuntimeError(secret)

    account = ada if endpoint.who else None
    monkeypatch.setattr("functions._http.parse_body", broken)
    answer = await _call(app, endpoint, account)
    assert_problem(answer, 500, "internal_error")
    Problem.model().model_validate_json(answer.content)
    assert secret not in answer.text
    assert secret not in caplog.text
    assert "RuntimeError" in caplog.text
