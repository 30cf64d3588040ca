"""What the ledger tells of itself: checkpoints, keys, shards and tiles, and an error where nothing can be told."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.core.clock import period_end, rfc3339
from shared.core.errors import KraftdError
from shared.ledger.checkpoint import open_checkpoint
from shared.ledger.checkpoints import SIGN_EVERY
from shared.ledger.merkle import leaf_hash
from shared.ledger.note import VerifierKey
from shared.ledger.service import Ledger, NamedKey
from shared.ledger.shards import BrokenShard, Shards, checkpoint_id, head_id
from shared.ledger.tiles import ENTRIES, Tile, decode_bundle
from shared.privacy.secrets import SecretVersion
from shared.storage.containers import DIRECTORY, LEDGER
from tests.ledger.answers import BROKEN, EXPIRED, REQUEST, broken, change, refused, said, without_tiles
from tests.ledger.naive import NaiveTree
from tests.ledger.test_keys import Rotating
from tests.ledger.world import NOW, ORIGIN, OTHER, PERIOD, RETENTION_DAYS, TENANT, World

NAME = f"{ORIGIN}/{TENANT}/{PERIOD}"
OVER = datetime.fromtimestamp(period_end(PERIOD) + RETENTION_DAYS * 86_400, UTC)
NO_TILE = "The ledger has no such tile."
UNWITNESSED = "No witness has cosigned a checkpoint of this month."


async def grown(world: World) -> str:
    """Three entries that are signed, and two that are not; the note of the three."""
    await world.seal(world.events(3))
    note = (await world.checkpoints().issue(TENANT, PERIOD)).note
    await world.seal(world.events(2))
    return note


async def test_a_checkpoint_may_be_some_seconds_old(world: World) -> None:
    note = await grown(world)
    ledger = world.ledger()
    assert (await ledger.checkpoint(TENANT, PERIOD, REQUEST)).note == note
    newest = await ledger.checkpoint(TENANT, PERIOD, REQUEST, newest=True)
    assert open_checkpoint(newest.note.encode(), NAME, await world.keys().verifiers(NAME))[0].size == 5
    await world.seal(world.events(1))
    assert (await ledger.checkpoint(TENANT, PERIOD, REQUEST)).note == newest.note
    world.clock.advance(seconds=SIGN_EVERY.total_seconds())
    assert (await ledger.checkpoint(TENANT, PERIOD, REQUEST)).checkpoint.size == 6
    assert (await ledger.checkpoint(OTHER, PERIOD, REQUEST)).checkpoint.size == 0


async def test_of_a_month_that_is_over_the_last_checkpoint_is_left(world: World) -> None:
    note = await grown(world)
    ledger = world.ledger()
    world.clock.set(OVER)
    assert (await ledger.checkpoint(TENANT, PERIOD, REQUEST)).note == note
    assert (await ledger.checkpoint(TENANT, PERIOD, REQUEST, newest=True)).note == note


async def test_of_a_month_that_is_over_and_was_never_signed_all_is_signed(world: World) -> None:
    await world.seal(world.events(2))
    await change(world, head_id(PERIOD), signed_size=-1, signed_at=None, note=None)
    world.clock.set(OVER)
    assert (await world.ledger().checkpoint(TENANT, PERIOD, REQUEST)).checkpoint.size == 2


async def test_of_a_month_that_is_over_a_checkpoint_of_nothing_is_not_the_last(world: World) -> None:
    """A checkpoint of no entries serves for some seconds, as any does: nothing was there to be forgotten."""
    nothing = (await world.checkpoints().issue(TENANT, PERIOD)).note
    await world.seal(world.events(1))
    world.clock.set(OVER)
    at = rfc3339(OVER)
    await change(world, head_id(PERIOD), signed_size=0, signed_at=at, note=nothing)
    assert (await world.ledger().checkpoint(TENANT, PERIOD, REQUEST)).note == nothing


async def test_a_month_is_over_when_its_retention_is(world: World) -> None:
    ledger = world.ledger()
    assert ledger.present == PERIOD
    for moment, is_over in ((NOW, False), (OVER - timedelta(microseconds=1), False), (OVER, True)):
        world.clock.set(moment)
        assert ledger.is_over(PERIOD) is is_over
        assert not ledger.is_over("2040-01")
    assert ledger.present == "2033-03"
    with pytest.raises(KraftdError, match=r"^period_expired$") as raised:
        ledger.check_kept(PERIOD)
    assert (raised.value.status, raised.value.detail) == (404, EXPIRED)
    ledger.check_kept("2040-01")


async def test_a_shard_that_broke_is_said_unless_its_retention_ended_meanwhile(world: World) -> None:
    ledger, error = world.ledger(), BrokenShard("tile", "a tile is gone")
    answer = await ledger.broken(TENANT, PERIOD, error, REQUEST)
    assert (answer.status, answer.code, answer.detail) == (409, "ledger_broken", BROKEN)
    assert await said(world) == [("tile", PERIOD, "r-asked")]
    world.clock.set(OVER)
    answer = await ledger.broken(TENANT, PERIOD, BrokenShard("head", "a head is gone"), REQUEST)
    assert (answer.status, answer.code, answer.detail) == (404, "period_expired", EXPIRED)
    assert await said(world) == [], "what was said has ended with its month, too"


async def test_the_newest_checkpoint_that_was_cosigned(world: World) -> None:
    ledger, head = world.ledger(), head_id(PERIOD)
    await refused(ledger.witnessed(TENANT, PERIOD, REQUEST), "not_witnessed", UNWITNESSED)
    await world.seal(world.events(3))
    first = (await world.checkpoints().issue(TENANT, PERIOD)).note
    await refused(ledger.witnessed(TENANT, PERIOD, REQUEST), "not_witnessed", UNWITNESSED)
    await change(world, head, witnessed_size=3, note=first + "in the head")
    assert await ledger.witnessed(TENANT, PERIOD, REQUEST) == first + "in the head"
    await change(world, head, note=None)
    assert await ledger.witnessed(TENANT, PERIOD, REQUEST) == first
    await change(world, head, note=first)
    await world.seal(world.events(1))
    second = (await world.checkpoints().issue(TENANT, PERIOD)).note
    assert await ledger.witnessed(TENANT, PERIOD, REQUEST) == first != second
    await world.store.delete(LEDGER, (TENANT, PERIOD), checkpoint_id(3))
    await refused(ledger.witnessed(TENANT, PERIOD, REQUEST), "not_witnessed", UNWITNESSED)


async def test_a_witnessed_size_of_nothing_is_none(world: World) -> None:
    """A signed checkpoint of no entries is nobody's business."""
    await world.seal(world.events(1))
    nothing = (await world.checkpoints().issue(TENANT, "2026-04")).note
    await change(world, head_id(PERIOD), signed_size=0, note=nothing)
    document = {"id": checkpoint_id(0), "tenant_id": TENANT, "period": PERIOD, "note": nothing}
    await world.store.create(LEDGER, (TENANT, PERIOD), document)
    await refused(world.ledger().witnessed(TENANT, PERIOD, REQUEST), "not_witnessed", UNWITNESSED)


