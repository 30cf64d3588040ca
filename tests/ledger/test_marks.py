"""What was signed is kept elsewhere, too: a month's ledger that was taken away whole and begun anew is found."""

import asyncio
import json

import pytest

from shared.core.clock import rfc3339
from shared.ledger import marks as module
from shared.ledger.checkpoints import SIGN_EVERY
from shared.ledger.marks import Mark, Marks, marks_id
from shared.ledger.progress import progress_id
from shared.ledger.shards import BrokenShard, Shards, checkpoint_id, head_id
from shared.privacy.secrets import SecretsError
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, LEDGER
from shared.storage.documents import Item, Query, pages
from shared.storage.errors import NotFound, Unavailable
from tests.faults import FaultyStore, Mode
from tests.ledger.naive import NaiveTree
from tests.ledger.world import OTHER, PERIOD, TENANT, World, new_world

HERE = (TENANT, PERIOD)
PLACE = (marks_id(TENANT),)


class Silent:
    """A vault that does not answer."""

    async def versions(self, _: str) -> None:
        raise SecretsError("no answer")


async def mark_of(world: World, period: str = PERIOD) -> Mark | None:
    return (await Marks(world.store).of(TENANT)).months.get(period)


async def take_away(world: World) -> None:
    """All that is in the container `ledger` of a month."""
    async for page in pages(world.store, LEDGER, HERE, Query(limit=1000)):
        for item in page:
            await world.store.delete(LEDGER, HERE, item["id"])


async def stored(world: World) -> list[Item]:
    """The events of the month, as a feed that begins anew delivers them."""
    page = await world.store.query(AUDIT_EVENTS, HERE, Query(limit=1000))
    return [each for each in page.items if not each["type"].startswith("ledger.")]


def later(world: World) -> None:
    world.clock.advance(seconds=SIGN_EVERY.total_seconds())


async def test_it_says_what_was_signed_last_of_each_month(world: World) -> None:
    await world.seal(world.events(3))
    tree = NaiveTree([entry.text for entry in await world.sealed()])
    assert await mark_of(world) == Mark(3, tree.root(3))
    await world.seal(world.events(2))
    assert await mark_of(world) == Mark(3, tree.root(3)), "nothing was signed since"
    issued = await world.checkpoints().issue(TENANT, PERIOD)
    assert await mark_of(world) == Mark(5, issued.checkpoint.root)
    world.clock.advance(days=30)
    await world.seal(world.events(1))
    assert {period: mark.size for period, mark in (await Marks(world.store).of(TENANT)).months.items()} == {
        PERIOD: 5,
        "2026-04": 1,
    }
    assert (await Marks(world.store).of(OTHER)).months == {}


@pytest.mark.parametrize("left", [0, 2, 5])
async def test_a_month_that_was_taken_away_whole_is_found_and_not_signed_again(world: World, left: int) -> None:
    """With the place of its check, and whatever is sealed of it since."""
    events = world.events(5)
    await world.seal(events)
    assert await world.verify() == []
    await take_away(world)
    if left:
        await world.sealer().consume((await stored(world))[-left:][::-1])
    with pytest.raises(BrokenShard):
        await world.checkpoints().issue(TENANT, PERIOD)
    found = set(await world.verify())
    assert "head" in found or "checkpoint" in found
    assert found <= {"head", "checkpoint", "tile", "not_sealed"}
    with pytest.raises(BrokenShard):
        await world.checkpoints().issue(TENANT, PERIOD)


async def test_a_longer_history_that_is_another_is_found_by_the_next_run(world: World) -> None:
    """Somebody seals as the app does, and leaves the mark alone: the check says so, and nothing of it is signed."""
    events = world.events(300)
    await world.seal(events)
    later(world)
    await world.checkpoints().issue(TENANT, PERIOD)
    await take_away(world)
    await world.store.delete(AUDIT_EVENTS, HERE, events[7]["id"])
    later(world)
    mark = await world.store.read(DIRECTORY, PLACE, marks_id(TENANT))
    await world.store.delete(DIRECTORY, PLACE, marks_id(TENANT))
    secrets, world.secrets = world.secrets, Silent()  # type: ignore[assignment]
    await world.sealer().consume(await stored(world))
    await world.seal(world.events(50))
    world.secrets = secrets
    await world.store.create(DIRECTORY, PLACE, mark)
    assert (await Shards(world.store).head(*HERE)).size == 349
    assert "checkpoint" in await world.verify()
    assert (await mark_of(world) or Mark(0, b"")).size == 300
    items = (await world.store.query(LEDGER, HERE, Query(limit=1000))).items
    assert [item["id"] for item in items if item["id"].startswith("checkpoint|")] == []


