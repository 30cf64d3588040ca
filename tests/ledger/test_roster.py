"""A tenant that was taken out of the registry is found by its ledger, checked all the same, and put back."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import rfc3339
from shared.core.ids import time_of
from shared.identity.directory import Directory, shard_of
from shared.identity.model import TENANT_ITEM
from shared.ledger.marks import marks_id
from shared.ledger.roster import MOST_NEW, Roster, roster_id
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, IDENTITY, LEDGER, TENANTS
from shared.storage.documents import DocumentStore, Query, pages
from shared.storage.errors import Conflict, NotFound, Unavailable
from tests.faults import Call, FaultyStore
from tests.ledger.world import OTHER, PERIOD, RETENTION_DAYS, TENANT, World, new_world

SHARD = shard_of(TENANT)


def directory(world: World, store: DocumentStore | None = None) -> Directory:
    return Directory(store or world.store, BlindIndex(MemorySecrets(), "v1"), world.clock)


def roster(world: World, store: DocumentStore | None = None) -> Roster:
    through = store or world.store
    return Roster(through, directory(world, store), world.statements(store), world.clock, RETENTION_DAYS)


async def enroll(world: World, *tenants: str) -> None:
    """Tenants as a registration leaves them, with a sealed event each."""
    for tenant_id in tenants:
        await directory(world).enroll_tenant(tenant_id)
        await world.store.create(IDENTITY, (tenant_id,), {"id": TENANT_ITEM, "tenant_id": tenant_id, "kind": "tenant"})
        await world.seal(world.events(2, tenant_id=tenant_id))


async def strike(world: World, tenant_id: str = TENANT) -> None:
    await world.store.delete(TENANTS, (shard_of(tenant_id),), tenant_id)


async def run(world: World, store: DocumentStore | None = None) -> list[str]:
    """Whom a round would have passed over, a run of the timer later."""
    world.clock.advance(minutes=5)
    seen: list[str] = []

    async def see(tenant_id: str) -> None:
        seen.append(tenant_id)

    await roster(world, store).each_missing(see, world.request())
    return seen


async def listed(world: World, shard: str = SHARD) -> Sequence[str]:
    try:
        found: list[str] = (await world.store.read(DIRECTORY, (roster_id(shard),), roster_id(shard)))["tenants"]
    except NotFound:
        return []
    return found


async def enrolled(world: World) -> dict[str, str]:
    return {tenant.id: rfc3339(tenant.enrolled_at) async for tenant in directory(world).tenants()}


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    """The fields of the lines of an event."""
    lines = [each.partition(" ") for each in caplog.messages]
    return [json.loads(fields) for name, _, fields in lines if name == event]


async def test_a_tenant_that_was_struck_off_is_checked_and_put_back_and_that_is_found(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await enroll(world, TENANT, OTHER)
    assert await run(world) == []
    await strike(world)
    assert await run(world) == [TENANT]
    assert told(caplog, "tenant_not_in_registry") == [{"tenant_id": TENANT, "put_back": True}]
    assert await enrolled(world) == {TENANT: rfc3339(time_of(TENANT)), OTHER: (await enrolled(world))[OTHER]}
    assert await world.found() == ["checkpoint"]
    assert await world.found(OTHER) == []
    assert await run(world) == []
    await strike(world)
    assert await run(world) == [TENANT]
    assert await world.found() == ["checkpoint"] * 2, "each time is another"


async def test_who_is_there_is_not_missing_and_it_costs_a_read_and_a_query_a_shard(world: World) -> None:
    await enroll(world, TENANT, OTHER)
    await run(world)
    counting = FaultyStore(world.store)
    assert await run(world, counting) == []
    assert sorted(call.operation for call in counting.calls) == ["query"] * 16 + ["read"] * 16
    assert await listed(world) == [TENANT]


async def test_who_has_no_ledger_is_not_kept(world: World) -> None:
    """Its registration may fail yet, and it be taken out of the registry."""
    await directory(world).enroll_tenant(TENANT)
    await run(world)
    await strike(world)
    assert await run(world) == []
    assert await enrolled(world) == {}
    assert await listed(world) == []


async def test_a_tenant_that_is_gone_is_checked_but_does_not_come_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no account of it any more; its events and its ledger are kept to the end of their time."""
    await enroll(world, TENANT)
    await run(world)
    await world.store.delete(IDENTITY, (TENANT,), TENANT_ITEM)
    await strike(world)
    for _ in range(3):
        assert await run(world) == [TENANT]
    assert told(caplog, "tenant_not_in_registry") == [{"tenant_id": TENANT, "put_back": False}] * 3
    assert await enrolled(world) == {}
    assert await world.found() == ["checkpoint"]
    world.clock.advance(days=RETENTION_DAYS + 62)
    assert await run(world) == []
    assert await listed(world) == []


async def test_a_registration_that_was_given_up_is_not_put_back(world: World) -> None:
    await enroll(world, TENANT)
    await run(world)
    await world.store.delete(IDENTITY, (TENANT,), TENANT_ITEM)
    assert await directory(world).void_tenant(TENANT)
    await strike(world)
    assert await run(world) == [TENANT]
    assert await enrolled(world) == {}


