"""What every adapter does when it writes: identity, etags, isolation of items, batches, patches, limits, races."""

import asyncio
import copy
from typing import Any

import pytest

from shared.storage.containers import ALERTS, AUDIT_EVENTS, DIRECTORY, IDENTITY, Container
from shared.storage.documents import (
    MAX_BATCH_OPERATIONS,
    MAX_REQUEST_BYTES,
    BatchOperation,
    DocumentStore,
    Item,
    Partition,
    Patch,
    PatchIncrement,
    PatchRemove,
    PatchSet,
    Query,
    create,
    delete,
    find_item,
    replace,
    upsert,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, TooLarge

T1: Partition = ("t1",)


def item(item_id: str = "a", tenant: str = "t1", **fields: Any) -> Item:
    return {"id": item_id, "tenant_id": tenant, **fields}


def own(returned: Item) -> Item:
    """Without what the store sets."""
    return {name: value for name, value in returned.items() if not name.startswith("_")}


async def ids(store: DocumentStore, container: Container = IDENTITY, partition: Partition = T1) -> list[str]:
    page = await store.query(container, partition, Query(limit=1000))
    assert page.next is None
    return [each["id"] for each in page.items]


JSON_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**53 - 1,
    -(2**53) + 1,
    0.1,
    -1.5e300,
    "",
    " ",
    "plain",
    "NUL \x00 inside",
    "\x00",
    "controls \x01\x1f\x7f\n\r\t",
    "quotes \" \\ / ' ` $ %_*[",
    "umlaut ü, CJK 漢字, emoji 🧪, combining é, RTL שלום",
    "\u2028\u2029\ufeff\uffff\U0010ffff",
    [],
    {},
    [1, "1", True, None, [], {}],
    {"": 1, "a.b": 2, '"': 3, "$": 4, "\x00": 5, "_inner": 6, "ü": 7},
]


@pytest.mark.parametrize("value", JSON_VALUES, ids=repr)
async def test_any_json_value_comes_back_as_it_was(store: DocumentStore, value: Any) -> None:
    created = await store.create(IDENTITY, T1, item(value=value))
    read = await store.read(IDENTITY, T1, "a")
    (queried,) = (await store.query(IDENTITY, T1, Query())).items
    for returned in (created, read, queried):
        assert own(returned) == item(value=value)
        assert type(returned["value"]) is type(value)


@pytest.mark.parametrize(
    "value",
    ["\ud800", {"\udfff": 1}, ["x\ud83d"], float("nan"), float("inf"), -float("inf"), {1, 2}, b"bytes", object],
    ids=repr,
)
async def test_what_json_cannot_hold_is_refused(store: DocumentStore, value: Any) -> None:
    await store.create(IDENTITY, T1, item(n=1))
    for write in (
        store.create(IDENTITY, T1, item("b", value=value)),
        store.replace(IDENTITY, T1, item(value=value)),
        store.upsert(IDENTITY, T1, item("b", value=value)),
        store.patch(IDENTITY, T1, "a", [PatchSet("value", value)]),
        store.batch(IDENTITY, T1, [create(item("b")), upsert(item("c", value=value))]),
    ):
        with pytest.raises(ValueError, match="JSON"):
            await write
    assert [own(each) for each in (await store.query(IDENTITY, T1, Query())).items] == [item(n=1)]


async def test_names_of_fields_are_text(store: DocumentStore) -> None:
    with pytest.raises(ValueError, match="text"):
        await store.create(IDENTITY, T1, {**item(), 1: "one"})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "item_id", ["", "a/b", "a\\b", "a?b", "a#b", "ü", "a\x00", "a\n", " ", "a ", ".", "..", "x" * 1024, None, 7]
)
async def test_an_unusable_id_is_refused(store: DocumentStore, item_id: Any) -> None:
    with pytest.raises(ValueError, match="id"):
        await store.create(IDENTITY, T1, item(item_id))
    assert await ids(store) == []


@pytest.mark.parametrize(
    "item_id", ["x" * 1023, "email|a@b.c", "'; DROP TABLE items_identity; --", '"', "%", " a", "_", "...", ".a"]
)
async def test_any_other_id_is_kept(store: DocumentStore, item_id: str) -> None:
    await store.create(IDENTITY, T1, item(item_id))
    assert (await store.read(IDENTITY, T1, item_id))["id"] == item_id
    assert await ids(store) == [item_id]
    await store.delete(IDENTITY, T1, item_id)
    assert await ids(store) == []


