"""The DocumentStore port: containers, partitions, items and etags, shaped like Cosmos DB.

An item is a JSON object with a text `id`; its partition key fields equal the partition it is written to. A returned
item carries two fields that only the store sets: `_etag` (changes with every write) and `_ts` (second of the last
write, Unix time). Top-level names that begin with `_` belong to the store: a write ignores them (so a returned item can
be changed and written back) and neither filters nor patches may name them. Items are copied on the way in and out.
`ttl` (seconds since the last write; -1 = never) is honored where the container has a TTL; an expired item is gone for
every call. Where a container expires by period the adapter sets `ttl` itself; only -1 (legal hold) is the caller's.

Paths are dotted ASCII names (`target.id`), constants of the program, never a user's text.
Filters and order work on ASCII strings without NUL, integers up to 2^53 - 1 and (Eq, In and Has only) booleans; an item
that lacks the ordered field, or holds null there, is not part of an ordered result. `true`, 1 and "1" are three
different values, and text is ordered by code point. A query over a prefix of the partition key takes ids to be unique
below that prefix, as ours are (UUIDv7): its pages go on after a value and an id.
"""

import dataclasses
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from shared.storage.containers import Container
from shared.storage.errors import NotFound

type Item = dict[str, Any]
type Partition = tuple[str, ...]
type Scalar = str | int

MAX_BATCH_OPERATIONS = 100
MAX_REQUEST_BYTES = 2 * 1024 * 1024
MAX_PAGE = 1000
MAX_ID_BYTES = 1023
_USABLE_ID = re.compile(r"""[^\x00-\x1f\x7f-\U0010ffff/\\?#]*[^\x00-\x20\x7f-\U0010ffff/\\?#]""")
STORE_FIELDS = ("_etag", "_ts")
"""What the store sets and every returned item carries."""


@dataclass(frozen=True, slots=True)
class Eq:
    """The field at `path` equals `value`."""

    path: str
    value: Scalar | bool


@dataclass(frozen=True, slots=True)
class In:
    """The field at `path` is one of `values` (an empty tuple matches nothing)."""

    path: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """`ge`/`gt` ≤ field < `lt`/`le`; a bound compares only with fields of its own type."""

    path: str
    ge: Scalar | None = None
    gt: Scalar | None = None
    lt: Scalar | None = None
    le: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    """The field at `path` is text that begins with `value` (case matters)."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class Defined:
    """The item has (or, with `present=False`, lacks) a field at `path`; null counts as a field."""

    path: str
    present: bool = True


@dataclass(frozen=True, slots=True)
class Has:
    """The array at `path` holds `value`."""

    path: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of `filters` holds (an empty tuple matches nothing)."""

    filters: "tuple[Filter, ...]"


type Filter = Eq | In | Range | Prefix | Defined | Has | AnyOf


@dataclass(frozen=True, slots=True)
class Cursor:
    """A keyset position: the ordered field's value and the id of the last item seen."""

    value: Scalar
    id: str


@dataclass(frozen=True, slots=True)
class Query:
    """One typed query. All of `where` must hold; ties in `order_by` are broken by id, in the same direction.

    `fields` projects to these top-level fields (and no others: name `id` and `_etag` where they are needed); None
    returns whole items.

    `examine`: about how many items a page may look at in vain. A page that gives up there holds fewer than `limit`, or
    none, and a `next` to go on from. An adapter whose engine combines indexes by itself may ignore it.
    """

    where: tuple[Filter, ...] = ()
    order_by: str = "id"
    descending: bool = False
    limit: int = 100
    after: Cursor | None = None
    fields: tuple[str, ...] | None = None
    examine: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_PAGE:
            raise ValueError(f"limit must be 1..{MAX_PAGE}")
        if self.examine is not None and self.examine < 1:
            raise ValueError("a page looks at one item at least")


@dataclass(frozen=True, slots=True)
class Page:
    """Items of one page and, when more may follow, the cursor of the next."""

    items: list[Item]
    next: Cursor | None


@dataclass(frozen=True, slots=True)
class PatchSet:
    """Set the field at `path` to `value`; its parents must exist and be objects (PreconditionFailed)."""

    path: str
    value: Any


@dataclass(frozen=True, slots=True)
class PatchRemove:
    """Remove the field at `path`; an absent one is an error (PreconditionFailed), as in Cosmos."""

    path: str


@dataclass(frozen=True, slots=True)
class PatchIncrement:
    """Add `by` to the integer at `path`; an absent field counts as 0, another type is PreconditionFailed."""

    path: str
    by: int = 1


type Patch = PatchSet | PatchRemove | PatchIncrement


@dataclass(frozen=True, slots=True)
class BatchOperation:
    """One step of a batch. `item` for create, replace and upsert; `id` for read, delete and patch."""

    kind: Literal["create", "replace", "upsert", "delete", "read", "patch"]
    item: Item | None = None
    id: str | None = None
    if_match: str | None = None
    patches: tuple[Patch, ...] = ()


def create(item: Item) -> BatchOperation:
    """A batch step that creates `item`."""
    return BatchOperation("create", item=item)


def replace(item: Item, if_match: str | None = None) -> BatchOperation:
    """A batch step that replaces `item`."""
    return BatchOperation("replace", item=item, if_match=if_match)


def upsert(item: Item) -> BatchOperation:
    """A batch step that creates or replaces `item`."""
    return BatchOperation("upsert", item=item)


def delete(item_id: str, if_match: str | None = None) -> BatchOperation:
    """A batch step that deletes an item."""
    return BatchOperation("delete", id=item_id, if_match=if_match)


