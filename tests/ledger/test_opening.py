"""With what a run of the check begins: which months are looked at, and what is said of a place that makes no sense."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from shared.core.clock import period_end, period_of
from shared.ledger.findings import Findings
from shared.ledger.marks import Marked
from shared.ledger.opening import EXPIRY, Opening, Shard
from shared.ledger.progress import progress_id
from shared.storage.containers import LEDGER
from shared.storage.documents import Item
from tests.ledger.world import PERIOD, RETENTION_DAYS, TENANT, World

HERE = (TENANT, PERIOD)
RUN = timedelta(minutes=5)
COVERED = Marked({}, covered={PERIOD: 1})
"""What is left of a check that there was once."""


async def opened(world: World, marked: Marked = COVERED) -> dict[str, Shard]:
    findings = Findings(world.statements(), TENANT, world.request())
    shards = await Opening(world.store, world.clock, RETENTION_DAYS).shards(TENANT, marked, findings)
    return {shard.head.period: shard for shard in shards}


@pytest.mark.parametrize(
    ("day", "months"),
    [
        (datetime(2026, 3, 31, 23, 59, tzinfo=UTC), {"2026-03"}),
        (datetime(2026, 4, 1, 23, 59, tzinfo=UTC), {"2026-03", "2026-04"}),
        (datetime(2026, 4, 2, 0, 1, tzinfo=UTC), {"2026-04"}),
    ],
)
async def test_the_last_month_stays_open_for_a_day(world: World, day: datetime, months: set[str]) -> None:
    world.clock.set(day)
    shards = await opened(world, Marked({}))
    assert {period for period, shard in shards.items() if shard.is_open and period > "2026-02"} == months


async def test_every_month_that_is_kept_has_its_turn_within_a_day(world: World) -> None:
    """In any of them there may be events although nothing of it was ever sealed."""
    now = world.clock.now()
    seen = set[str]()
    for _ in range(timedelta(days=1) // RUN):
        world.clock.advance(seconds=RUN.total_seconds())
        seen |= (await opened(world, Marked({}))).keys()
    days = [now - timedelta(days=back) for back in range(RETENTION_DAYS + 31)]
    least = (world.clock.now() + EXPIRY).timestamp() - RETENTION_DAYS * 86_400
    kept = {period_of(day) for day in days if period_end(period_of(day)) > least}
    assert len(kept) == 85
    assert kept <= seen


async def test_a_place_that_is_gone_is_said_once_for_each_size(world: World) -> None:
    await world.seal(world.events(3))
    for more, found in ((0, 1), (0, 1), (2, 2)):
        await world.seal(world.events(more))
        shard = (await opened(world))[PERIOD]
        assert shard.is_changed
        assert await world.found() == ["checkpoint"] * found


async def test_a_place_that_is_none_is_said_once_for_each_that_there_was(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def place(**fields: object) -> Item:
        return {**fields, "id": progress_id(PERIOD), "tenant_id": TENANT, "period": PERIOD, "kind": "check"}

    turned = dict(reversed(place(new=7, lap=None).items()))
    for item, found in ((place(new=7, lap=None), 1), (turned, 1), (place(new=8, lap=None), 2)):
        await world.store.upsert(LEDGER, HERE, item)
        assert (await opened(world))[PERIOD].is_changed
        assert await world.found() == ["checkpoint"] * found
    told = {"tenant_id": TENANT, "period": PERIOD, "begins_anew": True}
    lines = [each for each in caplog.messages if each.startswith("check_place_unusable")]
    assert lines == [f"check_place_unusable {json.dumps(told, sort_keys=True)}"] * 3
