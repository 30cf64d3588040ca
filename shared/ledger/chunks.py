"""How much a sealer writes at once: as many events as fit into one batch of the store, with all that they change."""

from __future__ import annotations

import json
from collections.abc import Sequence

from shared.ledger.pending import Pending
from shared.ledger.rollups import day_of
from shared.ledger.shards import Head
from shared.ledger.tiles import WIDTH, Tile
from shared.storage.documents import MAX_BATCH_OPERATIONS

CHUNK_EVENTS = 90
"""With the head, the days and the tiles that fill up they fit into one query and one batch."""
CHUNK_BYTES = 1_800_000
RESERVED_BYTES = 200_000
"""Of a batch, for head, tiles and counts."""


def distinct(found: Sequence[Pending]) -> tuple[list[Pending], list[Pending]]:
    """As many as one batch may hold, each id once; and the others."""
    chunk: dict[str, Pending] = {}
    later = []
    for pending in found:
        if pending.id in chunk or len(chunk) == CHUNK_EVENTS:
            later.append(pending)
        else:
            chunk[pending.id] = pending
    return list(chunk.values()), later


def fitting(fresh: Sequence[Pending], size: int) -> tuple[list[Pending], list[Pending]]:
    """The longest beginning that fits into one batch behind `size` leaves, with all that it changes; and the rest."""
    days: set[str] = set()
    space = CHUNK_BYTES - RESERVED_BYTES
    for number, pending in enumerate(fresh):
        days.add(day_of(pending.event))
        space -= len(json.dumps(pending.text.decode())) + 500
        operations = number + 1 + len(days) + filled(size, size + number + 1) + 2  # head, checkpoint
        if operations > MAX_BATCH_OPERATIONS or (space < 0 and number):
            return list(fresh[:number]), list(fresh[number:])
    return list(fresh), []


def filled(size: int, new_size: int) -> int:
    """How many tiles are full after growing that were not before."""
    count = 0
    while new_size:
        size, new_size = size // WIDTH, new_size // WIDTH
        count += new_size - size
    return count


def parted(head: Head, changed: dict[Tile, bytes]) -> tuple[dict[int, bytes], dict[Tile, bytes]]:
    """Of the tiles that growing changed: the new partial ones at the edge, by level, and the full ones."""
    partials = dict(head.edge)
    full = {}
    for tile, content in sorted(changed.items()):
        partials.pop(tile.level, None)
        if tile.width == WIDTH:
            full[tile] = content
        else:
            partials[tile.level] = content
    return partials, full
