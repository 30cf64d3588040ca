"""One address against many tenants: each is told its own part, the cut-short is made up for, and work stays bounded."""

from collections import Counter

import pytest

from shared.core.clock import period_of, rfc3339
from shared.detection import all_patterns
from shared.detection.engine import MAX_BEHIND
from shared.detection.history import Limits
from shared.storage.containers import SIGNALS
from shared.storage.documents import Item, Query
from shared.storage.errors import Unavailable
from tests.detection.support import START, Bystander, FailsAt, World, new_world, seconds, stored_event

STUFFING = all_patterns()["credential_stuffing"]
ADDRESS = "v1:attacker"


def tried(n: int, tenant_id: str, at: float) -> Item:
    target = {"kind": "user", "id": f"account-{n}"}
    return stored_event(f"e{n:04}", START + seconds(at), tenant_id=tenant_id, target=target, ip_key=ADDRESS)


async def test_each_tenant_is_told_its_own_part(world: World) -> None:
    world.clock.set(START)
    events = [tried(n, f"tenant-{n % 3}", n) for n in range(7)]

    await world.deliver(events, STUFFING)

    for tenant_id, ids in (("tenant-0", ["e0000", "e0003", "e0006"]), ("tenant-1", ["e0001", "e0004"])):
        (alert,) = await world.current(tenant_id)
        assert (alert["event_ids"], alert["count"], alert["key"]) == (ids, len(ids), ADDRESS)
        assert not any(other in str(world.alerts.shown(alert)) for other in ("e0002", "e0005"))
    (whole,) = await world.current("platform")
    assert whole["count"] == 7


async def test_what_is_too_old_is_not_counted(world: World) -> None:
    world.clock.set(START)
    await world.deliver([tried(n, "tenant-0", n) for n in range(4)], STUFFING)
    world.clock.set(START + seconds(9 * 86_400))

    await world.deliver([tried(n, "tenant-0", n) for n in range(9)], STUFFING)

    assert not await world.current("tenant-0")
    assert not (await world.store.query(SIGNALS, (ADDRESS,), Query())).items, "those of then have expired"


async def test_what_comes_again_when_half_of_an_attack_has_expired_raises_nothing(world: World) -> None:
    attack = [tried(n, "tenant-0", n * 60) for n in range(60)]
    for n in range(0, 60, 5):
        world.clock.set(START + seconds((n + 4) * 60))
        await world.deliver(attack[n : n + 5], STUFFING)
    (alert,) = await world.current("tenant-0")
    world.clock.set(START + seconds((SIGNALS.default_ttl_seconds or 0) + 40 * 60))
    left = (await world.store.query(SIGNALS, (ADDRESS,), Query())).items
    assert 0 < len(left) < 60

    await world.deliver(attack[59:], STUFFING)

    assert await world.current("tenant-0") == [alert]
    assert len(await world.all_alerts("platform")) == 1


async def test_what_is_seven_days_late_is_counted_with_those_of_its_time(world: World) -> None:
    world.clock.set(START)
    await world.deliver([tried(n, "tenant-0", n) for n in range(4)], STUFFING)
    recorded = START + MAX_BEHIND + seconds(4)
    world.clock.set(recorded + seconds(3600))
    fifth = {**tried(4, "tenant-0", 4), "recorded_at": rfc3339(recorded), "period": period_of(recorded)}

    await world.deliver([fifth], STUFFING)

    (alert,) = await world.current("tenant-0")
    assert alert["count"] == 5
    world.clock.set(recorded + seconds(86_400))
    sixth = {**tried(5, "tenant-0", 5), "recorded_at": rfc3339(recorded), "period": period_of(recorded)}
    await world.deliver([sixth], STUFFING)
    assert await world.current("tenant-0") == [alert], "a day later, those a day before it may have expired"


@pytest.mark.parametrize("limits", [Limits(), Limits(hot_from=3)], ids=["cold", "hot"])
async def test_a_fault_at_any_call_leaves_no_tenant_out(limits: Limits) -> None:
    """The fifth account makes an attack of what four tenants saw one failure each of."""
    events = [tried(n, f"tenant-{n}", n) for n in range(5)]
    for k in range(1, 200):
        fault = FailsAt(k, Unavailable())
        async with new_world(START, limits) as world:
            await world.deliver(events[:4], STUFFING)
            await world.keep(events[4:])
            consumer = world.consumer((STUFFING,), Bystander(world.store, fault))
            try:
                await consumer.consume(events[4:])
            except Unavailable:
                await consumer.consume(events[4:])
            for tenant_id in ("platform", *(f"tenant-{n}" for n in range(5))):
                assert len(await world.current(tenant_id)) == 1, (k, tenant_id)
        if not fault.raised:
            return
    pytest.fail("more store calls than expected")


@pytest.mark.parametrize("limits", [Limits(), Limits(hot_from=20)], ids=["cold", "hot"])
async def test_a_batch_concerns_the_tenants_around_it(limits: Limits) -> None:
    asked: list[Counter[str]] = []
    async with new_world(START, limits) as world:

        async def count(call: str) -> None:
            asked[-1][call] += 1

        consumer = world.consumer((STUFFING,), Bystander(world.store, count))
        for n in range(60):
            event = tried(n, f"tenant-{n}", n * 200)
            await world.keep([event])
            asked.append(Counter())
            await consumer.consume([event])
        assert len(await world.current("tenant-2")) == 1
    assert asked[-1].total() < 80, "three calls for each of 60 tenants were more"
