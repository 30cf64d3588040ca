"""What only the SQLite adapter does: its file, its lock, its writer's groups, its failures."""

import asyncio
import dataclasses
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.storage import _sqlite_writer
from shared.storage._items import prepare
from shared.storage._sqlite_operations import PURGE_ROWS, Creation, Transaction
from shared.storage.containers import AUDIT_EVENTS, IDENTITY, Container
from shared.storage.documents import (
    ChangeFeed,
    DocumentStore,
    Eq,
    Has,
    Item,
    PatchIncrement,
    PatchSet,
    Position,
    Query,
    create,
)
from shared.storage.errors import Conflict, NotFound, Throttled, Unavailable
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock

T1, T2 = ("t1",), ("t2",)


def item(item_id: str = "a", **fields: Any) -> Item:
    return {"id": item_id, "tenant_id": "t1", **fields}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "here" / "store.db"


@pytest.fixture
async def store(path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(path, clock=clock, busy_seconds=0.05)
    yield opened
    await opened.close()


_PORT: type[DocumentStore] = SqliteStore  # mypy checks that it is one
_FEED: type[ChangeFeed] = SqliteStore


# The file


async def test_everything_is_there_after_reopening(path: Path, clock: ManualClock) -> None:
    first = await SqliteStore.open(path, clock=clock)
    created = await first.create(IDENTITY, T1, item(text="ü\x00"))
    await first.create(IDENTITY, T1, item("gone"))
    await first.delete(IDENTITY, T1, "gone")
    await first.close()
    second = await SqliteStore.open(path, clock=clock)
    try:
        assert await second.read(IDENTITY, T1, "a") == created
        again = await second.create(IDENTITY, T1, item("gone"))
        (_, change) = await second.changes(IDENTITY, 0, 10)
        assert change.item == again
        assert change.position == 3, "the position of a deleted item is not given out again"
    finally:
        await second.close()


async def test_only_its_owner_can_read_the_files(store: SqliteStore, path: Path) -> None:
    await store.create(IDENTITY, T1, item())
    names = {each.name for each in path.parent.iterdir()}
    assert {"store.db", "store.db-wal", "store.db-shm", "store.db.lock"} <= names
    for each in path.parent.iterdir():
        assert each.stat().st_mode & 0o077 == 0, each.name
    for folder in (path.parent, path.parent.parent):
        assert folder.stat().st_mode & 0o777 == 0o700


async def test_a_readable_file_is_closed_to_others(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "store.db"
    path.touch(0o644)
    path.chmod(0o644)
    store = await SqliteStore.open(path, clock=clock)
    await store.close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_second_store_is_refused_until_the_first_closes(path: Path, clock: ManualClock) -> None:
    first = await SqliteStore.open(path, clock=clock)
    with pytest.raises(Unavailable, match="another process"):
        await SqliteStore.open(path, clock=clock)
    script = (
        "import asyncio, pathlib, sys\n"
        "from shared.core.clock import SystemClock\n"
        "from shared.storage.errors import Unavailable\n"
        "from shared.storage.sqlite import SqliteStore\n"
        "try:\n"
        "    asyncio.run(SqliteStore.open(pathlib.Path(sys.argv[1]), clock=SystemClock()))\n"
        "except Unavailable as error:\n"
        "    print(error)\n"
    )
    other = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == "another process has the database store.db open"
    await first.create(IDENTITY, T1, item())
    await first.close()
    third = await SqliteStore.open(path, clock=clock)
    assert (await third.read(IDENTITY, T1, "a"))["id"] == "a"
    await third.close()


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "q?mode=memory.db", "#h.db", "ü.db", "'.db"])
async def test_a_path_is_taken_literally(tmp_path: Path, clock: ManualClock, name: str) -> None:
    store = await SqliteStore.open(tmp_path / name, clock=clock)
    await store.create(IDENTITY, T1, item())
    assert (await store.read(IDENTITY, T1, "a"))["id"] == "a"
    await store.close()
    assert set(await asyncio.to_thread(os.listdir, tmp_path)) == {name, name + ".lock"}


