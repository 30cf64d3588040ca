"""Random items, queries and operations: every adapter answers as a naive model does that was written apart from it."""

import asyncio
import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.storage import _sqlite_query
from shared.storage.documents import (
    AnyOf,
    BatchOperation,
    Cursor,
    Defined,
    DocumentStore,
    Eq,
    Filter,
    Has,
    In,
    Item,
    Partition,
    PatchIncrement,
    PatchRemove,
    PatchSet,
    Prefix,
    Query,
    Range,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock
from tests.storage.conftest import LOCAL, Open
from tests.storage.conftest import WIDE as BOX

# The model: plain Python over lists, nothing in common with an adapter but the port's own types.

MISSING = object()


def at(item: Item, path: str) -> Any:
    value: Any = item
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return MISSING
        value = value[name]
    return value


def same(field: Any, value: Any) -> bool:
    """Equal and of one JSON type: true is not 1, and "1" is neither."""
    numbers = (isinstance(each, int | float) and not isinstance(each, bool) for each in (field, value))
    return field == value and (all(numbers) or type(field) is type(value))


def holds(item: Item, each: Filter) -> bool:  # noqa: PLR0911 - one line per filter
    if isinstance(each, AnyOf):
        return any(holds(item, inner) for inner in each.filters)
    field = at(item, each.path)
    match each:
        case Eq(_, value):
            return same(field, value)
        case In(_, values):
            return any(same(field, value) for value in values)
        case Prefix(_, value):
            return isinstance(field, str) and field.startswith(value)
        case Defined(_, present):
            return (field is not MISSING) == present
        case Has(_, value):
            return isinstance(field, list) and any(same(inner, value) for inner in field)
    return within(field, each)


def within(field: Any, each: Range) -> bool:
    checks: list[tuple[Any, Callable[[Any, Any], bool]]] = [
        (each.ge, lambda a, b: a >= b),
        (each.gt, lambda a, b: a > b),
        (each.lt, lambda a, b: a < b),
        (each.le, lambda a, b: a <= b),
    ]
    return all(comparable(field, bound) and check(field, bound) for bound, check in checks if bound is not None)


def comparable(field: Any, bound: Any) -> bool:
    if isinstance(bound, str):
        return isinstance(field, str)
    return isinstance(field, int | float) and not isinstance(field, bool)


def expected_page(items: list[Item], partition: Partition, query: Query) -> tuple[list[Item], Cursor | None]:
    def key(item: Item) -> tuple[int, Any, str]:
        value = at(item, query.order_by)
        return int(isinstance(value, str)), value, item["id"]

    inside = [each for each in items if (each["region"], each["shop"], each["day"])[: len(partition)] == partition]
    found = [
        each
        for each in inside
        if at(each, query.order_by) not in (MISSING, None) and all(holds(each, one) for one in query.where)
    ]
    found.sort(key=key, reverse=query.descending)
    if query.after is not None:
        edge = (int(isinstance(query.after.value, str)), query.after.value, query.after.id)
        found = [each for each in found if (key(each) < edge if query.descending else key(each) > edge)]
    more = None
    if len(found) > query.limit:
        last = found[query.limit - 1]
        more = Cursor(at(last, query.order_by), last["id"])
    shown = found[: query.limit]
    if query.fields is not None:
        shown = [{name: each[name] for name in query.fields if name in each} for each in shown]
    return shown, more


# What is drawn. Small alphabets, so that things coincide.

texts = st.text(alphabet="abAB%_*[]'\"\\1é\U0010ffff", max_size=3)
orderable = st.one_of(st.sampled_from(["a", "b", "A", "10", "9", ""]), st.integers(-3, 3))
scalars: st.SearchStrategy[Any] = st.one_of(texts, st.integers(-2, 2), st.integers(-(2**53) + 1, 2**53 - 1))
leaves = st.one_of(scalars, st.booleans(), st.none(), st.sampled_from([0.5, 1.0, -2.5]))
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2)
)
PATHS = ["kind", "n", "v", "v.x", "v.x.y", "w.z", "id", "shop", "day"]
paths = st.sampled_from(PATHS)
equals: st.SearchStrategy[Any] = st.one_of(scalars, st.booleans())
bounds: st.SearchStrategy[Any] = st.one_of(st.none(), scalars)


def _bounded(each: Range) -> bool:
    return any(bound is not None for bound in (each.ge, each.gt, each.lt, each.le))


