"""The retry of dead letters: until the event is handled or gone, at growing intervals, each letter by itself."""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from shared.audit.dead_letters import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_PER_RUN,
    STUCK_AFTER,
    DeadLetters,
    pause_after,
)
from shared.audit.events.profile import ProfileView
from shared.audit.model import PLATFORM_TENANT, Draft, StoredEvent
from shared.core.clock import parse_rfc3339, rfc3339
from shared.core.errors import Unready
from shared.storage.containers import AUDIT_EVENTS, DEAD_LETTERS, Container
from shared.storage.documents import DocumentStore, Item, Partition, PatchRemove, PatchSet
from shared.storage.errors import Conflict, PreconditionFailed, Throttled, TooLarge, Unavailable
from tests.audit.support import OTHER, REQUEST, TENANT, World
from tests.faults import Crash, FaultyStore, Mode

CONSUMER = "seal"
MODES: tuple[Mode, ...] = ("before", "after")


@dataclass
class Consumer:
    """A consumer that fails on the events in `fails`, and remembers what it handled."""

    fails: dict[str, BaseException] = field(default_factory=dict)
    handled: list[str] = field(default_factory=list)

    async def __call__(self, event: StoredEvent) -> None:
        await asyncio.sleep(0)
        if event["id"] in self.fails:
            raise self.fails[event["id"]]
        self.handled.append(event["id"])


def letters_of(world: World, consumer: Consumer, store: DocumentStore | None = None) -> DeadLetters:
    letters = DeadLetters(store or world.store, world.clock)
    letters.on(CONSUMER, consumer)
    return letters


async def dead(world: World, count: int = 1, tenant_id: str = TENANT, consumer: str = CONSUMER) -> list[str]:
    """Stored events that the consumer failed on; their ids."""
    ids: list[str] = []
    for _ in range(count):
        event = await world.recorder.record(Draft(tenant_id, ProfileView(), REQUEST))
        await world.letters.put(consumer, event, ValueError())
        ids.append(event["id"])
    return ids


async def left(world: World, tenant_id: str = TENANT) -> list[Item]:
    return await world.all(DEAD_LETTERS, tenant_id)


async def test_a_letter_is_retried_when_it_is_due_and_closed_when_its_event_is_handled(world: World) -> None:
    consumer = Consumer()
    letters = letters_of(world, consumer)
    (event,) = await dead(world)
    world.clock.advance(seconds=59)
    assert await letters.retry(TENANT) == 0
    assert consumer.handled == []
    world.clock.advance(seconds=1)
    assert await letters.retry(TENANT) == 1
    assert consumer.handled == [event]
    assert await left(world) == []
    assert await letters.retry(TENANT) == 0


async def test_pauses_double_up_to_a_cap_and_the_letter_is_never_given_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Consumer()
    letters = letters_of(world, consumer)
    (event,) = await dead(world)
    consumer.fails[event] = RuntimeError("ada@example.com")
    pauses = []
    for attempt in range(1, STUCK_AFTER + 5):
        world.clock.set(parse_rfc3339((await left(world))[0]["retry_at"]))
        caplog.clear()
        assert await letters.retry(TENANT) == 0
        (letter,) = await left(world)
        stuck = attempt >= STUCK_AFTER
        assert (letter["state"], letter["attempts"], letter["failures"]) == (
            "stuck" if stuck else "waiting",
            attempt,
            attempt + 1,
        )
        assert (letter["error"], letter["last_failed_at"]) == ("RuntimeError", rfc3339(world.clock.now()))
        assert ("dead_letter_stuck" in caplog.text) == stuck
        assert "ada@example.com" not in caplog.text
        pauses.append(parse_rfc3339(letter["retry_at"]) - world.clock.now())
    assert pauses[:3] == [FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8]
    assert pauses[-5:] == [LONGEST_PAUSE] * 5
    consumer.fails.clear()
    world.clock.advance(hours=6)
    assert await letters.retry(TENANT) == 1
    assert await left(world) == []


def test_pauses_stay_within_bounds() -> None:
    assert pause_after(0) == FIRST_PAUSE
    assert all(FIRST_PAUSE <= pause_after(n) <= pause_after(n + 1) <= LONGEST_PAUSE for n in range(100))
    assert pause_after(10**9) == LONGEST_PAUSE


