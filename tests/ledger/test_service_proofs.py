"""Proofs that the ledger gives: they lead to what was signed, or there is none and the trail says why."""

from itertools import combinations_with_replacement
from typing import Any

import pytest

from shared.core.errors import FieldError, Invalid
from shared.ledger._text import encode_base64
from shared.ledger.checkpoints import SIGN_EVERY
from shared.ledger.merkle import verify_consistency
from shared.ledger.service import Consistency
from shared.ledger.shards import checkpoint_id, head_id, tile_id
from shared.storage.containers import LEDGER
from tests.ledger.answers import EXPIRED, REQUEST, broken, change, refused, said
from tests.ledger.naive import NaiveTree
from tests.ledger.test_service import OVER, grown
from tests.ledger.world import NOW, ORIGIN, OTHER, PERIOD, TENANT, World

NAME = f"{ORIGIN}/{TENANT}/{PERIOD}"
NO_TREE = "the tree does not agree with itself: the proof does not lead to the root"
NOT_SIGNED = "the tree does not lead to a root that was signed"


async def test_every_entry_is_proven_by_a_checkpoint_that_covers_it(world: World) -> None:
    note = await grown(world)
    ledger, keys = world.ledger(), await world.keys().verifiers(NAME)
    for entry in await world.sealed():
        proven = await ledger.prove(TENANT, entry.event_id, REQUEST)
        assert proven is not None
        assert (proven.period, proven.entry, proven.proof.index) == (PERIOD, entry, entry.index)
        assert proven.proof.verify(entry.text, NAME, keys).size == (3 if entry.index < 3 else 5)
        assert (proven.proof.checkpoint == note) is (entry.index < 3)
        assert proven.body() == {
            "event_id": entry.event_id,
            "period": PERIOD,
            "index": entry.index,
            "entry": encode_base64(entry.text),
            "path": [encode_base64(each) for each in proven.proof.path],
            "checkpoint": proven.proof.checkpoint,
            "text": proven.proof.text(),
        }


async def test_entries_and_sizes_far_from_the_right_edge_are_proven(world: World) -> None:
    await world.seal(world.events(258))
    await world.checkpoints().issue(TENANT, PERIOD)
    ledger, keys = world.ledger(), await world.keys().verifiers(NAME)
    entries = await world.sealed()
    for at in (0, 255, 257):
        proven = await ledger.prove(TENANT, entries[at].event_id, REQUEST)
        assert proven is not None
        assert proven.proof.verify(entries[at].text, NAME, keys).size == 258
    tree = NaiveTree([each.text for each in entries])
    for old, new in ((1, 255), (255, 256), (100, 257), (256, 258)):
        path = (await ledger.consistency(TENANT, PERIOD, old, new, REQUEST)).path
        verify_consistency(old, new, path, tree.root(old), tree.root(new))


async def test_an_event_is_looked_for_in_its_own_month(world: World) -> None:
    february = world.event(NOW.replace(month=2))
    await world.seal([february])
    proven = await world.ledger().prove(TENANT, february["id"], REQUEST)
    assert proven is not None
    assert (proven.period, proven.entry.event_id) == ("2026-02", february["id"])


async def test_what_is_not_sealed_is_not_proven(world: World) -> None:
    await world.seal(world.events(2))
    ledger = world.ledger()
    [first, _] = await world.sealed()
    for event_id in (world.event()["id"], "nobody's", "", head_id(PERIOD)):
        assert await ledger.prove(TENANT, event_id, REQUEST) is None
    assert await ledger.prove(OTHER, first.event_id, REQUEST) is None


async def test_what_is_no_id_is_looked_for_in_the_present_month(world: World) -> None:
    """It takes as long as any other; somebody put an entry there that is none."""
    item = {"id": "planted", "tenant_id": TENANT, "period": PERIOD, "kind": "entry", "index": "x", "entry": "{}"}
    await world.store.create(LEDGER, (TENANT, PERIOD), item)
    call = world.ledger().prove(TENANT, "planted", REQUEST)
    await broken(world, call, "entries", "an entry is not as a sealer writes it")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"entry": "{}"}, "the proof does not lead to the root"),
        ({"index": 2}, "the proof does not lead to the root"),
        ({"index": 9}, "the index is not below the size"),
    ],
)
async def test_an_entry_that_was_changed_is_not_proven(world: World, fields: dict[str, Any], why: str) -> None:
    await world.seal(world.events(5))
    event_id = (await world.sealed())[1].event_id
    await change(world, event_id, **fields)
    call = world.ledger().prove(TENANT, event_id, REQUEST)
    await broken(world, call, "entries", f"an entry does not lead to the signed root: {why}")


