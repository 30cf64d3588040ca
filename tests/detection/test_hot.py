"""Hot keys: what digests tell is what reading everything tells, and a batch asks for the same however long it lasts."""

from collections import Counter
from typing import Any

import pytest

from shared.detection.history import Limits
from shared.detection.recent import Kept, Recent
from shared.detection.rules import Exemption, Rules
from shared.detection.views import DIGEST_KIND
from shared.storage.containers import ALERTS
from shared.storage.documents import Eq, Item, Query
from tests.detection.support import (
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

HOT = Limits(hot_from=10)
LONG = failures(*(n * 7 for n in range(400)))
"""46 minutes of guessing."""


async def fed(world: World, events: list[Item], size: int = 50) -> set[Any]:
    for n in range(0, len(events), size):
        await world.deliver(events[n : n + size])
    return compared(await world.current())


async def digests(world: World) -> list[Item]:
    return (await world.store.query(ALERTS, (TENANT,), Query((Eq("kind", DIGEST_KIND),), limit=100))).items


async def test_a_hot_key_tells_what_a_cold_one_tells() -> None:
    async with new_world() as cold, new_world(limits=HOT) as hot:
        assert await fed(hot, LONG) == await fed(cold, LONG)
        assert len(await digests(hot)) == 1
        before = await hot.position()
        await hot.consumer().consume(LONG[100:200])
        assert await hot.position() == before, "nothing new writes nothing"


@pytest.mark.parametrize("closed_at", [1000.0, 1001.5, 1019.9, 1020.0, 2793.0])
async def test_an_alert_is_closed_in_the_middle_of_a_minute(closed_at: float) -> None:
    found = []
    for limits in (Limits(), HOT):
        async with new_world(limits=limits) as world:
            await fed(world, LONG[:150])
            (alert,) = await world.current()
            await world.close_alert(alert, START + seconds(closed_at))
            found.append(await fed(world, LONG[100:]))
    assert found[0] == found[1]
    assert len(found[0]) == (1 if closed_at == 2793.0 else 2)


async def test_lost_digests_and_other_rules_are_made_up_for(world: World) -> None:
    world.limits = HOT
    expected = await fed(world, LONG)
    for digest in await digests(world):
        await world.store.delete(ALERTS, (TENANT,), digest["id"])
    await world.consumer().consume(LONG[-1:])
    assert compared(await world.current()) == expected
    assert len(await digests(world)) == 1

    world.rules = Same(Rules(accounts=(Exemption("nobody", START, START + seconds(9)),)))
    await world.consumer().consume(LONG[-1:])
    assert compared(await world.current()) == expected
    (digest,) = await digests(world)
    assert digest["minutes"].keys() == {str(n) for n in range(47)}


async def test_beyond_the_limit_of_a_minute_the_count_is_a_minimum() -> None:
    burst = failures(*(n / 10 for n in range(300)))
    for limits in (Limits(per_minute=40), Limits(per_minute=40, hot_from=10)):
        async with new_world(limits=limits) as world:
            await world.keep(burst)
            await world.consumer().consume(burst[::-1])
            (alert,) = await world.current()
            shown = world.alerts.shown(alert)
            assert (shown["count"], shown["count_is_minimum"], shown["severity"]) == (40, True, "critical")
            assert shown["event_ids"] == [event["id"] for event in burst[:40]]


async def test_a_batch_asks_for_the_same_however_long_the_attack_lasts() -> None:
    asked: list[Counter[str]] = []
    async with new_world(limits=Limits(hot_from=100)) as world:

        async def count(call: str) -> None:
            asked[-1][call] += 1

        consumer = world.consumer(store=Bystander(world.store, count))
        for n in range(0, len(LONG), 20):
            await world.keep(LONG[n : n + 20])
            asked.append(Counter())
            await consumer.consume(LONG[n : n + 20])
    assert asked[-1].total() <= asked[8].total()
    assert asked[8].total() < 16


async def test_members_beyond_500_are_counted() -> None:
    many = failures(*range(1200))
    async with new_world(limits=HOT) as world:
        await fed(world, many, 100)
        (alert,) = await world.current()
        assert (alert["count"], alert["event_ids"]) == (1200, [event["id"] for event in many[:500]])
        await world.deliver(failures(-1, prefix="early"))
        (alert,) = await world.current()
        assert (alert["count"], alert["event_ids"][:2], len(alert["event_ids"])) == (1201, ["early0000", "e0000"], 500)


def test_what_is_kept_of_hot_keys_is_bounded() -> None:
    from shared.detection.model import Observed, Span

    span = Span(START, START + seconds(60))
    recent = Recent(most=5)
    for key in ("a", "b"):
        recent.keep(key, Kept(1, span, [Observed(START + seconds(n), f"{key}{n}") for n in range(3)]))
    assert recent.find("a", 1, START, START + seconds(9)) is None, "it had to go"
    assert recent.find("b", 2, START, START + seconds(9)) is None, "somebody wrote since"
    assert recent.find("b", 1, START - seconds(1), START + seconds(9)) is None
    assert recent.find("b", 1, START, START + seconds(61)) is None
    found = recent.find("b", 1, START + seconds(1), START + seconds(2))
    assert found is not None
    assert [each.id for each in found] == ["b1"]
