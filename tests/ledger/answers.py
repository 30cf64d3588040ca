"""What the ledger answers, and what it says in the trail instead, for tests."""

from collections.abc import Awaitable
from typing import Any

import pytest

from shared.audit.model import RequestContext
from shared.core.errors import Clash, NotFoundError
from shared.ledger.shards import BrokenShard, Head
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import Eq, Query
from tests.ledger.world import NOW, PERIOD, TENANT, World

REQUEST = RequestContext("r-asked", "GET /v1/ledger", "get_ledger", NOW)
MONTHS = ("jan", "feb", "mar")
BROKEN = "What is stored is not what was sealed. Nothing can be proven with it."
EXPIRED = "The retention of this month is over; only its last checkpoint is left."


async def said(world: World, tenant_id: str = TENANT) -> list[tuple[str, str, str]]:
    """What is wrong by the trail: of which part, of which month, and in which request it was found."""
    query = Query((Eq("type", "ledger.verify_failed"),), order_by="recorded_at", limit=1000)
    events = (await world.store.query(AUDIT_EVENTS, (tenant_id,), query)).items
    return [(e["attributes"]["what"], e["target"]["id"], e["context"]["request_id"]) for e in events]


async def broken(world: World, call: Awaitable[Any], what: str, message: str, period: str = PERIOD) -> None:
    """The call is answered with `ledger_broken`, and the trail says of what; the cause says why."""
    with pytest.raises(Clash) as raised:
        await call
    assert (raised.value.code, raised.value.detail) == ("ledger_broken", BROKEN)
    assert isinstance(raised.value.__cause__, BrokenShard)
    assert str(raised.value.__cause__) == message
    assert await said(world) == [(what, period, REQUEST.request_id)]


async def refused(call: Awaitable[Any], code: str, detail: str) -> None:
    """The call is answered with 404, this code and these words."""
    with pytest.raises(NotFoundError) as raised:
        await call
    assert (raised.value.code, raised.value.detail) == (code, detail)


async def change(world: World, item_id: str, period: str = PERIOD, **fields: Any) -> None:
    """Write over an item of a shard, past the app."""
    item = await world.store.read(LEDGER, (TENANT, period), item_id)
    await world.store.replace(LEDGER, (TENANT, period), item | fields)


async def sealed(world: World, **months: int) -> None:
    """So many entries in months of 2026, which end with the present one, March; there the clock stands again."""
    for name, count in months.items():
        world.clock.set(NOW.replace(month=MONTHS.index(name) + 1))
        await world.seal(world.events(count))
    world.clock.set(NOW)


async def without_tiles(world: World, period: str = PERIOD) -> None:
    """Put a month of 256 entries there of which nothing but the head is left."""
    head = Head(period, 256, (b"\1" * 32,), {1: b"\1" * 32})
    await world.store.create(LEDGER, (TENANT, period), head.item(TENANT))
