"""The Merkle tree of RFC 6962 §2.1 and RFC 9162 §2.1: hashes, growing, roots, proofs, and their verification.

    leaf  = SHA-256(0x00 ‖ entry)          node = SHA-256(0x01 ‖ left ‖ right)          empty tree = SHA-256("")

A tree of n leaves splits at the largest power of two below n. A node is (level, index): the root of the complete
subtree over the leaves index·2^level … (index+1)·2^level - 1. Proofs are made from such nodes, whoever holds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

type Node = tuple[int, int]
type Range = tuple[int, int]
type Reader = Callable[[Node], bytes]
"""Gives the hash of a node."""

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
EMPTY_ROOT = hashlib.sha256(b"").digest()
KEPT_LEVELS = 8
"""Every so many levels, hashes are kept in tiles (tlog-tiles)."""

_sha256 = hashlib.sha256
_KEPT_MASK = (1 << KEPT_LEVELS) - 1


class ProofError(ValueError):
    """A proof, or what it is about, does not hold. `code` says in which way:

    hash_size, path_length, index_range, size_range, root_mismatch, old_root_mismatch.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf that holds `entry`."""
    return _sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """The hashes of leaves, in order."""
    return [_sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return _sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree, all that it needs to grow: the complete subtrees that it is made of, largest first.

    There is one for each bit of the size, so it stays small: 20 hashes or fewer for a million leaves.
    """

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self._nodes = list(nodes)
        self._size = size
        if not 0 <= size <= MAX_SIZE:
            raise ProofError("size_range", "a size is a number from 0 to 2^63 - 1")
        if len(self._nodes) != size.bit_count():
            raise ProofError("path_length", f"the edge of {size} leaves has {size.bit_count()} nodes")
        _check_hashes(self._nodes)

    @classmethod
    def resume(cls, size: int, reader: Reader) -> Frontier:
        """The edge of a tree of `size` leaves whose nodes `reader` knows (those of `range_nodes(0, size)`)."""
        return cls(size, [reader(node) for node in range_nodes(0, size)])

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    @property
    def nodes(self) -> tuple[bytes, ...]:
        """The complete subtrees, largest first: with the size, all that has to be stored to go on."""
        return tuple(self._nodes)

    def extend(self, leaves: Iterable[bytes]) -> list[list[bytes]]:
        """Append leaves, given as their hashes.

        Returns the hashes that this completed on every eighth level: first those of the leaves themselves (level 0),
        then level 8, and so on. They are what tiles hold.
        """
        nodes, size = self._nodes, self._size
        kept: list[list[bytes]] = [[]]
        for leaf in leaves:
            if len(leaf) != HASH_BYTES:
                raise ProofError("hash_size", "a hash has 32 bytes")
            kept[0].append(leaf)
            if size & _KEPT_MASK == _KEPT_MASK:
                _climb(nodes, size, leaf, kept)
            else:
                current, ones = leaf, size
                while ones & 1:
                    current = _sha256(b"\x01" + nodes.pop() + current).digest()
                    ones >>= 1
                nodes.append(current)
            size += 1
            self._size = size
        return kept

    def root(self) -> bytes:
        """The root of the tree."""
        return _fold(self._nodes)


