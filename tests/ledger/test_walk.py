"""A walk over entries, page by page: what it takes for sealed, what it says of everything else, and of which place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from shared.audit.entries import entry_of
from shared.ledger.merkle import Frontier, leaf_hash
from shared.ledger.rollups import rollups_of
from shared.ledger.shards import Entry, Shards
from shared.ledger.tiles import WIDTH
from shared.ledger.walk import Walk, leaf_of
from shared.storage.containers import LEDGER
from tests.ledger.heard import Said
from tests.ledger.walked import HERE, Shard, sealed
from tests.ledger.world import World, new_world

ROOT, LATER = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
async def small(world: World) -> Shard:
    return await sealed(world, 5)


@pytest_asyncio.fixture(scope="module")
async def large() -> AsyncIterator[Shard]:
    """Signed again and again; no test writes to it."""
    async with new_world() as world:
        shard = await sealed(world, 2 * WIDTH + 8)
        for size in (*range(1, WIDTH + 1, 3), WIDTH + 3, 2 * WIDTH, 2 * WIDTH + 7, 2 * WIDTH + 8):
            await shard.sign(size)
        yield shard


async def test_what_is_as_it_was_sealed_is_passed_in_silence(small: Shard) -> None:
    assert await small.walk() == []
    assert small.seen == [frozenset(small.ids)]
    assert (small.walked.frontier.size, small.walked.frontier.root()) == (5, small.root(5))
    assert (small.state, small.walked.days) == ((True, True), None)


@pytest.mark.parametrize("start", [0, 1, 100, WIDTH - 1, WIDTH, WIDTH + 3, 2 * WIDTH, 2 * WIDTH + 7])
async def test_it_goes_on_from_where_it_is_tile_by_tile(large: Shard, start: int) -> None:
    assert await large.walk(walk=large.at(start)) == []
    ends = [end for end in (WIDTH, 2 * WIDTH, 2 * WIDTH + 8) if end > start]
    assert large.seen == [frozenset(large.ids[first:end]) for first, end in zip([start, *ends], ends, strict=False)]
    assert large.walked.frontier.root() == large.root(2 * WIDTH + 8)
    assert large.state == (True, True)


async def test_days_are_counted_along_if_they_are_asked_for(small: Shard) -> None:
    await small.walk(walk=Walk(days={}))
    counted = {day: rollup.to_item() for day, rollup in (small.walked.days or {}).items()}
    assert counted == {day: rollup.to_item() for day, rollup in rollups_of(small.events).items()}
    earlier = rollups_of(small.events[:3])
    await small.walk(walk=small.at(3, days=earlier))
    assert small.walked.days is earlier
    assert {day: rollup.to_item() for day, rollup in earlier.items()} == counted
    await small.walk(walk=Walk(is_whole=False, days={}))
    assert (small.walked.days, small.state) == ({}, (True, False))


async def test_an_entry_that_cannot_be_counted_ends_the_counting(world: World) -> None:
    """It was sealed as it is, so nothing of the tree is wrong."""
    good = {**world.event(), "recorded_at": "2026-03-15T00:00:00.000000Z"}
    for odd in ("no", "{}", "[]", "7", "[" * 100_000, json.dumps(good | {"actor": 7})):
        texts = [entry_of(good), odd.encode(), entry_of(good)]
        leaves = [leaf_hash(each) for each in texts]
        tree = Frontier()
        tree.extend(leaves)
        head = replace(await Shards(world.store).head(*HERE), size=3, nodes=tree.nodes, edge={0: b"".join(leaves)})
        for name, index in (("z", 0), ("y", 1), ("x", 2)):
            await world.store.upsert(LEDGER, HERE, Entry(name, index, texts[index]).item(*HERE))
        shard = Shard(world, [], head)
        said = await shard.walk(walk=Walk(days={}))
        assert sorted(said) == [Said("deleted", name, index) for index, name in ((2, "x"), (1, "y"), (0, "z"))]
        assert shard.state == (True, False)
        days = shard.walked.days or {}
        assert days["2026-03-15"].last == 0, "those after it are not counted, either"


async def test_an_event_that_is_gone_or_another(small: Shard) -> None:
    edited = leaf_of(small.events[1] | {"outcome": "error"})
    trail = {small.ids[3]: None, small.ids[1]: {"outcome": "error"}, small.ids[4]: {"context": 1e300}}
    assert await small.walk(trail=trail) == [
        Said("deleted", small.ids[3], 3),
        Said("edited", small.ids[1], 1, edited),
        Said("edited", small.ids[4], 4, leaf_of(small.events[4] | {"context": 1e300})),
    ]
    assert small.state == (True, True), "its entry is there"
    assert await small.walk(trail={small.ids[0]: {"attributes": float("nan")}}) == [
        Said("edited", small.ids[0], 0, b"")
    ]


async def test_events_that_are_at_hand_are_not_read_again(small: Shard) -> None:
    known = dict(zip(small.ids, small.leaves, strict=True))
    assert await small.walk(trail=dict.fromkeys(small.ids), known=known) == []
    assert [call.container for call in small.store.calls if call.operation == "query"] == ["ledger"]
    known[small.ids[2]] = ROOT
    assert await small.walk(known=known) == [Said("edited", small.ids[2], 2, ROOT)]
    some = {small.ids[4]: small.leaves[4], "another": ROOT}
    assert await small.walk(trail={small.ids[0]: None}, known=some) == [Said("deleted", small.ids[0], 0)]
    assert [call.partition for call in small.store.calls if call.container == "audit_events"] == [HERE]


async def test_entries_that_are_gone_or_others(small: Shard) -> None:
    ids = small.ids
    text = entry_of(small.events[2]).decode() + " "
    gone = [Said("entries", "entry|1", 1, b"")]
    assert await small.walk({ids[1]: None}) == gone
    assert small.state == (True, False)
    assert small.seen == [frozenset(ids) - {ids[1]}]
    assert small.walked.frontier.root() == small.root(5), "the tile tells what was sealed"
    assert await small.walk({ids[1]: None}, walk=small.at(0, is_sound=False)) == gone
    assert small.state == (False, False), "what is unsound stays so"
    assert await small.walk({ids[2]: {"entry": text}}) == [Said("entries", "entry|2", 2, leaf_hash(text.encode()))]
    assert small.walked.frontier.root() == small.root(5)
    assert await small.walk({ids[1]: {"entry": 7}}) == gone, "what is no entry is none"
    assert small.seen == [frozenset(ids) - {ids[1]}]
    assert await small.walk({ids[3]: {"index": 1}}) == [*gone, Said("entries", "entry|3", 3, b"")], "two of one place"
    assert small.seen == [frozenset(ids)]


async def test_an_item_with_an_index_stands_for_no_event(small: Shard) -> None:
    """Of other kinds an entry is made, as far as it can be; what is there as an entry is another matter."""
    assert await small.walk({small.ids[1]: {"kind": "finding"}, small.ids[2]: {"kind": None}}) == []
    assert small.seen == [frozenset(small.ids) - {small.ids[1], small.ids[2]}]


async def test_many_entries_and_checkpoints_are_read_at_once(large: Shard) -> None:
    assert await large.walk() == []
    by_place = [(call.container, call.operation) for call in large.store.calls if call.partition == HERE]
    assert by_place.count(("ledger", "query")) == 3 + 2, "a page each, and the tiles below two of them"
    assert by_place.count(("audit_events", "query")) == 3


async def test_the_edge_of_leaves_in_the_head_is_another(small: Shard) -> None:
    """What stands above follows from the entries, so they are as they were sealed."""
    other = b"".join([*small.leaves[:1], ROOT, *small.leaves[2:4], LATER])
    found = f"1:{ROOT.hex()} 4:{LATER.hex()}"
    assert await small.walk(edge={0: other}) == [Said("tile", "tile|0|0", None, found)]
    assert small.state == (True, True)
    assert small.walked.frontier.root() == small.root(5)
    assert await small.walk(edge={0: other}, walk=small.at(2)) == [
        Said("tile", "tile|0|0", None, f"4:{LATER.hex()}")
    ], "what was walked is not looked at again"


async def test_the_edge_is_gone(small: Shard) -> None:
    assert await small.walk(edge={}) == [Said("tile", "tile|0|0", None, "")]
    assert small.state == (True, True)
    gone = {small.ids[2]: None}
    assert await small.walk(gone, edge={}) == [
        Said("entries", "entry|2", 2, b""),
        Said("tile", "tile|0|0", None, ""),
    ]
    assert small.state == (False, False), "of one leaf nothing is known, so nothing follows"


async def test_entry_and_edge_are_others(small: Shard) -> None:
    """Whoever writes over both has to write over what stands above as well, which was signed."""
    text = b"another"
    leaves = [*small.leaves[:2], leaf_hash(text), *small.leaves[3:]]
    tree = Frontier()
    tree.extend(leaves)
    ledger = {small.ids[2]: {"entry": text.decode()}}
    edited = Said("edited", small.ids[2], 2, small.leaves[2])
    edge = {0: b"".join(leaves)}
    root = Said("checkpoint", "root", 5, small.root(5))
    head = Said("head", "nodes", None, b"".join(small.head.nodes))
    assert await small.walk(ledger, edge=edge) == [root, edited, head]
    assert small.state == (True, True)
    assert await small.walk(ledger, edge=edge, nodes=tree.nodes) == [root, edited]
    assert await small.walk(ledger, edge=edge, walk=small.at(0, is_sound=False)) == [edited], "nothing follows"
    assert small.state == (False, True)


async def test_an_entry_and_what_was_sealed_of_another_place(small: Shard) -> None:
    """Neither entries nor tile lead to what stands above: the tile is what was sealed."""
    other = b"".join([*small.leaves[:4], ROOT])
    text = "another"
    said = await small.walk({small.ids[0]: {"entry": text}}, edge={0: other})
    assert said == [
        Said("checkpoint", "root", 5, small.root(5)),
        Said("edited", small.ids[4], 4, small.leaves[4]),
        Said("entries", "entry|0", 0, leaf_hash(text.encode())),
        Said("entries", "entry|4", 4, small.leaves[4]),
        Said("head", "nodes", None, b"".join(small.head.nodes)),
    ]
    assert small.state == (True, False)


async def test_the_nodes_of_the_head_are_others(small: Shard) -> None:
    nodes = (small.head.nodes[0], ROOT)
    assert await small.walk(nodes=nodes) == [Said("head", "nodes", None, small.head.nodes[0] + ROOT)]


def test_a_walk_begins_with_nothing() -> None:
    walk = Walk()
    assert (walk.frontier.size, walk.is_sound, walk.is_whole, walk.days) == (0, True, True, None)
    assert Walk().frontier is not walk.frontier