async def test_a_letter_that_fails_holds_up_no_other(world: World) -> None:
    first, second, third = await dead(world, 3)
    for error in (ValueError(), TooLarge(), Conflict(), PreconditionFailed()):
        consumer = Consumer({second: error})
        world.clock.advance(hours=7)
        await letters_of(world, consumer).retry(TENANT)
        assert second not in consumer.handled
    assert [letter["item_id"] for letter in await left(world)] == [second]
    assert {first, third}.isdisjoint(letter["item_id"] for letter in await left(world))
    assert (await left(world))[0]["attempts"] == 4


@pytest.mark.parametrize(
    "error", [Unavailable(), Throttled(), Unready("audit_unavailable")], ids=lambda e: type(e).__name__
)
async def test_a_store_that_does_not_answer_ends_the_run_and_the_next_goes_on_with_the_others(
    error: Exception, world: World
) -> None:
    """Should one event be what the store cannot bear, the others still get their turn; it costs no attempt."""
    first, second = await dead(world, 2)
    consumer = Consumer({first: error})
    letters = letters_of(world, consumer)
    world.clock.advance(minutes=1)
    with pytest.raises(type(error)):
        await letters.retry(TENANT)
    assert consumer.handled == []
    assert await letters.retry(TENANT) == 1
    assert consumer.handled == [second]
    (letter,) = await left(world)
    assert (letter["attempts"], letter["state"]) == (0, "waiting")


async def test_a_letter_whose_event_is_gone_is_closed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer()
    await world.letters.put(CONSUMER, {"id": "gone", "tenant_id": TENANT, "period": "2026-03"}, ValueError())
    world.clock.advance(minutes=1)
    assert await letters_of(world, consumer).retry(TENANT) == 1
    assert (await left(world), consumer.handled) == ([], [])
    assert "dead_letter_event_gone" in caplog.text


