"""What every change feed does: order, parts, positions, and nothing missed whatever happens in between."""

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, GUARDS, IDENTITY, Container
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import (
    FEED_START,
    Change,
    Item,
    Partition,
    PatchIncrement,
    PatchSet,
    Position,
    Query,
    create,
    delete,
    upsert,
)
from shared.storage.errors import NotFound, UnknownPosition
from tests.fakes import ManualClock
from tests.faults import FeedStore
from tests.storage.conftest import LOCAL, Harness, Open

T1: Partition = ("t1",)


def item(item_id: str = "a", tenant: str = "t1", **fields: Any) -> Item:
    return {"id": item_id, "tenant_id": tenant, **fields}


@pytest.fixture
def store(harness: Harness) -> FeedStore:
    return harness.store


async def rest(
    store: FeedStore, after: Position = FEED_START, limit: int = 1000, container: Container = IDENTITY
) -> list[Change]:
    """Everything after a position, part by part."""
    found: list[Change] = []
    while part := await store.changes(container, after, limit):
        found += part
        after = part[-1].position
    return found


async def ids(store: FeedStore, after: Position = FEED_START, limit: int = 1000) -> list[str]:
    return [each.item["id"] for each in await rest(store, after, limit)]


async def test_an_empty_container_has_an_empty_feed(store: FeedStore) -> None:
    assert await store.changes(IDENTITY, FEED_START, 10) == []


async def test_the_feed_has_the_latest_version_of_each_item_in_order_of_writes(store: FeedStore) -> None:
    for item_id in ("c", "a", "b", "d"):
        await store.create(IDENTITY, T1, item(item_id))
    await store.create(IDENTITY, ("t2",), item("a", "t2"))
    start = await rest(store)
    assert [(each.item["tenant_id"], each.item["id"]) for each in start] == [
        ("t1", "c"),
        ("t1", "a"),
        ("t1", "b"),
        ("t1", "d"),
        ("t2", "a"),
    ]
    last = start[-1].position
    await store.replace(IDENTITY, T1, item("a", n=1))
    await store.upsert(IDENTITY, T1, item("c", n=2))
    await store.delete(IDENTITY, T1, "b")
    await store.patch(IDENTITY, T1, "d", [PatchSet("n", 3)])
    await store.patch(IDENTITY, T1, "a", [PatchIncrement("n")])
    assert [(each.item["id"], each.item["n"]) for each in await rest(store, last)] == [("c", 2), ("d", 3), ("a", 2)]
    assert await ids(store) == ["a", "c", "d", "a"]


async def test_a_change_is_the_item_as_a_read_gives_it(store: FeedStore) -> None:
    odd: dict[str, Any] = {"text": 'ü\u2028"\\\x00', "deep": {"_inner": [1, None, True, 2**53 - 1, 0.5]}, "empty": {}}
    await store.create(IDENTITY, T1, item(**odd))
    await store.batch(IDENTITY, T1, [upsert(item("b", _mine="ignored"))])
    for each, item_id in zip(await rest(store), ("a", "b"), strict=True):
        assert each.item == await store.read(IDENTITY, T1, item_id)
        assert {name for name in each.item if name.startswith("_")} == {"_etag", "_ts"}
        assert "\n" not in each.text, "the text can be put among others as it is"


async def test_containers_have_feeds_of_their_own(store: FeedStore) -> None:
    await store.create(IDENTITY, T1, item())
    await store.create(DIRECTORY, ("x",), {"id": "x"})
    event = {"id": "e", "tenant_id": "t1", "period": "2026-03"}
    await store.create(AUDIT_EVENTS, ("t1", "2026-03"), event)
    for container, expected in ((IDENTITY, "a"), (DIRECTORY, "x"), (AUDIT_EVENTS, "e")):
        assert [each.item["id"] for each in await rest(store, container=container)] == [expected]
    assert await store.changes(GUARDS, FEED_START, 10) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
async def test_parts_join_without_gap_or_repetition(store: FeedStore, limit: int) -> None:
    """Also where the last part is exactly full."""
    names = [str(n) for n in range(6)]
    for name in names:
        await store.create(IDENTITY, (f"t{name}",), item(name, f"t{name}"))
    assert len(await store.changes(IDENTITY, FEED_START, limit)) == min(limit, 6)
    assert await ids(store, limit=limit) == names


