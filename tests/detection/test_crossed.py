"""A process that remembers that a key crossed lately leaves the probe out, and does what any other process does."""

from collections import Counter

import pytest

from shared.core.clock import rfc3339
from shared.detection.alerts import SERIES_KIND
from shared.detection.history import Limits
from shared.detection.rules import NO_RULES, Rules
from shared.storage.containers import ALERTS, AUDIT_EVENTS
from shared.storage.documents import Eq, Item, PatchSet, Query
from tests.detection.support import (
    COARSE,
    START,
    TENANT,
    Bystander,
    Same,
    World,
    compared,
    failures,
    new_world,
    seconds,
)

BOTH = pytest.mark.parametrize("remembers", [True, False])


def thresholds(number: int) -> Rules:
    return Rules(thresholds={"brute_force": {"threshold": number}})


async def test_what_comes_soon_after_a_crossing_is_read_once() -> None:
    """The alerts and the view; what comes later is probed before, and of what crosses nothing the probe is all."""
    asked: Counter[str] = Counter()

    async def count(call: str) -> None:
        asked[call] += 1

    async with new_world() as world, new_world() as other:
        consumer = world.consumer((COARSE,), Bystander(world.store, count))
        for start, many, queries in ((0, 3, 3), (900, 3, 2), (8000, 3, 3), (8100, 1, 2), (20_000, 1, 1)):
            await world.keep(events := failures(*(start + n for n in range(many)), prefix=f"from{start}"))
            await other.deliver(events, COARSE)
            asked.clear()
            await consumer.consume(events)
            assert asked["query"] == queries, start
        assert compared(await world.current()) == compared(await other.current())


@pytest.mark.parametrize("remembers", [True, False])
async def test_what_crossed_under_other_rules_leaves_their_alert(*, remembers: bool) -> None:
    """A process that remembers that the key crossed does what any other does."""
    async with new_world() as world:
        world.rules = same = Same(NO_RULES)
        consumer = world.consumer()
        for n, threshold, counts in ((4, 5, [5]), (5, 7, [5]), (6, 7, [7, 5]), (7, 7, [8, 5])):
            same.rules = Rules(thresholds={"brute_force": {"threshold": threshold}})
            await world.keep(tried := failures(*range(n + 1)))
            await (consumer if remembers else world.consumer()).consume(tried[n:] if n > 4 else tried)
            assert [each["count"] for each in await world.current()] == counts


async def attacked(world: World, count: int, late: Item, *, remembers: bool, rules: Rules = NO_RULES) -> list[Item]:
    """The alerts, once `late` came behind so many failures, a second apart; `rules` held when it did."""
    world.rules = same = Same(NO_RULES)
    consumer = world.consumer()
    await world.keep(tried := failures(*range(count)))
    await consumer.consume(tried)
    before = await world.current()
    if rules is NO_RULES:  # then three of them are erased meanwhile
        for each in tried[3:6]:
            erased = [PatchSet("erased_at", rfc3339(START))]
            await world.store.patch(AUDIT_EVENTS, (each["tenant_id"], each["period"]), each["id"], erased)
    else:
        await world.close_alert(before[0], START + seconds(600))
        before = await world.current()
    same.rules = rules
    await world.keep([late])
    await (consumer if remembers else world.consumer()).consume([late])
    assert await world.all_alerts() == before
    return before


@BOTH
async def test_what_crosses_nothing_changes_no_alert_under_other_rules(*, remembers: bool) -> None:
    async with new_world() as world:
        (late,) = failures(903.5, prefix="late")
        (alert,) = await attacked(world, 5, late, remembers=remembers, rules=thresholds(3))
        assert alert["status"] == "dismissed"


@BOTH
async def test_what_crosses_nothing_changes_no_alert_whose_events_were_erased(*, remembers: bool) -> None:
    async with new_world() as world:
        (late,) = failures(918.5, prefix="late")
        (alert,) = await attacked(world, 21, late, remembers=remembers)
        assert alert["count"] == 21


@BOTH
@pytest.mark.parametrize("was_hot", [True, False])
async def test_what_crosses_nothing_makes_no_key_hot(*, remembers: bool, was_hot: bool) -> None:
    """Where another process made it hot meanwhile, or its events have become too many."""
    mass = failures(*(n * 10 for n in range(9)))
    (late,) = failures(8 * 10 + 3600 - 5, prefix="late")
    async with new_world(limits=Limits(hot_from=9)) as world:
        consumer = world.consumer((COARSE,))
        await world.keep(mass)
        await consumer.consume(mass)
        query = Query((Eq("kind", SERIES_KIND),), order_by="id", limit=2)
        (head,) = (await world.store.query(ALERTS, (TENANT,), query)).items
        assert "hot" not in head
        if was_hot:
            await world.store.patch(ALERTS, (head["tenant_id"],), head["id"], [PatchSet("hot", True)])
        await world.keep([late])
        before = await world.position()
        await (consumer if remembers else world.consumer((COARSE,))).consume([late])
        assert {name: at for name, at in (await world.position()).items() if at != before[name]} == {}