async def test_the_key_that_signs_now_is_the_first(world: World) -> None:
    world.secrets = secrets = Rotating()  # type: ignore[assignment]
    public = []
    for number in (1, 2, 3):
        secrets.held = (SecretVersion(f"v{number}", bytes([number]) * 32),)
        public.append((await world.keys().signer(NAME)).verifier.public_key)
        world.clock.advance(hours=1)
    secrets.held = (SecretVersion("v2", b"\2" * 32),)  # one was taken back
    found = await world.ledger().vkeys(TENANT, PERIOD, REQUEST)
    at = [NOW + timedelta(hours=number) for number in range(3)]
    assert found == [
        NamedKey(VerifierKey(NAME, public[1]).encode(), at[1], at[2]),
        NamedKey(VerifierKey(NAME, public[2]).encode(), at[2], None),
        NamedKey(VerifierKey(NAME, public[0]).encode(), at[0], at[1]),
    ]


async def test_asking_for_the_keys_publishes_the_first(world: World) -> None:
    (only,) = await world.ledger().vkeys(OTHER, "2026-04", REQUEST)
    assert VerifierKey.decode(only.vkey) == (await world.keys().signer(f"{ORIGIN}/{OTHER}/2026-04")).verifier
    assert (only.since, only.until) == (NOW, None)


