"""The published keys of the ledger: each once, before it signs, and a list that somebody wrote to is not believed."""

import asyncio
import base64
from datetime import timedelta
from typing import Any

import pytest

from shared.core.clock import rfc3339
from shared.ledger.keys import LedgerKeys, PublishedKey
from shared.ledger.shards import BrokenShard
from shared.privacy.secrets import SecretVersion
from shared.storage.containers import DIRECTORY
from shared.storage.documents import Item
from shared.storage.errors import Conflict, PreconditionFailed, Unavailable
from tests.faults import Call, FaultyStore
from tests.ledger.world import ORIGIN, PERIOD, TENANT, World

PLACE = ("ledger_keys",)
NAME = f"{ORIGIN}/{TENANT}/{PERIOD}"


class Rotating:
    """The secrets of a deployment whose `ledger` secret is rotated: newest first."""

    def __init__(self) -> None:
        self.held: tuple[SecretVersion, ...] = (SecretVersion("v1", b"1" * 32),)

    async def versions(self, name: str) -> tuple[SecretVersion, ...]:
        assert name == "ledger"
        return self.held


def keys_of(world: World, store: Any = None) -> LedgerKeys:
    return LedgerKeys(world.secrets, store or world.store, world.clock, ORIGIN)


async def stored(world: World) -> Item:
    held = await world.store.read(DIRECTORY, PLACE, "ledger_keys")
    return {name: value for name, value in held.items() if not name.startswith("_")}


async def test_names_are_of_deployment_tenant_and_month(world: World) -> None:
    assert keys_of(world).log("t-1") == f"{ORIGIN}/t-1"
    assert keys_of(world).shard("t-1", "2026-03") == f"{ORIGIN}/t-1/2026-03"


async def test_a_key_is_published_before_it_signs_and_once(world: World) -> None:
    world.secrets = Rotating()  # type: ignore[assignment]
    assert await keys_of(world).published() == []
    assert await keys_of(world).verifiers(NAME) == []
    keys = keys_of(world)
    signer = await keys.signer(NAME)
    public = signer.verifier.public_key
    began = world.clock.now()
    only = {"version": "v1", "public_key": base64.b64encode(public).decode(), "since": rfc3339(began)}
    assert await stored(world) == {"id": "ledger_keys", "keys": [only]}
    world.clock.advance(hours=1)
    await keys_of(world).signer("example.com/another")
    assert await stored(world) == {"id": "ledger_keys", "keys": [only]}
    assert await keys.published() == [PublishedKey("v1", public, began, None)]
    (verifier,) = await keys.verifiers("example.com/another")
    assert (verifier.name, verifier.public_key) == ("example.com/another", public)


async def test_what_is_published_is_remembered(world: World) -> None:
    store = FaultyStore(world.store)
    keys = keys_of(world, store)
    for _ in range(3):
        await keys.signer(NAME)
    assert [call.operation for call in store.calls] == ["read", "create"]


async def test_a_version_of_another_name_with_the_same_key_is_the_same_key(world: World) -> None:
    """A secret that was put back under another name signs as before."""
    world.secrets = secrets = Rotating()  # type: ignore[assignment]
    await keys_of(world).signer(NAME)
    secrets.held = (SecretVersion("v7", b"1" * 32),)
    await keys_of(world).signer(NAME)
    assert [each.version for each in await keys_of(world).published()] == ["v1"]


async def test_each_key_ends_where_the_next_one_began(world: World) -> None:
    world.secrets = secrets = Rotating()  # type: ignore[assignment]
    times = []
    for number in (1, 2, 3):
        secrets.held = (SecretVersion(f"v{number}", bytes([48 + number]) * 32),)
        await keys_of(world).signer(NAME)
        times.append(world.clock.now())
        world.clock.advance(days=30)
    found = await keys_of(world).published()
    assert [(each.version, each.since, each.until) for each in found] == [
        ("v3", times[2], None),
        ("v2", times[1], times[2]),
        ("v1", times[0], times[1]),
    ]
    assert [each.public_key for each in await keys_of(world).verifiers(NAME)] == [each.public_key for each in found]