class DocumentStore(Protocol):
    """What every adapter does. Every call names its partition: there is no other way to reach an item."""

    async def create(self, container: Container, partition: Partition, item: Item) -> Item:
        """Add an item. Conflict if its id exists in the partition."""
        ...

    async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
        """One item. NotFound if there is none, or it expired."""
        ...

    async def replace(
        self, container: Container, partition: Partition, item: Item, if_match: str | None = None
    ) -> Item:
        """Write over an item. NotFound; PreconditionFailed if `if_match` is not its etag."""
        ...

    async def upsert(self, container: Container, partition: Partition, item: Item) -> Item:
        """Create or write over an item."""
        ...

    async def delete(
        self, container: Container, partition: Partition, item_id: str, if_match: str | None = None
    ) -> None:
        """Remove an item. NotFound; PreconditionFailed if `if_match` is not its etag."""
        ...

    async def patch(
        self,
        container: Container,
        partition: Partition,
        item_id: str,
        patches: Sequence[Patch],
        if_match: str | None = None,
    ) -> Item:
        """Change fields of an item, all or none (1 to 10 patches, applied in order). NotFound; PreconditionFailed.

        Neither `id` nor the partition key can change (ValueError).
        """
        ...

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        """All of `operations` or none, in order, in one partition; the items as each step left them (None: deleted).

        The error of the step that failed (a Conflict with its index); TooLarge before anything is done.
        """
        ...

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        """One page. `partition` may be a prefix of the container's key (at least its first path)."""
        ...

    async def ping(self) -> None:
        """Raise Unavailable when the store cannot serve writes."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of everything."""
        ...


async def pages(
    store: DocumentStore, container: Container, partition: Partition, query: Query
) -> AsyncIterator[list[Item]]:
    """The items of a query, page after page of `query.limit` to the end."""
    while True:
        page = await store.query(container, partition, query)
        yield page.items
        if page.next is None:
            return
        query = dataclasses.replace(query, after=page.next)


async def find_item(store: DocumentStore, container: Container, partition: Partition, item_id: str) -> Item | None:
    """One item, None where `read` is a NotFound."""
    try:
        return await store.read(container, partition, item_id)
    except NotFound:
        return None


type Position = int | str
"""A place in a container's feed. Opaque: keep what a change carried, compare it with nothing, hand it back."""

FEED_START: Position = 0
"""The position before everything that a container holds."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change feed: where to go on after it, and the item as it is now, as JSON text.

    The local host passes the text on as it is; to read it here and write it again would cost more than storing it.
    """

    position: Position
    text: str

    @property
    def item(self) -> Item:
        """The item, read from its text anew."""
        found: Item = json.loads(self.text)
        return found


class ChangeSource(Protocol):
    """The ordered feed of a container, for a host on a laptop; in Azure the Functions host reads Cosmos DB's own."""

    async def changes(self, container: Container, after: Position, limit: int) -> list[Change]:
        """Latest version of each item written after a position; deletes and expired items leave no trace.

        Whoever goes on from the position of the last change misses nothing, and may see some again. Changes come in the
        order of their writes, on Cosmos DB within each physical partition. All changes of one answer may carry the same
        position (then all or none of them are behind you), and an answer may exceed `limit` to end with a whole batch.
        UnknownPosition for a position that this feed never gave, or gave before its container was made anew.
        """
        ...


@runtime_checkable
class ChangeFeed(ChangeSource, Protocol):
    """The feed of an embedded store: it can be waited for, and to look at it costs nothing."""

    async def last_position(self, container: Container) -> Position:
        """The position of the newest entry of the feed; FEED_START when it is empty."""
        ...

    async def wait_for_change(self, container: Container, after: Position, timeout_seconds: float) -> bool:
        """True as soon as `changes(container, after, …)` has an entry, at once if it has; False after the timeout."""
        ...


def shown(stored: Mapping[str, Any]) -> Item:
    """An item as a caller of the port sees it: without what else a store, or the Functions host, keeps in it."""
    return {name: value for name, value in stored.items() if not name.startswith("_") or name in STORE_FIELDS}


def check_partition(container: Container, partition: Partition, *, prefix: bool = False) -> None:
    """ValueError unless `partition` fits the container's key (or, with `prefix`, begins it)."""
    fits = (
        1 <= len(partition) <= len(container.partition_key)
        if prefix
        else (len(partition) == len(container.partition_key))
    )
    if not fits or not all(isinstance(part, str) and part for part in partition):
        raise ValueError(f"{container.name}: partition must name {', '.join(container.partition_key)}")


def is_usable_id(item_id: str) -> bool:
    """Whether every store can keep an item of that id, and a URL can end with it."""
    return len(item_id) <= MAX_ID_BYTES and bool(_USABLE_ID.fullmatch(item_id)) and item_id not in (".", "..")


def check_item(container: Container, partition: Partition, item: Mapping[str, Any]) -> None:
    """ValueError unless the item has a usable id and belongs to `partition`."""
    check_partition(container, partition)
    item_id = item.get("id")
    if not isinstance(item_id, str) or not item_id or len(item_id) > MAX_ID_BYTES:
        raise ValueError(f"{container.name}: an item needs a text id of at most {MAX_ID_BYTES} bytes")
    if not is_usable_id(item_id):
        raise ValueError(f"{container.name}: an id is printable ASCII without / \\ ? # and without a space at its end")
    for path, value in zip(container.partition_key, partition, strict=True):
        if item.get(path) != value:
            raise ValueError(f"{container.name}: the item's {path} is not its partition's")
