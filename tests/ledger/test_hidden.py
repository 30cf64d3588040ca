"""What somebody puts into the store so that a tenant's check passes over something: it hides nothing, and is found."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from shared.core.clock import period_end, rfc3339
from shared.ledger import verification
from shared.ledger.closing import GRACE
from shared.ledger.marks import Marks, marks_id
from shared.ledger.pending import Pending
from shared.ledger.progress import LAG, progress_id
from shared.ledger.shards import Shards, head_id, is_period
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, LEDGER
from shared.storage.documents import DocumentStore, Item
from tests.faults import FaultyStore
from tests.ledger.world import NOW, OTHER, PERIOD, TENANT, World, new_world

HERE = (TENANT, PERIOD)
ROOT = "A" * 43 + "="


class Forged(FaultyStore):
    """A store in which times of storage are what somebody wrote into its file."""

    def __init__(self, inner: DocumentStore, times: dict[str, int]) -> None:
        super().__init__(inner)
        self.times = times

    async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
        page = await super().query(container, partition, query)
        for item in page.items:
            item["_ts"] = self.times.get(item["id"], item.get("_ts"))
        return page

    async def read(self, container, partition, item_id):  # type: ignore[no-untyped-def]
        item = await super().read(container, partition, item_id)
        return item | {"_ts": self.times[item_id]} if item_id in self.times else item


async def plant(world: World, period: str, item: Item) -> None:
    await world.store.upsert(LEDGER, (TENANT, period), {"tenant_id": TENANT, "period": period, **item})


async def plant_mark(world: World, period: str) -> None:
    item = await world.store.read(DIRECTORY, (marks_id(TENANT),), marks_id(TENANT))
    signed = item["signed"] | {period: {"size": 3, "root": ROOT}}
    await world.store.replace(DIRECTORY, (marks_id(TENANT),), item | {"signed": signed})


async def plant_head(world: World, period: str) -> None:
    head = await world.store.read(LEDGER, HERE, head_id(PERIOD))
    await plant(world, period, head | {"id": head_id(period), "period": period})


async def tampered(world: World) -> list[Item]:
    """A sealed month that was checked once, and from which an event was taken away since."""
    events = world.events(5)
    await world.seal(events)
    assert await world.verify() == []
    await world.store.delete(AUDIT_EVENTS, HERE, events[2]["id"])
    return events


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PERIOD, True),
        ("1970-01", True),
        ("9998-12", True),
        ("9999-12", False),
        ("9999-01", False),
        ("1969-12", False),
        ("0000-01", False),
        ("2026-13", False),
        ("2026-3", False),
        ("\u0662026-03", False),
        ("", False),
    ],
)
def test_a_month_is_what_has_an_end(text: str, *, expected: bool) -> None:
    assert is_period(text) is expected
    if expected:
        assert period_end(text) > 0
    else:
        with pytest.raises(ValueError, match="period"):
            period_end(text)


@pytest.mark.parametrize("period", ["9999-12", "0000-01", "9998-12", "2026-05"])
async def test_a_mark_of_an_odd_month_hides_nothing_and_is_found(world: World, period: str) -> None:
    await tampered(world)
    await plant_mark(world, period)
    found = await world.verify()
    assert "deleted" in found
    assert set(found) & {"checkpoint", "head"}


@pytest.mark.parametrize("period", ["9998-12", "2026-05"])
async def test_a_head_of_a_month_to_come_hides_nothing_and_is_found(world: World, period: str) -> None:
    await tampered(world)
    await plant_head(world, period)
    for _ in range(2):
        assert await world.verify() == ["deleted", "head"]
    assert await world.closing().close_due(TENANT, world.request()) == 0


async def test_a_head_of_next_month_may_be_there_already(world: World) -> None:
    """The clock of an instance that seals may be a little ahead."""
    world.clock.set(datetime(2026, 3, 31, 23, 57, tzinfo=UTC))
    await world.seal([world.event(datetime(2026, 4, 1, 0, 1, tzinfo=UTC))])
    assert await world.verify() == []


@pytest.mark.parametrize("period", ["9999-12", "0000-07", "soon", 5])
async def test_what_lies_where_no_month_is_stops_neither_the_check_nor_the_closing(
    world: World, period: object
) -> None:
    """Stores refuse such a month; whoever is past the app may not ask them."""
    await tampered(world)
    own = {"tenant_id": TENANT, "period": period, "_etag": "1"}
    strange = [own | {"id": f"head|{period}"}, own | {"id": f"check|{period}"}]

    class Strange(FaultyStore):
        async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
            page = await super().query(container, partition, query)
            if container is LEDGER and partition == (TENANT,):
                page.items[:] = [*strange, *page.items, *strange]
            return page

    await world.verification(Strange(world.store)).run(TENANT, world.request())
    assert await world.found() == ["deleted"]
    world.clock.set(datetime(2026, 4, 1, tzinfo=UTC) + GRACE)
    assert await world.closing(Strange(world.store)).close_due(TENANT, world.request()) == 1


@pytest.mark.parametrize(
    "told",
    [{}, {"attributes": None}, {"attributes": {"period": "9999-12", "size": 3, "root": "x"}}],
    ids=["nothing", "null", "no month"],
)
async def test_a_statement_that_makes_no_sense_does_not_stop_the_closing(world: World, told: Item) -> None:
    await world.seal(world.events(3))
    odd = world.event()
    await world.store.create(
        AUDIT_EVENTS, HERE, {**{k: v for k, v in odd.items() if k != "attributes"}, "type": "ledger.checkpoint", **told}
    )
    world.clock.set(datetime(2026, 4, 1, tzinfo=UTC) + GRACE)
    assert await world.closing().close_due(TENANT, world.request()) == 1


@pytest.mark.parametrize("month", ["2026-01", "2026-03"])
async def test_a_month_that_cannot_be_closed_is_found_and_holds_up_no_other(
    world: World, month: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        world.clock.set(datetime(2026, number, 20, tzinfo=UTC))
        await world.seal(world.events(number))
    world.clock.set(datetime(2026, 4, 1, tzinfo=UTC) + GRACE)
    closing = world.closing()
    close = closing._close

    async def odd(tenant_id: str, period: str, request: object) -> bool:
        if period == month:
            raise TypeError
        return await close(tenant_id, period, request)  # type: ignore[arg-type]

    monkeypatch.setattr(closing, "_close", odd)
    assert await closing.close_due(TENANT, world.request()) == 2
    assert await world.found() == ["entries"]


@pytest.mark.parametrize(
    "fields",
    [
        {"looked_at": 1 << 60},
        {"looked_at": 1e400},
        {"marked": 1e400},
        {"lap": None},
        {"after": "z" * 36},
    ],
    ids=str,
)
async def test_the_place_of_a_check_cannot_be_set_so_that_a_month_is_never_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch, fields: Item
) -> None:
    """Another month is there, too, and a run has the time for one page."""
    monkeypatch.setattr(verification, "PAGES_LEAST", 1)
    world.clock.advance(days=-20)
    await world.seal(world.events(3))
    world.clock.advance(days=20)
    events = await tampered(world)
    assert events
    place = await world.store.read(LEDGER, HERE, progress_id(PERIOD))

    class Planted(FaultyStore):
        async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
            page = await super().query(container, partition, query)
            for item in page.items:
                if item["id"] == progress_id(PERIOD) and item["_etag"] == place["_etag"]:
                    item.update(fields)
            return page

    for _ in range(3):
        world.clock.advance(minutes=6)
        await world.verification(Planted(world.store)).run(TENANT, world.request())
    assert "deleted" in await world.found()


async def test_times_of_a_check_that_are_still_to_come_make_no_event_unsealed(world: World) -> None:
    """Whoever sets `covered` forward would have events that the feed lost left out for good."""
    await world.seal(world.events(3))
    await world.verify()
    place = await world.store.read(LEDGER, HERE, progress_id(PERIOD))
    lap = place["lap"] | {"covered": 1 << 60, "started_at": 1 << 60}
    await world.store.replace(LEDGER, HERE, place | {"lap": lap})
    late = world.event()
    await world.keep([late])
    world.clock.advance(minutes=11)
    assert "not_sealed" not in await world.verify()
    assert await Shards(world.store).entry(TENANT, PERIOD, late["id"]) is not None
    assert (await world.store.read(LEDGER, HERE, progress_id(PERIOD)))["lap"]["covered"] < world.clock.now().timestamp()


async def checked(world: World) -> None:
    """A month of a few days of which a lap is over, and the time before which all was sealed is known."""
    await world.seal(world.events(5))
    for _ in range(3):
        world.clock.advance(days=1)
        assert await world.verify() == []


async def take_away_the_check(world: World) -> None:
    await world.store.delete(LEDGER, HERE, progress_id(PERIOD))


async def overwrite_the_check(world: World) -> None:
    await plant(world, PERIOD, {"id": progress_id(PERIOD), "kind": "check", "lap": 7})


@pytest.mark.parametrize("how", [take_away_the_check, overwrite_the_check])
async def test_a_check_that_was_taken_away_is_found_once(world: World, how: Callable[[World], Awaitable[None]]) -> None:
    await checked(world)
    await how(world)
    for _ in range(3):
        assert await world.verify() == ["checkpoint"]
    await how(world)
    await world.seal(world.events(1))
    await world.verify()
    assert set(await world.found()) == {"checkpoint"}


@pytest.mark.parametrize("how", [take_away_the_check, overwrite_the_check])
async def test_a_time_of_storage_is_held_against_what_was_covered_although_the_check_is_gone(
    world: World, how: Callable[[World], Awaitable[None]]
) -> None:
    await checked(world)
    await how(world)
    behind = world.event(NOW - timedelta(days=2))
    stored = await world.store.create(AUDIT_EVENTS, HERE, behind)
    forged = int((NOW - timedelta(days=2)).timestamp())
    await world.sealer().consume([stored | {"_ts": forged}])
    assert await world.found() == ["inserted_behind"]
    assert set(await world.verify()) == {"checkpoint", "inserted_behind"}


async def test_what_the_feed_did_not_show_is_not_sealed_although_the_check_is_gone(world: World) -> None:
    await checked(world)
    await take_away_the_check(world)
    behind = world.event(NOW - timedelta(days=2))
    await world.store.create(AUDIT_EVENTS, HERE, behind)
    store = Forged(world.store, {behind["id"]: int((NOW - timedelta(days=2)).timestamp())})
    await world.verification(store).run(TENANT, world.request())
    assert sorted(await world.found()) == ["checkpoint", "not_sealed"]


async def test_what_is_sealed_at_once_costs_no_look_at_what_was_covered(world: World) -> None:
    await world.seal(world.events(1))
    counting = FaultyStore(world.store)
    await world.sealer(counting).consume(await world.keep(world.events(5)))
    assert [call.operation for call in counting.calls] == ["query", "batch"]


async def test_what_was_covered_is_kept_a_few_times_and_then_once_a_day(world: World) -> None:
    await world.seal(world.events(3))
    writes = 0
    for _ in range(60):
        world.clock.advance(minutes=60)
        counting = FaultyStore(world.store)
        await world.verification(counting).run(TENANT, world.request())
        writes += sum(call.container == "directory" and call.operation != "read" for call in counting.calls)
    assert writes <= 5
    covered = (await Marks(world.store).of(TENANT)).covered[PERIOD]
    age = world.clock.now().timestamp() - covered
    assert LAG.total_seconds() <= age <= 86_400 + 2 * 3600
    assert await world.found() == []


@pytest.mark.parametrize("planted", [7, [], {"soon": 1}, {PERIOD: "x"}, {PERIOD: True}], ids=str)
async def test_what_was_covered_and_makes_no_sense_is_a_finding(world: World, planted: object) -> None:
    await checked(world)
    item = await world.store.read(DIRECTORY, (marks_id(TENANT),), marks_id(TENANT))
    await world.store.replace(DIRECTORY, (marks_id(TENANT),), item | {"covered": planted})
    assert set(await world.verify()) == {"checkpoint"}


async def test_what_was_covered_in_time_to_come_says_nothing(world: World) -> None:
    await checked(world)
    item = await world.store.read(DIRECTORY, (marks_id(TENANT),), marks_id(TENANT))
    await world.store.replace(DIRECTORY, (marks_id(TENANT),), item | {"covered": {PERIOD: 1 << 52}})
    await take_away_the_check(world)
    late = world.event()
    await world.keep([late])
    world.clock.advance(minutes=11)
    assert await world.verify() == ["checkpoint"]
    assert await Shards(world.store).entry(TENANT, PERIOD, late["id"]) is not None


async def test_an_event_older_than_its_tenant_is_inserted_behind(world: World) -> None:
    """A tenant's id tells when it registered; of before there is nothing to record."""
    begun = datetime(2025, 3, 22, 22, 36, 20, tzinfo=UTC)
    for number, (at, found) in enumerate(
        [(begun - timedelta(days=30), 1), (begun - timedelta(minutes=6), 2), (begun - timedelta(minutes=4), 2)]
    ):
        event = world.event(at)
        stored = await world.store.create(AUDIT_EVENTS, (TENANT, event["period"]), event)
        await world.sealer().consume([stored | {"_ts": int(at.timestamp())}])
        assert await world.found() == ["inserted_behind"] * found, number


@pytest.mark.parametrize("tenant_id", ["platform", "00000000-0000-0000-0000-000000000000", "a", ""])
def test_a_tenant_whose_id_tells_no_time_is_as_old_as_can_be(tenant_id: str) -> None:
    at = datetime(2001, 5, 1, tzinfo=UTC)
    event = {"tenant_id": tenant_id, "type": "auth.login", "recorded_at": rfc3339(at), "_ts": int(at.timestamp())}
    assert Pending(event, b"").is_behind(0) is False
    assert Pending(event | {"tenant_id": TENANT}, b"").is_behind(0) is True


async def test_a_deletion_in_a_ledger_of_more_than_a_thousand_entries_is_found_by_the_next_run() -> None:
    async with new_world() as world:
        events = world.events(1300)
        await world.seal(events)
        await world.verify()
        await world.store.delete(AUDIT_EVENTS, HERE, events[700]["id"])
        assert await world.verify() == ["deleted"]
        assert await world.verify(OTHER) == []
