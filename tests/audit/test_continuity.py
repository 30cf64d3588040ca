"""Starts of instances and outages of writing: told once, when they can be, and in the times in which they were."""

import asyncio
from datetime import timedelta

import pytest

from shared.audit.continuity import PAUSE, Continuity
from shared.audit.events.profile import ProfileView
from shared.audit.model import PLATFORM_TENANT
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.audit.writing import SETTLED, Writing
from shared.core.clock import rfc3339
from shared.core.errors import Unready
from shared.core.settings import Settings
from shared.core.version import VERSION
from shared.storage.containers import AUDIT_EVENTS, IDENTITY
from shared.storage.documents import Item, Query, create
from shared.storage.errors import Conflict, StoreError, Throttled, Unavailable
from shared.wiring import LazyServices
from tests.audit.support import TENANT, TIMER, World, by_ada
from tests.faults import Crash, FaultyStore


class Instance:
    """One instance of the app over a store that fails when told to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = FaultyStore(world.store)
        self.writing = Writing(world.clock)
        self.recorder = Recorder(self.store, world.clock, world.ids, world.box, world.index, self.writing)
        self.outbox = Outbox(self.store, self.recorder, world.clock, world.ids, writing=self.writing)
        self.continuity = Continuity(self.recorder, self.writing, world.clock)

    async def told(self) -> list[Item]:
        await self.continuity.tell(TIMER)
        return await self.world.events(PLATFORM_TENANT)

    async def fail(self, error: StoreError | None = None, times: int = 1) -> None:
        for _ in range(times):
            self.store.arm(1, error=error)
            with pytest.raises(Unready):
                await self.recorder.record(by_ada(ProfileView()))
        self.store.mend()

    async def work(self) -> None:
        await self.recorder.record(by_ada(ProfileView()))


@pytest.fixture
def instance(world: World) -> Instance:
    return Instance(world)


async def test_a_start_is_told_once_with_its_time(instance: Instance) -> None:
    started = instance.world.clock.now()
    instance.world.clock.advance(minutes=7)
    assert instance.continuity.has_news
    await asyncio.gather(*(instance.continuity.tell(TIMER) for _ in range(5)))
    (event,) = await instance.told()
    assert (event["type"], event["attributes"]) == ("system.start", {"version": VERSION})
    assert (event["occurred_at"], event["recorded_at"]) == (rfc3339(started), rfc3339(instance.world.clock.now()))
    assert (event["actor"]["kind"], event["subjects"], event["personal"]) == ("system", [], {})
    assert not instance.continuity.has_news


async def test_a_start_that_the_store_does_not_take_is_told_later(instance: Instance) -> None:
    instance.store.arm(1)
    assert await instance.told() == []
    assert not instance.continuity.has_news, "not at every call"
    instance.world.clock.advance(seconds=PAUSE.total_seconds())
    assert [event["type"] for event in await instance.told()] == ["system.start"]


@pytest.mark.parametrize("error", [Unavailable("down"), Throttled("slow down")])
async def test_an_outage_is_told_once_it_is_over(instance: Instance, error: StoreError) -> None:
    await instance.told()
    clock = instance.world.clock
    since = clock.advance(minutes=1)
    await instance.fail(error, times=3)
    clock.advance(minutes=5)
    assert len(await instance.told()) == 1, "it lasts"
    until = clock.now()
    await instance.work()
    assert len(await instance.told()) == 1, "it may come back"
    clock.advance(seconds=SETTLED.total_seconds())
    _, event = await instance.told()
    assert (event["type"], event["outcome"], event["severity"]) == ("system.error", "error", "medium")
    assert event["attributes"] == {
        "source": "audit_writer",
        "error_code": "store_unreachable",
        "since": rfc3339(since),
        "until": rfc3339(until),
        "count": 3,
    }
    clock.advance(hours=1)
    assert len(await instance.told()) == 2, "once"


async def test_what_comes_and_goes_is_one_outage(instance: Instance) -> None:
    await instance.told()
    clock = instance.world.clock
    since = clock.now()
    for _ in range(3):
        await instance.fail()
        clock.advance(seconds=20)
        await instance.work()
        clock.advance(seconds=20)
    until = clock.now() - timedelta(seconds=20)
    clock.advance(minutes=1)
    _, event = await instance.told()
    shown = event["attributes"]
    assert (shown["since"], shown["until"], shown["count"]) == (rfc3339(since), rfc3339(until), 3)


async def test_a_telling_that_fails_belongs_to_the_outage(instance: Instance) -> None:
    await instance.told()
    clock = instance.world.clock
    since = clock.now()
    await instance.fail()
    await instance.work()
    clock.advance(minutes=2)
    instance.store.arm(1)
    assert len(await instance.told()) == 1
    clock.advance(seconds=30)
    await instance.work()
    until = clock.now()
    clock.advance(minutes=2)
    _, event = await instance.told()
    shown = event["attributes"]
    assert (shown["since"], shown["until"], shown["count"]) == (rfc3339(since), rfc3339(until), 2)


async def test_changes_that_are_not_taken_count(instance: Instance) -> None:
    """An outbox whose batch fails, and a call that was given up."""
    item: Item = {"id": "x", "tenant_id": TENANT}
    instance.store.arm(1)
    with pytest.raises(Unavailable):
        await instance.outbox.commit(IDENTITY, TENANT, [create(item)], [])
    instance.store.arm(1, "hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await instance.recorder.publish(await instance.recorder.finish(by_ada(ProfileView())))
    instance.store.mend()
    await instance.work()
    instance.world.clock.advance(minutes=2)
    outage = instance.writing.outage()
    assert outage is not None
    assert outage.failures == 2


async def test_an_answer_is_no_outage(instance: Instance) -> None:
    """Refusals of the store, and a process that dies."""
    await instance.work()
    event = await instance.recorder.finish(by_ada(ProfileView()))
    await instance.recorder.publish(event)
    await instance.recorder.publish(event)
    item: Item = {"id": "x", "tenant_id": TENANT}
    await instance.outbox.commit(IDENTITY, TENANT, [create(item)], [])
    with pytest.raises(Conflict):
        await instance.outbox.commit(IDENTITY, TENANT, [create(item)], [])
    instance.store.arm(1, error=Crash())
    with pytest.raises(Crash):
        await instance.work()
    instance.world.clock.advance(minutes=5)
    assert instance.writing.outage() is None


async def test_an_outage_ends_with_an_answer_that_is_a_refusal(instance: Instance) -> None:
    event = await instance.recorder.finish(by_ada(ProfileView()))
    await instance.recorder.publish(event)
    await instance.fail()
    await instance.recorder.publish(event)
    instance.world.clock.advance(minutes=2)
    assert instance.writing.outage() is not None


async def test_an_app_tells_of_itself_beside_its_first_call() -> None:
    services = LazyServices(Settings(kraftd_data=":memory:"))
    try:
        ready = await services.get()
        for _ in range(200):
            await asyncio.gather(*(services.get() for _ in range(5)))
            found = (await ready.store.query(AUDIT_EVENTS, (PLATFORM_TENANT,), Query())).items
            if found and ready.continuity._beside is not None and ready.continuity._beside.done():
                break
        (event,) = found
        assert (event["type"], event["source"]) == ("system.start", {"kind": "function", "id": "start"})
    finally:
        await services.close()


async def test_an_app_that_is_closed_at_once_is_closed() -> None:
    services = LazyServices(Settings(kraftd_data=":memory:"))
    ready = await services.get()
    await services.close()
    assert ready.continuity._beside is not None
    assert ready.continuity._beside.done()
