"""Proofs of many events at once: what a checkpoint covers, and nothing that does not lead to it."""

import asyncio
from typing import Any

import pytest

from shared.ledger.checkpoint import Checkpoint
from shared.ledger.merkle import leaf_hash, verify_inclusion
from shared.ledger.proving import SLICE, prove_each
from shared.ledger.shards import BrokenShard, Shards, head_id, tile_id
from shared.storage.containers import LEDGER
from tests.faults import FaultyStore
from tests.ledger.world import PERIOD, TENANT, World

HERE = (TENANT, PERIOD)


async def sealed(world: World, *counts: int) -> Checkpoint:
    """A checkpoint of all that was sealed in several deliveries."""
    for count in counts:
        await world.seal(world.events(count))
    return (await world.checkpoints().issue(*HERE)).checkpoint


async def test_every_proof_leads_to_the_checkpoint(world: World) -> None:
    checkpoint = await sealed(world, 300, 5)
    entries = await world.sealed()
    found = await prove_each(Shards(world.store), *HERE, checkpoint, [each.event_id for each in entries])
    assert {each: found[each].entry.index for each in found} == {each.event_id: each.index for each in entries}
    for entry in entries:
        path = found[entry.event_id].path
        verify_inclusion(leaf_hash(entry.text), entry.index, checkpoint.size, path, checkpoint.root)


async def test_what_a_checkpoint_does_not_cover_is_left_out(world: World) -> None:
    checkpoint = await sealed(world, 3)
    await world.seal(world.events(4))
    entries = await world.sealed()
    asked = [each.event_id for each in entries] + ["nobody's"]
    found = await prove_each(Shards(world.store), *HERE, checkpoint, asked)
    assert sorted(found) == sorted(each.event_id for each in entries[:3])
    assert await prove_each(Shards(world.store), *HERE, checkpoint, [entries[3].event_id, head_id(PERIOD)]) == {}
    assert await prove_each(Shards(world.store), TENANT, "2026-04", checkpoint, asked) == {}


async def test_a_head_smaller_than_what_was_signed_proves_nothing(world: World) -> None:
    checkpoint = await sealed(world, 3)
    early = await world.store.read(LEDGER, HERE, head_id(PERIOD))
    checkpoint = await sealed(world, 1)
    await world.store.replace(LEDGER, HERE, early)
    entries = await world.sealed()
    with pytest.raises(BrokenShard, match=r"^a checkpoint of a larger tree was signed$") as error:
        await prove_each(Shards(world.store), *HERE, checkpoint, [entries[0].event_id])
    assert error.value.what == "head"


async def change(world: World, item_id: str, **fields: Any) -> None:
    item = await world.store.read(LEDGER, HERE, item_id)
    await world.store.replace(LEDGER, HERE, item | fields)


async def test_an_entry_that_was_changed_has_no_proof(world: World) -> None:
    checkpoint = await sealed(world, 3)
    first, other, _ = await world.sealed()
    text = (await world.store.read(LEDGER, HERE, other.event_id))["entry"]
    await change(world, first.event_id, entry=text)
    with pytest.raises(BrokenShard, match=r"^an entry does not lead to the signed root: ") as error:
        await prove_each(Shards(world.store), *HERE, checkpoint, [first.event_id])
    assert error.value.what == "entries"
    assert other.event_id in await prove_each(Shards(world.store), *HERE, checkpoint, [other.event_id])


async def test_another_root_has_no_proof(world: World) -> None:
    checkpoint = await sealed(world, 3)
    entry = (await world.sealed())[1]
    forged = Checkpoint(checkpoint.origin, 3, bytes(32))
    with pytest.raises(BrokenShard):
        await prove_each(Shards(world.store), *HERE, forged, [entry.event_id])


async def test_a_tile_that_is_gone_is_said(world: World) -> None:
    checkpoint = await sealed(world, 300)
    entry = (await world.sealed())[0]
    await world.store.delete(LEDGER, HERE, tile_id(0, 0))
    with pytest.raises(BrokenShard) as error:
        await prove_each(Shards(world.store), *HERE, checkpoint, [entry.event_id])
    assert error.value.what == "tile"


async def test_many_proofs_read_once_and_let_others_have_their_turn(world: World) -> None:
    checkpoint = await sealed(world, 3 * SLICE)
    store = FaultyStore(world.store)
    asked = [each.event_id for each in await world.sealed()]
    turns = 0
    is_over = False

    async def others() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            await asyncio.sleep(0)

    class Ready(Shards):
        """Reads nothing late: the turns are those that the proofs give."""

        async def reader(self, *where: Any, **more: Any) -> Any:
            nonlocal turns
            read = await super().reader(*where, **more)
            turns = 0
            return read

    beside = asyncio.create_task(others())
    assert len(await prove_each(Ready(store), *HERE, checkpoint, asked)) == 3 * SLICE
    is_over = True
    assert turns == 3
    await beside
    assert len(store.calls) == 2, "entries, and the head with the tiles at the edge"
