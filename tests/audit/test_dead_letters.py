"""Dead letters: once per consumer and event, under the event's tenant, without what the error quotes."""

import json

import pytest

from shared.audit.model import PLATFORM_TENANT
from shared.storage.containers import DEAD_LETTERS
from shared.storage.documents import Item
from shared.storage.errors import Unavailable
from tests.audit.support import NOW, OTHER, TENANT, World
from tests.faults import FaultyStore

EVENT: Item = {"id": "0195c000-0000-7000-8000-000000000001", "tenant_id": TENANT, "period": "2026-03", "type": "x.y"}
ERROR = KeyError("ada@example.com")


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
        "item_id": EVENT["id"],
        "period": "2026-03",
    }


async def test_nothing_of_the_error_or_the_event_is_kept(world: World, caplog: pytest.LogCaptureFixture) -> None:
    item = {**EVENT, "personal": {"ada": {"data": {"email": "ada@example.com"}}}}
    await world.letters.put("detect_threats", item, ERROR)
    assert "ada@example.com" not in json.dumps(await world.all(DEAD_LETTERS, TENANT))
    assert "ada@example.com" not in caplog.text
    assert "dead_lettered" in caplog.text


async def test_the_same_event_of_the_same_consumer_is_kept_once(world: World) -> None:
    await world.letters.put("detect_threats", EVENT, ERROR)
    world.clock.set(NOW.replace(year=2027))
    await world.letters.put("detect_threats", EVENT, ValueError())
    (letter,) = await world.all(DEAD_LETTERS, TENANT)
    assert letter["error"] == "KeyError"


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
