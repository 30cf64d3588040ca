"""How far detection has come: the mark moves with heartbeats alone, and a day is told of once it is worked through."""

from datetime import date, timedelta
from typing import Any, cast

import pytest

from shared.core.clock import rfc3339
from shared.detection import all_patterns
from shared.detection.reached import MARK, MOST_WAITING, Reached, note_reached
from shared.ledger.shards import BrokenShard, Shards
from shared.storage.containers import ALERTS, DEAD_LETTERS
from shared.storage.documents import Item
from shared.storage.errors import NotFound
from tests.detection.support import START, TENANT, World

DAY = date(2026, 3, 14)
AFTER = "2026-03-15T00:00:00.000000Z"


def beat(at: str, tenant_id: Any = TENANT, type_: str = "system.heartbeat", **attributes: Any) -> Item:
    return {
        "tenant_id": tenant_id,
        "recorded_at": at,
        "type": type_,
        "attributes": {"source": "policy", **attributes},
    }


async def mark(world: World, tenant_id: str = TENANT) -> Item | None:
    try:
        found = await world.store.read(ALERTS, (tenant_id,), MARK)
    except NotFound:
        return None
    return {name: value for name, value in found.items() if not name.startswith("_")}


class Counts(Shards):
    """The rollups of one day, as the ledger has them."""

    def __init__(self, events: dict[str, int] | None) -> None:
        self.events = events
        self.asked: list[Any] = []

    async def rollups(self, tenant_id: str, period: str, days: Any) -> Any:
        self.asked.append((tenant_id, period, list(days)))
        if self.events is None:
            raise BrokenShard("rollup", period)
        return {name: {"events": count} for name, count in self.events.items()}


async def test_the_newest_mark_of_each_tenant_is_noted(world: World) -> None:
    later = "2026-03-15T00:05:00.000000Z"
    await note_reached(world.store, [beat(AFTER), beat(later), beat(AFTER), beat(AFTER, "other")])
    assert await mark(world) == {"id": "reached", "tenant_id": TENANT, "kind": "reached", "at": later}
    assert cast("Item", await mark(world, "other"))["at"] == AFTER
    before = await world.position()
    await note_reached(world.store, [beat(AFTER), beat(later)])
    assert await world.position() == before, "an older one, or the same, is written over nothing"
    await note_reached(world.store, [beat("2026-03-16T00:00:00.000000Z")])
    assert cast("Item", await mark(world))["at"] == "2026-03-16T00:00:00.000000Z"


@pytest.mark.parametrize(
    "wrong",
    [
        beat(AFTER, source="detect_threats"),
        beat(AFTER, type_="system.failure"),
        beat(""),
        beat(AFTER, ""),
        beat(AFTER, None),
        beat(AFTER, 7),
        {**beat(AFTER), "attributes": None},
        {**beat(AFTER), "attributes": "policy"},
        {**beat(AFTER), "recorded_at": None},
        {"tenant_id": TENANT, "recorded_at": AFTER, "type": "system.heartbeat"},
        {},
    ],
)
async def test_what_is_no_mark_moves_nothing(world: World, wrong: Item) -> None:
    """Who plants an event must not have a day told of that nobody looked at."""
    await note_reached(world.store, [wrong])
    assert await mark(world) is None


async def test_a_day_is_told_of_once_its_end_was_reached(world: World) -> None:
    counts = Counts({"a": 3, "b": 4})
    reached = Reached(world.store, counts)
    assert await reached.of(TENANT, DAY) is None
    await note_reached(world.store, [beat("2026-03-14T23:59:59.999999Z")])
    assert await reached.of(TENANT, DAY) is None
    assert counts.asked == []
    await note_reached(world.store, [beat(AFTER)])
    found = await reached.of(TENANT, DAY)
    assert found is not None
    assert (found.events, found.patterns, found.waiting) == (7, len(all_patterns()), 0)
    assert counts.asked == [(TENANT, "2026-03", ["2026-03-14"])]
    assert await reached.of(TENANT, DAY + timedelta(days=1)) is None
    assert await reached.of("other", DAY) is None


async def test_of_a_month_that_does_not_add_up_nothing_is_told(world: World) -> None:
    await note_reached(world.store, [beat(AFTER)])
    assert await Reached(world.store, Counts(None)).of(TENANT, DAY) is None


async def test_what_detection_could_not_handle_is_counted(world: World) -> None:
    await note_reached(world.store, [beat(AFTER)])
    for n, (tenant_id, consumer, kind) in enumerate(
        [
            (TENANT, "detect_threats", "dead_letter"),
            (TENANT, "detect_threats", "dead_letter"),
            (TENANT, "seal_events", "dead_letter"),
            (TENANT, "detect_threats", "something"),
            ("other", "detect_threats", "dead_letter"),
        ]
    ):
        letter = {
            "id": f"l{n}",
            "tenant_id": tenant_id,
            "consumer": consumer,
            "kind": kind,
            "created_at": rfc3339(START),
        }
        await world.store.create(DEAD_LETTERS, (tenant_id,), letter)
    found = await Reached(world.store, Counts({})).of(TENANT, DAY)
    assert found is not None
    assert (found.events, found.waiting) == (0, 2)
    assert MOST_WAITING == 1000
