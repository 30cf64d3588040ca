"""What one run of the check does after the other: which months it takes, how far, and what it keeps of that."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.ledger import reconciliation
from shared.ledger import verification as module
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.errors import NotFound
from tests.faults import Call, FaultyStore
from tests.ledger.checking import OWN_TURN, Checking
from tests.ledger.heard import Said
from tests.ledger.world import PERIOD, TENANT, World

HERE = (TENANT, PERIOD)
AT = int(OWN_TURN.timestamp())


@pytest.fixture
def checking(world: World) -> Checking:
    world.clock.set(OWN_TURN)
    return Checking(world)


def logged(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    lines = [line.partition(" ") for line in caplog.messages]
    return [json.loads(fields) for begins, _, fields in lines if begins == name]


async def test_a_run_over_a_small_month_is_a_lap(checking: Checking) -> None:
    events = checking.world.events(5)
    await checking.world.seal(events)
    assert await checking.run() == []
    assert checking.compared == [5, 5], "as new ones, and in the lap"
    place = await checking.place()
    assert (place["new"]["size"], place["new"]["is_sound"], place["new"]["is_whole"]) == (5, True, True)
    assert (place["after"], place["looked_at"], place["marked"]) == ("", AT, 5)
    empty = {"size": 0, "nodes": [], "is_sound": True, "is_whole": True}
    begun = {"walk": empty, "after": "", "entries_done": False, "events_done": False}
    assert place["lap"] == begun | {"number": 1, "started_at": AT, "covered": AT - 600}
    checking.world.clock.advance(seconds=595)
    assert await checking.run() == []
    assert checking.compared == [5]
    assert await checking.place() == place, "nothing is new, and it was kept a short while ago"
    checking.world.clock.advance(seconds=5)
    assert await checking.run() == []
    assert (await checking.place())["after"] == events[-1]["id"], "the feed has had its time"


async def test_the_place_of_an_idle_month_is_kept_each_hour(
    checking: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGES_LEAST", 2)
    await checking.world.seal(checking.world.events(1))
    for minutes, laps in ((0, 1), (11, 2), (59, 2), (1, 3), (59, 3)):
        checking.world.clock.advance(minutes=minutes)
        assert await checking.run() == []
        assert (await checking.place())["lap"]["number"] == laps, minutes


async def test_what_is_new_is_followed_at_once(checking: Checking) -> None:
    await checking.world.seal(checking.world.events(5))
    await checking.run()
    etag = (await checking.place())["_etag"]
    await checking.world.seal(checking.world.events(2))
    assert await checking.run() == []
    assert checking.compared == [2, 7]
    place = await checking.place()
    assert (place["new"]["size"], place["lap"]["number"], place["marked"]) == (7, 2, 5)
    assert place["_etag"] != etag


async def test_all_events_that_are_new_are_followed(checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "PAGE", 2)
    events = checking.world.events(5)
    await checking.world.seal(events)
    checking.world.clock.advance(minutes=11)
    await checking.run()
    assert (await checking.place())["after"] == events[4]["id"]


async def test_what_a_run_asks_of_the_store(checking: Checking) -> None:
    await checking.world.seal(checking.world.events(2))
    counting = FaultyStore(checking.world.store)
    assert await checking.run(counting) == []
    asked = [(call.operation, call.container, len(call.partition)) for call in counting.calls]
    opened = [("read", "directory", 1), ("query", "ledger", 1)]
    walked = [("query", "ledger", 2), ("read", "directory", 1), ("query", "audit_events", 2)]
    assert (
        sorted(asked)
        == sorted(
            [
                *opened,
                *walked,
                ("query", "audit_events", 2),  # what is new
                ("query", "audit_events", 2),  # events of the lap, which its entries need as well
                *walked[:2],
                *[("query", "ledger", 2)] * 2,  # counts and checkpoints, and what lies beyond
                ("create", "ledger", 2),
                ("replace", "directory", 1),
            ]
        )
    )
    counting = FaultyStore(checking.world.store)
    assert await checking.run(counting) == []
    assert len(counting.calls) == 2 + 1 + 1 + 2 + 2


async def test_where_there_is_no_time_nothing_is_begun(checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timedelta(seconds=45) == module.RUN
    monkeypatch.setattr(module, "RUN", timedelta(0))
    await checking.world.seal(checking.world.events(5))
    assert await checking.run() == []
    place = await checking.place()
    assert (checking.compared, place["new"]["size"], place["looked_at"], place["marked"]) == ([], 0, 0, 5)
    monkeypatch.setattr(module, "RUN", timedelta(microseconds=1))
    await checking.run()
    assert checking.compared == [5, 5]


async def test_after_many_findings_a_run_ends(checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.ledger.findings.MOST_PER_RUN", 2)
    events = checking.world.events(3)
    await checking.world.seal(events)
    for event in events[1:]:
        await checking.world.store.delete(AUDIT_EVENTS, HERE, event["id"])
    assert [each.what for each in await checking.run()] == ["deleted"] * 2
    assert checking.compared == [3], "no lap is begun"
    assert (await checking.place())["looked_at"] == 0


async def test_those_come_first_that_were_not_looked_at_for_longest(
    checking: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGES_LEAST", 1)
    months = await checking.months(1, 1, 1)
    for turn in (0, 1, 2, 0, 1):
        await checking.run()
        assert await checking.looked_at(*months) == [number == turn for number in range(3)]
        checking.world.clock.advance(seconds=1)
    await checking.put(months[1], looked_at=1)
    await checking.run()
    assert await checking.looked_at(*months) == [False, True, False]


@pytest.mark.parametrize(
    ("runs", "least", "most", "looked"),
    [
        *((288, 2, 100, 2), (288, 3, 100, 3), (288, 3, 2, 2), (288, 1, 100, 1)),
        *((1, 1, 100, 3), (2, 1, 100, 2), (3, 1, 100, 1), (1, 1, 2, 2)),
    ],
)
async def test_as_many_pages_as_a_lap_needs_and_within_bounds(
    checking: Checking, monkeypatch: pytest.MonkeyPatch, runs: int, least: int, most: int, looked: int
) -> None:
    assert (module.LAP_RUNS, module.PAGES_LEAST, module.PAGES_MOST) == (288, 16, 100)
    for name, value in (("LAP_RUNS", runs), ("PAGES_LEAST", least), ("PAGES_MOST", most)):
        monkeypatch.setattr(module, name, value)
    months = await checking.months(1, 1, 1)
    await checking.run()
    assert await checking.looked_at(*months) == [number < looked for number in range(3)]


async def test_a_month_of_which_nothing_is_there_is_not_looked_at(checking: Checking) -> None:
    assert await checking.run() == []
    with pytest.raises(NotFound):
        await checking.place()


def at(period: str, operation: str, container: str) -> Callable[[Call], bool]:
    return lambda call: (call.operation, call.container, call.partition) == (operation, container, (TENANT, period))


@pytest.mark.parametrize(
    ("operation", "container", "number", "compared"),
    [
        *(("query", "audit_events", 1, [2, 3, 1, 2, 3]), ("query", "audit_events", 2, [1, 2, 3, 2, 3])),
        ("create", "ledger", 1, [1, 2, 3, 1, 2, 3]),
    ],
    ids=["new", "lap", "place"],
)
async def test_what_cannot_be_read_is_a_finding_and_stops_no_other_month(
    checking: Checking,
    caplog: pytest.LogCaptureFixture,
    operation: str,
    container: str,
    number: int,
    compared: list[int],
) -> None:
    months = await checking.months(1, 2, 3)
    faulty = FaultyStore(
        checking.world.store, number, error=KeyError("odd"), counts=at(months[0], operation, container)
    )
    assert await checking.run(faulty) == [Said("entries", "unreadable", period=months[0])]
    assert faulty.failed == 1
    (told,) = logged(caplog, "ledger_unreadable")
    assert (told["tenant_id"], told["period"]) == (TENANT, months[0])
    assert "KeyError" in json.dumps(told)
    assert checking.compared == compared


async def test_a_lap_that_cannot_be_read_counts_as_a_page(checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGES_LEAST", 2)
    months = await checking.months(1, 1, 1)
    faulty = FaultyStore(checking.world.store, 2, error=KeyError("odd"), counts=at(months[0], "query", "audit_events"))
    await checking.run(faulty)
    assert await checking.looked_at(*months) == [False, True, False]
