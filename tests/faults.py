"""A store that fails where a test says: before the call reaches the inner store, after it was applied, or for ever."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from shared.storage.containers import Container
from shared.storage.documents import BatchOperation, Change, DocumentStore, Item, Page, Partition, Patch, Query
from shared.storage.errors import StoreError, Unavailable

type Mode = Literal["before", "after", "from_then_on"]


class FaultyStore:
    """Counts calls from 1 and fails the `fail_at`-th of them. `arm` starts a new count, `heal` ends all faults.

    before: the call is not made. after: it is made, and its answer lost. from_then_on: like before, for every call
    from that one on.
    """

    def __init__(
        self,
        inner: DocumentStore,
        fail_at: int | None = None,
        mode: Mode = "before",
        error: StoreError | None = None,
    ) -> None:
        self.inner = inner
        self.fail_at = fail_at
        self.mode: Mode = mode
        self.error = error or Unavailable("a fault that the test asked for")
        self.calls: list[str] = []

    def arm(self, fail_at: int | None, mode: Mode = "before") -> None:
        """Fail the `fail_at`-th call from here."""
        self.fail_at, self.mode, self.calls = fail_at, mode, []

    def heal(self) -> None:
        """Fail no more."""
        self.fail_at = None

    async def _run[T](self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        self.calls.append(name)
        number = len(self.calls)
        hit = self.fail_at is not None and (
            number == self.fail_at or (self.mode == "from_then_on" and number > self.fail_at)
        )
        if hit and self.mode != "after":
            raise self.error
        answer = await call()
        if hit:
            raise self.error
        return answer

    async def create(self, container: Container, partition: Partition, item: Item) -> Item:
        return await self._run(f"create {container.name}", lambda: self.inner.create(container, partition, item))

    async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
        return await self._run(f"read {container.name}", lambda: self.inner.read(container, partition, item_id))

    async def replace(
        self, container: Container, partition: Partition, item: Item, if_match: str | None = None
    ) -> Item:
        return await self._run(
            f"replace {container.name}", lambda: self.inner.replace(container, partition, item, if_match)
        )

    async def upsert(self, container: Container, partition: Partition, item: Item) -> Item:
        return await self._run(f"upsert {container.name}", lambda: self.inner.upsert(container, partition, item))

    async def delete(
        self, container: Container, partition: Partition, item_id: str, if_match: str | None = None
    ) -> None:
        await self._run(f"delete {container.name}", lambda: self.inner.delete(container, partition, item_id, if_match))

    async def patch(
        self,
        container: Container,
        partition: Partition,
        item_id: str,
        patches: Sequence[Patch],
        if_match: str | None = None,
    ) -> Item:
        return await self._run(
            f"patch {container.name}", lambda: self.inner.patch(container, partition, item_id, patches, if_match)
        )

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        return await self._run(f"batch {container.name}", lambda: self.inner.batch(container, partition, operations))

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        return await self._run(f"query {container.name}", lambda: self.inner.query(container, partition, query))

    async def changes(self, container: Container, after: int, limit: int) -> list[Change]:
        """The feed is read by the host, not by the app: it does not count and does not fail."""
        return await self.inner.changes(container, after, limit)  # type: ignore[attr-defined,no-any-return]

    async def ping(self) -> None:
        await self._run("ping", self.inner.ping)

    async def close(self) -> None:
        await self.inner.close()
