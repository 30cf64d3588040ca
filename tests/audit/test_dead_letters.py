"""Dead letters: once per consumer and event, under the event's tenant, without what the error quotes."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audit.dead_letters import DeadLetters
from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import rfc3339
from shared.storage.containers import DEAD_LETTERS
from shared.storage.documents import MAX_REQUEST_BYTES, Item
from shared.storage.errors import PreconditionFailed, TooLarge, Unavailable
from tests.audit.support import NOW, OTHER, TENANT, World, new_world
from tests.faults import FaultyStore, Mode

EVENT: Item = {"id": "0195c000-0000-7000-8000-000000000001", "tenant_id": TENANT, "period": "2026-03", "type": "x.y"}
ERROR = KeyError("ada@example.com")
MODES: tuple[Mode, ...] = ("before", "after")
HOSTILE: list[Any] = [
    "a/b",
    "a\\b",
    "a?b#c",
    "x" * 1023,
    "x" * 100_000,
    "",
    " ",
    "trailing ",
    ".",
    "ünïcode",
    "\0",
    "\ud800",
    "~" + "0" * 64,
    None,
    7,
    True,
    [],
    {"id": "x"},
]


def raised[E: Exception](error: E) -> E:
    """The error, with the place where it was raised."""
    try:
        raise error
    except type(error) as caught:
        return caught


async def test_what_a_letter_says(world: World) -> None:
    await world.letters.put("detect_threats", EVENT, ERROR)
    (letter,) = await world.all(DEAD_LETTERS, TENANT)
    assert letter == {
        "id": f"detect_threats|{EVENT['id']}",
        "tenant_id": TENANT,
        "kind": "dead_letter",
        "created_at": "2026-03-15T12:00:00.123456Z",
        "consumer": "detect_threats",
        "error": "KeyError",
        "error_at": "?",
        "item_id": EVENT["id"],
        "period": "2026-03",
        "state": "waiting",
        "failures": 1,
        "attempts": 0,
        "last_failed_at": "2026-03-15T12:00:00.123456Z",
        "retry_at": "2026-03-15T12:01:00.123456Z",
    }


async def test_a_letter_says_where_it_failed(world: World) -> None:
    await world.letters.put("detect_threats", EVENT, raised(ERROR))
    (letter,) = await world.all(DEAD_LETTERS, TENANT)
    assert re.fullmatch(r"raised:[0-9]+", letter["error_at"])


async def test_nothing_of_the_error_or_the_event_is_kept(world: World, caplog: pytest.LogCaptureFixture) -> None:
    item = {**EVENT, "personal": {"ada": {"data": {"email": "ada@example.com"}}}}
    await world.letters.put("detect_threats", item, ERROR)
    assert "ada@example.com" not in json.dumps(await world.all(DEAD_LETTERS, TENANT))
    assert "ada@example.com" not in caplog.text
    assert "dead_lettered" in caplog.text


async def test_the_same_event_of_the_same_consumer_is_kept_once_and_counted(world: World) -> None:
    await world.letters.put("detect_threats", EVENT, ERROR)
    world.clock.advance(minutes=7)
    await world.letters.put("detect_threats", EVENT, ValueError())
    (letter,) = await world.all(DEAD_LETTERS, TENANT)
    assert (letter["error"], letter["failures"], letter["attempts"]) == ("ValueError", 2, 0)
    assert letter["created_at"] == rfc3339(NOW)
    assert letter["last_failed_at"] == rfc3339(NOW + timedelta(minutes=7))
    assert letter["retry_at"] == rfc3339(NOW + timedelta(minutes=1)), "who fails often is not retried later"


async def test_many_failures_at_once_are_each_counted(world: World) -> None:
    await asyncio.gather(*(world.letters.put("detect_threats", EVENT, ERROR) for _ in range(25)))
    (letter,) = await world.all(DEAD_LETTERS, TENANT)
    assert letter["failures"] == 25


@pytest.mark.parametrize("mode", MODES)
async def test_a_failure_is_kept_or_its_put_fails_whatever_call_fails(mode: Mode, world: World) -> None:
    for known in (False, True):
        for k in (1, 2):
            event = {**EVENT, "id": f"event-{known}-{k}"}
            if known:
                await world.letters.put("seal", event, ERROR)
            store = FaultyStore(world.store, k, mode)
            try:
                await world.over(store).letters.put("seal", event, ERROR)
            except Unavailable:
                await world.letters.put("seal", event, ERROR)  # the feed delivers again
            letter = await world.store.read(DEAD_LETTERS, (TENANT,), f"seal|event-{known}-{k}")
            assert letter["failures"] >= 1 + known


async def test_consumers_and_events_are_told_apart(world: World) -> None:
    for consumer in ("detect_threats", "seal"):
        for number in (1, 2):
            await world.letters.put(consumer, {**EVENT, "id": f"event-{number}"}, ERROR)
    assert len(await world.all(DEAD_LETTERS, TENANT)) == 4


async def test_a_letter_is_its_tenant_s(world: World) -> None:
    await world.letters.put("seal", EVENT, ERROR)
    await world.letters.put("seal", {**EVENT, "tenant_id": OTHER}, ERROR)
    assert [each["tenant_id"] for each in await world.all(DEAD_LETTERS, TENANT)] == [TENANT]
    assert [each["tenant_id"] for each in await world.all(DEAD_LETTERS, OTHER)] == [OTHER]


@pytest.mark.parametrize("tenant", [None, "", 7, ["x"], {}], ids=repr)
async def test_an_event_without_a_usable_tenant_goes_to_the_platform(tenant: object, world: World) -> None:
    await world.letters.put("seal", {**EVENT, "tenant_id": tenant}, ERROR)
    await world.letters.put("seal", {"id": "no-tenant"}, ERROR)
    letters = await world.all(DEAD_LETTERS, PLATFORM_TENANT)
    assert sorted(letter["item_id"] for letter in letters) == [EVENT["id"], "no-tenant"]


async def test_a_store_that_fails_is_the_caller_s_to_know(world: World) -> None:
    """The feed tries again: better twice than lost."""
    letters = world.over(FaultyStore(world.store, 1)).letters
    with pytest.raises(Unavailable):
        await letters.put("seal", EVENT, ERROR)
    await letters.put("seal", EVENT, ERROR)
    assert len(await world.all(DEAD_LETTERS, TENANT)) == 1


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("field", ["id", "tenant_id", "period"])
async def test_what_cannot_be_read_again_is_kept_and_says_why(field: str, hostile: Any, world: World) -> None:
    for _ in range(2):
        await world.letters.put("seal", {**EVENT, field: hostile}, ERROR)
    letters = [*await world.all(DEAD_LETTERS, TENANT), *await world.all(DEAD_LETTERS, PLATFORM_TENANT)]
    (letter,) = letters
    assert (letter["state"], letter["failures"]) == ("unretryable", 2)
    assert (
        letter["reason"] == {"id": "no_usable_id", "tenant_id": "no_usable_tenant", "period": "no_usable_period"}[field]
    )
    assert "retry_at" not in letter
    assert len(json.dumps(letter)) < 1000


async def test_hostile_ids_are_told_apart(world: World) -> None:
    for hostile in HOSTILE:
        await world.letters.put("seal", {**EVENT, "id": hostile}, ERROR)
    assert len(await world.all(DEAD_LETTERS, TENANT)) == len(HOSTILE)


async def test_an_id_that_looks_like_a_digest_of_ours_does_not_hide_another(world: World) -> None:
    await world.letters.put("seal", {**EVENT, "id": "a/b"}, ERROR)
    (digest,) = [letter["id"].partition("|")[2] for letter in await world.all(DEAD_LETTERS, TENANT)]
    await world.letters.put("seal", {**EVENT, "id": digest}, ERROR)
    assert len(await world.all(DEAD_LETTERS, TENANT)) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["id", "tenant_id", "period", "type", "x"]), JSON))
async def test_any_item_is_kept(item: Item) -> None:
    async with new_world() as world:
        await world.letters.put("seal", item, ERROR)
        tenant = item.get("tenant_id")
        places = {PLATFORM_TENANT, tenant} if isinstance(tenant, str) and tenant else {PLATFORM_TENANT}
        kept = 0
        for place in places:
            try:
                kept += len(await world.all(DEAD_LETTERS, place))
            except ValueError:
                assert place != PLATFORM_TENANT  # not even a place to look
        assert kept == 1


async def tampered(world: World, **changes: Any) -> None:
    """Somebody else writes to the letter of EVENT; `...` takes a field away."""
    letter_id = f"detect_threats|{EVENT['id']}"
    held = await world.store.read(DEAD_LETTERS, (TENANT,), letter_id)
    held |= changes
    await world.store.replace(DEAD_LETTERS, (TENANT,), {name: held[name] for name in held if held[name] is not ...})


FIELDS = [
    "kind",
    "created_at",
    "consumer",
    "error",
    "error_at",
    "item_id",
    "period",
    "state",
    "failures",
    "attempts",
    "last_failed_at",
    "retry_at",
]
WRONG: list[Any] = ["many", "", "9999-12-31", None, [], {"a": 1}, True, -5, 1.5, 2**60, ...]
SET_AGAIN = {"last_failed_at", "error", "error_at"}
"""Of these a failure tells anew whatever was there."""


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("field", FIELDS)
async def test_a_letter_that_somebody_wrote_to_stops_no_feed(
    field: str, wrong: Any, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is written anew, so that its event is retried as any other is."""
    await world.letters.put("detect_threats", EVENT, ERROR)
    (whole,) = await world.all(DEAD_LETTERS, TENANT)
    await tampered(world, **{field: wrong})
    await world.letters.put("detect_threats", EVENT, ERROR)
    await world.letters.put("detect_threats", EVENT, ERROR)
    (letter,) = await world.all(DEAD_LETTERS, TENANT)
    mended = "dead_letter_broken" in caplog.text
    assert mended == (not (field in SET_AGAIN or (field, wrong) == ("failures", ...)))
    assert letter | {"failures": 0} == whole | {"failures": 0}
    assert letter["failures"] >= 2 - mended


