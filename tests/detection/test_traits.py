"""What few tenants have is looked for in them alone; and nobody misses it who handles an event while it comes to be."""

from collections import Counter
from typing import Any

import pytest

from shared.core.clock import rfc3339
from shared.detection import all_patterns
from shared.detection.history import Limits
from shared.detection.traits import TRAITS_KIND, Traits
from shared.storage.containers import ALERTS, AUDIT_EVENTS, PERIOD, Container
from shared.storage.documents import Item, Page, Partition, Query, Range
from tests.detection.support import (
    ACCOUNT,
    COARSE,
    START,
    TENANT,
    Bystander,
    World,
    compared,
    failures,
    new_world,
    seconds,
    stored_event,
)

TAKEOVER = all_patterns()["account_takeover"]
HOT = Limits(hot_from=10)


def reading(n: int, kind: str = "data.read") -> Item:
    fields: dict[str, Any] = {
        **{"type": kind, "outcome": "success", "reason": None, "record_count": 1, "data_class": "none"},
        "actor": {"kind": "user", "id": ACCOUNT, "role": "user"},
        "target": {"kind": "record", "id": f"r{n}"},
    }
    return stored_event(f"r{n:04}", START + seconds(n), **fields)


def visited(event_id: str, at: float, kind: str = "auth.login", origin: str = "home") -> Item:
    """A sign-in, or what else the account's owner did with success."""
    own = {"kind": "user", "id": ACCOUNT}
    keys: dict[str, Any] = {"ip_key": f"v1:{origin}", "ua_key": f"v1:{origin}"}
    return stored_event(
        event_id, START + seconds(at), type=kind, outcome="success", reason=None, actor=own, target=own, **keys
    )


async def asked_by(world: World, events: list[Item]) -> Counter[str]:
    """What a consumer of all patterns asks of the store."""
    asked: Counter[str] = Counter()

    async def count(call: str) -> None:
        asked[call] += 1

    await world.keep(events)
    consumer = world.consumer(list(all_patterns().values()), Bystander(world.store, count))
    await consumer.consume(events)
    return asked


async def traits(world: World) -> frozenset[str]:
    return await Traits(world.store).of(TENANT)


async def test_what_no_pattern_looks_at_asks_nothing(world: World) -> None:
    assert not await asked_by(world, [visited(f"v{n}", n, "profile.view") for n in range(9)])


async def test_a_quiet_key_costs_one_query(world: World) -> None:
    """However many of its events are in a batch, and whatever kinds of events its pattern looks at."""
    world.clock.set(START)
    events = [reading(n, kind) for n, kind in enumerate(["data.read", "user.view", "data.export"] * 10)]

    assert await asked_by(world, events) == {"read": 1, "query": 1}
    assert await asked_by(world, [visited("v", 0)]) == {"read": 1, "query": 1}, "nobody has alerts to doubt"


async def test_many_events_of_a_key_are_asked_for_by_kind() -> None:
    events = [reading(n, ("data.read", "user.view")[n % 2]) for n in range(40)]
    async with new_world(limits=Limits(at_once=39)) as world, new_world() as other:
        assert (await asked_by(world, events))["query"] == 1 + 3
        assert (await asked_by(other, events))["query"] == 1


@pytest.mark.parametrize("k", range(1, 25))
async def test_an_event_comes_while_its_key_becomes_hot(k: int) -> None:
    """It crosses nothing, so only the mark says that the digests have to hold it: the next ones are counted from it."""
    mass = failures(*(n * 7 for n in range(12)))
    alone, after = failures(4000, prefix="alone"), failures(7300, 7400, prefix="after")
    async with new_world() as calm:
        await calm.deliver([*mass, *alone, *after], COARSE)
        expected = compared(await calm.current())
    calls = 0
    async with new_world(limits=HOT) as world:

        async def meanwhile(_call: str) -> None:
            nonlocal calls
            calls += 1
            if calls == k:
                await world.deliver(alone, COARSE)

        await world.keep(mass)
        await world.consumer((COARSE,), Bystander(world.store, meanwhile)).consume(mass)
        if calls < k:
            await world.deliver(alone, COARSE)
        await world.deliver(after, COARSE)
        assert compared(await world.current()) == expected
        assert await traits(world) == {"hot:brute_force"}


