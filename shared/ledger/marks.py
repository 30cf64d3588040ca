"""What was last signed of a tenant's shards, kept where the shards are not: whoever takes a month's ledger away, signed
checkpoints and all, and has another one begun, has not changed this yet.

One item of the container `directory` for each tenant, with size and root by month. It is written after a checkpoint
was, and never set back. After a crash in between it is behind, which is no fault: it is brought up later.

With it is kept, about once a day, how far the check of each month was (`covered`): so the place of a check that is
taken away is missed, and what was sealed by then is known without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.ledger._text import decode_base64, encode_base64
from shared.ledger.merkle import HASH_BYTES
from shared.ledger.shards import BrokenShard, is_period
from shared.storage.containers import DIRECTORY
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Unavailable

_RACES = 10
_COVER_SECONDS = 86_400
"""What was covered is kept anew when it is so much later."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Size and root of what was last signed of a shard."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Marked:
    """The marks of a tenant, by month. `etag`: None where nothing was kept yet.

    `covered`: of months of which there was a check, the time (Unix) before which all that was stored was sealed; 0: not
    known.
    """

    months: Mapping[str, Mark]
    etag: str | None = None
    covered: Mapping[str, int] = field(default_factory=dict)

    def late(self, covered: Mapping[str, int]) -> bool:
        """Whether it is time to keep what is covered now."""
        return any(now - self.covered.get(month, -_COVER_SECONDS) >= _COVER_SECONDS for month, now in covered.items())


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
        for _ in range(_RACES):
            held = marked.months.get(period)
            if held is not None and held.size >= mark.size:
                return
            if await self._write(tenant_id, replace(marked, months={**marked.months, period: mark})):
                return
            marked = await self.of(tenant_id)
        raise Unavailable("the record of what was signed is contended")

    async def cover(self, tenant_id: str, covered: Mapping[str, int], marked: Marked) -> None:
        """Keep up to when all is sealed, by month, if it is time to; never less than before. BrokenShard, StoreError.

        Where nothing was signed there is nothing to keep it with. Should others keep something all the time, the next
        run makes up for it.
        """
        for _ in range(_RACES):
            if marked.etag is None or not marked.late(covered):
                return
            later = {month: max(now, marked.covered.get(month, 0)) for month, now in covered.items()}
            if await self._write(tenant_id, replace(marked, covered={**marked.covered, **later})):
                return
            marked = await self.of(tenant_id)

    async def _write(self, tenant_id: str, marked: Marked) -> bool:
        """Write them over those that were read; False when somebody else did."""
        item_id = marks_id(tenant_id)
        item: Item = {
            "id": item_id,
            "tenant_id": tenant_id,
            "signed": {
                month: {"size": each.size, "root": encode_base64(each.root)}
                for month, each in sorted(marked.months.items())
            },
            "covered": dict(sorted(marked.covered.items())),
        }
        try:
            if marked.etag is None:
                await self._store.create(DIRECTORY, (item_id,), item)
            else:
                await self._store.replace(DIRECTORY, (item_id,), item, marked.etag)
        except (Conflict, NotFound, PreconditionFailed):
            return False
        return True


def _read(item: Item) -> Marked:
    try:
        covered = {period: _covered(period, each) for period, each in item.get("covered", {}).items()}
        return Marked({period: _mark(period, each) for period, each in item["signed"].items()}, item["_etag"], covered)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BrokenShard("checkpoint", "the record of what was signed is not as we write it") from None


def _covered(period: str, found: object) -> int:
    if not is_period(period) or type(found) is not int:
        raise ValueError("no time")
    return found


def _mark(period: str, item: Item) -> Mark:
    size, root = item["size"], decode_base64(item["root"])
    if not is_period(period) or type(size) is not int or size < 0 or len(root) != HASH_BYTES:
        raise ValueError("no mark")
    return Mark(size, root)
