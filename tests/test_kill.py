"""Kill -9 of the running app under load, again and again: what was answered is in the trail, once, and all is true."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from shared.core.clock import SystemClock
from shared.identity.directory import TENANT_SHARDS
from shared.identity.model import attempts_key, user_key
from shared.storage.containers import ALERTS, AUDIT_EVENTS, IDENTITY, REPORTS, TENANTS
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import DocumentStore, Eq, Item, Query, pages
from shared.storage.errors import NotFound
from shared.storage.sqlite import SqliteStore
from tests.app import PASSWORD, ROOT, registration
from tests.cosmos_emulator.emulator import KEY, Emulator

ROUNDS = 3
WORKERS = 6
START_SECONDS = 30
DATABASE = "killed"
ANSWERS_PER_ROUND = (40, 160)
"""A round ends in a kill after so many answers, at a moment that no code chose."""


@dataclass
class Answers:
    """What clients were told: the request ids of answers by what they were to, and the accounts that exist for sure."""

    ids: dict[str, list[str]] = field(default_factory=dict)
    accounts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Tenant and user of each e-mail whose registration was answered with 201."""

    def add(self, call: str, answer: httpx.Response) -> None:
        self.ids.setdefault(f"{call} {answer.status_code}", []).append(answer.headers["x-request-id"])

    def __len__(self) -> int:
        return sum(map(len, self.ids.values()))


@dataclass
class Place:
    """Where the app keeps its data: below `data`, or in an account that `settings` lead to."""

    data: Path
    settings: dict[str, str]

    async def open(self) -> DocumentStore:
        """The store, beside the app where it is an account, else after it."""
        if not self.settings:
            return await SqliteStore.open(self.data / "kraftd.sqlite", clock=SystemClock())
        return await CosmosStore.open(
            self.settings["COSMOS_DB_ENDPOINT"],
            clock=SystemClock(),
            database=DATABASE,
            key=KEY,
            accept_self_signed=True,
        )


