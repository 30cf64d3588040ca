"""POST /events on a store that fails at any one call, and at the turn of a month: what was answered as accepted is in
the trail, and a retry under the same key, or with the same producer ids, leaves each event once."""

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from shared.storage.containers import AUDIT_EVENTS, GUARDS
from shared.storage.errors import Throttled, TooLarge
from tests.api.broken import MODES, MOST_CALLS, Broken
from tests.app import Account, App, assert_problem
from tests.faults import Crash, Mode

TYPE = "custom.test"


def event(**more: Any) -> dict[str, Any]:
    return {"type": TYPE, "actor": {"kind": "service", "id": "billing"}, **more}


async def send(app: App, ada: Account, body: Any, key: str | None = None) -> httpx.Response:
    headers = ada.auth | ({"Idempotency-Key": key} if key else {})
    return await app.client.post("/v1/events", json=body, headers=headers)


async def marks(app: App, ada: Account) -> list[int]:
    """The `n` of every event that is in the trail, in order."""
    return sorted(e["attributes"]["n"] for e in await app.events(ada.tenant_id, TYPE))


def ids(answer: httpx.Response) -> list[str]:
    return [item["id"] for item in answer.json()["items"]]


KEYED = ("key", "producer ids", "both")


@pytest.mark.parametrize("how", KEYED)
@pytest.mark.parametrize(("mode", "times"), MODES)
async def test_a_retry_completes_what_a_fault_left(broken: Broken, how: str, mode: Mode, times: int | None) -> None:
    app, ada = broken.app, broken.ada
    expected: list[int] = []
    numbers = itertools.count()
    for k in range(1, MOST_CALLS):
        mine = [next(numbers) for _ in range(3)]
        key = f"key-{k}" if how != "producer ids" else None
        named = how != "key"
        body = {"events": [event(attributes={"n": n}, **({"producer_id": f"p{n}"} if named else {})) for n in mine]}
        broken.store.arm(k, mode, times=times)
        first = await send(app, ada, body, key)
        reached = broken.store.failed > 0
        assert first.status_code in (201, 503)
        if first.status_code == 503:
            assert int(first.headers["retry-after"]) >= 1
        broken.store.mend()
        found = await marks(app, ada)
        if first.status_code == 201:
            assert set(mine) <= set(found), "accepted is durable"
        again = await send(app, ada, body, key)
        assert again.status_code == 201
        if first.status_code == 201:
            assert ids(again) == ids(first)
        expected += mine
        assert await marks(app, ada) == expected, "each once"
        kept = {e["id"] for e in await app.events(ada.tenant_id, TYPE)}
        assert set(ids(again)) <= kept
        if not reached:
            break
    else:
        pytest.fail("a request without end")
    assert k > 4


async def test_a_process_that_dies_is_completed_by_the_next(broken: Broken) -> None:
    """The events were promised to nobody yet; the retry finds the plan and writes the same ids."""
    app, ada = broken.app, broken.ada
    body = {"events": [event(attributes={"n": n}) for n in range(150)]}
    for k in itertools.count(1):
        broken.store.arm(k, "after", Crash())
        try:
            answer = await send(app, ada, body, f"key-{k}")
        except Crash:
            broken.store.mend()
            answer = await send(app, ada, body, f"key-{k}")
        crashed = broken.store.failed > 0
        broken.store.mend()
        assert answer.status_code == 201
        assert len(set(ids(answer))) == 150
        assert set(ids(answer)) <= {e["id"] for e in await app.events(ada.tenant_id, TYPE)}
        assert len(await app.events(ada.tenant_id, TYPE)) == 150 * k
        if not crashed:
            break
    assert k > 4


async def test_a_chunk_that_fails_is_no_acceptance(broken: Broken) -> None:
    """Without a key some of a large batch may be there; the answer says that not all of it is."""
    app, ada = broken.app, broken.ada
    body = {"events": [event(attributes={"n": n}) for n in range(250)]}
    broken.store._counts = lambda call: (call.operation, call.container) == ("batch", AUDIT_EVENTS.name)
    broken.store.arm(2, error=Throttled("busy", retry_after_seconds=9))
    answer = await send(app, ada, body)
    assert_problem(answer, 503, "audit_unavailable")
    assert answer.headers["retry-after"] == "9"
    assert len(await marks(app, ada)) == 150


@pytest.mark.parametrize("minutes", [-1, 1])
async def test_at_the_turn_of_a_month(broken: Broken, minutes: int) -> None:
    """Ids, periods and guards all change with the month; nothing is lost or made twice across it."""
    app, clock = broken.app, broken.app.clock
    clock.set(datetime(2026, 4, 1, tzinfo=UTC))
    clock.advance(minutes=-2)
    token = (await app.login(broken.ada.email)).json()["access_token"]
    ada = Account(broken.ada.id, broken.ada.tenant_id, broken.ada.email, token)
    body = {"events": [event(attributes={"n": 1}, producer_id="p"), event(attributes={"n": 2})]}
    broken.store._counts = lambda call: (call.operation, call.container) == ("batch", AUDIT_EVENTS.name)
    broken.store.arm(1)
    assert (await send(app, ada, body, "k")).status_code == 503
    broken.store.mend()
    clock.advance(minutes=2 + minutes)
    done = await send(app, ada, body, "k")
    assert done.status_code == 201
    stored = await app.events(ada.tenant_id, TYPE)
    assert sorted(e["id"] for e in stored) == sorted(ids(done))
    assert {e["period"] for e in stored} == {"2026-03"}, "they keep the month in which they were finished"
    fresh = await send(app, ada, event(attributes={"n": 3}, producer_id="p"))
    assert ids(fresh) == ids(done)[:1]
    assert await marks(app, ada) == [1, 2]


async def test_concurrent_batches_with_faults_leave_each_event_once(broken: Broken) -> None:
    app, ada = broken.app, broken.ada
    body = {"events": [event(attributes={"n": n}, producer_id=f"p{n}") for n in range(5)]}
    for k in (9, 14, 20):
        broken.store.arm(k, "after", times=3)
        await asyncio.gather(*(send(app, ada, body) for _ in range(6)))
    broken.store.mend()
    assert (await send(app, ada, body)).status_code == 201
    assert await marks(app, ada) == [0, 1, 2, 3, 4]


async def test_what_is_too_large_to_be_kept_under_a_key_is_refused_whole(broken: Broken) -> None:
    """And the same events without the key are taken."""
    app, store, ada = broken.app, broken.store, broken.ada
    store._counts = lambda call: (call.operation, call.container) == ("create", GUARDS.name)
    store.arm(1, error=TooLarge())
    body = {"events": [event(attributes={"n": n}) for n in (1, 2)]}
    assert_problem(await send(app, ada, body, "key"), 413, "body_too_large")
    assert store.failed == 1
    assert await marks(app, ada) == []
    assert (await send(app, ada, body)).status_code == 201
    assert await marks(app, ada) == [1, 2]
