"""Background loops that are stopped between invocations, never in the middle of one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from devhost.retry import Sleep

_log = logging.getLogger("devhost")


class Loop:
    """One background task. Its body runs while `running` and waits only through `pause`."""

    def __init__(self, body: "Callable[[Loop], Coroutine[Any, Any, None]]") -> None:
        self.running = True
        self._paused = False
        self._task = asyncio.create_task(self._guarded(body))

    async def _guarded(self, body: "Callable[[Loop], Coroutine[Any, Any, None]]") -> None:
        try:
            await body(self)
        except Exception as error:  # noqa: BLE001 - a loop that ends by itself must not do so in silence
            _log.critical("LOOP ENDED error=%s: its function is not triggered any more", type(error).__name__)

    async def pause[T](self, waiting: Callable[[], Awaitable[T]]) -> T:
        """Wait for something that may be cut short by `stop`."""
        if not self.running:
            raise asyncio.CancelledError
        self._paused = True
        try:
            return await waiting()
        finally:
            self._paused = False

    def sleeper(self, sleep: Sleep) -> Sleep:
        """`sleep`, as a pause of this loop."""

        async def pausing(seconds: float) -> None:
            await self.pause(lambda: sleep(seconds))

        return pausing

    async def stop(self, grace_seconds: float) -> None:
        """End the task: at once when it pauses, else after its invocation, which is cut after `grace_seconds`."""
        self.running = False
        if self._paused:
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=grace_seconds)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
