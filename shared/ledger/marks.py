"""What was last signed of a tenant's shards, kept where the shards are not: whoever takes a month's ledger away, signed
checkpoints and all, and has another one begun, has not changed this yet.

One item of the container `directory` for each tenant, with size and root by month. It is written after a checkpoint
was, and never set back. After a crash in between it is behind, which is no fault: it is brought up later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.ledger._text import decode_base64, encode_base64
from shared.ledger.merkle import HASH_BYTES
from shared.ledger.shards import BrokenShard, is_period
from shared.storage.containers import DIRECTORY
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Unavailable

_RACES = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """Size and root of what was last signed of a shard."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Marked:
    """The marks of a tenant, by month. `etag`: None where nothing was kept yet."""

    months: Mapping[str, Mark]
    etag: str | None = None


def marks_id(tenant_id: str) -> str:
    """The id of a tenant's item."""
    return f"ledger_signed|{tenant_id}"


class Marks:
    """Reads and raises marks."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    async def of(self, tenant_id: str) -> Marked:
        """The marks of a tenant. BrokenShard when they are not as we write them. StoreError."""
        item_id = marks_id(tenant_id)
        try:
            return _read(await self._store.read(DIRECTORY, (item_id,), item_id))
        except NotFound:
            return Marked({})

    async def keep(self, tenant_id: str, period: str, mark: Mark, marked: Marked) -> None:
        """Keep what was just signed, unless a larger one is. `marked`: as they were read. BrokenShard, StoreError."""
        item_id = marks_id(tenant_id)
        for _ in range(_RACES):
            held = marked.months.get(period)
            if held is not None and held.size >= mark.size:
                return
            months = {**marked.months, period: mark}
            item: Item = {
                "id": item_id,
                "tenant_id": tenant_id,
                "signed": {
                    month: {"size": each.size, "root": encode_base64(each.root)}
                    for month, each in sorted(months.items())
                },
            }
            try:
                if marked.etag is None:
                    await self._store.create(DIRECTORY, (item_id,), item)
                else:
                    await self._store.replace(DIRECTORY, (item_id,), item, marked.etag)
            except (Conflict, NotFound, PreconditionFailed):
                marked = await self.of(tenant_id)
            else:
                return
        raise Unavailable("the record of what was signed is contended")


def _read(item: Item) -> Marked:
    try:
        return Marked({period: _mark(period, each) for period, each in item["signed"].items()}, item["_etag"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BrokenShard("checkpoint", "the record of what was signed is not as we write it") from None


def _mark(period: str, item: Item) -> Mark:
    size, root = item["size"], decode_base64(item["root"])
    if not is_period(period) or type(size) is not int or size < 0 or len(root) != HASH_BYTES:
        raise ValueError("no mark")
    return Mark(size, root)
