"""Cosmos triggers on the store's own change feed: ordered batches, one stored position per function.

The position moves only after the batch succeeded (or was lost for good by a finite retry policy, as in Azure), so a
restart continues where it was and delivery is at least once.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, cast

from devhost.bindings import CosmosTrigger, Function
from devhost.errors import FeedStuck, HostError
from devhost.leases import Leases, feed_lease_id
from devhost.loops import Loop
from devhost.retry import Outcome, Sleep, attempts, run_with_retries
from devhost.runtime import Datum, Worker
from shared.storage.containers import CONTAINERS, Container
from shared.storage.documents import FEED_START, ChangeFeed, ChangeSource, Position
from shared.storage.errors import UnknownPosition

_log = logging.getLogger("devhost")
_SKIP_PAGE = 1000
_GATHER_SECONDS = 0.1
_UNKNOWN_POSITION_SECONDS = 60.0


def container_of(function: Function, trigger: CosmosTrigger, names: Mapping[str, str]) -> Container:
    """The declared container that a trigger watches. HostError when there is none of that name.

    `names`: what containers are called in the account, by our name, where the app has other names for them.
    """
    for container in CONTAINERS.values():
        if trigger.container == names.get(container.name, container.name):
            return container
    raise HostError(f"The '{function.name}' function is in error: there is no container '{trigger.container}'.")


def refuse_shared_leases(functions: list[tuple[Function, CosmosTrigger]]) -> None:
    """Two functions with the same leases would each see only a part of the changes in Azure: refuse it here."""
    owners: dict[tuple[str, str, str], str] = {}
    for function, trigger in functions:
        key = (trigger.container, trigger.lease_container, trigger.lease_prefix)
        other = owners.setdefault(key, function.name)
        if other != function.name:
            raise HostError(
                f"The '{function.name}' function is in error: it shares container and lease prefix with '{other}'; "
                "in Azure each change would reach only one of them."
            )


class FeedTrigger:
    """Drives one function from one container's feed. `prepare` comes first; `step` handles one batch."""

    def __init__(
        self,
        worker: Worker,
        function: Function,
        trigger: CosmosTrigger,
        container: Container,
        source: ChangeSource,
        leases: Leases,
    ) -> None:
        self.function = function
        self.trigger = trigger
        self.container = container
        self.lease_id = feed_lease_id(trigger.lease_prefix, function.name)
        self._worker = worker
        self._source = source
        self._leases = leases
        self._position = FEED_START
        self._lock = asyncio.Lock()

    async def prepare(self) -> None:
        """Continue from the stored position; without one, from the beginning or from now, as declared.

        HostError when the feed does not know the stored position: to begin anew is for the operator to decide. The
        store's own errors when there is no feed to be read.
        """
        lease = await self._leases.read(self.lease_id)
        if lease is None and not self.trigger.start_from_beginning:
            await self._store_position(await self._end_of_feed())
            return
        position = FEED_START if lease is None else lease.get("position", "")
        try:
            await self._source.changes(self.container, position, 1)
        except UnknownPosition as error:
            raise HostError(f"The '{self.function.name}' function is in error: {self._explained(error)}") from error
        if lease is None:
            await self._store_position(position)
        self._position = position

    def _explained(self, error: UnknownPosition) -> str:
        return (
            f"its lease '{self.lease_id}' holds {error}. Delete the lease, and the function gets everything that the "
            f"container '{self.trigger.container}' holds once more."
        )

    async def _end_of_feed(self) -> Position:
        if hasattr(self._source, "last_position"):
            return await cast("ChangeFeed", self._source).last_position(self.container)
        position = FEED_START
        while page := await self._source.changes(self.container, position, _SKIP_PAGE):
            position = page[-1].position
        return position

    async def step(self, sleep: Sleep | None, *, attempts_limit: int | None = None) -> int:
        """Handle the next batch, if there is one; the number of its changes.

        FeedStuck when `attempts_limit` failures did not settle it.
        """
        async with self._lock:
            batch = await self._source.changes(self.container, self._position, self.trigger.max_items)
            if not batch:
                return 0
            payload = Datum(f"[{','.join(change.text for change in batch)}]", "json")
            attempt = attempts(self._worker, self.function, self.trigger.parameter, payload)
            outcome = await run_with_retries(self.function, attempt, sleep, attempts_limit=attempts_limit)
            if outcome is Outcome.POSTPONED:
                raise FeedStuck(f"{self.function.name} failed {attempts_limit} times in a row")
            if outcome is Outcome.LOST:
                self._report_loss(len(batch), batch[-1].position)
            await self._store_position(batch[-1].position)
            return len(batch)

    async def run(self, loop: Loop, sleep: Sleep) -> None:
        """Handle batches until the loop is stopped.

        Unless it is behind, it gives each batch a moment to gather, and requests the time to finish what they began (an
        outbox entry is theirs to deliver first). In Azure the declared poll delay has that effect.
        """
        pausing = loop.sleeper(sleep)
        while loop.running:
            try:
                handled = await self.step(pausing)
                if handled == 0:
                    await self._wait(loop, pausing)
                if handled < self.trigger.max_items:
                    await pausing(min(_GATHER_SECONDS, self.trigger.poll_delay_seconds))
            except UnknownPosition as error:
                _log.critical("feed_stands_still function=%s: %s", self.function.name, self._explained(error))
                await pausing(_UNKNOWN_POSITION_SECONDS)
            except Exception as error:  # noqa: BLE001 - the store may fail in any way; the feed must outlive it
                _log.error("feed_failed function=%s error=%s", self.function.name, type(error).__name__)
                await pausing(self.trigger.poll_delay_seconds)

    async def _wait(self, loop: Loop, pausing: Sleep) -> None:
        """Until there may be something new: woken by the store where it can, else after the declared poll delay."""
        delay_seconds = self.trigger.poll_delay_seconds
        if not hasattr(self._source, "wait_for_change"):
            return await pausing(delay_seconds)
        feed = cast("ChangeFeed", self._source)
        await loop.pause(lambda: feed.wait_for_change(self.container, self._position, delay_seconds))
        return None

    def _report_loss(self, changes: int, position: Position) -> None:
        _log.critical(
            "BATCH LOST function=%s changes=%d up to position=%s: the retry policy ran out, and Azure would drop the "
            "batch too. Declare max_retry_count=-1.",
            self.function.name,
            changes,
            position,
        )

    async def _store_position(self, position: Position) -> None:
        fields: dict[str, Any] = {
            "function": self.function.name,
            "container": self.container.name,
            "position": position,
        }
        await self._leases.write(self.lease_id, fields)
        self._position = position
