"""More alerts in an hour than are shown: which are shown follows from the alerts alone, one alert counts the rest."""

import asyncio
from random import Random

import pytest

from shared.detection.history import Limits
from shared.storage.documents import Item
from tests.detection.support import NOW, TENANT, World, failures, new_world

FEW = Limits(alerts_per_hour=3)


def sprayed(accounts: int, start: float = 0) -> list[list[Item]]:
    """Five failures on each of many accounts, one account after the other."""
    return [
        failures(
            *(start + 10 * n + i for i in range(5)),
            prefix=f"s{int(start)}-{n:02}-",
            target={"kind": "user", "id": f"a{n}"},
        )
        for n in range(accounts)
    ]


def summary(alerts: list[Item]) -> list[tuple[str, int]]:
    return [(alert["key"], alert["count"]) for alert in alerts]


@pytest.mark.parametrize("seed", range(4))
async def test_the_first_are_shown_in_whatever_order_they_come(seed: int) -> None:
    attacks = sprayed(8)
    events = [event for attack in attacks for event in attack]
    Random(seed).shuffle(events)  # noqa: S311 - repeatable on purpose
    async with new_world(limits=FEW) as world:
        await world.keep(events)
        for n in range(0, len(events), 7):
            await world.consumer().consume(events[n : n + 7])
        shown = await world.current()
        before = await world.position()
        await world.consumer().consume(events)

        assert sorted(summary(shown)) == [("a0", 5), ("a1", 5), ("a2", 5), ("overflow", 5)]
        assert await world.position() == before, "nothing new writes nothing"
        assert len(await world.all_alerts()) == 9


async def test_one_that_is_superseded_makes_room(world: World) -> None:
    world.limits = FEW
    for attack in sprayed(5):
        await world.deliver(attack)
    assert sorted(summary(await world.current())) == [("a0", 5), ("a1", 5), ("a2", 5), ("overflow", 2)]

    # An earlier failure moves a0's alert to the hour before.
    await world.deliver(failures(-1, prefix="early", target={"kind": "user", "id": "a0"}))

    assert sorted(summary(await world.current())) == [("a0", 6), ("a1", 5), ("a2", 5), ("a3", 5), ("overflow", 1)]
    assert len(await world.events("alert.raise")) == 6


async def test_rivals_count_each_alert_once() -> None:
    attacks = sprayed(10)
    async with new_world(limits=FEW) as world:
        await world.keep([event for attack in attacks for event in attack])

        async def arrive(attack: list[Item]) -> None:
            await world.consumer().consume(attack)

        await asyncio.gather(*map(arrive, attacks[:6]))
        await asyncio.gather(*map(arrive, attacks[4:]))

        assert sorted(summary(await world.current())) == [("a0", 5), ("a1", 5), ("a2", 5), ("overflow", 7)]


async def test_each_hour_has_its_own(world: World) -> None:
    world.limits = FEW
    for attack in (*sprayed(4), *sprayed(3, start=3600)):
        await world.deliver(attack)

    assert len(await world.current()) == 7


async def test_what_grows_beyond_stays_beyond(world: World) -> None:
    world.limits = FEW
    for attack in sprayed(5):
        await world.deliver(attack)
    await world.deliver(failures(60, prefix="more", target={"kind": "user", "id": "a4"}))

    hidden = [each for each in await world.all_alerts() if each.get("overflowed_by")]
    assert sorted(summary(hidden)) == [("a3", 5), ("a4", 6)]
    (overflow,) = [each for each in await world.current() if each["key"] == "overflow"]
    assert {each["overflowed_by"] for each in hidden} == {overflow["id"]}
    assert (await world.alerts.get(TENANT, hidden[0]["id"]))["status"] == "open"


async def test_a_key_may_have_any_name(world: World) -> None:
    world.limits = FEW
    for attack in sprayed(5):
        await world.deliver(attack)
    await world.deliver(failures(*range(5), prefix="o", target={"kind": "user", "id": "overflow"}))

    assert not await world.dead()
    assert sorted(summary(await world.current())) == [
        *(("a0", 5), ("a1", 5)),
        *(("overflow", 3), ("overflow", 5)),
    ]