async def test_keys_that_nobody_can_read_are_said(world: World) -> None:
    await world.store.create(DIRECTORY, ("ledger_keys",), {"id": "ledger_keys", "keys": "none"})
    with pytest.raises(KraftdError, match=r"^ledger_broken$"):
        await world.ledger().vkeys(TENANT, PERIOD, REQUEST)
    assert await said(world) == [("checkpoint", PERIOD, "r-asked")]


async def test_shards_are_shown_the_newest_month_first(world: World) -> None:
    for month, count in ((1, 2), (2, 4), (3, 3)):
        world.clock.set(NOW.replace(month=month))
        await world.seal(world.events(count))
    for period in ("2026-01", "2026-02"):
        await world.checkpoints().issue(TENANT, period)
    signed_at = rfc3339(NOW.replace(month=2))
    await change(world, head_id("2026-02"), "2026-02", witnessed_size=4)
    await change(world, head_id(PERIOD), signed_size=-1, signed_at=None, note=None)
    await world.seal([world.event(NOW.replace(month=1))])
    await change(world, head_id("2026-01"), "2026-01", signed_size=2)
    ledger = world.ledger()
    world.clock.set(datetime.fromtimestamp(period_end("2026-01") + RETENTION_DAYS * 86_400, UTC))
    found, after = await ledger.shards(TENANT, 2, None, REQUEST)
    assert found == [
        {
            "period": "2026-03",
            "size": 3,
            "signed_size": None,
            "signed_at": None,
            "witnessed_size": None,
            "expired": False,
        },
        {
            "period": "2026-02",
            "size": 4,
            "signed_size": 4,
            "signed_at": signed_at,
            "witnessed_size": 4,
            "expired": False,
        },
    ]
    assert after is not None
    found, after = await ledger.shards(TENANT, 2, after, REQUEST)
    assert [(each["period"], each["size"], each["signed_size"], each["expired"]) for each in found] == [
        ("2026-01", 3, 2, True)
    ]
    assert after is None
    assert await ledger.shards(OTHER, 2, None, REQUEST) == ([], None)
    assert [each for each, _, _ in await said(world)] == ["inserted_behind"], "by the sealer"


async def test_a_head_of_no_month_is_said_and_left_out(world: World) -> None:
    await world.seal(world.events(2))
    for item_id in ("head|2026-13", "head|2026-02"):
        item = {"id": item_id, "tenant_id": TENANT, "period": PERIOD, "size": 1}
        await world.store.create(LEDGER, (TENANT, PERIOD), item)
    world.clock.set(NOW.replace(month=4))
    found, _ = await world.ledger().shards(TENANT, 10, None, REQUEST)
    assert [each["period"] for each in found] == [PERIOD]
    assert await said(world) == [("head", "2026-04", "r-asked")] * 2, "one for each of them"
    held = await world.store.read(LEDGER, (TENANT, "2026-04"), (await findings(world))[0])
    assert held["id"].startswith("finding|head|no_month|")
    await world.ledger().shards(TENANT, 10, None, REQUEST)
    assert len(await said(world)) == 2, "once"


async def findings(world: World) -> list[str]:
    return [item["id"] async for item in world._items(TENANT, "2026-04") if item["id"].startswith("finding|")]


