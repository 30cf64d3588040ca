"""Tenants that never came to be: withdrawn when nothing of them is left, and never under a registration's feet."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from devhost.host import Host
from shared.audit.events.profile import ProfileView
from shared.audit.model import Draft, RequestContext
from shared.identity.directory import Entry, TakenOver
from shared.storage.containers import DIRECTORY, IDENTITY
from shared.storage.errors import Conflict, NotFound, Unavailable
from shared.storage.sqlite import SqliteStore
from tests.app import App, assert_problem, registration, running
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore, Mode

EMAIL = "ada@example.com"


@pytest.fixture
async def store(clock: ManualClock) -> FaultyFeedStore:
    return FaultyFeedStore(await SqliteStore.open(None, clock=clock))


@pytest.fixture
async def app(host: Host, clock: ManualClock, store: FaultyFeedStore) -> AsyncIterator[App]:
    async with running(host, clock, store) as started:
        yield started


async def enrolled(app: App) -> set[str]:
    return {tenant.id async for tenant in app.services.directory.tenants()}


async def ghost(app: App) -> str:
    """A tenant whose registration died right after its enrollment, a day ago; its id."""
    tenant_id = app.services.ids.new()
    await app.services.directory.enroll_tenant(tenant_id)
    app.clock.advance(days=1)
    return tenant_id


async def test_a_tenant_that_never_came_to_be_is_withdrawn(app: App) -> None:
    ada = await app.register()
    tenant_id = await ghost(app)
    assert await enrolled(app) == {ada.tenant_id, tenant_id}
    assert await app.host.run_timer("tidy_tenants")
    assert await enrolled(app) == {ada.tenant_id}
    assert (await app.login(ada.email)).status_code == 200


async def test_a_young_one_may_be_under_way(app: App) -> None:
    tenant_id = await ghost(app)
    app.clock.advance(seconds=-1)
    assert await app.host.run_timer("tidy_tenants")
    assert await enrolled(app) == {tenant_id}


async def test_what_left_an_event_or_an_item_stays(app: App) -> None:
    """Sweep, ledger and reports find a tenant's leftovers through the registry."""
    with_event, with_item = await ghost(app), await ghost(app)
    request = RequestContext(app.services.ids.new(), "x", "x", app.clock.now())
    await app.services.recorder.record(Draft(with_event, ProfileView(), request))
    await app.store.create(IDENTITY, (with_item,), {"id": "outbox|1", "tenant_id": with_item, "kind": "outbox"})
    assert await app.host.run_timer("tidy_tenants")
    assert await enrolled(app) == {with_event, with_item}


async def test_an_account_that_was_taken_back_leaves_its_tenant_to_its_events(app: App) -> None:
    key = await app.services.directory.key(EMAIL)
    ada = await app.register(EMAIL)
    held = await app.store.read(DIRECTORY, (key,), key)
    await app.store.replace(DIRECTORY, (key,), {**held, "user_id": "another", "state": "reserved"})
    with pytest.raises(TakenOver):
        await app.services.directory.confirm(key, Entry(ada.tenant_id, ada.id))
    app.clock.advance(days=40)
    assert await app.host.run_timer("tidy_tenants")
    assert await enrolled(app) == {ada.tenant_id}


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_fault_at_any_call_is_made_up_by_the_next_run(app: App, store: FaultyFeedStore, mode: Mode) -> None:
    for k in range(1, 12):
        tenant_id = await ghost(app)
        store.arm(k, mode)
        done = None
        try:
            done = await app.services.directory.tidy(tenant_id)
        except Unavailable:
            assert store.failed == 1
        reached = store.failed == 1
        store.mend()
        if done is not True:
            await app.services.directory.tidy(tenant_id)
        assert tenant_id not in await enrolled(app)
        if not reached:
            return
    pytest.fail("a tenant without end")


async def test_a_registration_that_was_under_way_for_a_day_fails_as_a_whole(app: App, store: FaultyFeedStore) -> None:
    """Frozen between its enrollment and its commit, while the timer runs: no account outside the registry."""
    inner = store.inner
    batch = inner.batch
    thawed: list[str] = []

    async def frozen(container: object, partition: tuple[str, ...], operations: object) -> object:
        if not thawed:
            thawed.append(partition[0])
            app.clock.advance(days=2)
            assert await app.host.run_timer("tidy_tenants")
        return await batch(container, partition, operations)  # type: ignore[arg-type] # passed on as it came

    inner.batch = frozen  # type: ignore[method-assign,assignment] # that is the freezing
    assert_problem(await app.client.post("/v1/register", json=registration(EMAIL)), 503, "store_unavailable")
    assert await enrolled(app) == set()
    assert await app.events(thawed[0]) == []
    assert (await app.client.post("/v1/register", json=registration(EMAIL))).status_code == 201
    assert (await app.login(EMAIL)).status_code == 200


async def test_a_commit_that_arrives_after_it_was_given_up_takes_no_effect(app: App, store: FaultyFeedStore) -> None:
    """The answer was 503 and the e-mail is free: whatever was still on its way must not make an account of it."""
    inner = store.inner
    batch = inner.batch
    late: list[object] = []

    async def lost(container: object, partition: object, operations: object) -> object:
        if not late:
            late.append(lambda: batch(container, partition, operations))  # type: ignore[arg-type] # passed on
            raise Unavailable("on its way")
        return await batch(container, partition, operations)  # type: ignore[arg-type] # passed on as it came

    inner.batch = lost  # type: ignore[method-assign,assignment] # that is the loss
    assert_problem(await app.client.post("/v1/register", json=registration(EMAIL)), 503, "store_unavailable")
    assert await app.services.directory.find(EMAIL) is None
    with pytest.raises(Conflict):
        await late[0]()  # type: ignore[operator] # the batch that was on its way
    ada = await app.register(EMAIL)
    assert await enrolled(app) == {ada.tenant_id}


async def test_a_commit_whose_answer_was_lost_keeps_its_tenant(app: App, store: FaultyFeedStore) -> None:
    store._counts = lambda call: (call.operation, call.container) == ("batch", "identity")
    store.arm(1, "after")
    assert_problem(await app.client.post("/v1/register", json=registration(EMAIL)), 503, "store_unavailable")
    app.clock.advance(days=2)
    assert await app.host.run_timer("tidy_tenants")
    assert len(await enrolled(app)) == 1
    assert (await app.login(EMAIL)).status_code == 200


async def test_voiding_is_idempotent_and_spares_who_is_there(app: App) -> None:
    directory = app.services.directory
    ada, tenant_id = await app.register(), app.services.ids.new()
    assert [await directory.void_tenant(tenant_id) for _ in range(2)] == [True, True]
    assert set(await asyncio.gather(*(directory.void_tenant(ada.tenant_id) for _ in range(3)))) == {False}
    app.clock.advance(days=8)
    with pytest.raises(NotFound):
        await app.store.read(IDENTITY, (tenant_id,), "tenant")
    assert await directory.tidy(tenant_id) is False


async def test_two_instances_at_once_do_no_harm(app: App) -> None:
    tenants = [await ghost(app) for _ in range(5)]
    runs = [app.services.directory.tidy(each) for each in tenants for _ in range(2)]
    await asyncio.gather(*runs)
    assert await enrolled(app) == set()
