"""Limits by address: who is refused, for how long, at what cost, and what the trail says of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from devhost.host import Host
from shared.audit.model import RequestContext
from shared.core.errors import TooMany
from shared.core.settings import Settings
from shared.identity.throttle import SHARED_FACTOR, place_of
from shared.storage.sqlite import SqliteStore
from tests.app import PASSWORD, App, assert_problem, registration, running
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore, Mode
from tests.second_factors import enrolled

SETTINGS = Settings(
    kraftd_data=":memory:",
    login_rate_per_minute=5,
    refresh_rate_per_minute=4,
    register_rate_per_hour=3,
    lockout_failures=100,  # which is not what these tests are about
)
BODY = {"email": "ada@example.com", "password": PASSWORD}


@pytest.fixture
async def store(clock: ManualClock) -> FaultyFeedStore:
    return FaultyFeedStore(await SqliteStore.open(None, clock=clock))


@pytest.fixture
async def app(host: Host, clock: ManualClock, store: FaultyFeedStore) -> AsyncIterator[App]:
    async with running(host, clock, store, SETTINGS) as started:
        yield started


@asynccontextmanager
async def calling(app: App, address: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app.host.asgi, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://kraftd.test/api") as client:
        yield client


async def refused(app: App, kind: str) -> list[int]:
    """The counts of the events of throttled calls."""
    return [e["record_count"] for e in await app.events(type_=kind) if e["reason"] == "throttled"]


async def spend(app: App, calls: int = 5) -> None:
    """All the logins that an address has."""
    for _ in range(calls):
        assert (await app.login(BODY["email"])).status_code == 401


async def test_login_is_limited_by_the_minute(app: App) -> None:
    ada = await app.register()
    answers = [await app.login(ada.email) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert_problem(answers[-1], 429, "rate_limited")
    seconds = int(answers[-1].headers["retry-after"])
    assert 1 <= seconds <= 120
    app.clock.advance(seconds=seconds - 1)
    assert (await app.login(ada.email)).status_code == 429
    app.clock.advance(seconds=1)
    assert (await app.login(ada.email)).status_code == 200


async def test_register_is_limited_by_the_hour(app: App) -> None:
    for number in range(3):
        await app.register(f"{number}@example.com")
    answer = await app.client.post("/v1/register", json=registration("new@example.com"))
    assert_problem(answer, 429, "rate_limited")
    assert await app.services.directory.find("new@example.com") is None
    app.clock.advance(seconds=int(answer.headers["retry-after"]))
    await app.register("new@example.com")


async def test_refresh_is_limited_by_the_minute(app: App, store: FaultyFeedStore) -> None:
    """A refused call does not look at the token: it is not used up, and its session goes on."""
    ada = await app.register()
    answers = [await app.client.post("/v1/token/refresh", json={"refresh_token": "kr_a"}) for _ in range(4)]
    assert {answer.status_code for answer in answers} == {401}
    store.calls.clear()
    answer = await app.client.post("/v1/token/refresh", json={"refresh_token": ada.refresh_token})
    assert_problem(answer, 429, "rate_limited")
    assert await refused(app, "auth.token_refresh") == [1]
    assert (await app.login(ada.email)).status_code == 200, "a limit of its own"
    app.clock.advance(seconds=int(answer.headers["retry-after"]))
    answer = await app.client.post("/v1/token/refresh", json={"refresh_token": ada.refresh_token})
    assert answer.status_code == 200


async def test_the_second_step_of_a_sign_in_is_limited_with_the_first(app: App) -> None:
    """Three passwords and two codes are five tries; a refused one costs no try of the challenge."""
    ada = await app.register()
    device = await enrolled(app, ada)
    challenge = await device.challenge()
    for _ in range(2):
        assert (await app.login(ada.email, "a wrong password")).status_code == 401
    for number in (1, 2):
        assert_problem(await device.answer(challenge, device.wrong(number)), 401, "invalid_credentials")
    answer = await device.answer(challenge, device.code())
    assert_problem(answer, 429, "rate_limited")
    assert await refused(app, "auth.login") == [1]
    app.clock.advance(seconds=int(answer.headers["retry-after"]))
    assert (await device.answer(challenge, device.code())).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/password", {"current_password": "wrong", "new_password": "a quite different password"}),
        ("POST", "/v1/step-up", {"code": "123456"}),
        ("DELETE", "/v1/mfa", {"password": "wrong", "code": "123456"}),
    ],
)
async def test_whatever_checks_a_password_or_a_code_takes_of_the_same_limit(
    app: App, method: str, path: str, body: dict[str, str]
) -> None:
    """A token that somebody found buys no guesses, and no work, beyond those of signing in."""
    ada = await app.register()
    answers = [await app.client.request(method, path, json=body, headers=ada.auth) for _ in range(5)]
    assert 429 not in {answer.status_code for answer in answers}
    answer = await app.client.request(method, path, json=body, headers=ada.auth)
    assert_problem(answer, 429, "rate_limited")
    assert (await app.login(ada.email)).status_code == 429
    assert await refused(app, "auth.login") == [1]
    async with calling(app, "198.51.100.7") as other:
        assert (await other.request(method, path, json=body, headers=ada.auth)).status_code != 429


async def test_the_defaults_are_those_of_the_contract(host: Host, clock: ManualClock) -> None:
    async with running(host, clock, settings=Settings(kraftd_data=":memory:")) as app:
        statuses = [(await app.login(f"nobody{number}@example.com")).status_code for number in range(61)]
        assert statuses == [401] * 60 + [429]
        for number in range(10):
            await app.register(f"{number}@example.com")
        answer = await app.client.post("/v1/register", json=registration())
        assert_problem(answer, 429, "rate_limited")


async def test_zero_means_no_limit(host: Host, clock: ManualClock) -> None:
    none = Settings(kraftd_data=":memory:", login_rate_per_minute=0, register_rate_per_hour=0)
    async with running(host, clock, settings=none) as app:
        for number in range(12):
            await app.register(f"{number}@example.com")
        assert {(await app.login(f"nobody{number}@example.com")).status_code for number in range(70)} == {401}


async def test_addresses_are_limited_apart_and_a_v6_network_is_one(app: App) -> None:
    await spend(app)
    assert (await app.login(BODY["email"])).status_code == 429
    async with calling(app, "198.51.100.7") as other:
        assert (await other.post("/v1/login", json=BODY)).status_code == 401
    statuses = []
    for number in range(6):
        async with calling(app, f"2001:db8:0:1::{number + 1:x}") as other:
            statuses.append((await other.post("/v1/login", json=BODY)).status_code)
    assert statuses == [401] * 5 + [429]
    async with calling(app, "2001:db8:0:2::1") as other:
        assert (await other.post("/v1/login", json=BODY)).status_code == 401
    assert await refused(app, "auth.login") == [1, 1]


def test_what_counts_as_one_address() -> None:
    assert place_of("203.0.113.9") == "203.0.113.9"
    assert place_of("2001:db8::1") == place_of("2001:db8::ffff:0:0:1") == "2001:db8::/64"
    assert place_of("2001:db8:0:1::1") == "2001:db8:0:1::/64"


async def test_calls_without_an_address_share_a_generous_limit(app: App) -> None:
    request = RequestContext(app.services.ids.new(), "POST /v1/login", "login", app.clock.now())
    for _ in range(5 * SHARED_FACTOR):
        await app.services.throttle.check("login", request)
    with pytest.raises(TooMany):
        await app.services.throttle.check("login", request)
    (event,) = await app.events(type_="auth.login")
    assert event["ip_key"] is None
    await app.services.throttle.check("register", request)


async def test_what_the_trail_says_of_a_refused_call(app: App) -> None:
    await spend(app)
    app.clock.advance(seconds=1)  # so that it is the last of them
    await app.login(BODY["email"])
    unknown, event = (await app.events(type_="auth.login"))[-2:]
    assert (event["outcome"], event["reason"], event["attributes"]) == ("failure", "throttled", {"attempt_count": 1})
    assert (event["record_count"], event["target"], event["personal"]) == (1, None, {})
    assert event["ip_key"] == unknown["ip_key"]
    for number in range(4):
        await app.client.post("/v1/register", json=registration(f"{number}@example.com"))
    (event,) = await app.events(type_="auth.register")
    assert (event["outcome"], event["reason"], event["record_count"]) == ("failure", "throttled", 1)


async def test_a_flood_leaves_one_event_a_minute_that_counts_it_and_costs_next_to_nothing(
    app: App, store: FaultyFeedStore
) -> None:
    await spend(app)
    store.calls.clear()
    assert {(await app.login(BODY["email"])).status_code for _ in range(200)} == {429}
    assert len(store.calls) < 10
    assert await refused(app, "auth.login") == [1]
    for _ in range(3):
        app.clock.advance(seconds=61)
        await app.host.run_timer("flush_rejections")
    assert await refused(app, "auth.login") == [1, 199]


async def test_a_flood_from_many_addresses_is_counted_and_forgotten(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.identity.rejections._MOST_PLACES", 3)
    request = RequestContext(app.services.ids.new(), "POST /v1/login", "login", app.clock.now())
    for _ in range(2):
        for number in range(12):
            for _ in range(3):
                await app.services.rejections.throttled("throttled_logins", f"198.51.100.{number}", request)
            assert len(app.services.rejections._batches) <= 4
    app.clock.advance(seconds=61)
    await app.host.run_timer("flush_rejections")
    assert sum(await refused(app, "auth.login")) == 2 * 12 * 3
    assert app.services.rejections._batches == {}


async def test_a_place_that_falls_silent_is_written_by_the_next_one_that_is_refused(app: App) -> None:
    request = RequestContext(app.services.ids.new(), "POST /v1/login", "login", app.clock.now(), ip="198.51.100.1")
    for _ in range(4):
        await app.services.rejections.throttled("throttled_logins", "198.51.100.1", request)
    app.clock.advance(seconds=61)
    other = RequestContext(app.services.ids.new(), "POST /v1/login", "login", app.clock.now(), ip="198.51.100.2")
    await app.services.rejections.throttled("throttled_logins", "198.51.100.2", other)
    counts = [(event["ip_key"], event["record_count"]) for event in await app.events(type_="auth.login")]
    first, second = counts[0][0], await app.services.rejections._index.for_address("198.51.100.2")
    assert first != second
    assert sorted(counts) == sorted([(first, 1), (first, 3), (second, 1)])


async def test_many_at_once_get_what_there_is_and_each_refusal_is_counted(app: App) -> None:
    answers = await asyncio.gather(*(app.login(BODY["email"]) for _ in range(25)))
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 20
    app.clock.advance(seconds=61)
    await app.host.run_timer("flush_rejections")
    assert sum(await refused(app, "auth.login")) == 20


@pytest.mark.parametrize(("mode", "times"), [("before", 1), ("after", 1), ("before", None)])
async def test_a_store_that_fails_lets_nobody_through(
    app: App, store: FaultyFeedStore, mode: Mode, times: int | None
) -> None:
    """Fail at the k-th call of a refusal: 429 with its trace, or 503; a login above the limit never."""
    for k in range(1, 12):
        app.clock.advance(hours=1)
        await spend(app)
        before = sum(await refused(app, "auth.login"))
        store.arm(k, mode, times=times)
        answer = await app.login(BODY["email"])
        reached = store.counted >= k
        store.mend()
        assert answer.status_code in (429, 503)
        await app.host.drain_feed()
        assert sum(await refused(app, "auth.login")) >= before + (answer.status_code == 429)
        if not reached:
            return
    pytest.fail("a refusal without end")


@pytest.mark.parametrize("k", [1, 2, 3])
async def test_a_limit_that_cannot_be_counted_refuses(app: App, store: FaultyFeedStore, k: int) -> None:
    store.arm(k, times=None)
    answer = await app.login(BODY["email"])
    assert_problem(answer, 503, "store_unavailable")
    assert {call.container for call in store.calls} == {"guards"}
