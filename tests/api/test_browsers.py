"""What a browser could be made to do by a page of somebody else's: no call counts but by a header that only a program
of the user's adds, and no answer is anything but data."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from devhost.host import Host
from functions import ENDPOINTS
from functions._api import Endpoint
from functions._http import SECURITY_HEADERS
from functions._openapi import document
from tests.app import Account, App, assert_problem, registration, running
from tests.calls import NOWHERE, path_of
from tests.fakes import ManualClock

SAFELISTED = {
    "Accept": "text/html",
    "Accept-Language": "en",
    "Content-Language": "en",
    "Content-Type": "text/plain",
    "Origin": "https://evil.example.com",
    "Referer": "https://evil.example.com/page",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "no-cors",
}
"""What a page of another origin can have sent without asking first (Fetch, 2.2.2), and what a browser adds."""
KNOWN = [each for each in ENDPOINTS if each.who is not None]
OPEN = [each for each in ENDPOINTS if each.who is None]


@pytest.fixture(scope="module")
async def app(host: Host) -> AsyncIterator[App]:
    """The app that the calls of this module share."""
    async with running(host, ManualClock()) as started:
        yield started


@pytest.fixture(scope="module")
async def ada(app: App) -> Account:
    return await app.register("ada@example.com")


def _ids(each: Endpoint) -> str:
    return each.name


@pytest.mark.parametrize("endpoint", KNOWN, ids=_ids)
async def test_a_call_that_a_foreign_page_can_send_is_nobodys(app: App, ada: Account, endpoint: Endpoint) -> None:
    """The token in a cookie, in the query or in the body of a form is none."""
    before = await app.types(ada.tenant_id)
    cookies = {"Cookie": f"Authorization=Bearer {ada.token}; access_token={ada.token}; token={ada.token}"}
    path, form = path_of(endpoint), f"access_token={ada.token}"
    for headers in (SAFELISTED | cookies, SAFELISTED | cookies | {"Content-Type": "application/x-www-form-urlencoded"}):
        answer = await app.client.request(endpoint.method, path, headers=headers, content=form)
        assert_problem(answer, 401, "missing_token")
    answer = await app.client.request(endpoint.method, f"{path}?{form}", headers=SAFELISTED)
    assert_problem(answer, 401, "missing_token")
    assert await app.types(ada.tenant_id) == before


@pytest.mark.parametrize("endpoint", OPEN, ids=_ids)
async def test_what_is_open_leaves_nothing_in_a_browser(app: App, ada: Account, endpoint: Endpoint) -> None:
    """A sign-in that a foreign page sends signs nobody in: no cookie is set, and the page cannot read the answer."""
    bodies: dict[str, Any] = {
        "login": {"email": ada.email, "password": "correct horse battery staple"},
        "register": registration("of.a.page@example.com"),
        "refresh_token": {"refresh_token": ada.refresh_token},
    }
    request = app.client.build_request(endpoint.method, path_of(endpoint), json=bodies.get(endpoint.name))
    request.headers.update(SAFELISTED)
    answer = await app.client.send(request)
    assert endpoint.name not in bodies or answer.is_success, answer.text
    assert not [name for name in answer.headers if name.startswith(("access-control-", "set-cookie"))]


def test_no_answer_that_is_declared_sends_anybody_elsewhere() -> None:
    """201 and 202 say where something is; nothing but "not modified" is of the class of redirects."""
    paths = document(ENDPOINTS)["paths"].values()
    answers = {status for path in paths for operation in path.values() for status in operation["responses"]}
    assert {status for status in answers if status.startswith("3")} <= {"304"}
    assert len(answers) > 10


@pytest.mark.parametrize("target", ["https://evil.example.com/", "//evil.example.com", "/\\evil.example.com"])
async def test_no_parameter_sends_anybody_elsewhere(app: App, ada: Account, target: str) -> None:
    for name in ("next", "url", "redirect", "redirect_uri", "return_to", "continue", "callback", "jsonp"):
        for path, headers in (("/v1/profile", ada.auth), ("/v1/health/live", {}), ("/v1/nowhere", {})):
            answer = await app.client.get(path, params={name: target}, headers=headers, follow_redirects=False)
            assert answer.status_code in (404, 422)
            assert "location" not in answer.headers
            assert "evil" not in answer.text


async def _answers(app: App, ada: Account) -> dict[str, httpx.Response]:
    """One of each kind, down to what no function answers."""
    client, auth = app.client, ada.auth
    return {
        "good": await client.get("/v1/profile", headers=auth | {"Origin": "https://example.com"}),
        "open": await client.get("/v1/health/live", headers={"Origin": "null"}),
        "changed": await client.put("/v1/profile", json={"bio": "x"}, headers=auth),
        "nothing": await client.put("/v1/privacy/consent", json={"consents": []}, headers=auth),
        "no token": await client.get("/v1/profile"),
        "text": await client.get("/v1/ledger/key", headers=auth),
        "no id": await client.get(f"/v1/reports/{NOWHERE}", headers=auth),
        "no path": await client.get("/v1/nowhere"),
        "root": await client.get("/"),
        "no method": await client.request("OPTIONS", "/v1/profile", headers={"Origin": "https://evil.example.com"}),
        "wrong": await client.post("/v1/login", content=b"{"),
        "large": await client.post("/v1/login", content=b" " * (2 << 20)),
        "head": await client.head("/v1/profile"),
    }


async def test_every_kind_of_answer_carries_the_headers_for_browsers(app: App, ada: Account) -> None:
    """That every route sends them is asked in `test_general_rules.py`."""
    for kind, answer in (await _answers(app, ada)).items():
        sent = {name: answer.headers[name] for name in SECURITY_HEADERS}
        age = re.fullmatch(r"max-age=(\d+); includeSubDomains", sent["Strict-Transport-Security"])
        assert age is not None, kind
        assert int(age[1]) >= 365 * 86_400
        policy = set(sent["Content-Security-Policy"].split("; "))
        assert {"default-src 'none'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= policy, kind
        assert sent["X-Content-Type-Options"] == "nosniff"
        assert sent["Referrer-Policy"] == "no-referrer"
        assert sent["Cache-Control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith(("access-control-", "set-cookie"))], kind


async def test_every_kind_of_answer_says_what_its_body_is(app: App, ada: Account) -> None:
    for kind, answer in (await _answers(app, ada)).items():
        if kind == "text":
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        elif answer.content:
            assert answer.headers["content-type"] in ("application/json", "application/problem+json"), kind
            answer.json()


async def test_nothing_traces(app: App) -> None:
    for path in ("/", "/v1/profile", "/v1/health/live", "/v1/nowhere", "/v1/openapi.json"):
        for method in ("TRACE", "TRACK", "DEBUG", "CONNECT"):
            answer = await app.client.request(method, path, headers={"X-Secret": "echo me"})
            assert answer.status_code in (404, 405)
            assert "echo me" not in answer.text