@pytest.mark.parametrize("position", [-1, -2, 0])
async def test_a_row_is_read_wherever_somebody_put_it(path: Path, clock: ManualClock, position: int) -> None:
    store = await SqliteStore.open(path, clock=clock)
    for name in "abc":
        await store.create(IDENTITY, T1, item(name, kind="user", created_at=name))
    await store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE items_identity SET position = ? WHERE id = 'b'", (position,))
    store = await SqliteStore.open(path, clock=clock)
    page = await store.query(IDENTITY, T1, Query((Eq("kind", "user"),), limit=10))
    assert [each["id"] for each in page.items] == ["a", "b", "c"]
    await store.close()


async def test_what_somebody_put_beyond_the_feed_holds_up_nothing(path: Path, clock: ManualClock) -> None:
    store = await SqliteStore.open(path, clock=clock)
    for name in "ab":
        await store.create(IDENTITY, T1, item(name))
    await store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE items_identity SET position = 1000000000 WHERE id = 'a'")
    store = await SqliteStore.open(path, clock=clock)
    [change] = await store.changes(IDENTITY, 0, 10)
    assert change.item["id"] == "b"
    assert await store.last_position(IDENTITY) == change.position
    assert not await store.wait_for_change(IDENTITY, change.position, 0.01)
    await store.create(IDENTITY, T1, item("c"))
    assert [each.item["id"] for each in await store.changes(IDENTITY, change.position, 10)] == ["c"]
    await store.close()


async def test_a_commit_waits_for_the_disk_and_readers_cannot_write(store: SqliteStore) -> None:
    writer, readers = store._resources.writer, store._resources._readers
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,), "FULL; a power cut cannot be tested here"
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert len(readers) > 1
    for reader in readers:
        assert reader.execute("PRAGMA query_only").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM items_identity")


async def test_a_private_store_leaves_nothing(clock: ManualClock) -> None:
    store = await SqliteStore.open(None, clock=clock)
    other = await SqliteStore.open(None, clock=clock)
    await store.create(IDENTITY, T1, item())
    with pytest.raises(NotFound):
        await other.read(IDENTITY, T1, "a")
    (_, _, file) = store._resources.writer.execute("PRAGMA database_list").fetchone()
    folder = Path(file).parent
    assert "store.db" in await asyncio.to_thread(os.listdir, folder)
    await store.close()
    await other.close()
    with pytest.raises(FileNotFoundError):
        await asyncio.to_thread(os.listdir, folder)


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def _newer(path: Path) -> None:
    async def make() -> None:
        await (await SqliteStore.open(path, clock=ManualClock())).close()

    asyncio.run(make())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")


@pytest.mark.parametrize(
    "spoil",
    [_foreign, _newer, lambda path: path.write_bytes(b"not a database " * 100), lambda path: path.mkdir()],
    ids=["foreign", "newer", "garbage", "folder"],
)
async def test_a_file_that_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, clock: ManualClock, spoil: Callable[[Path], object]
) -> None:
    path = tmp_path / "store.db"
    await asyncio.to_thread(spoil, path)
    before = path.read_bytes() if path.is_file() else None
    for _ in range(2):  # the second try shows that the first let go of the lock
        with pytest.raises(Unavailable, match=r"cannot be opened|belongs to"):
            await SqliteStore.open(path, clock=clock)
    if before is not None:
        assert len(path.read_bytes()) == len(before)


def box(*indexes: tuple[str, ...], name: str = "box") -> Container:
    return Container(name=name, partition_key=("tenant_id",), indexes=indexes)


async def test_indexes_follow_the_declaration(path: Path, clock: ManualClock) -> None:
    def names() -> set[str]:
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'items_box'")
            return {name for (name,) in rows}

    for indexes, expected in (((("a",), ("b.c", "d")), {"a", "b$c__d"}), ((("b.c", "d"), ("e",)), {"b$c__d", "e"})):
        container = box(*indexes)
        store = await SqliteStore.open(path, clock=clock, containers={"box": container})
        await store.upsert(container, T1, item(e="x", d=1, b={"c": "y"}))
        await store.close()
        assert names() == {"items_box_key", *(f"items_box_by__{each}" for each in expected)}
    reopened = await SqliteStore.open(path, clock=clock, containers={"box": container})
    page = await reopened.query(container, T1, Query(order_by="e"))
    assert [each["id"] for each in page.items] == ["a"]
    await reopened.close()


