"""What every adapter answers to a query: types kept apart, tenants kept apart, order, pages, projection."""

import asyncio
from typing import Any

import pytest

from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, IDENTITY
from shared.storage.documents import (
    MAX_PAGE,
    AnyOf,
    Cursor,
    Defined,
    DocumentStore,
    Eq,
    Filter,
    Has,
    In,
    Item,
    Partition,
    Prefix,
    Query,
    Range,
    create,
)
from tests.storage.conftest import WIDE

T1: Partition = ("t1",)

# One item per kind of value; the id says which.
VALUES: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "zero": 0,
    "one": 1,
    "two": 2,
    "minus": -1,
    "half": 0.5,
    "big": 2**53 - 1,
    "text-1": "1",
    "text-true": "true",
    "empty": "",
    "a": "a",
    "A": "A",
    "ab": "ab",
    "abc": "abc",
    "a%": "a%",
    "a_c": "a_c",
    "a*": "a*",
    "b": "b",
    "nul": "a\x00b",
    "list": ["a", "ab", 1, True, None, ["deep"], {"x": "inner"}, "nu\x00l"],
    "list-text": '["a"]',
    "list-a": ["a"],
    "object": {"x": "a"},
    "quoted": '"a"',
    "ü": "ü",
    "max": "a\U0010ffff",
    "emoji": "🧪",
}


@pytest.fixture
async def values(store: DocumentStore) -> DocumentStore:
    names = {name: f"v{number}" if not name.isascii() or "%" in name else name for number, name in enumerate(VALUES)}
    items = [{"id": names[name], "tenant_id": "t1", "name": name, "v": value} for name, value in VALUES.items()]
    items.append({"id": "absent", "tenant_id": "t1", "name": "absent", "w": {"v": "a"}})
    await store.batch(IDENTITY, T1, [create(each) for each in items])
    await store.create(IDENTITY, ("t2",), {"id": "other", "tenant_id": "t2", "name": "other", "v": "a"})
    return store


