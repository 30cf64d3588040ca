"""A lap of the check, page by page and run by run: where it stops, what it counts, and what it asks for once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.ledger import reconciliation
from shared.ledger import verification as module
from shared.ledger.progress import Lap, Progress, recount_item
from shared.ledger.rollups import DayRollup, rollups_of
from shared.ledger.shards import Shards, rollup_id
from shared.ledger.tiles import WIDTH
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import In, Item, Prefix, Query, create
from tests.faults import FaultyStore
from tests.ledger.checking import OWN_TURN, Checking, Meanwhile
from tests.ledger.heard import Said
from tests.ledger.walked import Shard, tail
from tests.ledger.world import PERIOD, TENANT, World

HERE = (TENANT, PERIOD)
AT = int(OWN_TURN.timestamp())
DAY = "2026-03-15"
FIRST = 5
"""Entries that are left of the first page, and events of a page."""
FULL = WIDTH + 4
"""Entries of two pages."""


class Asked(FaultyStore):
    """A store that keeps what it is asked for of the month: container, and the query; and what is written over."""

    def __init__(self, world: World) -> None:
        super().__init__(world.store)
        self.queries: list[tuple[str, Query]] = []
        self.written: list[Item] = []

    async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
        if partition == HERE:
            self.queries.append((container.name, query))
        return await super().query(container, partition, query)

    async def upsert(self, container, partition, item):  # type: ignore[no-untyped-def]
        self.written.append(item)
        return await super().upsert(container, partition, item)

    @property
    def rests(self) -> int:
        """How often it was asked for what is there beside entries."""
        return sum(rollup_id("") in repr(query) for _, query in self.queries)


@pytest.fixture
def checking(world: World, monkeypatch: pytest.MonkeyPatch) -> Checking:
    """A run takes one page of the lap: up to five events, and what is left of a tile."""
    monkeypatch.setattr(module, "PAGES_LEAST", 1)
    monkeypatch.setattr(reconciliation, "PAGE", FIRST)
    world.clock.set(OWN_TURN)
    return Checking(world)


async def begun(checking: Checking, events: list[Item] | None = None) -> Shard:
    """A month of two pages, of which the lap has passed all but the last entries of the first one."""
    shard = await tail(checking.world, FULL, events or checking.world.events(FIRST + 4))
    await keep(checking, Progress(PERIOD, new=shard.at(FULL), lap=Lap(walk=shard.at(shard.start))))
    return shard


async def keep(checking: Checking, place: Progress) -> None:
    """Keep a place as a run did a short while ago."""
    place.looked_at = AT - 10
    await checking.world.store.create(LEDGER, HERE, place.item(TENANT))


async def counted(world: World) -> list[Item]:
    """What laps have kept of what they counted."""
    query = Query((Prefix("id", "recount|"),), limit=100)
    return (await world.store.query(LEDGER, HERE, query)).items


async def test_a_lap_goes_on_where_the_last_run_stopped(checking: Checking) -> None:
    events = (await begun(checking)).events
    assert await checking.run() == []
    assert checking.compared == [FIRST]
    place = await checking.place()
    assert (place["new"]["size"], place["looked_at"]) == (FULL, AT)
    lap = place["lap"]
    assert (lap["number"], lap["started_at"], lap["covered"]) == (0, AT, 0)
    assert (lap["walk"]["size"], lap["walk"]["is_whole"], lap["after"]) == (WIDTH, True, events[FIRST - 1]["id"])
    assert (lap["entries_done"], lap["events_done"]) == (False, False)
    (kept,) = await counted(checking.world)
    rollup = rollups_of(events[:FIRST], WIDTH - FIRST)[DAY]
    own = {"id": f"recount|{DAY}", "tenant_id": TENANT, "period": PERIOD, "kind": "recount", "lap": 0}
    assert {name: kept[name] for name in own | rollup.to_item()} == own | rollup.to_item()
    checking.world.clock.advance(minutes=6)
    assert await checking.run() == []
    assert checking.compared == [4]
    lap = (await checking.place())["lap"]
    assert (lap["number"], lap["started_at"], lap["covered"]) == (1, AT + 360, AT - 600)
    assert (lap["walk"]["size"], lap["after"], lap["entries_done"], lap["events_done"]) == (0, "", False, False)
    assert [(each["lap"], each["last"]) for each in await counted(checking.world)] == [(0, WIDTH - 1)], (
        "of the last page nothing has to be kept"
    )


async def test_a_run_that_has_the_time_takes_all_pages(checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGES_LEAST", 3)
    await begun(checking)
    asked = Asked(checking.world)
    assert await checking.run(asked) == []
    assert checking.compared == [FIRST, 4]
    assert (await checking.place())["lap"]["number"] == 1
    assert [each for each in asked.written if each["id"].startswith("recount|")] == []


async def write_over_counts(checking: Checking) -> None:
    rollup = await checking.world.store.read(LEDGER, HERE, rollup_id(DAY))
    await checking.world.store.replace(LEDGER, HERE, rollup | {"events": 7})


async def test_counts_that_are_wrong_are_told_when_all_pages_were_counted(checking: Checking) -> None:
    await begun(checking)
    await write_over_counts(checking)
    assert await checking.run() == []
    assert await checking.run() == [Said("rollup", DAY, None, "[{}, {}]")]


async def test_counts_that_a_lap_kept_and_somebody_wrote_to_say_nothing(checking: Checking) -> None:
    """The lap counts no more, and says of no event that it was covered; the next one counts anew."""
    await begun(checking)
    await write_over_counts(checking)
    assert await checking.run() == []
    (kept,) = await counted(checking.world)
    await checking.world.store.replace(LEDGER, HERE, kept | {"counts": 7})
    assert await checking.run() == []
    lap = (await checking.place())["lap"]
    assert (lap["number"], lap["walk"]["is_whole"]) == (1, True)


async def test_counts_of_another_lap_are_not_gone_on_from(checking: Checking) -> None:
    await begun(checking)
    assert await checking.run() == []
    other = DayRollup("2026-03-02").to_item()
    items = [
        {"id": f"recount|2026-02-{number:03}", "tenant_id": TENANT, "period": PERIOD, "lap": (1, None, "0")[number % 3]}
        for number in range(100)
    ]
    await checking.world.store.batch(LEDGER, HERE, [create(each | other) for each in items])
    assert await checking.run() == []


async def test_a_run_keeps_the_days_that_it_counted_on(checking: Checking) -> None:
    """Not one that ended in an earlier page; one whose last entry begins this page, and one that goes on."""
    times = [OWN_TURN.replace(day=14), *(OWN_TURN - timedelta(seconds=9 - n) for n in range(FIRST + 3))]
    await begun(checking, [checking.world.event(at) for at in times])
    earlier = DayRollup("2026-03-13")
    earlier.first, earlier.last = 0, WIDTH - FIRST - 1
    await checking.world.store.create(LEDGER, HERE, recount_item(TENANT, PERIOD, 0, earlier))
    asked = Asked(checking.world)
    assert await checking.run(asked) == []
    written = [(each["id"], each["last"]) for each in asked.written if each["id"].startswith("recount|")]
    assert written == [("recount|2026-03-14", WIDTH - FIRST), (f"recount|{DAY}", WIDTH - 1)]
    assert [each["day"] for each in await counted(checking.world)] == ["2026-03-13", "2026-03-14", DAY]
    assert await checking.run() == [Said("rollup", "2026-03-13", None, "gone")], "which was counted by the lap as well"


async def test_counts_that_lie_there_when_a_lap_begins_are_not_gone_on_from(checking: Checking) -> None:
    await checking.world.seal(checking.world.events(2))
    await keep(checking, Progress(PERIOD))
    other = recount_item(TENANT, PERIOD, 0, DayRollup("2026-03-02"))
    await checking.world.store.create(LEDGER, HERE, other)
    assert await checking.run() == []


async def test_a_run_takes_no_more_pages_than_it_may(checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGES_LEAST", 2)
    events = checking.world.events(2 * FIRST + 1)
    await checking.world.seal(events)
    assert await checking.run() == []
    lap = (await checking.place())["lap"]
    assert (lap["entries_done"], lap["events_done"], lap["after"]) == (True, False, events[2 * FIRST - 1]["id"])
    assert await checking.run() == []
    assert (await checking.place())["lap"]["number"] == 1


async def test_a_lap_that_the_end_of_a_run_cuts_off_is_kept(
    checking: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGES_LEAST", 3)
    events = checking.world.events(2 * FIRST)
    shard = await tail(checking.world, len(events), events)
    await keep(checking, Progress(PERIOD, new=shard.at(len(events))))

    class Slow(FaultyStore):
        async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
            if container is AUDIT_EVENTS and query.limit == FIRST and query.fields is None:
                checking.world.clock.advance(seconds=45)
            return await super().query(container, partition, query)

    assert await checking.run(Slow(checking.world.store)) == []
    place = await checking.place()
    assert (place["looked_at"], place["lap"]["after"], place["lap"]["number"]) == (AT + 45, events[FIRST - 1]["id"], 0)


async def test_what_is_sealed_meanwhile_is_not_beyond_where_nothing_is_counted(
    checking: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGES_LEAST", 3)
    shard = await tail(checking.world, FULL, checking.world.events(4))
    lap = Lap(walk=shard.at(shard.start, is_whole=False))
    await keep(checking, Progress(PERIOD, new=shard.at(FULL), lap=lap))
    meanwhile = Meanwhile(checking.world)
    assert await checking.run(meanwhile) == []
    assert (meanwhile.failed, (await checking.place())["lap"]["number"]) == (1, 1)


async def test_a_month_of_which_only_the_place_is_there(checking: Checking) -> None:
    await keep(checking, Progress(PERIOD))
    assert await checking.run() == []
    assert checking.compared == []
    assert (await checking.place())["lap"]["number"] == 1


async def test_events_that_are_more_than_entries(checking: Checking) -> None:
    """The feed has delivered few of them yet. What lies beyond the entries is looked at once."""
    events = checking.world.events(FIRST + 2)
    await checking.world.keep(events)
    first = [await checking.world.store.read(AUDIT_EVENTS, HERE, each["id"]) for each in events[:3]]
    await checking.world.sealer().consume(first)
    asked = Asked(checking.world)
    assert await checking.run(asked) == []
    assert checking.compared == [3, 3]
    lap = (await checking.place())["lap"]
    assert (lap["walk"]["size"], lap["entries_done"], lap["events_done"]) == (3, True, False)
    assert (lap["number"], lap["after"]) == (0, events[FIRST - 1]["id"])
    assert asked.rests == 1
    assert await counted(checking.world) == []
    asked = Asked(checking.world)
    assert await checking.run(asked) == []
    assert checking.compared == []
    assert (await checking.place())["lap"]["number"] == 1
    assert asked.rests == 0
    fields = [query.fields for name, query in asked.queries if name == "audit_events"]
    assert fields == [("id", "_ts")] * 2, "without their leaves"


async def test_entries_that_are_more_than_events(checking: Checking) -> None:
    events = (await begun(checking)).events
    for event in events[:6]:
        await checking.world.store.delete(AUDIT_EVENTS, HERE, event["id"])
    assert [each[:3] for each in await checking.run()] == [
        ("deleted", event["id"], WIDTH - FIRST + n) for n, event in enumerate(events[:FIRST])
    ]
    lap = (await checking.place())["lap"]
    assert (lap["walk"]["size"], lap["entries_done"], lap["events_done"]) == (WIDTH, False, True)
    assert lap["after"] == events[-1]["id"]
    asked = Asked(checking.world)
    assert await checking.run(asked) == [Said("deleted", events[5]["id"], WIDTH)]
    assert (await checking.place())["lap"]["number"] == 1
    of_events = [query.limit for name, query in asked.queries if name == "audit_events"]
    assert of_events == [FIRST, WIDTH], "what is new, and the events of the entries"


async def test_what_one_walk_read_the_other_does_not_ask_for(
    checking: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed backwards, so that entries and events of one page have a part in common."""
    monkeypatch.setattr(module, "PAGES_LEAST", 2)
    events = checking.world.events(FIRST + 4)
    await begun(checking, events[::-1])
    checking.world.clock.advance(minutes=11)
    asked = Asked(checking.world)
    assert await checking.run(asked) == []
    assert checking.compared == [FIRST, 4]
    ids = [each["id"] for each in events]
    sought = [(name, sorted(found)) for name, query in asked.queries if set(found := _ids(query)) & set(ids)]
    new = [("ledger", ids[:FIRST]), ("ledger", ids[FIRST:])]
    lap = [("audit_events", ids[FIRST:]), ("ledger", ids[:4])]
    assert sought == new + lap


