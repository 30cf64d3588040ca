"""What is read of a tenant's shards by those who list, count and prove."""

import pytest

from shared.ledger.shards import BrokenShard, Shards, head_id
from shared.storage.containers import LEDGER
from tests.ledger.world import OTHER, PERIOD, TENANT, World

HERE = (TENANT, PERIOD)
MONTHS = {"2026-03": 1, "2026-04": 3, "2026-05": 2}


@pytest.fixture
async def shards(world: World) -> Shards:
    """A ledger of three months, and one of somebody else."""
    for size in MONTHS.values():
        await world.seal([*world.events(size), *world.events(4, tenant_id=OTHER)])
        world.clock.advance(days=30)
    return Shards(world.store)


async def test_heads_are_listed_the_newest_month_first_page_by_page(shards: Shards) -> None:
    first = await shards.page(TENANT, 2, None)
    rest = await shards.page(TENANT, 2, first.next)
    assert [[item["period"] for item in page.items] for page in (first, rest)] == [["2026-05", "2026-04"], ["2026-03"]]
    assert rest.next is None


async def test_sizes_are_those_of_every_month_and_of_no_head_that_says_none(world: World, shards: Shards) -> None:
    assert list((await shards.sizes(TENANT)).items()) == list(MONTHS.items())
    head = await world.store.read(LEDGER, HERE, head_id(PERIOD))
    await world.store.create(LEDGER, HERE, head | {"id": "head|x", "size": 9})
    await world.store.replace(LEDGER, HERE, head | {"size": "1"})
    assert await shards.sizes(TENANT) == {"2026-04": 3, "2026-05": 2}


async def test_entries_are_found_by_their_events_and_nothing_else_is_one(world: World, shards: Shards) -> None:
    (known,) = await world.sealed()
    asked = [known.event_id, head_id(PERIOD), world.event()["id"]]
    assert await shards.entries_of(*HERE, asked) == [known]
    item = await world.store.read(LEDGER, HERE, known.event_id)
    await world.store.replace(LEDGER, HERE, item | {"index": "0"})
    with pytest.raises(BrokenShard) as error:
        await shards.entries_of(*HERE, asked)
    assert error.value.what == "entries"
