"""By what stored counts differ from those of the entries, and counting beside others."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.ledger import recount as module
from shared.ledger.recount import MOST_DAYS, Recount, differing, rollup_item, stored_rollups
from shared.ledger.rollups import DayRollup
from shared.ledger.shards import BrokenShard, rollup_id
from shared.storage.containers import LEDGER
from shared.storage.documents import Item, create
from shared.storage.errors import PreconditionFailed, Unavailable
from tests.faults import FaultyStore
from tests.ledger.world import NOW, OTHER, PERIOD, TENANT, World

HERE = (TENANT, PERIOD)
DAY = "2026-03-15"
FORM = {"tenant_id": TENANT, "period": PERIOD}
LOGIN, READ = "auth.login", "data.read"


def counted(*events: tuple[str, str | None, int], first: int = 0) -> DayRollup:
    """The counts of a day of events of a type, with a reason, at an hour."""
    rollup = DayRollup(DAY)
    for index, (kind, reason, hour) in enumerate(events, first):
        at = f"{DAY}T{hour:02}:00:00.000000Z"
        event = {"type": kind, "reason": reason, "recorded_at": at, "outcome": "success", "data_class": "none"}
        rollup.add(event | {"actor": {"kind": "user", "id": "u1"}}, index)
    return rollup


def stored(rollup: DayRollup, **fields: Any) -> Item:
    return rollup_item(TENANT, PERIOD, rollup) | fields


def wrong(rollup: DayRollup, item: Item | None, size: int = 10, now: int = 10) -> str | None:
    """By what the one day that was counted differs, if it does."""
    found = differing({DAY: rollup}, [] if item is None else [item], size, now)
    assert [day for day, _ in found] in ([], [DAY])
    return found[0][1] if found else None


def hours(**numbers: int) -> list[int]:
    """Of 24 hours, those that are named as in `h07`."""
    return [numbers.get(f"h{hour:02}", 0) for hour in range(24)]


def test_counts_that_are_as_they_should_be() -> None:
    rollup = counted((LOGIN, None, 7), (LOGIN, "x", 7), (READ, None, 8))
    assert wrong(rollup, stored(rollup)) is None
    assert wrong(rollup, stored(rollup, ttl=7, _ts=8)) is None, "what else an item has does not matter"


def test_each_row_and_hour_is_told_by_how_much_it_is_more_or_less() -> None:
    rollup = counted((LOGIN, None, 7), (LOGIN, "x", 7), (READ, None, 8), (READ, None, 8))
    held = counted((LOGIN, None, 7), (LOGIN, None, 9), (LOGIN, None, 9), (READ, None, 8), ("user.add", "y", 0))
    rows = {
        str((LOGIN, "success", "none", None)): 2,
        str((LOGIN, "success", "none", "x")): -1,
        str((READ, "success", "none", None)): -1,
        str(("user.add", "success", "none", "y")): 1,
    }
    by_hour = {LOGIN: hours(h07=-1, h09=2), READ: hours(h08=-1), "user.add": hours(h00=1)}
    told = wrong(rollup, stored(held))
    assert told == json.dumps([dict(sorted(rows.items())), by_hour]), "in one order, always"


def test_a_type_that_is_missing_whole_is_less_by_all_of_it() -> None:
    rollup = counted((LOGIN, None, 0), (READ, None, 23))
    held = counted((LOGIN, None, 0))
    told = json.loads(wrong(rollup, stored(held)) or "")
    assert told == [{str((READ, "success", "none", None)): -1}, {READ: hours(h23=-1)}]


def test_what_differs_in_nothing_that_is_counted_differs_all_the_same() -> None:
    rollup = counted((LOGIN, None, 7))
    others: list[Item] = [{"last": 3}, {"first": 4}, {"actors": []}, {"events": 9}, {"distinct_actors": 2}]
    for fields in others:
        assert wrong(rollup, stored(rollup, **fields)) == "[{}, {}]", fields


def test_counts_that_are_gone_or_are_none() -> None:
    rollup = counted((LOGIN, None, 7))
    assert wrong(rollup, None) == "gone"
    assert wrong(rollup, {"id": f"rollup|{DAY}"}) == "not formed"
    assert wrong(rollup, stored(rollup, hours=7)) == "not formed"


@pytest.mark.parametrize(
    ("last", "told"), [(9, True), (10, False), (14, False), (15, True), (16, True), ("12", True), (None, True)]
)
def test_a_day_that_went_on_meanwhile_says_nothing_yet(last: object, *, told: bool) -> None:
    rollup = counted((LOGIN, None, 7))
    assert (wrong(rollup, stored(rollup, last=last), 10, 15) is not None) is told
    days = differing({}, [{"id": "rollup|2026-03-01", "last": last}], 10, 15)
    assert days == [("2026-03-01", "no such day")] * told


def test_days_are_told_in_order() -> None:
    one, two = counted((LOGIN, None, 7)), DayRollup("2026-03-02")
    items = [{"id": "rollup|2026-03-09"}, stored(one), {"id": "rollup|2026-03-01"}, {"id": "rollup|x|y"}]
    assert differing({DAY: one, "2026-03-02": two}, items, 1, 1) == [
        ("2026-03-01", "no such day"),
        ("2026-03-02", "gone"),
        ("2026-03-09", "no such day"),
        ("x|y", "no such day"),
    ]


async def plant(world: World, days: Sequence[str], tenant_id: str = TENANT) -> None:
    items = [{"id": rollup_id(day), "tenant_id": tenant_id, "period": PERIOD, "last": 9999} for day in days]
    await world.store.batch(LEDGER, (tenant_id, PERIOD), [create(item) for item in items])


async def test_all_that_lies_there_as_counts_is_looked_at(world: World) -> None:
    for some in range(3):
        await plant(world, [f"{number}" for number in range(100 + some * 40, 140 + some * 40)])
    await plant(world, ["other"], OTHER)
    await world.store.create(LEDGER, HERE, {"id": "rolluq|1", **FORM})
    await world.store.create(LEDGER, HERE, {"id": "recount|1", **FORM})
    found = await stored_rollups(world.store, TENANT, PERIOD)
    assert [item["id"] for item in found] == [f"rollup|{number}" for number in range(100, 220)]
    assert await Recount(world.store).shard(TENANT, PERIOD) == [f"{number}" for number in range(100, 220)]


async def test_days_are_put_right_as_the_sealer_writes_them(world: World) -> None:
    await world.seal([world.event(NOW - timedelta(days=n)) for n in (2, 1, 0)])
    as_sealed = await world.store.read(LEDGER, HERE, rollup_id(DAY))
    head = await world.store.read(LEDGER, HERE, f"head|{PERIOD}")
    await world.store.delete(LEDGER, HERE, rollup_id(DAY))
    await plant(world, ["2026-03-01"])
    assert await Recount(world.store).shard(TENANT, PERIOD, write=True) == ["2026-03-01", DAY]
    kept = await stored_rollups(world.store, TENANT, PERIOD)
    assert [item["id"] for item in kept] == [f"rollup|2026-03-{day}" for day in (13, 14, 15)]
    assert {**kept[2], "_etag": 0, "_ts": 0} == {**as_sealed, "_etag": 0, "_ts": 0}
    written = await world.store.read(LEDGER, HERE, f"head|{PERIOD}")
    assert {**written, "_etag": 0, "_ts": 0} == {**head, "_etag": 0, "_ts": 0}
    assert written["_etag"] != head["_etag"], "so that a sealer that has read the old counts begins again"


async def test_where_nothing_is_wrong_nothing_is_written(world: World) -> None:
    await world.seal(world.events(2))
    counting = FaultyStore(world.store)
    assert await Recount(counting).shard(TENANT, PERIOD, write=True) == []
    assert {call.operation for call in counting.calls} == {"read", "query"}


class Growing(FaultyStore):
    """A store to which a sealer adds an event, `left` times, whenever the counts have been read."""

    left = 0
    world: World

    async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
        page = await super().query(container, partition, query)
        if self.left and query.limit == MOST_DAYS:
            self.left -= 1
            await self.world.seal(self.world.events(1))
        return page


async def growing(world: World, left: int) -> Growing:
    """A shard of which the counts of a day are wrong."""
    await world.seal([world.event(NOW - timedelta(days=1)), world.event()])
    await world.store.delete(LEDGER, HERE, rollup_id("2026-03-14"))
    store = Growing(world.store)
    store.world, store.left = world, left
    return store


async def test_while_a_shard_grows_it_is_counted_again(world: World) -> None:
    assert await Recount(await growing(world, 4)).shard(TENANT, PERIOD) == ["2026-03-14"]


async def test_a_shard_that_grows_all_the_time_is_given_up(world: World) -> None:
    store = await growing(world, 5)
    with pytest.raises(Unavailable, match=r"^the shard grows all the time$"):
        await Recount(store).shard(TENANT, PERIOD)
    assert store.left == 0


async def test_a_head_that_moves_at_the_last_moment_is_no_trouble(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await growing(world, 0)
    monkeypatch.setattr(module, "_RACES", 3)

    def refusing(times: int) -> FaultyStore:
        return FaultyStore(
            world.store,
            1,
            error=PreconditionFailed("moved"),
            times=times,
            counts=lambda call: call.operation == "batch",
        )

    with pytest.raises(Unavailable):
        await Recount(refusing(3)).shard(TENANT, PERIOD, write=True)
    assert await Recount(refusing(2)).shard(TENANT, PERIOD, write=True) == ["2026-03-14"]
    assert await Recount(world.store).shard(TENANT, PERIOD) == []


@pytest.mark.parametrize("text", ["{}", "[]", "no", "[" * 100_000, '{"recorded_at":"2026-03-15T00"}'], ids=range(5))
async def test_an_entry_that_cannot_be_counted_is_named(world: World, text: str) -> None:
    events = world.events(3)
    await world.seal(events)
    entry = await world.store.read(LEDGER, HERE, events[2]["id"])
    await world.store.replace(LEDGER, HERE, entry | {"entry": text})
    with pytest.raises(BrokenShard, match=r"^entry 2 cannot be counted$") as raised:
        await Recount(world.store).shard(TENANT, PERIOD)
    assert raised.value.what == "entries"
