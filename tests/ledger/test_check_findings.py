"""What a run of the check says of a month beside its entries, what it has signed, and what it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from shared.ledger.marks import Mark, Marks, marks_id
from shared.ledger.shards import Shards, checkpoint_id, head_id, rollup_id
from shared.storage.containers import DIRECTORY, LEDGER
from shared.storage.documents import Item
from shared.storage.documents import create as creation
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from tests.faults import FaultyStore
from tests.ledger.checking import OWN_TURN, Checking, Meanwhile, Stale
from tests.ledger.heard import Said
from tests.ledger.world import PERIOD, TENANT, World

HERE = (TENANT, PERIOD)
MARKS = marks_id(TENANT)
DAY = "2026-03-15"
OWN: Item = {"tenant_id": TENANT, "period": PERIOD}


@pytest.fixture
async def checking(world: World) -> Checking:
    """Five events are sealed, and signed."""
    world.clock.set(OWN_TURN)
    await world.seal(world.events(5))
    return Checking(world)


async def read(checking: Checking, item_id: str) -> Item:
    return await checking.world.store.read(LEDGER, HERE, item_id)


async def change(checking: Checking, item_id: str, **fields: Any) -> None:
    await checking.world.store.replace(LEDGER, HERE, await read(checking, item_id) | fields)


async def create(checking: Checking, item_id: str, **fields: Any) -> None:
    await checking.world.store.create(LEDGER, HERE, {"id": item_id, **OWN, **fields})


async def mark(checking: Checking, size: int | None) -> None:
    """Set the mark of the month to another size, or take it away."""
    item = await checking.world.store.read(DIRECTORY, (MARKS,), MARKS)
    signed = {} if size is None else {PERIOD: item["signed"][PERIOD] | {"size": size}}
    await checking.world.store.replace(DIRECTORY, (MARKS,), item | {"signed": signed})


async def marked(checking: Checking) -> Mark | None:
    return (await Marks(checking.world.store).of(TENANT)).months.get(PERIOD)


async def grow(checking: Checking, count: int) -> Item:
    """The head as it was before some more were sealed."""
    before = await read(checking, head_id(PERIOD))
    await checking.world.seal(checking.world.events(count))
    return before


async def test_a_mark_that_is_less_than_was_seen(checking: Checking) -> None:
    await checking.run()
    await checking.put(marked=7)
    await mark(checking, None)
    assert await checking.run() == [Said("checkpoint", "mark", None, "0")]
    assert await marked(checking) is None, "where something was found nothing is signed"
    assert (await checking.place())["marked"] == 7
    await checking.world.store.delete(DIRECTORY, (MARKS,), MARKS)
    assert Said("checkpoint", "mark", None, "0") in await checking.run()


async def test_a_mark_that_was_set_back(checking: Checking) -> None:
    await checking.run()
    await mark(checking, 4)
    said = await checking.run()
    assert said[0] == Said("checkpoint", "mark", None, "4")
    assert (await checking.place())["marked"] == 5


async def test_a_mark_that_grew_is_remembered(checking: Checking) -> None:
    await checking.run()
    await grow(checking, 2)
    issued = await checking.world.checkpoints().issue(*HERE)
    checking.world.clock.advance(seconds=1)
    assert await checking.run() == []
    assert (await checking.place())["marked"] == issued.checkpoint.size == 7
    place = await checking.place()
    assert await checking.run() == []
    assert await checking.place() == place, "the same mark is no news"


async def test_a_head_that_was_set_back(checking: Checking) -> None:
    before = await grow(checking, 3)
    assert await checking.run() == []
    await checking.world.store.replace(LEDGER, HERE, {k: v for k, v in before.items() if k != "_etag"})
    found = Said("head", "set_back", 5, "8")
    assert await checking.run() == [found] * 2, "the new ones, and the lap"
    assert checking.compared == [], "nothing is walked behind it"
    place = await checking.place()
    assert (place["new"]["size"], place["lap"]["number"]) == (8, 1)


async def test_a_head_that_grew_since_it_was_read(checking: Checking) -> None:
    before = await grow(checking, 3)
    assert await checking.run() == []
    stale = Stale(checking.world.store, {head_id(PERIOD): before})
    assert await checking.run(stale) == []
    assert checking.compared == [8]
    grown = [call for call in stale.calls if (call.operation, call.partition) == ("read", HERE)]
    assert grown, "it was read once more"
    await grow(checking, 2)
    assert await checking.run(Stale(checking.world.store, {head_id(PERIOD): before})) == []
    assert checking.compared == [2, 10], "and is followed"


async def test_a_head_that_is_broken_when_it_is_read_again(checking: Checking) -> None:
    before = await grow(checking, 3)
    assert await checking.run() == []
    await change(checking, head_id(PERIOD), nodes=7)
    said = await checking.run(Stale(checking.world.store, {head_id(PERIOD): before}))
    assert [(each.what, each.key, each.broken) for each in said] == [
        ("head", "shard", "the head is not as a sealer writes it")
    ] * 2
    assert checking.compared == []


async def test_what_was_signed_beyond_the_head(checking: Checking) -> None:
    for size in (9, 7):
        await create(checking, checkpoint_id(size), kind="checkpoint")
    assert await checking.run() == [Said("head", "set_back", 5, "9")]
    assert (await checking.place())["lap"]["number"] == 1


async def test_what_is_there_as_signed_and_says_no_size(checking: Checking) -> None:
    await create(checking, "checkpoint|1x", kind="checkpoint")
    await create(checking, "checkpoint|3|4", kind="checkpoint")
    unreadable = Said("checkpoint", "unreadable", None, "1x 3|4")
    assert await checking.run() == [unreadable]
    await create(checking, checkpoint_id(7), kind="checkpoint")
    sizes = f"{7:019} 1x 3|4"
    assert await checking.run() == [unreadable._replace(found=sizes), Said("head", "set_back", 5, "7")]


async def test_much_that_lies_there_hides_nothing_behind_it(checking: Checking) -> None:
    await change(checking, rollup_id(DAY), events=99)
    sizes = [f"1x{number:03}" for number in range(100)]
    items = [{"id": f"checkpoint|{size}", **OWN} for size in sizes]
    await checking.world.store.batch(LEDGER, HERE, [creation(each) for each in items])
    unreadable = Said("checkpoint", "unreadable", None, " ".join(sizes))
    assert await checking.run() == [unreadable, Said("rollup", DAY, None, "[{}, {}]")]


async def test_an_entry_beyond_the_head(checking: Checking) -> None:
    await create(checking, "x", index=5)
    assert await checking.run() == [Said("entries", "beyond", 5)]
    await create(checking, "y", index=9)
    assert await checking.run() == [Said("entries", "beyond", 9)], "the last of them"
    for each in "xy":
        await checking.world.store.delete(LEDGER, HERE, each)
    assert await checking.run() == []


async def test_what_was_sealed_meanwhile_is_not_beyond(checking: Checking) -> None:
    """Its entries, counts and checkpoint are there, and the head is read once more."""
    checking.world.clock.advance(minutes=1)
    assert await checking.run(Meanwhile(checking.world)) == []
    assert (await Shards(checking.world.store).head(*HERE)).size == 7


async def test_counts_that_differ(checking: Checking) -> None:
    await change(checking, rollup_id(DAY), events=99)
    await create(checking, rollup_id("2026-03-01"), last=10_000)
    found = [Said("rollup", "2026-03-01", None, "no such day"), Said("rollup", DAY, None, "[{}, {}]")]
    assert await checking.run() == found
    assert await checking.run() == found
    await checking.world.store.delete(LEDGER, HERE, rollup_id(DAY))
    assert await checking.run() == [found[0], Said("rollup", DAY, None, "gone")]


async def test_where_an_entry_is_missing_counts_say_nothing(checking: Checking) -> None:
    await change(checking, rollup_id(DAY), events=99)
    entry = (await checking.world.sealed())[2]
    await checking.world.store.delete(LEDGER, HERE, entry.event_id)
    assert {each.what for each in await checking.run()} == {"entries"}


async def test_what_is_new_is_signed_when_nothing_is_found(checking: Checking) -> None:
    await grow(checking, 3)
    assert await checking.run() == []
    head = await Shards(checking.world.store).head(*HERE)
    assert (head.size, head.signed_size) == (8, 8)
    assert await marked(checking) == Mark(8, head.frontier().root())


async def test_where_something_is_found_nothing_is_signed(checking: Checking) -> None:
    await grow(checking, 3)
    entry = (await checking.world.sealed())[7]
    await checking.world.store.delete(LEDGER, HERE, entry.event_id)
    await checking.run()
    assert (await Shards(checking.world.store).head(*HERE)).signed_size == 5
    assert (await marked(checking) or Mark(0, b"")).size == 5


async def test_a_mark_that_is_behind_is_brought_up(checking: Checking) -> None:
    whole = await marked(checking)
    await mark(checking, None)
    counting = FaultyStore(checking.world.store)
    assert await checking.run(counting) == []
    assert await marked(checking) == whole
    assert ("batch", "ledger") not in {(call.operation, call.container) for call in counting.calls}


async def test_what_a_rival_signed_serves_if_it_covers_what_was_checked(checking: Checking) -> None:
    await grow(checking, 3)
    world = checking.world

    class Rival(FaultyStore):
        async def read(self, container, partition, item_id):  # type: ignore[no-untyped-def]
            if item_id == head_id(PERIOD) and not self.failed:
                self.failed = 1
                await world.seal(world.events(2))
                await world.checkpoints().issue(*HERE)
                await world.seal(world.events(1))
            return await super().read(container, partition, item_id)

    assert await checking.run(Rival(world.store)) == []
    head = await Shards(world.store).head(*HERE)
    assert (head.size, head.signed_size) == (11, 10)


async def test_what_cannot_be_signed_is_told(checking: Checking) -> None:
    await checking.run()
    await grow(checking, 3)
    await change(checking, head_id(PERIOD), note="no note")
    said = await checking.run()
    assert [(each.what, each.key) for each in said] == [
        ("head", "shard"),
        ("checkpoint", "note|5"),
    ], "by who signs, and by the lap"


async def test_an_empty_month_is_not_signed(checking: Checking) -> None:
    counting = FaultyStore(checking.world.store)
    checking.world.clock.set(OWN_TURN.replace(month=4, day=2))
    assert await checking.run(counting) == []
    assert ("batch", "ledger", (TENANT, "2026-04")) not in counting.calls
    assert (await Marks(checking.world.store).of(TENANT)).months.keys() == {PERIOD}


async def test_how_far_it_covers_is_kept_beside_the_marks(checking: Checking) -> None:
    at = int(OWN_TURN.timestamp())
    assert await checking.run() == []
    assert dict((await Marks(checking.world.store).of(TENANT)).covered) == {PERIOD: at - 600}
    checking.world.clock.advance(minutes=12)
    assert await checking.run() == []
    assert dict((await Marks(checking.world.store).of(TENANT)).covered) == {PERIOD: at - 600}
    checking.world.clock.advance(hours=2)
    assert await checking.run() == []
    assert dict((await Marks(checking.world.store).of(TENANT)).covered) == {PERIOD: at - 600}, "once a day"
    checking.world.clock.advance(hours=24)
    for covered in (at - 600, at + (26 * 60 + 12) * 60 - 600):
        assert await checking.run() == []
        assert dict((await Marks(checking.world.store).of(TENANT)).covered) == {PERIOD: covered}


async def test_what_was_covered_cannot_be_kept_where_marks_are_none(checking: Checking) -> None:
    await checking.run()

    class Torn(FaultyStore):
        """Marks are overwritten while the check runs."""

        async def replace(self, container, partition, item, if_match=None):  # type: ignore[no-untyped-def]
            if container is DIRECTORY:
                held = await self.inner.read(container, partition, MARKS)
                await self.inner.replace(container, partition, held | {"signed": 7})
            return await super().replace(container, partition, item, if_match)

    checking.world.clock.advance(days=2)
    await checking.run()
    said = await checking.run(Torn(checking.world.store))
    assert [(each.what, each.key, each.period) for each in said] == [("checkpoint", "shard", PERIOD)]


@pytest.mark.parametrize("error", [Conflict, NotFound, PreconditionFailed])
@pytest.mark.parametrize("first", [True, False])
async def test_a_place_that_another_run_keeps_is_as_good(
    checking: Checking, caplog: pytest.LogCaptureFixture, error: type[Exception], *, first: bool
) -> None:
    if not first:
        await checking.run()
        await grow(checking, 1)
    caplog.set_level("INFO")
    operation = "create" if first else "replace"
    faulty = FaultyStore(
        checking.world.store,
        1,
        error=error("raced"),
        counts=lambda call: (call.operation, call.container) == (operation, "ledger"),
    )
    assert await checking.run(faulty) == []
    assert faulty.failed == 1
    told = f'check_overlapped {{"period": "{PERIOD}", "tenant_id": "{TENANT}"}}'
    assert [line for line in caplog.messages if line.startswith("check_overlapped")] == [told]


async def test_the_place_of_another_run_is_not_written_over(checking: Checking) -> None:
    await checking.run()
    await grow(checking, 1)
    rival = Checking(checking.world)

    class Rival(FaultyStore):
        async def replace(self, container, partition, item, if_match=None):  # type: ignore[no-untyped-def]
            if item["id"].startswith("check|") and not self.failed:
                self.failed = 1
                await rival.put(after="of the rival")
            return await super().replace(container, partition, item, if_match)

    assert await checking.run(Rival(checking.world.store)) == []
    assert (await checking.place())["after"] == "of the rival"
