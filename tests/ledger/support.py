"""Trees kept in tiles, as the store will keep them, for tests."""

from collections.abc import Sequence

from shared.ledger.merkle import Frontier, Node, leaf_hashes
from shared.ledger.tiles import edge_of, grown, hash_reader


class TiledTree:
    """A tree that only keeps its tiles: each append resumes from the right edge, as a sealer in a new process does."""

    def __init__(self) -> None:
        self.size = 0
        self.tiles: dict[tuple[int, int], bytes] = {}

    def append(self, entries: Sequence[bytes]) -> None:
        edge = {tile.place: self.tiles[tile.place] for tile in edge_of(self.size)}
        frontier = Frontier.resume(self.size, hash_reader(edge))
        changed = grown(self.size, edge, frontier.extend(leaf_hashes(entries)))
        self.tiles |= {tile.place: content for tile, content in changed.items()}
        self.size = frontier.size

    def read(self, node: Node) -> bytes:
        return hash_reader(self.tiles)(node)


def flip(data: bytes, bit: int) -> bytes:
    """The bytes with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
