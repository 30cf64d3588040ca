"""What a tenant's policy asks for in front of every endpoint: a factor that is due, and a fresh one."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import azure.functions as func
import pytest

from functions import ENDPOINTS
from functions._http import http_function
from shared.identity.model import ADMINS, TENANT_ITEM, Role, session_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import PatchRemove, PatchSet
from shared.wiring import LazyServices
from tests.app import PASSWORD, Account, App, assert_problem
from tests.identity.test_sessions import session_of, sign
from tests.second_factors import Device, begin, enrolled, require

NOWHERE = "11111111-1111-7111-8111-111111111111"
KNOWN = [endpoint for endpoint in ENDPOINTS if endpoint.who is not None]
OPEN_WHILE_ENROLLING = {"mfa_enroll", "mfa_confirm", "logout"}
(PROFILE,) = (endpoint for endpoint in ENDPOINTS if endpoint.name == "get_profile")


def again(account: Account, token: str) -> Account:
    return Account(account.id, account.tenant_id, account.email, token)


async def enrolling(app: App, account: Account) -> Account:
    """Signed in, where a factor is due."""
    body = (await app.login(account.email)).json()
    assert (body["mfa_required"], body["enrollment_required"], body["challenge"]) == (True, True, None)
    return again(account, body["access_token"])


async def call(app: App, endpoint: Any, account: Account) -> Any:
    url = "/" + re.sub(r"\{\w+:guid\}", NOWHERE, endpoint.route)
    return await app.client.request(endpoint.method, url, json={}, headers=account.auth)


def test_what_may_be_called_to_enroll() -> None:
    assert {endpoint.name for endpoint in ENDPOINTS if endpoint.enrollment} == OPEN_WHILE_ENROLLING


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("policy", ["off", "admins", "all", "a word of a version to come", None])
async def test_whom_a_policy_asks(app: App, ada: Account, role: Role, policy: str | None) -> None:
    await app.give_role(ada, role)
    if policy is not None:
        await require(app, ada, policy)
    asked = policy not in (None, "off") and (policy != "admins" or role in ADMINS)
    body = (await app.login(ada.email)).json()
    assert ("mfa_required" in body) == asked
    assert "access_token" in body
    profile = await app.client.get("/v1/profile", headers=again(ada, body["access_token"]).auth)
    assert profile.status_code == (403 if asked else 200)
    (event,) = await app.events(ada.tenant_id, "auth.login")
    assert (event["outcome"], event["reason"]) == ("success", "mfa_enrollment" if asked else None)


@pytest.mark.parametrize("endpoint", KNOWN, ids=[endpoint.name for endpoint in KNOWN])
async def test_tokens_that_only_enroll(app: App, ada: Account, endpoint: Any) -> None:
    await require(app, ada, "all")
    account = await enrolling(app, ada)
    answer = await call(app, endpoint, account)
    denied = await app.events(ada.tenant_id, "access.denied")
    if endpoint.name in OPEN_WHILE_ENROLLING:
        assert answer.status_code in (200, 204, 422)
        assert denied == []
    else:
        assert_problem(answer, 403, "mfa_enrollment_required")
        assert [(e["reason"], e["actor"]["id"], e["context"]["route"]) for e in denied] == [
            ("mfa_enrollment", ada.id, f"{endpoint.method} /{endpoint.route}")
        ]
        only = {"auth.register", "auth.login", "consent.grant", "access.denied"}
        assert set(await app.types(ada.tenant_id)) == only, "nothing was done"


async def test_enrolling_makes_the_same_tokens_good_for_everything(app: App, ada: Account) -> None:
    await require(app, ada, "all")
    account = await enrolling(app, ada)
    device = await enrolled(app, account)
    assert (await app.client.get("/v1/profile", headers=account.auth)).json()["mfa"] is True
    assert (await app.client.get("/v1/alerts", headers=account.auth)).status_code == 200
    session = await app.store.read(IDENTITY, (ada.tenant_id,), session_key(session_of(account.token)))
    assert (session["enrollment_only"], session["mfa_at"] is not None) == (False, True)
    assert (await device.answer(await device.challenge(), device.code())).status_code == 200


async def test_beginning_to_enroll_is_not_enough(app: App, ada: Account) -> None:
    await require(app, ada, "all")
    account = await enrolling(app, ada)
    device = await begin(app, account)
    await device.post("/v1/mfa/confirm", code=device.wrong())
    assert_problem(await app.client.get("/v1/profile", headers=account.auth), 403, "mfa_enrollment_required")


async def test_a_policy_holds_for_those_who_are_signed_in(app: App, ada: Account) -> None:
    """Not from their next sign-in on, which may be weeks away."""
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200
    await require(app, ada, "all")
    assert_problem(await app.client.get("/v1/profile", headers=ada.auth), 403, "mfa_enrollment_required")
    await enrolled(app, ada)
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200


async def test_a_policy_that_ends_frees_the_next_session(app: App, ada: Account) -> None:
    """A session that was opened to enroll stays one."""
    await require(app, ada, "all")
    account = await enrolling(app, ada)
    await app.store.patch(IDENTITY, (ada.tenant_id,), TENANT_ITEM, [PatchRemove("settings")])
    assert_problem(await app.client.get("/v1/profile", headers=account.auth), 403, "mfa_enrollment_required")
    assert "mfa_required" not in (await app.login(ada.email)).json()
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200


async def test_another_tenants_policy_is_its_own(app: App, ada: Account, grace: Account) -> None:
    await require(app, grace, "all")
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200
    assert "mfa_required" not in (await app.login(ada.email)).json()


BY_ADMINISTRATORS = [e for e in KNOWN if e.route.startswith("v1/admin/") and e.method != "GET"]


@pytest.mark.parametrize("endpoint", BY_ADMINISTRATORS, ids=[endpoint.name for endpoint in BY_ADMINISTRATORS])
async def test_every_change_by_an_administrator_asks_for_a_fresh_factor(app: App, ada: Account, endpoint: Any) -> None:
    device = await enrolled(app, ada)
    await require(app, ada, "admins")
    headers = await signed_in(app, device)
    app.clock.advance(seconds=901)
    account = again(ada, (await later(app, ada, headers))["Authorization"].removeprefix("Bearer "))
    assert_problem(await call(app, endpoint, account), 403, "step_up_required")
    assert await app.events(ada.tenant_id, "config.change") == []


async def with_step_up(app: App, headers: dict[str, str]) -> func.HttpResponse:
    """GET /profile through the real edge, were it declared with `step_up`."""
    services = LazyServices(app.services.settings)
    services.put(app.services)
    request = func.HttpRequest("GET", "http://kraftd.test/api/v1/profile", headers=headers, body=b"")
    return await http_function(replace(PROFILE, step_up=True), services)(request)


async def signed_in(app: App, device: Device) -> dict[str, str]:
    """A header whose session showed the factor now."""
    answer = await device.answer(await device.challenge(), device.code())
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def later(app: App, account: Account, headers: dict[str, str]) -> dict[str, str]:
    """A fresh access token of the same session."""
    session_id = session_of(headers["Authorization"].removeprefix("Bearer "))
    return await sign(app, account.id, account.tenant_id, session_id)


@pytest.mark.parametrize(("seconds", "status"), [(0, 200), (899, 200), (900, 200), (901, 403), (86_399, 403)])
async def test_a_factor_is_fresh_for_15_minutes(app: App, ada: Account, seconds: int, status: int) -> None:
    device = await enrolled(app, ada)
    await require(app, ada, "admins")
    headers = await signed_in(app, device)
    app.clock.advance(seconds=seconds)
    answer = await with_step_up(app, await later(app, ada, headers))
    assert answer.status_code == status, answer.get_body()
    denied = await app.events(ada.tenant_id, "access.denied")
    assert [event["reason"] for event in denied] == ([] if status == 200 else ["step_up"])
    assert status == 200 or b'"code":"step_up_required"' in answer.get_body()


async def test_stepping_up_renews_it_in_this_session_alone(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    await require(app, ada, "all")
    first = await signed_in(app, device)
    app.clock.advance(minutes=1)
    second = await signed_in(app, device)
    app.clock.advance(minutes=16)
    first, second = await later(app, ada, first), await later(app, ada, second)
    body = {"code": device.code()}
    assert (await app.client.post("/v1/step-up", json=body, headers=first)).status_code == 204
    assert (await with_step_up(app, first)).status_code == 200
    assert (await with_step_up(app, second)).status_code == 403
    app.clock.advance(minutes=15)
    assert (await with_step_up(app, await later(app, ada, first))).status_code == 200
    app.clock.advance(seconds=1)
    assert (await with_step_up(app, await later(app, ada, first))).status_code == 403


async def test_a_wrong_code_renews_nothing(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    await require(app, ada, "all")
    headers = await signed_in(app, device)
    app.clock.advance(minutes=16)
    headers = await later(app, ada, headers)
    answer = await app.client.post("/v1/step-up", json={"code": device.wrong()}, headers=headers)
    assert_problem(answer, 403, "wrong_code")
    assert (await with_step_up(app, headers)).status_code == 403


async def test_where_no_policy_asks_nobody_steps_up(app: App, ada: Account) -> None:
    """Also those who have a factor of their own accord, and those whom the policy leaves out."""
    device = await enrolled(app, ada)
    headers = await signed_in(app, device)
    app.clock.advance(minutes=16)
    headers = await later(app, ada, headers)
    assert (await with_step_up(app, headers)).status_code == 200
    await require(app, ada, "admins")
    assert (await with_step_up(app, headers)).status_code == 403
    await app.give_role(ada, Role.USER)
    assert (await with_step_up(app, headers)).status_code == 200
    await require(app, ada, "all")
    assert (await with_step_up(app, headers)).status_code == 403


async def test_no_session_in_which_the_factor_was_not_shown_outlives_its_enrollment(app: App, ada: Account) -> None:
    """Somebody who has the password, and a session from before, is out."""
    bob = await app.join(ada, "bob@example.com")
    others = [(await app.login(ada.email)).json() for _ in range(2)]
    await enrolled(app, ada)
    for tokens in others:
        old = again(ada, tokens["access_token"])
        assert_problem(await app.client.get("/v1/profile", headers=old.auth), 401, "invalid_token")
        renewed = await app.client.post("/v1/token/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert_problem(renewed, 401, "invalid_token")
    listed = await app.client.get("/v1/sessions", headers=ada.auth)
    assert [each["current"] for each in listed.json()["items"]] == [True]
    (confirmed,) = [e for e in await app.events(ada.tenant_id, "mfa.enroll") if e["reason"] == "confirmed"]
    assert confirmed["attributes"]["sessions_ended"] == 2
    renewed = await app.client.post("/v1/token/refresh", json={"refresh_token": ada.refresh_token})
    assert renewed.status_code == 200, "the one that enrolled goes on"
    assert (await app.client.get("/v1/profile", headers=bob.auth)).status_code == 200


async def test_a_sign_in_under_way_does_not_outlive_an_enrollment(app: App, ada: Account) -> None:
    """Its password was checked when no factor was there; whenever it commits, the session it opens is void."""
    device = await begin(app, ada)
    body = device.code()
    *signed_in, confirmed = await asyncio.gather(
        *(app.login(ada.email) for _ in range(5)), device.post("/v1/mfa/confirm", code=body)
    )
    assert confirmed.status_code == 200
    for answer in signed_in:
        if answer.status_code == 200 and "access_token" in answer.json():
            old = again(ada, answer.json()["access_token"])
            assert (await app.client.get("/v1/profile", headers=old.auth)).status_code == 401


async def test_a_replaced_factor_ends_the_sessions_of_the_old_one(app: App, ada: Account) -> None:
    old = await enrolled(app, ada)
    other = await signed_in(app, old)
    new = await begin(app, ada)
    assert (await new.post("/v1/mfa/confirm", code=new.code())).status_code == 200
    assert_problem(await app.client.get("/v1/profile", headers=other), 401, "invalid_token")
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200


async def test_a_role_that_is_too_low_is_told_before_a_factor_is_asked_for(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    await require(app, ada, "all")
    headers = await signed_in(app, device)
    await app.give_role(ada, Role.VIEWER)
    app.clock.advance(minutes=14)
    answer = await app.client.get("/v1/alerts", headers=headers)
    assert_problem(answer, 403, "forbidden")


async def test_a_session_never_becomes_good_by_the_body(app: App, ada: Account) -> None:
    await require(app, ada, "all")
    account = await enrolling(app, ada)
    for body in ({"enrollment_only": False}, {"mfa_at": "2026-03-15T12:00:00.000000Z"}, {"password": PASSWORD}):
        answer = await app.client.post("/v1/mfa/enroll", json=body, headers=account.auth)
        assert_problem(answer, 422, "invalid_request", *body)
    assert_problem(await app.client.get("/v1/profile", headers=account.auth), 403, "mfa_enrollment_required")


async def test_the_session_field_is_what_decides(app: App, ada: Account) -> None:
    key = session_key(session_of(ada.token))
    await app.store.patch(IDENTITY, (ada.tenant_id,), key, [PatchSet("enrollment_only", True)])
    assert_problem(await app.client.get("/v1/profile", headers=ada.auth), 403, "mfa_enrollment_required")
