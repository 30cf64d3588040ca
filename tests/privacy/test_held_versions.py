"""When an adapter asks again, who waits, and how long an answer is good for: on a scripted source, by the clock."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import pytest

from shared.core.deadline import deadline, remaining
from shared.privacy._held_versions import ASK_AFTER, FRESH_FOR, KEEP_FOR, PAUSE, HeldVersions, Loaded
from shared.privacy.secrets import SETTLING, SecretsError, SecretVersion
from tests.fakes import ManualClock

FORM = re.compile(r"v[0-9]")
SECOND = timedelta(seconds=1)


class Source:
    """Answers with `names`; `error` or `gate` (nobody gets past it until it is set) come first."""

    def __init__(self, clock: ManualClock, *names: str, more: tuple[str, ...] = ()) -> None:
        self.names = list(names)
        self.more = set(more)
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.asked: list[str | None] = []
        self.known: list[list[str] | None] = []
        self.seconds: list[float] = []
        self.held = HeldVersions("tokens", self.load, FORM, clock, load_seconds=0.5)

    async def load(self, known: Mapping[str, SecretVersion] | None, wanted: str | None) -> Loaded:
        self.asked.append(wanted)
        self.known.append(None if known is None else list(known))
        self.seconds.append(remaining(60))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        if wanted in self.more:
            self.more.remove(wanted)
            self.names.append(wanted)
        return Loaded(tuple(SecretVersion(name, name.encode()) for name in self.names), frozenset(self.more))

    async def usable(self) -> list[str]:
        return [each.version for each in await self.held.usable()]

    async def find(self, version: str) -> str | None:
        found = await self.held.find(version)
        return None if found is None else found.version


@pytest.fixture
async def source(clock: ManualClock) -> AsyncIterator[Source]:
    made = Source(clock, "v1")
    yield made
    if made.gate is not None:
        made.gate.set()
    await made.held.close()


async def beside() -> None:
    """Let what runs beside the caller come to its end."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_new_version_is_known_before_it_signs_and_all_that_within_five_minutes() -> None:
    assert ASK_AFTER < FRESH_FOR
    assert FRESH_FOR + timedelta(seconds=20) <= SETTLING
    assert timedelta(minutes=5) >= SETTLING + FRESH_FOR


async def test_an_answer_is_used_for_a_while(source: Source, clock: ManualClock) -> None:
    for _ in range(7):
        assert await source.usable() == ["v1"]
        await beside()
        clock.advance(seconds=ASK_AFTER.total_seconds() / 6)
    assert source.asked == [None]


async def test_then_it_is_asked_for_beside_the_caller(source: Source, clock: ManualClock) -> None:
    await source.usable()
    clock.set(clock.now() + ASK_AFTER + SECOND)
    source.names, source.gate = ["v2", "v1"], asyncio.Event()
    for _ in range(3):
        assert await source.usable() == ["v1"]
        await beside()
    assert source.asked == [None, None]
    source.gate.set()
    await beside()
    assert await source.usable() == ["v2", "v1"]
    assert source.known[1] == ["v1"]


async def test_an_old_answer_is_not_given_without_asking(source: Source, clock: ManualClock) -> None:
    """After a quiet hour, a version that was disabled meanwhile must not let one more request in."""
    await source.usable()
    clock.set(clock.now() + FRESH_FOR + SECOND)
    source.names = ["v2"]
    assert await source.usable() == ["v2"]


async def test_an_answer_that_is_just_not_old_is_given_while_asking(source: Source, clock: ManualClock) -> None:
    await source.usable()
    clock.set(clock.now() + FRESH_FOR)
    source.names = ["v2"]
    assert await source.usable() == ["v1"]


async def test_a_clock_that_is_set_back_makes_an_answer_old(source: Source, clock: ManualClock) -> None:
    await source.usable()
    clock.advance(hours=-5)
    source.names = ["v2"]
    assert await source.usable() == ["v2"]


async def test_a_hundred_first_callers_ask_once(source: Source) -> None:
    source.gate = asyncio.Event()
    callers = [asyncio.create_task(source.usable()) for _ in range(100)]
    await beside()
    source.gate.set()
    assert await asyncio.gather(*callers) == [["v1"]] * 100
    assert source.asked == [None]


async def test_the_first_caller_to_give_up_does_not_take_the_answer_from_the_others(source: Source) -> None:
    source.gate = asyncio.Event()
    first, second = asyncio.create_task(source.usable()), asyncio.create_task(source.usable())
    await beside()
    first.cancel()
    await beside()
    source.gate.set()
    assert await second == ["v1"]
    assert first.cancelled()
    assert source.asked == [None]