async def test_a_batch_is_not_lost_between_two_parts(store: FeedStore) -> None:
    await store.create(IDENTITY, T1, item("before"))
    await store.batch(IDENTITY, T1, [create(item(f"b{n}")) for n in range(5)])
    await store.create(IDENTITY, T1, item("after"))
    expected = ["before", *(f"b{n}" for n in range(5)), "after"]
    for limit in (1, 2, 3, 1000):
        assert await ids(store, limit=limit) == expected


async def test_a_failed_batch_leaves_no_trace(store: FeedStore) -> None:
    await store.create(IDENTITY, T1, item("a", n=1))
    position = (await rest(store))[-1].position
    with pytest.raises(NotFound):
        await store.batch(IDENTITY, T1, [upsert(item("a", n=2)), create(item("b")), delete("nowhere")])
    assert await store.changes(IDENTITY, position, 10) == []


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_part_has_bounds(store: FeedStore, limit: int) -> None:
    with pytest.raises(ValueError, match=r"limit must be 1\.\.1000"):
        await store.changes(IDENTITY, FEED_START, limit)


async def test_a_position_can_be_written_down(store: FeedStore) -> None:
    for n in range(3):
        await store.create(IDENTITY, T1, item(str(n)))
    (first,) = await store.changes(IDENTITY, FEED_START, 1)
    noted: Position = json.loads(json.dumps(first.position))
    await store.upsert(IDENTITY, T1, item("0", n=1))
    assert await ids(store, noted) == ["1", "2", "0"]
    assert await ids(store, noted) == ["1", "2", "0"], "reading uses nothing up"


async def test_what_is_at_the_end_stays_there_until_something_happens(store: FeedStore) -> None:
    await store.create(IDENTITY, T1, item())
    last = (await rest(store))[-1].position
    for _ in range(3):
        assert await store.changes(IDENTITY, last, 10) == []
    await store.delete(IDENTITY, T1, "a")
    assert await store.changes(IDENTITY, last, 10) == []
    await store.create(IDENTITY, T1, item())
    assert await ids(store, last) == ["a"]


def encoded(state: Any) -> str:
    return base64.b64encode(json.dumps(state).encode()).decode()


@pytest.mark.parametrize(
    "position",
    [
        "",
        "0",
        "7",
        '"7"',
        "garbage",
        "Z2FyYmFnZQ==",
        "ä",
        "\0",
        -1,
        encoded(None),
        encoded([]),
        encoded({"v": "v2"}),
        encoded({"v": "v2", "continuation": {"continuation": []}}),
        encoded({"v": "v2", "continuation": {"continuation": [{"token": "1", "range": {"min": "", "max": None}}]}}),
        encoded({"v": "v3", "continuation": {"continuation": [{"token": "1", "range": {"min": "", "max": "FF"}}]}}),
        None,
        True,
        0.0,
        [],
    ],
)
async def test_a_position_that_none_gave_is_refused(store: FeedStore, position: Any) -> None:
    """Never taken for the start, nor for the end."""
    await store.create(IDENTITY, T1, item())
    with pytest.raises(UnknownPosition, match="never gave"):
        await store.changes(IDENTITY, position, 10)


@pytest.mark.moves_the_clock
async def test_expired_items_leave_no_trace(harness: Harness) -> None:
    store = harness.store
    await store.create(IDENTITY, T1, item("short", ttl=10))
    await store.create(IDENTITY, T1, item("long", ttl=1000))
    harness.clock.advance(seconds=11)
    assert await ids(store) == ["long"]


async def test_readers_beside_writers_miss_nothing(store: FeedStore) -> None:
    """Several at a time, each with its own position: none gets another's."""
    done = asyncio.Event()

    async def reader(container: Container, limit: int) -> list[str]:
        seen: list[str] = []
        after: Position = FEED_START
        while True:
            finished = done.is_set()
            part = await store.changes(container, after, limit)
            seen.extend(each.item["id"] for each in part)
            after = part[-1].position if part else after
            if finished and not part:
                return seen

    async def writer(tenant: str) -> None:
        for turn in range(10):
            await store.create(IDENTITY, (tenant,), item(f"{tenant}-{turn}", tenant))
            await store.create(DIRECTORY, (f"d-{tenant}-{turn}",), {"id": f"d-{tenant}-{turn}"})

    readers = [
        asyncio.ensure_future(reader(container, limit)) for container in (IDENTITY, DIRECTORY) for limit in (2, 3, 50)
    ]
    tenants = [f"t{n}" for n in range(5)]
    await asyncio.gather(*map(writer, tenants))
    done.set()
    names = [f"{tenant}-{turn}" for tenant in tenants for turn in range(10)]
    for number, seen in enumerate(await asyncio.gather(*readers)):
        expected = names if number < 3 else [f"d-{name}" for name in names]
        assert sorted(seen) == sorted(expected)


