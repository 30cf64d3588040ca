"""The sealer: every event once, in whatever way events are delivered and the store fails."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ledger.chunks import CHUNK_EVENTS
from shared.ledger.sealer import RACES
from shared.ledger.shards import BrokenShard, Shards, head_id
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import Eq, Item, Query
from shared.storage.errors import Conflict, NotFound, TooLarge, Unavailable
from tests.faults import Call, Crash, FaultyStore, Mode
from tests.ledger.world import NOW, OTHER, PERIOD, TENANT, World, new_world


@pytest.mark.parametrize("count", [1, 2, CHUNK_EVENTS, CHUNK_EVENTS + 1, 255, 256, 257, 600])
async def test_what_is_delivered_is_sealed(world: World, count: int) -> None:
    events = world.events(count)
    await world.seal(events)
    await world.check(events)
    assert await world.found() == []
    assert await world.dead() == []


async def test_a_delivery_that_is_repeated_changes_nothing(world: World) -> None:
    events = world.events(5)
    await world.seal(events)
    before = await world.store.last_position(LEDGER)  # type: ignore[attr-defined]
    await world.seal(events)
    await world.seal(events[2:] + events[:3] + events)
    assert await world.store.last_position(LEDGER) == before  # type: ignore[attr-defined]
    await world.check(events)


async def test_every_tenant_and_month_has_a_tree_of_its_own(world: World) -> None:
    ours, theirs = world.events(3), world.events(2, tenant_id=OTHER)
    early = world.event(NOW - timedelta(days=15))
    kept = await world.keep([ours[0], *theirs, early, *ours[1:]])
    stored_then = int(NOW.timestamp()) - 15 * 86_400
    await world.sealer().consume([each | {"_ts": stored_then} if each["id"] == early["id"] else each for each in kept])
    await world.check(ours)
    await world.check(theirs, OTHER)
    await world.check([early], period="2026-02")


@settings(max_examples=25)
@given(data=st.data())
async def test_no_way_of_delivering_matters(data: st.DataObject) -> None:
    """Disorder, duplicates, splits and two sealers at once: each event is sealed once."""
    async with new_world() as world:
        events = world.events(data.draw(st.integers(1, 40)))
        kept = await world.keep(events)
        delivered = data.draw(st.permutations(kept + data.draw(st.lists(st.sampled_from(kept), max_size=30))))
        cut = data.draw(st.integers(0, len(delivered)))
        rivals = world.sealer(), world.sealer()

        async def deliver(part: Sequence[Item], size: int, one: int) -> None:
            for start in range(0, len(part), size):
                await rivals[one].consume(part[start : start + size])

        sizes = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
        missing = [each for each in kept if each not in delivered]
        await asyncio.gather(deliver(delivered[:cut], sizes[0], 0), deliver(delivered[cut:] + missing, sizes[1], 1))
        await world.check(events)
        assert await world.found() == []
        assert await world.dead() == []


async def test_two_sealers_at_once_seal_each_event_once(world: World) -> None:
    events = world.events(300)
    kept = await world.keep(events)
    await asyncio.gather(*(world.sealer().consume(kept) for _ in range(3)))
    await world.check(events)
    assert await world.dead() == []


@pytest.mark.parametrize("mode", ["before", "after", "gone_after"])
@pytest.mark.parametrize("error", [Unavailable("down"), Crash()], ids=["unavailable", "crash"])
async def test_a_failure_at_any_call_loses_and_doubles_nothing(mode: Mode, error: BaseException) -> None:
    """Deliver, fail at the n-th call, deliver again: for every n that there is."""
    for fail_at in range(1, 100):
        async with new_world() as world:
            before, events = world.events(250), world.events(20) + world.events(3, tenant_id=OTHER)
            await world.seal(before)
            kept = await world.keep(events)
            faulty = FaultyStore(world.store, fail_at, mode, error)
            try:
                await world.sealer(faulty).consume(kept)
            except (Unavailable, Crash):
                await world.sealer().consume(kept)
            await world.check(before + [each for each in events if each["tenant_id"] == TENANT])
            await world.check([each for each in events if each["tenant_id"] == OTHER], OTHER)
            assert await world.found() == []
            if not faulty.failed:
                break
    assert fail_at > 5


async def test_an_edited_event_is_found_once(world: World) -> None:
    events = world.events(3)
    await world.seal(events)
    kept = await world.store.read(AUDIT_EVENTS, (TENANT, PERIOD), events[1]["id"])
    for _ in range(2):
        edited = await world.store.replace(AUDIT_EVENTS, (TENANT, PERIOD), kept | {"outcome": "error"})
        await world.sealer().consume([edited])
    assert await world.found() == ["edited"]
    assert len(await world.sealed()) == 3


async def test_erasure_and_legal_hold_change_no_entry(world: World) -> None:
    events = world.events(1, personal={"u1": {"box": "x"}}, ip_key="k")
    await world.seal(events)
    erased = {**events[0], "personal": {}, "ip_key": None, "erased_at": "2026-03-15T12:00:00.000000Z", "ttl": -1}
    changed = await world.store.replace(AUDIT_EVENTS, (TENANT, PERIOD), erased)
    await world.sealer().consume([changed])
    assert await world.found() == []


@pytest.mark.parametrize(
    ("kind", "hours", "found"),
    [
        ("auth.login", 23, []),
        ("auth.login", 25, ["inserted_behind"]),
        ("data.read", 7 * 24, []),
        ("data.read", 8 * 24 + 1, ["inserted_behind"]),
    ],
)
async def test_an_event_stored_long_after_its_time_is_sealed_and_reported(
    world: World, kind: str, hours: int, found: list[str]
) -> None:
    events = [world.event(NOW - timedelta(hours=hours), type=kind)]
    for _ in range(2):
        await world.seal(events)
    await world.check(events)
    assert await world.found() == found


MALFORMED: dict[str, dict[str, object]] = {
    "no actor": {"actor": None},
    "actor id is a number": {"actor": {"kind": "user", "id": 7, "role": None}},
    "no such time": {"recorded_at": "yesterday"},
    "another time than its id": {"recorded_at": "2026-03-15T11:59:59.000000Z"},
    "another month than its time": {"period": "2026-04"},
    "time in another spelling": {"recorded_at": "2026-03-15T12:00:00Z"},
    "id of another kind": {"id": "head"},
    "id in capitals": {"id": "0195C000-0000-7000-8000-0000000000AA"},
    "outcome is missing": {"outcome": None},
    "number beyond JSON": {"record_count": 2**60},
    "too large": {"attributes": {"text": "x" * 66_000}},
    "reason is a list": {"reason": ["x"]},
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
async def test_an_event_that_cannot_be_sealed_stands_alone(world: World, change: dict[str, object]) -> None:
    """It is kept for a retry and reported once; its neighbors are sealed."""
    good = world.events(4)
    poison = world.event() | change | {"_ts": int(NOW.timestamp())}
    kept = await world.keep(good)
    for _ in range(2):
        await world.sealer().consume([*kept[:2], poison, *kept[2:]])
    await world.check(good)
    assert [letter["consumer"] for letter in await world.dead()] == ["seal_ledger"]
    assert await world.found() == ["unsealable"]


@pytest.mark.parametrize(
    ("period", "held"),
    [("2026-02", "2026-02"), ("2026-04", PERIOD), ("soon", PERIOD), ("0000-07", PERIOD), (5, PERIOD), (None, PERIOD)],
)
async def test_what_cannot_be_sealed_is_said_in_its_month_if_that_is_one_that_was(
    world: World, period: object, held: str, caplog: pytest.LogCaptureFixture
) -> None:
    poison = world.event() | {"period": period, "actor": None}
    with pytest.raises(ValueError, match="not of its type"):
        await world.sealer().pending(poison)
    (said,) = (await world.store.query(AUDIT_EVENTS, (TENANT,), Query((Eq("type", "ledger.verify_failed"),)))).items
    assert said["attributes"]["period"] == held
    wrong = "actor" if isinstance(period, str) else "period"
    told = {"tenant_id": TENANT, "event_id": poison["id"], "reason": f"{wrong}: is not of its type"}
    assert caplog.messages[0] == f"event_unsealable {json.dumps(told, sort_keys=True)}"


async def test_a_month_in_which_something_was_found_before_anything_was_sealed_is_begun(world: World) -> None:
    assert await world.statements().found(TENANT, PERIOD, "unsealable", "x", world.request())
    events = world.events(2)
    await world.seal(events)
    assert [each.event_id for each in await world.sealed()] == [event["id"] for event in events]


@pytest.mark.parametrize(("note", "found"), [(None, "rollup"), ('"' * 60_000, "head")], ids=["counts", "head"])
async def test_what_is_too_large_to_be_written_is_said(world: World, note: str | None, found: str) -> None:
    def writes(call: Call) -> bool:
        return call.operation == "batch" and call.container == LEDGER.name

    await world.seal(world.events(1))
    head = await world.store.read(LEDGER, (TENANT, PERIOD), head_id(PERIOD))
    await world.store.replace(LEDGER, (TENANT, PERIOD), head | {"note": note})
    store = FaultyStore(world.store, 1, error=TooLarge("it is"), times=None, counts=writes)
    with pytest.raises(BrokenShard) as error:
        await world.sealer(store).handle((await world.keep(world.events(1)))[0])
    assert (error.value.what, await world.found()) == (found, [found])


async def test_what_nobody_expected_of_a_shard_is_said_and_keeps_its_events(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def reads(call: Call) -> bool:
        return call.operation == "query" and call.container == LEDGER.name

    (event,) = await world.keep(world.events(1))
    with pytest.raises(BrokenShard) as error:
        await world.sealer(FaultyStore(world.store, 1, error=KeyError("x"), counts=reads)).handle(event)
    assert (error.value.what, await world.found()) == ("entries", ["entries"])
    name, _, fields = caplog.messages[0].partition(" ")
    told = {"tenant_id": TENANT, "period": PERIOD, "error_type": "KeyError"}
    assert (name, {key: json.loads(fields)[key] for key in told}) == ("ledger_unreadable", told)


async def test_one_tenants_broken_ledger_does_not_stop_the_others(world: World) -> None:
    await world.seal(world.events(3))
    await world.store.delete(LEDGER, (TENANT, PERIOD), head_id(PERIOD))
    ours, theirs = world.events(2), world.events(2, tenant_id=OTHER)
    await world.sealer().consume(await world.keep([*ours, *theirs]))
    await world.check(theirs, OTHER)
    assert {letter["item_id"] for letter in await world.dead()} == {event["id"] for event in ours}
    assert await world.found() == ["head"]
    with pytest.raises(NotFound):
        await world.store.read(LEDGER, (TENANT, PERIOD), head_id(PERIOD))


async def test_one_tenants_throttled_partition_lets_the_others_be_sealed(world: World) -> None:
    def ours(call: Call) -> bool:
        return call.container == "ledger" and call.partition[0] == TENANT

    mine, theirs = world.events(2), world.events(2, tenant_id=OTHER)
    kept = await world.keep([*mine, *theirs])
    with pytest.raises(Unavailable):
        await world.sealer(FaultyStore(world.store, 1, times=None, counts=ours)).consume(kept)
    await world.check(theirs, OTHER)
    assert await world.dead() == []
    await world.sealer().consume(kept)
    await world.check(mine)


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_head_that_always_moves_ends_in_a_retry_of_the_delivery(
    world: World, is_there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Bounded: the delivery is given back, nothing is dead-lettered; nor where rivals sealed the same (`is_there`)."""
    caplog.set_level("INFO")
    await world.seal(world.events(1))
    events = await world.keep(world.events(2))
    moves = 0

    class Rival(FaultyStore):
        async def batch(self, container, partition, operations):  # type: ignore[no-untyped-def]
            nonlocal moves
            moves += 1
            head = await world.store.read(LEDGER, (TENANT, PERIOD), head_id(PERIOD))
            await world.store.replace(LEDGER, (TENANT, PERIOD), head)
            if is_there:
                raise Conflict("it is there", index=0)
            return await super().batch(container, partition, operations)

    with pytest.raises(Unavailable):
        await world.sealer(Rival(world.store)).consume(events)
    assert moves == RACES
    assert (await world.dead(), await world.found()) == ([], [])
    raced = f'seal_raced {{"period": "{PERIOD}", "tenant_id": "{TENANT}"}}'
    assert caplog.messages == [raced] * (RACES - 1)


async def test_large_events_are_sealed_in_several_batches(world: World) -> None:
    events = world.events(60, attributes={"text": '"' * 30_000})
    await world.seal(events)
    await world.check(events)
    assert (await Shards(world.store).head(TENANT, PERIOD)).size == 60
