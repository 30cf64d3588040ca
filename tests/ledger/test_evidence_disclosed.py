"""What a bundle adds to the entries: personal data that still opens, what a witness says, and totals up to date."""

import base64
from pathlib import Path
from typing import Any

import pytest

from shared.audit.model import RequestContext
from shared.ledger.checkpoints import Issued
from shared.ledger.evidence import Limits
from shared.ledger.note import Cosigner, parse_note, with_signatures
from shared.ledger.rollups import rollups_of
from shared.ledger.service import Ledger
from shared.ledger.shards import BrokenShard, Shards
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import Item
from tests.ledger.answers import REQUEST, broken, sealed
from tests.ledger.makers import SALT, Maker, boxed, checked, lines_of, unpacked, wanted_of
from tests.ledger.test_evidence import QUARTER
from tests.ledger.test_roster import told
from tests.ledger.world import NOW, OTHER, PERIOD, RETENTION_DAYS, TENANT, World
from tools import verify_evidence as verifier

MARCH = wanted_of()
DISCLOSED = f"shards/{PERIOD}/disclosed"
PERSONAL: dict[str, dict[str, Any]] = {"u2": {"email": "two@example.com"}, "u1": {"email": "é@example.com", "tries": 3}}
COSIGNER = Cosigner("witness.example.org/w1", b"w" * 32)


def line(index: int, event: Item, subject: str) -> dict[str, Any]:
    salt = base64.b64encode(SALT).decode()
    own = {"index": index, "event_id": event["id"], "subject": subject, "salt": salt}
    return own | {"personal": PERSONAL[subject]}


async def people(world: World) -> list[Item]:
    """Four events, of which two are about persons."""
    first, second, third, fourth = world.events(4)
    events = [first, boxed(second, PERSONAL), third, boxed(fourth, {"u1": PERSONAL["u1"]})]
    await world.seal(events)
    return events


async def change(world: World, event: Item, **fields: Any) -> None:
    """Write over a stored event, past the app."""
    held = await world.store.read(AUDIT_EVENTS, (TENANT, PERIOD), event["id"])
    await world.store.replace(AUDIT_EVENTS, (TENANT, PERIOD), held | fields)


async def test_personal_data_is_shown_with_its_salt(world: World, tmp_path: Path) -> None:
    events = await people(world)
    part = await Maker(world).part(MARCH)
    assert lines_of(part, f"{DISCLOSED}/000.p/4.jsonl") == [
        line(1, events[1], "u1"),
        line(1, events[1], "u2"),
        line(3, events[3], "u1"),
    ]
    checks = await checked(world, tmp_path, [part])
    assert checks.result == verifier.OK
    assert "3 of 3 are shown" in verifier.table(checks)


async def test_of_each_entry_bundle_what_belongs_to_it_is_shown(world: World) -> None:
    events = world.events(257)
    for at in (0, 255, 256):
        events[at] = boxed(events[at], {"u1": PERSONAL["u1"]})
    await world.seal(events)
    part = await Maker(world).part(MARCH)
    assert lines_of(part, f"{DISCLOSED}/000.jsonl") == [line(at, events[at], "u1") for at in (0, 255)]
    assert lines_of(part, f"{DISCLOSED}/001.p/1.jsonl") == [line(256, events[256], "u1")]


async def test_nothing_is_shown_where_it_is_not_wanted_or_there_is_nothing(world: World) -> None:
    await world.seal(world.events(2))
    assert not [name for name in unpacked(await Maker(world).part(MARCH)) if "disclosed" in name]
    await people(world)
    plain = unpacked(await Maker(world).part(wanted_of(disclosed=False)))
    assert not [name for name in plain if "disclosed" in name]
    assert not [content for content in plain.values() if b"two@example.com" in content]


async def test_of_somebody_who_was_erased_nothing_is_shown(world: World, caplog: pytest.LogCaptureFixture) -> None:
    events = await people(world)
    maker = Maker(world)
    maker.box.erased = {"u1"}
    part = await maker.part(MARCH)
    assert lines_of(part, f"{DISCLOSED}/000.p/4.jsonl") == [line(1, events[1], "u2")]
    await world.store.delete(AUDIT_EVENTS, (TENANT, PERIOD), events[1]["id"])
    part = await Maker(world).part(MARCH)
    assert lines_of(part, f"{DISCLOSED}/000.p/4.jsonl") == [line(3, events[3], "u1")]
    assert told(caplog, "personal_box_damaged") == []


async def test_what_was_changed_is_shown_to_nobody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    events = await people(world)
    boxes = events[1]["personal"]
    other = boxes["u1"] | {"data": {"email": "another@example.com"}}
    await change(world, events[1], personal={"u1": other, "u2": boxes["u2"], "u3": boxes["u2"] | {"subject": "u3"}})
    await change(world, events[3], personal=["none"])
    part = await Maker(world).part(MARCH)
    assert lines_of(part, f"{DISCLOSED}/000.p/4.jsonl") == [line(1, events[1], "u2")]
    damaged = [
        (each["event_id"], each["tenant_id"], each["error_type"]) for each in told(caplog, "personal_box_damaged")
    ]
    assert damaged == [(events[at]["id"], TENANT, "BoxDamaged") for at in (1, 1, 3)]


