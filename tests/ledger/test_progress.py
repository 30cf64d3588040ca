"""How far a check is, by itself: its form, what is none, times that no check can have written, and what it covers."""

import copy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.ledger.marks import Marked, marks_id
from shared.ledger.merkle import Frontier
from shared.ledger.progress import CLOCKS_DIFFER, LAG, Lap, Progress, covered_of, kept_of, recount_item
from shared.ledger.rollups import DayRollup
from shared.ledger.walk import Walk
from shared.storage.containers import DIRECTORY
from tests.faults import FaultyStore
from tests.ledger.world import NOW, PERIOD, TENANT, World

HERE = (TENANT, PERIOD)
AT = int(NOW.timestamp())
LATE = AT + 300
"""The latest that another clock may say."""
SEALED = AT - 600
"""What was stored by then is sealed."""
ONES, TWOS = b"\x01" * 32, b"\x02" * 32
ONES64, TWOS64 = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
STORED: dict[str, Any] = {
    "id": "check|2026-03",
    "tenant_id": TENANT,
    "period": PERIOD,
    "kind": "check",
    "new": {"size": 3, "nodes": [ONES64, TWOS64], "is_sound": False, "is_whole": True},
    "after": "event-a",
    "looked_at": 11,
    "marked": 12,
    "lap": {
        "number": 13,
        "started_at": 14,
        "covered": 15,
        "walk": {"size": 4, "nodes": [TWOS64], "is_sound": True, "is_whole": False},
        "after": "event-b",
        "entries_done": True,
        "events_done": False,
    },
}


def made() -> Progress:
    lap = Lap(13, 14, 15, Walk(Frontier(4, [TWOS]), is_sound=True, is_whole=False), "event-b", entries_done=True)
    new = Walk(Frontier(3, [ONES, TWOS]), is_sound=False)
    return Progress(PERIOD, new, "event-a", lap, looked_at=11, marked=12)


def changed(**fields: Any) -> dict[str, Any]:
    """What is stored, but for some fields; those of parts by their place, as in `lap__walk__size`. `...`: left out."""
    item = copy.deepcopy(STORED) | {"_etag": "7"}
    for name, value in fields.items():
        *places, last = name.split("__")
        part = item
        for place in places:
            part = part[place]
        part[last] = value
        if value is ...:
            del part[last]
    return item


def covering(at: int, *, new: bool = True, lap: bool = True) -> dict[str, Any]:
    return changed(lap__covered=at, new__is_whole=new, lap__walk__is_whole=lap)


def test_its_form() -> None:
    assert made().item(TENANT) == STORED


@pytest.mark.parametrize("flag", [False, True])
def test_it_is_read_as_it_was_written(*, flag: bool) -> None:
    flags = {"new__is_sound": flag, "new__is_whole": not flag, "lap__walk__is_sound": not flag}
    item = changed(**flags, lap__walk__is_whole=flag, lap__entries_done=not flag, lap__events_done=flag)
    read = Progress.of(item)
    assert read.etag == "7"
    assert read.item(TENANT) == {name: value for name, value in item.items() if name != "_etag"}
    assert read.new.frontier.nodes == (ONES, TWOS)
    assert (read.new.days, read.lap.walk.days) == (None, None)
    assert type(read.new.is_sound) is type(read.lap.walk.is_whole) is type(read.lap.entries_done) is bool


def test_one_that_was_written_before_marks_were_seen() -> None:
    assert Progress.of(changed(marked=...)).marked == 0


def test_a_new_one_has_seen_nothing() -> None:
    fresh = Progress(PERIOD)
    assert (fresh.looked_at, fresh.marked, fresh.after, fresh.etag, fresh.covered) == (0, 0, "", None, 0)
    assert (fresh.new.frontier.size, fresh.lap) == (0, Lap(walk=fresh.lap.walk))
    assert (fresh.lap.number, fresh.lap.started_at, fresh.lap.entries_done, fresh.lap.events_done) == (
        *(0, 0),
        *(False, False),
    )