async def test_the_values_of_an_array_follow_their_items(path: Path, clock: ManualClock) -> None:
    """Through every kind of write, and for what was stored before the index was declared."""
    plain = box(("n",))
    indexed = dataclasses.replace(plain, array_indexes=(("who", "n"),))

    async def found(store: SqliteStore, value: str) -> list[str]:
        page = await store.query(indexed, T1, Query((Has("who", value),), order_by="n"))
        return [each["id"] for each in page.items]

    store = await SqliteStore.open(path, clock=clock, containers={"box": plain})
    for index, who in enumerate((["ada"], ["ada", "bob", "ada"], {"0": "ada"}, "ada", [["ada"], 1, None, True])):
        await store.create(plain, T1, item(f"i{index}", n=index, who=who))
    await store.create(plain, T1, item("unordered", who=["ada"]))
    await store.close()
    for _ in range(2):
        store = await SqliteStore.open(path, clock=clock, containers={"box": indexed})
        assert await found(store, "ada") == ["i0", "i1"]
        await store.close()
    store = await SqliteStore.open(path, clock=clock, containers={"box": indexed})
    await store.replace(indexed, T1, item("i0", n=9, who=["bob", "ada\x00x"]))
    await store.patch(indexed, T1, "i1", [PatchSet("who", ["cleo"])])
    await store.upsert(indexed, T1, item("i5", n=5, who=["ada", "bob"]))
    await store.create(indexed, T1, item("i6", n=6, who=["ada"]))
    await store.delete(indexed, T1, "i6")
    several = [create(item(f"b{n}", n=20 + n, who=["dan", f"d{n}"])) for n in range(3)]
    await store.batch(indexed, T1, several)
    assert [await found(store, name) for name in ("dan", "d1", "d9")] == [["b0", "b1", "b2"], ["b1"], []]
    for n in range(3):
        await store.delete(indexed, T1, f"b{n}")
    assert [await found(store, name) for name in ("ada", "bob", "cleo")] == [["i5"], ["i5", "i0"], ["i1"]]
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute('SELECT value, sort, item FROM "items_box_in__who__n" ORDER BY 1, 2').fetchall()
        assert rows == [("ada", 5, "i5"), ("ada", 9, "i0"), ("bob", 5, "i5"), ("bob", 9, "i0"), ("cleo", 1, "i1")]
    store = await SqliteStore.open(path, clock=clock, containers={"box": plain})
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%in!_!_%' ESCAPE '!'"
        ).fetchone() == (0,)


async def test_an_array_index_of_the_first_schema_is_made_anew(path: Path, clock: ManualClock) -> None:
    """There the items of batches were missing from it."""
    indexed = dataclasses.replace(box(("n",)), array_indexes=(("who", "n"),))
    store = await SqliteStore.open(path, clock=clock, containers={"box": indexed})
    await store.batch(indexed, T1, [create(item(f"b{n}", n=n, who=["dan"])) for n in range(3)])
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('DELETE FROM "items_box_in__who__n"')
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    for _ in range(2):
        store = await SqliteStore.open(path, clock=clock, containers={"box": indexed})
        page = await store.query(indexed, T1, Query((Has("who", "dan"),), order_by="n"))
        assert [each["id"] for each in page.items] == ["b0", "b1", "b2"]
        await store.close()


@pytest.mark.parametrize("container", [box(name="x; DROP"), box(name="Ü"), box(("a'b",)), box(("",))])
async def test_a_declaration_is_plain_names(clock: ManualClock, container: Container) -> None:
    with pytest.raises(ValueError, match="name"):
        await SqliteStore.open(None, clock=clock, containers={"x": container})


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 2**63, 2**64 + 1, 10**30, -(10**400)])
async def test_integers_of_any_size_come_back_exactly(store: SqliteStore, number: int) -> None:
    await store.create(IDENTITY, T1, item(kind=number, created_at=number))
    assert (await store.read(IDENTITY, T1, "a"))["kind"] == number
    page = await store.query(IDENTITY, T1, Query(order_by="created_at"))
    assert [each["kind"] for each in page.items] == [number]


# The end


CALLS: list[Callable[[SqliteStore], Awaitable[object]]] = [
    lambda store: store.create(IDENTITY, T1, item("b")),
    lambda store: store.read(IDENTITY, T1, "a"),
    lambda store: store.replace(IDENTITY, T1, item()),
    lambda store: store.upsert(IDENTITY, T1, item()),
    lambda store: store.delete(IDENTITY, T1, "a"),
    lambda store: store.patch(IDENTITY, T1, "a", [PatchSet("n", 1)]),
    lambda store: store.batch(IDENTITY, T1, [create(item("b"))]),
    lambda store: store.query(IDENTITY, T1, Query()),
    lambda store: store.changes(IDENTITY, 0, 1),
    lambda store: store.last_position(IDENTITY),
    lambda store: store.wait_for_change(IDENTITY, 0, 1),
    lambda store: store.ping(),
]


