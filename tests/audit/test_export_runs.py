"""Exports below the API: the bound that is fixed at the beginning, and a run that is over."""

import pytest

from shared.audit import exports
from shared.audit.events.profile import ProfileView
from shared.audit.export_runs import CLOSED, ExportRuns, RunOver
from shared.audit.exports import Exports, Part, Wanted
from shared.audit.model import Draft
from shared.audit.search import EventFilter
from shared.core.clock import rfc3339
from shared.storage.containers import REPORTS
from tests.audit.support import EXAMPLES, NOW, OTHER, TENANT, World, by_ada
from tests.exporting import ids_in

VIEW = by_ada(ProfileView())
EXPORT = EXAMPLES["audit.export"]


async def viewed(world: World, count: int) -> list[str]:
    """Views of a profile, a millisecond apart: their ids."""
    found = []
    for _ in range(count):
        found.append((await world.recorder.record(VIEW))["id"])
        world.clock.advance(seconds=0.001)
    return found


@pytest.mark.parametrize("days", [0.001, 1, 4000])
async def test_a_bound_in_the_future_is_now(world: World, days: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an export would run after what is written while it runs, and two copies of one bound would differ."""
    monkeypatch.setattr(exports, "MOST_ROWS", 2)
    copies = Exports(world.search, world.store, world.recorder, world.outbox(), world.clock)
    before = await viewed(world, 3)
    began = rfc3339(world.clock.now())
    world.clock.advance(days=days)
    later = world.clock.now()
    world.clock.set(NOW)
    world.clock.advance(seconds=0.003)
    wanted = Wanted(TENANT, EventFilter(types=("profile.view",), to=later), "jsonl", opened=True)
    bounds: list[str] = []

    def draft(until: str) -> Draft:
        bounds.append(until)
        return EXPORT

    part: Part = await copies.part(wanted, None, draft)
    parts = [part]
    while part.next is not None and len(parts) < 5:
        await viewed(world, 2)
        part = await copies.part(wanted, part.next, draft)
        parts.append(part)
    assert [part.until for part in parts] == [began] * 2
    assert set(bounds) == {began}
    assert ids_in("jsonl", b"".join(part.body for part in parts)) == before


async def test_a_bound_in_the_past_is_kept(world: World) -> None:
    copies = Exports(world.search, world.store, world.recorder, world.outbox(), world.clock)
    before = await viewed(world, 2)
    bound = world.clock.now()
    await viewed(world, 2)
    wanted = Wanted(TENANT, EventFilter(types=("profile.view",), to=bound), "jsonl", opened=True)
    part = await copies.part(wanted, None, lambda _: EXPORT)
    assert (part.until, ids_in("jsonl", part.body)) == (rfc3339(bound), before)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("abandoned", [False, True])
async def test_a_closed_run_hands_out_no_more_than_it_recorded(world: World, last: bool, abandoned: bool) -> None:
    """What it counted can be asked for again; one event more would be in no event of the trail."""
    runs = ExportRuns(world.search, world.store, world.recorder, world.outbox(), world.clock)
    run = await runs.begin(EXPORT)
    await runs.advance(TENANT, run, 7, last=not abandoned)
    if abandoned:
        world.clock.advance(hours=1)
        assert await runs.close_abandoned(TENANT) == 1
    for rows in (3, 7):
        await runs.advance(TENANT, run, rows, last=last)
    for rows in (8, 10_000):
        with pytest.raises(RunOver):
            await runs.advance(TENANT, run, rows, last=last)
    (kept,) = [item for item in await world.all(REPORTS, TENANT) if item["id"] == run]
    assert (kept["kind"], kept["rows"]) == (CLOSED, 7)
    (event,) = await world.events()
    assert (event["type"], event["record_count"]) == ("audit.export", 7)


async def test_a_run_that_nobody_began_is_over(world: World) -> None:
    """Also another tenant's, and one that is forgotten."""
    runs = ExportRuns(world.search, world.store, world.recorder, world.outbox(), world.clock)
    run = await runs.begin(EXPORT)
    for tenant, name in ((OTHER, run), (TENANT, "export|0")):
        with pytest.raises(RunOver):
            await runs.advance(tenant, name, 1, last=False)
    await runs.advance(TENANT, run, 1, last=True)
    world.clock.advance(hours=2)
    with pytest.raises(RunOver):
        await runs.advance(TENANT, run, 1, last=True)