async def test_a_letter_without_fields_stops_no_feed(world: World) -> None:
    await world.letters.put("detect_threats", EVENT, ERROR)
    (whole,) = await world.all(DEAD_LETTERS, TENANT)
    await tampered(world, **dict.fromkeys(FIELDS, ...))
    await world.letters.put("detect_threats", EVENT, ERROR)
    assert await world.all(DEAD_LETTERS, TENANT) == [whole]


async def test_a_letter_that_somebody_filled_up_stops_no_feed(world: World) -> None:
    """One more word, and no store would take it."""
    await world.letters.put("detect_threats", EVENT, ERROR)
    (whole,) = await world.all(DEAD_LETTERS, TENANT)
    fits, too_many = 0, MAX_REQUEST_BYTES
    while too_many - fits > 1:
        length = (fits + too_many) // 2
        try:
            await tampered(world, note="x" * length)
            fits = length
        except TooLarge:
            too_many = length
    assert fits > MAX_REQUEST_BYTES / 2
    await world.letters.put("detect_threats", EVENT, raised(ValueError()))
    (letter,) = await world.all(DEAD_LETTERS, TENANT)
    assert letter.keys() == whole.keys()
    assert letter["error"] == "ValueError"


async def test_many_failures_at_once_mend_a_letter_and_are_counted(world: World) -> None:
    await world.letters.put("detect_threats", EVENT, ERROR)
    await tampered(world, failures="many")
    await asyncio.gather(*(world.letters.put("detect_threats", EVENT, ERROR) for _ in range(10)))
    (letter,) = await world.all(DEAD_LETTERS, TENANT)
    assert letter["failures"] == 10


async def test_a_letter_that_always_comes_and_goes_is_not_called_kept(world: World) -> None:
    """The feed then delivers the batch again: the event is in no letter, and must not be passed by."""
    store = FaultyStore(world.store)
    letters = DeadLetters(store, world.clock)
    await letters.put("detect_threats", EVENT, ERROR)
    store._counts = lambda call: call.operation == "patch"
    store.arm(1, error=PreconditionFailed(), times=2)
    await letters.put("detect_threats", EVENT, ERROR)
    assert store.failed == 2
    store.arm(1, error=PreconditionFailed(), times=None)
    with pytest.raises(Unavailable, match="came and went"):
        await letters.put("detect_threats", EVENT, ERROR)
    store.mend()
    (letter,) = await world.all(DEAD_LETTERS, TENANT)
    assert letter["failures"] == 2