async def test_a_ledger_that_was_put_back_to_yesterday_hands_out_no_checkpoint(world: World) -> None:
    """A copy of the whole partition from before: it agrees with itself in everything."""
    await world.seal(world.events(5))
    copy = (await world.store.query(LEDGER, HERE, Query(limit=1000))).items
    later(world)
    await world.seal(world.events(5))
    await take_away(world)
    for item in copy:
        await world.store.create(LEDGER, HERE, item)
    with pytest.raises(BrokenShard):
        await world.checkpoints().issue(TENANT, PERIOD, at_least=0)
    assert await world.verify() == ["head", "not_sealed"] or await world.found() == ["head"]
    later(world)
    await world.seal(world.events(1))
    assert "head" in await world.found()
    assert (await Shards(world.store).head(*HERE)).signed_size == 5


async def test_of_a_month_of_which_nothing_is_left_no_empty_tree_is_signed(world: World) -> None:
    await world.seal(world.events(5))
    await take_away(world)
    for at_least in (None, 0):
        with pytest.raises(BrokenShard):
            await world.checkpoints().issue(TENANT, PERIOD, at_least=at_least)


@pytest.mark.parametrize("mode", ["before", "after", "gone_after"])
async def test_a_failure_at_any_call_makes_no_honest_ledger_refuse(mode: Mode) -> None:
    for fail_at in range(1, 40):
        async with new_world() as world:
            await world.seal(world.events(5))
            later(world)
            kept = await world.keep(world.events(5))
            faulty = FaultyStore(world.store, fail_at, mode)
            try:
                await world.sealer(faulty).consume(kept)
            except Unavailable:
                await world.sealer().consume(kept)
            assert await world.found() == []
            assert (await mark_of(world) or Mark(0, b"")).size in (5, 10)
            assert await world.verify() == []
            assert (await mark_of(world) or Mark(0, b"")).size == 10, "the check brings it up"
            await world.seal(world.events(5))
            assert (await world.checkpoints().issue(TENANT, PERIOD)).checkpoint.size == 15
            if not faulty.failed:
                break
    assert 4 < fail_at < 39


async def test_sealing_and_signing_take_one_batch_a_read_and_a_write(world: World) -> None:
    await world.seal(world.events(5))
    later(world)
    counting = FaultyStore(world.store)
    await world.sealer(counting).consume(await world.keep(world.events(5)))
    assert [(call.operation, call.container) for call in counting.calls] == [
        ("query", "ledger"),
        ("read", "directory"),
        ("read", "directory"),  # the keys that signed, once in a process
        ("batch", "ledger"),
        ("replace", "directory"),
    ]
    head = await Shards(world.store).head(*HERE)
    assert (head.size, head.signed_size, head.signed_at) == (10, 10, rfc3339(world.clock.now()))
    document = await Shards(world.store).checkpoint(TENANT, PERIOD, 10)
    assert document is not None
    assert document["note"] == head.note
    counting = FaultyStore(world.store)
    await world.sealer(counting).consume(await world.keep(world.events(5)))
    assert [call.operation for call in counting.calls] == ["query", "batch"], "so soon nothing is signed"


async def test_what_is_signed_along_follows_although_much_was_sealed_in_between(world: World) -> None:
    await world.seal(world.events(250))
    await world.seal(world.events(400))
    later(world)
    await world.seal(world.events(3))
    head = await Shards(world.store).head(*HERE)
    tree = NaiveTree([entry.text for entry in await world.sealed()])
    assert head.signed_size == 653
    assert await mark_of(world) == Mark(653, tree.root(653))


async def test_another_edge_is_sealed_upon_and_not_signed(world: World) -> None:
    """What was signed is not what the head grows from."""
    await world.seal(world.events(3))
    head = await world.store.read(LEDGER, HERE, head_id(PERIOD))
    await world.store.replace(LEDGER, HERE, head | {"nodes": head["nodes"][::-1]})
    later(world)
    await world.seal(world.events(2))
    head_now = await Shards(world.store).head(*HERE)
    assert (head_now.size, head_now.signed_size) == (5, 3)
    assert await world.found() == ["tile"]


async def test_a_checkpoint_that_lies_where_the_next_one_goes_holds_up_no_sealing(world: World) -> None:
    await world.seal(world.events(3))
    planted = {"id": checkpoint_id(5), "tenant_id": TENANT, "period": PERIOD, "kind": "checkpoint"}
    await world.store.create(LEDGER, HERE, planted)
    later(world)
    events = world.events(2)
    await world.seal(events)
    assert (await Shards(world.store).head(*HERE)).size == 5
    assert await world.found() == ["head"]
    assert await world.dead() == []


