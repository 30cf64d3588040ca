"""The head of a series parts rivals whose alerts have different ids, so that nothing else would make them clash."""

import asyncio
from typing import Any

from shared.detection.alerts import SERIES_KIND
from shared.storage.containers import ALERTS
from shared.storage.documents import Eq, Item, Query
from tests.detection.support import TENANT, Bystander, World, failures

FIRST = failures(0, 1, 2, 3, 4)
REST = failures(5100, 5101, 5102, 5103, 5104, prefix="rest")
LATE = failures(5050, prefix="late")


async def heads(world: World) -> list[Item]:
    return (await world.store.query(ALERTS, (TENANT,), Query((Eq("kind", SERIES_KIND),)))).items


async def overtake(world: World, slow: list[Item], quick: list[Item]) -> None:
    """One consumer evaluates `slow`; before it commits, another one stores and evaluates `quick`."""
    await world.keep(slow)
    overtaken = False

    async def other_first(call: str) -> None:
        nonlocal overtaken
        if call == "batch" and not overtaken:
            overtaken = True
            await world.deliver(quick)

    await world.consumer(store=Bystander(world.store, other_first)).consume(slow)
    assert overtaken


async def test_a_rival_of_a_series_that_has_alerts_already_starts_over(world: World) -> None:
    """The later attack begins elsewhere in the older view: both alerts would be new, under two ids."""
    await world.deliver(FIRST)

    await overtake(world, REST, LATE)

    first, second = await world.all_alerts()
    assert (first["count"], second["count"]) == (5, 6)
    assert second["event_ids"][0] == "late0000"
    assert len(await world.events("alert.raise")) == 2


async def test_each_commit_moves_the_head_by_one(world: World) -> None:
    await world.deliver(FIRST)
    (head,) = await heads(world)
    assert head["version"] == 1

    await overtake(world, REST, LATE)

    (head,) = await heads(world)
    assert head["version"] == 2, "the one who was overtaken found nothing more to write"


async def test_rivals_at_once_over_a_series_that_has_alerts(world: World) -> None:
    await world.deliver(FIRST)
    arrivals: list[Any] = [*REST, *LATE, *failures(5020, 5080, prefix="between")]

    async def arrive(event: Item) -> None:
        await world.keep([event])
        await world.consumer().consume([event])

    await asyncio.gather(*map(arrive, arrivals))

    first, second = await world.current()
    assert (first["count"], second["count"]) == (5, len(arrivals))
    assert second["event_ids"][0] == "between0000"
