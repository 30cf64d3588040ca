"""What makes evidence bundles of a world, and what is in them, for tests."""

import base64
import io
import json
import random
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from shared.audit.export_runs import ExportRuns
from shared.audit.model import SYSTEM, Draft
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.audit.search import EventSearch, exported
from shared.core.ids import IdFactory
from shared.ledger.evidence import Evidence, Limits, Part, Wanted
from shared.ledger.service import Ledger
from shared.ledger.shards import Shards
from shared.ledger.witness import Witness
from shared.privacy.blind_index import BlindIndex
from shared.privacy.boxes import BoxDamaged, Opened, commitment_of
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import Eq, Item, Query
from tests.fakes import ClearBox
from tests.ledger.answers import REQUEST
from tests.ledger.evidence import save
from tests.ledger.world import ORIGIN, PERIOD, TENANT, World
from tools import verify_evidence as verifier

SALT = b"\x5a" * 32


def boxed(event: Item, personal: dict[str, dict[str, Any]]) -> Item:
    """The event with boxes of persons that a StrictBox opens, and their commitments."""
    bound = {"tenant": event["tenant_id"], "event": event["id"], "salt": base64.b64encode(SALT).decode()}
    boxes = {who: bound | {"subject": who, "data": data} for who, data in personal.items()}
    commitments = {who: commitment_of(SALT, data) for who, data in personal.items()}
    return event | {"personal": boxes, "commitments": commitments}


class StrictBox(ClearBox):
    """Boxes that open for their own tenant, person and event, once what they need was got ready, and if they lead to
    what was recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: set[tuple[str, str]] = set()

    async def prepare(self, tenant_id: str, subjects: Iterable[str], *, sealing: bool = False) -> None:
        assert not sealing
        self.ready |= {(tenant_id, subject) for subject in subjects}

    async def open(  # type: ignore[override]  # as a box does of which the person was erased
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any], commitment: str | None = None
    ) -> Opened | None:
        assert (tenant_id, subject) in self.ready
        if subject in self.erased:
            return None
        if (box.get("tenant"), box.get("subject"), box.get("event")) != (tenant_id, subject, event_id):
            raise BoxDamaged("a box of another event")
        opened = Opened(box["data"], base64.b64decode(box["salt"]))
        if commitment is not None and opened.commitment != commitment:
            raise BoxDamaged("a box holds something else than what was recorded")
        return opened


@dataclass
class Maker:
    """An instance of the app that makes bundles."""

    world: World
    limits: Limits | None = None
    witness: Any = None
    box: StrictBox = field(default_factory=StrictBox)
    ledger: Ledger | None = None
    shards: Shards | None = None

    @property
    def runs(self) -> ExportRuns:
        store, clock, clear = self.world.store, self.world.clock, ClearBox()
        index, ids = BlindIndex(MemorySecrets(), "v1"), IdFactory(clock)
        recorder = Recorder(store, clock, ids, clear, index)
        search = EventSearch(store, index, clear, clock)
        return ExportRuns(search, store, recorder, Outbox(store, recorder, clock, ids), clock)

    @property
    def evidence(self) -> Evidence:
        store, clock = self.world.store, self.world.clock
        witness: Witness | None = self.witness
        return Evidence(
            ledger=self.ledger or self.world.ledger(),
            shards=self.shards or Shards(store),
            keys=self.world.keys(),
            store=store,
            box=self.box,
            recorder=Recorder(store, clock, IdFactory(clock), ClearBox(), BlindIndex(MemorySecrets(), "v1")),
            runs=self.runs,
            clock=clock,
            ids=IdFactory(clock, random.Random(3).getrandbits),  # noqa: S311
            witness=witness,
            limits=self.limits,
        )

    async def part(self, wanted: Wanted, place: Any = None) -> Part:
        return await self.evidence.part(wanted, place, draft_of(wanted))

    async def all(self, wanted: Wanted) -> list[Part]:
        """Every part."""
        parts = [await self.part(wanted)]
        while (place := parts[-1].next) is not None:
            assert len(parts) < 20
            parts.append(await self.part(wanted, place))
        return parts


def wanted_of(start: str = "2026-03-01", end: str = "2026-04-01", *, disclosed: bool = True, **more: Any) -> Wanted:
    return Wanted(TENANT, date.fromisoformat(start), date.fromisoformat(end), disclosed, **more)


def draft_of(wanted: Wanted) -> Draft:
    days = {"from": wanted.start.isoformat(), "to": wanted.end.isoformat()}
    return Draft(wanted.tenant_id, exported("bundle", days, by_person=False), REQUEST, actor=SYSTEM)


def unpacked(part: Part) -> dict[str, bytes]:
    """The files of a part."""
    with zipfile.ZipFile(io.BytesIO(part.body)) as file:
        return {name: file.read(name) for name in file.namelist()}


def manifest_of(part: Part) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(unpacked(part)["manifest.json"])
    return found


def lines_of(part: Part, name: str) -> list[dict[str, Any]]:
    """A file of lines of JSON."""
    return [json.loads(line) for line in unpacked(part)[name].splitlines()]


async def exports(world: World) -> list[Item]:
    """The events of exports."""
    query = Query((Eq("type", "audit.export"),), order_by="recorded_at")
    return (await world.store.query(AUDIT_EVENTS, (TENANT,), query)).items


async def checked(world: World, folder: Path, parts: Sequence[Part], witnesses: Sequence[str] = ()) -> verifier.Checks:
    """What the offline verifier says of parts."""
    (key,) = await world.keys().verifiers(f"{ORIGIN}/{TENANT}/{PERIOD}")
    return verifier.verify(save(folder, [part.body for part in parts]), [key.encode()], (), witnesses)
