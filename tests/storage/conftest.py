"""The adapters that the conformance suite runs on: an adapter joins by adding itself to ADAPTERS."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from shared.storage._cosmos_definition import definition as cosmos_definition
from shared.storage.containers import CONTAINERS, Container
from shared.storage.cosmos import CosmosStore
from shared.storage.sqlite import SqliteStore
from tests.cosmos_emulator.emulator import KEY, Emulator
from tests.environment import ACCOUNT
from tests.fakes import ManualClock
from tests.faults import FeedStore
from tests.storage.account import Account

WIDE = Container(
    name="wide",
    partition_key=("region", "shop", "day"),
    indexes=(("kind", "n"), ("v", "n"), ("kind", "v", "n"), ("n",)),
    array_indexes=(("v", "n"),),
    default_ttl_seconds=60,
)
TESTED: Mapping[str, Container] = {**CONTAINERS, WIDE.name: WIDE}
TTL_DAYS = 100

LOCAL = ("cosmos", "sqlite")
ADAPTERS = (*LOCAL, "account") if "COSMOS_DB_ENDPOINT" in ACCOUNT else LOCAL
CLOCK_CANNOT_BE_SET = "the clock of a real account cannot be set; the emulator's can, and the adapter is the same"
ORDERED = ("n", "kind", "v")
"""What the suite orders by without an index declared for it: SQLite sorts then, Cosmos would refuse."""

type Open = Callable[[str, ManualClock], Awaitable[FeedStore]]

_numbers = itertools.count()


@dataclass(frozen=True)
class Harness:
    """A store under test and the clock that it believes."""

    store: FeedStore
    clock: ManualClock


def definition(container: Container) -> dict[str, Any]:
    """The container as it is provisioned, and what the suite needs beside."""
    made = cosmos_definition(container, ttl_days=TTL_DAYS)
    policy = made["indexingPolicy"]
    own = policy["compositeIndexes"]
    more = [[{"path": f"/{name}", "order": "ascending"}, {"path": "/id", "order": "ascending"}] for name in ORDERED]
    wanted = own + [each for each in more if each not in own]
    paths = {each["path"] for each in policy["includedPaths"]} | {f"/{name}/?" for name in ORDERED}
    policy |= {"compositeIndexes": wanted, "includedPaths": [{"path": path} for path in sorted(paths)]}
    return made


async def open_cosmos(emulator: Emulator, clock: ManualClock, **options: Any) -> CosmosStore:
    """A store on a fresh database of the emulator, whose clock follows `clock`."""
    name = f"test_{next(_numbers)}"
    emulator.create_database(name, [definition(each) for each in TESTED.values()])
    clock.followers.append(lambda moment: emulator.clock(name, moment))
    clock.set(clock.now())
    settings = {"key": KEY, "ttl_days": TTL_DAYS, "containers": TESTED, "accept_self_signed": True, **options}
    return await CosmosStore.open(emulator.endpoint, database=name, clock=clock, **settings)


@pytest.fixture(scope="session")
async def open_store(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Opens a fresh store of the named adapter; what it stands on is started by the first that wants it."""
    accounts: list[Account] = []

    async def opened(name: str, clock: ManualClock) -> FeedStore:
        if name == "sqlite":
            return await SqliteStore.open(None, clock=clock, ttl_days=TTL_DAYS, containers=TESTED)
        if name == "cosmos":
            return await open_cosmos(request.getfixturevalue("emulator"), clock)
        if not accounts:
            accounts.append(await Account.create(ACCOUNT, [definition(each) for each in TESTED.values()]))
        await accounts[0].empty()
        return await accounts[0].open(clock, TTL_DAYS, TESTED)

    yield opened
    for account in accounts:
        await account.remove()


@pytest.fixture(params=ADAPTERS)
async def harness(request: pytest.FixtureRequest, open_store: Open) -> AsyncIterator[Harness]:
    if request.param == "account" and request.node.get_closest_marker("moves_the_clock"):
        pytest.skip(CLOCK_CANNOT_BE_SET)
    clock = ManualClock()
    store = await open_store(request.param, clock)
    yield Harness(store, clock)
    await store.close()


@pytest.fixture
def store(harness: Harness) -> FeedStore:
    return harness.store


@pytest.fixture
def clock(harness: Harness) -> ManualClock:
    return harness.clock