async def test_a_closed_store_is_unavailable(clock: ManualClock) -> None:
    store = await SqliteStore.open(None, clock=clock)
    await store.create(IDENTITY, T1, item())
    await store.close()
    for call in CALLS:
        with pytest.raises(Unavailable):
            await call(store)
    await store.close()


async def test_closing_finishes_what_is_under_way(path: Path, clock: ManualClock) -> None:
    store = await SqliteStore.open(path, clock=clock)
    writes = [asyncio.ensure_future(store.create(IDENTITY, T1, item(f"{n:03}"))) for n in range(600)]
    reads = [asyncio.ensure_future(store.query(IDENTITY, T1, Query())) for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*writes)) == 600
    await asyncio.gather(*reads)
    reopened = await SqliteStore.open(path, clock=clock)
    assert len((await reopened.query(IDENTITY, T1, Query(limit=1000))).items) == 600
    await reopened.close()


async def test_closing_wakes_those_who_wait_for_changes(clock: ManualClock) -> None:
    store = await SqliteStore.open(None, clock=clock)
    waiting = asyncio.ensure_future(store.wait_for_change(IDENTITY, 0, 3600))
    await until_waiting(store)
    await store.close()
    with pytest.raises(Unavailable):
        await waiting


# Failures


@asynccontextmanager
async def one_group(store: SqliteStore) -> AsyncIterator[None]:
    """The writer stands still meanwhile, so that what is submitted inside makes one group."""
    started, go_on = threading.Event(), threading.Event()

    def stand_still(tx: Transaction) -> None:
        started.set()
        go_on.wait(30)

    standing = asyncio.ensure_future(store._writer.submit(stand_still))
    await asyncio.to_thread(started.wait, 30)
    try:
        yield
        await asyncio.sleep(0)
    finally:
        go_on.set()
        await standing


