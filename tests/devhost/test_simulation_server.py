"""What a simulation asks of its server: the time, and whether detection has seen everything."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpx
import pytest

from devhost.simulation.requests import SimulationError
from devhost.simulation.server import caught_up, simulated_now


def client(answers: Sequence[httpx.Response]) -> tuple[httpx.AsyncClient, Callable[[], int]]:
    """A server that gives these answers, the last one again and again; and how often it was asked."""
    asked = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return answers[min(asked, len(answers)) - 1]

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://localhost/")
    return http, lambda: asked


def ready(status: str, lag: float | None) -> httpx.Response:
    return httpx.Response(200, json={"checks": {"feed": {"status": status, "lag_seconds": lag}}})


@pytest.mark.parametrize("last", [ready("ok", 0.0), ready("unknown", None)])
async def test_it_waits_until_the_feed_is_not_behind(last: httpx.Response) -> None:
    http, asked = client([ready("ok", 1.5), last])
    async with http:
        await caught_up(http)
    assert asked() == 2


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ready("ok", 3.0), "the change feed is still behind after 0 s"),
        (ready("failed", None), "the change feed failed after 0 s"),
        (httpx.Response(502, text="no"), "GET /v1/health/ready was answered 502 without checks.feed"),
        (httpx.Response(200, json={}), "GET /v1/health/ready was answered 200 without checks.feed"),
    ],
)
async def test_it_does_not_wait_forever_nor_takes_a_failure_for_the_end(answer: httpx.Response, told: str) -> None:
    http, _ = client([answer])
    async with http:
        with pytest.raises(SimulationError) as caught:
            await caught_up(http, seconds=0)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("answer", "now"),
    [
        (httpx.Response(404), None),
        (httpx.Response(200, json={"now": "2026-10-05T08:00:00Z"}), datetime(2026, 10, 5, 8, tzinfo=UTC)),
    ],
)
async def test_the_time_is_simulated_or_real(answer: httpx.Response, now: datetime | None) -> None:
    http, _ = client([answer])
    async with http:
        assert await simulated_now(http) == now


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"now": 5}', b'{"now": "noon"}'])
async def test_a_server_of_another_kind_is_named(body: bytes) -> None:
    http, _ = client([httpx.Response(200, content=body)])
    async with http:
        with pytest.raises(SimulationError, match="GET /admin/clock"):
            await simulated_now(http)