async def test_a_vault_that_does_not_answer_holds_up_no_sealing_and_that_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.seal(world.events(3))
    later(world)
    world.secrets = Silent()  # type: ignore[assignment]
    await world.seal(world.events(2))
    head = await Shards(world.store).head(*HERE)
    assert (head.size, head.signed_size) == (5, 3)
    told = {"tenant_id": TENANT, "period": PERIOD, "reason": "no answer"}
    lines = [each for each in caplog.messages if each.startswith("sealed_unsigned")]
    assert lines == [f"sealed_unsigned {json.dumps(told, sort_keys=True)}"]


async def test_signers_of_two_months_at_once_keep_both_marks(world: World) -> None:
    marks = Marks(world.store)
    months = [f"2026-{month:02}" for month in range(1, 9)]
    marked = await marks.of(TENANT)
    await asyncio.gather(*(marks.keep(TENANT, month, Mark(1, bytes(32)), marked) for month in months))
    assert sorted((await marks.of(TENANT)).months) == months


async def test_a_mark_is_never_set_back_and_a_stale_signer_is_not_refused(world: World) -> None:
    marks = Marks(world.store)
    empty = await marks.of(TENANT)
    await marks.keep(TENANT, PERIOD, Mark(5, bytes(32)), empty)
    await marks.keep(TENANT, PERIOD, Mark(3, bytes(32)), empty)
    await marks.keep(TENANT, PERIOD, Mark(3, bytes(32)), await marks.of(TENANT))
    assert await mark_of(world) == Mark(5, bytes(32))


async def test_a_record_that_always_changes_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RACES", 2)
    writes = FaultyStore(
        world.store, 1, error=NotFound("always"), times=None, counts=lambda call: call.operation == "create"
    )
    marks = Marks(writes)
    with pytest.raises(Unavailable):
        await marks.keep(TENANT, PERIOD, Mark(5, bytes(32)), await marks.of(TENANT))


async def test_a_rival_that_signs_meanwhile_is_no_history_that_was_set_back(world: World) -> None:
    """The head was read before a rival sealed and signed; the mark after."""
    await world.seal(world.events(3))
    later(world)

    class Rival(FaultyStore):
        async def read(self, container, partition, item_id):  # type: ignore[no-untyped-def]
            item = await super().read(container, partition, item_id)
            if item_id == head_id(PERIOD) and item["size"] == 3:
                await world.seal(world.events(4))
            return item

    issued = await world.checkpoints(Rival(world.store)).issue(TENANT, PERIOD, at_least=0)
    assert issued.checkpoint.size == 7
    assert await world.found() == []


NONSENSE: dict[str, object] = {
    "nothing": None,
    "a list": [],
    "a size below zero": {PERIOD: {"size": -1, "root": "A" * 43 + "="}},
    "a size that is a truth": {PERIOD: {"size": True, "root": "A" * 43 + "="}},
    "a root too short": {PERIOD: {"size": 3, "root": "AAAA"}},
    "no month": {"soon": {"size": 3, "root": "A" * 43 + "="}},
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_a_record_that_somebody_wrote_to_is_a_finding_and_nothing_is_signed(world: World, name: str) -> None:
    await world.seal([*world.events(3), *world.events(3, tenant_id=OTHER)])
    item = await world.store.read(DIRECTORY, PLACE, PLACE[0])
    await world.store.replace(DIRECTORY, PLACE, item | {"signed": NONSENSE[name]})
    later(world)
    await world.seal([*world.events(2), *world.events(2, tenant_id=OTHER)])
    assert await world.found() == ["checkpoint"]
    assert (await Shards(world.store).head(*HERE)).signed_size == 3
    assert (await Shards(world.store).head(OTHER, PERIOD)).signed_size == 5
    assert set(await world.verify()) == {"checkpoint"}
    assert await world.dead() == []


@pytest.mark.parametrize("size", [None, 2])
async def test_a_mark_that_was_set_back_or_taken_away_is_a_finding(world: World, size: int | None) -> None:
    await world.seal(world.events(3))
    assert await world.verify() == []
    item = await world.store.read(DIRECTORY, PLACE, PLACE[0])
    if size is None:
        await world.store.delete(DIRECTORY, PLACE, PLACE[0])
    else:
        signed = {PERIOD: item["signed"][PERIOD] | {"size": size}}
        await world.store.replace(DIRECTORY, PLACE, item | {"signed": signed})
    assert "checkpoint" in await world.verify()


async def test_the_check_remembers_which_mark_it_saw(world: World) -> None:
    await world.seal(world.events(3))
    await world.verify()
    assert (await world.store.read(LEDGER, HERE, progress_id(PERIOD)))["marked"] == 3
