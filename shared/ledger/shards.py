"""Shards as they are stored: one partition of the container `ledger` for each tenant and month. Its items, by id:

    head|<period>      how far the tree has grown: size, right edge, and the last signed checkpoint
    <event id>         an entry: its index and its text, RFC 8785 canonical JSON
    tile|<level>|<n>   a full tile of 256 hashes; those at the right edge, not full yet, are in the head
    rollup|<day>       the counts of a day
    checkpoint|<size>  a signed checkpoint, with the cosignatures of witnesses

Everything expires with the period's events but the head, which keeps the last checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.core.clock import parse_rfc3339, period_end
from shared.ledger._text import decode_base64, encode_base64
from shared.ledger.merkle import HASH_BYTES, KEPT_LEVELS, Frontier, ProofError, Reader, nodes_of
from shared.ledger.rollups import DayRollup
from shared.ledger.tiles import WIDTH, Tile, TileError, hash_reader, tiles_of, width_of
from shared.storage.containers import LEDGER, PERIOD
from shared.storage.documents import (
    AnyOf,
    Cursor,
    DocumentStore,
    In,
    Item,
    Page,
    Partition,
    Prefix,
    Query,
    Range,
    find_item,
    pages,
)
from shared.storage.errors import NotFound

HEAD = "head"
ENTRY = "entry"
TILE = "tile"
ROLLUP = "rollup"
CHECKPOINT = "checkpoint"
FOREVER = -1
_SIZE_DIGITS = 19
_MOST_ENTRIES = 1 << 53
"""What a store keeps exactly of a number."""
_MOST_LEVELS = 8
_LONGEST_NOTE = 65_536
"""Three lines and a signature for each key; there is room for hundreds."""


type Part = Literal["entries", "tile", "head", "checkpoint", "rollup"]
"""Of what a shard consists."""


class BrokenShard(ValueError):
    """What is stored of a shard cannot be what a sealer left. `what`: which part; `found`: what is there instead."""

    def __init__(self, what: Part, message: str, found: str | None = None) -> None:
        super().__init__(message)
        self.what = what
        self.found = found


class SetBack(BrokenShard):
    """A head says less than was signed: nothing can be put behind it without writing over what was sealed."""

    def __init__(self) -> None:
        super().__init__("head", "a checkpoint of a larger tree was signed")


@dataclass(frozen=True, slots=True)
class Head:
    """How far a shard has grown. `edge`: the partial tiles at the right edge, by level.

    `signed_size`, `signed_at` (RFC 3339), `note`: of the last signed checkpoint. `witnessed_size`: of the largest that
    the witness cosigned (0: none). `etag`: None for a shard to be.
    """

    period: str
    size: int = 0
    nodes: tuple[bytes, ...] = ()
    edge: Mapping[int, bytes] = field(default_factory=dict)
    signed_size: int = -1
    signed_at: str | None = None
    note: str | None = None
    witnessed_size: int = 0
    etag: str | None = None

    def frontier(self) -> Frontier:
        """The tree's right edge, to grow from. BrokenShard when the head is not as we write it."""
        for level in range(_MOST_LEVELS):
            width = width_of(level, self.size >> KEPT_LEVELS * (level + 1), self.size)
            if len(self.edge.get(level, b"")) != width * HASH_BYTES:
                raise BrokenShard("head", "a partial tile is not as wide as the size says")
        try:
            return Frontier(self.size, self.nodes)
        except ProofError as error:
            raise BrokenShard("head", str(error)) from None

    def partial(self, level: int) -> tuple[tuple[int, int], bytes]:
        """Place and content of the partial tile of a level."""
        return (level, self.size >> KEPT_LEVELS * (level + 1)), self.edge.get(level, b"")

    def item(self, tenant_id: str) -> Item:
        """What is stored."""
        return {
            "id": head_id(self.period),
            "tenant_id": tenant_id,
            "period": self.period,
            "kind": HEAD,
            "size": self.size,
            "nodes": [encode_base64(each) for each in self.nodes],
            "edge": {str(level): encode_base64(content) for level, content in sorted(self.edge.items())},
            "signed_size": self.signed_size,
            "signed_at": self.signed_at,
            "note": self.note,
            "witnessed_size": self.witnessed_size,
            "ttl": FOREVER,
        }

    @classmethod
    def of(cls, item: Item) -> Head:
        """The inverse of `item`. BrokenShard when it is not as we write it."""
        try:
            return cls(
                period=_month(item["period"]),
                size=_number(item["size"]),
                nodes=tuple(decode_base64(each) for each in item["nodes"]),
                edge={_level(level): decode_base64(content) for level, content in item["edge"].items()},
                signed_size=_number(item["signed_size"], least=-1),
                signed_at=_text_or_none(item["signed_at"], parse_rfc3339),
                note=_text_or_none(item["note"], str.encode),
                witnessed_size=_number(item.get("witnessed_size", 0)),
                etag=item["_etag"],
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            own = {name: value for name, value in item.items() if not name.startswith("_")}
            found = json.dumps(own, sort_keys=True, default=str)
            raise BrokenShard("head", "the head is not as a sealer writes it", found) from None


@dataclass(frozen=True, slots=True)
class Entry:
    """A sealed event: where it is, and the bytes that its leaf hashes."""

    event_id: str
    index: int
    text: bytes

    def item(self, tenant_id: str, period: str) -> Item:
        """What is stored."""
        own = {"kind": ENTRY, "index": self.index, "entry": self.text.decode()}
        return {"id": self.event_id, "tenant_id": tenant_id, "period": period, **own}

    @classmethod
    def of(cls, item: Item) -> Entry:
        """The inverse of `item`. BrokenShard when it is not as we write it."""
        try:
            return cls(str(item["id"]), _number(item["index"]), item["entry"].encode())
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BrokenShard("entries", "an entry is not as a sealer writes it") from None


def _number(value: Any, *, least: int = 0) -> int:
    if type(value) is not int or not least <= value < _MOST_ENTRIES:
        raise TypeError("not a number of entries")
    return value


def _level(text: str) -> int:
    level = int(text)
    if str(level) != text or not 0 <= level < _MOST_LEVELS:
        raise ValueError("no level of a tile")
    return level


def _month(text: Any) -> str:
    if type(text) is not str or not is_period(text):
        raise ValueError("not a month")
    return text


def _text_or_none(value: Any, read: Callable[[str], object]) -> str | None:
    """Text that can be read as it has to be, or nothing."""
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_NOTE:
        raise TypeError("not text")
    read(value)
    return value


def is_period(text: str) -> bool:
    """Whether it is a month, YYYY-MM, of those that have an end (`period_end`)."""
    try:
        return period_end(text) > 0
    except ValueError:
        return False


def head_id(period: str) -> str:
    """The id of a shard's head; it differs from month to month, so that one query can walk a tenant's heads."""
    return f"{HEAD}|{period}"


def tile_id(level: int, index: int) -> str:
    """The id of a full tile."""
    return f"{TILE}|{level}|{index}"


def rollup_id(day: str) -> str:
    """The id of the counts of a day (YYYY-MM-DD)."""
    return f"{ROLLUP}|{day}"


def checkpoint_id(size: int) -> str:
    """The id of the checkpoint of a size; ids sort as sizes do."""
    return f"{CHECKPOINT}|{size:0{_SIZE_DIGITS}}"


def later_checkpoints(size: int) -> Range:
    """What finds the signed checkpoints of more than `size` entries, in order of size."""
    return Range("id", gt=checkpoint_id(size), le=checkpoint_id(10**_SIZE_DIGITS - 1))


def tile_item(tenant_id: str, period: str, tile: Tile, content: bytes) -> Item:
    """A full tile as it is stored."""
    own = {"kind": TILE, "hashes": encode_base64(content)}
    return {"id": tile_id(tile.level, tile.index), "tenant_id": tenant_id, "period": period, **own}


class Shards:
    """Reads what is stored of the shards of any tenant. Nothing is written here."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    async def head(self, tenant_id: str, period: str) -> Head:
        """The head of a shard; an empty one where nothing was sealed. BrokenShard."""
        try:
            return Head.of(await self._store.read(LEDGER, (tenant_id, period), head_id(period)))
        except NotFound:
            return Head(period)

    async def heads(self, tenant_id: str) -> list[Head]:
        """The heads of all of a tenant's shards, oldest first. BrokenShard when one of them is."""
        heads, broken = await self.each_head(tenant_id)
        for error in broken.values():
            raise error
        return heads

    async def each_head(self, tenant_id: str) -> tuple[list[Head], dict[str, BrokenShard]]:
        """The heads of a tenant that can be gone on from, oldest first; of the others, by month, what is wrong.

        What somebody put where no month is does not count.
        """
        heads, broken, _ = await self.heads_and(tenant_id, HEAD)
        return heads, broken

    async def heads_and(self, tenant_id: str, kind: str) -> tuple[list[Head], dict[str, BrokenShard], list[Item]]:
        """The same, and beside the heads the items of another kind of which there is one for each month."""
        heads, broken, others = [], {}, []
        query = Query((AnyOf((Prefix("id", f"{HEAD}|"), Prefix("id", f"{kind}|"))),), limit=1000)
        async for page in pages(self._store, LEDGER, (tenant_id,), query):
            for item in page:
                period = item.get("period")
                if not isinstance(period, str) or not is_period(period):
                    continue
                if item["id"] == f"{kind}|{period}" and kind != HEAD:
                    others.append(item)
                if item["id"] != head_id(period):
                    continue
                try:
                    head = Head.of(item)
                    head.frontier()
                    heads.append(head)
                except BrokenShard as error:
                    broken[period] = error
        return heads, broken, others

    async def page(self, tenant_id: str, limit: int, after: Cursor | None) -> Page:
        """A page of a tenant's heads as they are stored, the newest month first."""
        query = Query((Prefix("id", f"{HEAD}|"),), descending=True, limit=limit, after=after)
        return await self._store.query(LEDGER, (tenant_id,), query)

    async def reader(
        self, tenant_id: str, head: Head, ranges: Iterable[tuple[int, int]], size: int | None = None
    ) -> Reader:
        """A reader of the nodes that these ranges of a tree of `size` leaves (the head's) are hashed from.

        BrokenShard when a tile is missing.
        """
        size = head.size if size is None else size
        tiles = await self.tiles(tenant_id, head, tiles_of(nodes_of(ranges), size))
        read = hash_reader({tile.place: content for tile, content in tiles.items()})

        def node(place: tuple[int, int]) -> bytes:
            try:
                return read(place)
            except TileError as error:
                raise BrokenShard("tile", str(error)) from None

        return node

    async def tiles(self, tenant_id: str, head: Head, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        """The contents of tiles, each cut to its width. One that a later size filled serves as well. BrokenShard."""
        found: dict[Tile, bytes] = {}
        stored: list[Tile] = []
        for tile in wanted:
            place, content = head.partial(tile.level)
            if place == tile.place:
                found[tile] = content
            else:
                stored.append(tile)
        for start in range(0, len(stored), 100):
            chunk = stored[start : start + 100]
            items = await self._by_ids((tenant_id, head.period), [tile_id(*tile.place) for tile in chunk])
            for tile in chunk:
                found[tile] = _hashes(items.get(tile_id(*tile.place)))
        for tile, content in found.items():
            if len(content) < tile.width * HASH_BYTES:
                raise BrokenShard("tile", f"{tile.path} is missing or too short")
        return {tile: content[: tile.width * HASH_BYTES] for tile, content in found.items()}

    async def entry(self, tenant_id: str, period: str, event_id: str) -> Entry | None:
        """The entry of an event, or None when it is not sealed. BrokenShard."""
        try:
            item = await self._store.read(LEDGER, (tenant_id, period), event_id)
        except NotFound:
            return None
        return Entry.of(item) if item.get("kind") == ENTRY else None

    async def entries_of(self, tenant_id: str, period: str, event_ids: Sequence[str]) -> list[Entry]:
        """The entries of those of some events (1,000 at most) that are sealed. BrokenShard."""
        items = await self._by_ids((tenant_id, period), event_ids)
        return [Entry.of(item) for item in items.values() if item.get("kind") == ENTRY]

    async def entries(self, tenant_id: str, period: str, start: int, end: int) -> AsyncIterator[list[Entry]]:
        """The entries from index `start` up to `end`, excluded, in pages. BrokenShard when one is missing."""
        expected = start
        query = Query((Range("index", ge=start, lt=end),), order_by="index", limit=WIDTH)
        async for page in pages(self._store, LEDGER, (tenant_id, period), query):
            found = [Entry.of(item) for item in page]
            for entry in found:
                if entry.index != expected:
                    raise BrokenShard("entries", f"entry {min(expected, entry.index)} is missing or there twice")
                expected += 1
            yield found
        if expected < end:
            raise BrokenShard("entries", f"entry {expected} is missing")

    async def sizes(self, tenant_id: str) -> dict[str, int]:
        """How many entries each of a tenant's months has, oldest first. A head that says no number is left out."""
        query = Query((Prefix("id", f"{HEAD}|"),), limit=1000, fields=("id", PERIOD, "size"))
        found = [item async for page in pages(self._store, LEDGER, (tenant_id,), query) for item in page]
        heads = [each for each in found if is_period(each[PERIOD]) and each["id"] == head_id(each[PERIOD])]
        return {each[PERIOD]: each["size"] for each in heads if type(each.get("size")) is int}

    async def rollups(self, tenant_id: str, period: str, days: Sequence[str]) -> dict[str, Item]:
        """The stored counts of days, by day; none for a day without events. BrokenShard when some are not as a sealer
        writes them."""
        items = await self._by_ids((tenant_id, period), [rollup_id(day) for day in days])
        found = {item_id.partition("|")[2]: item for item_id, item in items.items()}
        for day, item in found.items():
            try:
                counted = DayRollup.from_item(item, day)
            except ValueError as error:
                raise BrokenShard("rollup", str(error)) from None
            if not item.get("events") == counted.events > 0:
                raise BrokenShard("rollup", "the counts of a day do not add up")
        return found

    async def checkpoint(self, tenant_id: str, period: str, size: int) -> Item | None:
        """The signed checkpoint of a size, if one was made."""
        return await find_item(self._store, LEDGER, (tenant_id, period), checkpoint_id(size))

    async def _by_ids(self, partition: Partition, ids: Sequence[str]) -> dict[str, Item]:
        page = await self._store.query(LEDGER, partition, Query((In("id", tuple(ids)),), limit=1000))
        return {item["id"]: item for item in page.items}


def _hashes(item: Item | None) -> bytes:
    if item is None:
        return b""
    try:
        return decode_base64(item["hashes"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BrokenShard("tile", "a tile is not as a sealer writes it") from None
