"""The tree as RFC 6962 §2.1 defines it, recursively, over all its leaves: written from the definition alone."""

import hashlib
from collections.abc import Sequence
from functools import cache


class NaiveTree:
    """Roots and proofs of the first n of some entries."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self._entries = entries
        self._hash = cache(self._hash_uncached)
        self._path = cache(self._path_uncached)
        self._subproof = cache(self._subproof_uncached)

    def root(self, size: int) -> bytes:
        return self._hash(0, size)

    def path(self, index: int, size: int) -> list[bytes]:
        """PATH(m, D[n])."""
        return self._path(index, 0, size)

    def proof(self, old_size: int, size: int) -> list[bytes]:
        """PROOF(m, D[n])."""
        return self._subproof(old_size, 0, size, True)

    def _hash_uncached(self, start: int, end: int) -> bytes:
        if end == start:
            return hashlib.sha256(b"").digest()
        if end - start == 1:
            return hashlib.sha256(b"\0" + self._entries[start]).digest()
        middle = start + _largest_power_below(end - start)
        return hashlib.sha256(b"\1" + self._hash(start, middle) + self._hash(middle, end)).digest()

    def _path_uncached(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        middle = start + _largest_power_below(end - start)
        if index < middle - start:
            return [*self._path(index, start, middle), self._hash(middle, end)]
        return [*self._path(index - (middle - start), middle, end), self._hash(start, middle)]

    def _subproof_uncached(self, old: int, start: int, end: int, whole: bool) -> list[bytes]:
        if old == end - start:
            return [] if whole else [self._hash(start, end)]
        middle = start + _largest_power_below(end - start)
        left = middle - start
        if old <= left:
            return [*self._subproof(old, start, middle, whole), self._hash(middle, end)]
        return [*self._subproof(old - left, middle, end, False), self._hash(start, middle)]


def _largest_power_below(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power
