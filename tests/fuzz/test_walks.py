"""Every operation by every kind of caller, as the OpenAPI document allows and forbids it, in an order that is drawn.

`make fuzz` walks on, from other seeds, for FUZZ_SECONDS."""

import os
import random
import sys
import time

import httpx
import pytest

from devhost.host import Host
from shared.storage.sqlite import SqliteStore
from tests.api.test_schemathesis import ENDPOINT, NOTHING_TO_FORBID, OPERATIONS
from tests.app import running
from tests.fakes import ManualClock
from tests.faults import Call
from tests.fuzz.walk import CALLERS, MODES, PEOPLE, NotingStore, Walk, drawn, shown

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
"""How long to walk on; 0: once, along the same way each time."""
STEPS = 90
"""Calls of a walk: then organizations, people and sessions are new."""


async def test_no_walk_leads_anywhere_it_must_not(host: Host) -> None:
    until, seed, walks = time.monotonic() + SECONDS, 0 if not SECONDS else time.time_ns(), list[Walk]()
    while not walks or time.monotonic() < until:
        walks += await walked(host, seed)
        seed += 1
    sys.stdout.write(f"\nseed {seed}: {shown(walks)}\n")
    assert sum(walk.statuses.get(200, 0) for walk in walks) > len(OPERATIONS)


async def walked(host: Host, seed: int) -> list[Walk]:
    """Each operation by those who may, twice, and by three of those who may not."""
    luck = random.Random(seed)  # noqa: S311 - it draws calls, and nothing else
    calls = [call for name in OPERATIONS for call in calls_of(name, luck)]
    luck.shuffle(calls)
    walks = []
    for at in range(0, len(calls), STEPS):
        clock = ManualClock()
        store = NotingStore(await SqliteStore.open(None, clock=clock))
        async with running(host, clock, store) as app:
            walk = await Walk.begin(app, store, seed)
            for name, caller, case in calls[at : at + STEPS]:
                await walk.step(name, caller, case)
            walks.append(walk)
    return walks


def calls_of(name: str, luck: random.Random) -> list[tuple[str, str, object]]:
    """Operation, caller and request; two in three as the document allows."""
    may = [caller for caller in CALLERS if may_call(name, caller)]
    others = [caller for caller in CALLERS if caller not in may]
    callers = [*luck.sample(may, min(len(may), 4)), *may[:4], *luck.sample(others, min(len(others), 3))]
    modes = MODES if name not in NOTHING_TO_FORBID else MODES[:1]
    pools = [drawn(name, mode, luck.getrandbits(32), count) for mode, count in zip(modes, (6, 3), strict=False)]
    return [(name, caller, luck.choice(pools[-1 if luck.random() < 0.33 else 0])) for caller in callers]


def may_call(name: str, caller: str) -> bool:
    """Whether a call of this kind is open to the caller."""
    endpoint = ENDPOINT[name]
    if endpoint.who is None:
        return True
    return caller in [role.value for role in endpoint.who] if caller in PEOPLE else caller == endpoint.scope


async def test_a_walk_notices_what_it_looks_for(host: Host) -> None:
    clock = ManualClock()
    store = NotingStore(await SqliteStore.open(None, clock=clock))
    async with running(host, clock, store) as app:
        walk = await Walk.begin(app, store, 0)
        home, abroad = walk.stage.callers["auditor"], walk.stage.foreign_tenant
        assert home is not None
        asked, answer = (
            httpx.Request("GET", "http://kraftd.test"),
            httpx.Response(200, text=f'{{"tenant_id": "{abroad}"}}'),
        )
        store.written = [Call("batch", "identity", (home.tenant_id,))]
        with pytest.raises(AssertionError, match="batch"):
            walk.is_audited("a call", "auditor", 200)
        store.written.append(Call("create", "audit_events", (home.tenant_id, "2026-03")))
        walk.is_audited("a call", "auditor", 200)
        with pytest.raises(AssertionError, match=abroad):
            walk.stays_here(asked, answer, "a call")
        store.written = [Call("patch", "signals", (abroad,))]
        with pytest.raises(AssertionError, match="signals"):
            walk.stays_here(asked, httpx.Response(200, text="{}"), "a call")
        with pytest.raises(AssertionError, match="a call"):
            walk.says_why(httpx.Response(422, json={"code": "invalid_request", "detail": "x", "errors": []}), "a call")


def test_every_kind_of_caller_may_call_something() -> None:
    closed = {name for name in OPERATIONS if ENDPOINT[name].who is not None}
    for caller in CALLERS:
        assert any(may_call(name, caller) for name in closed) == (caller != "nobody"), caller