ALL = {*VALUES, "absent"}
CASES: list[tuple[Filter, set[str]]] = [
    (Eq("v", 1), {"one"}),
    (Eq("v", True), {"true"}),
    (Eq("v", 0), {"zero"}),
    (Eq("v", False), {"false"}),
    (Eq("v", "1"), {"text-1"}),
    (Eq("v", "true"), {"text-true"}),
    (Eq("v", ""), {"empty"}),
    (Eq("v", "a"), {"a"}),
    (Eq("v", '["a"]'), {"list-text"}),
    (Eq("v", '{"x":"a"}'), set()),
    (Eq("v", '"a"'), {"quoted"}),
    (Eq("v", 2**53 - 1), {"big"}),
    (Eq("v", "ü"), {"ü"}),
    (Eq("v", "🧪"), {"emoji"}),
    (Eq("v.x", "a"), {"object"}),
    (Eq("w.v", "a"), {"absent"}),
    (Eq("name.v", "a"), set()),
    (Eq("id", "one"), {"one"}),
    (Eq("id", 1), set()),
    (Eq("tenant_id", "t1"), ALL),
    (Eq("tenant_id", "t2"), set()),
    (Eq("tenant_id", True), set()),
    (In("v", ()), set()),
    (In("v", ("a",)), {"a"}),
    (In("v", ("a", "b", "zzz", '["a"]')), {"a", "b", "list-text"}),
    (In("v", (1, "a", "1")), {"one", "a", "text-1"}),
    (In("v", (True, 2)), {"true", "two"}),
    (In("id", ("one", "two", "absent", "gone")), {"one", "two", "absent"}),
    (In("v", (*(f"x{n}" for n in range(40_000)), "b")), {"b"}),
    (Range("v", ge=1), {"one", "two", "big"}),
    (Range("v", gt=1), {"two", "big"}),
    (Range("v", lt=1), {"minus", "zero", "half"}),
    (Range("v", ge=0, le=1), {"zero", "half", "one"}),
    (Range("v", ge="a", lt="b"), {"a", "ab", "abc", "a%", "a_c", "a*", "nul", "max"}),
    (Range("v", gt="abc", le="b"), {"b", "max"}),
    (Range("v", lt="2"), {"empty", "text-1", "quoted"}),
    (Range("v", ge="text"), {"text-true", "ü", "emoji"}),
    (Range("v", ge="a", lt=5), set()),
    (Range("id", ge="text", lt="texu"), {"text-1", "text-true"}),
    (Range("id", ge=0), set()),
    (Prefix("v", "a"), {"a", "ab", "abc", "a%", "a_c", "a*", "nul", "max"}),
    (Prefix("v", "ab"), {"ab", "abc"}),
    (Prefix("v", "a%"), {"a%"}),
    (Prefix("v", "a_"), {"a_c"}),
    (Prefix("v", "a*"), {"a*"}),
    (Prefix("v", "["), {"list-text"}),
    (Prefix("v", "A"), {"A"}),
    (Prefix("v", "a\U0010ffff"), {"max"}),
    (Prefix("v", "\U0010ffff"), set()),
    (Prefix("v", "\ud7ff"), set()),
    (Prefix("v", "1"), {"text-1"}),
    (Prefix("v", ""), {name for name, value in VALUES.items() if isinstance(value, str)}),
    (Prefix("id", "text"), {"text-1", "text-true"}),
    (Defined("v"), set(VALUES)),
    (Defined("v", present=False), {"absent"}),
    (Defined("v.x"), {"object"}),
    (Defined("tenant_id"), ALL),
    (Defined("id", present=False), set()),
    (Has("v", "a"), {"list", "list-a"}),
    (Has("v", 1), {"list"}),
    (Has("v", True), {"list"}),
    (Has("v", False), set()),
    (Has("v", "1"), set()),
    (Has("v", "deep"), set()),
    (Has("v", "nu"), set()),
    (Has("v", "inner"), set()),
    (Has("v.x", "a"), set()),
    (Has("id", "a"), set()),
    (AnyOf(()), set()),
    (AnyOf((Eq("v", 1), Eq("v", "a"), AnyOf((Prefix("v", "abc"),)))), {"one", "a", "abc"}),
]


@pytest.mark.parametrize(
    ("filter_", "expected"), CASES, ids=lambda value: repr(sorted(value) if isinstance(value, set) else value)[:60]
)
async def test_a_filter_finds_exactly(values: DocumentStore, filter_: Filter, expected: set[str]) -> None:
    page = await values.query(IDENTITY, T1, Query(where=(filter_,), limit=MAX_PAGE))
    assert {each["name"] for each in page.items} == expected
    assert len(page.items) == len(expected)


async def test_all_filters_must_hold(values: DocumentStore) -> None:
    query = Query(where=(Prefix("v", "a"), Range("v", lt="ab"), Eq("name", "a%")))
    assert [each["name"] for each in (await values.query(IDENTITY, T1, query)).items] == ["a%"]


NAUGHTY = ["", ".", "a.", "a..b", "a b", "a'b", 'a"b', "a]", "$", "$.a", "ü", "a-b", "0", "_etag", "_ts.x", "v')--"]


@pytest.mark.parametrize("path", NAUGHTY)
async def test_a_path_is_plain_names(values: DocumentStore, path: str) -> None:
    filters: list[Filter] = [
        Eq(path, 1),
        In(path, ("a",)),
        Range(path, ge=1),
        Prefix(path, "a"),
        Defined(path),
        Has(path, "a"),
        AnyOf((Eq(path, 1),)),
    ]
    for each in filters:
        with pytest.raises(ValueError, match="path"):
            await values.query(IDENTITY, T1, Query(where=(each,)))
    with pytest.raises(ValueError, match="path"):
        await values.query(IDENTITY, T1, Query(order_by=path))


