"""The alert set depends on the set of events alone: any order, repetition, split and concurrency ends in the same, and
the rules, written down once more in SQL (`oracle.py`), demand just that."""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.detection import Pattern, all_patterns
from shared.detection.backtest import Backtest
from shared.detection.history import Limits
from shared.detection.model import Span
from shared.storage.documents import Item
from tests.detection.histories import NOW, TENANTS, histories
from tests.detection.oracle import Attack, attacks
from tests.detection.support import START, Bystander, World, compared, failures, new_world, times_of

DUPLICATES = 0.44
EXAMPLES = int(os.environ.get("KRAFTD_DETECTION_EXAMPLES", "12"))
"""Per pattern; some hundreds find what a dozen does not."""
LIMITS = (Limits(), Limits(hot_from=3), Limits(at_once=6))
"""As they are; so that nearly every key is hot; and so that one query is as a rule too few."""
ALWAYS = Span(START - timedelta(days=100), START + timedelta(days=200))
EVERYBODY = (*TENANTS, "platform")

_SETTINGS = settings(max_examples=EXAMPLES, derandomize=EXAMPLES < 50, suppress_health_check=list(HealthCheck))


async def in_order(events: Sequence[Item], pattern: Pattern[Any], limits: Limits) -> set[Any]:
    """The alerts after one ordered pass by one consumer."""
    async with new_world(NOW(pattern.id), limits) as world:
        ordered = sorted(events, key=lambda event: (event["recorded_at"], event["id"]))
        for n in range(0, len(ordered), 25):
            await world.deliver(ordered[n : n + 25], pattern)
        return await everything(world)


async def in_disorder(world: World, events: Sequence[Item], pattern: Pattern[Any], random: Random) -> None:
    """Shuffled and repeated deliveries to two consumers at once, whose every store call may be overtaken."""

    async def overtaken(_call: str) -> None:
        for _ in range(random.randrange(3)):
            await asyncio.sleep(0)

    async def consume(deliveries: list[Item]) -> None:
        consumer = world.consumer((pattern,), Bystander(world.store, overtaken))
        while deliveries:
            batch = [deliveries.pop() for _ in range(min(len(deliveries), random.choice([1, 7, 40])))]
            await world.keep(batch)
            await consumer.consume(batch)

    deliveries = [*events, *random.choices(events, k=round(len(events) * DUPLICATES) + 1)]
    random.shuffle(deliveries)
    cut = random.randrange(len(deliveries))
    await asyncio.gather(consume(deliveries[:cut]), consume(deliveries[cut:]))


async def everything(world: World) -> set[Any]:
    """The compared set of all tenants."""
    found: set[Any] = set()
    for tenant_id in EVERYBODY:
        found |= {(tenant_id, *each) for each in compared(await world.current(tenant_id))}
    return found


async def told(world: World) -> set[Attack]:
    """The alerts of all tenants as the oracle tells them."""
    return {
        Attack(tenant_id, alert["crossed"]["id"], alert["severity"], *times_of(alert), tuple(alert["event_ids"]))
        for tenant_id in EVERYBODY
        for alert in await world.current(tenant_id)
    }


async def check_sound(world: World) -> None:
    """Superseded alerts lead to one that counts or to none, and each alert was raised by exactly one event."""
    for tenant_id in EVERYBODY:
        stored, current = await world.all_alerts(tenant_id), await world.current(tenant_id)
        heirs = {alert["id"] for alert in current} | {"withdrawn"}
        assert all(alert["superseded_by"] in heirs for alert in stored if alert["id"] not in heirs)
        raised = Counter(event["target"]["id"] for event in await world.events("alert.raise", tenant_id))
        assert raised == Counter(alert["id"] for alert in stored)
        assert not await world.dead(tenant_id)


def backtest(world: World, pattern: Pattern[Any]) -> Backtest:
    return Backtest(world.store, world.rules, {pattern.id: pattern})


@pytest.mark.parametrize("name", all_patterns())
@_SETTINGS
@given(data=st.data(), seed=st.integers(0, 2**32), limits=st.sampled_from(LIMITS))
async def test_the_alerts_follow_from_the_events_alone(
    name: str, data: st.DataObject, seed: int, limits: Limits
) -> None:
    pattern, events = all_patterns()[name], data.draw(histories(name))
    async with new_world(NOW(name), limits) as world:
        await in_disorder(world, events, pattern, Random(seed))  # noqa: S311 - repeatable on purpose
        assert await told(world) == attacks(events, name)
        assert await everything(world) == await in_order(events, pattern, LIMITS[0])
        await check_sound(world)
        for tenant_id in EVERYBODY:
            result = await backtest(world, pattern).run(tenant_id, ALWAYS, {}, EVERYBODY)
            assert result.is_reproduced


@pytest.mark.parametrize("spread_minutes", [14, 15])
@pytest.mark.parametrize("phase_seconds", range(0, 900, 180))
async def test_low_and_slow_is_always_caught(spread_minutes: int, phase_seconds: int) -> None:
    """Wherever five failures lie to the quarter of an hour, and whichever comes last."""
    gap = spread_minutes * 60 / 4
    events = failures(*(phase_seconds + n * gap for n in range(5)))
    for last in range(5):
        events = [*events[1:], events[0]]
        async with new_world() as fresh:
            for event in events:
                await fresh.deliver([event])
            (alert,) = await fresh.current()
            assert alert["count"] == 5, last
