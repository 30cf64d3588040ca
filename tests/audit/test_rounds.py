"""Rounds: each tenant gets its turn, however many there are, however often a run is cut off or fails."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audit.model import PLATFORM_TENANT
from shared.audit.rounds import RUN, SAVE_EVERY, Rounds
from shared.core.errors import Unready
from shared.identity.directory import Directory, Tenant
from shared.storage.containers import GUARDS
from shared.storage.documents import DocumentStore
from shared.storage.errors import NotFound, PreconditionFailed, Throttled, TooLarge, Unavailable
from tests.audit.support import NOW, World, new_world
from tests.faults import Crash, FaultyStore

TENANTS = [f"0195c000-0000-7000-8000-0000000000{number:02x}" for number in range(40)]


@dataclass
class Job:
    """Work that takes its time, and fails where it is told to."""

    world: World
    takes: timedelta = timedelta()
    fails: dict[str, BaseException] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    async def __call__(self, tenant_id: str) -> None:
        self.world.clock.set(self.world.clock.now() + self.takes)
        if tenant_id in self.fails:
            raise self.fails[tenant_id]
        self.done.append(tenant_id)


def directory(world: World) -> Directory:
    return Directory(world.store, world.index, world.clock)


def rounds(world: World, store: DocumentStore | None = None) -> Rounds:
    return Rounds(store or world.store, directory(world), world.clock)


async def enroll(world: World, tenants: list[str] = TENANTS) -> None:
    for tenant_id in tenants:
        await directory(world).enroll_tenant(tenant_id)


async def test_every_tenant_has_its_turn_once_and_platform_too(world: World) -> None:
    await enroll(world)
    job = Job(world)
    assert await rounds(world).run("job", job) == len(TENANTS) + 1
    assert Counter(job.done) == Counter([*TENANTS, PLATFORM_TENANT])


async def test_without_tenants_there_is_platform(world: World) -> None:
    job = Job(world)
    assert await rounds(world).run("job", job) == 1
    assert job.done == [PLATFORM_TENANT]


async def test_a_run_that_is_cut_off_goes_on_where_it_was(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await enroll(world)
    job = Job(world, takes=timedelta(seconds=50))
    runs = 0
    while len(set(job.done)) <= len(TENANTS):
        before = len(job.done)
        await rounds(world).run("job", job)
        assert len(job.done) - before == 5
        runs += 1
    assert runs == 9
    assert max(Counter(job.done).values()) - min(Counter(job.done).values()) <= 1
    assert "round_cut" in caplog.text


async def test_a_run_of_one_tenant_at_a_time_gets_around(world: World) -> None:
    await enroll(world, TENANTS[:5])
    job = Job(world, takes=RUN)
    for _ in range(12):
        await rounds(world).run("job", job)
    assert job.done[:6] == job.done[6:]
    assert sorted(job.done[:6]) == [*TENANTS[:5], PLATFORM_TENANT]


async def test_rounds_of_other_names_have_places_of_their_own(world: World) -> None:
    await enroll(world)
    slow, quick = Job(world, takes=timedelta(seconds=50)), Job(world)
    await rounds(world).run("slow", slow)
    await rounds(world).run("quick", quick)
    assert quick.done[0] == PLATFORM_TENANT


async def test_one_tenant_s_trouble_holds_up_no_other_and_shows(world: World) -> None:
    await enroll(world)
    for error in (RuntimeError("a defect"), TooLarge(), PreconditionFailed(), NotFound()):
        job = Job(world, fails={TENANTS[3]: error, TENANTS[4]: KeyError()})
        with pytest.raises((RuntimeError, TooLarge, PreconditionFailed, NotFound, KeyError)):
            await rounds(world).run("job", job)
        assert len(job.done) == len(TENANTS) - 1


@pytest.mark.parametrize(
    "error", [Unavailable(), Throttled(), Unready("audit_unavailable")], ids=lambda e: type(e).__name__
)
async def test_a_store_that_does_not_answer_ends_the_run_and_the_next_begins_behind(
    error: Exception, world: World
) -> None:
    """Should one tenant be what the store cannot bear, the others have their turn all the same."""
    await enroll(world)
    sick = TENANTS[7]
    job = Job(world, fails={sick: error})
    for _ in range(2):
        with pytest.raises(type(error)):
            await rounds(world).run("job", job)
    assert set(job.done) == {*TENANTS, PLATFORM_TENANT} - {sick}
    job.fails.clear()
    await rounds(world).run("job", job)
    assert sick in job.done


async def test_a_place_that_cannot_be_saved_is_not_what_is_raised(world: World) -> None:
    await enroll(world)
    store = FaultyStore(world.store, 1, counts=lambda call: call.operation == "upsert", times=None)
    job = Job(world, fails={TENANTS[7]: Throttled()})
    with pytest.raises(Throttled):
        await rounds(world, store).run("job", job)
    assert store.failed == 1


async def test_a_run_that_dies_has_left_a_place(world: World) -> None:
    await enroll(world)
    job = Job(world, takes=SAVE_EVERY)
    ring = [PLATFORM_TENANT, *[tenant.id async for tenant in directory(world).tenants()]]
    job.fails[ring[6]] = Crash()
    with pytest.raises(Crash):
        await rounds(world).run("job", job)
    assert job.done == ring[:6]
    job.fails.clear()
    await rounds(world).run("job", job)
    assert job.done[6:8] == ring[6:8]


async def test_a_place_that_makes_no_sense_or_is_lost_is_the_beginning(world: World) -> None:
    await enroll(world)
    for held in ({"after": 7}, {"after": None}):
        await world.store.upsert(GUARDS, ("round|job",), {"id": "round|job", **held})
        job = Job(world)
        await rounds(world).run("job", job)
        assert len(job.done) == len(TENANTS) + 1
    slow = Job(world, takes=RUN)
    await rounds(world).run("slow", slow)
    world.clock.advance(days=8)
    await rounds(world).run("slow", slow)
    assert slow.done == [PLATFORM_TENANT, PLATFORM_TENANT]


UNUSABLE: list[Any] = [
    "zzz",
    "",
    "x",
    "é",
    "\0",
    "Platform",
    "platform ",
    f"{TENANTS[0]}|",
    TENANTS[0].upper(),
    f"{TENANTS[0][:-1]}٣",
    "a" * 100_000,
    7,
    [],
    ...,
]


@pytest.mark.parametrize("place", UNUSABLE, ids=lambda place: ascii(place)[:20])
async def test_a_place_that_is_no_tenant_s_id_is_the_beginning(
    place: Any, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody wrote to it. No run fails for it, and one tells, not every run until it expires."""
    await enroll(world)
    key = "round|sweep_outbox"
    held = {} if place is ... else {"after": place}
    await world.store.upsert(GUARDS, (key,), {"id": key, **held, "ttl": 7 * 86_400})
    for _ in range(2):
        job = Job(world)
        assert await rounds(world).run("sweep_outbox", job) == len(TENANTS) + 1
        assert Counter(job.done) == Counter([*TENANTS, PLATFORM_TENANT])
    (line,) = [each for each in caplog.messages if each.startswith("round_place_unusable")]
    assert line == 'round_place_unusable {"round": "sweep_outbox"}'