BAD_FILTERS: list[Any] = [
    Eq("v", None),  # type: ignore[arg-type]
    Eq("v", 1.5),  # type: ignore[arg-type]
    Eq("v", 2**53),
    Eq("v", -(2**64)),
    Eq("v", "nul\x00"),
    Eq("v", "\ud800"),
    In("v", (None,)),  # type: ignore[arg-type]
    In("v", ("\x00", "a")),
    Range("v"),
    Range("v", ge=True),
    Range("v", lt=2**70),
    Range("v", lt="\udfff"),
    Prefix("v", "\x00"),
    Prefix("v", "\ud800"),
    Has("v", "\x00"),
    Has("v", 2**53),
]


@pytest.mark.parametrize("filter_", BAD_FILTERS, ids=repr)
async def test_a_value_that_stores_compare_differently_is_refused(values: DocumentStore, filter_: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - a defect of the caller, in various words
        await values.query(IDENTITY, T1, Query(where=(filter_,)))


@pytest.mark.parametrize("value", [None, True, [1], {}, 2**64, -(2**64), "\ud800", float("inf")], ids=repr)
async def test_a_cursor_that_no_page_gave_is_refused(values: DocumentStore, value: Any) -> None:
    for order_by in ("id", "v"):
        with pytest.raises(ValueError):  # noqa: PT011 - a defect of the caller, in various words
            await values.query(IDENTITY, T1, Query(order_by=order_by, after=Cursor(value, "a")))


async def test_an_unknown_filter_is_refused(values: DocumentStore) -> None:
    with pytest.raises(ValueError, match="filter"):
        await values.query(IDENTITY, T1, Query(where=("v = 1",)))  # type: ignore[arg-type]


async def test_hostile_values_stay_values(values: DocumentStore) -> None:
    for text in ("' OR 1=1 --", '" OR 1=1', "\\", "%", "'; DROP TABLE items_identity; --", "$.v", "?1"):
        for each in (Eq("v", text), In("v", (text, text + "x")), Has("v", text), Prefix("v", text)):
            assert (await values.query(IDENTITY, T1, Query(where=(each,)))).items == []
    assert len((await values.query(IDENTITY, T1, Query())).items) == len(ALL)


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
def test_a_page_has_a_size(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        Query(limit=limit)


# Order and pages


async def put(store: DocumentStore, count: int, **more: Any) -> list[Item]:
    items = [
        {"id": f"{n:03}", "tenant_id": "t1", "kind": "even" if n % 2 == 0 else "odd", "n": n // 3, **more}
        for n in range(count)
    ]
    for start in range(0, count, 100):
        await store.batch(IDENTITY, T1, [create(each) for each in items[start : start + 100]])
    return items


async def walk(store: DocumentStore, partition: Partition, query: Query, container: Any = IDENTITY) -> list[Item]:
    """Every page to the end."""
    found: list[Item] = []
    after = query.after
    while True:
        page = await store.query(
            container,
            partition,
            Query(query.where, query.order_by, query.descending, query.limit, after, query.fields),
        )
        assert len(page.items) <= query.limit
        found += page.items
        if page.next is None:
            return found
        assert page.items
        after = page.next


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 29, 30, 31])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order_by", ["id", "n", "kind"])
async def test_pages_join_without_gap_or_repeat(
    store: DocumentStore, limit: int, descending: bool, order_by: str
) -> None:
    items = await put(store, 30)
    found = await walk(store, T1, Query(order_by=order_by, descending=descending, limit=limit))
    items.sort(key=lambda each: (each[order_by], each["id"]), reverse=descending)
    assert [each["id"] for each in found] == [each["id"] for each in items]


async def test_the_last_page_says_so(store: DocumentStore) -> None:
    await put(store, 10)
    assert (await store.query(IDENTITY, T1, Query(limit=10))).next is None
    page = await store.query(IDENTITY, T1, Query(limit=9))
    assert page.next == Cursor("008", "008")
    empty = await store.query(IDENTITY, T1, Query(after=Cursor("009", "009")))
    assert (empty.items, empty.next) == ([], None)
    assert (await store.query(IDENTITY, ("nobody",), Query())).items == []


async def test_an_item_without_the_ordered_field_is_not_listed(store: DocumentStore) -> None:
    for item_id, more in (("a", {"n": 1}), ("b", {"n": None}), ("c", {}), ("d", {"n": 0})):
        await store.create(IDENTITY, T1, {"id": item_id, "tenant_id": "t1", **more})
    for descending, expected in ((False, ["d", "a"]), (True, ["a", "d"])):
        page = await store.query(IDENTITY, T1, Query(order_by="n", descending=descending))
        assert [each["id"] for each in page.items] == expected


async def test_order_is_binary(store: DocumentStore) -> None:
    texts = ["B", "a", "Z", "_", "b", "10", "9", "~", " "]
    for number, text in enumerate(texts):
        await store.create(IDENTITY, T1, {"id": str(number), "tenant_id": "t1", "kind": text})
    page = await store.query(IDENTITY, T1, Query(order_by="kind"))
    assert [each["kind"] for each in page.items] == sorted(texts)


async def test_items_written_between_pages_neither_repeat_nor_hide_others(store: DocumentStore) -> None:
    await put(store, 10)
    first = await store.query(IDENTITY, T1, Query(limit=5))
    await store.create(IDENTITY, T1, {"id": "000a", "tenant_id": "t1"})
    await store.delete(IDENTITY, T1, "004")
    await store.create(IDENTITY, T1, {"id": "004a", "tenant_id": "t1"})
    rest = await store.query(IDENTITY, T1, Query(limit=50, after=first.next))
    assert [each["id"] for each in rest.items] == ["004a", "005", "006", "007", "008", "009"]


async def test_projection(store: DocumentStore) -> None:
    created = await store.create(IDENTITY, T1, {"id": "a", "tenant_id": "t1", "n": {"x": 1}, "m": None})
    assert (await store.query(IDENTITY, T1, Query())).items == [created]
    for fields, expected in (
        (("n",), {"n": {"x": 1}}),
        (("id", "m", "absent"), {"id": "a", "m": None}),
        (("_etag", "_ts"), {"_etag": created["_etag"], "_ts": created["_ts"]}),
        ((), {}),
    ):
        assert (await store.query(IDENTITY, T1, Query(fields=fields))).items == [expected]
    await put(store, 3)
    page = await store.query(IDENTITY, T1, Query(order_by="n", fields=("id",), limit=2))
    assert page.items == [{"id": "000"}, {"id": "001"}]


# Partitions

TENANTS = ["a", "ab", "b", "a|", "a|2026-03", "a/", "a%", "a_", "a\x00", "A", "a ", " a", "ä", '"a"', "a.", "["]


def event(tenant: str, period: str, item_id: str, **more: Any) -> Item:
    return {"id": item_id, "tenant_id": tenant, "period": period, "recorded_at": f"{period}-01", **more}


@pytest.mark.parametrize("tenant", TENANTS)
async def test_a_prefix_is_one_tenant_whatever_its_name(store: DocumentStore, tenant: str) -> None:
    for number, each in enumerate(TENANTS):
        for period in ("2026-02", "2026-03"):
            await store.create(AUDIT_EVENTS, (each, period), event(each, period, f"{number}-{period}"))
    for order_by in ("id", "recorded_at"):
        page = await store.query(AUDIT_EVENTS, (tenant,), Query(order_by=order_by))
        assert [(each["tenant_id"], each["period"]) for each in page.items] == [
            (tenant, "2026-02"),
            (tenant, "2026-03"),
        ]
        full = await store.query(AUDIT_EVENTS, (tenant, "2026-03"), Query(order_by=order_by))
        assert [(each["tenant_id"], each["period"]) for each in full.items] == [(tenant, "2026-03")]


@pytest.mark.parametrize("partition", [(), ("",), ("t1", ""), ("t1", "2026-03", "x"), (None,), ("t1", 3)])
async def test_a_query_names_its_partition(store: DocumentStore, partition: Any) -> None:
    with pytest.raises(ValueError, match="partition"):
        await store.query(AUDIT_EVENTS, partition, Query())


async def test_a_filter_does_not_widen_the_partition(store: DocumentStore) -> None:
    await store.create(AUDIT_EVENTS, ("t1", "2026-03"), event("t1", "2026-03", "mine"))
    await store.create(AUDIT_EVENTS, ("t2", "2026-03"), event("t2", "2026-03", "theirs"))
    for where in (Eq("tenant_id", "t2"), In("tenant_id", ("t2", "t3"))):
        for partition in (("t1",), ("t1", "2026-03")):
            assert (await store.query(AUDIT_EVENTS, partition, Query(where=(where,)))).items == []
    widening = AnyOf((Eq("tenant_id", "t2"), Defined("id")))
    page = await store.query(AUDIT_EVENTS, ("t1",), Query(where=(widening,)))
    assert [each["id"] for each in page.items] == ["mine"]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 4, 100])
