"""The continuous check: quiet over whatever is right, and one run finds whatever is not."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.core.clock import parse_rfc3339
from shared.ledger import verification
from shared.ledger.findings import MOST_PER_RUN
from shared.ledger.progress import LAG, progress_id
from shared.ledger.shards import Shards, checkpoint_id, head_id, rollup_id, tile_id
from shared.storage.containers import AUDIT_EVENTS, LEDGER, Container
from shared.storage.documents import Item, Query, pages
from shared.storage.errors import NotFound, Unavailable
from tests.faults import FaultyStore
from tests.ledger.world import NOW, OTHER, PERIOD, TENANT, World, new_world

HERE = (TENANT, PERIOD)
SPREAD = 4 * 256
"""As many entries as a run looks at again where it takes four pages."""


async def change(world: World, container: Container, item_id: str, **fields: object) -> Item:
    """Write over fields of an item, behind the app's back; the item as it was."""
    item = await world.store.read(container, HERE, item_id)
    await world.store.replace(container, HERE, item | fields)
    return item


async def edit(world: World, event: Item) -> None:
    await change(world, AUDIT_EVENTS, event["id"], outcome="error")


async def remove(world: World, event: Item) -> None:
    await world.store.delete(AUDIT_EVENTS, HERE, event["id"])


async def redate(world: World, event: Item) -> None:
    await change(world, AUDIT_EVENTS, event["id"], recorded_at="2026-03-01T00:00:00.000000Z")


async def move(world: World, event: Item) -> None:
    """To another month, of which nothing is sealed."""
    await remove(world, event)
    moved = {**event, "period": "2026-02", "recorded_at": "2026-02-01T00:00:00.000000Z"}
    await world.store.create(AUDIT_EVENTS, (TENANT, "2026-02"), moved)


async def renew(world: World, event: Item) -> None:
    """Under a new id."""
    await remove(world, event)
    again = world.event(NOW) | {name: event[name] for name in ("type", "actor", "attributes")}
    await world.store.create(AUDIT_EVENTS, HERE, {**again, "outcome": "success"})
    world.clock.advance(minutes=11)


async def insert_behind(world: World, _: Item) -> None:
    await world.keep([world.event(world.clock.now() - timedelta(hours=25))])
    world.clock.advance(minutes=11)


async def remove_both(world: World, event: Item) -> None:
    await remove(world, event)
    await world.store.delete(LEDGER, HERE, event["id"])


async def edit_entry(world: World, event: Item) -> None:
    entry = (await world.store.read(LEDGER, HERE, event["id"]))["entry"]
    await change(world, LEDGER, event["id"], entry=entry.replace('"outcome":"', '"outcome":"x'))


async def edit_both(world: World, event: Item) -> None:
    await change(world, AUDIT_EVENTS, event["id"], outcome=f"x{event['outcome']}")
    await edit_entry(world, event)


async def double(world: World, event: Item) -> None:
    """Two entries of one index."""
    entry = await world.store.read(LEDGER, HERE, event["id"])
    await world.store.create(LEDGER, HERE, entry | {"id": world.event()["id"]})


async def append(world: World, event: Item) -> None:
    """An entry that no head knows."""
    entry = await world.store.read(LEDGER, HERE, event["id"])
    await world.store.create(LEDGER, HERE, entry | {"id": world.event()["id"], "index": 5000})


def in_item(item_id: str, **fields: object) -> Callable[[World, Item], Awaitable[object]]:
    return lambda world, _: change(world, LEDGER, item_id, **fields)


def without(item_id: str) -> Callable[[World, Item], Awaitable[object]]:
    return lambda world, _: world.store.delete(LEDGER, HERE, item_id)


async def swap_hash(world: World, item_id: str, at: int) -> None:
    """Another hash in a full tile."""
    hashes = (await world.store.read(LEDGER, HERE, item_id))["hashes"]
    await change(world, LEDGER, item_id, hashes=hashes[:at] + ("A" if hashes[at] != "A" else "B") + hashes[at + 1 :])


async def swap_edge(world: World, level: str) -> None:
    edge = (await world.store.read(LEDGER, HERE, head_id(PERIOD)))["edge"]
    changed = ("A" if edge[level][9] != "A" else "B").join((edge[level][:9], edge[level][10:]))
    await change(world, LEDGER, head_id(PERIOD), edge=edge | {level: changed})


async def swap_node(world: World) -> None:
    nodes = (await world.store.read(LEDGER, HERE, head_id(PERIOD)))["nodes"]
    await change(world, LEDGER, head_id(PERIOD), nodes=[*nodes[:-1], nodes[0]])


