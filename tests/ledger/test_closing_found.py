"""Closing months looks back: what was told of a month and is not so is said, and whatever lies about stops no other."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.core.clock import period_end
from shared.ledger._text import encode_base64
from shared.ledger.shards import Head, head_id
from shared.storage.containers import LEDGER
from shared.storage.documents import Item
from tests.ledger.answers import REQUEST, change, said, without_tiles
from tests.ledger.test_closing import DUE, LATER, root
from tests.ledger.test_closing import told as events_of
from tests.ledger.test_roster import told as logged
from tests.ledger.world import NOW, OTHER, PERIOD, RETENTION_DAYS, TENANT, World, new_world

FALSE = encode_base64(b"\7" * 32)
FEBRUARY_OVER = datetime.fromtimestamp(period_end("2026-02") + RETENTION_DAYS * 86_400, UTC)


async def close(world: World) -> int:
    return await world.closing().close_due(TENANT, REQUEST)


async def tell(world: World, attributes: Any, kind: str = "ledger.checkpoint") -> None:
    """Put a statement into the trail that no closing made."""
    world.clock.advance(seconds=1)
    await world.keep([world.event(type=kind, attributes=attributes)])


async def findings(world: World, period: str = PERIOD) -> list[Item]:
    """What was found of a month, as the ledger keeps it."""
    found = [item async for item in world._items(TENANT, period) if item["kind"] == "finding"]
    return sorted(found, key=lambda item: item["id"])


async def test_what_is_told_of_a_month(world: World) -> None:
    await world.seal(world.events(5))
    await world.seal(world.events(2, tenant_id=OTHER))
    world.clock.set(DUE)
    assert await close(world) == 1
    (event,) = await events_of(world)
    assert event["attributes"] == {"period": PERIOD, "size": 5, "root": await root(world)}
    assert (event["period"], event["tenant_id"], event["context"]["request_id"]) == (LATER, TENANT, "r-asked")
    assert event["actor"]["kind"] == "system"
    assert event["target"] == {"kind": "ledger", "id": PERIOD}
    assert (event["outcome"], event["reason"]) == ("success", None)
    held = await world.store.read(LEDGER, (TENANT, PERIOD), "closing|5")
    assert held["event"]["id"] == event["id"]


async def test_a_month_is_told_once_by_whoever_closes_it_first(world: World) -> None:
    await world.seal(world.events(1))
    world.clock.set(DUE)
    await world.checkpoints().issue(TENANT, PERIOD)
    assert sorted(await asyncio.gather(close(world), close(world))) == [0, 1]
    assert len(await events_of(world)) == 1


async def test_months_are_closed_from_their_grace_until_their_retention_ends() -> None:
    for moment, closed in (
        (DUE - timedelta(microseconds=1), 0),
        (DUE, 1),
        (FEBRUARY_OVER + timedelta(days=31, microseconds=-1), 1),
        (FEBRUARY_OVER + timedelta(days=31), 0),
    ):
        async with new_world() as world:
            await world.seal(world.events(2))
            world.clock.set(moment)
            assert await close(world) == closed


async def test_several_months_are_closed_and_counted(world: World) -> None:
    for month in (1, 2, 3):
        world.clock.set(NOW.replace(month=month))
        await world.seal(world.events(month))
    world.clock.set(DUE)
    assert await close(world) == 3
    told = [(event["attributes"]["period"], event["attributes"]["size"]) for event in await events_of(world)]
    assert sorted(told) == [("2026-01", 1), ("2026-02", 2), (PERIOD, 3)]
    assert await close(world) == 0
    late = world.event(NOW.replace(month=2))
    await world.seal([late])
    assert await close(world) == 1, "that which grew"


async def test_of_a_month_in_which_nothing_is_nothing_is_told(world: World) -> None:
    await world.store.create(LEDGER, (TENANT, "2026-02"), Head("2026-02").item(TENANT))
    world.clock.set(DUE)
    assert await close(world) == 0
    assert await events_of(world) == []


async def test_what_was_told_of_a_month_and_is_not_so_is_found(world: World) -> None:
    await world.seal(world.events(5))
    await world.seal([world.event(NOW.replace(month=2))])
    before = len(await said(world))
    await tell(world, {"period": "2026-02", "size": 1, "root": await root(world, "2026-02")})
    world.clock.set(DUE)
    assert await close(world) == 1
    assert len(await said(world)) == before, "all of that is so"
    for size in (1, 3, 5):
        await tell(world, {"period": PERIOD, "size": size, "root": FALSE})
    await tell(world, {"period": PERIOD, "size": 3, "root": "another"})
    for _ in range(2):
        await close(world)
        found = (await said(world))[before:]
        assert found == [("checkpoint", PERIOD, "r-asked")] * 4, "once"
    items = [item for item in await findings(world) if item["event"]["attributes"]["what"] == "checkpoint"]
    assert [item["id"].rpartition("|")[0] for item in items] == [
        f"finding|checkpoint|told|{size}" for size in (1, 3, 3, 5)
    ]
    assert [item["event"]["attributes"] for item in items] == [
        {"what": "checkpoint", "period": PERIOD, "index": size, "event_id": None} for size in (1, 3, 3, 5)
    ]


async def test_one_root_that_was_told_and_is_not_so(world: World) -> None:
    await world.seal(world.events(1))
    world.clock.set(DUE)
    await tell(world, {"period": PERIOD, "size": 1, "root": FALSE})
    assert await close(world) == 1
    assert await said(world) == [("checkpoint", PERIOD, "r-asked")]
    (item,) = await findings(world)
    assert item["id"].startswith("finding|checkpoint|told|1|")
    assert item["event"]["attributes"]["index"] == 1


async def test_what_speaks_of_no_month_as_we_do_is_passed_over(world: World) -> None:
    await world.seal(world.events(5))
    world.clock.set(DUE)
    true = await root(world)
    for attributes in (
        None,
        "text",
        ["a", "list"],
        {},
        {"period": PERIOD},
        {"period": PERIOD, "size": "5", "root": FALSE},
        {"period": PERIOD, "size": 5.0, "root": FALSE},
        {"period": PERIOD, "size": True, "root": FALSE},
        {"period": "2026-13", "size": 3, "root": FALSE},
        {"period": 7, "size": 3, "root": FALSE},
        {"period": PERIOD, "size": 0, "root": FALSE},
        {"period": PERIOD, "size": -3, "root": FALSE},
    ):
        await tell(world, attributes)
    await tell(world, {"period": PERIOD, "size": 5, "root": FALSE}, kind="custom.checkpoint")
    assert await close(world) == 1
    assert await said(world) == []
    assert [event["attributes"] for event in await events_of(world)][-1] == {"period": PERIOD, "size": 5, "root": true}


async def test_a_tile_that_is_gone_hides_nothing_else(world: World) -> None:
    await without_tiles(world)
    world.clock.set(DUE)
    await tell(world, {"period": PERIOD, "size": 100, "root": FALSE})
    await tell(world, {"period": PERIOD, "size": 256, "root": FALSE})
    assert await close(world) == 1
    assert sorted(await said(world)) == [("checkpoint", PERIOD, "r-asked"), ("tile", PERIOD, "r-asked")]


async def test_a_month_that_is_less_than_was_told_is_found(world: World) -> None:
    for size in (1, 2):
        await world.seal(world.events(1))
        await tell(world, {"period": PERIOD, "size": size, "root": await root(world)})
    for size in (1, 2, 3, 4):
        await tell(world, {"period": "2026-02", "size": size, "root": FALSE})
    await tell(world, {"period": PERIOD, "size": 3, "root": FALSE})
    for _ in range(2):
        assert await close(world) == 0
        assert sorted(await said(world)) == [("head", "2026-02", "r-asked")] * 4 + [("head", PERIOD, "r-asked")]
    found = await findings(world, "2026-02") + await findings(world)
    assert [item["event"]["attributes"]["index"] for item in found] == [None] * 5
    assert all(item["id"].startswith("finding|head|set_back|") for item in found)


async def test_a_month_that_is_over_or_broken_is_less_than_nothing(world: World) -> None:
    """Of the one nothing is left to look at; of the other that it is broken is said."""
    world.clock.set(NOW.replace(month=2))
    await world.seal(world.events(2))
    world.clock.set(NOW)
    await change(world, head_id("2026-02"), "2026-02", size="x")
    await tell(world, {"period": "2026-02", "size": 2, "root": FALSE})
    assert await close(world) == 0
    assert await said(world) == [("head", "2026-02", "r-asked")]
    (found,) = await findings(world, "2026-02")
    assert found["id"].startswith("finding|head|shard|")
    for moment, count in ((FEBRUARY_OVER, 0), (FEBRUARY_OVER - timedelta(seconds=2), 1)):
        async with new_world(moment) as later:
            await tell(later, {"period": "2026-02", "size": 2, "root": FALSE})
            later.clock.set(moment)
            assert await close(later) == 0
            assert len(await said(later)) == count


async def test_a_checkpoint_that_nobody_signed_closes_no_month(world: World) -> None:
    for month in (2, 3):
        world.clock.set(NOW.replace(month=month))
        await world.seal(world.events(2))
    await change(world, head_id("2026-02"), "2026-02", note="no note")
    world.clock.set(DUE)
    assert await close(world) == 1
    assert await said(world) == [("head", "2026-02", "r-asked")]
    assert [event["attributes"]["period"] for event in await events_of(world)] == [PERIOD]


async def test_what_cannot_be_read_at_all_is_said_and_stops_no_other(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in (2, 3):
        world.clock.set(NOW.replace(month=month))
        await world.seal(world.events(2))
    world.clock.set(DUE)
    closing = world.closing()
    real = closing._checkpoints.issue

    async def fails(tenant_id: str, period: str) -> Any:
        if period == "2026-02":
            raise KeyError("what nobody thought of")
        return await real(tenant_id, period)

    monkeypatch.setattr(closing._checkpoints, "issue", fails)
    assert await closing.close_due(TENANT, REQUEST) == 1
    assert await said(world) == [("entries", "2026-02", "r-asked")]
    (found,) = await findings(world, "2026-02")
    assert found["id"] == "finding|entries|unreadable"
    (line,) = logged(caplog, "ledger_unreadable")
    assert (line["tenant_id"], line["period"], line["error_type"]) == (TENANT, "2026-02", "KeyError")
    assert line["error_at"].startswith("test_what_cannot_be_read")  # type: ignore[attr-defined]
