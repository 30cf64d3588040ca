"""The embedded adapter: one SQLite file, one writer thread with group commit, readers that see what is committed.

A write is acknowledged once it is on the disk (WAL, synchronous=FULL). Point reads run on the event loop, which was
measured to be faster than a thread's hand-over; pages and the change feed are read in a few threads.
"""

import asyncio
import queue
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from shared.core.clock import Clock
from shared.storage import _sqlite_operations as ops
from shared.storage._checks import check_batch, check_key, check_text
from shared.storage._items import Prepared, freeze_patches, prepare
from shared.storage._sqlite_query import page
from shared.storage._sqlite_schema import FOREVER, FileLock, Table, connect_reader, connect_writer, prepare_file
from shared.storage._sqlite_writer import GroupWriter
from shared.storage.containers import CONTAINERS, Container
from shared.storage.documents import (
    MAX_PAGE,
    MAX_REQUEST_BYTES,
    BatchOperation,
    Change,
    Item,
    Page,
    Partition,
    Patch,
    Position,
    Query,
    check_partition,
)
from shared.storage.errors import Conflict, NotFound, TooLarge, Unavailable, UnknownPosition

READER_THREADS = 4
PING_SECONDS = 5.0


class SqliteStore:
    """A DocumentStore and ChangeFeed in one file. Open it with `SqliteStore.open`, on the loop that will use it."""

    @classmethod
    async def open(
        cls,
        path: Path | None,
        *,
        clock: Clock,
        ttl_days: int = 2555,
        containers: Mapping[str, Container] = CONTAINERS,
        busy_seconds: float = 5.0,
    ) -> "SqliteStore":
        """The store in `path`, made if need be; None = a private one that vanishes on close.

        `ttl_days`: how long items of a container that expires by period outlive their period. `busy_seconds`: how long
        a statement waits for someone else's lock. Unavailable if another process has it open, or it cannot be used.
        """
        tables = {container.name: Table.of(container) for container in containers.values()}
        try:
            resources = await asyncio.to_thread(_Resources, path, tuple(tables.values()), busy_seconds)
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(f"the database cannot be opened: {type(error).__name__}") from None
        return cls(resources, tables, clock=clock, ttl_days=ttl_days)

    def __init__(self, resources: "_Resources", tables: dict[str, Table], *, clock: Clock, ttl_days: int) -> None:
        self._resources = resources
        self._tables = tables
        self._clock = clock
        self._ttl_days = ttl_days
        self._closed = False
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._writer = GroupWriter(
            resources.writer, tuple(tables.values()), clock=clock, ttl_days=ttl_days, committed=self._wake
        )

    async def create(self, container: Container, partition: Partition, item: Item) -> Item:
        """Add an item. Conflict if its id exists in the partition."""
        table, prepared = self._prepare(container, partition, item)
        try:
            (row,) = await self._writer.submit(ops.Creation(table, partition, (prepared,)), prepared.size)
        except Conflict as conflict:
            raise Conflict(str(conflict)) from None  # of no batch, without a place in one
        return ops.decode(row)

    async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
        """One item. NotFound if there is none, or it expired."""
        table = self._table(container)
        check_key(container, partition, item_id)
        try:
            row = self._resources.point_reader.execute(table.find, (*partition, item_id, self._now())).fetchone()
        except sqlite3.Error as error:
            raise Unavailable(f"not read: {type(error).__name__}") from None
        if row is None:
            raise NotFound(f"{container.name}: no such item")
        return ops.decode(row)

    async def replace(
        self, container: Container, partition: Partition, item: Item, if_match: str | None = None
    ) -> Item:
        """Write over an item. NotFound; PreconditionFailed if `if_match` is not its etag."""
        table, prepared = self._prepare(container, partition, item)
        return await self._write(ops.replace_step(table, partition, prepared, if_match), prepared.size)

    async def upsert(self, container: Container, partition: Partition, item: Item) -> Item:
        """Create or write over an item."""
        table, prepared = self._prepare(container, partition, item)
        return await self._write(ops.upsert_step(table, partition, prepared), prepared.size)

    async def delete(
        self, container: Container, partition: Partition, item_id: str, if_match: str | None = None
    ) -> None:
        """Remove an item. NotFound; PreconditionFailed if `if_match` is not its etag."""
        table = self._table(container)
        check_key(container, partition, item_id)
        await self._writer.submit(ops.delete_step(table, partition, item_id, if_match))

    async def patch(
        self,
        container: Container,
        partition: Partition,
        item_id: str,
        patches: Sequence[Patch],
        if_match: str | None = None,
    ) -> Item:
        """Change fields of an item, all or none (1 to 10 patches, applied in order). NotFound; PreconditionFailed."""
        table = self._table(container)
        check_key(container, partition, item_id)
        frozen, size = freeze_patches(container, patches)
        return await self._write(ops.patch_step(table, partition, item_id, frozen, if_match), size)

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        """All of the operations or none, in order, in one partition; see the port."""
        self._table(container)
        check_batch(container, partition, operations)
        run, size = self._batch(container, partition, operations)
        if size > MAX_REQUEST_BYTES:
            raise TooLarge(f"a batch of {size} bytes, {MAX_REQUEST_BYTES} are allowed")
        rows = await self._writer.submit(run, size)
        return [None if row is None else ops.decode(row) for row in rows]

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        """One page. `partition` may be a prefix of the container's key (at least its first path)."""
        table = self._table(container)
        check_partition(container, partition, prefix=True)
        check_text(*partition)
        return await self._in_thread(lambda connection, now: page(connection, table, partition, query, now=now))

    async def changes(self, container: Container, after: Position, limit: int) -> list[Change]:
        """Latest version of each item written after a position, in order of the writes; deletes leave no trace.

        Every write takes a new, higher position, from 1; the numbers between two entries mean nothing.
        """
        table, number = self._table(container), _number(after)
        if not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"limit must be 1..{MAX_PAGE}")

        def run(connection: sqlite3.Connection, now: int) -> list[Change]:
            rows = connection.execute(table.changes, (min(number, FOREVER), now, limit)).fetchall()
            return [ops.decode_change(row) for row in rows]

        return await self._in_thread(run)

    async def last_position(self, container: Container) -> int:
        """The position of the newest entry of the feed; 0 when it is empty."""
        table = self._table(container)
        return await self._in_thread(
            lambda connection, now: (connection.execute(table.last, (now,)).fetchone() or (0,))[0]
        )

    async def wait_for_change(self, container: Container, after: Position, timeout_seconds: float) -> bool:
        """True as soon as `changes(container, after, …)` has an entry, at once if it has; False after the timeout."""
        table, number = self._table(container), _number(after)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        waiters = self._waiters.setdefault(table.name, set())
        while True:
            woken: asyncio.Future[None] = loop.create_future()
            waiters.add(woken)
            try:
                if await self.last_position(container) > number:
                    return True
                async with asyncio.timeout_at(deadline):
                    await woken
            except TimeoutError:
                return False
            finally:
                waiters.discard(woken)

    async def ping(self) -> None:
        """Raise Unavailable when a write does not reach the disk within a few seconds."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._writer.submit(ops.beat)
        except TimeoutError:
            raise Unavailable("the store does not answer") from None

    async def close(self) -> None:
        """Finish what is under way and let go of everything. From then on every call is Unavailable."""
        if self._closed:
            return
        self._closed = True
        for name in list(self._waiters):
            self._wake({name})
        await asyncio.to_thread(self._resources.close_readers)
        await self._writer.close()
        await asyncio.to_thread(self._resources.release)

    def _prepare(self, container: Container, partition: Partition, item: Item) -> tuple[Table, Prepared]:
        table = self._table(container)
        prepared = prepare(container, partition, item, now=self._now(), ttl_days=self._ttl_days)
        check_text(*partition)
        return table, prepared

    async def _write(self, step: ops.Step, size: int) -> Item:
        return ops.decode(await self._writer.submit(step, size))

    def _batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> tuple[Callable[[ops.Transaction], list[ops.Row | None]], int]:
        """A well-formed batch and its size."""
        created = [each.item for each in operations if each.kind == "create" and each.item is not None]
        if len(created) == len(operations):
            items = [self._prepare(container, partition, item)[1] for item in created]
            return ops.Creation(self._table(container), partition, items), sum(item.size for item in items)
        steps = [self._step(container, partition, operation) for operation in operations]
        return ops.run_batch([step for step, _ in steps]), sum(size for _, size in steps)

    def _step(self, container: Container, partition: Partition, operation: BatchOperation) -> tuple[ops.Step, int]:
        """One well-formed step of a batch and its size."""
        kind, item_id = operation.kind, operation.id
        if operation.item is not None:
            table, prepared = self._prepare(container, partition, operation.item)
            if kind == "replace":
                return ops.replace_step(table, partition, prepared, operation.if_match), prepared.size
            make = ops.create_step if kind == "create" else ops.upsert_step
            return make(table, partition, prepared), prepared.size
        table, item_id = self._table(container), item_id or ""
        check_key(container, partition, item_id)
        if kind == "patch":
            frozen, size = freeze_patches(container, operation.patches)
            return ops.patch_step(table, partition, item_id, frozen, operation.if_match), size
        if kind == "delete":
            return ops.delete_step(table, partition, item_id, operation.if_match), 0
        return ops.read_step(table, partition, item_id), 0

    def _table(self, container: Container) -> Table:
        if self._closed:
            raise Unavailable("the store is closed")
        table = self._tables.get(container.name)
        if table is None:
            raise ValueError(f"{container.name} is not a container of this store")
        return table

    async def _in_thread[T](self, run: Callable[[sqlite3.Connection, int], T]) -> T:
        """Run a read with one of the pool's connections, and the time that it sees."""
        work = partial(self._resources.with_reader, run, self._now())
        try:
            return await asyncio.get_running_loop().run_in_executor(self._resources.pool, work)
        except sqlite3.Error as error:
            raise Unavailable(f"not read: {type(error).__name__}") from None

    def _wake(self, changed: set[str]) -> None:
        for name in changed:
            for waiter in self._waiters.get(name, ()):
                if not waiter.done():
                    waiter.set_result(None)

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


