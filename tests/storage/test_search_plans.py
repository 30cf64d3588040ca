"""Whatever filters a search combines: SQLite never scans nor sorts for it, Cosmos DB finds every path and order
indexed, and the work for a page does not grow with what is stored."""

import dataclasses
import itertools
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.audit.search import AUTHORIZATION_LOG, EventFilter, EventSearch
from shared.core.clock import period_of, rfc3339
from shared.core.ids import IdFactory
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage._cosmos_query import composite_indexes, order_paths
from shared.storage._sqlite_query import page
from shared.storage._sqlite_walks import LOOKS, MAX_WALKS
from shared.storage.containers import AUDIT_EVENTS, Container
from shared.storage.documents import Cursor, Eq, Item, Page, Partition, Query, create
from shared.storage.sqlite import SqliteStore
from tests.fakes import ClearBox, ManualClock
from tests.storage.test_index_coverage import lacking

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
FILTERS: dict[str, Any] = {
    "types": ("data.read", "data.write"),
    "outcome": "success",
    "severity": "info",
    "actor": "a1",
    "target": "t1",
    "subject": "s1",
    "data_class": "phi",
    "ip": "203.0.113.9",
    "email": "ada@example.com",
    "from_": NOW - timedelta(days=70),
    "to": NOW - timedelta(days=1),
}
SEVERAL_TYPES = (("data.read",), ("data.*",), ("data.*", "auth.*", "user.list"), tuple(f"x.y{n}" for n in range(20)))


@dataclass
class Told:
    """What a store was asked, and each statement that SQLite ran for it, once, with the parameters of its first run."""

    queries: list[tuple[Partition, Query]] = field(default_factory=list)
    statements: dict[str, Any] = field(default_factory=dict)


class Watched(SqliteStore):
    """Tells what it does."""

    told: Told

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        self.told.queries.append((partition, query))
        connection: Any = _Connection(self._resources.point_reader, self.told.statements)
        return page(connection, self._tables[container.name], partition, query, now=self._now())


class _Connection:
    def __init__(self, inner: sqlite3.Connection, statements: dict[str, Any]) -> None:
        self._inner = inner
        self._statements = statements

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        self._statements.setdefault(sql, parameters)
        return self._inner.execute(sql, parameters)


def event(ids: IdFactory, number: int, at: datetime, **fields: Any) -> Item:
    made: Item = {
        "id": ids.new(at),
        "tenant_id": "t",
        "period": period_of(at),
        "recorded_at": rfc3339(at),
        "type": ("data.read", "data.write", "auth.login", "user.list")[number % 4],
        "outcome": "failure" if number % 4 == 2 else "success",
        "severity": "info",
        "reason": None,
        "occurred_at": rfc3339(at),
        "record_count": 0,
        "source": {"kind": "function", "id": "f"},
        "context": {},
        "attributes": {},
        "actor": {"kind": "user", "id": f"a{number % 3}"},
        "target": {"kind": "user", "id": f"t{number % 5}"},
        "subjects": [f"s{number % 2}", f"s{number % 7}"],
        "data_class": "phi",
        "actor_key": f"k{number % 3}",
        "target_key": f"k{number % 5}",
        "ip_key": "i",
    }
    return made | fields


async def filled(count: int, days: int) -> Watched:
    """A store with so many events of one tenant, the last of them now."""
    clock = ManualClock(NOW)
    store = await Watched.open(None, clock=clock)
    assert isinstance(store, Watched)
    store.told = Told()
    ids = IdFactory(clock)
    events = [event(ids, n, NOW - timedelta(days=days) * (n / count)) for n in range(count)]
    for period, group in itertools.groupby(events, key=lambda each: each["period"]):
        for chunk in itertools.batched(group, 100, strict=False):
            await store.batch(AUDIT_EVENTS, ("t", period), [create(each) for each in chunk])
    return store


@pytest.fixture(scope="module")
async def store() -> AsyncIterator[Watched]:
    opened = await filled(90, 80)
    yield opened
    await opened.close()


def search_of(store: SqliteStore) -> EventSearch:
    return EventSearch(store, BlindIndex(MemorySecrets(), "v1"), ClearBox(), ManualClock(NOW))


def check(store: Watched) -> None:
    """No statement scans or sorts; no query needs what Cosmos DB has no index for."""
    assert store.told.queries
    assert store.told.statements
    for sql, parameters in store.told.statements.items():
        if not sql.startswith("SELECT"):
            continue
        rows = store._resources.point_reader.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
        details = [detail for *_, detail in rows]
        assert not any("TEMP B-TREE" in detail for detail in details), (sql, details)
        scans = [d for d in details if d.startswith("SCAN") and "VIRTUAL TABLE" not in d and "(subquery" not in d]
        assert scans == [], (sql, details)
        reads = [d for d in details if d.startswith("SEARCH") and "items_audit_events" in d]
        assert reads, (sql, details)
        for read in reads:
            assert "(p0=? AND p1" in read or "(k0=? AND k1=? AND value=?" in read, (sql, details)
    for _, query in store.told.queries:
        assert lacking(AUDIT_EVENTS, query) == set(), query
        ordered = [
            {"path": "/" + path.replace(".", "/"), "order": "ascending"} for path in order_paths(AUDIT_EVENTS, query)
        ]
        assert ordered in composite_indexes(AUDIT_EVENTS), query


