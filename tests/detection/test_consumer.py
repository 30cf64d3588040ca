"""The consumer: what it writes and audits, what it leaves alone, and how it outlives poison, faults and rivals."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.core.clock import rfc3339
from shared.core.errors import Unready
from shared.detection import Pattern
from shared.privacy.secrets import SecretsError
from shared.storage.containers import ALERTS
from shared.storage.documents import Item
from shared.storage.errors import PreconditionFailed, StoreError, Throttled, TooLarge, Unavailable
from tests.detection.support import (
    ACCOUNT,
    BRUTE_FORCE,
    COARSE,
    NOW,
    START,
    TENANT,
    Bystander,
    FailsAt,
    World,
    compared,
    failures,
    new_world,
    seconds,
    stored_event,
)


async def test_an_alert_and_its_event(world: World) -> None:
    await world.deliver(failures(0, 1, 2, 3, 4))

    (alert,) = await world.current()
    (event,) = await world.events("alert.raise")
    assert {name: alert[name] for name in ("kind", "series", "pattern", "key", "status", "severity", "created_at")} == {
        "kind": "alert",
        "series": f"brute_force|{ACCOUNT}",
        "pattern": "brute_force",
        "key": ACCOUNT,
        "status": "open",
        "severity": "high",
        "created_at": rfc3339(NOW),
    }
    assert alert["event_ids"] == ["e0000", "e0001", "e0002", "e0003", "e0004"]
    assert alert["history"] == [{"at": rfc3339(NOW), "by": "system", "from": None, "to": "open", "note": "raised"}]
    assert alert["attack"] == list(BRUTE_FORCE.attack)
    assert alert["runbook"] == list(BRUTE_FORCE.runbook)
    assert event["target"] == {"kind": "alert", "id": alert["id"]}
    assert event["attributes"] == {"pattern": "brute_force", "severity": "high"}
    assert (event["severity"], event["actor"]["kind"]) == ("high", "system")
    assert event["source"] == {"kind": "function", "id": "detect_threats"}
    assert event["context"]["route"] == "change_feed"


async def test_growth_updates_the_alert_and_says_nothing(world: World) -> None:
    await world.deliver(failures(0, 1, 2, 3, 4))
    await world.deliver(failures(5, 6, prefix="f"))

    (alert,) = await world.current()
    assert (alert["count"], alert["event_ids"][-1]) == (7, "f0001")
    assert len(alert["history"]) == 1
    assert not await world.events("alert.update")


async def test_growth_of_a_closed_alert_is_an_event(world: World) -> None:
    await world.deliver(failures(0, 1, 2, 3, 4))
    await world.close_alert((await world.current())[0], NOW)
    await world.deliver(failures(5, 6, prefix="late"))

    (alert,) = await world.current()
    assert (alert["status"], alert["count"]) == ("dismissed", 7)
    assert alert["history"][-1]["note"] == "count 5 to 7 after the closing"
    (event,) = await world.events("alert.update")
    assert (event["attributes"]["old_status"], event["attributes"]["new_status"]) == ("dismissed", "dismissed")


async def test_a_rise_of_severity_is_an_event(world: World) -> None:
    await world.deliver(failures(0, 1, 2, 3, 4))
    await world.deliver(failures(*range(5, 30), prefix="f"))

    (alert,) = await world.current()
    (event,) = await world.events("alert.update")
    assert (alert["severity"], alert["history"][-1]["note"]) == ("critical", "severity high to critical")
    assert event["severity"] == "critical"
    assert event["attributes"] == {
        "pattern": "brute_force",
        "severity": "critical",
        "old_status": "open",
        "new_status": "open",
    }


async def test_nothing_new_writes_nothing(world: World) -> None:
    events = failures(0, 1, 2, 3, 4, 5000)
    await world.deliver(events)
    before = await world.position()

    await world.deliver([*events, *events])
    await world.deliver(await world.events("alert.raise"))
    await world.deliver([])

    assert await world.position() == before


async def test_a_late_event_that_moves_an_episode_supersedes_its_alert(world: World) -> None:
    await world.deliver(failures(100, 101, 102, 103, 104))
    (moved,) = await world.current()

    await world.deliver(failures(50, prefix="late"))

    (remaining,) = await world.current()
    former = await world.alerts.get(TENANT, moved["id"])
    assert remaining["id"] != moved["id"]
    assert former["superseded_by"] == remaining["id"]
    assert former["status"] == "open"
    assert former["history"][-1] == {
        **{"at": rfc3339(NOW), "by": "system", "from": "open", "to": "superseded"},
        "note": f"superseded by {remaining['id']}",
    }
    (update,) = await world.events("alert.update")
    assert (update["target"]["id"], update["attributes"]["new_status"]) == (moved["id"], "superseded")
    assert len(await world.events("alert.raise")) == 2


async def test_late_events_bridge_episodes_whatever_their_order(world: World) -> None:
    bursts = [failures(*(start + n for n in range(5)), prefix=f"b{start}-") for start in (0, 1800, 3500)]
    bridges = [failures(*(start + n for n in range(5)), prefix=f"x{start}-") for start in (890, 1750, 2650)]
    for burst in bursts:
        await world.deliver(burst)
    assert len(await world.current()) == 3

    for bridge in (bridges[2], bridges[1], bridges[0]):
        await world.deliver(bridge)

    (remaining,) = await world.current()
    assert remaining["count"] == 30
    assert all(a["superseded_by"] == remaining["id"] for a in await world.all_alerts() if a["id"] != remaining["id"])


async def test_an_attack_that_outgrows_24_hours_is_cut_and_what_was_superseded_comes_back(world: World) -> None:
    """A second attack around midnight is bridged into the first; when the run gets too long, midnight parts them."""
    first = failures(*(hours * 3600 for hours in (0, 0.5, 1)))
    second = failures(*(hours * 3600 for hours in (11, 11.5, 12)), prefix="s")
    between = failures(*(n * 1700 for n in range(1, 26)), prefix="x")
    onward = failures(*(n * 1700 for n in range(26, 60)), prefix="y")
    await world.deliver(first, COARSE)
    await world.deliver(second, COARSE)
    midnight = (await world.current())[-1]["id"]
    await world.deliver(between, COARSE)
    assert len(await world.current()) == 1

    await world.deliver(onward, COARSE)

    early, late = await world.current()
    assert late["id"] == midnight
    assert [entry["to"] for entry in late["history"]] == ["open", "superseded", "open"]
    assert late["history"][-1]["note"].endswith("reinstated")
    assert early["last_seen"] < late["last_seen"]
    assert len(await world.events("alert.raise")) == 3


async def test_crossings_after_a_closing_open_a_new_alert(world: World) -> None:
    await world.deliver(failures(0, 1, 2, 3, 4))
    (alert,) = await world.current()
    await world.close_alert(alert, START + seconds(60))

    await world.deliver(failures(30, prefix="before"))
    (still,) = await world.current()
    assert (still["status"], still["count"]) == ("dismissed", 6)

    await world.deliver(failures(61, 62, prefix="after"))
    closed, opened = sorted(await world.current(), key=lambda each: str(each["last_seen"]))
    assert (closed["id"], closed["count"], closed["status"]) == (alert["id"], 6, "dismissed")
    assert (opened["status"], opened["crossed"]["id"]) == ("open", "after0000")


async def test_other_events_are_left_alone(world: World) -> None:
    own = {"kind": "user", "id": ACCOUNT}
    events = [stored_event(f"n{n}", START, outcome="success", reason=None, actor=own, target=own) for n in range(9)]
    events += [stored_event(f"p{n}", START, type="profile.view", target=None) for n in range(9)]
    events += [stored_event(f"u{n}", START, target=None) for n in range(9)]
    events += [stored_event(f"x{n}", START, erased_at=rfc3339(NOW)) for n in range(9)]
    await world.keep(events)
    before = await world.position()

    await world.consumer().consume(events)

    assert await world.position() == before


async def test_erased_events_count_no_more(world: World) -> None:
    erased = failures(0, prefix="gone", erased_at=rfc3339(NOW))

    await world.deliver([*failures(1, 2, 3, 4), *erased])

    assert not await world.current()


async def test_tenants_and_accounts_do_not_mix(world: World) -> None:
    ours, theirs = failures(0, 1, 2), failures(0, 1, 2, prefix="o", target={"kind": "user", "id": "another"})
    other = failures(0, 1, 2, 3, 4, prefix="t", tenant_id="another-tenant")

    await world.deliver([*ours, *theirs, *other])

    assert not await world.current()
    (alert,) = await world.current("another-tenant")
    assert alert["count"] == 5


POISON: list[dict[str, Any]] = [
    {"occurred_at": "soon"},
    {"occurred_at": None},
    {"recorded_at": 5},
    {"target": "someone"},
    {"target": {"kind": "user"}},
    {"target": {"kind": "user", "id": 7}},
    {"reason": ["bad_credentials"]},
    {"tenant_id": ""},
    {"type": None},
    {"recorded_at": "0001-01-01T00:00:00.000000Z"},
]


@pytest.mark.parametrize("wrong", POISON, ids=str)
async def test_poison_is_kept_and_holds_nobody_up(world: World, wrong: dict[str, Any]) -> None:
    healthy = failures(0, 1, 2, 3, 4)
    poison = {**stored_event("poison", START), **wrong}
    await world.keep(healthy)

    for _ in range(2):
        await world.consumer().consume([healthy[0], poison, *healthy[1:]])

    (letter,) = await world.dead(poison["tenant_id"] or "platform")
    assert (letter["item_id"], letter["consumer"]) == ("poison", "detect_threats")
    assert len(await world.current()) == 1


async def test_a_stored_event_that_cannot_be_read_does_not_blind_its_neighbors(world: World) -> None:
    await world.keep([stored_event("bad", START + seconds(2), recorded_at=None, reason=["bad_credentials"])])

    await world.deliver(failures(0, 1, 2, 3, 4))

    (alert,) = await world.current()
    assert alert["count"] == 5


async def test_a_pattern_that_fails_on_one_key_leaves_the_others_in_peace(world: World) -> None:
    def fails(observed: Any, parameters: Any) -> Any:
        if any(each.id.startswith("bad") for each in observed):
            raise ZeroDivisionError
        return BRUTE_FORCE.crossings(observed, parameters)

    fragile: Pattern[Any] = replace(BRUTE_FORCE, crossings=fails)
    bad = failures(0, 1, prefix="bad", target={"kind": "user", "id": "another"})

    await world.deliver([*bad, *failures(0, 1, 2, 3, 4)], fragile)

    assert [letter["error"] for letter in await world.dead()] == ["ZeroDivisionError"] * 2
    assert len(await world.current()) == 1


async def test_what_the_store_will_never_take_holds_nobody_up(world: World) -> None:
    """A batch that is too large is too large every time: the feed must not stand still over it."""
    other = failures(0, 1, 2, 3, 4, prefix="other", target={"kind": "user", "id": "another"})
    batches = 0

    async def too_large(call: str) -> None:
        nonlocal batches
        batches += call == "batch"
        if call == "batch" and batches == 1:
            raise TooLarge

    mine = failures(0, 1, 2, 3, 4)
    await world.keep([*mine, *other])
    await world.consumer(store=Bystander(world.store, too_large)).consume([*mine, *other])

    assert [letter["error"] for letter in await world.dead()] == ["TooLarge"] * 5
    assert [alert["key"] for alert in await world.current()] == ["another"]


FAULTS: list[Exception] = [Unavailable(), Throttled(), SecretsError("secret index: gone")]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
async def test_a_fault_at_any_call_is_repaired_by_repetition(error: Exception) -> None:
    """Fail at the k-th store call, for every k there is, then deliver again: same alerts, one event each."""
    batches = [
        failures(100, 101, 102, 103, 104),
        failures(50, 3000, prefix="f"),
        failures(*range(110, 140), prefix="g"),
    ]
    async with new_world() as calm:
        for batch in batches:
            await calm.deliver(batch)
        expected = compared(await calm.current())
    for k in range(1, 60):
        fault = FailsAt(k, error)
        async with new_world() as world:
            consumer = world.consumer(store=Bystander(world.store, fault))
            for batch in batches:
                await world.keep(batch)
                await _until_it_works(consumer.consume, batch)
            await _drain(world)
            assert compared(await world.current()) == expected
            raised = [event["target"]["id"] for event in await world.events("alert.raise")]
            assert sorted(raised) == sorted(alert["id"] for alert in await world.all_alerts())
            assert not await world.dead()
        if not fault.raised:
            return
    pytest.fail("more store calls than expected")


async def _until_it_works(consume: Any, batch: list[Item]) -> None:
    try:
        await consume(batch)
    except (StoreError, Unready):
        await consume(batch)


async def _drain(world: World) -> None:
    """What the drain of the outbox does after a crash."""
    for change in await world.store.changes(ALERTS, 0, 1000):
        if change.item["kind"] == "outbox":
            await world.outbox().drain(ALERTS, change.item)


async def test_a_rival_with_an_older_view_starts_over(world: World) -> None:
    """It has read the events before a late one came; the other has seen both and was faster. Ids differ: no clash."""
    late, rest = failures(50, prefix="late"), failures(100, 101, 102, 103, 104)
    await world.keep(rest)
    overtaken = False

    async def other_first(call: str) -> None:
        nonlocal overtaken
        if call == "batch" and not overtaken:
            overtaken = True
            await world.deliver(late)

    await world.consumer(store=Bystander(world.store, other_first)).consume(rest)

    (alert,) = await world.all_alerts()
    assert overtaken
    assert alert["count"] == 6


async def test_endless_rivalry_gives_the_batch_back(world: World) -> None:
    await world.keep(failures(0, 1, 2, 3, 4))

    async def always_overtaken(call: str) -> None:
        if call == "batch":
            raise PreconditionFailed

    with pytest.raises(PreconditionFailed):
        await world.consumer(store=Bystander(world.store, always_overtaken)).consume(failures(0))


async def test_many_consumers_of_one_attack_raise_it_once(world: World) -> None:
    events = failures(*range(8))
    await world.keep(events)

    await asyncio.gather(*(world.consumer().consume([event]) for event in events))

    (alert,) = await world.all_alerts()
    assert alert["count"] == 8
    assert len(await world.events("alert.raise")) == 1


async def test_more_alerts_than_one_commit_takes(world: World) -> None:
    starts = [timedelta(hours=hour).total_seconds() for hour in range(0, 90, 2)]

    await world.deliver(failures(*(start + n for start in starts for n in range(5))))

    assert len(await world.current()) == len(starts)
    assert len(await world.events("alert.raise")) == len(starts)


async def test_an_implausible_time_is_found_by_its_neighbors(world: World) -> None:
    """Events whose occurred_at lies years off count at the time of their recording, also when they came first."""
    odd = [stored_event(f"odd{n}", START + timedelta(days=d), START + seconds(n)) for n, d in enumerate((-900, 900))]
    await world.deliver(odd)

    await world.deliver(failures(2, 3, 4))

    (alert,) = await world.current()
    assert alert["count"] == 5
    assert alert["first_seen"] == rfc3339(START)


async def test_an_attack_of_more_events_than_a_page_holds(world: World) -> None:
    await world.deliver(failures(*range(2100)))

    (alert,) = await world.current()
    assert (alert["count"], len(alert["event_ids"]), alert["event_ids"][-1]) == (2100, 500, "e0499")