async def test_a_new_key_settles_before_it_signs(world: World) -> None:
    world.secrets = secrets = Rotating()  # type: ignore[assignment]
    old = (await keys_of(world).signer(NAME)).verifier
    secrets.held = (SecretVersion("v2", b"2" * 32, changed_at=world.clock.now()), *secrets.held)
    assert (await keys_of(world).signer(NAME)).verifier == old
    assert len(await keys_of(world).published()) == 1
    world.clock.advance(days=1)
    assert (await keys_of(world).signer(NAME)).verifier != old
    assert len(await keys_of(world).published()) == 2


async def test_instances_that_publish_at_the_same_time_agree(world: World) -> None:
    world.secrets = secrets = Rotating()  # type: ignore[assignment]
    for number in (1, 2):
        secrets.held = (SecretVersion(f"v{number}", bytes([number]) * 32),)
        await asyncio.gather(*(keys_of(world).signer(NAME) for _ in range(5)))
    assert [each.version for each in await keys_of(world).published()] == ["v2", "v1"]


def is_write(call: Call) -> bool:
    return call.operation in ("create", "replace")


@pytest.mark.parametrize("error", [Conflict(), PreconditionFailed()])
@pytest.mark.parametrize(("lost", "is_made"), [(9, True), (10, False)])
async def test_ten_lost_races_are_enough(world: World, error: Exception, lost: int, is_made: bool) -> None:
    store = FaultyStore(world.store, 1, error=error, times=lost, counts=is_write)
    if is_made:
        await keys_of(world, store).signer(NAME)
        assert len(await keys_of(world).published()) == 1
    else:
        with pytest.raises(Unavailable, match=r"^the list of ledger keys is contended$"):
            await keys_of(world, store).signer(NAME)
        assert await keys_of(world).published() == []
    assert store.counted == 10


GOOD = {"version": "v1", "public_key": base64.b64encode(b"k" * 32).decode(), "since": "2026-03-15T12:00:00Z"}
FORGED: dict[str, Any] = {
    "no list": None,
    "a list of none": [None],
    "no version": [{name: GOOD[name] for name in ("public_key", "since")}],
    "no key": [{name: GOOD[name] for name in ("version", "since")}],
    "no time": [{name: GOOD[name] for name in ("version", "public_key")}],
    "a version that is a number": [GOOD | {"version": 1}],
    "a key too short": [GOOD | {"public_key": base64.b64encode(b"k" * 31).decode()}],
    "a key too long": [GOOD | {"public_key": base64.b64encode(b"k" * 33).decode()}],
    "a key that is no base64": [GOOD | {"public_key": "%"}],
    "a time that is none": [GOOD | {"since": "soon"}],
    "a second one that is bad": [GOOD, GOOD | {"version": None}],
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_list_that_somebody_wrote_to_signs_and_verifies_nothing(world: World, name: str) -> None:
    await world.store.create(DIRECTORY, PLACE, {"id": "ledger_keys", "keys": FORGED[name]})
    before = await stored(world)
    for call in (keys_of(world).published, lambda: keys_of(world).signer(NAME), lambda: keys_of(world).verifiers(NAME)):
        with pytest.raises(BrokenShard, match=r"^the list of published keys is not as we write it$") as error:
            await call()
        assert error.value.what == "checkpoint"
    assert await stored(world) == before


async def test_a_list_that_is_none_is_not_written_over(world: World) -> None:
    await world.store.create(DIRECTORY, PLACE, {"id": "ledger_keys"})
    with pytest.raises(BrokenShard):
        await keys_of(world).signer(NAME)


async def test_what_else_stands_with_the_keys_stays(world: World) -> None:
    at = world.clock.now() - timedelta(days=1)
    item = {"id": "ledger_keys", "keys": [GOOD | {"since": rfc3339(at)}], "later": "field"}
    await world.store.create(DIRECTORY, PLACE, item)
    await keys_of(world).signer(NAME)
    assert (await stored(world))["later"] == "field"
    assert [each.since for each in await keys_of(world).published()] == [world.clock.now(), at]
