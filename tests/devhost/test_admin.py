"""Who may run functions by hand: programs of this machine, and no web page."""

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from devhost.host import Host

JSON = {"Content-Type": "application/json"}
NIGHTLY = "/admin/functions/nightly"


@pytest.fixture
async def admin(web: Host) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=web.asgi, client=("127.0.0.1", 50000))
    async with web, httpx.AsyncClient(transport=transport, base_url="http://localhost:7071") as opened:
        web.module.finished.clear()
        yield opened


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:7071", "127.0.0.1", "127.9.9.9:80", "[::1]:7071", "[::ffff:127.0.0.1]"]
)
async def test_a_name_of_this_machine_is_served(admin: httpx.AsyncClient, host: str) -> None:
    assert (await admin.post(NIGHTLY, json={}, headers={"Host": host})).status_code == 202
    own = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert (await admin.post(NIGHTLY, json={}, headers=own)).status_code == 202


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7071", "192.0.2.1", "0.0.0.0:80", "[::]"]
)
async def test_a_name_that_was_bound_to_this_machine_is_not(web: Host, admin: httpx.AsyncClient, host: str) -> None:
    """DNS rebinding: to the browser, page and target are one origin."""
    assert (await admin.post(NIGHTLY, json={}, headers={"Host": host})).status_code == 403
    own = {"Host": host, "Origin": f"http://{host}"}
    assert (await admin.post(NIGHTLY, json={}, headers=own)).status_code == 403
    assert web.module.finished == []


@pytest.mark.parametrize(
    "lines",
    [
        [("Origin", "http://evil.example")],
        [("Origin", "null")],
        [("Origin", "https://localhost:7071")],
        [("Origin", "http://localhost:3000")],
        [("Origin", "http://localhost:7071"), ("Origin", "http://evil.example")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
        [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")],
    ],
)
async def test_a_page_of_another_origin_is_not_served(
    web: Host, admin: httpx.AsyncClient, lines: list[tuple[str, str]]
) -> None:
    response = await admin.post(NIGHTLY, content="{}", headers=[*JSON.items(), *lines])
    assert (response.status_code, web.module.finished) == (403, [])


@pytest.mark.parametrize("lines", [[("Host", "a#")], [("Host", "localhost"), ("Host", "localhost")]])
async def test_a_host_that_is_none_is_a_bad_request(admin: httpx.AsyncClient, lines: list[tuple[str, str]]) -> None:
    assert (await admin.post(NIGHTLY, content="{}", headers=[*JSON.items(), *lines])).status_code == 400


async def test_the_body_has_a_limit(admin: httpx.AsyncClient) -> None:
    async def pieces(total: int) -> AsyncIterator[bytes]:
        yield b" " * (total - 2)
        yield b"{}"

    limit = 1024 * 1024
    assert (await admin.post(NIGHTLY, content=b"{}".rjust(limit), headers=JSON)).status_code == 202
    declared = await admin.post(NIGHTLY, content=b"{}".rjust(limit + 1), headers=JSON)
    assert (declared.status_code, declared.headers["connection"]) == (413, "close")
    assert (await admin.post(NIGHTLY, content=pieces(limit), headers=JSON)).status_code == 202
    assert (await admin.post(NIGHTLY, content=pieces(limit + 1), headers=JSON)).status_code == 413


async def test_a_body_nested_beyond_reason_is_a_bad_request(admin: httpx.AsyncClient) -> None:
    assert (await admin.post(NIGHTLY, content="[" * 500_000, headers=JSON)).status_code == 400


async def test_a_client_that_leaves_is_no_error(web: Host, caplog: pytest.LogCaptureFixture) -> None:
    coming: Iterator[Any] = iter(
        [{"type": "http.request", "body": b'{"inp', "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        return None

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": NIGHTLY,
        "client": ("127.0.0.1", 50000),
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "query_string": b"",
    }
    with caplog.at_level(logging.DEBUG):
        await web.asgi(scope, receive, send)
    assert caplog.text == ""