async def test_sizes_lead_to_one_another(world: World) -> None:
    note = await grown(world)
    ledger = world.ledger()
    tree = NaiveTree([each.text for each in await world.sealed()])
    for old, new in combinations_with_replacement(range(1, 6), 2):
        found = await ledger.consistency(TENANT, PERIOD, old, new, REQUEST)
        assert found == Consistency(PERIOD, old, new, found.path)
        verify_consistency(old, new, found.path, tree.root(old), tree.root(new))
    assert (await ledger.consistency(TENANT, PERIOD, 2, None, REQUEST)).size == 3, "the last that was signed"
    assert (await ledger.checkpoint(TENANT, PERIOD, REQUEST)).note == note, "nothing was signed for it"
    world.clock.advance(seconds=SIGN_EVERY.total_seconds())
    assert (await ledger.consistency(TENANT, PERIOD, 2, None, REQUEST)).size == 5


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        (1, 0, "to", "must be from 1 to 5, the size of the ledger"),
        (1, -1, "to", "must be from 1 to 5, the size of the ledger"),
        (1, 6, "to", "must be from 1 to 5, the size of the ledger"),
        (0, 4, "from", "must be from 1 to 4"),
        (-1, 4, "from", "must be from 1 to 4"),
        (5, 4, "from", "must be from 1 to 4"),
        (4, None, "from", "must be from 1 to 3"),
    ],
)
async def test_sizes_that_the_ledger_never_had(
    world: World, old: int, new: int | None, field: str, message: str
) -> None:
    await grown(world)
    with pytest.raises(Invalid) as raised:
        await world.ledger().consistency(TENANT, PERIOD, old, new, REQUEST)
    assert (raised.value.code, raised.value.detail) == ("invalid_request", "Some fields are not as they must be.")
    assert raised.value.errors == (FieldError(field, "range", message),)


async def test_of_a_month_that_is_over_nothing_is_proven(world: World) -> None:
    await grown(world)
    world.clock.set(OVER)
    await refused(world.ledger().consistency(TENANT, PERIOD, 1, 2, REQUEST), "period_expired", EXPIRED)
    assert await said(world) == []


async def test_a_tree_that_does_not_agree_with_itself_proves_nothing(world: World) -> None:
    await world.seal(world.events(258))
    await world.checkpoints().issue(TENANT, PERIOD)
    await change(world, tile_id(0, 0), hashes=encode_base64(bytes(256 * 32)))
    await broken(world, world.ledger().consistency(TENANT, PERIOD, 100, 258, REQUEST), "tile", NO_TREE)


@pytest.mark.parametrize(("old", "new"), [(3, 4), (3, 3), (2, 3), (1, 5)])
async def test_a_tree_that_is_not_the_one_that_was_signed_proves_nothing(world: World, old: int, new: int) -> None:
    await grown(world)
    await world.checkpoints().issue(TENANT, PERIOD)
    await change(world, head_id(PERIOD), edge={"0": encode_base64(bytes(5 * 32))})
    ledger = world.ledger()
    await ledger.consistency(TENANT, PERIOD, 1, 2, REQUEST)  # neither of which was signed
    await broken(world, ledger.consistency(TENANT, PERIOD, old, new, REQUEST), "tile", NOT_SIGNED)


@pytest.mark.parametrize(
    ("note", "why"),
    [
        ({"note": "x"}, "a note is text, an empty line and signature lines"),
        ({"note": None}, "'NoneType' object has no attribute 'encode'"),
        ({}, "'note'"),
    ],
)
async def test_a_stored_checkpoint_that_is_none_is_said(world: World, note: dict[str, Any], why: str) -> None:
    await grown(world)
    document = {"id": checkpoint_id(2), "tenant_id": TENANT, "period": PERIOD} | note
    await world.store.create(LEDGER, (TENANT, PERIOD), document)
    call = world.ledger().consistency(TENANT, PERIOD, 2, 3, REQUEST)
    await broken(world, call, "head", f"a stored checkpoint is none: {why}")
