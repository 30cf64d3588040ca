"""Every event is sealed: which are asked for, which are left to the feed, and what becomes of one without an entry."""

import json
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

import pytest

from shared.core.ids import lowest_id_at
from shared.ledger import reconciliation as module
from shared.ledger.progress import LAG
from shared.ledger.reconciliation import PAGE, Reconciliation, Stored
from shared.ledger.sealer import Sealer
from shared.ledger.shards import BrokenShard, SetBack
from shared.ledger.walk import leaf_of
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import Item, Query
from shared.storage.errors import Unavailable
from tests.faults import FaultyStore
from tests.ledger.heard import Said, findings_of
from tests.ledger.world import NOW, OTHER, PERIOD, TENANT, World

HERE = (TENANT, PERIOD)
AT = int(NOW.timestamp())
NEVER, ALWAYS = 0, 1 << 62
"""Nothing is covered, and all is."""


class Sealing(Sealer):
    """Seals nothing: it keeps what it is asked to, and fails where a test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Item]] = []
        self.errors: dict[str, Exception] = {}

    def _answer(self, name: str, event: Item) -> Any:
        self.asked.append((name, event))
        if event["id"] in self.errors:
            raise self.errors[event["id"]]

    async def handle(self, event: Item) -> None:
        self._answer("handle", event)

    async def pending(self, event: Item) -> Any:
        return self._answer("pending", event)


class Asked(FaultyStore):
    """A store that keeps the queries that it is asked."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.queries: list[Query] = []

    async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
        self.queries.append(query)
        return await super().query(container, partition, query)


class Run:
    """One reconciliation, over events of a month that were stored as the clock stands."""

    def __init__(self, world: World) -> None:
        self.world, self.sealing, self.reconciled = world, Sealing(), 0
        self.store = Asked(world.store)
        self.findings, self.said = findings_of(world)
        self.own = Reconciliation(self.store, self.sealing, world.clock, self._hear)

    def _hear(self) -> None:
        self.reconciled += 1

    async def compare(
        self, times: Mapping[str, int], covered: int = NEVER, sealed: Collection[str] = ()
    ) -> list[tuple[str, str]]:
        """What the sealer was asked, and of which events."""
        stored = Stored(times, {}, "", more=False)
        await self.own.compare(HERE, stored, self.findings, covered=covered, sealed=sealed)
        return [(name, event["id"]) for name, event in self.sealing.asked]


@pytest.fixture
def run(world: World) -> Run:
    return Run(world)


async def kept(world: World, count: int) -> list[str]:
    return [each["id"] for each in await world.keep(world.events(count))]


def past(ids: Collection[str], seconds: int = 600) -> dict[str, int]:
    """Times of storage so long ago."""
    return dict.fromkeys(ids, AT - seconds)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    lines = [line.partition(" ") for line in caplog.messages]
    return [(name, json.loads(fields)) for name, _, fields in lines if "reconciled" in name]


