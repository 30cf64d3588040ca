"""How much is sealed at once: never more than one batch of the store takes, and never nothing."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.audit.entries import MAX_ENTRY_BYTES
from shared.ledger.chunks import CHUNK_BYTES, CHUNK_EVENTS, RESERVED_BYTES, distinct, filled, fitting, parted
from shared.ledger.pending import Pending
from shared.ledger.shards import Head
from shared.ledger.tiles import WIDTH, Tile
from shared.storage.documents import MAX_BATCH_OPERATIONS
from tests.ledger.world import World


def some(world: World, count: int, days: int = 1) -> list[Pending]:
    """As many pending events, spread over days."""
    now = world.clock.now()
    return [Pending.of(world.event(now - timedelta(days=number % days))) for number in range(count)]


async def test_an_id_is_taken_once_and_the_rest_later(world: World) -> None:
    found = some(world, CHUNK_EVENTS + 2)
    twice = [found[0], found[1], found[0], *found[2:]]
    chunk, later = distinct(twice)
    assert chunk == found[:CHUNK_EVENTS]
    assert later == [found[0], *found[CHUNK_EVENTS:]]
    assert distinct([]) == ([], [])
    assert distinct(found[:CHUNK_EVENTS]) == (found[:CHUNK_EVENTS], [])


@pytest.mark.parametrize(
    ("size", "new_size", "count"),
    [
        (0, 0, 0),
        (0, WIDTH - 1, 0),
        (0, WIDTH, 1),
        (WIDTH - 1, WIDTH, 1),
        (WIDTH, WIDTH + 1, 0),
        (WIDTH, 3 * WIDTH, 2),
        (WIDTH**2 - 1, WIDTH**2, 2),  # one of entries' hashes, and the one above it
        (WIDTH**2, WIDTH**2 + WIDTH, 1),
        (WIDTH**3 - 1, WIDTH**3, 3),
    ],
)
def test_tiles_that_fill_up(size: int, new_size: int, count: int) -> None:
    assert filled(size, new_size) == count


async def test_events_tiles_and_days_fit_into_one_batch(world: World) -> None:
    """Head and checkpoint too: where one more tile fills up, or one more day begins, one event less has room."""
    fresh = some(world, 2 * MAX_BATCH_OPERATIONS)
    for size, filling in ((0, 0), (WIDTH - 50, 1), (WIDTH**2 - 50, 2)):
        now, later = fitting(fresh, size)
        assert len(now) + filling + 1 + 2 == MAX_BATCH_OPERATIONS
        assert now + later == fresh
    spread = some(world, 2 * MAX_BATCH_OPERATIONS, days=7)
    now, later = fitting(spread, 0)
    assert len(now) + 7 + 2 == MAX_BATCH_OPERATIONS
    assert now + later == spread
    assert fitting(fresh[:5], 0) == (fresh[:5], [])
    assert fitting([], 7) == ([], [])


async def test_large_events_are_sealed_in_smaller_chunks(world: World) -> None:
    """What JSON makes of their text counts, with what else stands in an item."""
    (one,) = some(world, 1)
    text = b'"' * 30_000  # two characters each
    large = [replace(one, text=text)] * 60
    now, later = fitting(large, 0)
    each = len(json.dumps(text.decode())) + 500
    assert len(now) == (CHUNK_BYTES - RESERVED_BYTES) // each
    assert 0 < len(now) < 60
    assert len(later) == 60 - len(now)


async def test_one_event_is_sealed_however_large_it_is(world: World) -> None:
    (one,) = some(world, 1)
    huge = replace(one, text=b"x" * 2_000_000)
    assert len(huge.text) > MAX_ENTRY_BYTES
    assert fitting([huge, huge], 0) == ([huge], [huge])


def test_full_tiles_leave_the_edge() -> None:
    head = Head("2026-03", edge={0: b"old", 1: b"kept", 2: b"grew"})
    changed = {Tile(0, 4): b"full", Tile(2, 0, 7): b"wider", Tile(0, 5, 3): b"new"}
    partials, full = parted(head, changed)
    assert partials == {0: b"new", 1: b"kept", 2: b"wider"}
    assert full == {Tile(0, 4): b"full"}
    assert parted(head, {Tile(0, 4): b"full"}) == ({1: b"kept", 2: b"grew"}, {Tile(0, 4): b"full"})
    assert head.edge == {0: b"old", 1: b"kept", 2: b"grew"}
