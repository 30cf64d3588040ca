"""Months that are over: told once in the ledger of now, again if they grew, and checked by whoever gets a bundle."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.ledger._text import encode_base64
from shared.ledger.merkle import leaf_hashes, root_of
from shared.ledger.shards import head_id
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import Eq, Item, Query, pages
from shared.storage.errors import Unavailable
from tests.faults import FaultyStore
from tests.ledger.bundles import bundle_of
from tests.ledger.evidence import save
from tests.ledger.world import NOW, ORIGIN, PERIOD, TENANT, World, new_world
from tools import verify_evidence as verifier

LATER = "2026-04"
DUE = datetime(2026, 4, 9, tzinfo=UTC)
"""When March is closed."""


async def told(world: World) -> list[Item]:
    """The statements about closed months, the first first."""
    query = Query((Eq("type", "ledger.checkpoint"),), order_by="recorded_at", limit=1000)
    return (await world.store.query(AUDIT_EVENTS, (TENANT,), query)).items


async def root(world: World, period: str = PERIOD) -> str:
    return encode_base64(root_of(leaf_hashes(entry.text for entry in await world.sealed(TENANT, period))))


async def close(world: World) -> int:
    closed = await world.closing().close_due(TENANT, world.request())
    await world.sealer().consume(await told(world))
    return closed


async def test_a_month_is_closed_once_when_its_grace_is_over(world: World) -> None:
    await world.seal(world.events(5))
    world.clock.set(DUE - timedelta(seconds=1))
    assert await close(world) == 0
    world.clock.advance(seconds=1)
    assert await close(world) == 1
    for _ in range(2):
        world.clock.advance(days=1)
        assert await close(world) == 0
    [event] = await told(world)
    assert event["period"] == LATER
    assert event["attributes"] == {"period": PERIOD, "size": 5, "root": await root(world)}
    assert [entry.event_id for entry in await world.sealed(TENANT, LATER)] == [event["id"]]


async def test_a_month_that_grew_is_told_again(world: World) -> None:
    before = world.events(5)
    await world.seal(before)
    world.clock.set(DUE)
    await close(world)
    late = world.event(datetime(2026, 3, 31, 23, tzinfo=UTC), type="data.read")
    await world.seal([late])
    await world.check([*before, late])
    world.clock.advance(days=1)
    assert await close(world) == 1
    assert [event["attributes"]["size"] for event in await told(world)] == [5, 6]
    assert (await told(world))[-1]["attributes"]["root"] == await root(world)


async def test_a_month_whose_ledger_is_broken_is_reported_and_stops_no_other(world: World) -> None:
    for month in (1, 2, 3):
        world.clock.set(datetime(2026, month, 20, tzinfo=UTC))
        await world.seal(world.events(month))
    head = await world.store.read(LEDGER, (TENANT, "2026-02"), head_id("2026-02"))
    changes: list[dict[str, object]] = [{"note": "no note"}, {"nodes": []}]
    for number, change in enumerate(changes, 1):
        await world.store.replace(LEDGER, (TENANT, "2026-02"), head | change)
        world.clock.set(DUE)
        await close(world)
        assert sorted(event["attributes"]["period"] for event in await told(world)) == ["2026-01", "2026-03"]
        assert await world.found() == ["head"] * number, "each way of being broken once"


async def test_what_is_gone_is_not_closed(world: World) -> None:
    await world.seal(world.events(2))
    world.clock.set(datetime(2033, 4, 1, tzinfo=UTC))
    assert await close(world) == 0


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_failure_at_any_call_is_made_up_for_and_doubles_nothing(mode: str) -> None:
    for fail_at in range(1, 40):
        async with new_world() as world:
            await world.seal(world.events(3))
            world.clock.set(DUE)
            faulty = FaultyStore(world.store, fail_at, mode)  # type: ignore[arg-type]
            try:
                await world.closing(faulty).close_due(TENANT, world.request())
            except Unavailable:
                await close(world)
            assert len(await told(world)) == 1
            if not faulty.failed:
                break
    assert 5 < fail_at < 39


async def bundle(world: World) -> bytes:
    """A bundle of both months as they are stored."""
    parts = world.store, world.keys(), world.checkpoints()
    return await bundle_of(*parts, TENANT, "2026-03-01", "2026-05-01", PERIOD, LATER)


async def test_a_bundle_of_both_months_shows_that_the_later_one_covers_the_earlier(
    world: World, tmp_path: Path
) -> None:
    await world.seal(world.events(300))
    world.clock.set(DUE)
    await world.seal(world.events(3))
    await close(world)
    await world.seal(world.events(2))
    vkey = (await world.keys().verifiers(f"{ORIGIN}/{TENANT}/{PERIOD}"))[0].encode()
    checks = verifier.verify(save(tmp_path, [await bundle(world)]), [vkey])
    assert checks.result == verifier.OK, verifier.table(checks)
    assert "it agrees with the 300 entries of 2026-03" in verifier.table(checks)


async def test_a_month_that_was_written_anew_after_it_was_closed_is_not_the_one_that_was_closed(
    world: World, tmp_path: Path
) -> None:
    events = world.events(30)
    await world.seal(events)
    world.clock.set(DUE)
    await close(world)
    async with new_world(DUE) as forger:
        forger.secrets = world.secrets
        forged = [each | {"_ts": 0} for each in await forger.keep([{**events[0], "outcome": "error"}, *events[1:]])]
        await forger.sealer().consume(forged)
        await forger.seal(await told(world))
        vkey = (await world.keys().verifiers(f"{ORIGIN}/{TENANT}/{PERIOD}"))[0].encode()
        checks = verifier.verify(save(tmp_path, [await bundle(forger)]), [vkey])
    assert checks.result == verifier.WRONG
    [wrong] = [line for line in checks.lines if line.result == verifier.WRONG]
    assert wrong.detail == "history was rewritten since"


async def test_a_month_that_is_less_than_it_was_told_to_be_is_found(world: World) -> None:
    """Its whole ledger was taken away; what was told of it stands in another month's."""
    world.clock.set(NOW)
    events = world.events(3)
    await world.seal(events)
    world.clock.set(DUE)
    assert await close(world) == 1
    assert await world.found() == []
    async for page in pages(world.store, LEDGER, (TENANT, PERIOD), Query(limit=1000)):
        for item in page:
            await world.store.delete(LEDGER, (TENANT, PERIOD), item["id"])
    for _ in range(2):
        assert await close(world) == 0
        assert await world.found() == ["head"]
