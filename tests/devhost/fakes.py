"""A change source in memory, for hosts that need leases and a feed but no real store."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

from shared.storage.containers import Container
from shared.storage.documents import FEED_START, Change, DocumentStore, Item, Partition, Position
from shared.storage.errors import NotFound, Unavailable, UnknownPosition

APPS = Path(__file__).parent / "apps"


class MemoryFeed:
    """Holds items by container; `failing` makes lease writes raise. Lives on over restarts of a host."""

    def __init__(self) -> None:
        self.leases: dict[str, Item] = {}
        self.entries: list[tuple[str, Change]] = []
        self.failing = 0

    def put(self, container: Container, *ids: str) -> None:
        """Append items to a container's feed."""
        for each in ids:
            self.entries.append(
                (container.name, Change(len(self.entries) + 1, json.dumps({"id": each, "text": "grün"})))
            )

    async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
        if item_id not in self.leases:
            raise NotFound
        return self.leases[item_id]

    async def upsert(self, container: Container, partition: Partition, item: Item) -> Item:
        assert (container.name, partition) == ("leases", (item["id"],))
        if self.failing:
            self.failing -= 1
            raise Unavailable
        self.leases[item["id"]] = dict(item)
        return item

    async def changes(self, container: Container, after: Position, limit: int) -> list[Change]:
        found = [
            each for name, each in self.entries if name == container.name and _number(each.position) > _number(after)
        ]
        return found[:limit]

    @property
    def store(self) -> DocumentStore:
        """Itself, as what a host takes; the rest of the port is never called."""
        return cast("DocumentStore", self)


class WakingFeed(MemoryFeed):
    """A feed that wakes its readers, as the embedded store does."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def put(self, container: Container, *ids: str) -> None:
        super().put(container, *ids)
        self._changed.set()

    async def last_position(self, container: Container) -> int:
        return max((_number(each.position) for name, each in self.entries if name == container.name), default=0)

    async def wait_for_change(self, container: Container, after: int, timeout_seconds: float) -> bool:
        while await self.last_position(container) <= after:
            self._changed.clear()
            await self._changed.wait()
        return True


class TokenFeed(MemoryFeed):
    """A feed like that of Cosmos DB: positions are texts, the changes of a page share one, a new `name` forgets all."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "first"

    async def changes(self, container: Container, after: Position, limit: int) -> list[Change]:
        number: Position = FEED_START
        if after != FEED_START:
            name, _, text = str(after).partition("/")
            if name != self.name or not text:
                raise UnknownPosition("a position that this feed never gave")
            number = int(text)
        page = await super().changes(container, number, limit)
        return [Change(f"{self.name}/{page[-1].position}", each.text) for each in page]


def _number(position: Position) -> int:
    assert isinstance(position, int)
    return position


class Sleeps:
    """A sleep that only notes how long, and lets others run."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


async def eventually(condition: Any, *, turns: int = 10_000) -> None:
    """Let the loop turn until `condition()` holds; an assertion when it never does."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not happen")