# Any sequence of operations


@dataclass
class Feed:
    """One store for all examples, and the tenants at which it was split: splits stay, and each can be made once."""

    runner: asyncio.Runner
    store: FeedStore
    request: pytest.FixtureRequest
    splits: set[str] = field(default_factory=set)

    def split(self, tenant: str) -> None:
        if isinstance(self.store, CosmosStore) and tenant not in self.splits:
            self.splits.add(tenant)
            where = {"database": self.store._client._account.database, "container": IDENTITY.name, "prefix": [tenant]}
            self.request.getfixturevalue("emulator").control("split", where)


@pytest.fixture(scope="module", params=LOCAL)
def feed(request: pytest.FixtureRequest, open_store: Open) -> Iterator[Feed]:
    async def opened() -> FeedStore:
        return await open_store(request.param, ManualClock())

    with asyncio.Runner() as runner:
        made = Feed(runner, runner.run(opened()), request)
        yield made
        runner.run(made.store.close())


TENANTS = ("t1", "t2", "t3")
tenants, names, numbers = st.sampled_from(TENANTS), st.sampled_from("abc"), st.integers(0, 9)
turns = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), tenants, names, numbers),
        st.tuples(st.just("delete"), tenants, names),
        st.tuples(st.just("batch"), tenants, st.lists(st.tuples(names, numbers), min_size=1, max_size=4)),
        st.tuples(st.just("read"), st.integers(1, 4)),
        st.tuples(st.just("read"), st.integers(1, 4)),
        st.tuples(st.just("forget")),
        st.tuples(st.just("split"), tenants),
    ),
    max_size=25,
)


class Reader:
    """Reads on from a position that it notes, sometimes forgets, and knows the last version it was given of each."""

    def __init__(self, store: FeedStore) -> None:
        self.store = store
        self.noted: list[Position] = [FEED_START]
        self.latest: dict[tuple[str, str], Item] = {}

    async def read(self, limit: int) -> bool:
        part = await self.store.changes(IDENTITY, self.noted[-1], limit)
        for each in part:
            self.latest[each.item["tenant_id"], each.item["id"]] = each.item
        if part:
            self.noted.append(part[-1].position)
        return bool(part)

    def forget(self) -> None:
        """As after a crash between handling and noting."""
        if len(self.noted) > 1:
            self.noted.pop()


async def done(store: FeedStore, turn: tuple[Any, ...]) -> None:
    kind, tenant, *more = turn
    if kind == "upsert":
        await store.upsert(IDENTITY, (tenant,), item(more[0], tenant, n=more[1]))
    elif kind == "batch":
        await store.batch(IDENTITY, (tenant,), [upsert(item(name, tenant, n=n)) for name, n in more[0]])
    else:
        try:
            await store.delete(IDENTITY, (tenant,), more[0])
        except NotFound:
            assert kind == "delete"


async def living(store: FeedStore) -> dict[tuple[str, str], Item]:
    found = [each for tenant in TENANTS for each in (await store.query(IDENTITY, (tenant,), Query())).items]
    return {(each["tenant_id"], each["id"]): each for each in found}


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(turns=turns)
def test_any_reader_ends_with_the_latest_version_of_everything(feed: Feed, turns: list[tuple[Any, ...]]) -> None:
    store = feed.store

    async def check() -> None:
        for tenant, item_id in await living(store):
            await store.delete(IDENTITY, (tenant,), item_id)
        reader = Reader(store)
        for turn in turns:
            if turn[0] == "read":
                await reader.read(turn[1])
            elif turn[0] == "forget":
                reader.forget()
            elif turn[0] == "split":
                feed.split(turn[1])
            else:
                await done(store, turn)
        while await reader.read(2):
            pass
        there = await living(store)
        assert {key: each for key, each in reader.latest.items() if key in there} == there
        fresh = [each.item for each in await rest(store)]
        assert {(each["tenant_id"], each["id"]): each for each in fresh} == there
        assert len(fresh) == len(there), "one entry for each"

    feed.runner.run(check())