async def test_pages_of_a_prefix_cross_its_partitions(store: DocumentStore, descending: bool, limit: int) -> None:
    items = []
    for number in range(24):
        period = f"2026-{number % 5 + 1:02}"
        stamp = f"{number * 7 % 24:02}"  # interleaved: the order is not that of the periods
        items.append(event("t1", period, f"{number:02}", type="x") | {"recorded_at": stamp})
        await store.create(AUDIT_EVENTS, ("t1", period), items[-1])
    query = Query(where=(Eq("type", "x"),), order_by="recorded_at", descending=descending, limit=limit)
    found = await walk(store, ("t1",), query, AUDIT_EVENTS)
    items.sort(key=lambda each: each["recorded_at"], reverse=descending)
    assert [each["id"] for each in found] == [each["id"] for each in items]


async def test_a_key_of_three_paths(store: DocumentStore) -> None:
    for number, day in enumerate(["mon", "tue", "mon-", "x"]):
        for shop in ("s", "s1"):
            item_id = f"{shop}{number}"
            item = {"id": item_id, "region": "eu", "shop": shop, "day": day, "kind": "k", "n": number}
            await store.create(WIDE, ("eu", shop, day), item)
    query = Query(order_by="n", descending=True, where=(Eq("kind", "k"),))
    for partition, expected in (
        (("eu",), ["s3", "s13", "s2", "s12", "s11", "s1", "s10", "s0"]),
        (("eu", "s"), ["s3", "s2", "s1", "s0"]),
        (("eu", "s", "mon"), ["s0"]),
        (("us",), []),
    ):
        page = await store.query(WIDE, partition, query)
        assert [each["id"] for each in page.items] == expected


