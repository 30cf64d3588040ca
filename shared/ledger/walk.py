"""A walk over the entries of a shard: what stands on them is computed again, and every event is compared with its own.

Page by page, a page being what is left of a tile of 256: the entries give the leaves; the tile holds them too. Where
the two differ, what stands above (the next tile, or the head) says which of them is as it was sealed. From the leaves
follow the tiles above, the roots that were signed, and at the end the head. A walk needs what a sealer needs of the
tree: its right edge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.audit.entries import EntryError, entry_of
from shared.ledger.checkpoint import CheckpointError, open_checkpoint
from shared.ledger.findings import Findings
from shared.ledger.keys import LedgerKeys
from shared.ledger.marks import Mark
from shared.ledger.merkle import HASH_BYTES, KEPT_LEVELS, Frontier, leaf_hash
from shared.ledger.note import NoteError
from shared.ledger.rollups import DayRollup, day_of
from shared.ledger.shards import CHECKPOINT, ENTRY, BrokenShard, Entry, Head, Shards, checkpoint_id, tile_id
from shared.ledger.tiles import WIDTH, Tile, tile_at
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import MAX_PAGE, AnyOf, DocumentStore, In, Item, Query, Range

_UNKNOWN = bytes(HASH_BYTES)
_NO_EVENTS: Mapping[str, bytes] = {}


@dataclass(slots=True)
class Walk:
    """How far a walk is: the edge of the tree before it, and the counts of the days that it has seen.

    `is_sound`: the edge follows from what was sealed. `is_whole`: no entry was missing or changed, so that counting
    them again says something. `days`: None where nothing is counted.
    """

    frontier: Frontier = field(default_factory=Frontier)
    is_sound: bool = True
    is_whole: bool = True
    days: dict[str, DayRollup] | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """The shard that is walked, as its head was at the start. `mark`: of what was last signed, kept elsewhere."""

    tenant_id: str
    head: Head
    mark: Mark | None = None

    @property
    def partition(self) -> tuple[str, str]:
        """Where it is stored, and where its events are."""
        return self.tenant_id, self.head.period


@dataclass(frozen=True, slots=True)
class _Page:
    """What is stored of the entries `start` … `end` - 1: they themselves, their leaves, and the tiles above; the
    signed checkpoints of the trees that end here: size and note; and the ids of what is there as an entry."""

    start: int
    end: int
    entries: Mapping[int, Entry]
    leaves: list[bytes] | None
    above: Mapping[Tile, bytes | None]
    notes: Sequence[tuple[Any, Any]]
    ids: frozenset[str]

    @property
    def own(self) -> list[bytes | None]:
        """The leaves that the entries give; None where there is no entry."""
        found = (self.entries.get(index) for index in range(self.start, self.end))
        return [None if entry is None else leaf_hash(entry.text) for entry in found]

    def differing(self, kept: Sequence[Sequence[bytes]]) -> list[Tile]:
        """The tiles above that do not hold what was computed, or are not there."""
        wrong = []
        for tile, content in self.above.items():
            at = ((self.end >> KEPT_LEVELS * tile.level) - 1) % WIDTH * HASH_BYTES
            if content is None or [content[at : at + HASH_BYTES]] != kept[tile.level]:
                wrong.append(tile)
        return wrong


class Walker:
    """Takes walks further."""

    def __init__(self, store: DocumentStore, keys: LedgerKeys) -> None:
        self._store = store
        self._shards = Shards(store)
        self._keys = keys

    async def page(
        self, log: Log, walk: Walk, findings: Findings, events: Mapping[str, bytes] = _NO_EVENTS
    ) -> frozenset[str]:
        """Check the next entries, at most WIDTH, of which there have to be some; the ids of those that are there.

        `events`: leaves of events that this run has read already; the others are read here. StoreError.
        """
        page = await self._page(log, walk.frontier.size)
        leaves = await self._settle(log, walk, page, findings)
        await self._compare(log, page, leaves, findings, events)
        if walk.days is not None and walk.is_whole:
            walk.is_whole = _counted(walk.days, page)
        await self._grow(log, walk, page, leaves, findings)
        return page.ids

    async def _page(self, log: Log, start: int) -> _Page:
        size = log.head.size
        end = min((start // WIDTH + 1) * WIDTH, size)
        signed = Range("id", gt=checkpoint_id(start), le=checkpoint_id(end))
        query = Query((AnyOf((Range("index", ge=start, lt=end), signed)),), limit=MAX_PAGE)
        entries: dict[int, Entry] = {}
        doubled, notes, ids = set(), [], set()
        for item in (await self._store.query(LEDGER, log.partition, query)).items:
            if item["id"].startswith(f"{CHECKPOINT}|"):
                notes.append((item.get("size"), item.get("note")))
                continue
            try:
                entry = Entry.of(item)
            except BrokenShard:
                continue  # as good as missing
            if item.get("kind") == ENTRY:
                ids.add(entry.event_id)
            if entry.index in entries:
                doubled.add(entry.index)
            entries[entry.index] = entry
        found = {index: entry for index, entry in entries.items() if index not in doubled}
        lowest = tile_at(0, start // WIDTH, size)
        completed = [level for level in range(1, 8) if end % (1 << KEPT_LEVELS * level) == 0]
        above = [tile_at(level, ((end >> KEPT_LEVELS * level) - 1) // WIDTH, size) for level in completed]
        tiles = await self._tiles(log, [lowest, *above])
        content = tiles.pop(lowest)
        leaves = None
        if content is not None:
            places = range(start % WIDTH, start % WIDTH + end - start)
            leaves = [content[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in places]
        return _Page(start, end, found, leaves, tiles, notes, frozenset(ids))

    async def _tiles(self, log: Log, wanted: Sequence[Tile]) -> dict[Tile, bytes | None]:
        """The contents of tiles; None for one that is missing or too short."""
        try:
            return dict(await self._shards.tiles(log.tenant_id, log.head, wanted))
        except BrokenShard:
            if len(wanted) == 1:
                return {wanted[0]: None}
        return {tile: content for each in wanted for tile, content in (await self._tiles(log, [each])).items()}

    async def _settle(self, log: Log, walk: Walk, page: _Page, findings: Findings) -> list[bytes]:
        """The leaves as they were sealed, as far as what is stored tells; what differs from them is a finding."""
        own, period = page.own, log.head.period
        if own == page.leaves:
            return page.leaves
        whole = [each for each in own if each is not None]
        is_tile = page.leaves is None or (len(whole) == len(own) and _leads_up(walk, log.head, page, whole))
        if is_tile:
            differing = _differing(page.start, page.leaves or [], [each or _UNKNOWN for each in own])
            await findings.add(period, "tile", tile_id(0, page.start // WIDTH), found=differing)
        leaves = [each or _UNKNOWN for each in own] if is_tile else page.leaves or []
        for index, found, settled in zip(range(page.start, page.end), own, leaves, strict=True):
            if found != settled:
                await findings.add(period, "entries", f"entry|{index}", index, found=found or b"")
                walk.is_whole = False
        walk.is_sound &= _UNKNOWN not in leaves
        return leaves

    async def _compare(
        self, log: Log, page: _Page, leaves: Sequence[bytes], findings: Findings, events: Mapping[str, bytes]
    ) -> None:
        """Every event is what was sealed. An event is stored before it is sealed, so it is there already."""
        ids = tuple(entry.event_id for entry in page.entries.values() if entry.event_id not in events)
        query = Query((In("id", ids),), limit=WIDTH)
        found = (await self._store.query(AUDIT_EVENTS, log.partition, query)).items if ids else ()
        own = {item["id"]: leaf_of(item) for item in found}
        for index, entry in page.entries.items():
            leaf = own.get(entry.event_id, events.get(entry.event_id))
            if leaf is None:
                await findings.add(log.head.period, "deleted", entry.event_id, index)
            elif leaf != leaves[index - page.start]:
                await findings.add(log.head.period, "edited", entry.event_id, index, found=leaf)

    async def _grow(self, log: Log, walk: Walk, page: _Page, leaves: Sequence[bytes], findings: Findings) -> None:
        """Append the leaves, and hold what follows from them against what is stored."""
        signed = await self._signed(log, page, findings)
        kept: list[list[bytes]] = []
        for size in sorted({*signed, page.end}):
            at = walk.frontier.size
            for level, hashes in enumerate(walk.frontier.extend(leaves[at - page.start : size - page.start])):
                kept += [[]] if level == len(kept) else []
                kept[level] += hashes
            others = signed.get(size, set()) - {walk.frontier.root()}
            if walk.is_sound and others:
                await findings.add(log.head.period, "checkpoint", "root", size, found=b"".join(sorted(others)))
        if walk.is_sound:
            for tile in page.differing(kept):
                content = page.above[tile] or b""
                await findings.add(log.head.period, "tile", tile_id(*tile.place), found=content)
            if page.end == log.head.size and walk.frontier.nodes != log.head.nodes:
                await findings.add(log.head.period, "head", "nodes", found=b"".join(log.head.nodes))

    async def _signed(self, log: Log, page: _Page, findings: Findings) -> dict[int, set[bytes]]:
        """The roots that were signed of the trees that end within a page, by size."""
        notes = [*page.notes]
        if page.start < log.head.signed_size <= page.end:
            notes.append((log.head.signed_size, log.head.note))
        origin = self._keys.shard(*log.partition)
        found: dict[int, set[bytes]] = {}
        if log.mark is not None and page.start < log.mark.size <= page.end:
            found[log.mark.size] = {log.mark.root}
        try:
            verifiers = await self._keys.verifiers(origin) if notes else []  # later than the notes: a key may be new
        except BrokenShard as error:
            await findings.broken(log.head.period, error)
            return found
        for size, note in notes:
            try:
                checkpoint, _ = open_checkpoint(str(note).encode(), origin, verifiers)
            except (NoteError, CheckpointError):
                await findings.add(log.head.period, "checkpoint", f"note|{size}", found=str(note))
                continue
            if checkpoint.size != size or not page.start < checkpoint.size <= page.end:
                await findings.add(log.head.period, "checkpoint", f"note|{size}", found=str(note))
            else:
                found.setdefault(checkpoint.size, set()).add(checkpoint.root)
        return found


def _differing(start: int, stored: Sequence[bytes], expected: Sequence[bytes]) -> str:
    """Which hashes of a page are not as they should be, and what they are."""
    pairs = enumerate(zip(stored, expected, strict=False), start)
    return " ".join(f"{index}:{found.hex()}" for index, (found, wanted) in pairs if found != wanted)


def _leads_up(walk: Walk, head: Head, page: _Page, leaves: Sequence[bytes]) -> bool:
    """Whether what is stored above a page follows from these leaves."""
    frontier = Frontier(walk.frontier.size, walk.frontier.nodes)
    kept = frontier.extend(leaves)
    return not page.differing(kept) if page.above else page.end == head.size and frontier.nodes == head.nodes


def leaf_of(event: Item) -> bytes:
    """The leaf that an event gives now; no hash at all where it cannot have one."""
    try:
        return leaf_hash(entry_of(event))
    except EntryError:
        return b""


def _counted(days: dict[str, DayRollup], page: _Page) -> bool:
    """Count the entries of a page; False for one that cannot be counted."""
    try:
        for index, entry in sorted(page.entries.items()):
            event = json.loads(entry.text)
            day = day_of(event)
            days.setdefault(day, DayRollup(day)).add(event, index)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return True
