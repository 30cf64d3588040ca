"""A month's ledger written as it stands when everything is sealed, for sizes at which sealing would take too long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any

from bench._trail import Company
from shared.audit.entries import entry_of
from shared.compliance.facts.fold import DayFold
from shared.ledger.merkle import Frontier, leaf_hashes
from shared.ledger.progress import Lap, Progress
from shared.ledger.rollups import DayRollup
from shared.ledger.shards import ROLLUP, Entry, Head, rollup_id, tile_item
from shared.ledger.tiles import WIDTH, grown
from shared.ledger.walk import Walk
from shared.storage.containers import LEDGER
from shared.storage.documents import MAX_BATCH_OPERATIONS, BatchOperation, DocumentStore, Item, create

PERIOD = "2026-03"
START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 31
CHUNK = 25_600


def month_of(company: Company, count: int) -> Iterator[Item]:
    """So many events of a company in one month, evenly over its days."""
    chance = random.Random(company.seed + count)  # noqa: S311 - reproducible on purpose
    return company.between(START, timedelta(days=DAYS) / count, count, chance)


@dataclass
class Month:
    """What is sealed of a month while it is written."""

    tenant_id: str
    frontier: Frontier = field(default_factory=Frontier)
    edge: dict[tuple[int, int], bytes] = field(default_factory=dict)
    rollups: dict[str, DayRollup] = field(default_factory=dict)
    folds: dict[str, DayFold] = field(default_factory=dict)

    def seal(self, events: tuple[Item, ...], *, stored: bool) -> Iterator[Item]:
        """The items that sealing these events writes; the entries only if they are `stored`, else they are folded."""
        start = self.frontier.size
        texts = [entry_of(event) for event in events]
        added = self.frontier.extend(leaf_hashes(texts))
        for tile, content in grown(start, self.edge, added).items():
            if tile.width == WIDTH:
                self.edge.pop(tile.place, None)
                yield tile_item(self.tenant_id, PERIOD, tile, content)
            else:
                self.edge[tile.place] = content
        for index, (event, text) in enumerate(zip(events, texts, strict=True), start):
            day = event["recorded_at"][:10]
            self.rollups.setdefault(day, DayRollup(day)).add(event, index)
            if stored:
                yield Entry(event["id"], index, text).item(self.tenant_id, PERIOD)
            else:
                self.folds.setdefault(day, DayFold(day)).add(index, text)

    def rest(self, looked_at: int) -> Iterator[Item]:
        """What stands on the entries: counts, the head, and the place of a check that has seen all."""
        for day, rollup in self.rollups.items():
            own = {"id": rollup_id(day), "tenant_id": self.tenant_id, "period": PERIOD, "kind": ROLLUP}
            yield own | rollup.to_item()
        edge = {level: content for (level, _), content in self.edge.items()}
        yield Head(PERIOD, self.frontier.size, self.frontier.nodes, edge).item(self.tenant_id)
        seen = Walk(Frontier(self.frontier.size, self.frontier.nodes))
        yield Progress(PERIOD, new=seen, lap=Lap(), looked_at=looked_at).item(self.tenant_id)


async def write(store: DocumentStore, items: Iterator[Item], tenant_id: str) -> None:
    """Write items of the month's ledger."""
    for chunk in batched(items, MAX_BATCH_OPERATIONS, strict=False):
        steps: list[BatchOperation] = [create(item) for item in chunk]
        await store.batch(LEDGER, (tenant_id, PERIOD), steps)
        await asyncio.sleep(0)


async def written(
    store: DocumentStore, company: Company, count: int, now: datetime, *, stored: bool
) -> AsyncIterator[dict[str, Any]]:
    """Write a month of so many events; then the facts of its days, where its entries are not stored."""
    month = Month(company.tenant_id)
    for chunk in batched(month_of(company, count), CHUNK, strict=False):
        await write(store, month.seal(chunk, stored=stored), company.tenant_id)
    await write(store, month.rest(int(now.timestamp())), company.tenant_id)
    for day in sorted(month.folds):
        yield month.folds.pop(day).document()