async def test_a_caller_waits_no_longer_than_its_request_may(source: Source) -> None:
    source.gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    started = loop.time()
    with deadline(0.05), pytest.raises(SecretsError, match="could not be read in time"):
        await source.usable()
    assert loop.time() - started < 0.3
    source.gate.set()
    await beside()
    assert await source.usable() == ["v1"], "what it started went on for the others"
    assert source.asked == [None]
    assert source.seconds == [60], "and not by the deadline of the first"


async def test_a_source_that_hangs_is_given_up(source: Source, caplog: pytest.LogCaptureFixture) -> None:
    source.gate = asyncio.Event()
    with pytest.raises(SecretsError, match="secret tokens: "):
        await source.usable()
    await asyncio.sleep(0.05)
    why = "secret tokens: no answer in time"
    assert caplog.messages == [f'secrets_not_refreshed {{"held_seconds": null, "root": "tokens", "why": "{why}"}}']
    source.gate.set()
    assert await source.usable() == ["v1"]
    assert source.asked == [None, None]


async def test_an_outage_is_bridged_for_an_hour_and_holds_nobody_up(source: Source, clock: ManualClock) -> None:
    await source.usable()
    start = clock.now()
    clock.set(start + ASK_AFTER + SECOND)
    source.error = SecretsError("secret tokens: gone")
    await source.usable()
    await beside()
    source.gate = asyncio.Event()  # from now on nobody who waited would ever come back
    for minutes in range(2, 61):
        clock.set(start + timedelta(minutes=minutes))
        assert await source.usable() == ["v1"]
    clock.set(start + KEEP_FOR + SECOND)
    with pytest.raises(SecretsError, match="gone"):
        await source.usable()
    source.error = None
    source.gate.set()
    await beside()
    assert await source.usable() == ["v1"]


async def test_during_an_outage_it_asks_after_pauses(source: Source, clock: ManualClock) -> None:
    await source.usable()
    clock.set(clock.now() + FRESH_FOR)
    source.error = SecretsError("secret tokens: gone")
    for _ in range(101):
        await source.usable()
        await beside()
        clock.advance(seconds=1)
    assert len(source.asked) - 1 == 1 + 100 // PAUSE.total_seconds()


async def test_an_outage_that_began_in_a_quiet_time_holds_up_one_caller(source: Source, clock: ManualClock) -> None:
    await source.usable()
    clock.advance(minutes=30)
    source.error = SecretsError("secret tokens: gone")
    assert await source.usable() == ["v1"]
    clock.advance(minutes=31)
    with pytest.raises(SecretsError, match="gone"):
        await source.usable()


async def test_whatever_goes_wrong_its_text_is_not_passed_on(source: Source, caplog: pytest.LogCaptureFixture) -> None:
    source.error = RuntimeError("value=c2VzYW1l")
    with caplog.at_level(logging.DEBUG), pytest.raises(SecretsError, match="secret tokens: RuntimeError") as caught:
        await source.usable()
    assert "c2VzYW1l" not in f"{caught.value!r} {caught.value} {caplog.text}"
    assert caught.value.__cause__ is None


