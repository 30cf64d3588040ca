"""The values of an array field, one row each, ordered like the items that hold them: what SQLite has no index for.

A new item's rows are written beside it; triggers see to changes and deletions, which are rare. For new items a trigger
was measured to double the price of a write: SQLite then journals every page that the statement touches.
A row too many does no harm, for every row that a query finds is checked against the item; a row too few would.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.storage._items import path_parts


@dataclass(frozen=True, slots=True)
class ArrayIndex:
    """The table of one array: `k0`… are the partition, then the value, the ordered field and the item's id."""

    name: str
    keys: tuple[str, ...]
    path: str
    order: str
    _of: str
    _of_keys: tuple[str, ...]

    @classmethod
    def of(cls, table: str, keys: tuple[str, ...], path: str, order: str) -> "ArrayIndex":
        """The index of the array at `path` of a table with these keys, for results ordered by `order`."""
        name = f"{table}_in__{'$'.join(path_parts(path))}__{'$'.join(path_parts(order))}"
        return cls(name, tuple(f"k{level}" for level in range(len(keys))), path, order, table, keys)

    def definition(self) -> Iterator[tuple[str, str]]:
        """Name and statement of the table and its triggers, the table first."""
        columns = ", ".join(f"{key} TEXT NOT NULL" for key in self.keys)
        own = ", ".join((*self.keys, "value", "sort", "item"))
        yield (
            self.name,
            f'CREATE TABLE IF NOT EXISTS "{self.name}" ({columns}, value TEXT NOT NULL, sort ANY NOT NULL, '
            f"item TEXT NOT NULL, PRIMARY KEY ({own})) STRICT, WITHOUT ROWID",
        )
        add = f'INSERT INTO "{self.name}" {self._rows("new.")};'
        # Each part of the key for itself: for all of them in one row SQLite walks through every row of the value.
        place = " AND ".join(f"{key} = old.{of}" for key, of in zip(self.keys, self._of_keys, strict=True))
        remove = (
            f'DELETE FROM "{self.name}" WHERE {place} AND sort = {self._ordered("old.")} AND item = old.id '  # noqa: S608
            f"AND value IN (SELECT e.value FROM json_each(old.body, '$.{self.path}') AS e WHERE e.type = 'text');"
        )
        changed = " OR ".join(
            f"json_extract(old.body, '$.{path}') IS NOT json_extract(new.body, '$.{path}')"
            for path in (self.path, self.order)
        )
        for event, when, body in (("DELETE", "", remove), ("UPDATE", f"WHEN {changed} ", f"{remove} {add}")):
            name = f"{self.name}__{event.lower()}"
            yield name, f'CREATE TRIGGER IF NOT EXISTS "{name}" AFTER {event} ON {self._of} {when}BEGIN {body} END'

    @property
    def insert(self) -> str:
        """The statement that enters one value of a new item: partition, value, ordered field, id."""
        return self.insert_many(1)

    def insert_many(self, rows: int) -> str:
        """The statement that enters so many at once."""
        marks = ", ".join("?" * (len(self.keys) + 3))
        return f'INSERT OR IGNORE INTO "{self.name}" VALUES {", ".join([f"({marks})"] * rows)}'  # noqa: S608 - ours

    def fill(self) -> str:
        """The statement that enters every item that is there already."""
        return f'INSERT INTO "{self.name}" {self._rows(f"{self._of}.", f"{self._of}, ")}'

    def _ordered(self, item: str) -> str:
        """The value of an item that its rows are ordered by."""
        return f"json_extract({item}body, '$.{self.order}')"

    def _rows(self, item: str, source: str = "") -> str:
        """The rows of an item. An object is no array, and without the ordered field there is no place in an order."""
        keys = ", ".join(f"{item}{key}" for key in self._of_keys)
        body, order = f"{item}body", self._ordered(item)
        return (
            f"SELECT DISTINCT {keys}, e.value, {order}, {item}id "  # noqa: S608 - names of ours
            f"FROM {source}json_each({body}, '$.{self.path}') AS e "
            f"WHERE e.type = 'text' AND json_type({body}, '$.{self.path}') = 'array' AND {order} IS NOT NULL"
        )
