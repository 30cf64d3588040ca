"""What a write does to the tables, inside a transaction that the writer opened."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import batched

from pydantic_core import from_json

from shared.storage._items import Prepared, apply_patches, prepare
from shared.storage._sqlite_schema import FOREVER, Table
from shared.storage.documents import Change, Item, Partition, Patch
from shared.storage.errors import Conflict, NotFound, PreconditionFailed

PURGE_ROWS = 200
ROWS_AT_ONCE = 500
"""Of an array index: far fewer than SQLite takes parameters for in one statement."""

type Row = tuple[int, int, str]
"""Position, second of the write, JSON text."""


@dataclass(slots=True)
class Transaction:
    """One group's transaction: when it happens, and the position that each table's feed has reached."""

    connection: sqlite3.Connection
    now: int
    positions: dict[str, int]
    ttl_days: int
    changed: set[str] = field(default_factory=set)

    def next_position(self, table: Table) -> int:
        """A position above every earlier one of the table."""
        position = self.positions.get(table.name, 0) + 1
        self.positions[table.name] = position
        self.changed.add(table.name)
        return position


type Step = Callable[[Transaction], Row | None]
"""One write (or read within a batch): the row as it left it, None for a deletion."""

type Find = Callable[[Transaction], Row]


def etag_of(position: int) -> str:
    """The etag of the version written at a position."""
    return f"{position:x}"


def decode(row: Row) -> Item:
    """A fresh item with the store's own fields."""
    position, ts, body = row
    item: Item = from_json(body, cache_strings="keys")  # half of what json takes; values are nobody's to keep
    item["_etag"] = etag_of(position)
    item["_ts"] = ts
    return item


def decode_change(row: Row) -> Change:
    """One entry of the feed: the stored text (an object that is never empty) with the store's own fields at its end."""
    position, ts, body = row
    return Change(position, f'{body[:-1]},"_etag":"{etag_of(position)}","_ts":{ts}}}')


def read_step(table: Table, partition: Partition, item_id: str) -> Find:
    """Read an item. NotFound."""

    def run(tx: Transaction) -> Row:
        row: Row | None = tx.connection.execute(table.find, (*partition, item_id, tx.now)).fetchone()
        if row is None:
            raise NotFound(f"{table.container.name}: no such item")
        return row

    return run


def create_step(table: Table, partition: Partition, item: Prepared) -> Step:
    """Add an item; one that expired under its id makes way. Conflict."""

    def run(tx: Transaction) -> Row:
        try:
            return _insert(tx, table, partition, item)
        except sqlite3.IntegrityError:
            gone = tx.connection.execute(table.delete_expired, (*partition, item.id, tx.now)).rowcount
            if not gone:
                raise Conflict(f"{table.container.name}: an item of that id exists") from None
            return _insert(tx, table, partition, item)

    return run


def replace_step(table: Table, partition: Partition, item: Prepared, if_match: str | None) -> Step:
    """Write over an item. NotFound; PreconditionFailed."""
    find = _matching(table, partition, item.id, if_match)

    def run(tx: Transaction) -> Row:
        return _update(tx, table, find(tx)[0], item)

    return run


def upsert_step(table: Table, partition: Partition, item: Prepared) -> Step:
    """Create or write over an item."""

    def run(tx: Transaction) -> Row:
        row = tx.connection.execute(table.find, (*partition, item.id, tx.now)).fetchone()
        if row is not None:
            return _update(tx, table, row[0], item)
        tx.connection.execute(table.delete_expired, (*partition, item.id, tx.now))
        return _insert(tx, table, partition, item)

    return run


def delete_step(table: Table, partition: Partition, item_id: str, if_match: str | None) -> Step:
    """Remove an item. NotFound; PreconditionFailed."""
    find = _matching(table, partition, item_id, if_match)

    def run(tx: Transaction) -> None:
        tx.connection.execute(table.delete, (find(tx)[0],))

    return run


def patch_step(
    table: Table, partition: Partition, item_id: str, patches: Sequence[Patch], if_match: str | None
) -> Step:
    """Change fields of an item. NotFound; PreconditionFailed; TooLarge when it grew too much."""
    find = _matching(table, partition, item_id, if_match)

    def run(tx: Transaction) -> Row:
        position, _, body = find(tx)
        item: Item = from_json(body, cache_strings="keys")
        apply_patches(item, patches)
        prepared = prepare(table.container, partition, item, now=tx.now, ttl_days=tx.ttl_days)
        return _update(tx, table, position, prepared)

    return run


