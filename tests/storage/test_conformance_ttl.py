"""What every adapter does about time: `_ts`, `ttl`, and containers whose items expire by period."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.core.clock import rfc3339
from shared.storage.containers import AUDIT_EVENTS, DEAD_LETTERS, IDENTITY
from shared.storage.documents import (
    DocumentStore,
    Item,
    PatchRemove,
    PatchSet,
    Query,
    create,
    delete,
    replace,
    upsert,
)
from shared.storage.errors import NotFound
from tests.fakes import ManualClock
from tests.storage.conftest import WIDE

pytestmark = pytest.mark.moves_the_clock

T1 = ("t1",)
MARCH = ("t1", "2026-03")
MARCH_ENDS = datetime(2026, 7, 10, tzinfo=UTC)  # 100 days (the suite's ttl_days) after the end of March


def item(item_id: str = "a", **fields: Any) -> Item:
    return {"id": item_id, "tenant_id": "t1", **fields}


def event(item_id: str = "a", period: str = "2026-03", **fields: Any) -> Item:
    return {"id": item_id, "tenant_id": "t1", "period": period, "recorded_at": "2026-03-01", **fields}


async def test_ts_is_the_second_of_the_last_write(store: DocumentStore, clock: ManualClock) -> None:
    start = int(clock.now().timestamp())
    clock.advance(seconds=0.9)
    created = await store.create(IDENTITY, T1, item())
    assert (created["_ts"], type(created["_ts"])) == (start, int)
    clock.advance(seconds=5)
    assert (await store.read(IDENTITY, T1, "a"))["_ts"] == start
    assert (await store.patch(IDENTITY, T1, "a", [PatchSet("n", 1)]))["_ts"] == start + 5


async def is_gone(store: DocumentStore, item_id: str = "a") -> bool:
    """Whether every call agrees that the item is not there."""
    page = await store.query(IDENTITY, T1, Query())
    listed = item_id in [each["id"] for each in page.items]
    try:
        await store.read(IDENTITY, T1, item_id)
    except NotFound:
        assert not listed
        return True
    assert listed
    return False


async def test_an_item_ends_ttl_seconds_after_its_last_write(store: DocumentStore, clock: ManualClock) -> None:
    await store.create(IDENTITY, T1, item(ttl=60))
    await store.create(IDENTITY, T1, item("b"))
    clock.advance(seconds=59)
    assert not await is_gone(store)
    clock.advance(seconds=1)
    assert await is_gone(store)
    assert not await is_gone(store, "b")


async def test_any_write_restarts_the_ttl(store: DocumentStore, clock: ManualClock) -> None:
    read = await store.create(IDENTITY, T1, item(ttl=60))
    for _ in range(3):
        clock.advance(seconds=50)
        read = await store.replace(IDENTITY, T1, read)
        clock.advance(seconds=50)
        await store.patch(IDENTITY, T1, "a", [PatchSet("n", 1)])
    clock.advance(seconds=59)
    assert not await is_gone(store)
    clock.advance(seconds=1)
    assert await is_gone(store)


async def test_an_expired_item_is_gone_for_every_call(store: DocumentStore, clock: ManualClock) -> None:
    etag = (await store.create(IDENTITY, T1, item(ttl=1)))["_etag"]
    clock.advance(seconds=1)
    for attempt in (
        store.replace(IDENTITY, T1, item()),
        store.replace(IDENTITY, T1, item(), if_match=etag),
        store.delete(IDENTITY, T1, "a"),
        store.patch(IDENTITY, T1, "a", [PatchSet("n", 1)]),
        store.batch(IDENTITY, T1, [replace(item())]),
        store.batch(IDENTITY, T1, [delete("a", if_match=etag)]),
    ):
        with pytest.raises(NotFound):
            await attempt
    created = await store.create(IDENTITY, T1, item(n=2))
    assert created["_etag"] != etag
    assert (await store.read(IDENTITY, T1, "a"))["n"] == 2


async def test_an_expired_id_is_free_for_upsert_and_batch(store: DocumentStore, clock: ManualClock) -> None:
    for item_id in ("a", "b"):
        await store.create(IDENTITY, T1, item(item_id, ttl=1, old=1))
    clock.advance(seconds=2)
    await store.upsert(IDENTITY, T1, item())
    await store.batch(IDENTITY, T1, [create(item("b"))])
    page = await store.query(IDENTITY, T1, Query(fields=("id", "old")))
    assert page.items == [{"id": "a"}, {"id": "b"}]


async def test_ttl_can_be_taken_off_and_put_on(store: DocumentStore, clock: ManualClock) -> None:
    await store.create(IDENTITY, T1, item(ttl=10))
    await store.create(IDENTITY, T1, item("b"))
    await store.patch(IDENTITY, T1, "a", [PatchRemove("ttl")])
    await store.patch(IDENTITY, T1, "b", [PatchSet("ttl", 10)])
    clock.advance(days=3650)
    assert not await is_gone(store, "a")
    assert await is_gone(store, "b")


async def test_the_containers_ttl_holds_unless_the_item_has_one(store: DocumentStore, clock: ManualClock) -> None:
    partition = ("eu", "s1", "mon")
    base = {"region": "eu", "shop": "s1", "day": "mon"}
    for item_id, ttl in (("default", None), ("short", 5), ("long", 600), ("never", -1)):
        own = {} if ttl is None else {"ttl": ttl}
        await store.create(WIDE, partition, {"id": item_id, **base, **own})
    alive = []
    for seconds in (5, 55, 540, 10**8):
        clock.advance(seconds=seconds)
        alive.append([each["id"] for each in (await store.query(WIDE, partition, Query())).items])
    assert alive == [["default", "long", "never"], ["long", "never"], ["never"], ["never"]]


async def test_ttl_is_plain_data_where_the_container_has_none(store: DocumentStore, clock: ManualClock) -> None:
    await store.create(DEAD_LETTERS, T1, item(ttl="soon"))
    await store.create(DEAD_LETTERS, T1, item("b", ttl=1))
    clock.advance(days=3650)
    assert (await store.read(DEAD_LETTERS, T1, "a"))["ttl"] == "soon"
    assert (await store.read(DEAD_LETTERS, T1, "b"))["ttl"] == 1


@pytest.mark.parametrize("ttl", [0, -2, 2**31, 1.5, "60", True, None, [1]])
async def test_an_impossible_ttl_is_refused(store: DocumentStore, ttl: Any) -> None:
    with pytest.raises(ValueError, match="ttl"):
        await store.create(IDENTITY, T1, item(ttl=ttl))
    await store.create(IDENTITY, T1, item())
    with pytest.raises(ValueError, match="ttl"):
        await store.patch(IDENTITY, T1, "a", [PatchSet("ttl", ttl)])
    assert "ttl" not in await store.read(IDENTITY, T1, "a")


async def living(store: DocumentStore) -> list[str]:
    return [each["id"] for each in (await store.query(AUDIT_EVENTS, ("t1",), Query())).items]


async def test_a_period_expires_as_a_whole(store: DocumentStore, clock: ManualClock) -> None:
    clock.set(datetime(2026, 3, 1, tzinfo=UTC))
    first = await store.create(AUDIT_EVENTS, MARCH, event("a", ttl=1))
    assert first["ttl"] == int((MARCH_ENDS - clock.now()).total_seconds())
    clock.set(datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC))
    await store.create(AUDIT_EVENTS, MARCH, event("b"))
    await store.create(AUDIT_EVENTS, MARCH, event("late", ttl=10**9))
    clock.set(datetime(2026, 5, 1, tzinfo=UTC))
    await store.upsert(AUDIT_EVENTS, MARCH, event("upserted"))
    await store.replace(AUDIT_EVENTS, MARCH, event("b", n=1))
    patched = await store.patch(AUDIT_EVENTS, MARCH, "late", [PatchSet("ttl", 5)])
    assert patched["ttl"] == int((MARCH_ENDS - clock.now()).total_seconds())
    await store.batch(AUDIT_EVENTS, MARCH, [upsert(event("z"))])
    await store.create(AUDIT_EVENTS, ("t1", "2026-04"), event("april", period="2026-04"))
    everything = ["a", "april", "b", "late", "upserted", "z"]
    clock.set(MARCH_ENDS)
    clock.advance(seconds=-1)
    assert await living(store) == everything, rfc3339(clock.now())
    clock.advance(seconds=1)
    assert await living(store) == ["april"]


async def test_a_legal_hold_outlives_its_period(store: DocumentStore, clock: ManualClock) -> None:
    await store.create(AUDIT_EVENTS, MARCH, event("held", ttl=-1))
    await store.create(AUDIT_EVENTS, MARCH, event("patched"))
    await store.create(AUDIT_EVENTS, MARCH, event("released", ttl=-1))
    assert (await store.patch(AUDIT_EVENTS, MARCH, "patched", [PatchSet("ttl", -1)]))["ttl"] == -1
    assert (await store.patch(AUDIT_EVENTS, MARCH, "held", [PatchSet("n", 1)]))["ttl"] == -1
    assert (await store.patch(AUDIT_EVENTS, MARCH, "released", [PatchRemove("ttl")]))["ttl"] > 0
    clock.set(MARCH_ENDS)
    assert await living(store) == ["held", "patched"]


@pytest.mark.parametrize(
    "period", ["2026-13", "2026-00", "2026-3", "26-03", "2026-03-01", "now", "２０２６-03", "9999-12"]
)
async def test_a_period_is_a_month(store: DocumentStore, period: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - year 10000 has words of its own
        await store.create(AUDIT_EVENTS, ("t1", period), event(period=period))
    assert await living(store) == []