def one(number: int, *, prefix: str, tries: int = 5) -> list[Item]:
    """Failures on one account, after all those of `sprayed`."""
    start = 1000 + 30 * number
    return failures(*(start + n for n in range(tries)), prefix=prefix, target={"kind": "user", "id": f"b{number}"})


async def overflows(world: World) -> list[Item]:
    return [each for each in await world.all_alerts() if each["key"] == "overflow"]


async def test_what_comes_beyond_after_the_closing_is_another_alert(world: World) -> None:
    world.limits = FEW
    for attack in sprayed(5):
        await world.deliver(attack)
    (first,) = await overflows(world)
    await world.close_alert(first, NOW)
    attacks = [one(n, prefix=f"o{n}-") for n in range(5)]
    for attack in attacks:
        await world.deliver(attack)

    counted = {each["status"]: (each["id"] == first["id"], each["count"]) for each in await overflows(world)}
    assert counted == {"dismissed": (True, 2), "open": (False, 5)}
    before = await world.position()
    await world.deliver([event for attack in attacks for event in attack])
    assert await world.position() == before, "nothing new writes nothing"
    (second,) = [each for each in await overflows(world) if each["id"] != first["id"]]
    assert second["id"] in {event["target"]["id"] for event in await world.events("alert.raise")}

    await world.close_alert(second, NOW, "resolved")
    await world.deliver(one(5, prefix="third"))
    assert sorted(each["count"] for each in await overflows(world)) == [1, 2, 5]


async def test_the_alert_that_counts_goes_and_comes_back_with_an_event(world: World) -> None:
    world.limits = FEW
    for attack in sprayed(4):
        await world.deliver(attack)
    (overflow,) = await overflows(world)
    # An earlier failure moves a0's alert to the hour before, and makes room for the one beyond.
    await world.deliver(failures(-1, prefix="early", target={"kind": "user", "id": "a0"}))
    (gone,) = await overflows(world)
    await world.deliver(one(0, prefix="back"))
    (back,) = await overflows(world)

    assert (gone["superseded_by"], gone["count"]) == ("withdrawn", 0)
    assert ("superseded_by" in back, back["count"]) == (False, 1)
    assert [entry["note"] for entry in back["history"]] == [
        "raised",
        "withdrawn: none is beyond any more",
        "reinstated",
    ]
    told = [e["attributes"] for e in await world.events("alert.update") if e["target"]["id"] == overflow["id"]]
    states = [(attributes["old_status"], attributes["new_status"]) for attributes in told]
    assert sorted(states) == [("open", "superseded"), ("superseded", "open")]


@pytest.mark.parametrize("seed", range(4))
async def test_it_is_as_severe_as_the_worst_beyond(seed: int) -> None:
    attacks = [*sprayed(4), one(0, prefix="worst", tries=20)]
    events = [event for attack in attacks for event in attack]
    Random(seed).shuffle(events)  # noqa: S311 - repeatable on purpose
    async with new_world(limits=FEW) as world:
        for n in range(0, len(events), 7):
            await world.deliver(events[n : n + 7])
        (overflow,) = await overflows(world)
        assert (overflow["count"], overflow["severity"]) == (2, "critical")


async def test_its_severity_follows_those_beyond(world: World) -> None:
    world.limits = FEW
    for attack in sprayed(5):
        await world.deliver(attack)
    await world.deliver(failures(*range(50, 70), prefix="more", target={"kind": "user", "id": "a4"}))
    (risen,) = await overflows(world)
    for n in range(2):
        await world.deliver(failures(-1, prefix=f"early{n}-", target={"kind": "user", "id": f"a{n}"}))
    await world.deliver(one(0, prefix="other"))
    (fallen,) = await overflows(world)

    assert (risen["severity"], risen["count"], risen["history"][-1]["note"]) == (
        "critical",
        2,
        "severity high to critical",
    )
    assert (fallen["severity"], fallen["count"]) == ("high", 1)


async def test_one_that_becomes_worse_after_the_closing_is_told(world: World) -> None:
    world.limits = FEW
    for attack in sprayed(5):
        await world.deliver(attack)
    await world.close_alert((await overflows(world))[0], NOW)
    await world.deliver(failures(*range(50, 70), prefix="more", target={"kind": "user", "id": "a4"}))

    told = sorted((each["status"], each["severity"], each["count"]) for each in await overflows(world))
    assert told == [("dismissed", "high", 2), ("open", "critical", 1)]