async def test_failures_and_changes_are_told(
    source: Source, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await source.usable()
    clock.advance(minutes=5)
    source.error = SecretsError("secret tokens: gone")
    await source.usable()
    clock.advance(minutes=5)
    source.error, source.names = None, ["v2", "v1"]
    with caplog.at_level(logging.INFO):
        await source.usable()
        await beside()
    assert caplog.messages == [
        'secrets_not_refreshed {"held_seconds": 300, "root": "tokens", "why": "secret tokens: gone"}',
        'secret_versions_changed {"count": 2, "newest": "v2", "root": "tokens"}',
    ]


async def test_none_left_is_an_answer_that_counts_at_once(
    source: Source, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await source.usable()
    clock.advance(minutes=5)
    source.names = []
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            with pytest.raises(SecretsError, match="no version is usable"):
                await source.usable()
    assert caplog.messages == ['secret_versions_changed {"count": 0, "newest": null, "root": "tokens"}']
    source.names = ["v2"]
    clock.set(clock.now() + PAUSE)
    with pytest.raises(SecretsError, match="no version is usable"):
        await source.usable()
    await beside()
    assert await source.usable() == ["v2"]


# A version that is not held


async def test_an_unknown_version_is_asked_for_at_once(source: Source, clock: ManualClock) -> None:
    await source.usable()
    clock.set(clock.now() + PAUSE)
    source.names = ["v2", "v1"]
    assert await source.find("v2") == "v2"
    assert await source.find("v1") == "v1"
    assert source.asked == [None, "v2"]


async def test_nobody_can_make_it_ask_often(source: Source, clock: ManualClock) -> None:
    await source.usable()
    for _ in range(60):
        for number in range(2, 10):
            assert await source.find(f"v{number}") is None
        clock.advance(seconds=1)
    assert len(source.asked) <= 1 + 60 // PAUSE.total_seconds()


@pytest.mark.parametrize("version", ["", "v", "v12", "V1", "v1\n", "v١", "../v1", "v1" * 500])
async def test_text_that_is_no_version_is_not_asked_for(source: Source, clock: ManualClock, version: str) -> None:
    await source.usable()
    clock.set(clock.now() + PAUSE)
    source.error = SecretsError("secret tokens: gone")
    assert await source.find(version) is None
    assert source.asked == [None]


async def test_when_nobody_can_tell_the_answer_is_not_no(source: Source, clock: ManualClock) -> None:
    await source.usable()
    clock.set(clock.now() + PAUSE)
    source.error = SecretsError("secret tokens: gone")
    for _ in range(3):
        with pytest.raises(SecretsError, match="gone"):
            await source.find("v2")
    assert source.asked == [None, "v2"]
    assert await source.find("v1") == "v1"


async def test_one_who_has_no_time_to_wait_is_not_told_no(source: Source, clock: ManualClock) -> None:
    await source.usable()
    clock.set(clock.now() + PAUSE)
    source.gate, source.names = asyncio.Event(), ["v2", "v1"]
    for _ in range(2):
        with deadline(0.02), pytest.raises(SecretsError, match="in time"):
            await source.find("v2")
    source.gate.set()
    await beside()
    assert await source.find("v2") == "v2"
    assert source.asked == [None, "v2"]


async def test_who_asks_while_it_is_asked_for_gets_that_answer(source: Source, clock: ManualClock) -> None:
    await source.usable()
    clock.set(clock.now() + PAUSE)
    source.gate, source.names = asyncio.Event(), ["v2", "v1"]
    callers = [asyncio.create_task(source.find(version)) for version in ["v2"] * 50 + ["v3"] * 50]
    await beside()
    source.gate.set()
    assert await asyncio.gather(*callers) == ["v2"] * 50 + [None] * 50
    assert source.asked == [None, "v2"]


async def test_one_of_many_old_versions_is_fetched_without_a_pause(clock: ManualClock) -> None:
    """The store may name it right after the first load."""
    source = Source(clock, "v9", "v8", more=("v1", "v2"))
    await source.usable()
    assert [await source.find("v1"), await source.find("v2"), await source.find("v3")] == ["v1", "v2", None]
    assert source.asked == [None, "v1", "v2"]
    assert await source.usable() == ["v9", "v8", "v1", "v2"]
    await source.held.close()


async def test_what_cannot_be_fetched_is_not_asked_for_again_and_again(clock: ManualClock) -> None:
    source = Source(clock, "v9", more=("v1",))
    await source.usable()
    source.error = SecretsError("secret tokens: gone")
    for _ in range(5):
        with pytest.raises(SecretsError, match="gone"):
            await source.find("v1")
    assert source.asked == [None, "v1"]
    await source.held.close()


async def test_what_this_process_added_is_asked_for_after_what_is_under_way(source: Source) -> None:
    """A refresh that began before may not have seen it."""
    source.gate = asyncio.Event()
    caller = asyncio.create_task(source.usable())
    await beside()
    adder = asyncio.create_task(source.held.renew())
    await beside()
    assert source.asked == [None]
    source.gate.set()
    assert await caller == ["v1"]
    await adder
    assert source.asked == [None, None]


# The end


async def test_when_closed_what_is_held_is_answered_and_nothing_is_asked(source: Source, clock: ManualClock) -> None:
    await source.usable()
    await source.held.close()
    for minutes in (0, 5):
        clock.advance(minutes=minutes)
        assert await source.usable() == ["v1"]
        with pytest.raises(SecretsError):
            await source.find("v2")
    assert source.asked == [None]


async def test_closing_ends_a_refresh(source: Source, clock: ManualClock) -> None:
    source.gate = asyncio.Event()
    before = asyncio.all_tasks()
    caller = asyncio.create_task(source.usable())
    await beside()
    await source.held.close()
    with pytest.raises(SecretsError):
        await caller
    assert asyncio.all_tasks() <= before
