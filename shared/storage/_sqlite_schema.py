"""The SQLite file: its place and lock, its connections, one table per container and the statements on it."""

import contextlib
import fcntl
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.storage._items import path_parts
from shared.storage._sqlite_arrays import ArrayIndex
from shared.storage.containers import Container
from shared.storage.errors import Unavailable

FOREVER = 2**63 - 1  # `expires` of an item that never does
APPLICATION_ID = 0x4B524644
SCHEMA_VERSION = 2
"""2: array indexes hold the items of batches, too, and what leaves an array as it was does not touch them."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def field_value(path: str) -> str:
    """The SQL expression of a field's scalar; indexes and queries must spell it alike for an index to serve."""
    path_parts(path)
    return f"json_extract(body, '$.{path}')"


@dataclass(frozen=True, slots=True)
class Table:
    """One container's table: `p0`… are the partition, `position` is the rowid, the etag and the feed's order."""

    container: Container
    name: str
    keys: tuple[str, ...]
    arrays: tuple[ArrayIndex, ...]
    array_inserts: tuple[str, ...]
    insert: str
    find: str
    update: str
    delete: str
    delete_expired: str
    purge: str
    changes: str
    last: str

    @classmethod
    def of(cls, container: Container) -> "Table":
        """The table of a container. ValueError for a name that is not plain."""
        if not _NAME.fullmatch(container.name):
            raise ValueError("a container's name is lower case letters, digits and _")
        name = f"items_{container.name}"
        keys = tuple(f"p{level}" for level in range(len(container.partition_key)))
        arrays = tuple(ArrayIndex.of(name, keys, *each) for each in container.array_indexes)
        match = " AND ".join(f"{key} = ?" for key in (*keys, "id"))
        given = f"(SELECT position FROM feed WHERE name = '{name}')"  # noqa: S608 - what lies beyond, nobody wrote here
        columns = ", ".join(("position", *keys, "id", "ts", "expires", "body"))
        marks = ", ".join("?" * (len(keys) + 5))
        # Names are checked above and paths in field_value; every value is a bound parameter.
        return cls(
            container=container,
            name=name,
            keys=keys,
            arrays=arrays,
            array_inserts=tuple(each.insert for each in arrays),
            insert=f"INSERT INTO {name} ({columns}) VALUES ({marks})",  # noqa: S608
            find=f"SELECT position, ts, body FROM {name} WHERE {match} AND +expires > ?",  # noqa: S608
            update=f"UPDATE {name} SET position = ?, ts = ?, expires = ?, body = ? WHERE position = ?",  # noqa: S608
            delete=f"DELETE FROM {name} WHERE position = ?",  # noqa: S608
            delete_expired=f"DELETE FROM {name} WHERE {match} AND +expires <= ?",  # noqa: S608
            purge=f"DELETE FROM {name} WHERE position IN "  # noqa: S608
            f"(SELECT position FROM {name} WHERE expires <= ? AND expires < {FOREVER} LIMIT ?)",
            changes=f"SELECT position, ts, body FROM {name} "  # noqa: S608
            f"WHERE position > ? AND position <= {given} AND +expires > ? ORDER BY position LIMIT ?",
            last=f"SELECT position FROM {name} "  # noqa: S608
            f"WHERE position <= {given} AND +expires > ? ORDER BY position DESC LIMIT 1",
        )

    def insert_many(self, rows: int) -> str:
        """The statement that inserts so many rows at once."""
        head, values, marks = self.insert.partition(" VALUES ")
        return f"{head}{values}{','.join([marks] * rows)}"

    def definition(self) -> Iterator[tuple[str, str]]:
        """Name and statement of the table and of each index that it should have."""
        keys = ", ".join(f"{key} TEXT NOT NULL" for key in self.keys)
        yield (
            self.name,
            f"CREATE TABLE IF NOT EXISTS {self.name} (position INTEGER PRIMARY KEY, {keys}, id TEXT NOT NULL, "
            "ts INTEGER NOT NULL, expires INTEGER NOT NULL, body TEXT NOT NULL) STRICT",
        )
        own = ", ".join((*self.keys, "id"))
        yield f"{self.name}_key", f"CREATE UNIQUE INDEX IF NOT EXISTS {self.name}_key ON {self.name} ({own})"
        if self.container.default_ttl_seconds is not None:
            yield (
                f"{self.name}_expires",
                f"CREATE INDEX IF NOT EXISTS {self.name}_expires ON {self.name} (expires) WHERE expires < {FOREVER}",
            )
        for paths in self.container.indexes:
            name = self.index_name(paths)
            columns = ", ".join((*self.keys, *(field_value(path) for path in paths), "id"))
            yield name, f'CREATE INDEX IF NOT EXISTS "{name}" ON {self.name} ({columns})'

    def index_name(self, paths: tuple[str, ...]) -> str:
        """The name of the index of these paths."""
        return "__".join((f"{self.name}_by", *(path.replace(".", "$") for path in paths)))