simple: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Eq, paths, equals),
    st.builds(In, paths, st.lists(equals, max_size=4).map(tuple)),
    st.builds(Range, paths, bounds, bounds, bounds, bounds).filter(_bounded),
    st.builds(Prefix, paths, texts),
    st.builds(Defined, paths, st.booleans()),
    st.builds(Has, paths, equals),
)
filters = st.recursive(simple, lambda inner: st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)), max_leaves=4)
queries = st.builds(
    Query,
    where=st.lists(filters, max_size=2).map(tuple),
    order_by=st.sampled_from(["id", "n", "kind"]),
    descending=st.booleans(),
    limit=st.integers(1, 5),
    after=st.one_of(st.none(), st.builds(Cursor, orderable, st.sampled_from(["", "i3", "z"]))),
    fields=st.one_of(st.none(), st.sampled_from([(), ("id",), ("id", "v", "kind")])),
)
KEYS: list[Partition] = [(r, s, d) for r in ("r", "r1") for s in ("s", "s|", "s1") for d in ("d", "d1")]


@st.composite
def stored(draw: st.DrawFn) -> list[Item]:
    items = []
    for number in range(draw(st.integers(0, 14))):
        region, shop, day = draw(st.sampled_from(KEYS[:4]))
        item: Item = {"id": f"i{number}", "region": region, "shop": shop, "day": day, "ttl": -1}
        for name, strategy in (("kind", orderable), ("n", orderable), ("v", values), ("w", values)):
            if draw(st.booleans()):
                item[name] = draw(strategy)
            elif draw(st.integers(0, 3)) == 0:
                item[name] = None
        items.append(item)
    return items


prefixes = st.sampled_from([key[:length] for key in KEYS[:4] for length in (1, 2, 3)])
relaxed = settings(max_examples=150, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=LOCAL)
def adapter(
    request: pytest.FixtureRequest, open_store: Open
) -> Iterator[tuple[asyncio.Runner, DocumentStore, ManualClock]]:
    """One store for all examples, on a loop of its own: Hypothesis calls plain functions."""
    clock = ManualClock()
    with asyncio.Runner() as runner:
        store = runner.run(_opened(open_store, request.param, clock))
        yield runner, store, clock
        runner.run(store.close())


async def _opened(open_store: Open, name: str, clock: ManualClock) -> DocumentStore:
    return await open_store(name, clock)


async def emptied(store: DocumentStore) -> None:
    for region in ("r", "r1"):
        page = await store.query(BOX, (region,), Query(limit=1000))
        for each in page.items:
            await store.delete(BOX, (each["region"], each["shop"], each["day"]), each["id"])


