"""Tiles: paths in one spelling, widths as the tree says, content that leads to the tree's own hashes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ledger.merkle import Frontier, leaf_hash, leaf_hashes
from shared.ledger.tiles import (
    ENTRIES,
    TILE_BYTES,
    Tile,
    TileError,
    bundle_of,
    decode_bundle,
    edge_of,
    encode_bundle,
    grown,
    hash_reader,
    parse_path,
    tile_at,
    width_of,
)
from tests.ledger.naive import NaiveTree
from tests.ledger.support import TiledTree


def test_known_paths() -> None:
    assert bundle_of(256, 257).path == "tile/entries/001.p/1"
    assert Tile(15, 455667).path == "tile/15/x455/667"
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(0, 0, 15).path == "tile/0/000.p/15"


@pytest.mark.parametrize(
    ("level", "index", "size", "width"),
    [
        *((0, 272, 70_000, 256), (0, 273, 70_000, 112), (0, 274, 70_000, 0), (1, 0, 70_000, 256)),
        *((1, 1, 70_000, 17), (2, 0, 70_000, 1), (3, 0, 70_000, 0), (0, 0, 256, 256), (1, 0, 256, 1)),
        *((0, 0, 0, 0), (ENTRIES, 0, 0, 0), (ENTRIES, 273, 70_000, 112), (7, 0, 2**63 - 1, 127)),
    ],
)
def test_widths_as_tlog_tiles_says(level: int, index: int, size: int, width: int) -> None:
    assert width_of(level, index, size) == width
    if width:
        assert tile_at(level, index, size).width == width
    else:
        with pytest.raises(TileError) as error:
            tile_at(level, index, size)
        assert error.value.code == "missing_tile"


tiles = st.builds(
    Tile,
    st.one_of(st.just(ENTRIES), st.integers(0, 63)),
    st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 10_000_000)),
    st.integers(1, 256),
)


@given(tiles)
def test_paths_round_trip(tile: Tile) -> None:
    assert parse_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        *("", "tile", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "/tile/0/000", "tile/0/000/"),
        *("tile/00/000", "tile/64/000", "tile/-1/000", "tile/+1/000", "tile/x/000", "tile/Entries/000"),
        *("tile/0/x000/001", "tile/0/001/002", "tile/0/x001", "tile/0/x001/x002", "tile/0/X001/002"),
        *("tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/1/"),
        *("tile/0/000p/1", "tile/0/000.p/-1", "tile/0/000\n", "tile/0/٠٠٠", "tile/0/../0/000", "tile/0//000"),
        *("tile/0/x009/x223/x372/x036/x854/x775/808", "tile/data/000", "tile/0/000.p/٣"),
    ],
)
def test_other_spellings_are_refused(path: str) -> None:
    with pytest.raises(TileError) as error:
        parse_path(path)
    assert error.value.code == "malformed_path"


@pytest.mark.parametrize(("level", "index", "width"), [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_tiles_that_cannot_be(level: int, index: int, width: int) -> None:
    with pytest.raises(TileError):
        Tile(level, index, width)


def test_the_tiles_of_a_large_tree_hold_its_hashes() -> None:
    entries = [b"%d" % number for number in range(256 * 256 + 300)]
    tree, naive = TiledTree(), NaiveTree(entries)
    tree.append(entries[:1000])
    tree.append(entries[1000:])
    assert {place: len(content) // 32 for place, content in tree.tiles.items() if len(content) < TILE_BYTES} == {
        tile.place: tile.width for tile in edge_of(len(entries))
    }
    assert tree.tiles[1, 0][32:64] == NaiveTree(entries[256:512]).root(256)
    assert tree.tiles[2, 0] == naive.root(65_536)
    assert tree.read((9, 3)) == NaiveTree(entries[1536:2048]).root(512)
    assert Frontier.resume(tree.size, tree.read).root() == naive.root(tree.size)


def test_appending_touches_the_right_edge_alone() -> None:
    tree = TiledTree()
    tree.append([b"x"] * 700)
    edge = {tile.place: tree.tiles[tile.place] for tile in edge_of(700)}
    assert sorted(edge) == [(0, 2), (1, 0)]
    frontier = Frontier.resume(700, hash_reader(edge))
    changed = grown(700, edge, frontier.extend(leaf_hashes([b"y"] * 100)))
    assert sorted(tile.path for tile in changed) == ["tile/0/002", "tile/0/003.p/32", "tile/1/000.p/3"]
    assert changed[Tile(0, 2)].startswith(edge[0, 2])
    assert grown(700, edge, [[]]) == {}


def test_an_edge_that_is_not_the_trees_is_refused() -> None:
    tree = TiledTree()
    tree.append([b"x"] * 300)
    added = [[leaf_hash(b"y")]]
    for edge in ({}, {(0, 1): tree.tiles[0, 1][:-32]}, {(0, 1): tree.tiles[0, 1] + bytes(32)}):
        with pytest.raises(TileError) as error:
            grown(300, edge, added)
        assert error.value.code == "wrong_size"
    for place in ((0, 1), (1, 0)):
        with pytest.raises(TileError) as error:
            Frontier.resume(300, hash_reader({p: c for p, c in tree.tiles.items() if p != place}))
        assert error.value.code == "missing_tile"


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert decode_bundle(data) == entries
    assert len(data) == sum(2 + len(entry) for entry in entries)


def test_bundles_have_bounds() -> None:
    largest = b"x" * 65_535
    assert decode_bundle(encode_bundle([largest, b""])) == [largest, b""]
    assert decode_bundle(encode_bundle([b""] * 256)) == [b""] * 256
    with pytest.raises(TileError):
        encode_bundle([largest + b"x"])
    with pytest.raises(TileError):
        decode_bundle(encode_bundle([b""] * 257))


@pytest.mark.parametrize("data", [b"\0", b"\0\1", b"\0\2x", b"\0\0\0", b"\xff\xff" + b"x" * 65_534])
def test_a_bundle_that_breaks_off_is_refused(data: bytes) -> None:
    with pytest.raises(TileError) as error:
        decode_bundle(data)
    assert error.value.code == "malformed_bundle"
