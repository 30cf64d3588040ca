"""A store that fails when a test says so: around any adapter, at any call, before or after the call took effect."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, NoReturn, Protocol

from shared.storage.containers import Container
from shared.storage.documents import (
    BatchOperation,
    Change,
    ChangeSource,
    DocumentStore,
    Item,
    Page,
    Partition,
    Patch,
    Position,
    Query,
)
from shared.storage.errors import Unavailable

type Mode = Literal["before", "after", "gone_after", "hang", "hang_after"]


class Call(NamedTuple):
    """One call of the store: `create`, `batch`, …; the container's name; the partition (empty for `ping`)."""

    operation: str
    container: str
    partition: Partition


class Crash(BaseException):
    """The process dies here. No `except Exception` and no `except StoreError` of the app may catch it."""


def every(_: Call) -> bool:
    """Counts every call."""
    return True


class FaultyStore:
    """A DocumentStore that passes everything on to `inner`, and fails at the `fail_at`-th call (1 is the first).

    `before`: the call does not reach the store. `after`: it takes effect, only its answer is lost. `gone_after`: so it
    does, and no later call is made until `mend`. `hang`, `hang_after`: the call never answers, before or after it took
    effect; whoever waits has to give up. `times`: how many calls in a row fail, None = all from then on. `counts`:
    which calls are counted at all (and may fail).
    `calls` are all that were made; `counted` how many of them count; `failed` how many failed; `hung`: one
    did not answer. `mend` ends the trouble.
    """

    def __init__(
        self,
        inner: DocumentStore,
        fail_at: int | None = None,
        mode: Mode = "before",
        error: BaseException | None = None,
        *,
        times: int | None = 1,
        counts: Callable[[Call], bool] = every,
    ) -> None:
        self.inner = inner
        self.calls: list[Call] = []
        self.counted = 0
        self.failed = 0
        self.hung = False
        self._fail_at = fail_at
        self._mode = mode
        self._error = error if error is not None else Unavailable("made to fail")
        self._times = times
        self._counts = counts

    def arm(
        self, fail_at: int, mode: Mode = "before", error: BaseException | None = None, *, times: int | None = 1
    ) -> None:
        """Start counting anew, and fail at the `fail_at`-th call from here."""
        self.calls, self.counted, self.failed, self.hung = [], 0, 0, False
        self._fail_at, self._mode, self._times = fail_at, mode, times
        if error is not None:
            self._error = error

    def mend(self) -> None:
        """From now on every call passes."""
        self._fail_at = None

    async def create(self, container: Container, partition: Partition, item: Item) -> Item:
        return await self._pass("create", container, partition, lambda: self.inner.create(container, partition, item))

    async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
        return await self._pass("read", container, partition, lambda: self.inner.read(container, partition, item_id))

    async def replace(
        self, container: Container, partition: Partition, item: Item, if_match: str | None = None
    ) -> Item:
        return await self._pass(
            "replace", container, partition, lambda: self.inner.replace(container, partition, item, if_match)
        )

    async def upsert(self, container: Container, partition: Partition, item: Item) -> Item:
        return await self._pass("upsert", container, partition, lambda: self.inner.upsert(container, partition, item))

    async def delete(
        self, container: Container, partition: Partition, item_id: str, if_match: str | None = None
    ) -> None:
        await self._pass(
            "delete", container, partition, lambda: self.inner.delete(container, partition, item_id, if_match)
        )

    async def patch(
        self,
        container: Container,
        partition: Partition,
        item_id: str,
        patches: Sequence[Patch],
        if_match: str | None = None,
    ) -> Item:
        return await self._pass(
            "patch", container, partition, lambda: self.inner.patch(container, partition, item_id, patches, if_match)
        )

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        return await self._pass(
            "batch", container, partition, lambda: self.inner.batch(container, partition, operations)
        )

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        return await self._pass("query", container, partition, lambda: self.inner.query(container, partition, query))

    async def ping(self) -> None:
        await self._pass("ping", None, (), self.inner.ping)

    async def close(self) -> None:
        await self.inner.close()

    async def _pass[T](
        self, operation: str, container: Container | None, partition: Partition, run: Callable[[], Awaitable[T]]
    ) -> T:
        call = Call(operation, container.name if container else "", partition)
        self.calls.append(call)
        failing = self._counts(call) and self._count()
        late = failing and self.failed > 1 and self._mode == "gone_after"
        if failing and (late or self._mode in ("before", "hang")):
            await self._fail()
        answer = await run()
        if failing:
            await self._fail()
        return answer

    async def _fail(self) -> NoReturn:
        if self._mode in ("hang", "hang_after"):
            self.hung = True
            await asyncio.Event().wait()
        await asyncio.sleep(0)  # a real store gives way to others before it fails
        raise self._error

    def _count(self) -> bool:
        self.counted += 1
        first = self._fail_at
        endless = self._times is None or self._mode == "gone_after"
        failing = first is not None and first <= self.counted and (endless or self.counted < first + (self._times or 0))
        self.failed += failing
        return failing


class FeedStore(DocumentStore, ChangeSource, Protocol):
    """A store with a change feed, of whatever kind."""


class FaultyFeedStore(FaultyStore):
    """A faulty store whose change feed works: the host reads it, not the app."""

    inner: FeedStore

    async def changes(self, container: Container, after: Position, limit: int) -> list[Change]:
        return await self.inner.changes(container, after, limit)