def kept(store: DocumentStore, value: Any) -> Any:
    """The value as the store can tell it: to Cosmos, whose numbers are IEEE doubles, 1.0 is the number 1."""
    if isinstance(store, SqliteStore):
        return value
    if isinstance(value, BatchOperation | PatchSet):
        changed = {each.name: kept(store, getattr(value, each.name)) for each in dataclasses.fields(value)}
        return dataclasses.replace(value, **changed)
    if isinstance(value, dict):
        return {name: kept(store, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(kept(store, inner) for inner in value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def bare(item: Item) -> Item:
    return {name: value for name, value in item.items() if not name.startswith("_")}


@relaxed
@given(drawn=stored(), partition=prefixes, asked=st.lists(queries, min_size=1, max_size=6))
def test_a_query_answers_as_the_model(
    adapter: tuple[asyncio.Runner, DocumentStore, ManualClock],
    drawn: list[Item],
    partition: Partition,
    asked: list[Query],
) -> None:
    runner, store, _ = adapter

    async def check() -> None:
        await emptied(store)
        items = kept(store, drawn)
        for item in items:
            await store.create(BOX, (item["region"], item["shop"], item["day"]), copy.deepcopy(item))
        for query in asked:
            page = await store.query(BOX, partition, query)
            expected, more = expected_page(items, partition, query)
            assert [bare(each) for each in page.items] == expected
            assert repr([bare(each) for each in page.items]) == repr(expected), "types count, 1 is not true"
            assert page.next == more

    runner.run(check())


@settings(relaxed, max_examples=60)
@given(drawn=stored(), partition=prefixes, query=queries, examine=st.integers(1, 4))
def test_a_bounded_look_loses_nothing(
    adapter: tuple[asyncio.Runner, DocumentStore, ManualClock],
    drawn: list[Item],
    partition: Partition,
    query: Query,
    examine: int,
) -> None:
    """However little a page may look at: page after page everything comes, once, in order."""
    runner, store, _ = adapter
    query = dataclasses.replace(query, examine=examine, fields=None)

    async def check() -> None:
        await emptied(store)
        items = kept(store, drawn)
        for item in items:
            await store.create(BOX, (item["region"], item["shop"], item["day"]), copy.deepcopy(item))
        expected, _ = expected_page(items, partition, dataclasses.replace(query, limit=1000))
        found: list[Item] = []
        asked = query
        for _ in range(100):
            page = await store.query(BOX, partition, asked)
            assert len(page.items) <= query.limit
            found += page.items
            if page.next is None:
                break
            assert page.next != asked.after
            asked = dataclasses.replace(asked, after=page.next)
        assert [bare(each) for each in found] == expected

    with mock.patch.object(_sqlite_query, "LEAST_EXAMINED", 1):
        runner.run(check())


# Sequences of operations against a model store.

type Outcome = tuple[str, Any]


class Model:
    """A store of one partition in a dictionary: values by id, each with the second at which it ends."""

    def __init__(self) -> None:
        self.items: dict[str, tuple[Item, float]] = {}
        self.versions: dict[str, int] = {}
        self.writes = 0
        self.now = 0

    def apply(self, operation: BatchOperation) -> Item | None:
        """Do one operation; its `if_match` is the version number that the model counts."""
        kind = operation.kind
        item_id = operation.item["id"] if operation.item is not None else operation.id
        assert item_id is not None
        present = item_id in self.items and self.now < self.items[item_id][1]
        if kind == "create" and present:
            raise Conflict
        if kind in ("replace", "delete", "patch", "read"):
            if not present:
                raise NotFound
            if operation.if_match is not None and operation.if_match != str(self.versions[item_id]):
                raise PreconditionFailed
        if kind == "read":
            return copy.deepcopy(self.items[item_id][0])
        if kind == "delete":
            del self.items[item_id]
            return None
        item = copy.deepcopy(operation.item if operation.item is not None else self.items[item_id][0])
        for patch in operation.patches:
            self.patch(item, patch)
        ttl = item.get("ttl", 60)
        self.items[item_id] = (item, float("inf") if ttl == -1 else self.now + ttl)
        self.writes += 1
        self.versions[item_id] = self.writes
        return copy.deepcopy(item)

    @staticmethod
    def patch(item: Item, patch: Any) -> None:
        *above, name = patch.path.split(".")
        holder = at(item, ".".join(above)) if above else item
        if not isinstance(holder, dict):
            raise PreconditionFailed
        if isinstance(patch, PatchSet):
            holder[name] = copy.deepcopy(patch.value)
        elif isinstance(patch, PatchRemove):
            if name not in holder:
                raise PreconditionFailed
            holder.pop(name)
        else:
            old = holder.get(name, 0)
            if isinstance(old, bool) or not isinstance(old, int):
                raise PreconditionFailed
            holder[name] = old + patch.by

    def batch(self, operations: list[BatchOperation]) -> list[Item | None]:
        saved = copy.deepcopy(self.__dict__)
        results = []
        for index, operation in enumerate(operations):
            try:
                results.append(self.apply(operation))
            except (Conflict, NotFound, PreconditionFailed) as error:
                writes = self.writes
                self.__dict__.update(saved)
                self.writes = writes
                raise Conflict(index=index) if isinstance(error, Conflict) else error  # noqa: B904
        return results


PARTITION = KEYS[0]
item_ids = st.sampled_from(["a", "b", "c"])
drawn_items = st.builds(
    lambda item_id, more, ttl: {"id": item_id, "region": "r", "shop": "s", "day": "d", **more, **ttl},
    item_ids,
    st.dictionaries(st.sampled_from(["n", "v"]), values, max_size=2),
    st.sampled_from([{}, {}, {"ttl": -1}, {"ttl": 5}, {"ttl": 90}]),
)
patches = st.lists(
    st.one_of(
        st.builds(PatchSet, st.sampled_from(["n", "v", "v.x", "w"]), values),
        st.builds(PatchRemove, st.sampled_from(["n", "v.x", "ttl"])),
        st.builds(PatchIncrement, st.sampled_from(["n", "v.x"]), st.integers(-2, 2)),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
# Which etag to send: none, the current one, or one from before.
matches = st.sampled_from([None, None, "current", "stale"])
operations = st.one_of(
    st.builds(lambda item: BatchOperation("create", item=item), drawn_items),
    st.builds(lambda item: BatchOperation("upsert", item=item), drawn_items),
    st.builds(lambda item, match: BatchOperation("replace", item=item, if_match=match), drawn_items, matches),
    st.builds(lambda item_id, match: BatchOperation("delete", id=item_id, if_match=match), item_ids, matches),
    st.builds(lambda item_id: BatchOperation("read", id=item_id), item_ids),
    st.builds(
        lambda item_id, some, match: BatchOperation("patch", id=item_id, patches=some, if_match=match),
        item_ids,
        patches,
        matches,
    ),
)
turns = st.lists(
    st.one_of(operations, operations, st.lists(operations, min_size=1, max_size=5), st.integers(1, 100)), max_size=20
)


class Pair:
    """The store and its model, side by side, and the etags that stand for the model's versions."""

    def __init__(self, store: DocumentStore, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.model = Model()
        self.etags: dict[str, str] = {}

    def with_etag(self, operation: BatchOperation) -> tuple[BatchOperation, BatchOperation]:
        """The operation as the store and as the model should get it."""
        if operation.if_match is None:
            return operation, operation
        item_id = operation.item["id"] if operation.item is not None else operation.id
        assert item_id is not None
        mine, theirs = "0", "stale"
        if operation.if_match == "current" and item_id in self.etags:
            mine, theirs = str(self.model.versions[item_id]), self.etags[item_id]
        changed = functools.partial(
            BatchOperation, operation.kind, item=operation.item, id=operation.id, patches=operation.patches
        )
        return changed(if_match=theirs), changed(if_match=mine)

    async def single(self, operation: BatchOperation) -> Item | None:
        store, item = self.store, operation.item
        if operation.kind in ("create", "upsert"):
            assert item is not None
            return await (store.create if operation.kind == "create" else store.upsert)(BOX, PARTITION, item)
        if operation.kind == "replace":
            assert item is not None
            return await store.replace(BOX, PARTITION, item, operation.if_match)
        assert operation.id is not None
        if operation.kind == "patch":
            return await store.patch(BOX, PARTITION, operation.id, operation.patches, operation.if_match)
        if operation.kind == "read":
            return await store.read(BOX, PARTITION, operation.id)
        await store.delete(BOX, PARTITION, operation.id, operation.if_match)
        return None

    async def turn(self, turn: Any) -> None:
        """One operation, one batch, or some seconds; both sides must come out alike."""
        if isinstance(turn, int):
            self.clock.advance(seconds=turn)
            self.model.now += turn
            return
        pairs = [self.with_etag(each) for each in (turn if isinstance(turn, list) else [turn])]
        expected, index = "done", None
        wanted: list[Item | None] = []
        try:
            wanted = self.model.batch([model for _, model in pairs])
        except (Conflict, NotFound, PreconditionFailed) as error:
            expected, index = type(error).__name__, getattr(error, "index", None)
        got, got_index = "done", None
        results: list[Item | None] = []
        try:
            if isinstance(turn, list):
                results = await self.store.batch(BOX, PARTITION, [store for store, _ in pairs])
            else:
                results = [await self.single(pairs[0][0])]
        except (Conflict, NotFound, PreconditionFailed) as error:
            got, got_index = type(error).__name__, getattr(error, "index", None)
        assert got == expected
        assert got_index == (index if isinstance(turn, list) else None)
        assert repr([each and bare(each) for each in results]) == repr(wanted)
        for (operation, _), result in zip(pairs, results, strict=False):
            if result is not None:
                self.etags[result["id"]] = result["_etag"]
            elif operation.id is not None:
                self.etags.pop(operation.id, None)

    async def check(self) -> None:
        """Both hold the same items."""
        page = await self.store.query(BOX, PARTITION, Query(limit=100))
        living = {item_id: item for item_id, (item, end) in sorted(self.model.items.items()) if self.model.now < end}
        assert repr({each["id"]: bare(each) for each in page.items}) == repr(living)
        assert {each["id"]: each["_etag"] for each in page.items} == {name: self.etags[name] for name in living}


@relaxed
@given(turns=turns)
def test_any_sequence_of_operations_ends_as_in_the_model(
    adapter: tuple[asyncio.Runner, DocumentStore, ManualClock], turns: list[Any]
) -> None:
    runner, store, clock = adapter

    async def check() -> None:
        await emptied(store)
        pair = Pair(store, clock)
        for turn in turns:
            await pair.turn(kept(store, turn))
            await pair.check()

    runner.run(check())