async def test_a_tile_is_found_by_its_path(world: World) -> None:
    await world.seal(world.events(258))
    ledger = world.ledger()
    entries = await world.sealed()
    leaves = b"".join(leaf_hash(each.text) for each in entries)
    assert await ledger.tile(TENANT, PERIOD, "0/000", REQUEST) == (Tile(0, 0), leaves[: 256 * 32])
    assert await ledger.tile(TENANT, PERIOD, "0/001.p/2", REQUEST) == (Tile(0, 1, 2), leaves[256 * 32 :])
    assert await ledger.tile(TENANT, PERIOD, "0/001.p/1", REQUEST) == (Tile(0, 1, 1), leaves[256 * 32 : 257 * 32])
    root = NaiveTree([each.text for each in entries[:256]]).root(256)
    assert await ledger.tile(TENANT, PERIOD, "1/000.p/1", REQUEST) == (Tile(1, 0, 1), root)
    for path, tile, texts in (
        ("entries/000", Tile(ENTRIES, 0), entries[:256]),
        ("entries/000.p/7", Tile(ENTRIES, 0, 7), entries[:7]),
        ("entries/001.p/2", Tile(ENTRIES, 1, 2), entries[256:]),
    ):
        found, content = await ledger.tile(TENANT, PERIOD, path, REQUEST)
        assert (found, decode_bundle(content)) == (tile, [each.text for each in texts])


async def test_a_bundle_of_a_small_tree_has_the_width_that_was_asked_for(world: World) -> None:
    await world.seal(world.events(3))
    entries = [each.text for each in await world.sealed()]
    for width in (1, 2, 3):
        tile, content = await world.ledger().tile(TENANT, PERIOD, f"entries/000.p/{width}", REQUEST)
        assert (tile, decode_bundle(content)) == (Tile(ENTRIES, 0, width), entries[:width])


@pytest.mark.parametrize("path", ["0/001.p/1", "0/001", "1/000.p/2", "2/000.p/1", "entries/001.p/1", "x", "", "0/0"])
async def test_a_tile_that_is_not_there(world: World, path: str) -> None:
    await without_tiles(world)
    await refused(world.ledger().tile(TENANT, PERIOD, path, REQUEST), "not_found", NO_TILE)
    await refused(world.ledger().tile(OTHER, PERIOD, "0/000.p/1", REQUEST), "not_found", NO_TILE)
    world.clock.set(OVER)
    await refused(world.ledger().tile(TENANT, PERIOD, path, REQUEST), "period_expired", EXPIRED)


async def test_entries_that_were_not_sealed_are_not_shown(world: World) -> None:
    await world.seal(world.events(258))
    ledger = world.ledger()
    entries = await world.sealed()
    head = await Shards(world.store).head(TENANT, PERIOD)
    assert await ledger.entries(TENANT, head, 1, 2) == entries[256:]
    text = entries[257].text.decode()
    await change(world, entries[257].event_id, entry=text.replace("2026", "2027", 1))
    assert await ledger.entries(TENANT, head, 0, 256) == entries[:256]
    assert await ledger.entries(TENANT, head, 1, 1) == entries[256:257]
    message = "entries of bundle 1 are not those that were sealed"
    with pytest.raises(BrokenShard, match=f"^{message}$") as raised:
        await ledger.entries(TENANT, head, 1, 2)
    assert raised.value.what == "entries"
    await broken(world, ledger.tile(TENANT, PERIOD, "entries/001.p/2", REQUEST), "entries", message)


async def test_a_tile_that_is_gone_is_said(world: World) -> None:
    await without_tiles(world)
    await broken(
        world,
        world.ledger().tile(TENANT, PERIOD, "0/000", REQUEST),
        "tile",
        "tile/0/000 is missing or too short",
    )


ANSWERS: dict[str, Callable[[Ledger], Awaitable[Any]]] = {
    "checkpoint": lambda ledger: ledger.checkpoint(TENANT, PERIOD, REQUEST),
    "newest": lambda ledger: ledger.checkpoint(TENANT, PERIOD, REQUEST, newest=True),
    "witnessed": lambda ledger: ledger.witnessed(TENANT, PERIOD, REQUEST),
    "shards": lambda ledger: ledger.shards(TENANT, 9, None, REQUEST),
    "consistency": lambda ledger: ledger.consistency(TENANT, PERIOD, 1, 2, REQUEST),
    "tile": lambda ledger: ledger.tile(TENANT, PERIOD, "0/000.p/1", REQUEST),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_head_that_nobody_sealed_is_said_whatever_is_asked(world: World, name: str) -> None:
    await world.seal(world.events(3))
    await change(world, head_id(PERIOD), size="3")
    world.clock.set(NOW.replace(month=4))
    await broken(world, ANSWERS[name](world.ledger()), "head", "the head is not as a sealer writes it")