def _ids(query: Query) -> tuple[Any, ...]:
    """The ids that a query asks for, if it does."""
    return next((tuple(each.values) for each in query.where if isinstance(each, In)), ())


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("lap", [True, False])
async def test_where_an_entry_was_missing_no_event_is_sealed_for_its_time(
    checking: Checking, *, new: bool, lap: bool
) -> None:
    """It may be the event of that entry."""
    await checking.world.seal(checking.world.events(3))
    await checking.run()
    place = await checking.place()
    walk = place["lap"]["walk"] | {"is_whole": lap}
    await checking.put(new=place["new"] | {"is_whole": new}, lap={"walk": walk, "covered": 0})
    lost = checking.world.event()
    await checking.world.keep([lost])
    checking.world.clock.advance(minutes=10, seconds=1)
    said = await checking.run()
    is_sealed = await Shards(checking.world.store).entry(*HERE, lost["id"]) is not None
    assert (said, is_sealed) == (([], True) if new and lap else ([Said("not_sealed", lost["id"])] * 2, False))


@pytest.mark.parametrize(("covered", "is_sealed"), [(AT, True), (AT + 1, False)])
async def test_what_was_stored_before_a_lap_began_is_sealed_no_more(
    checking: Checking, covered: int, *, is_sealed: bool
) -> None:
    await checking.world.seal(checking.world.events(3))
    await checking.run()
    lost = checking.world.event()
    await checking.world.keep([lost])
    checking.world.clock.advance(minutes=30)
    await checking.put(lap={"covered": covered})
    assert await checking.run() == ([] if is_sealed else [Said("not_sealed", lost["id"])] * 2)
    assert (await Shards(checking.world.store).entry(*HERE, lost["id"]) is not None) is is_sealed


async def test_a_head_that_was_set_back_counts_as_a_page(checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGES_LEAST", 2)
    months = await checking.months(3, 1, 1)
    await checking.run()
    await checking.run()
    for each, at in zip(months, (1, 2, 3), strict=True):
        await checking.put(each, looked_at=at)
    new = {"size": 8, "nodes": ["A" * 43 + "="], "is_sound": True, "is_whole": True}
    await checking.put(months[0], new=new)
    assert await checking.run() == [Said("head", "set_back", 3, "8", months[0])] * 2
    assert await checking.looked_at(*months) == [False, True, False]