def _number(position: Position) -> int:
    if type(position) is not int or position < 0:
        raise UnknownPosition("a position that this feed never gave: it is no number from 0")
    return position


class _Resources:
    """What a store holds of the operating system, taken in order and let go in reverse."""

    def __init__(self, path: Path | None, tables: Sequence[Table], busy_seconds: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kraftd-") if path is None else None
        durable = self._folder is None
        database = path or Path(self._folder.name if self._folder else "") / "store.db"
        self._lock: FileLock | None = None
        self._readers: list[sqlite3.Connection] = []
        self._free: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self.pool = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="sqlite-reader")
        try:
            prepare_file(database, durable=durable)
            self._lock = FileLock(database)
            self.writer = connect_writer(database, tables, busy_seconds=busy_seconds, durable=durable)
            for _ in range(READER_THREADS + 1):
                self._readers.append(connect_reader(database, busy_seconds=busy_seconds))
        except BaseException:
            self.close_readers()
            if hasattr(self, "writer"):
                self.writer.close()
            self.release()
            raise
        self.point_reader, *pooled = self._readers
        for connection in pooled:
            self._free.put(connection)

    def with_reader[T](self, run: Callable[[sqlite3.Connection, int], T], now: int) -> T:
        """Call `run` with a connection of the pool, on this thread."""
        connection = self._free.get()
        try:
            return run(connection, now)
        finally:
            self._free.put(connection)

    def close_readers(self) -> None:
        """Wait for the reads under way, then close their connections."""
        self.pool.shutdown(wait=True)
        for connection in self._readers:
            connection.close()

    def release(self) -> None:
        """Let go of the lock and of a temporary folder."""
        if self._lock is not None:
            self._lock.release()
        if self._folder is not None:
            self._folder.cleanup()
