"""What is read of a tenant's shards by those who list, count and prove."""

from collections import Counter
from dataclasses import replace

import pytest

from shared.ledger.merkle import HASH_BYTES
from shared.ledger.shards import BrokenShard, Entry, Head, Shards, head_id, rollup_id, tile_item
from shared.ledger.tiles import Tile
from shared.storage.containers import LEDGER
from shared.storage.documents import Item, Query
from tests.faults import FaultyStore
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


def test_a_head_is_read_as_it_was_stored() -> None:
    head = Head(PERIOD, 3, (bytes(32),), {0: bytes(96)}, 2, "2026-03-15T12:00:00.000000Z", "note", 1, "tag")
    item = head.item(TENANT)
    assert (item["witnessed_size"], item["ttl"]) == (1, -1)
    assert Head.of(item | {"_etag": "tag"}) == head
    del item["witnessed_size"]
    assert Head.of(item | {"_etag": "tag"}) == replace(head, witnessed_size=0), "from before there was a witness"


@pytest.mark.parametrize(
    "change", [{"size": 1 << 53}, *({"edge": {level: ""}} for level in ("8", "-1", "00"))], ids=str
)
def test_a_head_of_a_size_or_level_that_cannot_be_is_refused(change: Item) -> None:
    with pytest.raises(BrokenShard) as error:
        Head.of(Head(PERIOD).item(TENANT) | {"_etag": "tag"} | change)
    assert error.value.what == "head"


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


async def test_entries_are_read_from_where_it_is_asked_and_none_may_be_missing(world: World) -> None:
    await world.seal(world.events(4))
    shards, known = Shards(world.store), await world.sealed()

    async def read(start: int, end: int) -> list[Entry]:
        return [each async for page in shards.entries(*HERE, start, end) for each in page]

    assert await read(1, 3) == known[1:3]
    await world.store.delete(LEDGER, HERE, known[2].event_id)
    for end, said in ((4, "entry 2 is missing or there twice"), (3, "entry 2 is missing")):
        with pytest.raises(BrokenShard, match=f"^{said}$") as error:
            await read(0, end)
        assert error.value.what == "entries"


async def test_tiles_are_read_at_once_and_one_that_is_short_is_said(world: World) -> None:
    await world.seal(world.events(600))
    head = await Shards(world.store).head(*HERE)
    store, wanted = FaultyStore(world.store), [Tile(0, 0), Tile(0, 1), Tile(0, 2, 80)]
    found = await Shards(store).tiles(TENANT, head, wanted)
    assert [len(found[tile]) // HASH_BYTES for tile in wanted] == [256, 256, 80]
    assert len(store.calls) == 1
    await world.store.upsert(LEDGER, HERE, tile_item(*HERE, wanted[1], found[wanted[2]]))
    with pytest.raises(BrokenShard) as error:
        await Shards(world.store).tiles(TENANT, head, wanted)
    assert error.value.what == "tile"


@pytest.mark.parametrize("change", [{"counts": 7}, {"events": 2}, {"events": "1"}, {"events": None}], ids=str)
async def test_counts_that_are_none_or_do_not_add_up_are_said(world: World, change: Item) -> None:
    await world.seal(world.events(1))
    rollup = await world.store.read(LEDGER, HERE, rollup_id("2026-03-15"))
    await world.store.replace(LEDGER, HERE, rollup | change)
    with pytest.raises(BrokenShard) as error:
        await Shards(world.store).rollups(*HERE, ["2026-03-15"])
    assert error.value.what == "rollup"


async def test_each_item_of_a_shard_says_of_what_kind_it_is(world: World) -> None:
    await world.seal(world.events(300))
    items = (await world.store.query(LEDGER, HERE, Query(limit=1000))).items
    kinds = Counter((item["kind"], item["tenant_id"], item["period"]) for item in items)
    signed = kinds.pop(("checkpoint", *HERE))
    assert signed > 0
    assert kinds == {(kind, *HERE): count for kind, count in (("entry", 300), ("tile", 1), ("rollup", 1), ("head", 1))}
