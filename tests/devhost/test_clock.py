"""The simulated clock: only forward, only where it was asked for, only for programs of this machine."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.__main__ import main
from devhost.clock import LATEST, SimulatedClock, build_on
from devhost.errors import HostError
from devhost.host import Host
from shared.core.settings import Settings
from shared.wiring import LazyServices
from tests.devhost.fakes import APPS

START = datetime(2026, 3, 2, tzinfo=UTC)
AT_START = "2026-03-02T00:00:00"
PATH = "/admin/clock"


@given(st.lists(st.timedeltas(timedelta(), timedelta(days=400)), max_size=20))
def test_every_reading_is_later_than_the_one_before(steps: list[timedelta]) -> None:
    clock = SimulatedClock(START)
    before = START
    for step in steps:
        moved = clock.move(START + step)
        now = clock.now()
        assert now > before
        assert moved == (START + step >= before)
        assert not moved or now == START + step + timedelta(microseconds=1)
        before = now


@pytest.mark.parametrize("moment", [START.replace(tzinfo=None), LATEST])
def test_a_time_that_cannot_be(moment: datetime) -> None:
    with pytest.raises(ValueError, match="simulated time"):
        SimulatedClock(moment)
    with pytest.raises(ValueError, match="simulated time"):
        SimulatedClock(START).move(moment)


@pytest.fixture
async def simulated() -> AsyncIterator[httpx.AsyncClient]:
    host = await Host.load(APPS / "web", clock=SimulatedClock(START))
    transport = httpx.ASGITransport(app=host.asgi, client=("127.0.0.1", 50000))
    async with host, httpx.AsyncClient(transport=transport, base_url="http://localhost:7071") as opened:
        yield opened


async def test_it_is_told_and_moved(simulated: httpx.AsyncClient) -> None:
    assert (await simulated.get(PATH)).json()["now"].startswith(AT_START)
    moved = await simulated.post(PATH, json={"now": "2026-03-03T09:00:00+01:00"})
    assert (moved.status_code, moved.json()["now"][:19]) == (200, "2026-03-03T08:00:00")


async def test_it_does_not_go_back(simulated: httpx.AsyncClient) -> None:
    for earlier in ("2026-03-01T23:59:59Z", "0001-01-01T00:00:00Z", "2026-03-02T00:00:00Z"):
        assert (await simulated.get(PATH)).status_code == 200
        assert (await simulated.post(PATH, json={"now": earlier})).status_code == 409
    assert (await simulated.get(PATH)).json()["now"].startswith(AT_START)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        0,
        {"now": None},
        {"now": 1772409600},
        {"now": ""},
        {"now": "tomorrow"},
        {"now": "2026-03-03"},
        {"now": "2026-03-03T00:00:00"},
        {"now": "2026-02-30T00:00:00Z"},
        {"now": "9999-12-31T23:59:59Z"},
        {"now": "0001-01-01T00:00:00+14:00"},
        {"now": "2026-03-03T00:00:00Z", "then": "x"},
        {"now": "２０２６-03-03T00:00:00Z"},
    ],
)
async def test_what_is_no_time_moves_nothing(simulated: httpx.AsyncClient, body: Any) -> None:
    assert (await simulated.post(PATH, json=body)).status_code == 400
    assert (await simulated.get(PATH)).json()["now"].startswith(AT_START)


async def test_other_bodies_and_methods_move_nothing(simulated: httpx.AsyncClient) -> None:
    text = '{"now": "2026-03-03T00:00:00Z"}'
    kinds = {"Content-Type": "text/plain"}
    assert (await simulated.post(PATH, content=text, headers=kinds)).status_code == 415
    kinds = {"Content-Type": "application/json"}
    assert (await simulated.post(PATH, content="[" * 500_000, headers=kinds)).status_code == 400
    assert (await simulated.post(PATH, content=b"{}".rjust(1024 * 1024 + 1), headers=kinds)).status_code == 413
    assert (await simulated.put(PATH, content=text, headers=kinds)).status_code == 405
    assert (await simulated.get(PATH)).json()["now"].startswith(AT_START)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "192.0.2.1"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_web_pages_neither_see_nor_move_it(simulated: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await simulated.get(PATH, headers=headers)).status_code == 403
    moved = await simulated.post(PATH, json={"now": "2026-03-03T00:00:00Z"}, headers=headers)
    assert moved.status_code == 403
    assert (await simulated.get(PATH)).json()["now"].startswith(AT_START)


async def test_another_machine_neither_sees_nor_moves_it() -> None:
    host = await Host.load(APPS / "web", clock=SimulatedClock(START))
    transport = httpx.ASGITransport(app=host.asgi, client=("203.0.113.9", 50000))
    async with host, httpx.AsyncClient(transport=transport, base_url="http://localhost:7071") as elsewhere:
        assert (await elsewhere.get(PATH)).status_code == 403
        assert (await elsewhere.post(PATH, json={"now": "2026-03-03T00:00:00Z"})).status_code == 403


async def test_where_time_is_real_there_is_no_such_path(web: Host) -> None:
    transport = httpx.ASGITransport(app=web.asgi, client=("127.0.0.1", 50000))
    async with web, httpx.AsyncClient(transport=transport, base_url="http://localhost:7071") as opened:
        assert (await opened.get(PATH)).status_code == 404
        assert (await opened.post(PATH, json={"now": "2026-03-03T00:00:00Z"})).status_code == 404


async def test_services_go_by_it() -> None:
    services = LazyServices(Settings(kraftd_data=":memory:"))
    clock = SimulatedClock(START)
    await build_on(clock, services)
    try:
        assert services.clock is clock
        assert (await services.get()).clock is clock
        assert services.ids.new().startswith(f"{int(START.timestamp() * 1000):012x}"[:8])
    finally:
        await services.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"cosmos_db_endpoint": "https://account.example.com/", "kraftd_data": "x"},
        {"key_vault_uri": "https://vault.example.com/"},
        {
            "website_site_name": "app",
            "cosmos_db_endpoint": "https://account.example.com/",
            "key_vault_uri": "https://vault.example.com/",
            "ledger_origin": "audit.example.com/ledger",
        },
    ],
)
async def test_no_trail_but_a_developers_goes_by_it(settings: dict[str, Any]) -> None:
    with pytest.raises(HostError, match="embedded store alone"):
        await build_on(SimulatedClock(START), LazyServices(Settings(**settings)))


async def test_an_app_without_our_services_does_not_take_it() -> None:
    with pytest.raises(HostError, match="does not take"):
        await build_on(SimulatedClock(START), object())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--simulated-clock", "yesterday"), "--simulated-clock: a time is RFC 3339"),
        (("--simulated-clock", "9999-01-01T00:00:00Z"), "--simulated-clock: a simulated time"),
        (("--simulated-clock", f"{AT_START}Z", "--host", "192.0.2.1"), "needs a loopback address"),
        (("--simulated-clock", f"{AT_START}Z", "--host", "::"), "needs a loopback address"),
        (("--simulated-clock", f"{AT_START}Z", "--host", "devhost.example"), "needs a loopback address"),
    ],
)
def test_the_command_refuses(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("--port", "0", *arguments)) == 1
    assert message in capsys.readouterr().err


def test_the_command_refuses_in_azure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBSITE_SITE_NAME", "")
    assert main(("--port", "0", "--data", str(tmp_path), "--simulated-clock", f"{AT_START}Z")) == 1
    assert "not for Azure" in capsys.readouterr().err
