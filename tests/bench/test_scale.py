"""The scale proof's loader: through the port, sealed as the feed does; and what it refuses."""

from pathlib import Path

import pytest

from bench._scale_costs import Figure, delivered, request
from bench._scale_world import ORDINARY, PER_ROUND, World, checked_whole, opened, play, written
from bench.scale import growth, sizes_of
from shared.audit.search import EventFilter
from shared.storage.containers import AUDIT_EVENTS

TENANTS, ROUNDS = 2, 2


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = await opened(tmp_path, TENANTS, 0)
    for number in range(ROUNDS):
        assert await play(made, number) == PER_ROUND * TENANTS
    return made


async def test_every_event_is_sealed_once_and_can_be_proved_and_found(world: World) -> None:
    services = world.services
    await checked_whole(world, PER_ROUND * TENANTS * ROUNDS)
    for company, each in zip(world.companies, (PER_ROUND * TENANTS - ORDINARY, ORDINARY), strict=True):
        heads, _ = await services.shards.each_head(company.tenant_id)
        assert [head.size for head in heads] == [each * ROUNDS]
        page = await services.search.page(company.tenant_id, EventFilter(), limit=1000)
        assert len(page.items) == each * ROUNDS
        for event in (page.items[0], page.items[-1]):
            proven = await services.ledger.prove(company.tenant_id, event["id"], request(world))
            assert proven is not None
            assert proven.entry.event_id == event["id"]
    await services.close()


async def test_an_event_that_is_not_sealed_is_noticed(world: World) -> None:
    since = await world.store.last_position(AUDIT_EVENTS)
    await written(world, world.measured, world.clock.now(), 1, 0)
    with pytest.raises(SystemExit, match="400 of 401 events are sealed"):
        await checked_whole(world, PER_ROUND * TENANTS * ROUNDS + 1)
    await delivered(world, since)
    await checked_whole(world, PER_ROUND * TENANTS * ROUNDS + 1)
    await world.services.close()


async def test_a_world_is_gone_on_with_where_it_was_left(world: World, tmp_path: Path) -> None:
    await world.services.close()
    again = await opened(tmp_path, TENANTS, ROUNDS)
    assert [each.tenant_id for each in again.companies] == [each.tenant_id for each in world.companies]
    await play(again, ROUNDS)
    await checked_whole(again, PER_ROUND * TENANTS * (ROUNDS + 1))
    await again.services.close()


def test_sizes_are_whole_rounds_and_the_smallest_is_eight_days() -> None:
    assert sizes_of(5_000_000, 50) == [10, 20, 50, 100, 200, 500, 1000]
    for events, tenants in ((4_000_000, 50), (5_000_000, 1)):
        with pytest.raises(SystemExit, match="too few"):
            sizes_of(events, tenants)


def test_growth_is_from_the_smallest_size_of_each_to_the_largest() -> None:
    found: list[Figure] = [
        ("cpu_to_reference", 2.0, "ms", {"operation": "proof", "events": 10}),
        ("cpu_to_reference", 9.0, "ms", {"operation": "proof", "events": 100}),
        ("cpu_to_reference", 3.0, "ms", {"operation": "proof", "events": 1000}),
        ("cpu_to_reference", 4.0, "ms", {"operation": "report", "events": 100}),
        ("cpu_to_reference", 5.0, "ms", {"operation": "report", "events": 1000}),
        ("elapsed_p50", 5.0, "ms", {"operation": "report", "events": 1000}),
        ("calls", 0.0, "1", {"operation": "report", "events": 100}),
    ]
    assert list(growth(found)) == [
        ("growth_cpu_to_reference", 1.5, "ratio", {"operation": "proof", "from": 10, "to": 1000}),
        ("growth_cpu_to_reference", 1.25, "ratio", {"operation": "report", "from": 100, "to": 1000}),
    ]
