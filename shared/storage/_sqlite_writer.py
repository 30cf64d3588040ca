"""The thread that writes: it takes what waits, puts it into one transaction and answers after the commit.

An fsync costs the same for one operation as for a hundred, so under load operations share one. They share statements,
too: after each one this thread has to get the interpreter back, and beside a busy loop that takes longer than SQLite
does. So what only adds items is added together, before the others, which were asked for at the same time; and jobs run
without savepoints. One that fails leaves the others alone: SQLite undoes a failed statement by itself, and when a job
fails behind something that it changed, the group begins anew with a savepoint for each. Whoever stops waiting (a
cancelled task) changes nothing here.

The loop hands over once per turn, and only when the thread has nothing to do: what comes in meanwhile is the next
group. Handing over each operation by itself made groups of two under load, and two threads fight for the interpreter.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from shared.core.clock import Clock
from shared.storage._sqlite_operations import ROWS_AT_ONCE, Creation, Transaction, create_together, purge
from shared.storage._sqlite_schema import Table
from shared.storage.errors import Throttled, Unavailable

MAX_GROUP_JOBS = 256
MAX_GROUP_BYTES = 8 * 1024 * 1024
MAX_QUEUED_BYTES = 64 * 1024 * 1024
JOB_BYTES = 1024  # what a job weighs beside its text
PURGE_SECONDS = 30


@dataclass(slots=True)
class _Job:
    run: Callable[[Transaction], Any]
    answer: asyncio.Future[Any]
    weight: int


class _HalfDone(Exception):
    """A job failed behind something that it changed."""


type _Outcome = tuple[Any, Exception | None]
"""What a job returned, or why it failed."""


class GroupWriter:
    """Owns the writing connection from its start to its close. One event loop talks to it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        tables: Sequence[Table],
        *,
        clock: Clock,
        ttl_days: int,
        committed: Callable[[set[str]], None],
    ) -> None:
        """`committed` is called on the event loop with the names of the tables that a commit changed."""
        self._connection = connection
        self._tables = tables
        self._clock = clock
        self._ttl_days = ttl_days
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._groups: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._waiting: deque[_Job] = deque()
        self._busy = False  # a group is with the thread, or will be in this turn of the loop
        self._queued_bytes = 0
        self._stopping = False
        self._next_purge = 0
        self._positions: dict[str, int] = dict(connection.execute("SELECT name, position FROM feed").fetchall())
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, run: Callable[[Transaction], Any], size: int = 0) -> Any:
        """Run `run` in a transaction, perhaps a second time if others fail in it, and return its result once that is
        durable. StoreError."""
        if self._stopping:
            raise Unavailable("the store is closed")
        weight = size + JOB_BYTES
        if self._queued_bytes and self._queued_bytes + weight > MAX_QUEUED_BYTES:
            raise Throttled("too many writes are waiting", retry_after_seconds=0.5)
        job = _Job(run, self._loop.create_future(), weight)
        self._queued_bytes += weight
        self._waiting.append(job)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)
        return await job.answer

    async def close(self) -> None:
        """Finish what waits, then close the connection."""
        if not self._stopping:
            self._stopping = True
            if not self._busy:
                self._groups.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        """Give the thread its next group, up to a bound; or the sign to end, when nothing waits and nothing comes."""
        group: list[_Job] = []
        weight = 0
        while self._waiting and len(group) < MAX_GROUP_JOBS and weight < MAX_GROUP_BYTES:
            job = self._waiting.popleft()
            group.append(job)
            weight += job.weight
        self._busy = bool(group)
        if group:
            self._groups.put(group)
        elif self._stopping:
            self._groups.put(None)

    # On the writer's thread from here on, but for _resolve.

    def _run(self) -> None:
        while (group := self._take()) is not None:
            outcomes, changed = self._commit(group)
            if group:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._resolve, group, outcomes, changed)
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _take(self) -> list[_Job] | None:
        """Wait for the next group; an empty one when it is time to purge, None at the end."""
        try:
            return self._groups.get(timeout=PURGE_SECONDS)
        except queue.Empty:
            return []

    def _commit(self, group: list[_Job]) -> tuple[list[_Outcome], set[str]]:
        """One transaction of all jobs. If it cannot be committed, each of them is Unavailable."""
        try:
            try:
                return self._transact(group, _run_freely)
            except _HalfDone:
                self._roll_back()
                return self._transact(group, _run_apart)
        except Exception as error:  # noqa: BLE001 - whatever happens, the thread lives on and nobody waits forever
            self._roll_back()
            return [(None, Unavailable(f"not committed: {type(error).__name__}")) for _ in group], set()

    def _transact(
        self, group: list[_Job], run: Callable[[Transaction, list[_Job]], list[_Outcome]]
    ) -> tuple[list[_Outcome], set[str]]:
        self._connection.execute("BEGIN IMMEDIATE")
        tx = Transaction(self._connection, self._now(), dict(self._positions), self._ttl_days)
        outcomes = run(tx, group)
        self._purge(tx)
        if tx.changed:
            marks = ", ".join(["(?, ?)"] * len(tx.changed))
            self._connection.execute(
                f"INSERT INTO feed (name, position) VALUES {marks} "  # noqa: S608 - question marks
                "ON CONFLICT (name) DO UPDATE SET position = excluded.position",
                [value for name in sorted(tx.changed) for value in (name, tx.positions[name])],
            )
        self._connection.execute("COMMIT")
        self._positions = tx.positions
        return outcomes, tx.changed

    def _purge(self, tx: Transaction) -> None:
        """Now and then remove expired items, a bounded number at a time."""
        if tx.now < self._next_purge:
            return
        more, _ = _apart(tx, lambda inner: purge(inner, self._tables))
        self._next_purge = tx.now if more else tx.now + PURGE_SECONDS

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # already rolled back by SQLite
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    def _resolve(self, group: list[_Job], outcomes: list[_Outcome], changed: set[str]) -> None:
        """On the event loop: hand over what came in meanwhile, then answer those who still wait."""
        self._hand_over()
        for job, (result, error) in zip(group, outcomes, strict=True):
            self._queued_bytes -= job.weight
            if job.answer.done():
                continue
            if error is not None:
                job.answer.set_exception(error)
            else:
                job.answer.set_result(result)
        if changed:
            self._committed(changed)


