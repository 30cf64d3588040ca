"""Running streams in this process: one task for each tenant, so that nobody waits for another one's receiver.

What is held here is only when to look again: a process that ends loses nothing, the timer looks after every stream.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

from shared.audit.rounds import Rounds
from shared.core.errors import Unready
from shared.ledger.shards import ENTRY
from shared.storage.documents import Item
from shared.storage.errors import Throttled, Unavailable
from shared.telemetry import get_log

_log = get_log(__name__)

AT_ONCE = 64
PATIENCE_SECONDS = 5.0
"""How long the feed waits for the streams that it woke."""
SLOW_SECONDS = 2.0
"""Whose run takes longer is waited for by nobody, and has places beside those of the others, until a run is quick."""
ROUND_SECONDS = 200.0
AFTER_ERROR_SECONDS = 61.0
"""When the lease of a run that broke off is over."""

type Run = Callable[[str], Awaitable[timedelta | None]]
"""Delivers a tenant's stream; when to come again, None for when there is something new."""


class Runner:
    """Wakes streams. Each runs once at a time here; whoever is woken meanwhile runs once more."""

    def __init__(self, run: Run, at_once: int = AT_ONCE) -> None:
        self._run = run
        self._free, self._free_of_slow = asyncio.Semaphore(at_once), asyncio.Semaphore(at_once)
        self._slow: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    async def consume(self, items: Iterable[Item]) -> None:
        """Wake the streams of the tenants that these items of the ledger tell of new entries.

        Unavailable, Throttled, Unready: deliver the batch again.
        """
        tenants = dict.fromkeys(item["tenant_id"] for item in items if item.get("kind") == ENTRY)
        woken = {tenant_id: self.wake(tenant_id) for tenant_id in tenants}
        waited = [task for tenant_id, task in woken.items() if tenant_id not in self._slow]
        await self.settle(waited, PATIENCE_SECONDS, strict=True)

    async def round(self, rounds: Rounds) -> None:
        """Wake every tenant's stream, and wait some minutes for them."""

        async def wake(tenant_id: str) -> None:
            self.wake(tenant_id)
            await asyncio.sleep(0)

        await rounds.run("resume_streams", wake)
        await self.settle(list(self._tasks.values()), ROUND_SECONDS)

    def wake(self, tenant_id: str) -> asyncio.Task[None]:
        """Have a tenant's stream run, now or once more. The task is this process's, not the request's at hand."""
        running = self._tasks.get(tenant_id)
        if running is not None:
            self._again.add(tenant_id)
            return running
        timer = self._timers.pop(tenant_id, None)
        if timer is not None:
            timer.cancel()
        task = asyncio.get_running_loop().create_task(self._work(tenant_id), context=contextvars.Context())
        self._tasks[tenant_id] = task
        task.add_done_callback(lambda done: self._done(tenant_id, done))
        return task

    async def settle(
        self, tasks: Iterable[asyncio.Task[None]] | None = None, seconds: float = 30.0, *, strict: bool = False
    ) -> None:
        """Wait for streams that run (None: all), so long and no longer. `strict`: raise where a store was down."""
        waited = set(self._tasks.values() if tasks is None else tasks)
        if not waited:
            return
        done, _ = await asyncio.wait(waited, timeout=seconds)
        if strict:
            for task in done:
                error = None if task.cancelled() else task.exception()
                if isinstance(error, Unavailable | Throttled | Unready):
                    raise error

    async def close(self) -> None:
        """Stop. What runs is given up; the lease of it ends by itself."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, tenant_id: str) -> None:
        while True:
            self._again.discard(tenant_id)
            async with self._free_of_slow if tenant_id in self._slow else self._free:
                wait = await self._timed(tenant_id)
            if tenant_id not in self._again:
                break
        if wait is not None:
            self._later(tenant_id, wait.total_seconds())

    async def _timed(self, tenant_id: str) -> timedelta | None:
        loop = asyncio.get_running_loop()
        began, slow = loop.time(), loop.call_later(SLOW_SECONDS, self._slow.add, tenant_id)
        try:
            return await self._run(tenant_id)
        finally:
            slow.cancel()
            if loop.time() - began < SLOW_SECONDS:
                self._slow.discard(tenant_id)

    def _later(self, tenant_id: str, seconds: float) -> None:
        if not self._closed:
            loop, fresh = asyncio.get_running_loop(), contextvars.Context()
            self._timers[tenant_id] = loop.call_later(max(seconds, 0.0), self._start, tenant_id, context=fresh)

    def _start(self, tenant_id: str) -> None:
        self._timers.pop(tenant_id, None)
        if not self._closed:
            self.wake(tenant_id)

    def _done(self, tenant_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(tenant_id) is task:
            del self._tasks[tenant_id]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("stream_failed", error, tenant_id=tenant_id)
            self._later(tenant_id, AFTER_ERROR_SECONDS)
        elif tenant_id in self._again and not self._closed:  # woken as it ended
            self.wake(tenant_id)