async def test_a_letter_of_an_unknown_consumer_stays(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await dead(world, consumer="of_tomorrow")
    (known,) = await dead(world)
    consumer = Consumer()
    world.clock.advance(minutes=1)
    assert await letters_of(world, consumer).retry(TENANT) == 1
    assert consumer.handled == [known]
    (letter,) = await left(world)
    assert (letter["consumer"], letter["attempts"], letter["state"]) == ("of_tomorrow", 0, "waiting")
    assert "dead_letter_without_consumer" in caplog.text


async def test_what_cannot_be_retried_is_left_alone(world: World) -> None:
    await world.letters.put(CONSUMER, {"id": "a/b", "tenant_id": TENANT, "period": "2026-03"}, ValueError())
    before = await left(world)
    world.clock.advance(days=30)
    assert await letters_of(world, Consumer()).retry(TENANT) == 0
    assert await left(world) == before


BROKEN: list[Item] = [
    {"consumer": None},
    {"consumer": "another"},
    {"attempts": "many"},
    {"attempts": True},
    {"attempts": -1},
    {"attempts": None},
    {"failures": "many"},
    {"failures": None},
    {"failures": [1]},
    {"failures": 1.5},
    {"failures": 2**53},
    {"item_id": None},
    {"item_id": "another"},
    {"period": 7},
    {"period": "2026-13"},
    {"state": 7},
    {"state": "unretryable"},
    {"state": None},
    {"retry_at": ""},
    {"retry_at": "0"},
    {"created_at": {}},
    {"error": None},
]


@pytest.mark.parametrize("broken", BROKEN, ids=repr)
async def test_a_letter_that_nobody_can_read_holds_up_no_other(
    broken: Item, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bad, good = await dead(world, 2)
    for name, value in broken.items():
        await world.store.patch(DEAD_LETTERS, (TENANT,), f"{CONSUMER}|{bad}", [PatchSet(name, value)])
    consumer = Consumer({bad: ValueError()})
    world.clock.advance(minutes=1)
    await letters_of(world, consumer).retry(TENANT)
    assert consumer.handled == [good]
    (letter,) = await left(world)
    assert letter["id"] == f"{CONSUMER}|{bad}"
    assert letter.get("retry_at", "z") > rfc3339(world.clock.now()), "nor does it come first the next time"
    assert ("retry_at" in letter) == ("period" not in broken), "where its event stands is known no more"
    assert letter.get("reason") == ("no_usable_period" if "period" in broken else None)
    assert "dead_letter_broken" in caplog.text
    assert "dead_letter_changed_meanwhile" not in caplog.text
    for name in ("attempts", "failures"):
        assert letter[name] == {"attempts": 0, "failures": 1}[name]
    consumer.fails.clear()
    world.clock.advance(minutes=1)
    assert await letters_of(world, consumer).retry(TENANT) == ("period" not in broken)


@pytest.mark.parametrize("missing", ["consumer", "attempts", "failures", "item_id", "period", "state", "error_at"])
async def test_a_letter_that_lacks_a_field_is_written_anew(missing: str, world: World) -> None:
    (event,) = await dead(world)
    await world.store.patch(DEAD_LETTERS, (TENANT,), f"{CONSUMER}|{event}", [PatchRemove(missing)])
    consumer = Consumer()
    world.clock.advance(minutes=1)
    assert await letters_of(world, consumer).retry(TENANT) == 0
    world.clock.advance(minutes=1)
    assert await letters_of(world, consumer).retry(TENANT) == (missing != "period")
    assert consumer.handled == ([event] if missing != "period" else [])


async def test_broken_letters_do_not_starve_the_others(world: World) -> None:
    """As many as one run takes, and all of them due before the others."""
    bad = await dead(world, MOST_PER_RUN)
    for each in bad:
        patches = [PatchSet("failures", "many"), PatchSet("retry_at", "2000-01-01T00:00:00.000000Z")]
        await world.store.patch(DEAD_LETTERS, (TENANT,), f"{CONSUMER}|{each}", patches)
    (good,) = await dead(world)
    consumer = Consumer(dict.fromkeys(bad, ValueError()))
    world.clock.advance(minutes=1)
    await letters_of(world, consumer).retry(TENANT)
    await letters_of(world, consumer).retry(TENANT)
    assert consumer.handled == [good]
    assert {letter["failures"] for letter in await left(world)} == {1}


async def test_a_broken_letter_that_cannot_be_retried_says_why_again(world: World) -> None:
    await world.letters.put(CONSUMER, {"id": "a/b", "tenant_id": TENANT, "period": "2026-03"}, ValueError())
    await world.letters.put(CONSUMER, {"id": "e", "period": "2026-03"}, ValueError())
    before = [*await left(world), *await left(world, PLATFORM_TENANT)]
    for each in before:
        patches = [PatchSet("retry_at", "2000-01-01T00:00:00.000000Z"), PatchSet("attempts", "many")]
        await world.store.patch(DEAD_LETTERS, (each["tenant_id"],), each["id"], patches)
    for tenant_id in (TENANT, PLATFORM_TENANT):
        assert await letters_of(world, Consumer()).retry(tenant_id) == 0
    after = [*await left(world), *await left(world, PLATFORM_TENANT)]
    assert after == [each | {"error": "unknown", "error_at": "?"} for each in before]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_broken_letter_that_changes_while_it_is_written_anew_is_left_as_it_is(
    ended: bool, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (event,) = await dead(world)
    place = (DEAD_LETTERS, (TENANT,), f"{CONSUMER}|{event}")
    await world.store.patch(*place, [PatchSet("attempts", "many")])

    class Overtaken(FaultyStore):
        async def replace(
            self, container: Container, partition: Partition, item: Item, if_match: str | None = None
        ) -> Item:
            await (world.store.delete(*place) if ended else world.store.patch(*place, [PatchSet("attempts", 3)]))
            return await super().replace(container, partition, item, if_match)

    world.clock.advance(minutes=1)
    assert await letters_of(world, Consumer(), Overtaken(world.store)).retry(TENANT) == 0
    assert [letter["attempts"] for letter in await left(world)] == ([] if ended else [3])
    assert "dead_letter_changed_meanwhile" in caplog.text


async def test_tenants_are_retried_apart(world: World) -> None:
    await dead(world)
    (theirs,) = await dead(world, tenant_id=OTHER)
    consumer = Consumer()
    world.clock.advance(minutes=1)
    assert await letters_of(world, consumer).retry(OTHER) == 1
    assert consumer.handled == [theirs]
    assert len(await left(world)) == 1


async def test_a_run_takes_the_longest_due_of_very_many(world: World) -> None:
    ids = await dead(world, MOST_PER_RUN + 30)
    consumer = Consumer(dict.fromkeys(ids[:50], ValueError()))
    letters = letters_of(world, consumer)
    world.clock.advance(minutes=1)
    await letters.retry(TENANT)
    assert consumer.handled == ids[50:MOST_PER_RUN]
    await letters.retry(TENANT)
    assert consumer.handled == ids[50:]
    assert len(await left(world)) == 50


async def test_two_instances_at_once_do_no_harm(world: World) -> None:
    good, bad = (await dead(world, 10), await dead(world, 10))
    consumer = Consumer(dict.fromkeys(bad, ValueError()))
    world.clock.advance(minutes=1)
    one, two = letters_of(world, consumer), letters_of(world, consumer)
    closed = await asyncio.gather(one.retry(TENANT), two.retry(TENANT))
    assert sum(closed) == len(good)
    assert set(consumer.handled) == set(good)
    assert {(each["item_id"], each["attempts"], each["failures"]) for each in await left(world)} == {
        (each, 1, 2) for each in bad
    }


async def test_an_event_that_fails_again_while_it_is_retried_is_not_forgotten(world: World) -> None:
    """The feed delivers it once more and it fails, just when the retry has handled it."""
    (event,) = await dead(world)
    stored = await world.store.read(AUDIT_EVENTS, (TENANT, event_period(world)), event)

    class Overtaken(Consumer):
        async def __call__(self, item: StoredEvent) -> None:
            await super().__call__(item)
            await world.letters.put(CONSUMER, stored, ValueError())

    world.clock.advance(minutes=1)
    assert await letters_of(world, Overtaken()).retry(TENANT) == 0
    (letter,) = await left(world)
    assert letter["failures"] == 2
    assert await letters_of(world, Consumer()).retry(TENANT) == 1


def event_period(world: World) -> str:
    return world.clock.now().strftime("%Y-%m")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [Unavailable(), Crash()], ids=lambda error: type(error).__name__)
async def test_a_fault_at_any_call_loses_no_letter(error: BaseException, mode: Mode, fails: bool, world: World) -> None:
    """Until its event was handled, a letter is there; once it was, it goes sooner or later."""
    for k in range(1, 6):
        (event,) = await dead(world)
        consumer = Consumer({event: ValueError()} if fails else {})
        world.clock.advance(minutes=1)
        store = FaultyStore(world.store, k, mode, error)
        try:
            await letters_of(world, consumer, store).retry(TENANT)
        except (Unavailable, Crash):
            assert store.failed == 1
        waiting = [letter["item_id"] for letter in await left(world)]
        assert event in waiting or event in consumer.handled
        consumer.fails.clear()
        world.clock.advance(hours=6)
        await letters_of(world, consumer).retry(TENANT)
        assert await left(world) == []
        assert event in consumer.handled


def test_a_consumer_has_one_handler(world: World) -> None:
    letters = letters_of(world, Consumer())
    with pytest.raises(ValueError, match="seal has a handler already"):
        letters.on(CONSUMER, Consumer())


async def test_what_became_of_letters_is_counted(world: World) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    letters = DeadLetters(world.store, world.clock, lambda consumer, outcome: seen.update([(consumer, outcome)]))
    consumer = Consumer()
    letters.on(CONSUMER, consumer)
    events = [await world.recorder.record(Draft(TENANT, ProfileView(), REQUEST)) for _ in range(2)]
    for event in events:
        await letters.put(CONSUMER, event, ValueError())
    await letters.put(CONSUMER, {"id": "gone", "tenant_id": TENANT, "period": "2026-03"}, ValueError())
    consumer.fails[events[0]["id"]] = ValueError()
    for _ in range(STUCK_AFTER):
        world.clock.advance(hours=6)
        await letters.retry(TENANT)
    assert seen == {
        (CONSUMER, "put"): 3,
        (CONSUMER, "recovered"): 1,
        (CONSUMER, "closed"): 1,
        (CONSUMER, "failed"): STUCK_AFTER - 1,
        (CONSUMER, "stuck"): 1,
    }


async def test_a_period_s_end_does_not_keep_an_event_from_its_retry(world: World) -> None:
    (event,) = await dead(world)
    world.clock.advance(days=30)
    consumer = Consumer()
    assert await letters_of(world, consumer).retry(TENANT) == 1
    assert consumer.handled == [event]
    assert timedelta(days=30) < world.clock.now() - parse_rfc3339("2026-03-15T00:00:00Z")
