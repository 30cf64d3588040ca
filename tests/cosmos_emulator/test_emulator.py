"""The emulator behaves as Microsoft documents where our adapter relies on it. Plain REST, without the SDK."""

import http.client
import json
import re
from collections.abc import AsyncIterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient

from tests.cosmos_emulator.emulator import KEY, Emulator

NOON = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
MEGABYTE = 1024 * 1024
RANGE: dict[str, Any] = {"x_ms_documentdb_partitionkeyrangeid": "0"}
COMPOSITE = [[{"path": "/n", "order": "ascending"}, {"path": "/id", "order": "ascending"}]]


class Database:
    """One database of the emulator: `deep` has a key of two paths and a TTL, `flat` one path and none."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.continuation: str | None = None
        deep = {"paths": ["/tenant_id", "/period"], "kind": "MultiHash", "version": 2}
        flat = {"paths": ["/tenant_id"], "kind": "Hash", "version": 2}
        emulator.create_database(
            "own",
            [
                {
                    "id": "deep",
                    "partitionKey": deep,
                    "defaultTtl": -1,
                    "indexingPolicy": {"compositeIndexes": COMPOSITE},
                },
                {"id": "flat", "partitionKey": flat},
            ],
        )
        emulator.clock("own", NOON)

    def send(
        self,
        method: str,
        item_id: str | None = None,
        body: Any = None,
        *,
        key: list[Any] | None = None,
        container: str = "deep",
        **headers: str,
    ) -> tuple[int, Mapping[str, str], Any]:
        path = f"/dbs/own/colls/{container}/docs" + (f"/{item_id}" if item_id else "")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["x-ms-documentdb-partitionkey"] = json.dumps(key)
        return self.emulator.request(method, path, body, sent)

    def create(self, item_id: str = "a", tenant: str = "t1", period: str = "p1", **fields: Any) -> Any:
        body = {"id": item_id, "tenant_id": tenant, "period": period, **fields}
        status, _, created = self.send("POST", None, body, key=[tenant, period])
        assert status == 201, created
        return created

    def read(self, item_id: str = "a", key: tuple[str, ...] = ("t1", "p1")) -> tuple[int, Any]:
        status, _, body = self.send("GET", item_id, key=list(key))
        return status, body

    def batch(self, *operations: Mapping[str, Any]) -> tuple[int, Any]:
        status, _, body = self.send(
            "POST", None, list(operations), key=["t1", "p1"], x_ms_cosmos_is_batch_request="True"
        )
        return status, body

    def query(self, sql: str, *, key: list[str] | None = None, **headers: str) -> tuple[int, Any]:
        headers["x_ms_documentdb_isquery"] = "true"
        status, found, body = self.send("POST", None, {"query": sql, "parameters": []}, key=key, **headers)
        self.continuation = found.get("x-ms-continuation")
        return status, [each["id"] for each in body["Documents"]] if status == 200 else body


@pytest.fixture
def own(emulator: Emulator) -> Iterator[Database]:
    yield Database(emulator)
    emulator.faults("own")
    emulator.delete_database("own")


def item(item_id: str = "a", **fields: Any) -> dict[str, Any]:
    return {"id": item_id, "tenant_id": "t1", "period": "p1", **fields}


def test_an_item_gets_the_stores_fields(own: Database) -> None:
    created = own.create(n=1, _ts=5, _etag="mine")
    assert {name for name in created if name.startswith("_")} == {"_rid", "_self", "_etag", "_ts", "_attachments"}
    assert created["_ts"] == NOON.timestamp()
    assert created["_etag"].startswith('"'), "etags are quoted strings"
    status, headers, body = own.send("GET", "a", key=["t1", "p1"])
    assert (status, body) == (200, created)
    assert headers["etag"] == created["_etag"]


def test_missing_items_are_404_and_a_missing_container_says_so(own: Database) -> None:
    for method in ("GET", "DELETE", "PUT", "PATCH"):
        body = {"PUT": item(), "PATCH": {"operations": [{"op": "set", "path": "/n", "value": 1}]}}.get(method)
        assert own.send(method, "a", body, key=["t1", "p1"])[0] == 404
    status, headers, _ = own.send("GET", "a", key=["t1"], container="nowhere")
    assert (status, headers["x-ms-substatus"]) == (404, "1003")


def test_an_id_is_taken_within_its_partition_only(own: Database) -> None:
    own.create(n=1)
    status, _, _ = own.send("POST", None, item(n=2), key=["t1", "p1"])
    assert status == 409
    own.create(period="p2", n=3)
    assert [own.read(key=("t1", period))[1]["n"] for period in ("p1", "p2")] == [1, 3]
    assert own.read(key=("t2", "p1"))[0] == 404


@pytest.mark.parametrize("key", [["t1"], ["t1", "p1", "x"], ["t2", "p1"], ["t1", 1], []])
def test_the_key_of_a_request_fits_container_and_item(own: Database, key: list[Any]) -> None:
    status, headers, _ = own.send("POST", None, item(), key=key)
    assert (status, headers["x-ms-substatus"]) == (400, "1001")


def test_if_match_guards_replace_patch_and_delete(own: Database) -> None:
    stale = own.create()["_etag"]
    status, _, replaced = own.send("PUT", "a", item(n=1), key=["t1", "p1"], if_match=stale)
    assert status == 200
    patch = {"operations": [{"op": "set", "path": "/n", "value": 2}]}
    for method, body in (("PUT", item(n=2)), ("PATCH", patch), ("DELETE", None)):
        assert own.send(method, "a", body, key=["t1", "p1"], if_match=stale)[0] == 412
    assert own.read()[1] == replaced
    assert own.send("DELETE", "a", key=["t1", "p1"], if_match=replaced["_etag"])[0] == 204
    assert own.read()[0] == 404


def test_an_upsert_creates_or_replaces(own: Database) -> None:
    for n, expected in ((1, 201), (2, 200)):
        status, _, _ = own.send("POST", None, item(n=n), key=["t1", "p1"], x_ms_documentdb_is_upsert="True")
        assert status == expected
    assert own.read()[1]["n"] == 2


def test_two_megabytes_are_the_limit(own: Database) -> None:
    assert own.send("POST", None, item(text="x" * 2 * MEGABYTE), key=["t1", "p1"])[0] == 413
    own.create(text="x" * (2 * MEGABYTE - 200))
    grow = {"operations": [{"op": "set", "path": "/more", "value": "x" * 300}]}
    assert own.send("PATCH", "a", grow, key=["t1", "p1"])[0] == 413
    assert "more" not in own.read()[1]


# Patches


def patched(own: Database, *operations: tuple[Any, ...], condition: str | None = None) -> tuple[int, Any]:
    body: dict[str, Any] = {
        "operations": [dict(zip(("op", "path", "value"), each, strict=False)) for each in operations]
    }
    if condition:
        body["condition"] = condition
    status, _, answer = own.send("PATCH", "a", body, key=["t1", "p1"])
    return status, answer


def test_a_patch_applies_in_order_and_as_a_whole(own: Database) -> None:
    before = own.create(n=1, deep={"x": 1}, list=[1, 2])
    status, _ = patched(own, ("incr", "/n", 4), ("remove", "/deep/absent"))
    assert status == 400
    assert own.read() == (200, before)
    status, after = patched(
        own,
        ("incr", "/n", 4),
        ("incr", "/fresh", 1),
        ("set", "/deep/y", [1]),
        ("remove", "/deep/x"),
        ("add", "/list/1", 9),
        ("set", "/list/0", 8),
        ("replace", "/list/2", 7),
    )
    assert status == 200
    assert {name: after[name] for name in ("n", "fresh", "deep", "list")} == {
        "n": 5,
        "fresh": 1,
        "deep": {"y": [1]},
        "list": [8, 9, 7],
    }
    assert after["_etag"] != before["_etag"]


@pytest.mark.parametrize(
    "operation",
    [
        ("set", "/absent/x", 1),
        ("set", "/text/x", 1),
        ("set", "/list/x", 1),
        ("set", "/list/9", 1),
        ("replace", "/absent", 1),
        ("remove", "/absent"),
        ("incr", "/text", 1),
        ("incr", "/n", "1"),
        ("set", "/id", "b"),
        ("set", "/period", "p2"),
        ("set", "/_etag", "x"),
        ("nonsense", "/n", 1),
        ("set", "n", 1),
    ],
)
def test_a_patch_that_makes_no_sense_is_a_bad_request(own: Database, operation: tuple[Any, ...]) -> None:
    before = own.create(n=1, text="t", list=[1])
    assert patched(own, operation)[0] == 400
    assert own.read() == (200, before)


def test_a_patch_has_at_most_ten_operations(own: Database) -> None:
    own.create(n=0)
    assert patched(own, *[("incr", "/n", 1)] * 11)[0] == 400
    assert patched(own, *[("incr", "/n", 1)] * 10)[1]["n"] == 10


def test_the_condition_of_a_patch_keeps_its_case(own: Database) -> None:
    own.create(Name="Ada", n=0)
    assert patched(own, ("incr", "/n", 1), condition='from c where c["Name"] = "ada"')[0] == 412
    assert patched(own, ("incr", "/n", 1), condition='from c where c["Name"] = "Ada"')[1]["n"] == 1


# Batches


def step(kind: str, item_id: str = "a", **more: Any) -> dict[str, Any]:
    if kind in ("Create", "Upsert"):
        return {"operationType": kind, "resourceBody": item(item_id, **more)}
    return {"operationType": kind, "id": item_id, **more}


def test_a_batch_sees_its_own_writes(own: Database) -> None:
    status, results = own.batch(
        step("Create", n=1),
        step("Patch", resourceBody={"operations": [{"op": "incr", "path": "/n", "value": 1}]}),
        step("Read"),
        step("Replace", resourceBody=item(n=9)),
        step("Upsert", "b"),
        step("Delete"),
    )
    assert status == 200
    assert [each["statusCode"] for each in results] == [201, 200, 200, 200, 201, 204]
    assert [each.get("resourceBody", {}).get("n") for each in results[:4]] == [1, 2, 2, 9]
    assert all(each["requestCharge"] > 0 for each in results)
    assert results[2]["eTag"] == results[1]["eTag"] != results[3]["eTag"]
    assert own.read()[0] == 404


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        (step("Create", "there"), 409),
        (step("Replace", "absent", resourceBody=item("absent")), 404),
        (step("Delete", "absent"), 404),
        (step("Read", "absent"), 404),
        (step("Delete", "there", ifMatch="stale"), 412),
        (step("Patch", "there", resourceBody={"operations": [{"op": "remove", "path": "/absent"}]}), 400),
    ],
    ids=lambda each: each.get("operationType") if isinstance(each, dict) else None,
)
def test_a_batch_is_all_or_nothing(own: Database, failing: dict[str, Any], expected: int) -> None:
    before = own.create("there", n=1)
    status, results = own.batch(
        step("Create", "first"), step("Delete", "there"), step("Create", "there", n=2), failing, step("Create", "last")
    )
    assert status == 207
    assert [each["statusCode"] for each in results] == [424, 424, 424, expected, 424]
    assert own.read("there") == (200, before), "with its etag"
    assert own.read("first")[0] == 404


def test_a_batch_has_its_limits(own: Database) -> None:
    assert own.batch(*[step("Create", str(n)) for n in range(101)])[0] == 400
    assert own.batch()[0] == 400
    assert own.batch(*[step("Create", str(n), text="x" * MEGABYTE) for n in range(2)])[0] == 413
    assert own.read("0")[0] == 404
    assert own.batch(*[step("Create", str(n)) for n in range(100)])[0] == 200


# Time


def test_items_expire_by_the_clock(own: Database) -> None:
    own.create("short", ttl=60)
    own.create("plain")
    own.create("never", ttl=-1)
    own.emulator.clock("own", NOON + timedelta(seconds=59))
    assert own.read("short")[0] == 200
    own.emulator.clock("own", NOON + timedelta(seconds=60))
    assert own.read("short")[0] == 404
    assert own.query("SELECT * FROM c", key=["t1", "p1"]) == (200, ["plain", "never"])
    assert own.batch(step("Create", "short"))[0] == 200, "its id is free again"
    own.emulator.clock("own", NOON + timedelta(days=9999))
    assert [own.read(each)[0] for each in ("plain", "never")] == [200, 200]


def test_a_write_restarts_the_ttl(own: Database) -> None:
    own.create(ttl=60)
    own.emulator.clock("own", NOON + timedelta(seconds=50))
    assert patched(own, ("set", "/n", 1))[1]["_ts"] == NOON.timestamp() + 50
    own.emulator.clock("own", NOON + timedelta(seconds=100))
    assert own.read()[0] == 200
    own.emulator.clock("own", NOON + timedelta(seconds=110))
    assert own.read()[0] == 404


def test_a_ttl_means_nothing_where_the_container_has_none(own: Database) -> None:
    body = {"id": "a", "tenant_id": "t1", "ttl": 1}
    assert own.send("POST", None, body, key=["t1"], container="flat")[0] == 201
    own.emulator.clock("own", NOON + timedelta(days=1))
    assert own.send("GET", "a", key=["t1"], container="flat")[0] == 200


@pytest.mark.parametrize("ttl", [0, -2, 2**31, 1.5, "60", True, None])
def test_an_impossible_ttl_is_a_bad_request(own: Database, ttl: Any) -> None:
    assert own.send("POST", None, item(ttl=ttl), key=["t1", "p1"])[0] == 400


# Queries


def fill(own: Database) -> None:
    for tenant in ("t1", "t2"):
        for period in ("p1", "p2"):
            for n in range(2):
                own.create(f"{tenant}{period}{n}", tenant, period, n=n)


def hashed(*prefix: str) -> str:
    key = PartitionKey(path=["/tenant_id", "/period"], kind="MultiHash")
    return str(key._get_effective_partition_key_string(list(prefix)))


def test_a_query_reaches_its_partition_and_nothing_else(own: Database) -> None:
    fill(own)
    everything = "SELECT * FROM c"
    assert own.query(everything, key=["t1", "p2"]) == (200, ["t1p20", "t1p21"])
    assert own.query(everything)[0] == 400, "all partitions must be asked for"
    assert len(own.query(everything, x_ms_documentdb_query_enablecrosspartition="True")[1]) == 8


@pytest.mark.parametrize("tenant", ["t1", "t2", "", "a" * 14, "a" * 15, "a" * 30, "ä🧪", "t1|p1"])
def test_a_prefix_is_a_range_of_the_hashes_that_the_sdk_computes(own: Database, tenant: str) -> None:
    fill(own)
    own.create("more", tenant, "p3")
    low = hashed(tenant)
    reached = own.query(
        "SELECT * FROM c", x_ms_documentdb_partitionkeyrangeid="0", x_ms_start_epk=low, x_ms_end_epk=low + "FF"
    )
    others = [f"{tenant}{period}{n}" for period in ("p1", "p2") for n in range(2)] if tenant in ("t1", "t2") else []
    assert reached == (200, [*others, "more"])


def test_a_split_cuts_a_tenant_in_two(own: Database) -> None:
    for n in range(20):
        own.create(f"i{n}", period=f"p{n}")
    own.emulator.control("split", {"database": "own", "container": "deep", "prefix": ["t1"]})
    _, headers, body = own.emulator.request("GET", "/dbs/own/colls/deep/pkranges")
    ranges = [(each["minInclusive"], each["maxExclusive"]) for each in body["PartitionKeyRanges"]]
    assert ranges == [("", hashed("t1") + "20"), (hashed("t1") + "20", "FF")]
    again = own.emulator.request("GET", "/dbs/own/colls/deep/pkranges", None, {"if-none-match": headers["etag"]})
    assert again[0] == 304
    assert [each["id"] for each in body["PartitionKeyRanges"]] == ["1", "2"]
    assert [each["parents"] for each in body["PartitionKeyRanges"]] == [["0"], ["0"]]
    assert own.query("SELECT * FROM c", x_ms_documentdb_partitionkeyrangeid="0")[0] == 410
    halves = [own.query("SELECT * FROM c", x_ms_documentdb_partitionkeyrangeid=part)[1] for part in "12"]
    assert all(halves)
    assert sorted(halves[0] + halves[1]) == sorted(f"i{n}" for n in range(20))


def test_an_order_by_two_paths_needs_its_composite_index(own: Database) -> None:
    fill(own)
    assert own.query("SELECT * FROM c ORDER BY c.n, c.id", key=["t1", "p1"]) == (200, ["t1p10", "t1p11"])
    assert own.query("SELECT * FROM c ORDER BY c.m, c.id", key=["t1", "p1"])[0] == 400
    assert own.query("SELECT nonsense", key=["t1", "p1"])[0] == 400


def test_pages_go_on_where_they_ended(own: Database) -> None:
    for n in range(5):
        own.create(f"i{n}", n=-n)
    found: list[str] = []
    headers: dict[str, str] = {"x_ms_max_item_count": "2"}
    for _ in range(3):
        found += own.query("SELECT * FROM c ORDER BY c.n", key=["t1", "p1"], **headers)[1]
        headers["x_ms_continuation"] = own.continuation or ""
    assert own.continuation is None
    assert found == ["i4", "i3", "i2", "i1", "i0"]


# The change feed


def changes(own: Database, after: str | None = None, **headers: str) -> tuple[int, str, list[str]]:
    """Status, etag and ids of one page."""
    sent: dict[str, Any] = {"a_im": "Incremental feed", **RANGE, **headers}
    if after is not None:
        sent["if_none_match"] = after
    status, found, body = own.send("GET", **sent)
    return status, found.get("etag", ""), [each["id"] for each in body["Documents"]] if status == 200 else []


def test_the_feed_is_in_order_of_the_last_writes(own: Database) -> None:
    for name in ("a", "b", "c"):
        own.create(name)
    status, etag, found = changes(own)
    assert (status, found) == (200, ["a", "b", "c"])
    assert re.fullmatch(r'"\d+"', etag)
    assert changes(own, etag) == (304, etag, [])
    own.send("PUT", "a", item("a", n=1), key=["t1", "p1"])
    own.send("DELETE", "b", key=["t1", "p1"])
    assert changes(own, etag)[2] == ["a"]
    assert changes(own)[2] == ["c", "a"]


def test_pages_of_the_feed_go_on_from_their_etag(own: Database) -> None:
    for n in range(5):
        own.create(f"i{n}", tenant=f"t{n}")
    seen: list[list[str]] = []
    status, etag, page = changes(own, x_ms_max_item_count="2")
    while status == 200:
        seen.append(page)
        status, etag, page = changes(own, etag, x_ms_max_item_count="2")
    assert seen == [["i0", "i1"], ["i2", "i3"], ["i4"]]


def test_a_page_of_the_feed_ends_with_a_transaction(own: Database) -> None:
    own.create("a")
    own.batch(*({"operationType": "Create", "resourceBody": item(name)} for name in ("b", "c", "d")))
    own.create("e")
    _, etag, page = changes(own, x_ms_max_item_count="2")
    assert page == ["a", "b", "c", "d"]
    assert changes(own, etag, x_ms_max_item_count="2")[2] == ["e"]
    numbers = [each["_lsn"] for each in own.send("GET", a_im="Incremental feed", **RANGE)[2]["Documents"]]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 3, "one number for each transaction"


def test_a_page_of_the_feed_has_few_megabytes(own: Database) -> None:
    for n in range(4):
        own.create(str(n), text="x" * (2 * MEGABYTE - 1000))
    _, etag, page = changes(own)
    assert 1 <= len(page) < 4
    assert page + changes(own, etag)[2] == ["0", "1", "2", "3"]


def test_a_failed_batch_and_an_expired_item_leave_no_trace(own: Database) -> None:
    own.create("a", ttl=5)
    etag = changes(own)[1]
    own.batch({"operationType": "Create", "resourceBody": item("b")}, {"operationType": "Delete", "id": "nowhere"})
    assert changes(own, etag)[0] == 304
    own.emulator.clock("own", NOON + timedelta(seconds=6))
    assert changes(own)[0] == 304


def test_the_feed_from_now_on(own: Database) -> None:
    own.create("a")
    status, etag, _ = changes(own, "*")
    assert status == 304
    own.create("b")
    assert changes(own, etag)[2] == ["b"]


def test_the_feed_of_one_partition_key(own: Database) -> None:
    own.create("a")
    own.create("b", period="p2")
    status, _, body = own.send("GET", a_im="Incremental feed", key=["t1", "p2"])
    assert (status, [each["id"] for each in body["Documents"]]) == (200, ["b"])


def test_after_a_split_the_parents_feed_is_gone_and_the_halves_go_on_from_its_etag(own: Database) -> None:
    for n in range(16):
        own.create(str(n), tenant=f"t{n}")
    etag = changes(own, x_ms_max_item_count="10")[1]
    own.emulator.control("split", {"database": "own", "container": "deep", "prefix": ["t0"]})
    status, headers, _ = own.send("GET", a_im="Incremental feed", if_none_match=etag, **RANGE)
    assert (status, headers["x-ms-substatus"]) == (410, "1002")
    halves = [changes(own, etag, x_ms_documentdb_partitionkeyrangeid=half)[2] for half in ("1", "2")]
    assert sorted(map(int, halves[0] + halves[1])) == list(range(10, 16))
    everything = [changes(own, x_ms_documentdb_partitionkeyrangeid=half)[2] for half in ("1", "2")]
    assert all(everything)
    part = changes(own, x_ms_documentdb_partitionkeyrangeid="1", x_ms_start_epk="", x_ms_end_epk="10")[2]
    assert set(part) < set(everything[0])


@pytest.mark.parametrize(
    ("headers", "status", "sub_status"),
    [
        ({"a_im": "Full-Fidelity Feed"}, 400, None),
        ({"if_modified_since": "Sun, 15 Mar 2026 12:00:00 GMT"}, 400, None),
        ({"if_none_match": "garbage"}, 400, None),
        ({"x_ms_documentdb_partitionkeyrangeid": "7"}, 410, "1002"),
        ({"x_ms_cosmos_intended_collection_rid": "another"}, 400, "1024"),
    ],
)
def test_what_the_feed_refuses(own: Database, headers: dict[str, Any], status: int, sub_status: str | None) -> None:
    own.create()
    refused, found, _ = own.send("GET", **{"a_im": "Incremental feed", **RANGE, **headers})
    assert (refused, found.get("x-ms-substatus")) == (status, sub_status)


async def test_the_sdk_reads_the_feed_through_a_split(own: Database) -> None:
    for n in range(16):
        own.create(str(n), tenant=f"t{n}")
    async with CosmosClient(own.emulator.endpoint, KEY, connection_verify=False) as client:
        container = client.get_database_client("own").get_container_client("deep")
        pages = container.query_items_change_feed(start_time="Beginning", max_item_count=5).by_page()
        page: AsyncIterable[dict[str, Any]]
        found: list[str] = []
        async for page in pages:
            found += [each["id"] async for each in page]
            if len(found) == 5:
                own.emulator.control("split", {"database": "own", "container": "deep", "prefix": ["t0"]})
        assert sorted(map(int, found)) == list(range(16))


# Charges and faults


def test_every_answer_has_its_charge(own: Database) -> None:
    own.create()
    own.create("big", text="x" * 10_000)
    charges = {}
    for item_id in ("a", "big", "absent"):
        _, headers, _ = own.send("GET", item_id, key=["t1", "p1"])
        charges[item_id] = float(headers["x-ms-request-charge"])
    assert charges == {"a": 1, "big": 10, "absent": 1}


def test_a_scripted_status(own: Database) -> None:
    retry = {"x-ms-retry-after-ms": "7"}
    own.emulator.faults("own", {"operation": "create", "status": 429, "headers": retry, "skip": 1, "times": 2})
    own.create("a")
    for item_id in ("b", "c"):
        status, headers, _ = own.send("POST", None, item(item_id), key=["t1", "p1"])
        assert (status, headers["x-ms-retry-after-ms"]) == (429, "7")
        assert own.read(item_id)[0] == 404
    own.create("b")
    (former,) = own.emulator.faults("own")
    assert (former["status"], former["hit"]) == (429, 2)


@pytest.mark.parametrize(("action", "expected"), [("drop", 404), ("apply-then-drop", 200)])
def test_a_dropped_connection(own: Database, action: str, expected: int) -> None:
    own.emulator.faults("own", {"operation": "create", "action": action})
    with pytest.raises((http.client.HTTPException, OSError)):
        own.send("POST", None, item(), key=["t1", "p1"])
    assert own.read()[0] == expected


def test_a_fault_is_one_databases_alone(own: Database) -> None:
    own.emulator.faults("another", {"status": 503})
    own.create()


def test_the_log_tells_what_was_asked(own: Database) -> None:
    own.emulator.log("own")
    own.create()
    own.read()
    assert [(each["operation"], each.get("id")) for each in own.emulator.log("own")] == [
        ("create", None),
        ("read", "a"),
    ]
    assert own.emulator.log("own") == []


def test_it_speaks_tls_with_a_certificate_of_its_own(emulator: Emulator) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", emulator.port)
    plain.request("GET", "/")
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.getresponse()
    plain.close()
    status, _, body = emulator.request("GET", "/")
    assert status == 200
    assert body["writableLocations"][0]["databaseAccountEndpoint"] == emulator.endpoint
    assert body["userConsistencyPolicy"]["defaultConsistencyLevel"] == "Strong"
