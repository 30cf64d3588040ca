"""The record of what was signed, by itself: it only grows, in one form, and is kept anew about once a day."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.ledger.marks import Mark, Marked, Marks, marks_id
from shared.ledger.shards import BrokenShard
from shared.storage.containers import DIRECTORY
from shared.storage.documents import Item
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from tests.faults import Call, FaultyStore
from tests.ledger.world import OTHER, PERIOD, TENANT, World

ID = f"ledger_signed|{TENANT}"
PLACE = (ID,)
DAY = 86_400
ROOT, ROOT64 = b"\x01" * 32, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
NEXT = "2026-04"


async def stored(world: World) -> Item:
    held = await world.store.read(DIRECTORY, PLACE, ID)
    return {name: value for name, value in held.items() if not name.startswith("_")}


async def keep(world: World, size: int, period: str = PERIOD) -> None:
    marks = Marks(world.store)
    await marks.keep(TENANT, period, Mark(size, ROOT), await marks.of(TENANT))


async def cover(world: World, **covered: int) -> None:
    marks = Marks(world.store)
    months = {name.replace("_", "-")[1:]: at for name, at in covered.items()}
    await marks.cover(TENANT, months, await marks.of(TENANT))


async def test_its_form(world: World) -> None:
    assert marks_id(TENANT) == ID
    await keep(world, 3, NEXT)
    await keep(world, 7)
    await cover(world, m2026_04=5, m2026_03=9)
    assert await stored(world) == {
        "id": ID,
        "tenant_id": TENANT,
        "signed": {PERIOD: {"size": 7, "root": ROOT64}, NEXT: {"size": 3, "root": ROOT64}},
        "covered": {PERIOD: 9, NEXT: 5},
    }
    assert list((await stored(world))["signed"]) == [PERIOD, NEXT]
    marked = await Marks(world.store).of(TENANT)
    assert marked.months == {PERIOD: Mark(7, ROOT), NEXT: Mark(3, ROOT)}
    assert marked.covered == {PERIOD: 9, NEXT: 5}
    assert await Marks(world.store).of(OTHER) == Marked({})


async def test_a_mark_only_grows(world: World) -> None:
    await keep(world, 5)
    for size in (5, 4, 0):
        await keep(world, size)
        assert (await stored(world))["signed"][PERIOD]["size"] == 5
    marks = Marks(world.store)
    early = await marks.of(TENANT)
    await keep(world, 9)
    await marks.keep(TENANT, PERIOD, Mark(6, ROOT), early)  # read before the other one was kept
    assert (await stored(world))["signed"][PERIOD]["size"] == 9
    await marks.keep(TENANT, NEXT, Mark(1, ROOT), early)
    assert {month: each["size"] for month, each in (await stored(world))["signed"].items()} == {PERIOD: 9, NEXT: 1}


async def test_marking_forgets_nothing_that_was_covered(world: World) -> None:
    await keep(world, 1)
    await cover(world, m2026_03=100)
    await keep(world, 2)
    assert (await stored(world))["covered"] == {PERIOD: 100}
    await cover(world, m2026_04=200)
    assert (await stored(world))["covered"] == {PERIOD: 100, NEXT: 200}
    assert (await stored(world))["signed"] == {PERIOD: {"size": 2, "root": ROOT64}}


@pytest.mark.parametrize(
    ("covered", "now", "is_late"),
    [
        ({}, {}, False),
        ({}, {PERIOD: 0}, True),
        ({PERIOD: 100}, {PERIOD: 100 + DAY - 1}, False),
        ({PERIOD: 100}, {PERIOD: 100 + DAY}, True),
        ({PERIOD: 100}, {PERIOD: 101, NEXT: 0}, True),
        ({PERIOD: 100, NEXT: 5}, {PERIOD: 101, NEXT: 6}, False),
        ({PERIOD: 100}, {PERIOD: 0}, False),
    ],
)
def test_it_is_kept_anew_after_a_day(covered: Mapping[str, int], now: Mapping[str, int], is_late: bool) -> None:
    assert Marked({}, "etag", covered).late(now) is is_late


async def test_what_is_covered_is_never_set_back(world: World) -> None:
    await keep(world, 1)
    await cover(world, m2026_03=10 * DAY, m2026_04=DAY)
    await cover(world, m2026_03=5 * DAY, m2026_04=3 * DAY)
    assert (await stored(world))["covered"] == {PERIOD: 10 * DAY, NEXT: 3 * DAY}


async def test_within_a_day_nothing_is_written(world: World) -> None:
    await keep(world, 1)
    await cover(world, m2026_03=DAY)
    marks = Marks(FaultyStore(world.store))
    marked = await marks.of(TENANT)
    await marks.cover(TENANT, {PERIOD: 2 * DAY - 1}, marked)
    assert (await stored(world))["covered"] == {PERIOD: DAY}
    await marks.cover(TENANT, {PERIOD: 2 * DAY}, marked)
    assert (await stored(world))["covered"] == {PERIOD: 2 * DAY}


async def test_where_nothing_was_signed_nothing_is_covered(world: World) -> None:
    await cover(world, m2026_03=DAY)
    with pytest.raises(NotFound):
        await stored(world)


def is_write(call: Call) -> bool:
    return call.operation in ("create", "replace")


@pytest.mark.parametrize("error", [Conflict(), NotFound(), PreconditionFailed()])
async def test_lost_races_are_run_again(world: World, error: Exception) -> None:
    store = FaultyStore(world.store, 1, error=error, times=9, counts=is_write)
    marks = Marks(store)
    await marks.keep(TENANT, PERIOD, Mark(3, ROOT), Marked({}))
    assert (await stored(world))["signed"] == {PERIOD: {"size": 3, "root": ROOT64}}
    store.arm(1, error=error, times=9)
    await marks.cover(TENANT, {PERIOD: DAY}, await marks.of(TENANT))
    assert (await stored(world))["covered"] == {PERIOD: DAY}


async def test_ten_lost_races_are_enough(world: World) -> None:
    store = FaultyStore(world.store, 1, error=PreconditionFailed(), times=None, counts=is_write)
    with pytest.raises(Unavailable, match=r"^the record of what was signed is contended$"):
        await Marks(store).keep(TENANT, PERIOD, Mark(3, ROOT), Marked({}))
    assert store.counted == 10
    await keep(world, 1)
    store.arm(1, times=None)
    marked = await Marks(store).of(TENANT)
    await Marks(store).cover(TENANT, {PERIOD: DAY}, marked)  # the next run makes up for it
    assert store.counted == 10
    assert (await stored(world))["covered"] == {}


GOOD: Item = {"signed": {PERIOD: {"size": 0, "root": ROOT64}}, "covered": {PERIOD: 1}}
FORGED: dict[str, dict[str, Any]] = {
    "no marks": {"covered": {}},
    "no size": {"signed": {PERIOD: {"root": ROOT64}}},
    "no root": {"signed": {PERIOD: {"size": 1}}},
    "a size of text": {"signed": {PERIOD: {"size": "1", "root": ROOT64}}},
    "a size below zero": {"signed": {PERIOD: {"size": -1, "root": ROOT64}}},
    "a root too long": {"signed": {PERIOD: {"size": 1, "root": "A" * 44}}},
    "a root of no text": {"signed": {PERIOD: {"size": 1, "root": None}}},
    "a month that is none": {"signed": {"2026-13": {"size": 1, "root": ROOT64}}},
    "covered is a list": GOOD | {"covered": []},
    "covered to a time of text": GOOD | {"covered": {PERIOD: "1"}},
    "covered to a truth": GOOD | {"covered": {PERIOD: True}},
    "covered in no month": GOOD | {"covered": {"2026-00": 1}},
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_record_in_another_form_is_not_believed(world: World, name: str) -> None:
    await world.store.create(DIRECTORY, PLACE, {"id": ID, **FORGED[name]})
    with pytest.raises(BrokenShard, match=r"^the record of what was signed is not as we write it$") as error:
        await Marks(world.store).of(TENANT)
    assert error.value.what == "checkpoint"


async def test_a_record_from_before_anything_was_covered_is_read(world: World) -> None:
    await world.store.create(DIRECTORY, PLACE, {"id": ID, "signed": GOOD["signed"]})
    marked = await Marks(world.store).of(TENANT)
    assert (marked.months, marked.covered) == ({PERIOD: Mark(0, ROOT)}, {})
