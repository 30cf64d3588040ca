"""Every query that containers.py declares an index for is served by it: no scan of the table, no sort."""

from collections.abc import AsyncIterator

import pytest

from shared.storage._sqlite_query import compile_query
from shared.storage._sqlite_schema import Table
from shared.storage._sqlite_walks import walks_of
from shared.storage.containers import AUDIT_EVENTS, CONTAINERS, GUARDS, IDENTITY, Container
from shared.storage.documents import Cursor, Eq, Filter, In, Partition, Prefix, Query, Range
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock

NOW = 1_800_000_000


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(None, clock=ManualClock())
    yield opened
    await opened.close()


def explain(store: SqliteStore, sql: str, parameters: tuple[object, ...]) -> list[str]:
    rows = store._resources.point_reader.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
    return [detail for *_, detail in rows.fetchall()]


def plan(store: SqliteStore, container: Container, query: Query) -> list[str]:
    statement = compile_query(Table.of(container), query, now=NOW)
    partition = ("p",) * len(container.partition_key)
    return explain(store, statement.sql, (*partition, *statement.parameters))


def check_no_scan(details: list[str]) -> None:
    for detail in details:
        assert not detail.startswith("SCAN"), details
        assert "TEMP B-TREE" not in detail, details


def label(each: Container | tuple[str, ...]) -> str:
    return each.name if isinstance(each, Container) else "+".join(each)


INDEXES = [(container, index) for container in CONTAINERS.values() for index in container.indexes]


@pytest.mark.parametrize("after", [None, Cursor("x", "y")], ids=["first", "next"])
@pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
@pytest.mark.parametrize(("container", "index"), INDEXES, ids=label)
async def test_each_declared_index_serves_its_filter_and_order(
    store: SqliteStore, container: Container, index: tuple[str, ...], descending: bool, after: Cursor | None
) -> None:
    *leading, last = index
    where: tuple[Filter, ...] = tuple(Eq(path, "x") for path in leading)
    name = "__".join((f"items_{container.name}_by", *(path.replace(".", "$") for path in index)))
    for filters in (where, (*where, Range(last, ge="2026-01", lt="2026-02"))):
        details = plan(store, container, Query(where=filters, order_by=last, descending=descending, after=after))
        check_no_scan(details)
        assert f"USING INDEX {name} (" in details[0], details


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=lambda each: each.name)
async def test_order_by_id_is_the_keys_own(store: SqliteStore, container: Container) -> None:
    for after in (None, Cursor("x", "x")):
        details = plan(store, container, Query(after=after, descending=True))
        check_no_scan(details)
        assert f"USING INDEX items_{container.name}_key (" in details[0]


async def test_other_filters_stay_inside_the_partition(store: SqliteStore) -> None:
    for where in (
        (Prefix("type", "auth."),),
        (In("type", ("a", "b")),),
        (Eq("attributes.x", 1),),
        (Eq("type", "x"), Eq("outcome", "y"), Eq("actor.id", "z")),
    ):
        for order_by in ("id", "recorded_at"):
            (first, *_) = plan(store, AUDIT_EVENTS, Query(where=where, order_by=order_by))
            assert first.startswith("SEARCH items_audit_events USING INDEX")
            assert "(p0=? AND p1=?" in first


async def test_a_point_read_hops_the_key(store: SqliteStore) -> None:
    for container in (AUDIT_EVENTS, GUARDS):
        partition = ("p",) * len(container.partition_key)
        details = explain(store, Table.of(container).find, (*partition, "id", NOW))
        check_no_scan(details)
        assert f"USING INDEX items_{container.name}_key (" in details[0]


async def test_the_feed_and_the_purge_read_no_more_than_they_return(store: SqliteStore) -> None:
    table = Table.of(IDENTITY)
    check_no_scan(explain(store, table.changes, (0, NOW, 10)))
    details = store._resources.writer.execute(f"EXPLAIN QUERY PLAN {table.purge}", (NOW, 10)).fetchall()
    assert any("USING COVERING INDEX items_identity_expires" in each[-1] for each in details), details


@pytest.mark.parametrize("partition", [("t1",), ("t1", "2026-03")])
async def test_a_prefix_costs_a_hop_per_partition(store: SqliteStore, partition: Partition) -> None:
    for month in range(1, 13):
        for n in range(60):
            period = f"2026-{month:02}"
            event = {"id": f"{month}-{n:02}", "tenant_id": "t1", "period": period, "recorded_at": f"{period}-{n:02}"}
            await store.upsert(AUDIT_EVENTS, ("t1", period), event | {"type": "x"})
    statements: list[str] = []
    steps = 0

    def count_steps() -> int:
        nonlocal steps
        steps += 1
        return 0

    for connection in store._resources._readers:
        connection.set_trace_callback(statements.append)
        connection.set_progress_handler(count_steps, 10)
    query = Query(where=(Eq("type", "x"),), order_by="recorded_at", descending=True, limit=5)
    page = await store.query(AUDIT_EVENTS, partition, query)
    for connection in store._resources._readers:
        connection.set_trace_callback(None)
        connection.set_progress_handler(None, 0)
    assert len(page.items) == 5
    hops = [each for each in statements if each.startswith("SELECT min(p1)")]
    assert len(hops) == (13 if len(partition) == 1 else 0)
    for hop in hops[:1]:
        check_no_scan(explain(store, hop, ()))
    assert steps < 200, "the work grows with partitions and rows of the page, not with rows stored"


@pytest.mark.parametrize("kinds", [(Eq("type", "a"),), (In("type", ("a", "b", "a")),)], ids=["one", "some"])
async def test_a_query_that_names_its_months_walks_the_index_to_the_end(
    store: SqliteStore, kinds: tuple[Filter, ...]
) -> None:
    """A range of the partition beside the partition itself: SQLite would begin with the range, and sort the month."""
    months = Range("period", ge="2026-02", le="2026-03")
    times = Range("occurred_at", ge="2026-03-01", lt="2026-03-02")
    query = Query((*kinds, Eq("actor.id", "x"), times, months), order_by="occurred_at")
    table, connection = Table.of(AUDIT_EVENTS), store._resources.point_reader
    walks = walks_of(connection, table, ("t1", "2026-03"), query)
    assert walks is not None
    assert len(walks) == (1 if isinstance(kinds[0], Eq) else 2)
    for walk in walks:
        statement = compile_query(table, query, now=NOW, walk=walk)
        details = explain(store, statement.sql, tuple(statement.parameters))
        check_no_scan([each for each in details if "json_each" not in each])
        assert "(p0=? AND p1=? AND <expr>=? AND <expr>=? AND <expr>>? AND <expr><?)" in details[0], details