@pytest.fixture(params=["sqlite", "cosmos"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(tmp_path / "data", {})
        return
    emulator: Emulator = request.getfixturevalue("emulator")
    settings = {
        "COSMOS_DB_ENDPOINT": emulator.endpoint,
        "COSMOS_DB_KEY": KEY,
        "COSMOS_DB_EMULATOR": "true",
        "COSMOS_DB_NAME": DATABASE,
        "COSMOS_DB_THROUGHPUT": "400",
    }
    command = [sys.executable, "-m", "shared.storage.provision"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=True, capture_output=True)  # noqa: S603
    yield Place(tmp_path / "data", settings)
    emulator.delete_database(DATABASE)


@asynccontextmanager
async def serving(place: Place) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The app in a process of its own, with no limit on what one address may ask."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "devhost", "--port", "0", "--data", str(place.data)),
        cwd=ROOT,
        env={**os.environ, **place.settings, "LOGIN_RATE_PER_MINUTE": "0", "REGISTER_RATE_PER_HOUR": "0"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            first = (await process.stdout.readline()).decode().split()
        assert first[:1] == ["Serving"]
        yield process, first[1]
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def user(url: str, name: str, answers: Answers) -> None:
    """One client: a new account, then all that an account may do, until the app is gone."""
    async with httpx.AsyncClient(base_url=f"{url}/v1", timeout=START_SECONDS) as client:
        for turn in range(10**6):
            email = f"{name}.{turn}@example.com"
            made = await client.post("/register", json=registration(email))
            answers.add("register", made)
            if made.status_code == 201:
                answers.accounts[email] = (made.json()["user"]["tenant_id"], made.json()["user"]["id"])
            for _ in range(3):
                answers.add("wrong", await client.post("/login", json={"email": email, "password": "wrong"}))
            token = (await _signed_in(client, email, answers)).json()["access_token"]
            auth = {"Authorization": f"Bearer {token}"}
            answers.add("profile", await client.get("/profile", headers=auth))
            answers.add("log", await client.get("/admin/logs/authorization", headers=auth))
            answers.add("logout", await client.post("/logout", headers=auth))
            answers.add("rejected", await client.get("/profile", headers=auth))


async def _signed_in(client: httpx.AsyncClient, email: str, answers: Answers) -> httpx.Response:
    answer = await client.post("/login", json={"email": email, "password": PASSWORD})
    answers.add("login", answer)
    return answer


async def kill_under_load(place: Place, round_: int, answers: Answers, after: int) -> None:
    """Serve, load, and kill after so many answers more; every client sees its connection break."""
    async with serving(place) as (process, url):
        goal = len(answers) + after
        clients = [asyncio.create_task(user(url, f"r{round_}w{n}", answers)) for n in range(WORKERS)]
        while len(answers) < goal and not any(each.done() for each in clients):  # noqa: ASYNC110 - any moment will do
            await asyncio.sleep(0.002)
        process.kill()
        for outcome in await asyncio.gather(*clients, return_exceptions=True):
            assert isinstance(outcome, httpx.TransportError), repr(outcome)


async def all_of(store: DocumentStore, tenant_id: str, query: Query) -> list[Item]:
    return [item async for page in pages(store, AUDIT_EVENTS, (tenant_id,), query) for item in page]


async def kept(store: DocumentStore, tenant_id: str, kind: str) -> int:
    return len((await store.query(IDENTITY, (tenant_id,), Query((Eq("kind", kind),), limit=1000))).items)


async def check(store: DocumentStore, answers: Answers, tenants: set[str]) -> None:
    """The trail against what was answered and against the state."""
    trail = [
        event for tenant in tenants for event in await all_of(store, tenant, Query(order_by="recorded_at", limit=1000))
    ]
    assert len({event["id"] for event in trail}) == len(trail)
    seen = Counter((event["type"], event["outcome"], event["context"]["request_id"]) for event in trail)
    for call, type_, outcome in (
        ("register 201", "auth.register", "success"),
        ("login 200", "auth.login", "success"),
        ("wrong 401", "auth.login", "failure"),
        ("profile 200", "profile.view", "success"),
        ("log 200", "audit.search", "success"),
        ("logout 204", "auth.logout", "success"),
    ):
        for request_id in answers.ids[call]:
            assert seen[type_, outcome, request_id] == 1, (call, request_id)
    assert set(Counter(key for key in seen if key[0] != "consent.grant").values()) == {1}
    rejected = [e["attributes"]["count"] for e in trail if e["type"] == "auth.token_rejected"]
    pending = await store.query(IDENTITY, ("platform",), Query((Eq("kind", "token_rejections"),), limit=100))
    assert sum(rejected) + sum(each["pending"] for each in pending.items) >= len(answers.ids["rejected 401"])
    for tenant in tenants - {"platform"}:
        await check_tenant(store, tenant, [event for event in trail if event["tenant_id"] == tenant])
    for email, (tenant, user_id) in answers.accounts.items():
        assert (await store.read(IDENTITY, (tenant,), user_key(user_id)))["email"] == email


async def check_tenant(store: DocumentStore, tenant: str, trail: list[Item]) -> None:
    """Every change of one tenant has its event, and every event its change; nothing waits in an outbox."""
    counts = Counter((event["type"], event["outcome"]) for event in trail)
    assert counts["auth.register", "success"] == await kept(store, tenant, "user") <= 1
    if not counts["auth.register", "success"]:  # enrolled, and killed before its account was committed
        assert {event["type"] for event in trail} <= {"report.generate"}  # of a midnight that came by
        return
    assert counts["consent.grant", "success"] == 2
    opened = counts["auth.register", "success"] + counts["auth.login", "success"]
    assert await kept(store, tenant, "session") == opened - counts["auth.logout", "success"]
    failures = [
        e["attributes"]["attempt_count"] for e in trail if (e["type"], e["outcome"]) == ("auth.login", "failure")
    ]
    (user_id,) = {e["target"]["id"] for e in trail if e["type"] == "auth.register"}
    signed_in = counts["auth.login", "success"]
    if not signed_in:  # a sign-in starts the count anew
        assert sorted(failures) == list(range(1, await attempts(store, tenant, user_id) + 1))
    assert await waiting(store, tenant) == []


async def attempts(store: DocumentStore, tenant: str, user_id: str) -> int:
    try:
        return int((await store.read(IDENTITY, (tenant,), attempts_key(user_id)))["count"])
    except NotFound:
        return 0


async def tenants_of(store: DocumentStore) -> set[str]:
    found = {"platform"}
    for shard in TENANT_SHARDS:
        async for page in pages(store, TENANTS, (shard,), Query(limit=1000)):
            found.update(item["id"] for item in page)
    return found


async def settled(place: Place, url: str) -> bool:
    """Whether a restarted app has worked off what the kill left."""
    if place.settings:
        store = await place.open()
        try:
            return not [each for tenant in await tenants_of(store) for each in await waiting(store, tenant)]
        finally:
            await store.close()
    async with httpx.AsyncClient() as client:
        ready = (await client.get(f"{url}/v1/health/ready")).json()
    return bool(ready["checks"]["feed"]["lag_seconds"] == 0)


async def waiting(store: DocumentStore, tenant: str) -> list[Item]:
    """The outbox entries of a tenant."""
    query = Query((Eq("kind", "outbox"),))
    return [item for each in (IDENTITY, ALERTS, REPORTS) for item in (await store.query(each, (tenant,), query)).items]


async def test_nothing_is_lost_and_nothing_invented(place: Place) -> None:
    chance = random.Random(11)  # noqa: S311 - where to kill, not a secret
    answers = Answers()
    for round_ in range(ROUNDS):
        await kill_under_load(place, round_, answers, chance.randint(*ANSWERS_PER_ROUND))
    async with serving(place) as (_, url), asyncio.timeout(START_SECONDS):  # which works off what the last kill left
        while not await settled(place, url):  # noqa: ASYNC110 - another process works it off
            await asyncio.sleep(0.05)
    store = await place.open()
    try:
        await check(store, answers, await tenants_of(store))
    finally:
        await store.close()
    assert len(answers.accounts) >= ROUNDS
    assert not [call for call in answers.ids if call.endswith(" 500")]
