"""Rollups counted again from entries: what differs, and how it is put right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from shared.ledger.rollups import DayRollup, day_of
from shared.ledger.shards import ROLLUP, BrokenShard, Shards, rollup_id
from shared.storage.containers import LEDGER
from shared.storage.documents import BatchOperation, DocumentStore, Item, Prefix, Query, delete, replace, upsert
from shared.storage.errors import PreconditionFailed, Unavailable

MOST_DAYS = 1000
_RACES = 5


def rollup_item(tenant_id: str, period: str, rollup: DayRollup) -> Item:
    """The counts of a day as they are stored."""
    own = {"id": rollup_id(rollup.day), "tenant_id": tenant_id, "period": period, "kind": ROLLUP}
    return own | rollup.to_item()


async def stored_rollups(store: DocumentStore, tenant_id: str, period: str) -> list[Item]:
    """All that is stored as counts of a shard. StoreError."""
    query = Query((Prefix("id", rollup_id("")),), limit=MOST_DAYS)
    return (await store.query(LEDGER, (tenant_id, period), query)).items


def differing(counted: Mapping[str, DayRollup], stored: Iterable[Item], size: int, now: int) -> list[tuple[str, str]]:
    """The days whose stored counts are not those of the first `size` entries, and by what they differ.

    A day that went on meanwhile says nothing yet: one whose last entry is beyond those, and among the `now` that there
    are by now.
    """
    held = {str(item["id"]): item for item in stored}
    wrong = []
    for day, rollup in counted.items():
        item = held.pop(rollup_id(day), {})
        if not _went_on(item, size, now) and _differs(rollup, item):
            wrong.append((day, _difference(rollup, item)))
    for item_id, item in held.items():
        if not _went_on(item, size, now):
            wrong.append((item_id.partition("|")[2], "no such day"))
    return sorted(wrong)


def _difference(rollup: DayRollup, item: Mapping[str, Any]) -> str:
    """By what counts are more or less than they should be; it stays the same while the day goes on."""
    try:
        held = DayRollup.from_item(item)
    except ValueError:
        return "not formed" if item else "gone"
    rows = sorted(rollup.counts.keys() | held.counts.keys(), key=str)
    more = {str(row): held.counts.get(row, 0) - rollup.counts.get(row, 0) for row in rows}
    hours = {}
    for kind in sorted(rollup.hours.keys() | held.hours.keys()):
        pairs = zip(held.hours.get(kind, [0] * 24), rollup.hours.get(kind, [0] * 24), strict=True)
        hours[kind] = [stored - own for stored, own in pairs]
    return json.dumps([{row: n for row, n in more.items() if n}, {kind: n for kind, n in hours.items() if any(n)}])


def _differs(rollup: DayRollup, item: Mapping[str, Any]) -> bool:
    expected = rollup.to_item()
    return {name: item.get(name) for name in expected} != expected


def _went_on(item: Mapping[str, Any], size: int, now: int) -> bool:
    last = item.get("last")
    return isinstance(last, int) and size <= last < now


class Recount:
    """Counts shards again, whole."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        self._shards = Shards(store)

    async def shard(self, tenant_id: str, period: str, *, write: bool = False) -> list[str]:
        """The days of a shard whose stored counts are not those of its entries; with `write` they are put right.

        BrokenShard when an entry is missing or cannot be counted. StoreError.
        """
        for _ in range(_RACES):
            head = await self._shards.head(tenant_id, period)
            counted = await self._count(tenant_id, period, head.size)
            stored = await stored_rollups(self._store, tenant_id, period)
            if (await self._shards.head(tenant_id, period)).size != head.size:
                continue
            wrong = [day for day, _ in differing(counted, stored, head.size, head.size)]
            if not wrong or not write:
                return wrong
            operations: list[BatchOperation] = [
                upsert(rollup_item(tenant_id, period, counted[day])) if day in counted else delete(rollup_id(day))
                for day in wrong
            ]
            # The head is written as it is: a sealer that has read the old counts begins again.
            operations.append(replace(head.item(tenant_id), head.etag))
            try:
                await self._store.batch(LEDGER, (tenant_id, period), operations)
            except PreconditionFailed:
                continue
            return wrong
        raise Unavailable("the shard grows all the time")

    async def _count(self, tenant_id: str, period: str, size: int) -> dict[str, DayRollup]:
        days: dict[str, DayRollup] = {}
        async for page in self._shards.entries(tenant_id, period, 0, size):
            for entry in page:
                try:
                    event = json.loads(entry.text)
                    day = day_of(event)
                    days.setdefault(day, DayRollup(day)).add(event, entry.index)
                except (ValueError, KeyError, TypeError, RecursionError):
                    raise BrokenShard("entries", f"entry {entry.index} cannot be counted") from None
        return days