PLACES = [
    *("period", "new", "after", "looked_at", "_etag", "lap", "new__size", "new__nodes", "new__is_sound"),
    *("new__is_whole", "lap__number", "lap__started_at", "lap__covered", "lap__walk", "lap__after"),
    *("lap__entries_done", "lap__events_done", "lap__walk__size", "lap__walk__nodes"),
]
NONSENSE: list[dict[str, Any]] = [
    *({place: ...} for place in PLACES),
    *({"new": 7}, {"new": None}, {"new__size": "x"}, {"new__size": 2}, {"new__size": -1}, {"new__nodes": 7}),
    *({"new__nodes": ["x", "y"]}, {"new__nodes": ["AAAA", "AAAA"]}, {"new__nodes": [7, 7]}, {"new__size": None}),
    *({"looked_at": None}, {"looked_at": float("inf")}, {"looked_at": float("nan")}, {"marked": []}),
    *({"lap": None}, {"lap": []}, {"lap": {}}, {"lap__number": None}, {"lap__covered": "x"}, {"lap__walk": []}),
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=str)
def test_what_is_no_place_of_a_check(nonsense: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^the place of a check is not as we write it$"):
        Progress.of(changed(**nonsense))


def test_a_lap_follows_a_lap() -> None:
    lap = Lap(4, 1000, 300, Walk(Frontier(1, [ONES]), is_whole=False), "x", entries_done=True, events_done=True)
    following = lap.next(2000, 60)
    assert (following.number, following.started_at, following.covered) == (5, 2000, 940)
    assert (following.walk.frontier.size, following.walk.is_whole, following.after) == (0, True, "")
    assert (following.entries_done, following.events_done) == (False, False)
    assert following.next(3000, 0).covered == 2000


def test_a_check_that_begins_anew_goes_on_from_what_was_covered() -> None:
    marked = Marked({}, "9", {PERIOD: 1234, "2026-02": 99})
    anew = Progress.anew(PERIOD, NOW, marked, "7")
    assert (anew.period, anew.etag, anew.lap.number, anew.lap.covered, anew.covered) == (PERIOD, "7", AT, 1234, 1234)
    assert (anew.looked_at, anew.lap.started_at, anew.new.frontier.size) == (0, 0, 0)
    assert Progress.anew("2026-02", NOW, marked).covered == 99
    assert Progress.anew("2026-02", NOW, marked).etag is None
    assert Progress.anew("2026-01", NOW, marked).covered == 0
    assert Progress.anew(PERIOD, NOW, Marked({}, "9", {PERIOD: AT})).covered == 0


@pytest.mark.parametrize(("new", "lap", "covered"), [(True, True, 15), (False, True, 0), (True, False, 0)])
def test_where_an_entry_was_missing_nothing_is_covered(*, new: bool, lap: bool, covered: int) -> None:
    assert Progress.of(covering(15, new=new, lap=lap)).covered == covered


@pytest.mark.parametrize("name", ["looked_at", "lap__started_at", "lap__covered"])
@pytest.mark.parametrize(("at", "kept"), [(0, True), (AT, True), (LATE, True), (LATE + 1, False), (1 << 60, False)])
def test_times_that_are_still_to_come_are_taken_back(name: str, at: int, *, kept: bool) -> None:
    assert timedelta(minutes=5) == CLOCKS_DIFFER
    item = changed(**{"looked_at": 21, "lap__started_at": 22, "lap__covered": 23, name: at})
    progress = Progress.of(item)
    assert progress.take_back(NOW) is not kept
    after = changed(**{"looked_at": 21, "lap__started_at": 22, "lap__covered": 23, name: at if kept else 0})
    assert progress.item(TENANT) | {"_etag": "7"} == after


def test_times_are_whole_seconds_of_the_latest_clock() -> None:
    progress = Progress.of(changed(looked_at=LATE))
    assert progress.take_back(NOW + timedelta(microseconds=999_999)) is False
    assert progress.looked_at == LATE


async def remember(world: World, covered: Mapping[str, object]) -> None:
    item = {"id": marks_id(TENANT), "tenant_id": TENANT, "signed": {}, "covered": dict(covered)}
    await world.store.create(DIRECTORY, (marks_id(TENANT),), item)


@pytest.mark.parametrize(("at", "covered"), [(1, 1), (SEALED, SEALED), (SEALED + 1, 0), (LATE, 0)])
async def test_what_is_covered_is_what_the_check_says(world: World, at: int, covered: int) -> None:
    assert timedelta(minutes=10) == LAG
    await remember(world, {PERIOD: 77})
    counting = FaultyStore(world.store)
    assert await covered_of(counting, HERE, covering(at), 0, NOW) == covered
    assert counting.calls == [], "which is at hand"


async def test_a_check_that_covers_nothing_is_believed(world: World) -> None:
    await remember(world, {PERIOD: 77})
    assert await covered_of(world.store, HERE, covering(50, lap=False), 0, NOW) == 0


@pytest.mark.parametrize("item", [None, changed(lap=7)], ids=["none", "nonsense"])
async def test_without_a_check_it_is_what_was_kept_of_it(world: World, item: dict[str, Any] | None) -> None:
    await remember(world, {PERIOD: 77, "2026-02": SEALED, "2026-01": SEALED + 1})
    for period, covered in ((PERIOD, 77), ("2026-02", SEALED), ("2026-01", 0), ("2025-12", 0)):
        assert await covered_of(world.store, (TENANT, period), item, SEALED - 1, NOW) == covered
        assert await covered_of(world.store, ("another", period), item, SEALED - 1, NOW) == 0


@pytest.mark.parametrize(("earliest", "reads"), [(SEALED - 1, 1), (SEALED, 0), (AT, 0)])
async def test_it_is_looked_up_for_what_was_stored_long_ago_alone(world: World, earliest: int, reads: int) -> None:
    await remember(world, {PERIOD: 77})
    counting = FaultyStore(world.store)
    assert await covered_of(counting, HERE, None, earliest, NOW) == 77 * reads
    assert len(counting.calls) == reads


async def test_what_was_kept_and_makes_no_sense_covers_nothing(world: World) -> None:
    await remember(world, {PERIOD: "x"})
    assert await covered_of(world.store, HERE, None, 0, NOW) == 0


def test_what_was_kept_of_another_month_is_not_of_this_one() -> None:
    marked = Marked({}, "9", {"2026-02": 55})
    assert kept_of(marked, "2026-02", NOW) == 55
    assert kept_of(marked, PERIOD, NOW) == 0
    assert kept_of(marked, "2026-02", datetime(1970, 1, 1, tzinfo=UTC)) == 0


def test_counts_of_a_lap_are_stored_beside_those_of_the_sealer() -> None:
    rollup = DayRollup("2026-03-15")
    assert recount_item(TENANT, PERIOD, 4, rollup) == {
        "id": "recount|2026-03-15",
        "tenant_id": TENANT,
        "period": PERIOD,
        "kind": "recount",
        "lap": 4,
        **rollup.to_item(),
    }