def _climb(nodes: list[bytes], size: int, leaf: bytes, kept: list[list[bytes]]) -> None:
    """Append the leaf that completes a subtree of 256 or more, and keep what it completes on each eighth level."""
    current, level = leaf, 0
    while size >> level & 1:
        current = node_hash(nodes.pop(), current)
        level += 1
        if level % KEPT_LEVELS == 0:
            while len(kept) <= level // KEPT_LEVELS:
                kept.append([])
            kept[level // KEPT_LEVELS].append(current)
    nodes.append(current)


def _fold(nodes: Sequence[bytes]) -> bytes:
    """The root above complete subtrees that stand side by side, largest first."""
    if not nodes:
        return EMPTY_ROOT
    current = nodes[-1]
    for left in reversed(nodes[:-1]):
        current = node_hash(left, current)
    return current


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root of a tree of these leaf hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def range_nodes(start: int, end: int) -> list[Node]:
    """The complete subtrees, largest first, that make up leaves start … end - 1, a range as the tree splits it."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def range_hash(leaves: Range, reader: Reader) -> bytes:
    """The hash of a range as the tree splits it, MTH(D[start:end]) of the RFCs."""
    return _fold([reader(node) for node in range_nodes(*leaves)])


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """What the inclusion proof of a leaf is made of: one range for each hash, from the leaf's sibling upward.

    RFC 6962 §2.1.1. ProofError unless 0 ≤ index < size.
    """
    _check_index(index, size)
    start, end = 0, size
    path = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(old_size: int, size: int) -> list[Range]:
    """What the proof is made of that the first `old_size` of `size` leaves are the old tree (RFC 6962 §2.1.2).

    ProofError unless 0 < old_size ≤ size. Empty for equal sizes.
    """
    _check_sizes(old_size, size)
    start, end = 0, size
    path = []
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start:  # otherwise it is the old root, which the verifier has
        path.append((start, end))
    return path[::-1]


def nodes_of(ranges: Iterable[Range]) -> Iterator[Node]:
    """Every node that is needed to hash these ranges."""
    for each in ranges:
        yield from range_nodes(*each)


def inclusion_proof(index: int, size: int, reader: Reader) -> list[bytes]:
    """The hashes from the leaf's sibling up to the root's child."""
    return [range_hash(each, reader) for each in inclusion_ranges(index, size)]


def consistency_proof(old_size: int, size: int, reader: Reader) -> list[bytes]:
    """The hashes that show the tree of `old_size` leaves to be the beginning of the one of `size`."""
    return [range_hash(each, reader) for each in consistency_ranges(old_size, size)]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with this hash is at `index` of the tree with this size and root (RFC 9162 §2.1.3.2).

    ProofError otherwise. Size and root belong together and come from one signed checkpoint: the tree alone does not
    tell apart sizes that give a leaf the same path (its first of 3 and its first of 4).
    """
    _check_index(index, size)
    _check_hashes((leaf, root, *path))
    below = (index ^ (size - 1)).bit_length()  # levels under which the leaf and the last one part
    if len(path) != below + (index >> below).bit_count():
        raise ProofError("path_length", "the proof has too few or too many hashes")
    position, last, current = index, size - 1, leaf
    for sibling in path:
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        position, last = position >> 1, last >> 1
    if current != root:
        raise ProofError("root_mismatch", "the proof does not lead to the root")


def verify_consistency(old_size: int, size: int, path: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """Check that the old tree is the beginning of the new one (RFC 9162 §2.1.4.2). ProofError otherwise.

    An old size of 0 is refused: anything follows from nothing, so there is nothing to prove.
    """
    _check_sizes(old_size, size)
    _check_hashes((old_root, root, *path))
    if len(path) != len(consistency_ranges(old_size, size)):
        raise ProofError("path_length", "the proof has too few or too many hashes")
    if old_size == size:
        if old_root != root:
            raise ProofError("root_mismatch", "two roots for one size")
        return
    hashes = list(path) if old_size & (old_size - 1) else [old_root, *path]
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = hashes[0]
    for each in hashes[1:]:
        if position & 1 or position == last:
            old, new = node_hash(each, old), node_hash(each, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, each)
        position, last = position >> 1, last >> 1
    if old != old_root:
        raise ProofError("old_root_mismatch", "the proof does not lead to the old root")
    if new != root:
        raise ProofError("root_mismatch", "the proof does not lead to the root")


def _split(count: int) -> int:
    """The largest power of two below `count`, which is 2 or more."""
    return 1 << (count - 1).bit_length() - 1


def _check_index(index: int, size: int) -> None:
    if not 0 < size <= MAX_SIZE:
        raise ProofError("size_range", "a tree with a leaf has a size from 1 to 2^63 - 1")
    if not 0 <= index < size:
        raise ProofError("index_range", "the index is not below the size")


def _check_sizes(old_size: int, size: int) -> None:
    if not 0 < old_size <= size <= MAX_SIZE:
        raise ProofError("size_range", "sizes are 0 < old size ≤ size < 2^63")


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofError("hash_size", "a hash has 32 bytes")