class FileLock:
    """Keeps a second process (or a second store in this one) away from a database."""

    def __init__(self, database: Path) -> None:
        self._descriptor = _open_private(database.with_name(database.name + ".lock"))
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise Unavailable(f"another process has the database {database.name} open") from None

    def release(self) -> None:
        """Let the next one in. The file stays: removing it would race with whoever waits on it."""
        os.close(self._descriptor)


def prepare_file(database: Path, *, durable: bool = True) -> None:
    """Make the file and its folder, readable by this user only; tighten files that are there already.

    `durable`: their names are on the disk.
    """
    missing = [folder for folder in database.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    os.close(_open_private(database))
    for folder in {database.parent, *(each.parent for each in missing)} if durable else ():
        _sync_folder(folder)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            database.with_name(database.name + suffix).chmod(0o600)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file whose name is lost is lost."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_private(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.fstat(descriptor).st_mode & 0o077:
        os.fchmod(descriptor, 0o600)
    return descriptor


def connect_writer(
    database: Path, tables: Iterable[Table], *, busy_seconds: float, durable: bool = True
) -> sqlite3.Connection:
    """The one connection that writes, with the schema brought up to date. sqlite3.Error; Unavailable if foreign.

    `durable`: what is committed is on the disk.
    """
    connection = _connect(database, "rw", busy_seconds)
    try:
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        _create_schema(connection, tables)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(database: Path, *, busy_seconds: float) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = _connect(database, "ro", busy_seconds)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(database: Path, mode: str, busy_seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{database.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=busy_seconds,
        cached_statements=128,  # of 30 KB and more each, where they write to a table with many indexes
    )


def _create_schema(connection: sqlite3.Connection, tables: Iterable[Table]) -> None:
    """Create what is missing and drop indexes that are declared no more, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    application_id, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _STAMPS)
    empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not empty and (application_id != APPLICATION_ID or version > SCHEMA_VERSION):
        raise Unavailable("the database file belongs to another program or to a newer version")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("CREATE TABLE IF NOT EXISTS feed (name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT")
    connection.execute("CREATE TABLE IF NOT EXISTS heartbeat (one INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT")
    for table in tables:
        wanted = dict(table.definition())
        present = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (table.name,)
        )
        for (name,) in present.fetchall():
            if name not in wanted:
                connection.execute(f'DROP INDEX "{name}"')
        for statement in wanted.values():
            connection.execute(statement)
        _create_arrays(connection, table, anew=version < SCHEMA_VERSION)
    connection.execute("COMMIT")


def _create_arrays(connection: sqlite3.Connection, table: Table, *, anew: bool) -> None:
    """Create what is missing of the array indexes (or all `anew`), filled from the items there, and drop what is
    declared no more."""
    present = connection.execute(
        "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'trigger') AND name LIKE ? ORDER BY type DESC",
        (f"{table.name}_in__%",),
    ).fetchall()
    wanted = {name for each in table.arrays for name, _ in each.definition()}
    for kind, name in present:
        if anew or name not in wanted:
            connection.execute(f'DROP {kind} "{name}"')
    names = set[str]() if anew else {name for _, name in present}
    for each in table.arrays:
        for _, statement in each.definition():
            connection.execute(statement)
        if each.name not in names:
            connection.execute(each.fill())


_STAMPS = ("application_id", "user_version")
