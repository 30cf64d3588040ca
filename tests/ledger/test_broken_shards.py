"""What somebody does to one shard keeps nobody else's events from being sealed, and its own only until it is mended."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared.core.clock import rfc3339
from shared.ledger._text import encode_base64
from shared.ledger.merkle import Frontier, leaf_hash
from shared.ledger.sealer import UNMOVED
from shared.ledger.shards import Shards, head_id, rollup_id, tile_id
from shared.ledger.tiles import grown
from shared.storage.containers import AUDIT_EVENTS, LEDGER, Container
from shared.storage.documents import BatchOperation, Item, Partition
from shared.storage.errors import Conflict, Throttled
from tests.faults import FaultyStore
from tests.ledger.world import NOW, OTHER, PERIOD, TENANT, World

HERE = (TENANT, PERIOD)
HEAD = head_id(PERIOD)


async def deliver(world: World, count: int) -> tuple[list[Item], list[Item]]:
    """Events of both tenants in one delivery, ours first."""
    ours, theirs = world.events(count), world.events(2, tenant_id=OTHER)
    await world.seal([*ours, *theirs])
    return ours, theirs


async def retry(world: World) -> None:
    """What waits among the dead letters, once it is due."""
    world.clock.advance(hours=7)
    await world.sealer()._dead_letters.retry(TENANT)


async def waiting(world: World) -> set[str]:
    return {letter["item_id"] for letter in await world.dead()}


async def plant(world: World, **item: Any) -> Item:
    return await world.store.upsert(LEDGER, HERE, {"tenant_id": TENANT, "period": PERIOD, **item})


async def set_back(world: World, size: int) -> Item:
    """Put a head there that agrees with itself in everything and is of the first `size` entries; the right one."""
    true = await world.store.read(LEDGER, HERE, HEAD)
    leaves = [leaf_hash(entry.text) for entry in (await world.sealed())[:size]]
    frontier = Frontier()
    tiles = grown(0, {}, frontier.extend(leaves))
    edge = {str(tile.level): encode_base64(content) for tile, content in tiles.items() if tile.width < 256}
    own = {"size": size, "nodes": [encode_base64(each) for each in frontier.nodes], "edge": edge}
    await world.store.replace(LEDGER, HERE, {**true, **own, "signed_size": -1, "signed_at": None, "note": None})
    return true


async def test_a_planted_tile_is_written_over_when_its_own_fills_up(world: World) -> None:
    before = world.events(300)
    await world.seal(before)
    await plant(world, id=tile_id(0, 1), kind="tile", hashes="AA==")
    ours, theirs = await deliver(world, 300)
    await world.check(before + ours)
    await world.check(theirs, OTHER)
    assert await world.dead() == []
    assert await world.verify() == []


async def test_behind_a_head_that_was_set_back_nothing_is_sealed_and_nothing_written_over(world: World) -> None:
    before = world.events(300)
    await world.seal(before)
    assert await world.verify() == []
    true = await set_back(world, 250)
    tile = await world.store.read(LEDGER, HERE, tile_id(0, 0))
    ours, theirs = await deliver(world, 30)
    await world.check(theirs, OTHER)
    assert await waiting(world) == {event["id"] for event in ours}
    assert set(await world.found()) == {"head"}
    world.clock.advance(minutes=11)
    assert set(await world.verify()) == {"head"}, "the check comes to its end, too"
    assert await world.store.read(LEDGER, HERE, tile_id(0, 0)) == tile
    await world.store.replace(LEDGER, HERE, true)
    said = await world.found()
    await retry(world)
    statements = [await world.store.read(AUDIT_EVENTS, HERE, each.event_id) for each in await world.sealed()][330:]
    await world.check([*before, *ours, *statements])
    assert (await world.verify(), await world.dead()) == (said, [])


@pytest.mark.parametrize("signed_at", [rfc3339(NOW), "2099-01-01T00:00:00Z"])
async def test_no_tile_is_written_over_because_a_head_says_that_it_was_signed_just_now(
    world: World, signed_at: str
) -> None:
    await world.seal(world.events(300))
    await world.checkpoints().issue(TENANT, PERIOD)
    await set_back(world, 250)
    await world.store.replace(LEDGER, HERE, await world.store.read(LEDGER, HERE, HEAD) | {"signed_at": signed_at})
    tile = await world.store.read(LEDGER, HERE, tile_id(0, 0))
    ours, _ = await deliver(world, 30)
    assert await world.store.read(LEDGER, HERE, tile_id(0, 0)) == tile
    assert await waiting(world) == {event["id"] for event in ours}
    assert set(await world.found()) == {"head"}


UNREADABLE: dict[str, dict[str, Any]] = {
    "signed yesterday": {"signed_at": "yesterday"},
    "signed at a number": {"signed_at": 7},
    "note is a list": {"note": ["x"]},
    "note is huge": {"note": "x" * 1_900_000},
    "size is text": {"size": "3"},
    "size is negative": {"size": -3},
    "size is beyond numbers": {"size": 2**60},
    "signed size is true": {"signed_size": True},
    "no edge": {"edge": {}},
    "edge of no level": {"edge": {"-1": ""}},
    "edge of a level that cannot be": {"edge": {"99999999999": ""}},
    "nodes are gone": {"nodes": []},
    "nodes are none": {"nodes": None},
}


@pytest.mark.parametrize("change", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_head_that_cannot_be_read_holds_up_its_own_shard_until_it_is_put_back(
    world: World, change: dict[str, Any]
) -> None:
    before = world.events(3)
    await world.seal(before)
    true = await world.store.read(LEDGER, HERE, HEAD)
    await world.store.replace(LEDGER, HERE, {**true, **change})
    ours, theirs = await deliver(world, 2)
    await world.check(theirs, OTHER)
    assert await waiting(world) == {event["id"] for event in ours}
    assert set(await world.found()) == {"head"}
    world.clock.advance(minutes=11)
    assert set(await world.verify()) == {"head"}
    await world.store.replace(LEDGER, HERE, true)
    assert set(await world.verify()) == {"head"}
    assert {event["id"] for event in before + ours} <= {entry.event_id for entry in await world.sealed()}
    await retry(world)
    assert await world.dead() == []
    assert set(await world.found()) == {"head"}


async def test_what_lies_where_an_entry_has_to_be_stops_that_event_alone(world: World) -> None:
    await world.seal(world.events(3))
    ours, theirs = world.events(5), world.events(2, tenant_id=OTHER)
    await plant(world, id=ours[1]["id"], kind="entry", index="x", entry=7)
    await world.seal([*ours, *theirs])
    await world.check(theirs, OTHER)
    assert set(await world.found()) == {"entries"}
    await retry(world)
    assert await waiting(world) == {ours[1]["id"]}
    assert set(await world.verify()) == {"entries"}
    await world.store.delete(LEDGER, HERE, ours[1]["id"])
    await retry(world)
    assert await world.dead() == []
    assert {event["id"] for event in ours} <= {entry.event_id for entry in await world.sealed()}


class Occupied(FaultyStore):
    """Refuses every batch of ours for something that is there already, and that nobody sees."""

    refused = 0
    kind: str | None = "entry"

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        if container is LEDGER and partition == HERE:
            self.refused += 1
            kinds = [each.item["kind"] for each in operations if each.item]
            raise Conflict("it is there", index=None if self.kind is None else kinds.index(self.kind))
        return await super().batch(container, partition, operations)


@pytest.mark.parametrize(
    ("kind", "found"), [("entry", "entries"), ("rollup", "entries"), (None, "entries"), ("head", "head")]
)
async def test_what_is_there_already_and_no_rivals_is_no_race(world: World, kind: str | None, found: str) -> None:
    await world.seal(world.events(3))
    ours, theirs = world.events(2), world.events(2, tenant_id=OTHER)
    kept = await world.keep([*ours, *theirs])
    store = Occupied(world.store)
    store.kind = kind
    await world.sealer(store).consume(kept)
    assert store.refused == UNMOVED
    await world.check(theirs, OTHER)
    assert await waiting(world) == {event["id"] for event in ours}
    assert await world.found() == [found]
    world.clock.advance(minutes=20)
    await world.verification(store).run(TENANT, world.request())
    await retry(world)
    assert await world.dead() == []
    assert {event["id"] for event in ours} <= {entry.event_id for entry in await world.sealed()}


COUNTS: dict[str, dict[str, Any]] = {
    "of another day": {"day": "2026-03-14"},
    "of no day": {"day": [1]},
    "huge": {"counts": [["x" * 2_090_000, "success", "none", None, 1]]},
    "beyond numbers": {"counts": [["auth.login", "success", "personal", None, 2**60]]},
}


@pytest.mark.parametrize("change", COUNTS.values(), ids=COUNTS)
async def test_counts_that_are_none_are_reported_and_no_feed_waits(world: World, change: dict[str, Any]) -> None:
    await world.seal(world.events(3))
    held = await world.store.read(LEDGER, HERE, rollup_id("2026-03-15"))
    await world.store.replace(LEDGER, HERE, {**held, **change})
    _, theirs = await deliver(world, 20)
    await world.check(theirs, OTHER)
    assert set(await world.found()) == {"rollup"}
    with pytest.raises(ValueError, match=r"counts|add up"):
        await Shards(world.store).rollups(TENANT, PERIOD, ["2026-03-15"])


async def test_an_event_of_a_month_that_no_store_can_keep_is_no_event(world: World) -> None:
    good = await world.keep(world.events(1))
    late = world.event(NOW.replace(year=9999, month=12)) | {"_ts": int(NOW.timestamp())}
    await world.sealer().consume([late, *good])
    assert await world.found() == ["unsealable"]
    assert len(await world.sealed()) >= 1


async def test_trouble_of_the_store_is_left_to_the_feed(world: World) -> None:
    """Nothing is dead-lettered and nothing said: the delivery comes again."""
    ours = await world.keep(world.events(2))
    with pytest.raises(Throttled):
        await world.sealer(FaultyStore(world.store, 1, error=Throttled())).consume(ours)
    assert (await world.dead(), await world.found()) == ([], [])
    await world.sealer().consume(ours)
    await world.check(ours)


async def test_heads_that_are_no_months_are_left_out_and_said(world: World) -> None:
    await world.seal(world.events(1))
    for period in ("zzzz", "2026-99"):
        item = {"id": head_id(period), "tenant_id": TENANT, "period": period, "kind": "head", "size": 3, "ttl": -1}
        try:
            await world.store.create(LEDGER, (TENANT, period), item)
        except ValueError:  # a store that will not keep what is of no month
            item |= {"period": PERIOD}
            await world.store.create(LEDGER, HERE, item)
    for _ in range(2):
        shown, following = await world.ledger().shards(TENANT, 10, None, world.request())
        assert ([each["period"] for each in shown], following) == ([PERIOD], None)
    assert await world.found() == ["head", "head"]
