"""Signing shards: what is signed follows from what was signed before, or is not signed."""

import asyncio
from datetime import timedelta

import pytest

from shared.ledger.checkpoint import open_checkpoint
from shared.ledger.checkpoints import SIGN_EVERY
from shared.ledger.merkle import EMPTY_ROOT
from shared.ledger.shards import BrokenShard, Shards, checkpoint_id, head_id
from shared.privacy.secrets import SecretVersion
from shared.storage.containers import LEDGER
from shared.storage.errors import Unavailable
from tests.faults import FaultyStore
from tests.ledger.naive import NaiveTree
from tests.ledger.world import ORIGIN, PERIOD, TENANT, World

NAME = f"{ORIGIN}/{TENANT}/{PERIOD}"


async def test_a_checkpoint_says_what_is_sealed_and_verifies(world: World) -> None:
    await world.seal(world.events(300))
    issued = await world.checkpoints().issue(TENANT, PERIOD)
    checkpoint, _ = open_checkpoint(issued.note.encode(), NAME, await world.keys().verifiers(NAME))
    tree = NaiveTree([entry.text for entry in await world.sealed()])
    assert (checkpoint.size, checkpoint.root) == (300, tree.root(300))
    document = await Shards(world.store).checkpoint(TENANT, PERIOD, 300)
    assert document is not None
    assert document["note"] == issued.note


async def test_where_nothing_was_sealed_it_is_the_empty_tree_and_nothing_is_kept(world: World) -> None:
    issued = await world.checkpoints().issue(TENANT, PERIOD)
    checkpoint, _ = open_checkpoint(issued.note.encode(), NAME, await world.keys().verifiers(NAME))
    assert checkpoint == issued.checkpoint
    assert (checkpoint.size, checkpoint.root) == (0, EMPTY_ROOT)
    assert await Shards(world.store).heads(TENANT) == []


async def test_the_last_one_serves_while_it_covers_what_is_asked(world: World) -> None:
    checkpoints = world.checkpoints()
    await world.seal(world.events(3))
    first = await checkpoints.issue(TENANT, PERIOD)
    await world.seal(world.events(2))
    assert (await checkpoints.issue(TENANT, PERIOD, at_least=3)).note == first.note
    assert (await checkpoints.issue(TENANT, PERIOD, at_least=0)).note == first.note
    world.clock.advance(seconds=SIGN_EVERY.total_seconds())
    assert (await checkpoints.issue(TENANT, PERIOD, at_least=0)).checkpoint.size == 5
    await world.seal(world.events(1))
    assert (await checkpoints.issue(TENANT, PERIOD, at_least=6)).checkpoint.size == 6
    await world.seal(world.events(1))
    assert (await checkpoints.issue(TENANT, PERIOD)).checkpoint.size == 7


async def test_signers_side_by_side_and_a_sealer_among_them_agree(world: World) -> None:
    await world.seal(world.events(10))
    kept = await world.keep(world.events(10))
    works = [world.checkpoints().issue(TENANT, PERIOD) for _ in range(3)]
    issued, _ = await asyncio.gather(asyncio.gather(*works), world.sealer().consume(kept))
    tree = NaiveTree([entry.text for entry in await world.sealed()])
    for each in issued:
        assert each.checkpoint.root == tree.root(each.checkpoint.size)


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_failure_while_signing_is_made_up_for_by_the_next(world: World, mode: str) -> None:
    await world.seal(world.events(300))
    await world.checkpoints().issue(TENANT, PERIOD)
    for fail_at in range(1, 20):
        await world.seal(world.events(1))
        faulty = FaultyStore(world.store, fail_at, mode)  # type: ignore[arg-type]
        try:
            await world.checkpoints(faulty).issue(TENANT, PERIOD)
        except Unavailable:
            pass
        else:
            assert not faulty.failed
            break
        issued = await world.checkpoints().issue(TENANT, PERIOD)
        tree = NaiveTree([entry.text for entry in await world.sealed()])
        assert issued.checkpoint.root == tree.root(issued.checkpoint.size)
    assert 3 < fail_at < 19


