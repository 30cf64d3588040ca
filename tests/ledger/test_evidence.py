"""Evidence bundles, part by part: what the first one fixes, where the next goes on, and what is counted of it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.audit.export_runs import CLOSED, OPEN, RunOver
from shared.core.clock import period_end, rfc3339
from shared.core.deadline import deadline
from shared.core.errors import FieldError, Invalid
from shared.core.ids import time_of
from shared.ledger._text import encode_base64
from shared.ledger.bundle import Attached
from shared.ledger.evidence import Limits, Place
from shared.ledger.rollups import rollups_of
from shared.ledger.shards import head_id
from shared.privacy.secrets import SecretVersion
from shared.storage.containers import DIRECTORY, REPORTS
from tests.ledger.answers import REQUEST, broken, change, sealed
from tests.ledger.evidence import VERIFIER
from tests.ledger.makers import Maker, boxed, checked, exports, lines_of, manifest_of, unpacked, wanted_of
from tests.ledger.test_keys import Rotating
from tests.ledger.world import NOW, ORIGIN, PERIOD, RETENTION_DAYS, TENANT, World
from tools import verify_evidence as verifier

LOG = f"{ORIGIN}/{TENANT}"
MARCH = wanted_of()
QUARTER = wanted_of("2026-01-31", "2026-03-02")


def shown(parts: list[Any]) -> list[tuple[int, bool, list[str]]]:
    """Of each part: its number, whether it is the last, and its entry bundles."""
    found = []
    for part in parts:
        bundles = [name for name in unpacked(part) if "/tile/" in name]
        found.append((manifest_of(part)["part"], manifest_of(part)["last"], bundles))
    return found


async def test_a_bundle_of_one_part_says_what_it_is(world: World, tmp_path: Path) -> None:
    await world.seal(world.events(300))
    part = await Maker(world).part(MARCH)
    assert (part.entries, part.number, part.next) == (300, 1, None)
    issued = await world.ledger().checkpoint(TENANT, PERIOD, REQUEST)
    found = manifest_of(part)
    files, bundle_id = found.pop("files"), found.pop("bundle_id")
    assert set(files) == unpacked(part).keys() - {"manifest.json", "manifest.note"}
    assert time_of(bundle_id) == NOW
    assert found == {
        "format": "kraftd-audit-evidence/1",
        "part": 1,
        "last": True,
        "origin": LOG,
        "tenant_id": TENANT,
        "from": "2026-03-01",
        "to": "2026-04-01",
        "made_at": rfc3339(NOW),
        "key": (await world.keys().signer(f"{LOG}/bundle")).verifier.encode(),
        "shards": [
            {"period": PERIOD, "size": 300, "root": encode_base64(issued.checkpoint.root), "expired": False},
        ],
    }
    assert unpacked(part)[f"shards/{PERIOD}/checkpoint"].decode() == issued.note
    assert unpacked(part)["verify_evidence.py"] == VERIFIER.read_bytes()
    assert (await checked(world, tmp_path, [part])).result == verifier.OK
    (event,) = await exports(world)
    assert (event["record_count"], event["context"]["request_id"]) == (300, "r-asked")
    assert event["attributes"] == {
        "format": "bundle",
        "filtered_by": ["from", "to"],
        "criteria": {"from": "2026-03-01", "to": "2026-04-01"},
    }


async def test_all_that_is_sealed_is_in_it_though_a_checkpoint_is_young(world: World) -> None:
    await world.seal(world.events(2))
    await world.checkpoints().issue(TENANT, PERIOD)
    await world.seal(world.events(1))
    assert (await Maker(world).part(MARCH)).entries == 3
    assert [event["record_count"] for event in await exports(world)] == [3]


async def test_parts_end_where_the_next_would_be_too_much(world: World, tmp_path: Path) -> None:
    await sealed(world, jan=2, feb=2, mar=257)
    maker = Maker(world, Limits(entries=4))
    parts = await maker.all(QUARTER)
    assert shown(parts) == [
        (1, False, ["shards/2026-01/tile/entries/000.p/2", "shards/2026-02/tile/entries/000.p/2"]),
        (2, False, [f"shards/{PERIOD}/tile/entries/000"]),
        (3, True, [f"shards/{PERIOD}/tile/entries/001.p/1"]),
    ]
    run = parts[0].next.run if parts[0].next else ""
    assert [part.next for part in parts] == [Place(run, 2, 4, PERIOD, 0), Place(run, 3, 260, PERIOD, 1), None]
    assert [(part.entries, part.number) for part in parts] == [(4, 1), (256, 2), (1, 3)]
    assert (await checked(world, tmp_path, parts)).result == verifier.OK
    (event,) = await exports(world)
    assert (event["record_count"], event["reason"]) == (261, None)
    again = await maker.part(QUARTER, parts[0].next)
    assert again.body == parts[1].body, "a part can be asked for again"


async def test_the_first_part_fixes_what_the_bundle_is(world: World, tmp_path: Path) -> None:
    await sealed(world, jan=1, feb=1, mar=1)
    maker = Maker(world, Limits(entries=1))
    parts = [await maker.part(QUARTER)]
    while (place := parts[-1].next) is not None:
        world.clock.advance(minutes=1)
        await world.seal(world.events(2))
        await world.checkpoints().issue(TENANT, PERIOD)
        assert await exports(world) == [], "not before the last part"
        parts.append(await maker.part(QUARTER, place))
    same = [{k: v for k, v in manifest_of(part).items() if k not in ("part", "last", "files")} for part in parts]
    assert same[0] == same[1] == same[2]
    assert [name for name in unpacked(parts[1]) if name.endswith("rollups.jsonl")] == []
    assert (await checked(world, tmp_path, parts)).result == verifier.OK
    (event,) = await exports(world)
    assert event["record_count"] == 3


async def test_what_further_parts_need_is_kept(world: World) -> None:
    await sealed(world, jan=1, feb=1)
    part = await Maker(world, Limits(entries=1)).part(QUARTER)
    assert part.next is not None
    record = await world.store.read(REPORTS, (TENANT,), part.next.run)
    files = unpacked(part)
    assert (record["kind"], record["rows"]) == (OPEN, 1)
    assert record["kept"] == {
        "bundle_id": manifest_of(part)["bundle_id"],
        "made_at": rfc3339(NOW),
        "key": manifest_of(part)["key"],
        "shards": [
            {"period": period, "note": files[f"shards/{period}/checkpoint"].decode(), "expired": False}
            for period in ("2026-01", "2026-02", "2026-03")
        ],
    }
    await Maker(world, Limits(entries=1)).part(QUARTER, part.next)
    record = await world.store.read(REPORTS, (TENANT,), part.next.run)
    assert (record["kind"], record["rows"]) == (CLOSED, 2)


async def test_each_part_is_counted_before_it_is_answered(world: World) -> None:
    await sealed(world, jan=1, feb=2, mar=3)
    maker = Maker(world, Limits(entries=1))
    first = await maker.part(QUARTER)
    assert first.next is not None
    second = await maker.part(QUARTER, first.next)
    assert second.next == replace(first.next, part=3, entries=3, period=PERIOD)
    record = await world.store.read(REPORTS, (TENANT,), first.next.run)
    assert (record["kind"], record["rows"]) == (OPEN, 3)


async def test_a_place_of_another_key_or_of_nobody_leads_nowhere(world: World) -> None:
    world.secrets = secrets = Rotating()  # type: ignore[assignment]
    await sealed(world, jan=1, feb=1)
    maker = Maker(world, Limits(entries=1))
    first = await maker.part(QUARTER)
    assert first.next is not None
    with pytest.raises(RunOver):
        await maker.part(QUARTER, replace(first.next, run="export|nobody's"))
    with pytest.raises(RunOver):
        await maker.part(replace(QUARTER, tenant_id="another"), first.next)
    secrets.held = (SecretVersion("v2", b"2" * 32),)
    with pytest.raises(RunOver):
        await maker.part(QUARTER, first.next)
    secrets.held = (SecretVersion("v1", b"1" * 32),)
    assert (await maker.part(QUARTER, first.next)).number == 2


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        ("2026-03-01", "2026-03-02", ["2026-03"]),
        ("2026-03-31", "2026-04-01", ["2026-03"]),
        ("2026-02-28", "2026-03-01", ["2026-02"]),
        ("2026-01-31", "2026-03-02", ["2026-01", "2026-02", "2026-03"]),
        ("2025-03-31", "2026-03-02", [f"2025-{month:02}" for month in range(3, 13)] + ["2026-01", "2026-02", PERIOD]),
    ],
)
async def test_the_months_are_those_that_the_days_touch(world: World, start: str, end: str, months: list[str]) -> None:
    part = await Maker(world).part(wanted_of(start, end))
    assert [each["period"] for each in manifest_of(part)["shards"]] == months
    assert (part.entries, (await exports(world))[0]["record_count"]) == (0, 0)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2026-03-02", "2026-03-02", "must be after from"),
        ("2026-03-03", "2026-03-02", "must be after from"),
        ("2025-02-28", "2026-03-02", "a bundle has at most 13 months"),
        ("1990-01-01", "2026-03-02", "a bundle has at most 13 months"),
        ("2026-03-01", "2026-04-02", "must not be behind the present month"),
    ],
)
async def test_days_of_which_there_is_no_bundle(world: World, start: str, end: str, message: str) -> None:
    with pytest.raises(Invalid) as raised:
        await Maker(world).part(wanted_of(start, end))
    assert (raised.value.code, raised.value.detail) == ("invalid_request", "Some fields are not as they must be.")
    assert raised.value.errors == (FieldError("to", "range", message),)
    assert await exports(world) == []


async def test_of_months_that_are_over_the_checkpoint_is_left(world: World, tmp_path: Path) -> None:
    await sealed(world, feb=1, mar=2)
    note = (await world.ledger().checkpoint(TENANT, "2026-02", REQUEST)).note
    world.clock.set(datetime.fromtimestamp(period_end("2026-02") + RETENTION_DAYS * 86_400, UTC))
    asked: list[str] = []

    class Asked:
        async def cosigned(self, tenant_id: str, issued: Any, request: Any) -> Any:
            asked.append(issued.head.period)
            return issued

    (part,) = await Maker(world, witness=Asked()).all(QUARTER)
    assert [(each["period"], each["size"], each["expired"]) for each in manifest_of(part)["shards"]] == [
        ("2026-01", 0, False),
        ("2026-02", 1, True),
        (PERIOD, 2, False),
    ]
    assert unpacked(part)["shards/2026-02/checkpoint"].decode() == note
    assert lines_of(part, "shards/2026-02/rollups.jsonl") == []
    assert shown([part]) == [(1, True, [f"shards/{PERIOD}/tile/entries/000.p/2"])]
    assert asked == ["2026-01", PERIOD], "nobody cosigns a month that is over"


async def test_a_month_that_is_over_stays_so_in_every_part(world: World) -> None:
    await sealed(world, jan=1, feb=1, mar=1)
    world.clock.set(datetime.fromtimestamp(period_end("2026-01") + RETENTION_DAYS * 86_400, UTC))
    parts = await Maker(world, Limits(entries=1)).all(QUARTER)
    assert [[each["expired"] for each in manifest_of(part)["shards"]] for part in parts] == [[True, False, False]] * 2
    assert [bundles for _, _, bundles in shown(parts)] == [
        ["shards/2026-02/tile/entries/000.p/1"],
        [f"shards/{PERIOD}/tile/entries/000.p/1"],
    ]


async def test_a_report_goes_with_the_first_part(world: World) -> None:
    await sealed(world, jan=1, feb=1)
    about = {"id": "rep-1", "framework": "soc2", "generated_at": rfc3339(NOW)}
    attached = Attached(about, {"report.json": b"{}", "report.md": b"# x"})
    parts = await Maker(world, Limits(entries=1)).all(replace(QUARTER, report=attached))
    assert [[name for name in unpacked(part) if name.startswith("report/")] for part in parts] == [
        ["report/report.json", "report/report.md"],
        [],
    ]
    assert [manifest_of(part)["report"] for part in parts] == [about, about]


async def test_the_totals_are_of_each_day_that_has_events(world: World) -> None:
    days = [world.event(NOW.replace(day=day, hour=day)) for day in (9, 1, 14, 9)]
    await world.seal(days)
    found = lines_of(await Maker(world).part(MARCH), f"shards/{PERIOD}/rollups.jsonl")
    assert [(each["day"], each["events"]) for each in found] == [
        ("2026-03-01", 1),
        ("2026-03-09", 2),
        ("2026-03-14", 1),
    ]
    assert found[1]["counts"] == rollups_of([days[0], days[3]])["2026-03-09"].totals()["counts"]


async def test_a_part_is_bounded_in_entries_and_bytes(world: World) -> None:
    for month in (1, 2):
        world.clock.set(NOW.replace(month=month))
        await world.seal([boxed(world.event(), {"u1": {"email": "a@example.com"}}) for _ in range(2)])
    world.clock.set(NOW)
    (whole,) = await Maker(world).all(QUARTER)
    assert len(lines_of(whole, "shards/2026-02/disclosed/000.p/2.jsonl")) == 2
    most = sum(file["bytes"] for file in manifest_of(whole)["files"].values()) - 2 * 2  # lengths before two entries
    assert (await Maker(world, Limits(bytes=most)).part(QUARTER)).entries == 4
    for limits in (Limits(bytes=most - 1), Limits(entries=3)):
        assert (await Maker(world, limits).part(QUARTER)).entries == 2
    assert (await Maker(world, Limits(entries=4)).part(QUARTER)).entries == 4


async def test_a_part_ends_early_when_time_runs_out(world: World) -> None:
    await sealed(world, jan=1, feb=1)
    with deadline(100):
        assert len(await Maker(world).all(QUARTER)) == 1
    with deadline(7):
        assert len(await Maker(world).all(QUARTER)) == 2


async def test_keys_that_nobody_can_read_are_said(world: World) -> None:
    await world.store.create(DIRECTORY, ("ledger_keys",), {"id": "ledger_keys", "keys": "none"})
    await broken(world, Maker(world).part(QUARTER), "checkpoint", "the list of published keys is not as we write it")


async def test_a_head_that_nobody_sealed_is_said(world: World) -> None:
    await sealed(world, jan=1, feb=1)
    await change(world, head_id("2026-02"), "2026-02", size="x")
    message = "the head is not as a sealer writes it"
    await broken(world, Maker(world).part(QUARTER), "head", message, "2026-02")
    assert await exports(world) == []


async def test_a_checkpoint_that_nobody_signed_is_said(world: World) -> None:
    await sealed(world, jan=1, feb=1)
    await change(world, head_id("2026-02"), "2026-02", note="no note")
    message = "the last checkpoint does not verify: a note is text, an empty line and signature lines"
    await broken(world, Maker(world).part(QUARTER), "head", message, "2026-02")


async def test_entries_that_were_changed_are_in_no_bundle(world: World) -> None:
    await sealed(world, jan=1, feb=2)
    entry = (await world.sealed(TENANT, "2026-02"))[1]
    await change(world, entry.event_id, "2026-02", entry=entry.text.decode().replace("2026", "2027", 1))
    message = "entries of bundle 0 are not those that were sealed"
    maker = Maker(world, Limits(entries=1))
    await broken(world, maker.part(QUARTER), "entries", message, "2026-02")
