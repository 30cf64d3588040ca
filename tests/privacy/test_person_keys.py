"""Keys of persons while nobody answers who could unwrap them: what is in memory goes on, bounded, and never for the
erased."""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from shared.privacy.key_wrapping import LocalKeys, Wrapped
from shared.privacy.person_keys import CACHE_FOR, HELD_OVER, HURRY_SECONDS, PAUSE, PersonKeys
from shared.privacy.secrets import MemorySecrets, SecretsError, SecretsUnreached
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock

TENANT, PERSON = "tenant", "person"

type Mood = Literal["well", "unreached", "silent", "refused"]


class Moody(LocalKeys):
    """A key-encryption key that can be made to answer otherwise. `asked`: how often it was asked to unwrap."""

    mood: Mood = "well"
    asked = 0

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        self.asked += 1
        if self.mood == "silent":
            await asyncio.sleep(600)
        if self.mood == "unreached":
            raise SecretsUnreached("key: the vault answered 503")
        if self.mood == "refused":
            raise SecretsError("key: the vault answered 403")
        return await super().unwrap(wrapped)


class World:
    """Instances of the app over one store and one key-encryption key."""

    def __init__(self, store: SqliteStore, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.wrapper = Moody(MemorySecrets(), clock)
        self.keys = self.instance()

    def instance(self, cached: int = 100) -> PersonKeys:
        return PersonKeys(self.store, self.wrapper, self.clock, cached=cached)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    store = await SqliteStore.open(None, clock=clock)
    made = World(store, clock)
    assert await made.keys.for_sealing(TENANT, PERSON) is not None
    yield made
    await store.close()


async def test_a_key_in_memory_outlives_an_outage_of_an_hour(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.wrapper.mood = "unreached"
    for _ in range(11):
        world.wait(CACHE_FOR.total_seconds())
        cipher = await world.keys.for_sealing(TENANT, PERSON)
        assert cipher is not None
        assert await world.keys.for_opening(TENANT, PERSON) is cipher
    assert caplog.messages == ['person_keys_held_over {"why": "key: the vault answered 503"}'] * 11
    world.wait(CACHE_FOR.total_seconds())
    for call in (world.keys.for_opening, world.keys.for_sealing):
        with pytest.raises(SecretsUnreached):
            await call(TENANT, PERSON)
    world.wrapper.mood = "well"
    assert await world.keys.for_opening(TENANT, PERSON) is not None


async def test_the_hour_begins_anew_with_an_answer(world: World) -> None:
    for mood in ("unreached", "well", "unreached"):
        world.wrapper.mood = mood
        world.wait(HELD_OVER.total_seconds() - 1)
        assert await world.keys.for_opening(TENANT, PERSON) is not None


async def test_an_erased_person_is_not_held_over(world: World) -> None:
    """The erasure runs on another instance, in the middle of the outage."""
    world.wrapper.mood = "unreached"
    world.wait(CACHE_FOR.total_seconds())
    assert await world.keys.for_sealing(TENANT, PERSON) is not None
    await world.instance().erase(TENANT, PERSON)
    world.wait(CACHE_FOR.total_seconds())
    assert await world.keys.for_sealing(TENANT, PERSON) is None
    assert await world.keys.for_opening(TENANT, PERSON) is None
    world.wrapper.mood = "well"
    assert await world.keys.for_opening(TENANT, PERSON) is None


async def test_a_refusal_is_an_answer(world: World) -> None:
    """Who disabled the key-encryption key means it."""
    world.wrapper.mood = "refused"
    world.wait(CACHE_FOR.total_seconds())
    with pytest.raises(SecretsError, match="403"):
        await world.keys.for_opening(TENANT, PERSON)


async def test_who_has_nothing_in_memory_is_told(world: World) -> None:
    world.wrapper.mood = "unreached"
    with pytest.raises(SecretsUnreached):
        await world.instance().for_opening(TENANT, PERSON)


async def test_new_persons_are_still_sealed_for(world: World) -> None:
    """Wrapping asks nobody: a registration goes on in an outage."""
    world.wrapper.mood = "unreached"
    assert await world.keys.for_sealing(TENANT, "somebody new") is not None


async def test_a_vault_that_hangs_is_waited_for_once(world: World) -> None:
    people = [f"p{n}" for n in range(50)]
    await world.keys.prepare(TENANT, people, make=True)
    world.wrapper.mood, world.wrapper.asked = "silent", 0
    world.wait(CACHE_FOR.total_seconds())
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await world.keys.for_opening(TENANT, PERSON) is not None
    await world.keys.prepare(TENANT, people)
    for person in people:
        assert await world.keys.for_opening(TENANT, person) is not None
    assert HURRY_SECONDS * 0.9 < loop.time() - started < HURRY_SECONDS * 2
    assert world.wrapper.asked == 1
    world.wait(PAUSE.total_seconds())
    world.wrapper.mood = "well"
    world.wait(CACHE_FOR.total_seconds())
    assert await world.keys.for_opening(TENANT, PERSON) is not None
    assert world.wrapper.asked == 2


async def test_a_clock_that_jumps_neither_ends_nor_lengthens_the_hour(world: World) -> None:
    world.wrapper.mood = "unreached"
    for days in (400, -800):
        world.clock.advance(days=days)
        with pytest.raises(SecretsUnreached):
            await world.keys.for_opening(TENANT, PERSON)
    world.wrapper.mood = "well"
    assert await world.keys.for_opening(TENANT, PERSON) is not None


async def test_memory_lets_go_of_keys_that_nobody_uses(world: World) -> None:
    await world.keys.prepare(TENANT, [f"p{n}" for n in range(50)], make=True)
    assert len(world.keys._cache) == 51
    world.wait(HELD_OVER.total_seconds() - 1)
    assert await world.keys.for_opening(TENANT, PERSON) is not None
    world.wait(1)
    assert await world.keys.for_sealing(TENANT, "somebody new") is not None
    assert set(world.keys._cache) == {(TENANT, PERSON), (TENANT, "somebody new")}


async def test_who_has_no_key_is_given_none_by_having_keys_ready(world: World) -> None:
    await world.keys.prepare(TENANT, [PERSON, "somebody new"])
    assert await world.keys.stored(TENANT, "somebody new") is None
    assert await world.keys.for_opening(TENANT, "somebody new") is None