async def forge(world: World, item_id: str, **fields: object) -> None:
    """Write over fields of an item of the shard, behind the app's back."""
    item = await world.store.read(LEDGER, (TENANT, PERIOD), item_id)
    await world.store.replace(LEDGER, (TENANT, PERIOD), item | fields)


async def test_another_history_is_not_signed(world: World) -> None:
    """A head that somebody rewrote does not follow from what was signed."""
    await world.seal(world.events(600))
    await world.checkpoints().issue(TENANT, PERIOD)
    before = await world.store.read(LEDGER, (TENANT, PERIOD), head_id(PERIOD))
    await world.seal(world.events(50))
    after = await world.store.read(LEDGER, (TENANT, PERIOD), head_id(PERIOD))
    forgeries = {
        "nodes": [*after["nodes"][:-1], before["nodes"][0]],
        "edge": after["edge"] | {"0": before["edge"]["0"]},
        "size": 649,
        "signed_size": 599,
        "note": before["note"].replace("600", "650", 1),
    }
    for name, value in forgeries.items():
        await forge(world, head_id(PERIOD), **{name: value})
        with pytest.raises(BrokenShard):
            await world.checkpoints().issue(TENANT, PERIOD)
        await forge(world, head_id(PERIOD), **{name: after[name]})
    assert (await world.checkpoints().issue(TENANT, PERIOD)).checkpoint.size == 650


@pytest.mark.parametrize(
    ("name", "value", "said"), [("note", "x", "does not verify"), ("signed_size", 2, "not of the size")]
)
async def test_a_last_checkpoint_that_we_did_not_sign_is_what_is_wrong_with_the_head(
    world: World, name: str, value: object, said: str
) -> None:
    await world.seal(world.events(3))
    await forge(world, head_id(PERIOD), **{name: value})
    with pytest.raises(BrokenShard, match=said) as error:
        await world.checkpoints().issue(TENANT, PERIOD)
    assert error.value.what == "head"


async def test_a_head_that_was_set_back_is_not_signed(world: World) -> None:
    await world.seal(world.events(3))
    early = await world.store.read(LEDGER, (TENANT, PERIOD), head_id(PERIOD))
    await world.seal(world.events(3))
    await world.checkpoints().issue(TENANT, PERIOD)
    await world.store.replace(LEDGER, (TENANT, PERIOD), early)
    for _ in range(2):
        with pytest.raises(BrokenShard):
            await world.checkpoints().issue(TENANT, PERIOD)
        await world.seal(world.events(1))


async def test_rotation_signs_with_the_new_key_and_keeps_the_old_one_published(world: World) -> None:
    class Rotating:
        held: tuple[SecretVersion, ...] = (SecretVersion("v1", b"1" * 32),)

        async def versions(self, _: str) -> tuple[SecretVersion, ...]:
            return self.held

    world.secrets = Rotating()  # type: ignore[assignment]
    await world.seal(world.events(2))
    old = await world.checkpoints().issue(TENANT, PERIOD)
    began = world.clock.now()
    world.clock.advance(hours=1)
    Rotating.held = (SecretVersion("v2", b"2" * 32, changed_at=began), *Rotating.held)
    await world.seal(world.events(2))
    new = await world.checkpoints().issue(TENANT, PERIOD)
    keys = await world.keys().published()
    assert [(key.version, key.since, key.until) for key in keys] == [
        ("v2", began + timedelta(hours=1), None),
        ("v1", began, began + timedelta(hours=1)),
    ]
    verifiers = await world.keys().verifiers(NAME)
    for issued, signer in ((old, verifiers[1]), (new, verifiers[0])):
        assert open_checkpoint(issued.note.encode(), NAME, [signer])[0] == issued.checkpoint
    Rotating.held = Rotating.held[:1]
    await world.seal(world.events(1))
    assert (await world.checkpoints().issue(TENANT, PERIOD)).checkpoint.size == 5
    assert len(await world.keys().published()) == 2


async def test_ids_of_checkpoints_sort_as_sizes_do() -> None:
    sizes = [0, 1, 9, 10, 99, 2**40, 2**63 - 1]
    assert sorted(map(checkpoint_id, reversed(sizes))) == [checkpoint_id(size) for size in sizes]
