"""What is found is said once, and what is changed a second time is said anew; nobody floods the trail or quiets it."""

import json
from datetime import timedelta

import pytest

from shared.core.clock import parse_rfc3339
from shared.ledger.closing import GRACE
from shared.ledger.shards import Shards, head_id, rollup_id
from shared.ledger.statements import MOST_OF_A_PLACE
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, LEDGER
from shared.storage.documents import Eq, Item, Prefix, Query
from shared.storage.errors import PreconditionFailed
from tests.faults import FaultyStore
from tests.ledger.world import NOW, OTHER, PERIOD, TENANT, World

HERE = (TENANT, PERIOD)


async def write(world: World, container: object, item: Item, **fields: object) -> None:
    """Write over fields of an item, behind the app's back."""
    await world.store.upsert(container, HERE, {k: v for k, v in item.items() if k != "_etag"} | fields)  # type: ignore[arg-type]


@pytest.fixture
async def events(world: World) -> list[Item]:
    made = world.events(5)
    await world.seal(made)
    assert await world.verify() == []
    return made


async def test_a_finding_says_where_it_is_who_found_it_and_of_whom(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    statements, request = world.statements(), world.sealer()._request()
    of = {"index": 3, "event_id": world.event()["id"]}
    assert await statements.found(*HERE, "box", "key", request, **of, subjects=("u1",))
    (told,) = (await world.store.query(AUDIT_EVENTS, HERE, Query((Eq("type", "ledger.verify_failed"),)))).items
    assert told["attributes"] == {"what": "box", "period": PERIOD, **of}
    assert (told["outcome"], told["reason"], told["subjects"]) == ("failure", "box", ["u1"])
    assert (told["actor"]["kind"], told["target"]) == ("system", {"kind": "ledger", "id": PERIOD})
    assert (told["context"]["route"], told["source"]["id"]) == ("change_feed", "seal_ledger")
    (item,) = (await world.store.query(LEDGER, HERE, Query((Prefix("id", "finding|"),)))).items
    assert (item["id"], item["kind"], item["event"]["id"]) == ("finding|box|key", "finding", told["id"])
    fields = {"tenant_id": TENANT, "period": PERIOD, "what": "box", "index": 3}
    assert caplog.messages == [f"ledger_verify_failed {json.dumps(fields, sort_keys=True)}"]


async def test_what_is_no_text_to_others_is_said_too(world: World) -> None:
    for found in ("\ud800", "\udfff"):
        assert await world.statements().found(*HERE, "head", "shard", world.request(), found=found)
    assert await world.found() == ["head"] * 2


async def test_two_who_replace_what_keeps_a_finding_unsaid_say_it_once(world: World) -> None:
    planted = {"id": "finding|tile|shard", "tenant_id": TENANT, "period": PERIOD, "kind": "finding", "event": None}
    await world.store.create(LEDGER, HERE, planted)
    rivals = 1

    class Late(FaultyStore):
        async def replace(self, container, partition, item, etag=None):  # type: ignore[no-untyped-def]
            nonlocal rivals
            while rivals:
                rivals -= 1
                assert await world.statements().found(*HERE, "tile", "shard", world.request())
            return await super().replace(container, partition, item, etag)

    with pytest.raises(PreconditionFailed):
        await world.statements(Late(world.store)).found(*HERE, "tile", "shard", world.request())
    assert not await world.statements().found(*HERE, "tile", "shard", world.request())
    assert await world.found() == ["tile"]


async def test_an_event_that_is_edited_again_is_said_again(world: World, events: list[Item]) -> None:
    for number, outcome in enumerate(("error", "denied", "error", "denied"), 1):
        await write(world, AUDIT_EVENTS, events[2], outcome=outcome)
        for _ in range(2):
            assert await world.verify() == ["edited"] * min(number, 2), "each once, however often"
    feed = await world.store.read(AUDIT_EVENTS, HERE, events[2]["id"])
    await world.sealer().consume([feed])
    assert await world.found() == ["edited"] * 2, "the feed finds the same"


async def test_other_places_are_said_again_when_they_are_changed_again(world: World, events: list[Item]) -> None:
    entry = await world.store.read(LEDGER, HERE, events[1]["id"])
    for number in (1, 2):
        await write(world, LEDGER, entry, entry=entry["entry"] + " " * number)
        assert await world.verify() == ["entries"] * number
    await write(world, LEDGER, entry)
    head = await world.store.read(LEDGER, HERE, head_id(PERIOD))
    for number in (1, 2):
        await write(world, LEDGER, head, size=f"x{number}")
        assert await world.verify() == ["entries"] * 2 + ["head"] * number
    await write(world, LEDGER, head)
    for number in (1, 2):
        rollup = await world.store.read(LEDGER, HERE, rollup_id("2026-03-15"))
        await write(world, LEDGER, rollup, counts=[[*rollup["counts"][0][:4], 70 + number], *rollup["counts"][1:]])
        expected = ["entries"] * 2 + ["head"] * 2 + ["rollup"] * number
        for _ in range(3):  # which also seal what was said before; a day that goes on is compared by the next run
            await world.verify()
        assert await world.verify() == sorted(expected)


async def test_counts_that_are_wrong_stay_one_finding_while_the_day_goes_on(world: World, events: list[Item]) -> None:
    rollup = await world.store.read(LEDGER, HERE, rollup_id("2026-03-15"))
    await write(world, LEDGER, rollup, counts=[[*rollup["counts"][0][:4], 70], *rollup["counts"][1:]])
    for _ in range(4):
        await world.seal(world.events(3))
        assert await world.verify() == ["rollup"]


async def test_a_place_that_is_changed_all_the_time_floods_no_trail(
    world: World, events: list[Item], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(MOST_OF_A_PLACE + 3):
        await write(world, AUDIT_EVENTS, events[2], record_count=number + 1)
        found = await world.verify()
    assert found == ["edited"] * MOST_OF_A_PLACE
    told = {"tenant_id": TENANT, "period": PERIOD, "what": "edited", "index": 2}
    unsaid = {each for each in caplog.messages if each.startswith("ledger_finding_unsaid")}
    assert unsaid == {f"ledger_finding_unsaid {json.dumps(told, sort_keys=True)}"}
    await write(world, AUDIT_EVENTS, events[3], outcome="error")
    assert await world.verify() == ["edited"] * (MOST_OF_A_PLACE + 1), "another place is another matter"


async def test_findings_that_were_never_made_leave_room_for_those_that_are(world: World, events: list[Item]) -> None:
    """Somebody fills the room with documents that say so: of nothing, or of one finding again and again."""
    await write(world, AUDIT_EVENTS, events[2], record_count=99)
    assert await world.verify() == ["edited"]
    query = Query((Prefix("id", f"finding|edited|{events[2]['id']}|"),))
    (held,) = (await world.store.query(LEDGER, HERE, query)).items
    invented = held["event"] | {"id": world.event()["id"]}
    for number in range(20):
        planted = {"id": f"finding|edited|{events[2]['id']}|{number:016x}", "tenant_id": TENANT, "period": PERIOD}
        event = (None, held["event"], invented | {"id": world.event()["id"]})[number % 3]
        await world.store.create(LEDGER, HERE, planted | {"kind": "finding", "event": event})
    await write(world, AUDIT_EVENTS, events[2], record_count=100)
    assert await world.verify() == ["edited"] * 2


async def told(world: World, seconds: int, **fields: object) -> list[str]:
    """What is said of an event that the feed delivers, stored so many seconds after it was recorded."""
    event = world.event(**fields)  # type: ignore[arg-type]
    stored_at = int(parse_rfc3339(event["recorded_at"]).timestamp()) + seconds
    (kept,) = await world.keep([event])
    await world.sealer().consume([kept | {"_ts": stored_at}])
    assert await Shards(world.store).entry(TENANT, event["period"], event["id"]) is not None
    return await world.found()


@pytest.mark.parametrize(
    ("seconds", "found"), [(-300, []), (-301, ["inserted_behind"]), (-86_400, ["inserted_behind"]), (86_400, [])]
)
async def test_an_event_that_claims_a_time_too_far_from_its_storage_is_reported(
    world: World, seconds: int, found: list[str]
) -> None:
    assert await told(world, seconds) == found


async def test_what_is_said_of_a_wrong_clock_is_not_said_of_itself_again(world: World) -> None:
    """Else each statement, recorded by the same clock, would bring about the next one, without end."""
    assert await told(world, -301) == ["inserted_behind"]
    query = Query((Eq("type", "ledger.verify_failed"),), order_by="recorded_at")
    for _ in range(3):
        said = (await world.store.query(AUDIT_EVENTS, (TENANT,), query)).items
        behind = [event | {"_ts": int(parse_rfc3339(event["recorded_at"]).timestamp()) - 301} for event in said]
        await world.sealer().consume(behind)
    assert await world.found() == ["inserted_behind"]
    assert await Shards(world.store).entry(TENANT, PERIOD, said[0]["id"]) is not None


async def test_another_statement_that_was_inserted_behind_is_reported(world: World) -> None:
    what = {"what": "edited", "period": PERIOD, "index": 0, "event_id": None}
    other = {"type": "ledger.verify_failed", "outcome": "failure", "reason": "edited", "attributes": what}
    assert "inserted_behind" in await told(world, -301, **other)


async def test_an_event_that_claims_to_have_been_there_when_all_was_sealed_is_reported(world: World) -> None:
    """Its time of storage is forged to fit the time of its recording, and it comes through the feed."""
    await world.seal(world.events(5))
    for _ in range(3):
        world.clock.advance(minutes=20)
        assert await world.verify() == []
    assert await told(world, 1, at=world.clock.now()) == []
    assert await told(world, 1, at=NOW) == ["inserted_behind"]


async def test_what_the_check_itself_knows_goes_before_what_was_kept_of_it_a_day_ago(world: World) -> None:
    for _ in range(12):
        await world.seal(world.events(5))
        world.clock.advance(minutes=20)
        assert await world.verify() == []
    assert await told(world, 1, at=NOW + timedelta(hours=3)) == ["inserted_behind"]


@pytest.mark.parametrize("place", [{"lap": {"covered": 1 << 62}}, {"lap": None}, {"new": 7}])
async def test_a_place_of_the_check_that_was_forged_reports_nothing_of_its_own(
    world: World, place: dict[str, object]
) -> None:
    await world.seal(world.events(5))
    await world.verify()
    held = await world.store.read(LEDGER, HERE, f"check|{PERIOD}")
    changed = {k: {**held[k], **v} if isinstance(v, dict) else v for k, v in place.items()}
    await write(world, LEDGER, held, **changed)
    assert await told(world, 1) == []


GARBAGE: list[dict[str, object]] = [
    {"counts": None},
    {"counts": [["auth.login", "success", "personal", None, "many"]]},
    {"counts": [["auth.login", "success", 5, None, 1]]},
    {"counts": [[["x"], "success", "personal", None, 1]]},
    {"counts": [["auth.login", "success", "personal", 7, 1]]},
    {"hours": {"auth.login": [0] * 23}},
    {"hours": {"auth.login": [-1] * 24}},
    {"hours": []},
    {"actors": ["xyz"]},
    {"actors": [f"{number:016x}" for number in range(1001)]},
    {"actors": ["f" * 17]},
    {"actors": ["1" + "0" * 16]},
    {"distinct_actors_exact": "yes"},
    {"first": None},
    {"last": True},
    {"day": 7},
]


@pytest.mark.parametrize("change", GARBAGE, ids=lambda change: json.dumps(change)[:40])
async def test_counts_that_are_none_are_said_and_hold_up_no_sealing(
    world: World, events: list[Item], change: dict[str, object]
) -> None:
    rollup = await world.store.read(LEDGER, HERE, rollup_id("2026-03-15"))
    await write(world, LEDGER, rollup, **change)
    await world.seal([*world.events(3), *world.events(2, tenant_id=OTHER)])
    assert (await Shards(world.store).head(*HERE)).size == 8
    assert (await Shards(world.store).head(OTHER, PERIOD)).size == 2
    assert await world.dead() == []
    assert set(await world.found()) == {"rollup"}
    after = await world.store.read(LEDGER, HERE, rollup_id("2026-03-15"))
    assert {name: after[name] for name in change} == change, "it is left as it was found"
    assert set(await world.verify()) == {"rollup"}


KEYS: list[object] = [
    None,
    7,
    [7],
    [{"version": "v", "public_key": "x", "since": "2026-03-01T00:00:00.000000Z"}],
    [{"version": "v", "public_key": "AAAA", "since": "2026-03-01T00:00:00.000000Z"}],
    [{"version": "v", "public_key": "A" * 43 + "=", "since": "soon"}],
]


@pytest.mark.parametrize("keys", KEYS, ids=str)
async def test_a_list_of_keys_that_is_none_is_said_and_holds_up_no_sealing(world: World, keys: object) -> None:
    await world.seal(world.events(3))
    held = await world.store.read(DIRECTORY, ("ledger_keys",), "ledger_keys")
    await world.store.replace(DIRECTORY, ("ledger_keys",), held | {"keys": keys})
    world.clock.advance(minutes=1)
    await world.seal([*world.events(3), *world.events(2, tenant_id=OTHER)])
    for tenant_id, size in ((TENANT, 6), (OTHER, 2)):
        assert (await Shards(world.store).head(tenant_id, PERIOD)).size == size
        assert set(await world.verify(tenant_id)) == {"checkpoint"}
    assert await world.dead() == []


async def closings(world: World) -> list[Item]:
    query = Query((Eq("type", "ledger.checkpoint"),), order_by="recorded_at", limit=1000)
    return (await world.store.query(AUDIT_EVENTS, (TENANT,), query)).items


@pytest.mark.parametrize("root", ["A" * 43 + "=", "", None, 7])
async def test_a_forged_statement_about_a_month_stops_no_closing_and_is_reported(world: World, root: object) -> None:
    await world.seal(world.events(5))
    world.clock.set(NOW.replace(month=4, day=1, hour=0) + GRACE)
    forged = world.event(type="ledger.checkpoint", attributes={"period": PERIOD, "size": 5, "root": root})
    await world.keep([forged])
    for _ in range(2):
        await world.closing().close_due(TENANT, world.request())
        assert await world.found() == ["checkpoint"]
    own = [each for each in await closings(world) if each["id"] != forged["id"]]
    assert [each["attributes"]["size"] for each in own] == [5]
    assert own[0]["attributes"]["root"] != root


async def test_a_statement_about_what_a_month_was_before_is_compared_too(world: World) -> None:
    await world.seal(world.events(300))
    world.clock.set(NOW.replace(month=4, day=1, hour=0) + GRACE)
    assert await world.closing().close_due(TENANT, world.request()) == 1
    await world.seal([world.event(NOW, type="data.read")])
    assert await world.closing().close_due(TENANT, world.request()) == 1
    before = await world.found()
    forged = world.event(type="ledger.checkpoint", attributes={"period": PERIOD, "size": 299, "root": "A" * 43 + "="})
    await world.keep([forged])
    assert await world.closing().close_due(TENANT, world.request()) == 0
    assert sorted(await world.found()) == sorted([*before, "checkpoint"])


@pytest.mark.parametrize("size", ["9" * 5000, -1, True, 2.5, None, "5"])
async def test_a_statement_with_a_size_that_is_none_stops_nothing(world: World, size: object) -> None:
    await world.seal(world.events(5))
    world.clock.set(NOW.replace(month=4, day=1, hour=0) + GRACE)
    await world.keep([world.event(type="ledger.checkpoint", attributes={"period": PERIOD, "size": size, "root": "x"})])
    assert await world.closing().close_due(TENANT, world.request()) == 1