class Asked:
    """A witness that answers what it is told to, month for month."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.asked: list[tuple[str, str, RequestContext]] = []

    async def cosigned(self, tenant_id: str, issued: Issued, request: RequestContext) -> Issued | None:
        self.asked.append((tenant_id, issued.head.period, request))
        answer = self._answers.get("m" + issued.head.period[5:], "cosigns")
        if isinstance(answer, BrokenShard):
            raise answer
        if answer == "cosigns":
            note = parse_note(issued.note.encode())
            signed = with_signatures(note, [COSIGNER.cosign(note.text, 1_770_000_000)])
            return Issued(issued.checkpoint, signed.encode(), issued.head)
        assert answer in ("refuses", "is silent")
        return issued if answer == "refuses" else None


def cosigned(files: dict[str, bytes]) -> list[str]:
    """The months whose checkpoints hold what the witness says."""
    notes = {name: content for name, content in files.items() if name.endswith("/checkpoint")}
    return [name.split("/")[1] for name, content in notes.items() if COSIGNER.verifier.name.encode() in content]


async def test_the_witness_is_asked_for_every_month(world: World, tmp_path: Path) -> None:
    await sealed(world, jan=1, feb=2, mar=1)
    witness = Asked()
    parts = await Maker(world, Limits(entries=1), witness).all(QUARTER)
    assert witness.asked == [(TENANT, period, REQUEST) for period in ("2026-01", "2026-02", PERIOD)], "once"
    assert [cosigned(unpacked(part)) for part in parts] == [["2026-01", "2026-02", PERIOD]] * 3
    checks = await checked(world, tmp_path, parts, [COSIGNER.verifier.encode()])
    assert checks.result == verifier.OK, verifier.table(checks)


async def test_what_the_witness_refuses_is_there_as_it_was_signed(world: World, tmp_path: Path) -> None:
    await sealed(world, jan=1, feb=2, mar=1)
    (part,) = await Maker(world, witness=Asked(m02="refuses")).all(QUARTER)
    assert cosigned(unpacked(part)) == ["2026-01", PERIOD]
    checks = await checked(world, tmp_path, [part])
    assert checks.result == verifier.OK, verifier.table(checks)


async def test_the_witness_is_told_whose_month_it_is(world: World) -> None:
    await world.seal(world.events(1))
    witness = Asked()
    (part,) = await Maker(world, witness=witness).all(MARCH)
    assert witness.asked == [(TENANT, PERIOD, REQUEST)]
    assert cosigned(unpacked(part)) == [PERIOD]


async def test_a_witness_that_is_silent_is_asked_no_more(world: World, tmp_path: Path) -> None:
    await sealed(world, jan=1, feb=2, mar=1)
    witness = Asked(m02="is silent")
    (part,) = await Maker(world, witness=witness).all(QUARTER)
    assert [period for _, period, _ in witness.asked] == ["2026-01", "2026-02"]
    assert cosigned(unpacked(part)) == ["2026-01"]
    assert part.entries == 4
    checks = await checked(world, tmp_path, [part])
    assert checks.result == verifier.OK, verifier.table(checks)


async def test_what_the_witness_finds_is_said(world: World) -> None:
    await sealed(world, jan=1, feb=2, mar=1)
    witness = Asked(m02=BrokenShard("tile", "a tile is gone"))
    await broken(world, Maker(world, witness=witness).part(QUARTER), "tile", "a tile is gone", "2026-02")


class Late(Ledger):
    """More is sealed before its checkpoints are signed."""

    world: World
    more: list[Item]

    async def checkpoint(self, tenant_id: str, period: str, request: RequestContext, *, newest: bool = False) -> Issued:
        await self.world.seal(self.more)
        return await super().checkpoint(tenant_id, period, request, newest=newest)


class Counted(Shards):
    """More is sealed before counts are read."""

    world: World
    more: list[Item]

    async def rollups(self, tenant_id: str, period: str, days: Any) -> dict[str, Item]:
        await self.world.seal(self.more)
        return await super().rollups(tenant_id, period, days)


@pytest.mark.parametrize("when", ["before the counts", "after them", "never"])
async def test_the_totals_are_those_at_the_size_of_the_checkpoint(world: World, when: str) -> None:
    """Each event counts once, whoever seals while a bundle begins."""
    world.clock.set(NOW.replace(hour=23, minute=59, second=55))
    before = world.events(3)
    await world.seal(before)
    more = [world.event()]
    world.clock.advance(seconds=10)
    more += [world.event(), world.event(), world.event(tenant_id=OTHER)]
    maker = Maker(world)
    if when == "after them":
        parts = Shards(world.store), world.checkpoints(), world.keys(), world.statements(), world.clock
        maker.ledger = late = Late(*parts, RETENTION_DAYS)
        late.world, late.more = world, more
    if when == "before the counts":
        maker.shards = shards = Counted(world.store)
        shards.world, shards.more = world, more
    if when == "never":
        await world.seal(more)
    part = await maker.part(MARCH)
    events = [*before, *more[:3]]
    assert part.entries == len(events)
    assert lines_of(part, f"shards/{PERIOD}/rollups.jsonl") == [
        total for _, total in sorted((day, rollup.totals()) for day, rollup in rollups_of(events).items())
    ]
