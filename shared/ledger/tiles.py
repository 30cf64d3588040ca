"""Tiles (c2sp.org/tlog-tiles): where the hashes and entries of a tree are kept, 256 to a piece.

A tile of level L holds hashes of tree level 8·L. Below, the hashes of inner nodes are computed from it. Entries come
in bundles that stand beside the tiles of level 0. A piece at the right edge is partial: of width 1 to 255.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.audit.entries import MAX_ENTRY_BYTES
from shared.ledger._text import decode_decimal
from shared.ledger.merkle import HASH_BYTES, KEPT_LEVELS, MAX_SIZE, Node, node_hash, range_nodes

WIDTH = 1 << KEPT_LEVELS
TILE_BYTES = WIDTH * HASH_BYTES
ENTRIES = -1
"""The level of entry bundles."""

_MAX_LEVEL = 63
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?")
_PREFIX_BYTES = 2


class TileError(ValueError):
    """A tile, bundle or path that is not one. `code`: malformed_path, wrong_size, malformed_bundle, missing_tile."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One piece: level (or ENTRIES), index within the level, and how many hashes or entries it has."""

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        in_range = ENTRIES <= self.level <= _MAX_LEVEL and 0 <= self.index <= MAX_SIZE and 1 <= self.width <= WIDTH
        if not in_range:
            raise TileError("malformed_path", "a tile has level 0 to 63, index from 0, and width 1 to 256")

    @property
    def path(self) -> str:
        """`tile/<L>/<N>[.p/<W>]`, N in groups of three digits of which all but the last begin with x."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_grouped(self.index)}{partial}"

    @property
    def place(self) -> tuple[int, int]:
        """Level and index: what stays the same while a tile grows."""
        return self.level, self.index


def parse_path(path: str) -> Tile:
    """The tile of a path. TileError unless it is exactly the path of one."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise TileError("malformed_path", "a path is tile/<level>/<index>[.p/<width>]")
    level, index, width = match.groups()
    try:
        tile = Tile(
            ENTRIES if level == "entries" else decode_decimal(level),
            int(index.replace("x", "").replace("/", "")),
            WIDTH if width is None else decode_decimal(width),
        )
    except ValueError:
        raise TileError("malformed_path", "a path is tile/<level>/<index>[.p/<width>]") from None
    if tile.path != path:
        raise TileError("malformed_path", "a tile has one path")
    return tile


def width_of(level: int, index: int, size: int) -> int:
    """How many hashes a tile has in a tree of `size` leaves: 0 to 256 (0: it is not there)."""
    count = size >> KEPT_LEVELS * max(level, 0)
    return max(0, min(WIDTH, count - index * WIDTH))


def tile_at(level: int, index: int, size: int) -> Tile:
    """A tile as it is in a tree of `size` leaves. TileError (missing_tile) when there is none."""
    width = width_of(level, index, size)
    if width == 0:
        raise TileError("missing_tile", "the tree has no such tile")
    return Tile(level, index, width)


def bundle_of(index: int, size: int) -> Tile:
    """The entry bundle that holds an entry, as it is in a tree of `size` leaves."""
    return tile_at(ENTRIES, index // WIDTH, size)


def tiles_of(nodes: Iterable[Node], size: int) -> list[Tile]:
    """The tiles, each once and in order, from which these nodes can be computed."""
    places = {_place_of(node)[:2] for node in nodes}
    return [tile_at(level, index, size) for level, index in sorted(places)]


def edge_of(size: int) -> list[Tile]:
    """The partial tiles at the right edge: what growing a tree of `size` leaves needs, at most one a level."""
    return [tile for tile in tiles_of(range_nodes(0, size), size) if tile.width < WIDTH]


def grown(size: int, edge: Mapping[tuple[int, int], bytes], added: Sequence[Sequence[bytes]]) -> dict[Tile, bytes]:
    """The tiles that appending to a tree of `size` leaves makes or changes, with their content.

    `edge` holds what is in the tiles of `edge_of(size)`, by place; `added` is what `Frontier.extend` returned.
    TileError when a tile of the edge is missing or not as wide as it should be.
    """
    changed: dict[Tile, bytes] = {}
    for level, hashes in enumerate(added):
        if not hashes:
            continue
        first, width = divmod(size >> KEPT_LEVELS * level, WIDTH)
        content = edge.get((level, first), b"") if width else b""
        if len(content) != width * HASH_BYTES:
            raise TileError("wrong_size", "a tile of the edge is not as wide as the tree says")
        content += b"".join(hashes)
        for number in range(-(-len(content) // TILE_BYTES)):
            piece = content[number * TILE_BYTES : (number + 1) * TILE_BYTES]
            changed[Tile(level, first + number, len(piece) // HASH_BYTES)] = piece
    return changed


def hash_reader(tiles: Mapping[tuple[int, int], bytes]) -> Callable[[Node], bytes]:
    """A reader of nodes from the contents of tiles, by place. A wider tile than needed serves as well.

    The reader raises TileError (missing_tile) for a node that the tiles do not cover.
    """

    def read(node: Node) -> bytes:
        level, index, start, count = _place_of(node)
        content = tiles.get((level, index), b"")
        piece = content[start * HASH_BYTES : (start + count) * HASH_BYTES]
        if len(piece) != count * HASH_BYTES:
            raise TileError("missing_tile", "a tile that a hash comes from is missing or too short")
        hashes = [piece[at : at + HASH_BYTES] for at in range(0, len(piece), HASH_BYTES)]
        while len(hashes) > 1:
            hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    return read


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """An entry bundle: each entry after its length, a big-endian uint16. TileError for an entry that is too large."""
    parts = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise TileError("malformed_bundle", "an entry has at most 65,535 bytes")
        parts.append(len(entry).to_bytes(_PREFIX_BYTES) + entry)
    return b"".join(parts)


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle. TileError when it ends in the middle of one or has more than 256."""
    entries, at = [], 0
    while at < len(data):
        start = at + _PREFIX_BYTES
        at = start + int.from_bytes(data[at:start])
        if start > len(data) or at > len(data):
            raise TileError("malformed_bundle", "the bundle ends in the middle of an entry")
        entries.append(data[start:at])
    if len(entries) > WIDTH:
        raise TileError("malformed_bundle", "a bundle has at most 256 entries")
    return entries


def _place_of(node: Node) -> tuple[int, int, int, int]:
    """Level and index of the tile that a node is computed from, its first hash there, and how many."""
    level, below = divmod(node[0], KEPT_LEVELS)
    index, start = divmod(node[1] << below, WIDTH)
    return level, index, start, 1 << below


def _grouped(index: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([*(f"x{each}" for each in groups[:-1]), groups[-1]])
