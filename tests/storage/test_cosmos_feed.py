"""The change feed of the Cosmos adapter beyond the port: physical partitions, faults, charges, containers made anew."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.storage.containers import DIRECTORY, IDENTITY, Container
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import FEED_START, Change, ChangeSource, Position, create
from shared.storage.errors import Throttled, Unavailable, UnknownPosition
from tests.cosmos_emulator.emulator import KEY, Emulator
from tests.storage.conftest import TESTED, definition
from tests.storage.test_conformance_feed import item, rest
from tests.storage.test_cosmos import T1, Bench, opened

_FEED: type[ChangeSource] = CosmosStore  # mypy checks that it is one
MEGABYTE = 1024 * 1024


@pytest.fixture
async def bench(emulator: Emulator) -> AsyncIterator[Bench]:
    made = await opened(emulator)
    yield made
    emulator.faults(made.database)
    await made.store.close()


@pytest.fixture
async def hurried(emulator: Emulator) -> AsyncIterator[Bench]:
    """A store whose calls have half a second."""
    made = await opened(emulator, deadline_seconds=0.5)
    await made.store.create(IDENTITY, T1, item())
    assert len(await rest(made.store)) == 1
    yield made
    emulator.faults(made.database)
    await made.store.close()


async def filled(bench: Bench, *numbers: int) -> None:
    for n in numbers:
        await bench.store.create(IDENTITY, (f"t{n}",), item(str(n), f"t{n}"))


def split(bench: Bench, n: int) -> None:
    bench.emulator.control("split", {"database": bench.database, "container": "identity", "prefix": [f"t{n}"]})


def made_anew(bench: Bench, container: Container) -> None:
    bench.emulator.request("DELETE", f"/dbs/{bench.database}/colls/{container.name}")
    status, _, _ = bench.emulator.request("POST", f"/dbs/{bench.database}/colls", definition(container))
    assert status == 201


async def another(bench: Bench, **options: Any) -> CosmosStore:
    """What a restarted process opens."""
    settings = {"key": KEY, "containers": TESTED, "accept_self_signed": True, **options}
    return await CosmosStore.open(bench.emulator.endpoint, database=bench.database, clock=bench.clock, **settings)


def ids(changes: list[Change]) -> list[str]:
    return [each.item["id"] for each in changes]


# Physical partitions


async def test_a_split_while_somebody_reads_loses_nothing(bench: Bench) -> None:
    await filled(bench, *range(20))
    seen: list[Change] = []
    position: Position = FEED_START
    while part := await bench.store.changes(IDENTITY, position, 3):
        seen += part
        position = part[-1].position
        if len(seen) == 6:
            split(bench, 10)
            await filled(bench, *range(20, 30))
        if len(seen) == 15:
            split(bench, 11)
            bench.faults()
    assert sorted(map(int, ids(seen))) == list(range(30))
    asked = {each["headers"].get("x-ms-documentdb-partitionkeyrangeid") for each in bench.emulator.log(bench.database)}
    assert len(asked) >= 3, "each partition was asked"


async def test_a_container_of_several_partitions_can_be_left_after_the_first_part(bench: Bench) -> None:
    """When the others were not looked at yet: the SDK would refuse its own token then."""
    await filled(bench, *range(20))
    split(bench, 10)
    split(bench, 11)
    first = await bench.store.changes(IDENTITY, FEED_START, 1)
    restarted = await another(bench)
    seen = [*first, *await rest(restarted, first[-1].position, 4)]
    assert sorted(map(int, ids(seen))) == list(range(20))
    await restarted.close()


async def test_what_is_new_is_found_in_whichever_partition(bench: Bench) -> None:
    await filled(bench, *range(8))
    split(bench, 0)
    position = (await rest(bench.store))[-1].position
    for n in range(8, 24):
        await filled(bench, n)
        part = await bench.store.changes(IDENTITY, position, 10)
        assert ids(part) == [str(n)]
        position = part[-1].position
        assert await bench.store.changes(IDENTITY, position, 10) == []


# Parts


async def test_the_changes_of_a_part_carry_one_position(bench: Bench) -> None:
    await filled(bench, *range(5))
    part = await bench.store.changes(IDENTITY, FEED_START, 3)
    assert ids(part) == ["0", "1", "2"]
    assert len({each.position for each in part}) == 1
    assert ids(await bench.store.changes(IDENTITY, part[0].position, 3)) == ["3", "4"]


async def test_a_batch_comes_whole(bench: Bench) -> None:
    await bench.store.batch(IDENTITY, T1, [create(item(str(n))) for n in range(5)])
    assert len(await bench.store.changes(IDENTITY, FEED_START, 2)) == 5


async def test_large_items_come_in_smaller_parts(bench: Bench) -> None:
    for n in range(5):
        await bench.store.create(IDENTITY, T1, item(str(n), text="x" * (2 * MEGABYTE - 1000)))
    assert len(await bench.store.changes(IDENTITY, FEED_START, 100)) < 5
    assert ids(await rest(bench.store)) == ["0", "1", "2", "3", "4"]


async def test_what_the_store_keeps_for_itself_is_not_shown(bench: Bench) -> None:
    key = {"x-ms-documentdb-partitionkey": json.dumps(["t1"])}
    foreign = {**item(), "_write": "mark", "_mine": 1}
    bench.emulator.request("POST", f"/dbs/{bench.database}/colls/identity/docs", foreign, key)
    await bench.store.create(IDENTITY, T1, item("b"))
    for change in await rest(bench.store):
        assert set(change.item) == {"id", "tenant_id", "_etag", "_ts"}


# Faults


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"x-ms-retry-after-ms": "5"}, "times": 2},
        {"status": 410},
        {"status": 410, "headers": {"x-ms-substatus": "1002"}},
        {"action": "drop", "times": 2},
        {"action": "apply-then-drop"},
    ],
)
async def test_a_passing_fault_is_not_noticed(bench: Bench, fault: dict[str, Any]) -> None:
    await filled(bench, *range(12))
    split(bench, 0)
    bench.faults({"operation": "change_feed", "skip": 2, **fault})
    seen = await rest(bench.store, limit=3)
    assert bench.asked().count("change_feed") > fault.get("times", 1) + 4
    assert sorted(map(int, ids(seen))) == list(range(12))


async def test_a_feed_that_is_throttled_without_end_says_when_to_come_back(hurried: Bench) -> None:
    retry = {"x-ms-retry-after-ms": "100"}
    hurried.faults({"operation": "change_feed", "status": 429, "headers": retry, "times": 99})
    with pytest.raises(Throttled):
        await hurried.store.changes(IDENTITY, FEED_START, 10)


async def test_a_feed_that_does_not_answer_is_unavailable(hurried: Bench) -> None:
    position = (await rest(hurried.store))[-1].position
    hurried.faults({"operation": "change_feed", "times": 99, "action": "hang"})
    with pytest.raises(Unavailable):
        await hurried.store.changes(IDENTITY, position, 10)


async def test_every_look_is_charged(bench: Bench) -> None:
    await filled(bench, 1, 2, 3)
    position = (await rest(bench.store))[-1].position
    bench.charges.clear()
    await bench.store.changes(IDENTITY, FEED_START, 10)
    await bench.store.changes(IDENTITY, position, 10)
    assert bench.charges == [("identity", "change_feed", 2.5), ("identity", "change_feed", 1.0)]


async def test_after_close_the_feed_is_unavailable(bench: Bench) -> None:
    await bench.store.close()
    with pytest.raises(Unavailable, match="closed"):
        await bench.store.changes(IDENTITY, FEED_START, 10)


# Positions


async def test_another_process_goes_on(bench: Bench) -> None:
    await filled(bench, 1, 2)
    position = (await rest(bench.store))[-1].position
    await filled(bench, 3)
    restarted = await another(bench)
    assert ids(await rest(restarted, position)) == ["3"]
    await restarted.close()


async def test_a_position_of_another_container_is_refused(bench: Bench) -> None:
    await filled(bench, 1)
    await bench.store.create(DIRECTORY, ("x",), {"id": "x"})
    position = (await rest(bench.store))[-1].position
    with pytest.raises(UnknownPosition, match="never gave"):
        await bench.store.changes(DIRECTORY, position, 10)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_position_outlives_no_container(bench: Bench, restarted: bool) -> None:
    """Neither does the new one's feed go on in the middle, nor does it begin anew unasked."""
    await filled(bench, *range(5))
    position = (await rest(bench.store))[-1].position
    made_anew(bench, IDENTITY)
    store = await another(bench) if restarted else bench.store
    for _ in range(2):
        with pytest.raises(UnknownPosition, match="made anew"):
            await store.changes(IDENTITY, position, 10)
    await store.create(IDENTITY, ("t9",), item("9", "t9"))
    with pytest.raises(UnknownPosition):
        await store.changes(IDENTITY, position, 10)
    await store.close()
    fresh = await another(bench)
    assert ids(await rest(fresh)) == ["9"], "asked for, it begins anew"
    await fresh.close()


async def test_a_container_may_have_another_name_there(bench: Bench) -> None:
    body = {**definition(IDENTITY), "id": "people"}
    bench.emulator.request("POST", f"/dbs/{bench.database}/colls", body)
    renamed = await another(bench, names={"identity": "people"})
    await renamed.create(IDENTITY, T1, item())
    assert ids(await rest(renamed)) == ["a"]
    assert await rest(bench.store) == []
    await renamed.close()


async def test_a_container_that_is_not_there_has_no_feed(bench: Bench) -> None:
    bare = await another(bench, names={"identity": "nowhere"})
    with pytest.raises(Unavailable, match="nowhere"):
        await bare.changes(IDENTITY, FEED_START, 10)
    await bare.close()


async def test_a_position_tells_nothing_of_the_items(bench: Bench) -> None:
    """It is kept in a lease and named in logs."""
    await bench.store.create(IDENTITY, ("tenant-x",), item("ada@example.com", "tenant-x"))
    (change,) = await rest(bench.store)
    text = base64.b64decode(str(change.position)).decode()
    assert "ada" not in text
    assert "tenant-x" not in text
