"""The outbox: a change and its events are one, whatever dies in between; everything is delivered, once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from shared.audit.model import StoredEvent
from shared.audit.outbox import FollowUp, Outbox, is_entry
from shared.core.clock import rfc3339
from shared.core.errors import Clash, KraftdError, Unready
from shared.storage.containers import ALERTS, AUDIT_EVENTS, IDENTITY
from shared.storage.documents import MAX_BATCH_OPERATIONS, DocumentStore, Item, Query, create
from shared.storage.errors import Conflict, StoreError, Throttled, TooLarge, Unavailable
from tests.audit.support import EXAMPLES, NOW, OTHER, TENANT, World
from tests.faults import Crash, FaultyStore, Mode

CHANGE: Item = {"id": "user|1", "tenant_id": TENANT, "kind": "user"}
FOLLOW_UP = FollowUp("confirm", {"key": "k"})
FUTURE = rfc3339(NOW + timedelta(days=1))
MODES: tuple[Mode, ...] = ("before", "after")


@dataclass
class Handler:
    """A follow-up that remembers what it was asked, and answers with `verdict` if there is one."""

    verdict: Exception | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, arguments: dict[str, Any]) -> None:
        self.asked.append(arguments)
        if self.verdict is not None:
            raise self.verdict


def outbox_of(world: World, handler: Callable[[dict[str, Any]], Awaitable[None]], through: DocumentStore) -> Outbox:
    outbox = world.outbox(through)
    outbox.on("confirm", handler)
    return outbox


async def drafted(world: World, count: int = 2) -> list[StoredEvent]:
    return [await world.recorder.finish(EXAMPLES["profile.view"]) for _ in range(count)]


async def entries(world: World, tenant_id: str = TENANT) -> list[Item]:
    return [item for item in await world.all(IDENTITY, tenant_id) if is_entry(item)]


async def changes(world: World) -> list[Item]:
    return [item for item in await world.all(IDENTITY, TENANT) if not is_entry(item)]


async def left_behind(world: World, events: list[StoredEvent], **commit: Any) -> Item:
    """The entry of a commit that died right after its batch."""
    store = FaultyStore(world.store, 1, "after", Crash())
    outbox = outbox_of(world, Handler(), store)
    with pytest.raises(Crash):
        await outbox.commit(IDENTITY, TENANT, commit.pop("operations", []), events, **commit)
    (entry,) = [each for each in await entries(world) if each["events"] == events]
    return entry


async def test_a_commit_delivers_and_leaves_nothing(world: World) -> None:
    handler, events = Handler(), await drafted(world)
    store = FaultyStore(world.store)
    await outbox_of(world, handler, store).commit(IDENTITY, TENANT, [create(CHANGE)], events, [FOLLOW_UP])
    assert await world.events() == events
    assert await world.all(IDENTITY, TENANT) == [CHANGE]
    assert handler.asked == [{"key": "k"}]
    assert [(call.operation, call.container) for call in store.calls] == [
        ("batch", "identity"),
        ("create", "audit_events"),
        ("create", "audit_events"),
        ("delete", "identity"),
    ]


async def test_change_and_entry_are_one_batch(world: World) -> None:
    events = await drafted(world)
    for mode in MODES:
        store = FaultyStore(world.store, 1, mode, Crash())
        with pytest.raises(Crash):
            await outbox_of(world, Handler(), store).commit(IDENTITY, TENANT, [create(CHANGE)], events, [FOLLOW_UP])
        if mode == "before":
            assert await world.all(IDENTITY, TENANT) == []
    (entry,) = await entries(world)
    assert await changes(world) == [CHANGE]
    assert await world.events() == []
    assert entry["id"].startswith("outbox|")
    assert {name: entry[name] for name in entry if name != "id"} == {
        "tenant_id": TENANT,
        "kind": "outbox",
        "created_at": rfc3339(NOW),
        "events": events,
        "follow_ups": [{"kind": "confirm", "arguments": {"key": "k"}}],
    }


async def test_a_change_that_fails_leaves_no_trace(world: World) -> None:
    await world.store.create(IDENTITY, (TENANT,), CHANGE)
    handler = Handler()
    with pytest.raises(Conflict):
        await outbox_of(world, handler, world.store).commit(
            IDENTITY, TENANT, [create(CHANGE)], await drafted(world), [FOLLOW_UP]
        )
    assert await world.events() == []
    assert await entries(world) == []
    assert handler.asked == []


@pytest.mark.parametrize("error", [Crash(), Unavailable(), Throttled()], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by", ["drain", "sweep"])
async def test_a_fault_at_any_call_loses_nothing_and_repeats_nothing(
    error: BaseException, mode: Mode, by: str, world: World
) -> None:
    """Whatever call fails: either nothing was done, or all of it is there after the drain, each event once."""
    calls = 4
    for k in range(1, calls + 2):
        change = {**CHANGE, "id": f"user|{k}"}
        events, handler = await drafted(world), Handler()
        store = FaultyStore(world.store, k, mode, error)
        raised: BaseException | None = None
        try:
            await outbox_of(world, handler, store).commit(IDENTITY, TENANT, [create(change)], events, [FOLLOW_UP])
        except (Crash, StoreError) as caught:
            raised = caught
        assert store.failed == (1 if k <= calls else 0)
        if raised is not None and not isinstance(raised, Crash):
            assert k == 1, "after the commit a store error is not the caller's"
        recovered = outbox_of(world, handler, world.store)
        if by == "sweep":
            await recovered.sweep(IDENTITY, TENANT, FUTURE)
        else:
            for change_of_feed in await entries(world):
                await recovered.drain(IDENTITY, change_of_feed)
        committed = change in await changes(world)
        assert committed == (not (k == 1 and mode == "before"))
        published = [event for event in await world.events() if event["id"] in {each["id"] for each in events}]
        assert published == (events if committed else [])
        assert bool(handler.asked) == committed
        assert await entries(world) == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_fault_at_any_call_of_the_drain_is_made_up_by_the_next(mode: Mode, world: World) -> None:
    for k in range(1, 6):
        events, handler = await drafted(world), Handler()
        entry = await left_behind(world, events, follow_ups=[FOLLOW_UP])
        store = FaultyStore(world.store, k, mode)
        if k <= 4:
            with pytest.raises(Unavailable):
                await outbox_of(world, handler, store).drain(IDENTITY, entry)
        await outbox_of(world, handler, world.store).drain(IDENTITY, entry)
        assert [event for event in await world.events() if event in events] == events
        assert await entries(world) == []
        assert handler.asked


async def test_a_store_error_after_the_commit_is_not_the_caller_s(world: World) -> None:
    """The change stands and its events are durable in the entry: a 503 would make the client do it again."""
    store = FaultyStore(world.store, 2, times=None)
    events = await drafted(world)
    await outbox_of(world, Handler(), store).commit(IDENTITY, TENANT, [create(CHANGE)], events)
    assert [entry["events"] for entry in await entries(world)] == [events]


async def test_a_verdict_reaches_the_caller_and_ends_the_entry(world: World) -> None:
    handler, events = Handler(Clash("email_taken")), await drafted(world)
    with pytest.raises(Clash, match="email_taken"):
        await outbox_of(world, handler, world.store).commit(IDENTITY, TENANT, [create(CHANGE)], events, [FOLLOW_UP])
    assert await world.events() == events
    assert await entries(world) == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_verdict_reaches_the_caller_even_if_the_entry_cannot_be_deleted(mode: Mode, world: World) -> None:
    """Otherwise a change that was refused would be answered as done."""
    handler, events = Handler(Clash("email_taken")), await drafted(world, 1)
    store = FaultyStore(world.store, 1, mode, counts=lambda call: call.operation == "delete")
    with pytest.raises(Clash, match="email_taken"):
        await outbox_of(world, handler, store).commit(IDENTITY, TENANT, [create(CHANGE)], events, [FOLLOW_UP])
    assert await world.events() == events
    await outbox_of(world, handler, world.store).sweep(IDENTITY, TENANT, FUTURE)
    assert await entries(world) == []


async def test_after_a_verdict_the_other_follow_ups_still_run(world: World) -> None:
    outbox, other = outbox_of(world, Handler(Clash("email_taken")), world.store), Handler()
    outbox.on("other", other)
    with pytest.raises(Clash):
        await outbox.commit(IDENTITY, TENANT, [], await drafted(world), [FOLLOW_UP, FollowUp("other", {"n": 1})])
    assert other.asked == [{"n": 1}]


async def test_a_verdict_in_a_drain_ends_the_entry_quietly(world: World) -> None:
    events = await drafted(world)
    entry = await left_behind(world, events, follow_ups=[FOLLOW_UP])
    assert await outbox_of(world, Handler(Clash("email_taken")), world.store).drain(IDENTITY, entry) is True
    assert await world.events() == events
    assert await entries(world) == []


async def test_a_follow_up_that_is_not_ready_has_given_no_verdict(world: World) -> None:
    """Unready says that nothing was done: the entry has to stay, or the follow-up never happens."""
    handler, events = Handler(Unready("audit_unavailable", retry_after_seconds=1)), await drafted(world)
    outbox = outbox_of(world, handler, world.store)
    await outbox.commit(IDENTITY, TENANT, [create(CHANGE)], events, [FOLLOW_UP])
    (entry,) = await entries(world)
    with pytest.raises(Unready):
        await outbox.drain(IDENTITY, entry)
    with pytest.raises(Unready):
        await outbox.sweep(IDENTITY, TENANT, FUTURE)
    assert await entries(world) == [entry]
    handler.verdict = None
    assert await outbox.drain(IDENTITY, entry) is True
    assert len(handler.asked) == 4
    assert await world.events() == events
    assert await entries(world) == []


async def test_a_follow_up_that_breaks_leaves_the_entry(world: World) -> None:
    handler, events = Handler(RuntimeError("a defect")), await drafted(world)
    with pytest.raises(RuntimeError):
        await outbox_of(world, handler, world.store).commit(IDENTITY, TENANT, [create(CHANGE)], events, [FOLLOW_UP])
    assert await world.events() == events
    assert len(await entries(world)) == 1


async def test_an_unknown_follow_up_is_refused_before_anything_is_written(world: World) -> None:
    store = FaultyStore(world.store)
    with pytest.raises(ValueError, match="follow-up other has no handler"):
        await outbox_of(world, Handler(), store).commit(
            IDENTITY, TENANT, [create(CHANGE)], await drafted(world), [FOLLOW_UP, FollowUp("other", {})]
        )
    assert store.calls == []


def test_a_follow_up_has_one_handler(world: World) -> None:
    outbox = outbox_of(world, Handler(), world.store)
    with pytest.raises(ValueError, match="has a handler already"):
        outbox.on("confirm", Handler())


async def test_two_drains_at_once_publish_once(world: World) -> None:
    """Both meet in the follow-up, when both have published and neither has deleted."""
    barrier = asyncio.Barrier(2)

    async def meet(_: dict[str, Any]) -> None:
        async with asyncio.timeout(30):
            await barrier.wait()

    events = await drafted(world, 5)
    entry = await left_behind(world, events, follow_ups=[FOLLOW_UP])
    drains = [outbox_of(world, meet, world.store).drain(IDENTITY, entry) for _ in range(2)]
    assert await asyncio.gather(*drains) == [True, True]
    assert await world.events() == events
    assert await entries(world) == []


async def test_a_drain_of_an_entry_that_is_gone_does_nothing(world: World) -> None:
    handler, events = Handler(), await drafted(world)
    entry = await left_behind(world, events, follow_ups=[FOLLOW_UP])
    outbox = outbox_of(world, handler, world.store)
    assert [await outbox.drain(IDENTITY, entry) for _ in range(3)] == [True, False, False]
    assert handler.asked == [{"key": "k"}]
    assert await world.events() == events


async def test_a_drain_delivers_what_the_store_holds_not_what_it_was_given(world: World) -> None:
    """The feed may bring an old picture of an entry; another instance's is never trusted over the store's."""
    events = await drafted(world)
    entry = await left_behind(world, events)
    forged = {**entry, "events": [{**events[0], "id": "0195c000-0000-7000-8000-00000000dead"}]}
    await outbox_of(world, Handler(), world.store).drain(IDENTITY, forged)
    assert await world.events() == events


async def test_an_entry_with_many_events(world: World) -> None:
    events = await drafted(world, 300)
    entry = await left_behind(world, events)
    half = FaultyStore(world.store, 150)
    with pytest.raises(Unavailable):
        await outbox_of(world, Handler(), half).drain(IDENTITY, entry)
    assert 0 < len(await world.events()) < 300
    await outbox_of(world, Handler(), world.store).drain(IDENTITY, entry)
    assert await world.events() == events
    assert await entries(world) == []


async def test_the_entry_counts_against_the_limit_of_a_batch(world: World) -> None:
    steps = [create({**CHANGE, "id": f"user|{n}"}) for n in range(MAX_BATCH_OPERATIONS)]
    outbox, events = outbox_of(world, Handler(), world.store), await drafted(world, 1)
    with pytest.raises(TooLarge):
        await outbox.commit(IDENTITY, TENANT, steps, events)
    assert await world.all(IDENTITY, TENANT) == []
    assert await world.events() == []
    await outbox.commit(IDENTITY, TENANT, steps[:-1], events)
    assert len(await changes(world)) == MAX_BATCH_OPERATIONS - 1
    assert await world.events() == events


async def test_a_commit_may_be_events_alone(world: World) -> None:
    events = await drafted(world)
    await outbox_of(world, Handler(), world.store).commit(IDENTITY, TENANT, [], events)
    assert await world.events() == events
    assert await world.all(IDENTITY, TENANT) == []


async def test_a_sweep_takes_only_what_is_older(world: World) -> None:
    made: list[list[StoredEvent]] = []
    for _ in range(3):
        made.append(await drafted(world, 1))
        await left_behind(world, made[-1])
        world.clock.advance(minutes=1)
    outbox = outbox_of(world, Handler(), world.store)
    assert await outbox.sweep(IDENTITY, TENANT, rfc3339(NOW)) == 0
    assert await outbox.sweep(IDENTITY, TENANT, rfc3339(NOW + timedelta(minutes=1))) == 1
    assert await world.events() == made[0]
    assert [entry["events"] for entry in await entries(world)] == made[1:]
    assert await outbox.sweep(IDENTITY, TENANT, rfc3339(NOW + timedelta(minutes=1, microseconds=1))) == 1
    assert await outbox.sweep(IDENTITY, TENANT, FUTURE) == 1
    assert await outbox.sweep(IDENTITY, TENANT, FUTURE) == 0


async def test_a_sweep_pages_through_many_entries_of_one_moment(world: World) -> None:
    """More than a page, all of the same time: only their ids tell them apart."""
    events = await drafted(world, 250)
    entry = await left_behind(world, events[:1])
    for number, event in enumerate(events[1:]):
        await world.store.create(IDENTITY, (TENANT,), {**entry, "id": f"outbox|{number}", "events": [event]})
    assert await outbox_of(world, Handler(), world.store).sweep(IDENTITY, TENANT, FUTURE) == 250
    assert await world.events() == events
    assert await entries(world) == []


async def test_a_sweep_leaves_other_kinds_and_other_tenants_alone(world: World) -> None:
    bystanders: list[Item] = [
        {**CHANGE, "created_at": rfc3339(NOW)},
        {
            "id": "outbox|x",
            "tenant_id": OTHER,
            "kind": "outbox",
            "created_at": rfc3339(NOW),
            "events": [],
            "follow_ups": [],
        },
    ]
    for item in bystanders:
        await world.store.create(IDENTITY, (item["tenant_id"],), item)
    await left_behind(world, await drafted(world))
    assert await outbox_of(world, Handler(), world.store).sweep(IDENTITY, TENANT, FUTURE) == 1
    assert await world.all(IDENTITY, TENANT) == bystanders[:1]
    assert await world.all(IDENTITY, OTHER) == bystanders[1:]


async def test_one_stuck_entry_does_not_hold_up_the_others(world: World) -> None:
    """An entry that a newer version left behind, with a follow-up that this one does not know."""
    first, second = await drafted(world, 1), await drafted(world, 1)
    stuck = await left_behind(world, first)
    unknown = [{"kind": "of_tomorrow", "arguments": {}}]
    await world.store.replace(IDENTITY, (TENANT,), {**stuck, "follow_ups": unknown})
    world.clock.advance(minutes=1)
    await left_behind(world, second)
    outbox = outbox_of(world, Handler(), world.store)
    with pytest.raises(KeyError):
        await outbox.sweep(IDENTITY, TENANT, FUTURE)
    assert await world.events() == first + second  # its events are not held back either
    assert [entry["id"] for entry in await entries(world)] == [stuck["id"]]


async def test_an_event_that_the_store_will_never_take_does_not_hold_up_the_others(world: World) -> None:
    first, second = await drafted(world, 1), await drafted(world, 1)
    stuck = await left_behind(world, first)
    world.clock.advance(minutes=1)
    await left_behind(world, second)
    store = FaultyStore(world.store, 1, error=TooLarge(), counts=lambda call: call.container == "audit_events")
    with pytest.raises(TooLarge):
        await outbox_of(world, Handler(), store).sweep(IDENTITY, TENANT, FUTURE)
    assert await world.events() == second
    assert [entry["id"] for entry in await entries(world)] == [stuck["id"]]


async def test_more_stuck_entries_than_a_page_do_not_hold_up_the_rest(world: World) -> None:
    stuck: Item = {"tenant_id": TENANT, "kind": "outbox", "created_at": rfc3339(NOW), "events": []}
    for number in range(120):
        follow_ups = [{"kind": "of_tomorrow", "arguments": {}}]
        await world.store.create(IDENTITY, (TENANT,), {**stuck, "id": f"outbox|{number}", "follow_ups": follow_ups})
    world.clock.advance(minutes=1)
    events = await drafted(world, 1)
    await left_behind(world, events)
    async with asyncio.timeout(30):  # a sweep that begins at the first page again never ends
        with pytest.raises(KeyError):
            await outbox_of(world, Handler(), world.store).sweep(IDENTITY, TENANT, FUTURE)
    assert await world.events() == events
    assert len(await entries(world)) == 120


async def test_a_sweep_gives_up_at_once_when_the_store_does_not_answer(world: World) -> None:
    for _ in range(3):
        await left_behind(world, await drafted(world, 1))
    store = FaultyStore(world.store, 2, times=None)
    with pytest.raises(Unavailable):
        await outbox_of(world, Handler(), store).sweep(IDENTITY, TENANT, FUTURE)
    assert len(store.calls) == 2


@pytest.mark.parametrize(
    "error", [Unavailable(), Throttled(), Unready("audit_unavailable")], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("at", [1, 2, 3], ids=["read", "publish", "delete"])
@pytest.mark.parametrize("by", ["feed", "sweep", "sweep_tenant"])
async def test_a_store_that_asks_to_wait_makes_no_entry_stuck(by: str, at: int, error: Exception, world: World) -> None:
    """It is raised at once, so that the batch is delivered again, or the round ends and comes back."""
    for _ in range(3):
        await left_behind(world, await drafted(world, 1))
    waiting = await entries(world)
    seen: list[tuple[str, str]] = []
    store = FaultyStore(world.store, at, error=error, times=None, counts=lambda call: call.operation != "query")
    outbox = Outbox(store, world.over(store).recorder, world.clock, world.ids, lambda *told: seen.append(told[:2]))
    work: dict[str, Callable[[], Awaitable[object]]] = {
        "feed": lambda: outbox.drain_each(IDENTITY, waiting),
        "sweep": lambda: outbox.sweep(IDENTITY, TENANT, FUTURE),
        "sweep_tenant": lambda: outbox.sweep_tenant([IDENTITY, ALERTS], TENANT, FUTURE),
    }
    with pytest.raises(type(error)):
        await work[by]()
    assert store.failed == 1, "the others are not tried against a store that wants to be left alone"
    queried = [call.container for call in store.calls if call.operation == "query"]
    assert queried == ([] if by == "feed" else ["identity"])
    assert seen == []
    assert await entries(world) == waiting
    store.mend()
    await work[by]()
    assert await entries(world) == []
    assert seen == [("identity", "drained")] * 3
    assert len(await world.events()) == 3


async def test_events_of_the_feed_are_found_by_their_kind(world: World) -> None:
    entry = await left_behind(world, await drafted(world), operations=[create(CHANGE)])
    page = await world.store.query(IDENTITY, (TENANT,), Query())
    assert [item["id"] for item in page.items if is_entry(item)] == [entry["id"]]
    assert not is_entry({"id": "x"})


async def test_a_published_event_is_what_was_finished(world: World) -> None:
    (event,) = events = await drafted(world, 1)
    entry = await left_behind(world, events)
    world.clock.advance(days=40)  # the month is over when the crash is made up for
    await outbox_of(world, Handler(), world.store).drain(IDENTITY, entry)
    stored = await world.store.read(AUDIT_EVENTS, (TENANT, "2026-03"), event["id"])
    assert {name: stored[name] for name in event} == event


@pytest.mark.parametrize("verdict", [KraftdError("internal"), Clash("email_taken")])
async def test_the_last_verdict_counts(verdict: KraftdError, world: World) -> None:
    outbox = outbox_of(world, Handler(Clash("first")), world.store)
    outbox.on("other", Handler(verdict))
    with pytest.raises(KraftdError) as caught:
        await outbox.commit(IDENTITY, TENANT, [], await drafted(world, 1), [FOLLOW_UP, FollowUp("other", {})])
    assert caught.value is verdict