async def test_a_partition_of_one_item(store: DocumentStore) -> None:
    await store.create(DIRECTORY, ("a",), {"id": "a", "n": 1})
    await store.create(DIRECTORY, ("b",), {"id": "b", "n": 1})
    page = await store.query(DIRECTORY, ("a",), Query(where=(Eq("id", "a"), Eq("n", 1))))
    assert [each["id"] for each in page.items] == ["a"]


async def test_what_was_acknowledged_is_seen_by_the_next_query(store: DocumentStore) -> None:
    async def writer(number: int) -> None:
        for turn in range(5):
            item_id = f"{number}-{turn}"
            await store.create(IDENTITY, T1, {"id": item_id, "tenant_id": "t1", "kind": item_id})
            page = await store.query(IDENTITY, T1, Query(where=(Eq("kind", item_id),)))
            assert [each["id"] for each in page.items] == [item_id]

    await asyncio.gather(*(writer(number) for number in range(8)))


async def test_the_items_of_a_batch_are_found_by_a_value_of_an_array(store: DocumentStore) -> None:
    """As those that come one by one."""
    partition = ("t1", "2026-03")
    events = [event("t1", "2026-03", f"e{number}") | {"subjects": ["ada", f"p{number}"]} for number in range(3)]
    await store.batch(AUDIT_EVENTS, partition, [create(each) for each in events[:2]])
    await store.create(AUDIT_EVENTS, partition, events[2])
    for subject, expected in (("ada", {"e0", "e1", "e2"}), ("p1", {"e1"}), ("p2", {"e2"}), ("p3", set[str]())):
        query = Query((Has("subjects", subject),), order_by="recorded_at")
        assert {each["id"] for each in (await store.query(AUDIT_EVENTS, ("t1",), query)).items} == expected