LATER = Cursor(rfc3339(NOW - timedelta(days=20)), "x")


@pytest.mark.parametrize(("after", "most"), [(None, len(FILTERS)), (LATER, 2)], ids=["first page", "next page"])
async def test_every_combination_of_filters_is_served_by_indexes(
    store: Watched, after: Cursor | None, most: int
) -> None:
    search = search_of(store)
    store.told = Told()
    combinations = 0
    for size in range(most + 1):
        for names in itertools.combinations(FILTERS, size):
            await search.page("t", EventFilter(**{name: FILTERS[name] for name in names}), after=after)
            combinations += 1
    assert after is not None or combinations == 2 ** len(FILTERS)
    check(store)


async def test_so_are_families_and_long_lists_of_types(store: Watched) -> None:
    search = search_of(store)
    store.told = Told()
    for types, other, within in itertools.product(SEVERAL_TYPES, (*FILTERS, None), ((), AUTHORIZATION_LOG)):
        rest = {other: FILTERS[other]} if other not in (None, "types") else {}
        await search.page("t", EventFilter(types=types, **rest), within=within)
    check(store)


async def test_a_family_of_more_types_than_are_walked_is_read_in_order() -> None:
    store = await filled(1, 1)
    ids = IdFactory(ManualClock(NOW))
    names = [f"custom.x{n:03}" for n in range(MAX_WALKS + 5)]
    steps = [create(event(ids, 0, NOW, type=name)) for name in names]
    await store.batch(AUDIT_EVENTS, ("t", "2026-03"), steps)
    search = search_of(store)
    store.told = Told()
    found = await search.page("t", EventFilter(types=("custom.*",)), limit=200)
    assert sorted(each["type"] for each in found.items) == names
    check(store)
    assert any("by__recorded_at" in sql and " body" in sql for sql in store.told.statements)
    await store.close()


async def test_the_filter_with_the_fewest_events_ahead_leads(store: Watched) -> None:
    """Whichever it is, and whatever is declared first."""
    rare = {"type": "user.rare", "outcome": "error", "ip_key": "rare", "actor": {"id": "rare"}}
    ids = IdFactory(ManualClock(NOW))
    for path, fields in (("type", "type"), ("outcome", "outcome"), ("ip_key", "ip_key"), ("actor.id", "actor")):
        made = event(ids, 1, NOW, **{fields: rare[fields]})
        await store.create(AUDIT_EVENTS, ("t", made["period"]), made)
        values = {
            "type": made["type"],
            "outcome": made["outcome"],
            "ip_key": made["ip_key"],
            "actor.id": made["actor"]["id"],
        }
        where = tuple(Eq(name, value) for name, value in values.items())
        store.told = Told()
        found = await store.query(AUDIT_EVENTS, ("t", "2026-03"), Query(where, order_by="recorded_at", limit=5))
        assert [each["id"] for each in found.items] == [made["id"]]
        (led,) = [sql for sql in store.told.statements if " body" in sql]
        assert f"by__{path.replace('.', '$')}__recorded_at" in led
        await store.delete(AUDIT_EVENTS, ("t", made["period"]), made["id"])


async def steps(store: Watched, wanted: EventFilter) -> int:
    """Steps of SQLite's machine for a first page of ten, in tens."""
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    reader = store._resources.point_reader
    reader.set_progress_handler(counted, 10)
    await search_of(store).page("t", wanted, limit=10)
    reader.set_progress_handler(None, 0)
    return count


async def test_the_work_for_a_page_does_not_grow_with_the_trail() -> None:
    """Ten times as many events of the same days: at most twice the steps, beside what is looked at first."""
    small, large = await filled(400, 80), await filled(4000, 80)
    month = {"from_": NOW - timedelta(days=30), "to": NOW - timedelta(days=2)}
    for wanted in (
        {},
        {"types": ("data.read",)},
        {"types": ("data.*", "auth.login")},
        {"actor": "a1"},
        {"subject": "s1"},
        {"ip": "203.0.113.9"},
        {"email": "nobody@example.com"},
        {"types": ("auth.*",), **month},
        {"severity": "critical"},
        {"outcome": "error", "types": ("data.read",)},
        {"outcome": "failure", "types": ("auth.*",)},
    ):
        few, many = await steps(small, EventFilter(**wanted)), await steps(large, EventFilter(**wanted))
        looked_at = LOOKS[-1] if len(wanted) > 1 else 0
        assert many <= 2 * few + 30 + looked_at, (wanted, few, many)
    await small.close()
    await large.close()


async def test_a_page_gives_up_where_two_common_filters_have_nothing_in_common() -> None:
    """750 events of each, none of both: 300 are looked at for each page, and the next goes on from there."""
    store = await filled(3000, 10)
    where = (Eq("type", "data.read"), Eq("outcome", "failure"))
    query = Query(where, order_by="recorded_at", descending=True, examine=300)
    ends: list[str] = []
    while (found := await store.query(AUDIT_EVENTS, ("t",), query)).next is not None:
        assert found.items == []
        ends.append(str(found.next.value))
        query = dataclasses.replace(query, after=found.next)
    assert len(ends) == 2
    assert ends == sorted(ends, reverse=True)
    alone = dataclasses.replace(query, where=(Eq("type", "data.read"),), after=None)
    assert len((await store.query(AUDIT_EVENTS, ("t",), alone)).items) == alone.limit
    await store.close()