async def count_more(world: World) -> None:
    rollup = await world.store.read(LEDGER, HERE, rollup_id("2026-03-15"))
    await change(world, LEDGER, rollup["id"], counts=[[*rollup["counts"][0][:4], 7], *rollup["counts"][1:]])


TAMPERED: dict[str, tuple[Callable[[World, Item], Awaitable[object]], list[str]]] = {
    "edited": (edit, ["edited"]),
    "deleted": (remove, ["deleted"]),
    "another time": (redate, ["edited"]),
    "another month": (move, ["deleted"]),
    "another id": (renew, ["deleted"]),
    "inserted behind": (insert_behind, ["inserted_behind"]),
    "event and entry deleted": (remove_both, ["entries"]),
    "entry edited": (edit_entry, ["entries"]),
    "entry and event edited": (edit_both, ["edited", "entries"]),
    "entry deleted": (lambda world, event: world.store.delete(LEDGER, HERE, event["id"]), ["entries", "not_sealed"]),
    "entry doubled": (double, ["entries"]),
    "entry appended": (append, ["entries"]),
    "tile edited": (lambda world, _: swap_hash(world, tile_id(0, 0), 700), ["tile"]),
    "tile gone": (without(tile_id(0, 0)), ["tile"]),
    "tile shortened": (in_item(tile_id(0, 1), hashes="AAAA"), ["tile"]),
    "tile is no tile": (in_item(tile_id(0, 1), hashes=7), ["tile"]),
    "edge of leaves edited": (lambda world, _: swap_edge(world, "0"), ["tile"]),
    "edge above edited": (lambda world, _: swap_edge(world, "1"), ["tile"]),
    "node of the head edited": (lambda world, _: swap_node(world), ["head"]),
    "head is no head": (in_item(head_id(PERIOD), nodes=[]), ["head"]),
    "head gone": (without(head_id(PERIOD)), ["head"]),
    "checkpoint edited": (in_item(checkpoint_id(600), note="no note"), ["checkpoint"]),
    "count edited": (lambda world, _: count_more(world), ["rollup"]),
    "counts gone": (without(rollup_id("2026-03-15")), ["rollup"]),
    "counts pretend to be ahead": (in_item(rollup_id("2026-03-15"), last=10_000), ["rollup"]),
    "counts of a day without events": (
        lambda world, _: world.store.create(
            LEDGER, HERE, {"id": "rollup|2026-03-02", "tenant_id": TENANT, "period": PERIOD, "last": 3}
        ),
        ["rollup"],
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
async def test_one_run_finds_what_was_changed_behind_the_apps_back(world: World, name: str) -> None:
    tamper, expected = TAMPERED[name]
    events = world.events(600)
    await world.seal(events)
    assert await world.verify() == []
    await tamper(world, events[300])
    assert await world.verify() == expected
    assert await world.verify() == expected, "each once"
    kinds = {event["type"] for event in await events_of(world)}
    assert "ledger.verify_failed" in kinds


async def events_of(world: World) -> list[Item]:
    return [item async for page in pages(world.store, AUDIT_EVENTS, (TENANT,), Query(limit=1000)) for item in page]


async def test_a_finding_says_where(world: World) -> None:
    events = world.events(5)
    await world.seal(events)
    await remove(world, events[3])
    await world.verify()
    [found] = [event for event in await events_of(world) if event["type"] == "ledger.verify_failed"]
    assert found["attributes"] == {"what": "deleted", "period": PERIOD, "index": 3, "event_id": None}
    assert (found["outcome"], found["reason"], found["severity"]) == ("failure", "deleted", "critical")
    assert found["target"] == {"kind": "ledger", "id": PERIOD}


@pytest.mark.parametrize("planted", ["nothing", "another event", "the like of one of another id"])
async def test_a_finding_cannot_be_kept_quiet_by_a_document_that_says_it_was_made(world: World, planted: str) -> None:
    events = world.events(3)
    await world.seal(events)
    await remove(world, events[1])
    attributes = {"what": "deleted", "period": PERIOD, "index": 1}
    alike = {"type": "ledger.verify_failed", "outcome": "failure", "reason": "deleted", "attributes": attributes}
    said = {
        "nothing": None,
        "another event": events[0],
        "the like of one of another id": events[0] | alike | {"target": {"kind": "ledger", "id": PERIOD}},
    }
    own = {"id": f"finding|deleted|{events[1]['id']}", "tenant_id": TENANT, "period": PERIOD, "kind": "finding"}
    await world.store.create(LEDGER, HERE, own | {"event": said[planted]})
    for _ in range(2):
        assert await world.verify() == ["deleted"]


async def test_a_finding_that_was_taken_out_of_the_trail_is_back_in_it(world: World) -> None:
    events = world.events(3)
    await world.seal(events)
    await remove(world, events[1])
    await world.verify()
    [found] = [event for event in await events_of(world) if event["type"] == "ledger.verify_failed"]
    await remove(world, found)
    assert await world.verify() == ["deleted"]
    assert found["id"] in {event["id"] for event in await events_of(world)}


@pytest.mark.parametrize("count", [1, 255, 256, 257, 513, SPREAD, SPREAD + 300])
async def test_nothing_is_found_where_nothing_was_done(
    world: World, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "PAGES_LEAST", SPREAD // 256)
    events = world.events(count)
    await world.seal(events[: count // 2])
    assert await world.verify() == []
    await world.seal(events[count // 2 :])
    for _ in range(4):
        assert await world.verify() == []
    await world.check([each for each in await events_of(world) if each["type"] != "ledger.verify_failed"])


async def test_a_tenant_without_events_costs_three_queries_and_a_read(world: World) -> None:
    counting = FaultyStore(world.store)
    await world.verification(counting).run(TENANT, world.request())
    assert sorted(call.operation for call in counting.calls) == [*["query"] * 3, "read"]


async def test_a_lap_reads_each_event_and_each_entry_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both walks need both: what one has read the other does not ask for."""
    monkeypatch.setattr(verification, "PAGES_LEAST", 2)
    await world.seal(world.events(512))
    assert await world.verify() == []
    counting = FaultyStore(world.store)
    world.clock.advance(minutes=6)
    await world.verification(counting).run(TENANT, world.request())
    of_events = [call for call in counting.calls if call.container == "audit_events" and call.partition == HERE]
    assert [call.operation for call in of_events] == ["query"] * 2 + ["query"], "two pages, and what is new"


@pytest.mark.parametrize("order", ["backwards", "shuffled", "halves changed"])
@pytest.mark.parametrize("tampered", ["nothing", "edited", "deleted", "entry deleted", "event and entry deleted"])
async def test_a_lap_over_entries_in_another_order_than_events(
    world: World, order: str, tampered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivered so, a page of entries is not of the events of a page."""
    monkeypatch.setattr(verification, "PAGES_LEAST", 1)
    events = world.events(700)
    sealed = {
        "backwards": events[::-1],
        "shuffled": random.Random(7).sample(events, 700),  # noqa: S311
        "halves changed": events[350:] + events[:350],
    }[order]
    await world.keep(events)
    by_id = {each["id"]: each for each in await world.keep(events)}
    await world.sealer().consume([by_id[each["id"]] for each in sealed])
    for _ in range(4):
        assert await world.verify() == []
    if tampered == "nothing":
        return
    tamper, expected = TAMPERED[tampered]
    await tamper(world, events[611])
    for _ in range(8):
        found = await world.verify()
    assert set(found) >= set(expected)


async def test_garbage_among_the_events_holds_up_no_lap(world: World) -> None:
    events = world.events(300)
    await world.seal(events)
    assert await world.verify() == []
    odd: list[Item] = [{"attributes": 7}, {"context": None, "actor": []}, {"subjects": {"a": 1e300}}]
    for number, fields in enumerate(odd):
        planted = world.event(NOW - timedelta(seconds=250 - number)) | fields
        await world.store.create(AUDIT_EVENTS, HERE, planted)
    bare = {"id": world.event(NOW - timedelta(seconds=100))["id"], "tenant_id": TENANT, "period": PERIOD}
    await world.store.create(AUDIT_EVENTS, HERE, bare)
    await edit(world, events[290])
    await remove(world, events[291])
    world.clock.advance(minutes=11)
    found = await world.verify()
    assert {"edited", "deleted"} <= set(found)


async def test_erased_events_are_what_was_sealed(world: World) -> None:
    events = world.events(3, personal={"u1": {"box": "x"}}, ip_key="k")
    await world.seal(events)
    await change(world, AUDIT_EVENTS, events[1]["id"], personal={}, ip_key=None, erased_at=events[2]["recorded_at"])
    assert await world.verify() == []


async def test_what_the_feed_lost_is_sealed_and_not_reported(world: World) -> None:
    events = world.events(300)
    await world.seal(events[:50])
    await world.keep(events[50:])
    assert await world.verify() == []
    await world.check(events[:50])
    assert await world.verify() == []
    await world.check(events)


async def test_a_month_of_which_the_feed_lost_everything_is_sealed(world: World) -> None:
    events = world.events(3)
    await world.keep(events)
    world.clock.advance(minutes=12)
    assert await world.verify() == []
    await world.check(events)


async def test_what_was_put_where_all_was_sealed_is_not_sealed_for_its_claim(world: World) -> None:
    """An event with a forged time of storage looks like one that the feed lost, but for the lap that saw none there."""
    await world.seal(world.events(5))
    world.clock.advance(hours=1)
    for _ in range(2):
        assert await world.verify() == []
    forged = world.event(NOW - timedelta(minutes=1))
    await world.store.create(AUDIT_EVENTS, HERE, forged)

    class Forging(FaultyStore):
        async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
            page = await super().query(container, partition, query)
            for item in page.items:
                if item["id"] == forged["id"]:
                    item["_ts"] = int(NOW.timestamp())
            return page

    for _ in range(2):
        await world.verification(Forging(world.store)).run(TENANT, world.request())
        assert await world.found() == ["not_sealed"]
    assert await Shards(world.store).entry(TENANT, PERIOD, forged["id"]) is None


async def test_in_a_month_whose_retention_is_over_nothing_is_expected(world: World) -> None:
    events = world.events(5)
    await world.seal(events)
    await remove(world, events[0])
    world.clock.advance(days=2555 + 16)
    assert await world.verify() == []
    with pytest.raises(NotFound):
        await world.store.read(LEDGER, HERE, progress_id(PERIOD))


async def test_a_head_that_was_set_back_is_found(world: World) -> None:
    await world.seal(world.events(3))
    early = await world.store.read(LEDGER, HERE, head_id(PERIOD))
    await world.seal(world.events(3))
    assert await world.verify() == []
    await world.store.replace(LEDGER, HERE, early)
    assert await world.verify() == ["head"]


async def test_a_head_that_was_set_back_is_found_by_what_was_signed(world: World) -> None:
    """Although the place of the check was taken away with it."""
    await world.seal(world.events(3))
    early = await world.store.read(LEDGER, HERE, head_id(PERIOD))
    await world.seal(world.events(3))
    await world.checkpoints().issue(TENANT, PERIOD)
    await world.store.replace(LEDGER, HERE, early)
    assert await world.verify() == ["head"]


async def test_a_history_that_was_written_anew_is_not_the_one_that_was_signed(world: World) -> None:
    """Every part of the ledger agrees with every other, but for a checkpoint of before."""
    events = world.events(40)
    await world.seal(events)
    issued = await world.checkpoints().issue(TENANT, PERIOD)
    document = await world.store.read(LEDGER, HERE, checkpoint_id(40))
    async with new_world() as forger:
        forger.secrets = world.secrets
        await forger.seal([{**events[0], "outcome": "error"}, *events[1:]])
        await forger.checkpoints().issue(TENANT, PERIOD)
        await forger.store.upsert(LEDGER, HERE, document)
        assert issued.checkpoint.size == (await Shards(forger.store).head(TENANT, PERIOD)).size
        assert await forger.verify() == ["checkpoint"]


async def test_a_month_of_which_nothing_was_ever_sealed_has_its_turn(world: World) -> None:
    events = world.events(3)
    await world.seal(events)
    await move(world, events[1])
    for _ in range(2555 // 28 + 2):
        await world.verify()
    assert sorted(await world.found()) == ["deleted", "unsealable"]


async def test_everything_is_looked_at_again_within_the_runs_that_are_promised(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "PAGES_LEAST", 1)
    events = world.events(1200)
    await world.seal(events)
    assert await world.verify() == []
    seen = set()
    for index in (0, 300, 700, 1199):
        await remove(world, events[index])
    for _ in range(2 * -(-1200 // 256)):
        seen.add(len(await world.verify()))
    assert sorted(seen) == [1, 2, 3, 4] or sorted(seen) == [0, 1, 2, 3, 4]
    assert await world.found() == ["deleted"] * 4


async def test_counts_are_kept_from_run_to_run_of_a_lap(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "PAGES_LEAST", 1)
    early = [world.event(NOW - timedelta(hours=20 * n)) for n in range(300)]
    kept = await world.keep([each for each in early if each["period"] == PERIOD] + world.events(900))
    claimed = [int(parse_rfc3339(each["recorded_at"]).timestamp()) for each in kept]
    await world.sealer().consume([each | {"_ts": at} for each, at in zip(kept, claimed, strict=True)])
    for _ in range(12):
        assert await world.verify() == []
    await count_more(world)
    for _ in range(12):
        await world.verify()
    assert await world.found() == ["rollup"]


async def test_a_run_finds_so_much_and_the_next_goes_on(world: World) -> None:
    events = world.events(800)
    await world.seal(events)
    for event in events:
        await remove(world, event)
    counts = [len(await world.verify()) for _ in range(6)]
    assert MOST_PER_RUN <= counts[0] <= MOST_PER_RUN + 256
    assert counts[-1] == 800


async def test_one_tenants_check_is_not_anothers(world: World) -> None:
    ours, theirs = world.events(3), world.events(3, tenant_id=OTHER)
    await world.seal([*ours, *theirs])
    await remove(world, ours[0])
    assert await world.verify(OTHER) == []
    assert await world.verify() == ["deleted"]


async def test_a_place_that_somebody_wrote_to_is_begun_anew(world: World) -> None:
    await world.seal(world.events(300))
    assert await world.verify() == []
    nonsense: list[dict[str, object]] = [{"new": 7}, {"lap": {}}, {"after": None, "lap": None}]
    for number, each in enumerate(nonsense, 1):
        await change(world, LEDGER, progress_id(PERIOD), **each)
        for _ in range(2):
            assert await world.verify() == ["checkpoint"] * number


async def test_what_is_put_where_no_month_is_does_not_stop_the_check(world: World) -> None:
    """Stores refuse such a period; whoever is past the app may not ask them."""
    events = world.events(3)
    await world.seal(events)
    await remove(world, events[0])
    strange = {"id": "head|soon", "tenant_id": TENANT, "period": "soon", "_etag": "1"}

    class Strange(FaultyStore):
        async def query(self, container, partition, query):  # type: ignore[no-untyped-def]
            page = await super().query(container, partition, query)
            is_walk = container is LEDGER and partition == (TENANT,)
            return replace(page, items=[*page.items, strange, strange | {"id": "check|soon"}]) if is_walk else page

    await world.verification(Strange(world.store)).run(TENANT, world.request())
    assert await world.found() == ["deleted"]


async def test_a_check_beside_a_sealer_and_another_check_finds_nothing(world: World) -> None:
    events = world.events(900)
    kept = await world.keep(events)
    world.clock.advance(minutes=11)

    async def seal() -> None:
        for start in range(0, 900, 30):
            await world.sealer().consume(kept[start : start + 30])
            await asyncio.sleep(0)

    async def verify() -> None:
        for _ in range(6):
            await world.verification().run(TENANT, world.request())

    await asyncio.gather(seal(), verify(), verify())
    assert await world.found() == []
    await world.check(events)


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_failure_at_any_call_is_made_up_for_by_the_next_run(mode: str) -> None:
    for fail_at in range(1, 80):
        async with new_world() as world:
            events = world.events(300)
            await world.seal(events)
            await world.verify()
            await remove(world, events[5])
            await world.keep([late := world.event()])
            world.clock.advance(seconds=LAG.total_seconds())
            faulty = FaultyStore(world.store, fail_at, mode)  # type: ignore[arg-type]
            try:
                await world.verification(faulty).run(TENANT, world.request())
            except Unavailable:
                await world.verify()
            assert await world.found() == ["deleted"]
            assert await Shards(world.store).entry(TENANT, PERIOD, late["id"]) is not None
            if not faulty.failed:
                break
    assert 20 < fail_at < 79


@pytest.mark.parametrize(
    "planted",
    [
        {"id": "checkpoint|5x", "kind": "checkpoint"},
        {"id": "checkpoint|", "kind": "checkpoint"},
        {"id": f"{rollup_id('2026-03-14')}x", "kind": "rollup", "day": 7},
        {"id": "finding|deleted|x", "kind": "finding"},
    ],
    ids=["checkpoint|5x", "checkpoint|", "rollup", "finding"],
)
async def test_an_item_that_makes_no_sense_hides_no_tampering(world: World, planted: Item) -> None:
    """Whatever is put into a month's ledger: an event that is deleted under its cover is found."""
    events = world.events(5)
    await world.seal(events)
    await world.verify()
    await world.store.create(LEDGER, (TENANT, PERIOD), {"tenant_id": TENANT, "period": PERIOD, **planted})
    await world.store.delete(AUDIT_EVENTS, (TENANT, PERIOD), events[2]["id"])
    assert "deleted" in await world.verify()
