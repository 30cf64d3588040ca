"""What reaches a function, and what comes back, through the real worker runtime."""

import asyncio
import logging
from typing import Any

import httpx
import pytest

from devhost.bindings import HttpTrigger
from devhost.host import Host
from devhost.http import BodyBudget, ClientGone, HttpFront, Refused, build_router, read_body


async def test_the_route_prefix_comes_from_host_json(client: httpx.AsyncClient) -> None:
    assert (await client.get("/echo")).status_code == 200
    assert (await client.get("http://kraftd.test/api/echo")).status_code == 404
    assert (await client.get("http://kraftd.test/echo")).status_code == 404


async def test_no_function_means_a_bare_404(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/none"),
        ("POST", "/alerts/x"),
        ("GET", "/echo/more"),
        ("GET", "http://kraftd.test/"),
    ):
        response = await client.request(method, path)
        assert (response.status_code, response.content, dict(response.headers)) == (404, b"", {"content-length": "0"})


async def test_paths_ignore_case_and_parameters_keep_theirs(client: httpx.AsyncClient) -> None:
    response = await client.get("http://kraftd.test/KRAFTD/Api/ALERTS/MiXed")
    assert response.json() == {"by": "get_alert", "route": {"id": "MiXed"}}


async def test_functions_are_tried_in_the_order_of_their_names(client: httpx.AsyncClient) -> None:
    assert (await client.get("/alerts/patterns")).json()["by"] == "get_alert"


@pytest.mark.parametrize(
    ("path", "by", "route"),
    [
        ("/items/0b5f8c1e-90a1-4a62-8b1b-0d6b6a1d2c3e", "by_guid", {"id": "0b5f8c1e-90a1-4a62-8b1b-0d6b6a1d2c3e"}),
        ("/items/42", "by_number", {"n": "42"}),
        ("/pages", "optional_page", {}),
        ("/pages/", "optional_page", {}),
        ("/pages/2", "optional_page", {"page": "2"}),
        ("/files", "rest_of_path", {}),
        ("/files/a/b%20c/", "rest_of_path", {"path": "a/b c/"}),
        ("/alerts/a%2Fb", "get_alert", {"id": "a%2Fb"}),
        ("/alerts/gr%C3%BCn", "get_alert", {"id": "grün"}),
        ("/alerts/x/", "get_alert", {"id": "x"}),
    ],
)
async def test_route_parameters(client: httpx.AsyncClient, path: str, by: str, route: dict[str, str]) -> None:
    assert (await client.get(path)).json() == {"by": by, "route": route}


async def test_a_failed_constraint_is_no_match(client: httpx.AsyncClient) -> None:
    assert (await client.get("/items/0")).status_code == 404
    assert (await client.get("/items/text")).status_code == 404


async def test_methods_are_an_exact_list(client: httpx.AsyncClient) -> None:
    assert (await client.head("/echo")).status_code == 404
    assert (await client.options("/echo")).status_code == 404
    assert (await client.get("/head")).status_code == 404
    assert (await client.request("BREW", "/any")).text == "BREW"
    assert (await client.options("/head")).headers["x-method"] == "OPTIONS"


async def test_head_answers_with_the_length_and_no_body(client: httpx.AsyncClient) -> None:
    response = await client.head("/head")
    assert (response.status_code, response.headers["content-length"], response.content) == (200, "4", b"")


async def test_queries_are_joined_and_the_url_keeps_them(client: httpx.AsyncClient) -> None:
    seen = (await client.get("/echo?a=1&b=&A=2&c=x%20y&d")).json()
    assert seen["params"] == {"a": "1,2", "c": "x y"}
    assert seen["url"] == "http://kraftd.test/kraftd/api/echo?a=1&b=&A=2&c=x%20y&d"


async def test_request_headers_arrive_joined(client: httpx.AsyncClient) -> None:
    lines = [("X-Many", "1"), ("x-many", "2"), ("Cookie", "a=1"), ("Cookie", "b=2"), ("X-Empty", "")]
    seen = (await client.get("/echo", headers=lines)).json()["headers"]
    assert (seen["x-many"], seen["cookie"], seen["x-empty"]) == ("1,2", "a=1; b=2", "")


async def test_the_peer_is_the_last_forwarded_address(client: httpx.AsyncClient, web: Host) -> None:
    alone = (await client.get("/echo")).json()["headers"]
    behind = (await client.get("/echo", headers={"X-Forwarded-For": "198.51.100.1"})).json()["headers"]
    assert alone["x-forwarded-for"] == "203.0.113.9:50000"
    assert behind["x-forwarded-for"] == "198.51.100.1, 203.0.113.9:50000"
    transport = httpx.ASGITransport(app=web.asgi, client=("2001:db8::1", 5))
    async with httpx.AsyncClient(transport=transport, base_url="http://kraftd.test/kraftd/api") as sixth:
        assert (await sixth.get("/echo")).json()["headers"]["x-forwarded-for"] == "[2001:db8::1]:5"


async def test_a_header_that_is_not_utf8_is_a_bad_request(client: httpx.AsyncClient) -> None:
    assert (await client.get("/echo", headers=[(b"x-name", b"\xff")])).status_code == 400


async def test_a_path_with_nul_is_a_bad_request(client: httpx.AsyncClient) -> None:
    assert (await client.get("/alerts/a%00b")).status_code == 400