def _run_freely(tx: Transaction, group: list[_Job]) -> list[_Outcome]:
    """Creations together, then the other jobs one by one. _HalfDone."""
    done = _created(tx, group)
    return [done[number] if number in done else _freely(tx, job.run) for number, job in enumerate(group)]


def _run_apart(tx: Transaction, group: list[_Job]) -> list[_Outcome]:
    """Each job by itself, in a savepoint."""
    return [_apart(tx, job.run) for job in group]


def _created(tx: Transaction, group: list[_Job]) -> dict[int, _Outcome]:
    """The outcomes of creations that were done together, by place in the group."""
    by_table: dict[str, list[tuple[int, Creation]]] = {}
    for number, job in enumerate(group):
        if isinstance(job.run, Creation):
            by_table.setdefault(job.run.table.name, []).append((number, job.run))
    done: dict[int, _Outcome] = {}
    for creations in by_table.values():
        for together in _bounded(creations):
            rows, failed = _freely(tx, partial(create_together, creations=[creation for _, creation in together]))
            if failed is None:  # otherwise each by itself shows which
                done.update((number, (its_rows, None)) for (number, _), its_rows in zip(together, rows, strict=True))
    return done


def _bounded(creations: Sequence[tuple[int, Creation]]) -> Generator[list[tuple[int, Creation]]]:
    """Creations in runs of so many items that a statement takes them."""
    run: list[tuple[int, Creation]] = []
    rows = 0
    for each in creations:
        size = len(each[1].items)
        if run and rows + size > ROWS_AT_ONCE:
            yield run
            run, rows = [], 0
        run.append(each)
        rows += size
    yield run


def _freely(tx: Transaction, run: Callable[[Transaction], Any]) -> _Outcome:
    """Run one job; one that fails has changed nothing. _HalfDone; raises what made SQLite give up the transaction."""
    before = tx.connection.total_changes
    try:
        return run(tx), None
    except Exception as error:
        if not tx.connection.in_transaction:
            raise
        if tx.connection.total_changes != before:
            raise _HalfDone from error
        return None, _told(error)


def _apart(tx: Transaction, run: Callable[[Transaction], Any]) -> _Outcome:
    """Run one job in a savepoint; a failed one leaves nothing. Raises what made SQLite give up the transaction."""
    tx.connection.execute("SAVEPOINT job")
    outcome: _Outcome
    try:
        outcome = run(tx), None
    except Exception as error:
        if not tx.connection.in_transaction:
            raise
        tx.connection.execute("ROLLBACK TO job")
        outcome = None, _told(error)
    tx.connection.execute("RELEASE job")
    return outcome


def _told(error: Exception) -> Exception:
    """What the caller gets: nothing of SQLite."""
    return Unavailable(f"not written: {type(error).__name__}") if isinstance(error, sqlite3.Error) else error