async def test_a_locked_database_is_unavailable_and_recovers(store: SqliteStore, path: Path) -> None:
    await store.create(IDENTITY, T1, item(n=0))
    with closing(sqlite3.connect(path, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        writes = [store.create(IDENTITY, T1, item(f"{n}")) for n in range(5)]
        results = await asyncio.gather(*writes, store.ping(), return_exceptions=True)
        assert [type(each) for each in results] == [Unavailable] * 6
        assert len({id(each) for each in results}) == 6, "one error object per caller"
        assert (await store.read(IDENTITY, T1, "a"))["n"] == 0
        intruder.execute("ROLLBACK")
    await store.ping()
    await store.create(IDENTITY, T1, item("0"))
    page = await store.query(IDENTITY, T1, Query())
    assert [each["id"] for each in page.items] == ["0", "a"]


async def test_a_full_disk_fails_the_group_and_the_store_goes_on(store: SqliteStore) -> None:
    etag = (await store.create(IDENTITY, T1, item(n=0)))["_etag"]
    writer = store._resources.writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    big = "x" * 100_000
    results = await asyncio.gather(
        *(store.create(IDENTITY, T1, item(f"big-{n}", text=big)) for n in range(5)), return_exceptions=True
    )
    assert [type(each) for each in results] == [Unavailable] * 5
    assert (await store.read(IDENTITY, T1, "a"))["_etag"] == etag
    writer.execute("PRAGMA max_page_count = 1000000")
    await store.create(IDENTITY, T1, item("big-0", text=big))
    page = await store.query(IDENTITY, T1, Query(fields=("id",)))
    assert page.items == [{"id": "a"}, {"id": "big-0"}]


async def test_a_failed_commit_fails_every_operation_of_its_group(store: SqliteStore) -> None:
    await store.create(IDENTITY, T1, item(n=0))
    position = await store.last_position(IDENTITY)
    writer = store._resources.writer
    # A deferred constraint is checked by COMMIT alone: the statements before it succeed.
    writer.executescript(
        "PRAGMA foreign_keys = ON;"
        "CREATE TABLE trap (x INTEGER REFERENCES feed (position) DEFERRABLE INITIALLY DEFERRED);"
        "CREATE UNIQUE INDEX trap_target ON feed (position);"
        "CREATE TRIGGER spring AFTER INSERT ON items_identity WHEN new.id = 'poison'"
        " BEGIN INSERT INTO trap VALUES (-1); END;"
    )
    async with one_group(store):
        writes = [store.create(IDENTITY, T1, item(each)) for each in ("b", "poison", "c")]
        patch = store.patch(IDENTITY, T1, "a", [PatchIncrement("n")])
        together = asyncio.gather(*writes, patch, return_exceptions=True)
    results = await together
    assert [type(each) for each in results] == [Unavailable] * 4
    writer.executescript("DROP TRIGGER spring; DROP TABLE trap; DROP INDEX trap_target;")
    assert await store.last_position(IDENTITY) == position
    for each in ("b", "poison", "c"):
        await store.create(IDENTITY, T1, item(each))
    assert (await store.read(IDENTITY, T1, "a"))["n"] == 0
    assert len(await store.changes(IDENTITY, position, 10)) == 3


async def test_when_sqlite_gives_up_the_transaction_nothing_of_the_group_is_written(store: SqliteStore) -> None:
    await store.create(IDENTITY, T1, item("poison", n=0))
    writer = store._resources.writer
    writer.execute(
        "CREATE TRIGGER spring BEFORE UPDATE ON items_identity WHEN new.id = 'poison'"
        " BEGIN SELECT RAISE(ROLLBACK, 'as a full disk may'); END"
    )
    async with one_group(store):
        writes = [store.create(IDENTITY, T1, item("b")), store.replace(IDENTITY, T1, item("poison", n=1))]
        together = asyncio.gather(*writes, store.create(IDENTITY, T1, item("c")), return_exceptions=True)
    assert [type(each) for each in await together] == [Unavailable] * 3
    writer.execute("DROP TRIGGER spring")
    page = await store.query(IDENTITY, T1, Query(fields=("id", "n")))
    assert page.items == [{"id": "poison", "n": 0}]


async def test_nothing_of_sqlite_leaks_out_of_a_failed_read(store: SqliteStore) -> None:
    await store.create(IDENTITY, T1, item())
    for connection in store._resources._readers:
        connection.close()
    for call in (
        store.read(IDENTITY, T1, "a"),
        store.query(IDENTITY, T1, Query()),
        store.query(AUDIT_EVENTS, T1, Query()),
        store.changes(IDENTITY, 0, 10),
        store.last_position(IDENTITY),
    ):
        with pytest.raises(Unavailable) as caught:
            await call
        assert not isinstance(caught.value.__cause__, sqlite3.Error)


async def test_a_defect_in_one_operation_is_its_own(store: SqliteStore) -> None:
    def broken(tx: Transaction) -> None:
        tx.connection.execute("DELETE FROM items_identity")
        raise ZeroDivisionError

    def misspelled(tx: Transaction) -> None:
        tx.connection.execute("DELETE FROM items_identity")
        tx.connection.execute("SELEKT")

    async with one_group(store):
        together = asyncio.gather(
            store.create(IDENTITY, T1, item("a")),
            store._writer.submit(broken),
            store._writer.submit(misspelled),
            store.create(IDENTITY, T1, item("b")),
            return_exceptions=True,
        )
    results = await together
    assert [type(each) for each in results] == [dict, ZeroDivisionError, Unavailable, dict]
    page = await store.query(IDENTITY, T1, Query())
    assert [each["id"] for each in page.items] == ["a", "b"]


async def test_what_is_added_at_once_is_added_together(store: SqliteStore) -> None:
    statements: list[str] = []
    async with one_group(store):
        new = [store.create(IDENTITY, at, item(f"{n}", tenant_id=at[0])) for n, at in enumerate((T1, T2) * 3)]
        together = asyncio.gather(*new, store.batch(IDENTITY, T1, [create(item("x")), create(item("y"))]))
        store._resources.writer.set_trace_callback(statements.append)
    await together
    assert sum(each.startswith("INSERT INTO items_identity") for each in statements) == 1
    assert [each["id"] for each in (await store.query(IDENTITY, T1, Query())).items] == ["0", "2", "4", "x", "y"]
    assert [each["id"] for each in (await store.query(IDENTITY, T2, Query())).items] == ["1", "3", "5"]


async def test_one_that_is_there_is_the_conflict_of_its_own_caller(store: SqliteStore) -> None:
    await store.create(IDENTITY, T1, item("there", n=0))
    async with one_group(store):
        together = asyncio.gather(
            store.create(IDENTITY, T1, item("a")),
            store.create(IDENTITY, T1, item("there")),
            store.batch(IDENTITY, T1, [create(item("b")), create(item("there"))]),
            store.create(IDENTITY, T2, item("there", tenant_id="t2")),
            store.create(IDENTITY, T1, item("a")),
            return_exceptions=True,
        )
    added, there, batch, elsewhere, twice = await together
    assert [type(each) for each in (added, elsewhere)] == [dict] * 2
    conflicts = [each for each in (there, batch, twice) if isinstance(each, Conflict)]
    assert [each.index for each in conflicts] == [None, 1, None]
    assert [each["id"] for each in (await store.query(IDENTITY, T1, Query())).items] == ["a", "there"]
    assert (await store.read(IDENTITY, T1, "there"))["n"] == 0


async def test_one_that_sqlite_cannot_take_is_the_fault_of_its_own_caller(store: SqliteStore) -> None:
    table = store._table(IDENTITY)
    unfit = dataclasses.replace(prepare(IDENTITY, T1, item("unfit"), now=0, ttl_days=1), expires_at=2**70)
    async with one_group(store):
        together = asyncio.gather(
            store.create(IDENTITY, T1, item("a")),
            store._writer.submit(Creation(table, T1, (unfit,))),
            store.create(IDENTITY, T1, item("b")),
            return_exceptions=True,
        )
    assert [type(each) for each in await together] == [dict, OverflowError, dict]


async def test_too_many_waiting_writes_are_throttled(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite_writer, "MAX_QUEUED_BYTES", 10 * (_sqlite_writer.JOB_BYTES + 1000))
    writes = [store.create(IDENTITY, T1, item(f"{n:02}", text="x" * 900)) for n in range(40)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [each.retry_after_seconds > 0 for each in results if isinstance(each, Throttled)] == [True] * 30
    assert sum(isinstance(each, dict) for each in results) == 10
    await store.create(IDENTITY, T1, item("large", text="x" * 100_000))
    await store.create(IDENTITY, T1, item("after"))
    assert len((await store.query(IDENTITY, T1, Query())).items) == 12


async def test_waiting_writes_share_commits(store: SqliteStore) -> None:
    commits: list[str] = []
    async with one_group(store):
        writes = [store.create(IDENTITY, T1, item(f"{n:03}")) for n in range(_sqlite_writer.MAX_GROUP_JOBS + 1)]
        together = asyncio.gather(*writes)
        await asyncio.sleep(0)
        store._resources.writer.set_trace_callback(
            lambda statement: commits.append(statement) if statement == "COMMIT" else None
        )
    assert len(await together) == 257
    await store.ping()
    store._resources.writer.set_trace_callback(None)
    assert len(commits) == 1 + 2 + 1, "the one that stood still, two groups, the ping"


# Purging


async def test_expired_items_leave_the_file_a_bounded_number_at_a_time(
    store: SqliteStore, path: Path, clock: ManualClock
) -> None:
    def rows() -> int:
        with closing(sqlite3.connect(path)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM items_identity").fetchone()
            return int(count)

    for start in range(0, 2 * PURGE_ROWS + 100, 100):
        steps = [create(item(f"{start + n:04}", ttl=60)) for n in range(100)]
        await store.batch(IDENTITY, T1, steps)
    await store.create(IDENTITY, T1, item("kept"))
    await store.ping()
    before = rows()
    clock.advance(seconds=60)
    left = []
    for _ in range(4):
        await store.ping()
        left.append(rows())
    assert left == [before - PURGE_ROWS, before - 2 * PURGE_ROWS, 1, 1]


async def test_what_is_left_to_purge_does_not_wake_the_feed(store: SqliteStore, clock: ManualClock) -> None:
    await store.create(IDENTITY, T1, item(ttl=1))
    clock.advance(seconds=2)
    assert await store.last_position(IDENTITY) == 0
    assert await store.changes(IDENTITY, 0, 10) == []
    assert not await store.wait_for_change(IDENTITY, 0, 0.01)


class Ticking(ManualClock):
    """A clock that a second passes on whenever it is asked."""

    def now(self) -> datetime:
        return self.advance(seconds=1)


async def test_a_period_ends_at_one_second_however_long_its_writes_waited(path: Path) -> None:
    store = await SqliteStore.open(path, clock=Ticking(), ttl_days=10)
    for n in range(3):
        event = {"id": str(n), "tenant_id": "t1", "period": "2026-03"}
        await store.create(AUDIT_EVENTS, ("t1", "2026-03"), event)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT DISTINCT expires FROM items_audit_events").fetchall()
    assert rows == [(int(datetime(2026, 4, 11, tzinfo=UTC).timestamp()),)]


# The feed


async def test_every_write_takes_a_higher_position(store: SqliteStore) -> None:
    assert await store.last_position(IDENTITY) == 0
    for item_id in ("c", "a"):
        await store.create(IDENTITY, T1, item(item_id))
    await store.replace(IDENTITY, T1, item("c", n=1))
    await store.batch(IDENTITY, T1, [create(item("d")), create(item("e"))])
    numbers = [each.position for each in await store.changes(IDENTITY, 0, 1000)]
    assert numbers == [2, 3, 4, 5]
    assert await store.last_position(IDENTITY) == 5


async def test_a_position_beyond_the_end_has_nothing_after_it(store: SqliteStore) -> None:
    await store.create(IDENTITY, T1, item())
    assert await store.changes(IDENTITY, 2**80, 3) == []


async def test_a_reader_beside_writers_misses_nothing_and_sees_nothing_twice(store: SqliteStore) -> None:
    done = asyncio.Event()
    seen: list[str] = []

    async def reader() -> None:
        after: Position = 0
        while True:
            finished = done.is_set()
            part = await store.changes(IDENTITY, after, 7)
            seen.extend(each.item["id"] for each in part)
            after = part[-1].position if part else after
            if finished and not part:
                return

    async def writer(number: int) -> None:
        for turn in range(60):
            await store.create(IDENTITY, T1, item(f"{number}-{turn}"))

    reading = asyncio.ensure_future(reader())
    await asyncio.gather(*(writer(number) for number in range(8)))
    done.set()
    await reading
    assert len(seen) == 480
    assert len(set(seen)) == 480
    for number in range(8):
        mine = [each for each in seen if each.startswith(f"{number}-")]
        assert mine == [f"{number}-{turn}" for turn in range(60)]


async def until_waiting(store: SqliteStore) -> None:
    """Until a wait for changes found nothing and sleeps."""
    await asyncio.sleep(0.02)
    assert len(store._waiters["items_identity"]) == 1


async def test_a_wait_ends_with_a_write(store: SqliteStore) -> None:
    for _ in range(20):
        after = await store.last_position(IDENTITY)
        waiting = [asyncio.ensure_future(store.wait_for_change(IDENTITY, after, 3600)) for _ in range(3)]
        await asyncio.sleep(0)
        await store.upsert(IDENTITY, T1, item())
        async with asyncio.timeout(10):
            assert await asyncio.gather(*waiting) == [True] * 3
    assert await store.wait_for_change(IDENTITY, 0, 0)
    assert not store._waiters["items_identity"]


async def test_a_wait_ends_with_its_time(store: SqliteStore) -> None:
    await store.create(IDENTITY, T1, item())
    after = await store.last_position(IDENTITY)
    assert not await store.wait_for_change(IDENTITY, after, 0)
    waiting = asyncio.ensure_future(store.wait_for_change(IDENTITY, after, 0.1))
    await until_waiting(store)
    await store.upsert(AUDIT_EVENTS, ("t1", "2026-03"), {"id": "e", "tenant_id": "t1", "period": "2026-03"})
    await store.create(IDENTITY, T1, item("short"))
    assert await waiting
    waiting = asyncio.ensure_future(store.wait_for_change(IDENTITY, after + 1, 0.1))
    await store.delete(IDENTITY, T1, "short")
    await store.upsert(AUDIT_EVENTS, ("t1", "2026-03"), {"id": "e", "tenant_id": "t1", "period": "2026-03"})
    assert not await waiting


async def test_a_wait_that_is_given_up_leaves_nothing(store: SqliteStore) -> None:
    waiting = asyncio.ensure_future(store.wait_for_change(IDENTITY, 0, 3600))
    await until_waiting(store)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not store._waiters["items_identity"]
    await store.create(IDENTITY, T1, item())
