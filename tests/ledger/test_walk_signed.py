"""A walk, and what was signed of the trees that it passes: notes beside the entries, that of the head, and the mark."""

import pytest

from shared.ledger.marks import Mark
from shared.ledger.shards import checkpoint_id
from shared.storage.containers import DIRECTORY, LEDGER
from tests.ledger.heard import Said
from tests.ledger.walked import HERE, Shard, sealed
from tests.ledger.world import OTHER, PERIOD, World

ROOT, LATER = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
async def small(world: World) -> Shard:
    return await sealed(world, 5)


async def test_a_note_that_is_none(small: Shard) -> None:
    for note in ("no note", None, 7):
        said = await small.walk({checkpoint_id(5): {"note": note}})
        assert said == [Said("checkpoint", "note|5", None, str(note))]
    assert await small.walk(note="another") == [Said("checkpoint", "note|5", None, "another")]
    two = await small.walk({checkpoint_id(5): {"note": "x", "size": 4}}, note="y")
    assert two == [Said("checkpoint", "note|4", None, "x"), Said("checkpoint", "note|5", None, "y")]
    assert small.state == (True, True)


async def test_a_note_of_another_size_or_month(small: Shard) -> None:
    note = (await small.world.store.read(LEDGER, HERE, checkpoint_id(5)))["note"]
    for size in (4, 6, None):
        said = await small.walk({checkpoint_id(5): {"size": size}})
        assert said == [Said("checkpoint", f"note|{size}", None, note)]
    beyond = await small.sign(3, LATER, of=9)
    assert await small.walk({checkpoint_id(3): {"size": 9}}) == [Said("checkpoint", "note|9", None, beyond)]
    before = await small.sign(3, small.root(1), of=1)
    here = {checkpoint_id(3): {"size": 1}}
    assert await small.walk(here) == []
    assert await small.walk(here, walk=small.at(1)) == [Said("checkpoint", "note|1", None, before)]
    other = await small.sign(3, origin=small.world.keys().shard(OTHER, PERIOD))
    assert await small.walk() == [Said("checkpoint", "note|3", None, other)]


async def test_a_signed_root_that_is_another(small: Shard) -> None:
    await small.sign(2)
    await small.sign(3, ROOT)
    assert await small.walk() == [Said("checkpoint", "root", 3, ROOT)]
    assert await small.walk(walk=small.at(2)) == [Said("checkpoint", "root", 3, ROOT)]
    assert await small.walk(walk=small.at(3)) == [], "it was of an earlier page"
    assert small.state == (True, True)
    note = await small.sign(4, LATER)
    assert await small.walk(note=note, signed_size=4) == [
        Said("checkpoint", "root", 3, ROOT),
        Said("checkpoint", "root", 4, LATER),
    ]


async def test_the_note_of_the_head_is_looked_at_in_its_page_alone(small: Shard) -> None:
    note = await small.sign(4, LATER)
    await small.world.store.delete(LEDGER, HERE, checkpoint_id(4))
    await small.world.store.delete(LEDGER, HERE, checkpoint_id(5))
    found = [Said("checkpoint", "root", 4, LATER)]
    for start, said in ((0, found), (3, found), (4, [])):
        assert await small.walk(walk=small.at(start), note=note, signed_size=4) == said
    beyond = await small.sign(6, LATER)
    for size in (6, -1, 0):
        assert await small.walk(note=beyond, signed_size=size) == []
    assert [call.container for call in small.store.calls if call.operation == "read"] == [], "no key is asked for"


async def test_the_mark_is_looked_at_in_its_page_alone(small: Shard) -> None:
    assert await small.walk(mark=Mark(5, small.root(5))) == []
    assert await small.walk(mark=Mark(4, ROOT)) == [Said("checkpoint", "root", 4, ROOT)]
    assert await small.walk(mark=Mark(5, LATER)) == [Said("checkpoint", "root", 5, LATER)]
    assert await small.walk(mark=Mark(6, LATER)) == await small.walk(mark=Mark(0, LATER)) == []
    for start, said in ((3, [Said("checkpoint", "root", 4, ROOT)]), (4, [])):
        assert await small.walk(walk=small.at(start), mark=Mark(4, ROOT)) == said


async def test_of_one_size_all_that_was_signed_is_told_together(small: Shard) -> None:
    await small.sign(4, LATER)
    assert await small.walk(mark=Mark(4, ROOT)) == [Said("checkpoint", "root", 4, ROOT + LATER)], "in one order"
    assert await small.walk(mark=Mark(4, LATER)) == [Said("checkpoint", "root", 4, LATER)]


async def test_a_root_that_is_right_beside_one_that_is_another(small: Shard) -> None:
    await small.sign(4)
    assert await small.walk(mark=Mark(4, LATER)) == [Said("checkpoint", "root", 4, LATER)]


async def test_what_lies_behind_a_note_that_is_none_is_looked_at(small: Shard) -> None:
    await small.sign(1)
    await small.sign(2)
    await small.sign(4, LATER)
    assert await small.walk({checkpoint_id(1): {"note": "x"}, checkpoint_id(2): {"size": 3}}) == [
        Said("checkpoint", "note|1", None, "x"),
        Said("checkpoint", "note|3", None, (await small.world.store.read(LEDGER, HERE, checkpoint_id(2)))["note"]),
        Said("checkpoint", "root", 4, LATER),
    ]


async def test_a_list_of_keys_that_is_none_leaves_the_mark(small: Shard) -> None:
    held = await small.world.store.read(DIRECTORY, ("ledger_keys",), "ledger_keys")
    await small.world.store.replace(DIRECTORY, ("ledger_keys",), held | {"keys": 7})
    broken = "the list of published keys is not as we write it"
    assert await small.walk(mark=Mark(4, ROOT)) == [
        Said("checkpoint", "shard", broken=broken),
        Said("checkpoint", "root", 4, ROOT),
    ]