async def test_an_unusable_place_that_stays_keeps_nobody_from_a_turn(world: World) -> None:
    await enroll(world)
    await world.store.upsert(GUARDS, ("round|job",), {"id": "round|job", "after": "zzz"})
    store = FaultyStore(world.store, 1, counts=lambda call: call.operation == "upsert", times=None)
    for _ in range(2):
        assert await rounds(world, store).run("job", Job(world)) == len(TENANTS) + 1
    assert store.failed == 2


async def test_a_place_whose_tenant_is_gone_is_a_place_all_the_same(world: World) -> None:
    await enroll(world)
    job = Job(world, takes=timedelta(seconds=50))
    await rounds(world).run("job", job)
    await directory(world).withdraw_tenant(job.done[-1])
    while len(set(job.done)) <= len(TENANTS):
        before = len(job.done)
        await rounds(world).run("job", job)
        assert len(job.done) > before


async def test_two_instances_at_once_do_no_harm(world: World) -> None:
    await enroll(world)
    one, two = Job(world), Job(world)
    await asyncio.gather(rounds(world).run("job", one), rounds(world).run("job", two))
    assert Counter(one.done) == Counter(two.done) == Counter([*TENANTS, PLATFORM_TENANT])


@settings(max_examples=40)
@given(st.sets(st.integers(0, 2**32), max_size=12), st.integers(0, 2**32))
async def test_a_walk_may_be_cut_anywhere(numbers: set[int], at: int) -> None:
    """At a tenant that is there, or is not: what lies before and what lies behind are the whole."""

    def named(number: int) -> str:
        return f"0195c000-0000-7000-8000-{number:012x}"

    async with new_world(NOW) as world:
        await enroll(world, [named(number) for number in numbers])
        whole = [tenant.id async for tenant in directory(world).tenants()]
        assert sorted(whole) == sorted(named(number) for number in numbers)
        place = named(at)
        cut = sum((each[-1], each) <= (place[-1], place) for each in whole)
        assert [tenant.id async for tenant in directory(world).tenants(until=place)] == whole[:cut]
        assert [tenant.id async for tenant in directory(world).tenants(after=place)] == whole[cut:]


@pytest.mark.parametrize("broken", ["", "x", "platform", "é"])
async def test_a_walk_behind_what_is_no_tenant_is_a_mistake(broken: str, world: World) -> None:
    for bounds in ({"after": broken}, {"until": broken}):
        with pytest.raises(ValueError, match="no tenant"):
            await anext(aiter(directory(world).tenants(**bounds)))


async def test_the_registry_is_walked_page_by_page(world: World) -> None:
    """Memory stays flat: no more than a page is held, and none is read before it is needed."""
    store = FaultyStore(world.store)
    walk: AsyncIterator[Tenant] = Directory(store, world.index, world.clock).tenants()
    await enroll(world)
    await anext(walk)
    assert [call.operation for call in store.calls] == ["query"]