async def test_binary_bodies_survive_both_ways(client: httpx.AsyncClient) -> None:
    sent = bytes(range(256)) * 300
    response = await client.post("/bytes", content=sent)
    assert response.content == sent
    assert response.headers["content-type"] == "application/octet-stream"
    assert (await client.post("/bytes", content=b"")).content == b""


async def test_repeated_response_headers_keep_the_last_and_cookies_all(client: httpx.AsyncClient) -> None:
    response = await client.get("/headers")
    assert response.status_code == 201
    assert response.headers.get_list("x-twice") == ["second"]
    assert response.headers.get_list("content-length") == ["1"]
    assert response.headers.get_list("set-cookie") == [
        "a=1; max-age=60; path=/x; secure; samesite=strict; httponly",
        "b=2; expires=Wed, 21 Oct 2026 07:28:00 GMT; domain=example.org; path=/",
    ]


async def test_other_answers(client: httpx.AsyncClient) -> None:
    plain = await client.get("/text")
    assert (plain.text, plain.headers["content-type"]) == ("grüße", "text/plain; charset=utf-8")
    gone = await client.delete("/gone")
    assert (gone.status_code, gone.content, "content-length" in gone.headers) == (204, b"", False)
    assert (await client.get("/sync")).text == "sync"
    context = (await client.get("/context")).json()
    assert context["name"] == "with_context"
    assert len(context["id"]) == 36


@pytest.mark.parametrize("path", ["/fail", "/nothing", "/broken-answer", "/line-break", "/cancelled", "/odd-status"])
async def test_a_failure_is_an_empty_500_and_logs_no_values(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = await client.get(path)
    assert (response.status_code, response.content) == (500, b"")
    assert "ada@example.org" not in caplog.text
    assert "Traceback" not in caplog.text
    ours = [record.getMessage() for record in caplog.records if record.name == "devhost"]
    assert len(ours) == 1
    if path == "/fail":
        assert ours == ["function_failed function=fail error=LookupError"]


async def test_a_body_above_the_limit_is_refused(web: Host) -> None:
    front = HttpFront(web._worker, build_router(web.functions, web.prefix))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the declared length is enough to refuse")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/kraftd/api/bytes",
        "headers": [(b"host", b"x"), (b"content-length", b"%d" % (100 * 1024 * 1024 + 1))],
        "query_string": b"",
    }
    await front(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_a_body_is_counted_while_it_arrives() -> None:
    async def read(*messages: dict[str, Any]) -> bytes:
        waiting = iter(messages)

        async def receive() -> Any:
            return next(waiting)

        return await read_body({"headers": []}, receive, 5)

    first = {"type": "http.request", "body": b"abc", "more_body": True}
    assert await read(first, {"type": "http.request", "body": b"de"}) == b"abcde"
    with pytest.raises(Refused):
        await read(first, {"type": "http.request", "body": b"def", "more_body": True})
    with pytest.raises(ClientGone):
        await read(first, {"type": "http.disconnect"})


async def posted(front: HttpFront, coming: asyncio.Queue[Any]) -> tuple[int, Any]:
    """Status and header lines of a POST whose messages come from a queue; status 0 without an answer."""
    sent: list[Any] = [{"status": 0, "headers": []}]

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/kraftd/api/bytes",
        "headers": [(b"host", b"x")],
        "query_string": b"",
    }
    await front(scope, coming.get, send)
    start = sent[min(1, len(sent) - 1)]
    return start["status"], start["headers"]


async def test_bodies_share_a_budget(web: Host) -> None:
    assert HttpFront(web._worker, build_router((), ""))._bodies.left == 256 * 1024 * 1024
    budget = BodyBudget(10)
    front = HttpFront(web._worker, build_router(web.functions, web.prefix), budget)
    queues: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in range(4)]
    first, second, third, last = queues
    first.put_nowait({"type": "http.request", "body": b"123456", "more_body": True})
    waiting = asyncio.create_task(posted(front, first))
    await asyncio.sleep(0)
    second.put_nowait({"type": "http.request", "body": b"12345"})
    assert await posted(front, second) == (503, [(b"connection", b"close"), (b"content-length", b"0")])
    third.put_nowait({"type": "http.request", "body": b"1234", "more_body": True})
    third.put_nowait({"type": "http.disconnect"})
    assert (await posted(front, third))[0] == 0
    assert budget.left == 4
    first.put_nowait({"type": "http.request", "body": b"7890"})
    assert (await waiting)[0] == 200
    last.put_nowait({"type": "http.request", "body": b"1234567890"})
    assert (await posted(front, last))[0] == 200
    assert budget.left == 10


async def test_a_body_keeps_its_share_while_its_function_runs(web: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = BodyBudget(10)
    seen: list[int] = []
    invoke = web._worker.invoke

    async def watched(*given: Any) -> Any:
        seen.append(budget.left)
        return await invoke(*given)

    monkeypatch.setattr(web._worker, "invoke", watched)
    coming: asyncio.Queue[Any] = asyncio.Queue()
    coming.put_nowait({"type": "http.request", "body": b"1234"})
    front = HttpFront(web._worker, build_router(web.functions, web.prefix), budget)
    assert (await posted(front, coming))[0] == 200
    assert (seen, budget.left) == ([6], 10)


async def test_functions_tell_what_they_declare(web: Host) -> None:
    triggers = {each.name: each.trigger for each in web.functions}
    echo = triggers["echo"]
    assert isinstance(echo, HttpTrigger)
    assert (echo.route, echo.auth_level) == ("echo", "anonymous")
    assert echo.methods == frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
    assert [each.name for each in web.functions] == sorted(triggers, key=str.upper)
