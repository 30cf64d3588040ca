"""What the embedded store promises of the disk, as far as a test can see it without cutting the power."""

import asyncio
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.storage.containers import IDENTITY
from shared.storage.documents import Item, create
from shared.storage.errors import NotFound, Unavailable
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock

T1 = ("t1",)
PATIENCE_SECONDS = 30
"""How long a thread waits for what must happen at once, before a defect would make the tests wait for ever."""


def item(item_id: str) -> Item:
    return {"id": item_id, "tenant_id": "t1", "kind": "thing"}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "store.db", clock=ManualClock())
    yield opened
    await opened.close()


async def test_no_write_is_answered_or_seen_before_its_commit_is_done(store: SqliteStore) -> None:
    at_commit, go_on = threading.Event(), threading.Event()

    def hold(statement: str) -> None:
        if statement == "COMMIT":
            at_commit.set()
            go_on.wait(PATIENCE_SECONDS)

    store._resources.writer.set_trace_callback(hold)
    writes: list[asyncio.Task[object]] = [
        asyncio.create_task(store.create(IDENTITY, T1, item("single"))),
        asyncio.create_task(store.batch(IDENTITY, T1, [create(item("first")), create(item("second"))])),
    ]
    try:
        assert await asyncio.to_thread(at_commit.wait, PATIENCE_SECONDS)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not any(write.done() for write in writes)
        assert await store.last_position(IDENTITY) == 0
        for name in ("single", "first", "second"):
            with pytest.raises(NotFound):
                await store.read(IDENTITY, T1, name)
    finally:
        go_on.set()
        await asyncio.gather(*writes, return_exceptions=True)
    assert all(write.exception() is None for write in writes)
    assert await store.last_position(IDENTITY) == 3


async def test_the_writer_waits_for_the_disk_and_wipes_what_is_deleted(store: SqliteStore) -> None:
    wanted = {"synchronous": 2, "journal_mode": "wal", "secure_delete": 1, "journal_size_limit": 64 * 1024 * 1024}
    writer = store._resources.writer
    assert {name: writer.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted


async def test_a_reader_cannot_write_even_when_it_is_told_to(store: SqliteStore) -> None:
    for reader in store._resources._readers:
        reader.execute("PRAGMA query_only = OFF")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM items_identity")
        reader.execute("PRAGMA query_only = ON")


async def test_the_names_of_new_files_and_folders_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose name is lost is lost: each folder that got a new name is synced before the store is open."""
    synced: set[int] = set()
    sync = os.fsync

    def note(descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            synced.add(found.st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    store = await SqliteStore.open(tmp_path / "a" / "b" / "store.db", clock=ManualClock())
    await store.close()
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        assert folder.stat().st_ino in synced, folder.name


async def test_refusals_leave_the_lock_of_the_first_store_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    first = await SqliteStore.open(path, clock=ManualClock())
    for _ in range(3):
        with pytest.raises(Unavailable, match="another process"):
            await SqliteStore.open(path, clock=ManualClock())
    await first.create(IDENTITY, T1, item("a"))
    await first.close()
    second = await SqliteStore.open(path, clock=ManualClock())
    assert (await second.read(IDENTITY, T1, "a"))["id"] == "a"
    await second.close()