def run_batch(steps: Sequence[Step]) -> Callable[[Transaction], list[Row | None]]:
    """All steps in order; the first that fails ends it (the writer undoes the others)."""

    def run(tx: Transaction) -> list[Row | None]:
        rows: list[Row | None] = []
        for index, step in enumerate(steps):
            try:
                rows.append(step(tx))
            except Conflict as conflict:
                raise Conflict(str(conflict), index=index) from None
        return rows

    return run


@dataclass(frozen=True, slots=True)
class Creation:
    """Items to add to one partition, all or none, as a write: their rows. Conflict."""

    table: Table
    partition: Partition
    items: Sequence[Prepared]

    def __call__(self, tx: Transaction) -> list[Row | None]:
        """Add them by themselves."""
        try:
            return [*create_together(tx, [self])[0]]
        except sqlite3.IntegrityError:  # one is there, or expired and still there: one by one it shows which
            return run_batch([create_step(self.table, self.partition, item) for item in self.items])(tx)


def create_together(tx: Transaction, creations: Sequence[Creation]) -> list[list[Row]]:
    """Add the items of creations in one table, all or none. sqlite3.IntegrityError if one is there, with nothing done.

    One statement for all of them: SQLite works without the interpreter, and the interpreter without SQLite. With a
    statement for each, this thread would wait for the interpreter after each one, for milliseconds when it is busy.
    """
    table = creations[0].table
    rows = [[(tx.next_position(table), tx.now, item.body) for item in each.items] for each in creations]
    values = [
        value
        for each, its_rows in zip(creations, rows, strict=True)
        for (position, now, body), item in zip(its_rows, each.items, strict=True)
        for value in (position, *each.partition, item.id, now, _expires(tx, item), body)
    ]
    tx.connection.execute(table.insert_many(sum(len(each.items) for each in creations)), values)
    _insert_arrays(tx, table, [(each.partition, item) for each in creations for item in each.items])
    return rows


def beat(tx: Transaction) -> None:
    """Write something that means nothing: proof that the whole path to the disk works."""
    tx.connection.execute(
        "INSERT INTO heartbeat (one, at) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET at = excluded.at", (tx.now,)
    )


def purge(tx: Transaction, tables: Sequence[Table]) -> bool:
    """Remove some expired items for good; True when a table may hold more."""
    more = False
    for table in tables:
        if table.container.default_ttl_seconds is not None:
            removed = tx.connection.execute(table.purge, (tx.now, PURGE_ROWS)).rowcount
            more = more or removed == PURGE_ROWS
    return more


def _matching(table: Table, partition: Partition, item_id: str, if_match: str | None) -> Find:
    find = read_step(table, partition, item_id)

    def run(tx: Transaction) -> Row:
        row = find(tx)
        if if_match is not None and if_match != etag_of(row[0]):
            raise PreconditionFailed(f"{table.container.name}: the item changed since it was read")
        return row

    return run


def _expires(tx: Transaction, item: Prepared) -> int:
    if item.expires_at is not None:
        return max(item.expires_at, tx.now + 1)
    return FOREVER if item.ttl is None else tx.now + item.ttl


def _insert_arrays(tx: Transaction, table: Table, items: Sequence[tuple[Partition, Prepared]]) -> None:
    """Enter the values of new items' arrays, many at once."""
    for number, index in enumerate(table.arrays):
        found = [
            (*partition, text, item.arrays[number][0], item.id)
            for partition, item in items
            for text in item.arrays[number][1]
        ]
        for rows in batched(found, ROWS_AT_ONCE, strict=False):
            tx.connection.execute(index.insert_many(len(rows)), [value for row in rows for value in row])


def _insert(tx: Transaction, table: Table, partition: Partition, item: Prepared) -> Row:
    position = tx.next_position(table)
    values = (position, *partition, item.id, tx.now, _expires(tx, item), item.body)
    tx.connection.execute(table.insert, values)
    for statement, (ordered, texts) in zip(table.array_inserts, item.arrays, strict=True):
        for text in texts:
            tx.connection.execute(statement, (*partition, text, ordered, item.id))
    return position, tx.now, item.body


def _update(tx: Transaction, table: Table, old: int, item: Prepared) -> Row:
    position = tx.next_position(table)
    tx.connection.execute(table.update, (position, tx.now, _expires(tx, item), item.body, old))
    return position, tx.now, item.body