@pytest.mark.parametrize("k", range(1, 20))
async def test_a_late_sign_in_comes_while_an_alert_is_raised_on_news(k: int) -> None:
    """Whenever it is handled, it takes back what it makes untrue."""
    taken = [visited("there", 60, origin="away"), visited("change", 120, "auth.password_change", "away")]
    known = visited("known", -86_400, origin="away")
    calls = 0
    async with new_world() as world:

        async def meanwhile(_call: str) -> None:
            nonlocal calls
            calls += 1
            if calls == k:
                await world.deliver([known], TAKEOVER)

        await world.keep(taken)
        await world.consumer((TAKEOVER,), Bystander(world.store, meanwhile)).consume(taken)
        if calls < k:
            assert len(await world.current()) == 1
            await world.deliver([known], TAKEOVER)
        assert not await world.current()


async def test_a_prompt_sign_in_takes_back_what_was_raised_before(world: World) -> None:
    """It was delivered after the alert, within a minute of its recording."""
    world.clock.set(START + seconds(121))
    await world.deliver(
        [visited("there", 60, origin="away"), visited("change", 120, "auth.password_change", "away")], TAKEOVER
    )
    assert await traits(world) == {"alerts:account_takeover"}
    (alert,) = await world.current()

    known = visited("known", -3600, origin="away") | {"recorded_at": rfc3339(START + seconds(121))}
    await world.deliver([known], TAKEOVER)

    (former,) = await world.all_alerts()
    assert (former["id"], former["superseded_by"]) == (alert["id"], "withdrawn")


async def test_each_trait_is_noted_once_and_rivals_lose_none(world: World) -> None:
    noted = 0

    async def rival(call: str) -> None:
        nonlocal noted
        if call in {"create", "replace"} and noted < 2:
            noted += 1
            await Traits(world.store).note(TENANT, f"rival-{noted}")

    await Traits(Bystander(world.store, rival)).note(TENANT, "mine")
    before = await world.position()
    await Traits(world.store).note(TENANT, "mine")

    assert await traits(world) == {"rival-1", "rival-2", "mine"}
    assert await world.position() == before
    assert (await world.store.read(ALERTS, (TENANT,), TRAITS_KIND))["traits"] == ["mine", "rival-1", "rival-2"]


MIDNIGHT = START.replace(month=4, day=1, hour=0)


@pytest.mark.parametrize(
    ("at", "recorded", "others"),
    [
        pytest.param(-1950, 7 * 86_400 - 1950, -2000, id="reported a week later, in the next month"),
        pytest.param(280, -20, 1000, id="five minutes ahead, recorded in the month before"),
        pytest.param(300 * 86_400, -1950, -2000, id="not to be believed"),
        pytest.param(-600, -600, 100, id="of the month before"),
    ],
)
async def test_an_event_is_found_whatever_month_holds_it(world: World, at: int, recorded: int, others: int) -> None:
    """It came first; what comes after looks for it from its own side of midnight, or from both."""
    await world.deliver([stored_event("first", MIDNIGHT + seconds(at), MIDNIGHT + seconds(recorded))])
    for each in failures(*(others + n * 20 for n in range(4)), start=MIDNIGHT):
        await world.deliver([each])

    (alert,) = await world.current()
    assert (alert["count"], "first" in alert["event_ids"]) == (5, True)


async def test_a_query_names_the_months_that_can_hold_what_it_wants(world: World) -> None:
    """In a tenant of many years a key costs what it costs in a young one."""
    asked: list[Query] = []
    load = world.store.query

    async def recorded(container: Container, partition: Partition, query: Query) -> Page:
        if container is AUDIT_EVENTS:
            asked.append(query)
        return await load(container, partition, query)

    world.store.query = recorded  # type: ignore[method-assign]
    await world.deliver(failures(0, 1, 2, 3, 4))
    assert len(await world.current()) == 1
    ranges = [[each for each in query.where if isinstance(each, Range) and each.path == PERIOD] for query in asked]
    assert ranges == [[Range(PERIOD, ge="2026-03", le="2026-03")]] * 2
