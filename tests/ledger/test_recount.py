"""Counting the entries again gives the numbers that the sealer kept, and puts right what is not."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ledger.recount import Recount
from shared.ledger.rollups import MAX_EXACT
from shared.ledger.shards import BrokenShard, rollup_id
from shared.storage.containers import LEDGER
from tests.faults import FaultyStore
from tests.ledger.world import NOW, PERIOD, TENANT, World, new_world

HERE = (TENANT, PERIOD)


@settings(max_examples=15)
@given(data=st.data())
async def test_whatever_was_sealed_the_numbers_are_the_same(data: st.DataObject) -> None:
    async with new_world() as world:
        hours = data.draw(st.lists(st.integers(0, 14 * 24), min_size=1, max_size=60))
        kept = await world.keep([world.event(NOW - timedelta(hours=each)) for each in hours])
        step = data.draw(st.integers(1, 30))
        for start in range(0, len(kept), step):
            await world.sealer().consume([each | {"_ts": 0} for each in kept[start : start + step]])
        assert await Recount(world.store).shard(TENANT, PERIOD) == []


async def test_estimates_are_the_same_numbers(world: World) -> None:
    events = [
        {**event, "actor": {"kind": "user", "id": f"actor-{n}", "role": "user"}}
        for n, event in enumerate(world.events(MAX_EXACT + 200))
    ]
    await world.seal(events)
    stored = await world.store.read(LEDGER, HERE, rollup_id("2026-03-15"))
    assert not stored["distinct_actors_exact"]
    assert await Recount(world.store).shard(TENANT, PERIOD) == []


async def test_what_is_wrong_is_named_and_put_right(world: World) -> None:
    await world.seal([world.event(NOW - timedelta(hours=20 * n)) for n in range(6)][::-1])
    days = ["2026-03-11", "2026-03-13", "2026-03-14"]
    before = [await world.store.read(LEDGER, HERE, rollup_id(day)) for day in days[1:]]
    await world.store.replace(LEDGER, HERE, before[0] | {"hours": {}})
    await world.store.delete(LEDGER, HERE, rollup_id(days[2]))
    none = {"id": rollup_id("2026-03-01"), "tenant_id": TENANT, "period": PERIOD, "day": "2026-03-01", "last": 1}
    await world.store.create(LEDGER, HERE, none)
    wrong = ["2026-03-01", *days[1:]]
    recount = Recount(world.store)
    assert await recount.shard(TENANT, PERIOD) == wrong
    assert await recount.shard(TENANT, PERIOD) == wrong, "without `write` nothing is written"
    assert await recount.shard(TENANT, PERIOD, write=True) == wrong
    assert await recount.shard(TENANT, PERIOD) == []
    for item in before:
        held = await world.store.read(LEDGER, HERE, item["id"])
        assert {**held, "_etag": 0, "_ts": 0, "ttl": 0} == {**item, "_etag": 0, "_ts": 0, "ttl": 0}


async def test_a_sealer_that_comes_between_is_counted(world: World) -> None:
    events = world.events(9)
    await world.seal(events[:3])
    item = await world.store.read(LEDGER, HERE, rollup_id("2026-03-15"))
    await world.store.replace(LEDGER, HERE, item | {"hours": {}})

    class Rival(FaultyStore):
        left = 2

        async def batch(self, container, partition, operations):  # type: ignore[no-untyped-def]
            if self.left:
                self.left -= 1
                await world.seal(events[3 + self.left * 3 :][:3])
            return await super().batch(container, partition, operations)

    await Recount(Rival(world.store)).shard(TENANT, PERIOD, write=True)
    assert await Recount(world.store).shard(TENANT, PERIOD) == []
    await world.check(events)


async def test_of_entries_that_are_not_whole_nothing_is_counted(world: World) -> None:
    events = world.events(3)
    await world.seal(events)
    entry = await world.store.read(LEDGER, HERE, events[1]["id"])
    await world.store.replace(LEDGER, HERE, entry | {"entry": "{}"})
    with pytest.raises(BrokenShard, match="entry 1 cannot be counted"):
        await Recount(world.store).shard(TENANT, PERIOD, write=True)