async def test_events_are_read_page_by_page_in_the_order_of_their_ids(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PAGE == 256
    monkeypatch.setattr(module, "PAGE", 3)
    events = run.world.events(7)
    await run.world.keep(events[::-1])
    await run.world.keep(run.world.events(2, tenant_id=OTHER))
    ids, after, read = [each["id"] for each in events], "", list[Stored]()
    for _ in range(3):
        read.append(await run.own.read(HERE, after))
        after = read[-1].last
    assert read == [
        Stored(dict.fromkeys(ids[:3], AT), {}, ids[2], more=True),
        Stored(dict.fromkeys(ids[3:6], AT), {}, ids[5], more=True),
        Stored(dict.fromkeys(ids[6:], AT), {}, ids[6], more=False),
    ]
    assert await run.own.read(HERE, ids[6]) == Stored({}, {}, ids[6], more=False)
    assert {query.fields for query in run.store.queries} == {("id", "_ts")}, "no more than is needed"


async def test_events_are_read_up_to_an_id(run: Run) -> None:
    events = run.world.events(5)
    await run.world.keep(events)
    ids = [each["id"] for each in events]
    assert list((await run.own.read(HERE, ids[0], ids[3])).times) == ids[1:3]
    until = lowest_id_at(NOW - timedelta(seconds=2))
    assert list((await run.own.read(HERE, "", until)).times) == ids[:3]


async def test_whole_events_come_with_their_leaves(run: Run) -> None:
    events = await run.world.keep(run.world.events(3))
    odd: Item = {"id": run.world.event()["id"], "tenant_id": TENANT, "period": PERIOD, "attributes": 7}
    await run.world.store.create(AUDIT_EVENTS, HERE, odd)
    after = await run.world.keep([run.world.event()])
    stored = await run.own.read(HERE, "", whole=True)
    assert list(stored.times) == [*(each["id"] for each in events), odd["id"], after[0]["id"]]
    leaves = {each["id"]: leaf_of(each) for each in (*events, *after)}
    assert stored.leaves == leaves | {odd["id"]: b""}, "what is no event has none"
    assert stored.last == after[0]["id"]
    assert run.store.queries[-1].fields is None


async def test_what_was_stored_a_short_while_ago_is_left_to_the_feed(run: Run) -> None:
    assert timedelta(minutes=10) == LAG
    one, two, three = await kept(run.world, 3)
    times = {one: AT - 600, two: AT - 599, three: AT + 700}
    assert await run.compare(times) == [("handle", one)]
    run.sealing.asked.clear()
    run.store.queries.clear()
    assert await run.compare({two: AT - 599}) == []
    assert run.store.queries == [], "nothing is asked of none"


async def test_what_has_an_entry_is_sealed(run: Run) -> None:
    ids = await kept(run.world, 4)
    others: list[Item] = [{"kind": "entry"}, {"kind": "finding"}, {}]
    for event_id, fields in zip(ids, others, strict=False):
        await run.world.store.create(LEDGER, HERE, {"id": event_id, "tenant_id": TENANT, "period": PERIOD} | fields)
    assert await run.compare(past(ids[::-1])) == [("handle", each) for each in ids[1:]], "each in order"
    assert [query.fields for query in run.store.queries] == [("id", "kind")]


async def test_an_entry_that_was_just_read_is_not_asked_for_again(run: Run) -> None:
    ids = await kept(run.world, 3)
    assert await run.compare(past(ids), sealed={ids[0], ids[2]}) == [("handle", ids[1])]
    assert await run.compare(past(ids[:1]), sealed=ids) == [("handle", ids[1])]
    assert len(run.store.queries) == 1


async def test_as_many_as_a_page_has_are_compared_at_once(run: Run) -> None:
    ids = await kept(run.world, PAGE + 9)
    await run.world.sealer().consume([await run.world.store.read(AUDIT_EVENTS, HERE, each) for each in ids])
    assert await run.compare(past(ids[9:])) == []
    assert len(run.store.queries) == 1


async def test_an_event_without_an_entry_is_sealed_and_that_is_told(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    (event,) = await run.world.keep(run.world.events(1))
    await run.compare(past([event["id"]]))
    assert run.sealing.asked == [("handle", event)]
    assert (run.reconciled, run.findings.number, run.said) == (1, 0, [])
    assert logged(caplog) == [("event_reconciled", {"tenant_id": TENANT, "event_id": event["id"]})]


async def test_one_that_should_have_an_entry_is_reported_and_not_sealed(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """It was stored before the time up to which all was sealed."""
    one, two = await kept(run.world, 2)
    times = {one: AT - 700, two: AT - 699}
    assert await run.compare(times, covered=AT - 699) == [("pending", one), ("handle", two)]
    assert run.said == [Said("not_sealed", one)]
    assert (run.findings.number, run.reconciled) == (1, 1)
    assert [fields["event_id"] for _, fields in logged(caplog)] == [two]
    event = await run.world.store.read(AUDIT_EVENTS, HERE, one)
    assert run.sealing.asked[0] == ("pending", event)
    assert await run.world.found() == ["not_sealed"]


@pytest.mark.parametrize("covered", [NEVER, ALWAYS])
async def test_one_that_expired_meanwhile_is_nothing(run: Run, caplog: pytest.LogCaptureFixture, covered: int) -> None:
    ids = await kept(run.world, 3)
    await run.world.store.delete(AUDIT_EVENTS, HERE, ids[1])
    asked = await run.compare(past(ids), covered)
    assert [event_id for _, event_id in asked] == [ids[0], ids[2]]
    assert ids[1] not in json.dumps(logged(caplog))
    assert [each.key for each in run.said] == ([] if covered == NEVER else [ids[0], ids[2]])


ERRORS: dict[str, tuple[Callable[[], Exception], bool]] = {
    "no event": (lambda: ValueError("odd"), True),
    "entries": (lambda: BrokenShard("entries", "odd"), True),
    "tile": (lambda: BrokenShard("tile", "odd"), True),
    "head": (lambda: BrokenShard("head", "odd"), False),
    "set back": (SetBack, False),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("covered", [NEVER, ALWAYS], ids=["new", "covered"])
async def test_what_cannot_be_sealed_counts_and_a_broken_head_ends_it(
    run: Run, caplog: pytest.LogCaptureFixture, name: str, covered: int
) -> None:
    made, goes_on = ERRORS[name]
    ids = await kept(run.world, 3)
    run.sealing.errors[ids[1]] = made()
    asked = await run.compare(past(ids), covered)
    assert [event_id for _, event_id in asked] == ids[: 3 if goes_on else 2]
    told = {"tenant_id": TENANT, "event_id": ids[1], "reason": type(run.sealing.errors[ids[1]]).__name__}
    assert [each for each in logged(caplog) if each[0] != "event_reconciled"] == [("event_not_reconciled", told)]
    done = 2 if goes_on else 1
    assert run.reconciled == (done if covered == NEVER else 0)
    assert run.findings.number == 1 + (0 if covered == NEVER else done)
    assert ids[1] not in [each.key for each in run.said], "the sealer has said so"


async def test_trouble_of_the_store_is_raised(run: Run) -> None:
    ids = await kept(run.world, 1)
    run.sealing.errors[ids[0]] = Unavailable("now")
    with pytest.raises(Unavailable):
        await run.compare(past(ids))
    assert (run.reconciled, run.findings.number) == (0, 0)


async def test_nobody_has_to_listen(world: World) -> None:
    ids = await kept(world, 1)
    world.clock.advance(minutes=10)
    own = Reconciliation(world.store, world.sealer(), world.clock)
    findings, said = findings_of(world)
    await own.compare(HERE, await own.read(HERE, ""), findings, covered=NEVER)
    assert said == []
    assert [entry.event_id for entry in await world.sealed()] == ids
