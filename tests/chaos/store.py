"""A store that fails at random for as long as it is told to: around any adapter, in ways that stores have."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from shared.storage.containers import Container
from shared.storage.documents import Change, Partition, Position
from shared.storage.errors import StoreError, Throttled, Unavailable
from tests.faults import FaultyFeedStore

type Told = Callable[[str], None]
"""Told of each fault that was injected, by its kind."""

WRITES = frozenset({"create", "replace", "upsert", "delete", "patch", "batch"})
OF_CALLS = ("before", "after", "throttled", "slow")
"""What a call may run into. `after`: it took effect, and its answer is lost."""
DEADLY = ("die_before", "die_after")
"""The process ends at a write, before or after that took effect."""
NOT_WRITTEN = "not written"
"""A write that the store itself could not do: its disk was full."""
OF_FEED = ("feed_fails", "feed_repeats", "feed_disorders")


class ChaosStore(FaultyFeedStore):
    """Passes everything on to `inner`; while `rates` name a kind of fault, so often (0 to 1) a call runs into it.

    A deadly one comes once: at the first write that it hits.
    """

    def __init__(self, inner: Any, random: Random, told: Told) -> None:
        super().__init__(inner)
        self.rates: dict[str, float] = {}
        self._random = random
        self._told = told

    async def _pass[T](
        self, operation: str, container: Container | None, partition: Partition, run: Callable[[], Awaitable[T]]
    ) -> T:
        writes = operation in WRITES
        if writes and self._hits("die_before"):
            self._die("die_before")
        if self._hits("slow"):
            self._told("slow")
            await asyncio.sleep(self._random.uniform(0.05, 0.5))
        for kind in ("before", "throttled"):
            if self._hits(kind):
                self._told(kind)
                raise _error(kind, self._random)
        try:
            answer = await run()
        except Unavailable:
            if writes:
                self._told(NOT_WRITTEN)
            raise
        if writes and self._hits("die_after"):
            self._die("die_after")
        if self._hits("after"):
            self._told("after")
            raise _error("after", self._random)
        return answer

    async def changes(self, container: Container, after: Position, limit: int) -> list[Change]:
        """The feed as a host may have it that lost its lease, or reads another replica: with repetitions, disordered,
        never with gaps."""
        if self._hits("feed_fails"):
            self._told("feed_fails")
            raise Unavailable("made to fail")
        found = await super().changes(container, after, limit)
        if found and self._hits("feed_repeats"):
            self._told("feed_repeats")
            found = [*self._random.sample(found, self._random.randint(1, len(found))), *found]
        if len(found) > 1 and self._hits("feed_disorders"):
            self._told("feed_disorders")
            *others, last = found  # whose position is stored: nothing before it may be missing
            self._random.shuffle(others)
            found = [*others, last]
        return found

    def _hits(self, kind: str) -> bool:
        rate = self.rates.get(kind, 0.0)
        return rate > 0 and self._random.random() < rate

    def _die(self, kind: str) -> None:
        self._told(kind)
        os.kill(os.getpid(), signal.SIGKILL)


class ChaosFeed(ChaosStore):
    """The same around a store that can be waited on for changes."""

    async def last_position(self, container: Container) -> Position:
        """As `inner` has it."""
        position: Position = await self.inner.last_position(container)  # type: ignore[attr-defined]
        return position

    async def wait_for_change(self, container: Container, after: Position, timeout_seconds: float) -> bool:
        """As `inner` has it."""
        changed: bool = await self.inner.wait_for_change(container, after, timeout_seconds)  # type: ignore[attr-defined]
        return changed


def _error(kind: str, random: Random) -> StoreError:
    if kind == "throttled":
        return Throttled("made to wait", retry_after_seconds=random.uniform(0.01, 0.2))
    return Unavailable("made to fail")