@pytest.mark.parametrize("item_id", ["", "a/b", "../docs/a", ".", "..", "a?x", "a#x", "a ", "ü", "a\x00", "x" * 2000])
async def test_no_item_has_an_unusable_id(store: DocumentStore, item_id: str) -> None:
    await store.create(IDENTITY, T1, item())
    for attempt in (
        store.read(IDENTITY, T1, item_id),
        store.delete(IDENTITY, T1, item_id),
        store.patch(IDENTITY, T1, item_id, [PatchSet("n", 1)]),
        store.batch(IDENTITY, T1, [delete(item_id)]),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert own(await store.read(IDENTITY, T1, "a")) == item()


async def test_an_id_names_one_item_of_its_partition(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item(n=1))
    with pytest.raises(Conflict):
        await store.create(IDENTITY, T1, item(n=2))
    await store.create(IDENTITY, ("t2",), item(tenant="t2", n=3))
    await store.create(ALERTS, T1, item(n=4))
    assert (await store.read(IDENTITY, T1, "a"))["n"] == 1
    assert (await store.read(IDENTITY, ("t2",), "a"))["n"] == 3
    assert (await store.read(ALERTS, T1, "a"))["n"] == 4


async def test_an_item_that_may_not_be_there(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item(n=1))
    found = await find_item(store, IDENTITY, T1, "a")
    assert found is not None
    assert own(found) == item(n=1)
    assert await find_item(store, IDENTITY, T1, "b") is None
    assert await find_item(store, IDENTITY, ("t2",), "a") is None


async def test_ids_differ_by_case(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item("a"))
    await store.create(IDENTITY, T1, item("A"))
    assert await ids(store) == ["A", "a"]


async def test_no_call_reaches_another_tenants_item(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item(n=1))
    other: Partition = ("t2",)
    stolen = item(tenant="t2", n=2)
    for attempt in (
        store.read(IDENTITY, other, "a"),
        store.replace(IDENTITY, other, stolen),
        store.delete(IDENTITY, other, "a"),
        store.patch(IDENTITY, other, "a", [PatchSet("n", 2)]),
        store.batch(IDENTITY, other, [delete("a")]),
        store.batch(IDENTITY, other, [BatchOperation("read", id="a")]),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await store.read(IDENTITY, T1, "a"))["n"] == 1


@pytest.mark.parametrize("partition", [(), ("",), ("t1", "2026-03"), ("t2",), (1,), (None,)])
async def test_an_item_goes_only_to_its_own_partition(store: DocumentStore, partition: Any) -> None:
    for write in (store.create, store.replace, store.upsert):
        with pytest.raises(ValueError, match="identity"):
            await write(IDENTITY, partition, item())
    with pytest.raises(ValueError, match="identity"):
        await store.batch(IDENTITY, partition, [create(item())])
    assert await ids(store) == []


@pytest.mark.parametrize("partition", [("t1",), ("t1", ""), ("t1", "2026-03", "x"), ()])
async def test_point_operations_name_the_full_partition(store: DocumentStore, partition: Partition) -> None:
    for attempt in (
        store.read(AUDIT_EVENTS, partition, "a"),
        store.delete(AUDIT_EVENTS, partition, "a"),
        store.patch(AUDIT_EVENTS, partition, "a", [PatchSet("n", 1)]),
        store.batch(AUDIT_EVENTS, partition, [delete("a")]),
    ):
        with pytest.raises(ValueError, match="partition"):
            await attempt


async def test_an_unknown_container_is_refused(store: DocumentStore) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        await store.read(Container(name="nowhere", partition_key=("id",)), ("a",), "a")


async def test_malformed_text_in_a_key_is_refused(store: DocumentStore) -> None:
    for attempt in (
        store.read(IDENTITY, ("\ud800",), "a"),
        store.read(IDENTITY, T1, "\ud800"),
        store.delete(IDENTITY, T1, "\udfff"),
        store.create(IDENTITY, ("\ud800",), item(tenant="\ud800")),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - any of them
            await attempt


async def test_items_are_copied_on_the_way_in_and_out(store: DocumentStore) -> None:
    given = item(deep={"list": [1]})
    writing = asyncio.ensure_future(store.create(IDENTITY, T1, given))
    await asyncio.sleep(0)
    given["deep"]["list"].append(2)
    created = await writing
    created["deep"]["list"].append(3)
    first = await store.read(IDENTITY, T1, "a")
    first["deep"]["list"].append(4)
    page = await store.query(IDENTITY, T1, Query())
    page.items[0]["deep"]["list"].append(5)
    assert own(await store.read(IDENTITY, T1, "a")) == item(deep={"list": [1]})


async def test_a_patch_value_is_copied(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item())
    value = {"list": [1]}
    writing = asyncio.ensure_future(store.patch(IDENTITY, T1, "a", [PatchSet("deep", value)]))
    await asyncio.sleep(0)
    value["list"].append(2)
    await writing
    assert (await store.read(IDENTITY, T1, "a"))["deep"] == {"list": [1]}


async def test_the_stores_own_fields_are_ignored_when_written(store: DocumentStore) -> None:
    created = await store.create(IDENTITY, T1, item(_etag="mine", _ts=1, _rid="r", _self="s", _anything=1))
    assert created["_etag"] != "mine"
    assert created["_ts"] > 1
    assert own(created) == item()
    changed = await store.replace(IDENTITY, T1, {**created, "n": 1}, if_match=created["_etag"])
    assert own(changed) == item(n=1)
    assert {name for name in changed if name.startswith("_")} == {"_etag", "_ts"}


async def test_the_etag_changes_with_every_write_and_with_nothing_else(store: DocumentStore) -> None:
    seen = [(await store.create(IDENTITY, T1, item()))["_etag"]]
    seen.append((await store.replace(IDENTITY, T1, item()))["_etag"])
    seen.append((await store.upsert(IDENTITY, T1, item()))["_etag"])
    seen.append((await store.patch(IDENTITY, T1, "a", [PatchSet("n", 1)]))["_etag"])
    (result,) = await store.batch(IDENTITY, T1, [upsert(item())])
    assert result is not None
    seen.append(result["_etag"])
    await store.delete(IDENTITY, T1, "a")
    seen.append((await store.create(IDENTITY, T1, item()))["_etag"])
    assert len(set(seen)) == len(seen)
    assert all(isinstance(etag, str) and etag for etag in seen)
    for _ in range(2):
        assert (await store.read(IDENTITY, T1, "a"))["_etag"] == seen[-1]


async def test_missing_items_are_not_found(store: DocumentStore) -> None:
    for attempt in (
        store.read(IDENTITY, T1, "a"),
        store.replace(IDENTITY, T1, item()),
        store.replace(IDENTITY, T1, item(), if_match="x"),
        store.delete(IDENTITY, T1, "a"),
        store.delete(IDENTITY, T1, "a", if_match="x"),
        store.patch(IDENTITY, T1, "a", [PatchSet("n", 1)]),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await ids(store) == []


async def test_a_stale_etag_changes_nothing(store: DocumentStore) -> None:
    stale = (await store.create(IDENTITY, T1, item(n=1)))["_etag"]
    current = (await store.replace(IDENTITY, T1, item(n=2), if_match=stale))["_etag"]
    for etag in (stale, "", "*", "1' OR 1=1"):
        for attempt in (
            store.replace(IDENTITY, T1, item(n=3), if_match=etag),
            store.delete(IDENTITY, T1, "a", if_match=etag),
            store.patch(IDENTITY, T1, "a", [PatchSet("n", 3)], if_match=etag),
            store.batch(IDENTITY, T1, [create(item("b")), delete("a", if_match=etag)]),
        ):
            with pytest.raises(PreconditionFailed):
                await attempt
    assert (await store.read(IDENTITY, T1, "a"))["_etag"] == current
    assert await ids(store) == ["a"]
    await store.delete(IDENTITY, T1, "a", if_match=current)
    assert await ids(store) == []


async def test_replace_leaves_nothing_of_the_old_item(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item(old=1, both=1))
    await store.replace(IDENTITY, T1, item(both=2))
    assert own(await store.read(IDENTITY, T1, "a")) == item(both=2)


async def test_a_partition_key_that_is_the_id(store: DocumentStore) -> None:
    await store.create(DIRECTORY, ("x",), {"id": "x", "n": 1})
    assert (await store.read(DIRECTORY, ("x",), "x"))["n"] == 1
    with pytest.raises(ValueError, match="partition"):
        await store.create(DIRECTORY, ("y",), {"id": "x"})
    with pytest.raises(NotFound):
        await store.read(DIRECTORY, ("y",), "x")


# Patches


async def test_patches_apply_in_order(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item(n=1, deep={"x": 1, "gone": True}))
    patched = await store.patch(
        IDENTITY,
        T1,
        "a",
        [
            PatchIncrement("n", 5),
            PatchIncrement("fresh"),
            PatchIncrement("n", -2),
            PatchSet("deep.y", [1]),
            PatchSet("deep.z", {}),
            PatchSet("deep.z.w", None),
            PatchRemove("deep.gone"),
        ],
    )
    expected = item(n=4, fresh=1, deep={"x": 1, "y": [1], "z": {"w": None}})
    assert own(patched) == expected
    assert own(await store.read(IDENTITY, T1, "a")) == expected


@pytest.mark.parametrize(
    "patch",
    [
        PatchSet("absent.x", 1),
        PatchSet("text.x", 1),
        PatchSet("list.x", 1),
        PatchSet("null.x", 1),
        PatchRemove("absent"),
        PatchRemove("deep.absent"),
        PatchRemove("absent.x"),
        PatchIncrement("text"),
        PatchIncrement("flag"),
        PatchIncrement("null"),
        PatchIncrement("absent.x"),
    ],
    ids=repr,
)
async def test_a_patch_that_leads_nowhere_undoes_the_others(store: DocumentStore, patch: Patch) -> None:
    before = await store.create(IDENTITY, T1, item(n=1, text="t", flag=True, null=None, list=[{"x": 1}], deep={}))
    with pytest.raises(PreconditionFailed):
        await store.patch(IDENTITY, T1, "a", [PatchSet("n", 2), patch])
    assert await store.read(IDENTITY, T1, "a") == before


@pytest.mark.parametrize(
    "path",
    ["id", "tenant_id", "id.x", "_etag", "_x", "", ".", "a.", ".a", "a..b", "a b", "a'b", 'a"b', "a[0]", "ü", "0"],
)
async def test_a_patch_path_is_plain_and_never_the_key(store: DocumentStore, path: str) -> None:
    before = await store.create(IDENTITY, T1, item())
    for patch in (PatchSet(path, "x"), PatchRemove(path), PatchIncrement(path)):
        with pytest.raises(ValueError, match=r"path|change"):
            await store.patch(IDENTITY, T1, "a", [patch])
        with pytest.raises(ValueError, match=r"path|change"):
            await store.batch(IDENTITY, T1, [BatchOperation("patch", id="a", patches=(patch,))])
    assert await store.read(IDENTITY, T1, "a") == before


async def test_one_to_ten_patches(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item())
    await store.patch(IDENTITY, T1, "a", [PatchIncrement("n")] * 10)
    for count in (0, 11):
        with pytest.raises(ValueError, match="10"):
            await store.patch(IDENTITY, T1, "a", [PatchIncrement("n")] * count)
    assert (await store.read(IDENTITY, T1, "a"))["n"] == 10


# Batches


async def test_a_batch_returns_what_each_step_left(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item("old", n=1))
    results = await store.batch(
        IDENTITY,
        T1,
        [
            create(item("new", n=1)),
            BatchOperation("read", id="old"),
            replace(item("old", n=2)),
            BatchOperation("patch", id="old", patches=(PatchIncrement("n", 40),)),
            upsert(item("new", n=5)),
            delete("old"),
            create(item("old", n=9)),
        ],
    )
    assert [None if each is None else own(each) for each in results] == [
        item("new", n=1),
        item("old", n=1),
        item("old", n=2),
        item("old", n=42),
        item("new", n=5),
        None,
        item("old", n=9),
    ]
    assert await store.read(IDENTITY, T1, "new") == results[4]
    assert await store.read(IDENTITY, T1, "old") == results[6]


@pytest.mark.parametrize("position", [0, 1, 99])
@pytest.mark.parametrize(
    ("failing", "error"),
    [
        (create(item("there")), Conflict),
        (replace(item("absent")), NotFound),
        (delete("absent"), NotFound),
        (BatchOperation("read", id="absent"), NotFound),
        (replace(item("there"), if_match="stale"), PreconditionFailed),
        (BatchOperation("patch", id="there", patches=(PatchRemove("absent"),)), PreconditionFailed),
    ],
    ids=["conflict", "replace-absent", "delete-absent", "read-absent", "stale", "patch"],
)
async def test_a_batch_is_all_or_nothing(
    store: DocumentStore, failing: BatchOperation, error: type[Exception], position: int
) -> None:
    before = await store.create(IDENTITY, T1, item("there", n=1))
    steps = [create(item(f"new-{index}")) for index in range(MAX_BATCH_OPERATIONS - 1)]
    with pytest.raises(error) as caught:
        await store.batch(IDENTITY, T1, [*steps[:position], failing, *steps[position:]])
    if isinstance(caught.value, Conflict):
        assert caught.value.index == position
    assert await ids(store) == ["there"]
    assert await store.read(IDENTITY, T1, "there") == before


async def test_a_batch_that_creates_an_id_twice_is_a_conflict(store: DocumentStore) -> None:
    with pytest.raises(Conflict) as caught:
        await store.batch(IDENTITY, T1, [create(item("a")), create(item("b")), create(item("a"))])
    assert caught.value.index == 2
    assert await ids(store) == []


@pytest.mark.parametrize(
    "step",
    [
        BatchOperation("create"),
        BatchOperation("create", id="a"),
        BatchOperation("create", item=item(), id="a"),
        BatchOperation("create", item=item(), if_match="x"),
        BatchOperation("upsert", item=item(), if_match="x"),
        BatchOperation("upsert", item=item(), patches=(PatchIncrement("n"),)),
        BatchOperation("delete"),
        BatchOperation("delete", item=item()),
        BatchOperation("read", id="a", if_match="x"),
        BatchOperation("truncate", id="a"),  # type: ignore[arg-type]
        BatchOperation("patch", id="a"),
        BatchOperation("delete", id="a", patches=(PatchIncrement("n"),)),
        BatchOperation("create", item=item(tenant="t2")),
    ],
    ids=repr,
)
async def test_a_malformed_step_is_refused_before_anything_is_done(store: DocumentStore, step: BatchOperation) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        await store.batch(IDENTITY, T1, [create(item("first")), step])
    assert await ids(store) == []


async def test_an_empty_batch_is_refused(store: DocumentStore) -> None:
    with pytest.raises(ValueError, match="empty"):
        await store.batch(IDENTITY, T1, [])


async def test_a_batch_has_at_most_a_hundred_operations(store: DocumentStore) -> None:
    steps = [create(item(f"{index:03}")) for index in range(MAX_BATCH_OPERATIONS + 1)]
    with pytest.raises(TooLarge):
        await store.batch(IDENTITY, T1, steps)
    assert await ids(store) == []
    assert len(await store.batch(IDENTITY, T1, steps[:-1])) == MAX_BATCH_OPERATIONS
    assert len(await ids(store)) == MAX_BATCH_OPERATIONS


async def test_a_batch_has_at_most_two_megabytes(store: DocumentStore) -> None:
    third = "ü" * (MAX_REQUEST_BYTES // 6)
    steps = [create(item(f"{index}", text=third)) for index in range(3)]
    with pytest.raises(TooLarge):
        await store.batch(IDENTITY, T1, steps)
    patch = BatchOperation("patch", id="0", patches=(PatchSet("more", third),))
    with pytest.raises(TooLarge):
        await store.batch(IDENTITY, T1, [*steps[:2], patch])
    assert await ids(store) == []
    await store.batch(IDENTITY, T1, steps[:2])
    assert await ids(store) == ["0", "1"]


# Limits


async def test_an_item_has_at_most_two_megabytes_of_utf8(store: DocumentStore) -> None:
    fits = item(text="ü" * ((MAX_REQUEST_BYTES - 100) // 2))
    over = item(text="ü" * (MAX_REQUEST_BYTES // 2))
    for write in (store.create, store.upsert):
        with pytest.raises(TooLarge):
            await write(IDENTITY, T1, copy.deepcopy(over))
    await store.create(IDENTITY, T1, fits)
    with pytest.raises(TooLarge):
        await store.replace(IDENTITY, T1, over)
    with pytest.raises(TooLarge):
        await store.patch(IDENTITY, T1, "a", [PatchSet("more", "x" * 200)])
    with pytest.raises(TooLarge):
        await store.patch(IDENTITY, T1, "absent", [PatchSet(path, "x" * (MAX_REQUEST_BYTES // 2)) for path in "ab"])
    assert own(await store.read(IDENTITY, T1, "a")) == fits


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"x": value}
    return value


async def test_an_item_nests_at_most_128_levels(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item("deep", value=nested(127), more=[[], {}]))
    assert (await store.read(IDENTITY, T1, "deep"))["value"] == nested(127)
    for levels in (128, 500, 100_000):
        with pytest.raises(TooLarge):
            await store.create(IDENTITY, T1, item("deeper", value=nested(levels)))
    with pytest.raises(TooLarge):
        await store.patch(IDENTITY, T1, "deep", [PatchSet("again", {}), PatchSet("again.x", nested(127))])
    wide = item("wide", value=[{}] * 1000, text="[{" * 1000)
    assert own(await store.create(IDENTITY, T1, wide)) == wide


# Races


async def test_of_two_racing_creates_one_wins(store: DocumentStore) -> None:
    for round_ in range(20):
        writes = [store.create(IDENTITY, T1, item(f"r{round_}", n=n)) for n in range(2)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        winners = [each for each in results if isinstance(each, dict)]
        assert len(winners) == 1
        assert sum(isinstance(each, Conflict) for each in results) == 1
        assert await store.read(IDENTITY, T1, f"r{round_}") == winners[0]


async def test_of_two_racing_replaces_with_one_etag_one_wins(store: DocumentStore) -> None:
    etag = (await store.create(IDENTITY, T1, item(n=-1)))["_etag"]
    for _ in range(20):
        writes = [store.replace(IDENTITY, T1, item(n=n), if_match=etag) for n in range(2)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        (winner,) = [each for each in results if isinstance(each, dict)]
        assert sum(isinstance(each, PreconditionFailed) for each in results) == 1
        assert await store.read(IDENTITY, T1, "a") == winner
        etag = winner["_etag"]


async def test_concurrent_creators_lose_nothing(store: DocumentStore) -> None:
    async def creator(number: int) -> None:
        for turn in range(10):
            await store.create(IDENTITY, T1, item(f"{number:02}-{turn}"))

    await asyncio.gather(*(creator(number) for number in range(32)))
    assert await ids(store) == [f"{number:02}-{turn}" for number in range(32) for turn in range(10)]


async def test_concurrent_increments_all_count(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item(n=0))
    await asyncio.gather(*(store.patch(IDENTITY, T1, "a", [PatchIncrement("n")]) for _ in range(50)))
    assert (await store.read(IDENTITY, T1, "a"))["n"] == 50


async def test_failures_beside_it_do_not_touch_a_write(store: DocumentStore) -> None:
    await store.create(IDENTITY, T1, item("there"))
    results = await asyncio.gather(
        *(store.create(IDENTITY, T1, item("there" if n % 2 else f"new-{n}")) for n in range(40)),
        store.batch(IDENTITY, T1, [create(item("x")), create(item("there"))]),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Conflict) for each in results) == 21
    assert await ids(store) == sorted(["there", *(f"new-{n}" for n in range(0, 40, 2))])


async def test_a_caller_that_goes_away_harms_nobody(store: DocumentStore) -> None:
    tasks = [asyncio.ensure_future(store.create(IDENTITY, T1, item(f"{n:02}"))) for n in range(30)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, dict) for each in results[1::2])
    await store.create(IDENTITY, T1, item("after"))
    present = set(await ids(store))
    assert {f"{n:02}" for n in range(1, 30, 2)} | {"after"} <= present


async def test_ping_answers(store: DocumentStore) -> None:
    await store.ping()