@pytest.mark.parametrize("kept", ["events", "ledger"])
async def test_who_takes_everything_else_of_a_tenant_away_is_found_by_what_is_left(world: World, kept: str) -> None:
    await enroll(world, TENANT)
    await run(world)
    await strike(world)
    await world.store.delete(IDENTITY, (TENANT,), TENANT_ITEM)
    await world.store.delete(DIRECTORY, (f"ledger_signed|{TENANT}",), f"ledger_signed|{TENANT}")
    container = LEDGER if kept == "events" else AUDIT_EVENTS
    async for page in pages(world.store, container, (TENANT,), Query(limit=1000)):
        for item in page:
            await world.store.delete(container, (TENANT, PERIOD), item["id"])
    assert await run(world) == [TENANT]


NONSENSE: dict[str, dict[str, object]] = {
    "no list": {"tenants": 7},
    "nothing": {},
    "no ids": {"tenants": [7, None, TENANT]},
    "no tenant's id": {"tenants": ["platform", TENANT]},
    "of another shard": {"tenants": [OTHER, TENANT]},
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_a_list_that_somebody_wrote_to_is_found_and_made_anew(world: World, name: str) -> None:
    await enroll(world, TENANT)
    await run(world)
    place = roster_id(SHARD)
    await world.store.replace(DIRECTORY, (place,), {"id": place, **NONSENSE[name]})
    assert await run(world) == []
    assert await world.found(PLATFORM_TENANT) == ["checkpoint"]
    assert await listed(world) == [TENANT]
    await strike(world)
    assert await run(world) == [TENANT]


async def test_an_id_that_never_was_a_tenant_is_dropped(world: World) -> None:
    planted = "0195c000-0000-7000-8000-00000000ffaa"
    await enroll(world, TENANT)
    await run(world)
    item = await world.store.read(DIRECTORY, (roster_id(SHARD),), roster_id(SHARD))
    await world.store.replace(DIRECTORY, (roster_id(SHARD),), item | {"tenants": [*item["tenants"], planted]})
    assert await run(world) == []
    assert await listed(world) == [TENANT]
    assert await enrolled(world) == {TENANT: (await enrolled(world))[TENANT]}


async def test_one_tenants_trouble_holds_up_no_other_and_shows(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await enroll(world, TENANT, OTHER)
    await run(world)
    await strike(world)
    await strike(world, OTHER)
    seen = []

    async def see(tenant_id: str) -> None:
        seen.append(tenant_id)
        raise TypeError(tenant_id)

    with pytest.raises(TypeError, match=TENANT):
        await roster(world).each_missing(see, world.request())
    assert seen == [TENANT, OTHER]
    failed = [(each["tenant_id"], each["error_type"]) for each in told(caplog, "missing_tenant_failed")]
    assert failed == [(TENANT, "TypeError"), (OTHER, "TypeError")]
    assert set(await enrolled(world)) == {TENANT, OTHER}


async def test_many_are_listed_in_several_runs_the_newest_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.ledger.roster.MOST_NEW", 2)
    tenants = [f"0195c000-0000-7000-8000-0000000000{number}a" for number in range(5)]
    await enroll(world, *tenants)
    for number in (2, 4, 5):
        await run(world)
        assert await listed(world) == tenants[-number:]
    assert MOST_NEW > 100


async def test_two_runs_at_once_list_whom_there_is(world: World) -> None:
    await enroll(world, TENANT, OTHER)
    await asyncio.gather(run(world), run(world))
    await run(world)
    assert (await listed(world), await listed(world, shard_of(OTHER))) == ([TENANT], [OTHER])
    await strike(world)
    assert [TENANT] in await asyncio.gather(run(world), run(world))
    assert TENANT in await enrolled(world)


async def test_who_writes_over_what_was_signed_keeps_no_tenant_off_the_list(world: World) -> None:
    await enroll(world, TENANT)
    await world.store.upsert(DIRECTORY, (marks_id(TENANT),), {"id": marks_id(TENANT), "signed": 7})
    await run(world)
    assert await listed(world) == [TENANT]


async def test_a_list_that_another_run_wrote_meanwhile_is_left_to_the_next_and_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def saves(call: Call) -> bool:
        return call.operation == "create" and call.container == DIRECTORY.name

    caplog.set_level("INFO")
    await enroll(world, TENANT)
    assert await run(world, FaultyStore(world.store, 1, error=Conflict("there"), counts=saves)) == []
    assert told(caplog, "ledger_list_raced") == [{"shard": SHARD}]
    await run(world)
    assert await listed(world) == [TENANT]


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_failure_at_any_call_is_made_up_for_by_the_next_run(mode: str) -> None:
    async with new_world() as world:
        await enroll(world, TENANT)
        await run(world)
        for fail_at in range(1, 80):
            await strike(world)
            faulty = FaultyStore(world.store, fail_at, mode)  # type: ignore[arg-type]
            try:
                await run(world, faulty)
            except Unavailable:
                await run(world)
            assert TENANT in await enrolled(world)
            assert "checkpoint" in await world.found()
            if not faulty.failed:
                break
        assert 32 < fail_at < 79
