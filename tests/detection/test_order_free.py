"""The alert set depends on the set of events alone: any order, repetition, split and concurrency ends in the same."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.detection import Pattern
from shared.storage.documents import Item
from tests.detection.oracle import Attack, attacks
from tests.detection.support import (
    BRUTE_FORCE,
    COARSE,
    START,
    Bystander,
    World,
    compared,
    failures,
    new_world,
    seconds,
    stored_event,
    times_of,
)

DUPLICATES = 0.44
DAY = 86_400
GAPS = {
    "brute_force": st.sampled_from([0.0, 1.0, 40.0, 210.0, 224.9, 225.0, 225.000001, 300.0]),
    "coarse": st.sampled_from([0.0, 60.0, 700.0, 1799.0, 1800.0, 1800.000001, 2400.0]),
}
PATTERNS: dict[str, Pattern[Any]] = {"brute_force": BRUTE_FORCE, "coarse": COARSE}
LATENESS = st.sampled_from([0, 0, 0, 1, 3600, DAY, 7 * DAY, -300, 7 * DAY + 1, -301, 30 * DAY, -30 * DAY])
"""Seconds from occurred_at to recorded_at; those beyond seven days, or five minutes ahead, are implausible."""

_SETTINGS = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def histories(draw: st.DrawFn, name: str) -> list[Item]:
    """Some attacks on one account over nine days, noise between them, late and implausible events among them."""
    offsets: list[float] = []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.sampled_from([0.0, 3600.0, 40_000.0, 43_100.0, 43_200.0, 8.0 * DAY])) + draw(st.integers(0, 5))
        length = draw(st.sampled_from([4, 5, 6, 9, 20, 25] if name == "brute_force" else [3, 7, 30, 50, 100]))
        gap = draw(GAPS[name])
        offsets += [start + n * gap for n in range(length)]
    offsets += draw(st.lists(st.integers(0, 9 * DAY), max_size=5))
    lateness = draw(st.lists(LATENESS, min_size=1, max_size=7))
    names = draw(st.randoms(use_true_random=False))
    ids = [f"e{n:04}" for n in range(len(offsets))]
    names.shuffle(ids)
    return [
        stored_event(ids[n], START + seconds(at), START + seconds(at + lateness[n % len(lateness)]))
        for n, at in enumerate(offsets)
    ]


def moment_of(event: Item) -> tuple[datetime, str]:
    """Event time as the rules give it, written down once more."""
    occurred, recorded = (
        datetime.fromisoformat(event[name]).astimezone(UTC) for name in ("occurred_at", "recorded_at")
    )
    behind = (recorded - occurred).total_seconds()
    return (occurred if -300 <= behind <= 604_800 else recorded), event["id"]


async def in_order(events: Sequence[Item], pattern: Pattern[Any]) -> list[Item]:
    """The alerts after one ordered pass by one consumer."""
    async with new_world() as world:
        ordered = sorted(events, key=moment_of)
        for n in range(0, len(ordered), 25):
            await world.deliver(ordered[n : n + 25], pattern)
        return await world.current()


async def in_disorder(world: World, events: Sequence[Item], pattern: Pattern[Any], random: Random) -> None:
    """Shuffled and repeated deliveries to two consumers at once, whose every store call may be overtaken."""

    async def overtaken(_call: str) -> None:
        for _ in range(random.randrange(3)):
            await asyncio.sleep(0)

    async def consume(deliveries: list[Item]) -> None:
        consumer = world.consumer((pattern,), Bystander(world.store, overtaken))
        while deliveries:
            batch = [deliveries.pop() for _ in range(min(len(deliveries), random.choice([1, 2, 7, 40])))]
            await world.keep(batch)
            await consumer.consume(batch)

    deliveries = [*events, *random.choices(events, k=round(len(events) * DUPLICATES) + 1)]
    random.shuffle(deliveries)
    cut = random.randrange(len(deliveries))
    await asyncio.gather(consume(deliveries[:cut]), consume(deliveries[cut:]))


def demanded(events: Sequence[Item], pattern: Pattern[Any]) -> set[Attack]:
    parameters = pattern.parameters.model_validate({}).model_dump()
    return attacks(
        {moment_of(event) for event in events},
        threshold=parameters["threshold"],
        window=timedelta(seconds=parameters["window_seconds"]),
        critical_from=parameters["critical_from"],
    )


def told(alert: Item) -> Attack:
    first, last = times_of(alert)
    return Attack(alert["crossed"]["id"], alert["severity"], first, last, tuple(alert["event_ids"]))


async def check_sound(world: World) -> None:
    """Superseded alerts lead to one that counts, and each alert was raised by exactly one event."""
    everything, current = await world.all_alerts(), {alert["id"] for alert in await world.current()}
    assert all(alert["superseded_by"] in current for alert in everything if alert["id"] not in current)
    raised = Counter(event["target"]["id"] for event in await world.events("alert.raise"))
    assert raised == Counter(alert["id"] for alert in everything)
    assert not await world.dead()


@pytest.mark.parametrize("name", ["brute_force", "coarse"])
@_SETTINGS
@given(data=st.data(), seed=st.integers(0, 2**32))
async def test_the_alerts_follow_from_the_events_alone(name: str, data: st.DataObject, seed: int) -> None:
    pattern, events = PATTERNS[name], data.draw(histories(name))
    expected = demanded(events, pattern)
    ordered = await in_order(events, pattern)
    assert {told(alert) for alert in ordered} == expected
    async with new_world() as world:
        await in_disorder(world, events, pattern, Random(seed))  # noqa: S311 - repeatable on purpose
        assert compared(await world.current()) == compared(ordered)
        await check_sound(world)


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
