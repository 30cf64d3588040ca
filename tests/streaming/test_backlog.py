"""A ledger that somebody wrote into behind the app's back: nothing true is pushed out, skipped or held up by it."""

import json

import pytest

from shared.core.canonical import canonical
from shared.ledger.shards import head_id
from shared.storage.containers import LEDGER
from shared.storage.documents import PatchSet
from shared.streaming.model import MOST_EVENTS
from tests.ledger.world import OTHER, PERIOD, TENANT
from tests.streaming.support import Stage


async def test_what_somebody_put_into_the_ledger_pushes_nothing_out(quick: Stage) -> None:
    """Entries of another id, tenant or month are none, however many say an index; the true ones leave."""
    await quick.put()
    events = await quick.seal(5)
    store = quick.world.store
    item = await store.read(LEDGER, (TENANT, PERIOD), events[1]["id"])
    own = {name: value for name, value in item.items() if not name.startswith("_")}
    for number in range(20):
        planted = own | {"id": f"00000000-0000-7000-8000-{number:012}", "index": number % 3}
        if number % 2:
            foreign = json.loads(own["entry"]) | {"id": planted["id"]} | {"tenant_id": OTHER}
            planted["entry"] = canonical(foreign).decode()
        await store.create(LEDGER, (TENANT, PERIOD), planted)
    assert await quick.run() is None
    assert (quick.received(), quick.inbox.wrong) == ([0, 1, 2, 3, 4], [])
    assert {key[0] for key in quick.inbox.events} == {TENANT}
    assert (await quick.progress()).next == {PERIOD: 5}


async def test_a_page_full_of_planted_entries_holds_up_nothing(quick: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.streaming.backlog.MOST_ITEMS", 4)
    await quick.put()
    events = await quick.seal(5)
    store = quick.world.store
    item = await store.read(LEDGER, (TENANT, PERIOD), events[1]["id"])
    own = {name: value for name, value in item.items() if not name.startswith("_")}
    for number in range(20):
        await store.create(LEDGER, (TENANT, PERIOD), own | {"id": f"f{number:02}", "index": 2})
    assert await quick.run() is None
    assert quick.received()[-2:] == [3, 4]
    assert (await quick.progress()).next == {PERIOD: 5}


async def test_a_head_that_says_too_much_skips_nothing(stage: Stage) -> None:
    """What is not there yet is not behind the stream: the true entries come to those places later."""
    await stage.put()
    await stage.seal(5)
    head = head_id(PERIOD)
    await stage.world.store.patch(LEDGER, (TENANT, PERIOD), head, [PatchSet("size", 1000)])
    for _ in range(2):
        assert await stage.run() is None
    assert (await stage.progress()).next == {PERIOD: 5}
    assert len(stage.line.sent) == 1
    await stage.world.store.patch(LEDGER, (TENANT, PERIOD), head, [PatchSet("size", 5)])
    await stage.seal(5)
    await stage.run()
    assert stage.received() == list(range(10))


async def test_a_gap_is_passed_over_once_something_is_behind_it(quick: Stage) -> None:
    await quick.put()
    events = await quick.seal(3 * MOST_EVENTS)
    for event in events[50:250]:
        await quick.world.store.delete(LEDGER, (TENANT, PERIOD), event["id"])
    assert await quick.run() is None
    assert quick.received() == [*range(50), *range(250, 300)]
    assert (await quick.progress()).next == {PERIOD: 300}
