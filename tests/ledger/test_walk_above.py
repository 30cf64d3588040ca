"""A walk at the end of a tile: its leaf completes hashes of tiles above, on as many levels as the tree has by then."""

import pytest

from shared.ledger._text import encode_base64
from shared.ledger.merkle import leaf_hash
from shared.ledger.shards import tile_id
from shared.ledger.tiles import WIDTH
from shared.ledger.walk import Walk
from tests.ledger.heard import Said
from tests.ledger.walked import Shard, tail
from tests.ledger.world import World

ROOT = b"\x01" * 32
SQUARE = WIDTH * WIDTH
SIZES = [WIDTH, 2 * WIDTH, 3 * WIDTH, SQUARE - WIDTH, SQUARE, 2 * SQUARE, SQUARE + WIDTH, SQUARE * WIDTH]
LEVELS = [1, 1, 1, 1, 2, 2, 1, 3]
"""On how many levels above the lowest a tree of such a size has just completed a hash."""


async def seen(shard: Shard, *, tiles: dict[tuple[int, int], bytes | None], **more: object) -> list[Said]:
    """What a walk says that sees other tiles, wherever they are kept."""
    ledger = {
        tile_id(*place): None if each is None else {"hashes": encode_base64(each)} for place, each in tiles.items()
    }
    edge = {level: content for level, content in shard.head.edge.items() if (level, _index(shard, level)) not in tiles}
    edge |= {level: each for (level, index), each in tiles.items() if each and index == _index(shard, level)}
    return await shard.walk(ledger, edge=edge, **more)  # type: ignore[arg-type]


def _index(shard: Shard, level: int) -> int:
    """The place, on a level, of the tile that is not full yet."""
    return shard.head.size >> 8 * (level + 1)


def places(shard: Shard) -> list[tuple[int, int]]:
    """Where the last hash of each level is that was just completed, from the lowest on."""
    return sorted(place for place, content in shard.tiles.items() if content[-32:] != leaf_hash(b"any"))


@pytest.mark.parametrize(("size", "levels"), list(zip(SIZES, LEVELS, strict=True)))
async def test_what_stands_above_is_as_it_should_be(world: World, size: int, levels: int) -> None:
    shard = await tail(world, size, world.events(1))
    assert [level for level, _ in places(shard)] == list(range(levels + 1))
    assert await shard.walk() == []
    assert shard.state == (True, True)
    assert (shard.walked.frontier.size, shard.walked.frontier.nodes) == (size, shard.head.nodes)


@pytest.mark.parametrize("size", SIZES)
async def test_what_stands_above_is_another_or_gone(world: World, size: int) -> None:
    shard = await tail(world, size, world.events(1))
    for place in places(shard)[1:]:
        whole = shard.tiles[place]
        other = whole[:-32] + ROOT
        assert await seen(shard, tiles={place: other}) == [Said("tile", tile_id(*place), None, other)]
        assert shard.state == (True, True)
        assert await seen(shard, tiles={place: None}) == [Said("tile", tile_id(*place), None, b"")]
        assert await seen(shard, tiles={place: whole[:-32]}) == [Said("tile", tile_id(*place), None, b"")]
        if len(whole) > 32:
            assert await seen(shard, tiles={place: ROOT + whole[32:]}) == [], "what was passed is another matter"
        unsound = Walk(shard.at(size - 1).frontier, is_sound=False)
        assert await seen(shard, tiles={place: other}, walk=unsound) == [], "of which nothing follows"


@pytest.mark.parametrize("size", SIZES)
async def test_the_lowest_tile_is_another_or_gone(world: World, size: int) -> None:
    shard = await tail(world, size, world.events(1))
    place, lowest = places(shard)[0], shard.tiles[places(shard)[0]]
    found = f"{size - 1}:{ROOT.hex()}"
    assert place == (0, size // WIDTH - 1)
    assert await seen(shard, tiles={place: lowest[:-32] + ROOT}) == [Said("tile", tile_id(*place), None, found)]
    assert await seen(shard, tiles={place: ROOT + lowest[32:]}) == [], "what was passed is another matter"
    for gone in (None, lowest[:-32], b""):
        assert await seen(shard, tiles={place: gone}) == [Said("tile", tile_id(*place), None, "")]
        assert shard.state == (True, True)
    assert shard.walked.frontier.nodes == shard.head.nodes
    all_gone = [Said("tile", tile_id(*each), None, b"" if each[0] else "") for each in places(shard)]
    assert await seen(shard, tiles=dict.fromkeys(places(shard))) == all_gone


@pytest.mark.parametrize("size", SIZES)
async def test_an_entry_of_a_full_page_is_another_or_gone(world: World, size: int) -> None:
    shard = await tail(world, size, world.events(1))
    at = size - 1
    said = await shard.walk({shard.ids[0]: {"entry": "another"}})
    assert said == [Said("entries", f"entry|{at}", at, leaf_hash(b"another"))]
    assert shard.state == (True, False)
    assert await shard.walk({shard.ids[0]: None}) == [Said("entries", f"entry|{at}", at, b"")]
    assert shard.walked.frontier.nodes == shard.head.nodes, "the tile tells what was sealed"
    said = await shard.walk({shard.ids[0]: None, tile_id(0, size // WIDTH - 1): None})
    assert said == [
        Said("entries", f"entry|{at}", at, b""),
        Said("tile", tile_id(0, size // WIDTH - 1), None, ""),
    ]
    assert shard.state == (False, False)


@pytest.mark.parametrize("beyond", [1, 3])
@pytest.mark.parametrize("size", [WIDTH, 2 * WIDTH, SQUARE])
async def test_more_entries_follow(world: World, size: int, beyond: int) -> None:
    shard = await tail(world, size + beyond, world.events(2 + beyond))
    place = (0, size // WIDTH - 1)
    assert await shard.walk() == []
    assert shard.seen == [frozenset(shard.ids[:2]), frozenset(shard.ids[2:])]
    text = {shard.ids[0]: {"entry": "another"}}
    assert await shard.walk(text) == [Said("entries", f"entry|{size - 2}", size - 2, leaf_hash(b"another"))]
    swapped = shard.tiles[place][:-64] + ROOT + shard.leaves[1]
    assert await seen(shard, tiles={place: swapped}) == [
        Said("tile", tile_id(*place), None, f"{size - 2}:{ROOT.hex()}")
    ]
    assert shard.walked.frontier.nodes == shard.head.nodes
