"""A store that counts its calls and reckons what each would cost in request units (RU) of Cosmos DB.

The reckoning is a model, not a measurement: rules of thumb that Microsoft publishes for items of 1 KB and 100 KB, a
line between them, and an assumption for index entries, which nobody publishes. It is there to compare endpoints with
each other and a version with the one before; a real account's figures are in the metric of request charges.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.storage._cosmos_definition import indexed_paths
from shared.storage._cosmos_query import composite_indexes
from shared.storage.containers import GUARDS, LEASES, Container
from shared.storage.documents import BatchOperation, Item, Page, Partition, Patch, Query
from shared.storage.errors import NotFound, StoreError
from shared.storage.sqlite import SqliteStore

READ_FIRST_KB, READ_NEXT_KB = 1.0, 0.09
STRONG = 2.0
"""Reads under strong consistency cost twice."""
WRITE_FIRST_KB, WRITE_NEXT_KB = 5.8, 0.45
REPLACE = 2.0
"""A replace or patch costs twice an insert, a delete as much as one."""
INDEX_ENTRY = 0.2
"""Per path and, assumed, per composite index that a written item has an entry in (docs/adr/0012)."""
QUERY_BASE, QUERY_PER_ITEM = 2.5, 0.1
MISS = 1.0


def read_ru(item: Item) -> float:
    """A point read."""
    return STRONG * (READ_FIRST_KB + READ_NEXT_KB * (kilobytes(item) - 1))


def write_ru(container: Container, item: Item) -> float:
    """An insert, its index entries included."""
    return WRITE_FIRST_KB + WRITE_NEXT_KB * (kilobytes(item) - 1) + INDEX_ENTRY * entries(container)


def entries(container: Container) -> int:
    """Index entries of an item: one per path and one per composite index."""
    return len(indexed_paths(container)) + len(composite_indexes(container))


def kilobytes(item: Item) -> float:
    """The item's size as JSON, at least one KB."""
    return max(1.0, len(json.dumps(item, ensure_ascii=False).encode()) / 1024)


@dataclass
class Meter:
    """What happened since the last `reset`: calls as `operation container`, in order, and their reckoned cost."""

    calls: list[str] = field(default_factory=list)
    ru: float = 0.0
    done: set[tuple[str, str]] = field(default_factory=set)
    """What was done to items, and in which container; of a batch each step."""

    def add(self, operation: str, container: Container, ru: float, steps: Sequence[BatchOperation] = ()) -> None:
        """Count one call; leases are the host's own and not counted."""
        if container is LEASES:
            return
        self.calls.append(f"{operation} {container.name}")
        kinds = {str(each.kind) for each in steps} or {operation}
        self.done |= {(kind, container.name) for kind in kinds}
        self.ru += ru

    def reset(self) -> None:
        """Start anew."""
        self.calls, self.ru, self.done = [], 0.0, set()


class MeteredStore(SqliteStore):
    """The embedded store with a meter. A read or patch that finds nothing costs what a miss costs."""

    meter: Meter

    async def create(self, container: Container, partition: Partition, item: Item) -> Item:
        """As the port says."""
        self.meter.add("create", container, write_ru(container, item))
        return await super().create(container, partition, item)

    async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
        """As the port says."""
        try:
            found = await super().read(container, partition, item_id)
        except NotFound:
            self.meter.add("read", container, MISS)
            raise
        self.meter.add("read", container, read_ru(found))
        return found

    async def replace(
        self, container: Container, partition: Partition, item: Item, if_match: str | None = None
    ) -> Item:
        """As the port says."""
        self.meter.add("replace", container, REPLACE * write_ru(container, item))
        return await super().replace(container, partition, item, if_match)

    async def upsert(self, container: Container, partition: Partition, item: Item) -> Item:
        """As the port says."""
        self.meter.add("upsert", container, REPLACE * write_ru(container, item))
        return await super().upsert(container, partition, item)

    async def delete(
        self, container: Container, partition: Partition, item_id: str, if_match: str | None = None
    ) -> None:
        """As the port says."""
        self.meter.add("delete", container, write_ru(container, {}))
        await super().delete(container, partition, item_id, if_match)

    async def patch(
        self,
        container: Container,
        partition: Partition,
        item_id: str,
        patches: Sequence[Patch],
        if_match: str | None = None,
    ) -> Item:
        """As the port says."""
        try:
            done = await super().patch(container, partition, item_id, patches, if_match)
        except StoreError:
            self.meter.add("patch", container, MISS)
            raise
        self.meter.add("patch", container, REPLACE * write_ru(container, done))
        return done

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        """As the port says."""
        ru = sum(_step_ru(container, each) for each in operations)
        self.meter.add(f"batch[{len(operations)}]", container, ru, operations)
        return await super().batch(container, partition, operations)

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        """As the port says."""
        page = await super().query(container, partition, query)
        self.meter.add("query", container, STRONG * (QUERY_BASE + QUERY_PER_ITEM * len(page.items)))
        return page

    async def ping(self) -> None:
        """As the port says; the adapter of Cosmos DB writes an item to know."""
        self.meter.add("upsert", GUARDS, REPLACE * write_ru(GUARDS, {}))
        await super().ping()


def _step_ru(container: Container, step: BatchOperation) -> float:
    once = write_ru(container, step.item or {})
    return {"create": once, "delete": once, "read": STRONG * READ_FIRST_KB}.get(step.kind, REPLACE * once)
