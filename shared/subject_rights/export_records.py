"""What an export has of a person, record by record: where it is found, and how each record looks.

Events are found through `subjects`. Of an event that concerns several persons only the boxes of this one are opened,
and the keyed hashes of e-mails and addresses stay out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.audit.entries import ENTRY_FIELDS, EntryError, entry_of
from shared.audit.formed import boxes_of
from shared.audit.model import RequestContext, StoredEvent
from shared.core.clock import Clock
from shared.detection import all_patterns
from shared.detection.alerts import ALERT_KIND, OVERDUE
from shared.detection.alerts import shown as shown_alert
from shared.ledger.proving import SLICE, Included, prove_each
from shared.ledger.service import Ledger
from shared.ledger.shards import BrokenShard, Shards
from shared.privacy.boxes import BoxDamaged, Opened, PersonalBox
from shared.storage.containers import ALERTS, AUDIT_EVENTS, IDENTITY, Container
from shared.storage.documents import Eq, Has, In, Item, Query, Range
from shared.subject_rights.export_document import Kind, Scope, base64_text
from shared.subject_rights.model import KIND, shown
from shared.telemetry import get_log

_log = get_log(__name__)

_OF_A_SESSION = ("created_at", "refreshed_at", "expires_at", "idle_expires_at", "mfa_at")

type ProofState = Literal["sealed", "not_sealed", "expired", "broken", "changed"]


@dataclass(frozen=True, slots=True)
class Walk:
    """One way to records of one kind, within the tenant. `known`: ids by which events were found by an earlier way."""

    kind: Kind
    container: Container
    query: Query
    known: frozenset[str] = frozenset()


def walks(scope: Scope) -> list[Walk]:
    """Every way, in a fixed order: a place names one by its number."""
    subject, until = scope.subject, scope.received_at
    found = [
        Walk("sessions", IDENTITY, Query((Eq("kind", "session"), Eq("user_id", subject)), order_by="created_at")),
        Walk(
            "requests",
            IDENTITY,
            Query((Eq("kind", KIND), Eq("subject", subject), Range("created_at", lt=until)), order_by="created_at"),
        ),
    ]
    series = In("series", tuple(f"{each}|{subject}" for each in (*all_patterns(), OVERDUE)))
    found.append(Walk("alerts", ALERTS, Query((Eq("kind", ALERT_KIND), series), order_by="first_seen")))
    for number, each in enumerate(scope.ids):
        named = (Has("subjects", each), Range("recorded_at", lt=until))
        query = Query(named, order_by="recorded_at")
        found.append(Walk("events", AUDIT_EVENTS, query, frozenset(scope.ids[:number])))
    return found


class Records:
    """Makes records of what is stored."""

    def __init__(self, box: PersonalBox, ledger: Ledger, shards: Shards, clock: Clock) -> None:
        self._box = box
        self._ledger = ledger
        self._shards = shards
        self._clock = clock

    async def of(
        self, walk: Walk, items: Sequence[Item], scope: Scope, request: RequestContext
    ) -> list[tuple[Item, dict[str, Any] | None]]:
        """Each item with its record; None for what is in the export already. SecretsError, StoreError."""
        if walk.kind != "events":
            return [(item, self._plain(walk.kind, item)) for item in items]
        new = [event for event in items if walk.known.isdisjoint(event["subjects"])]
        proofs = await self._proofs(new, scope, request)
        await self._box.prepare(scope.tenant_id, scope.ids)
        records: dict[str, dict[str, Any]] = {}
        for number, event in enumerate(new, 1):
            records[event["id"]] = await self._event(event, scope, proofs[event["id"]])
            if number % SLICE == 0:
                await asyncio.sleep(0)
        return [(event, records.get(event["id"])) for event in items]

    def _plain(self, kind: Kind, item: Item) -> dict[str, Any]:
        if kind == "sessions":
            return {"id": item["session_id"], **{name: item[name] for name in _OF_A_SESSION}}
        return shown(item, self._clock.now()) if kind == "requests" else shown_alert(item)

    async def _proofs(
        self, events: Sequence[StoredEvent], scope: Scope, request: RequestContext
    ) -> dict[str, dict[str, Any]]:
        """What there is to prove each event with, by its id."""
        by_period: dict[str, list[StoredEvent]] = {}
        for event in events:
            by_period.setdefault(event["period"], []).append(event)
        found: dict[str, dict[str, Any]] = {}
        for period, group in by_period.items():
            state, proven = await self._proven(scope, period, [event["id"] for event in group], request)
            for event in group:
                included = proven.get(event["id"])
                found[event["id"]] = _proof(state) if included is None else self._held_against(event, included)
        return found

    async def _proven(
        self, scope: Scope, period: str, event_ids: Sequence[str], request: RequestContext
    ) -> tuple[ProofState, Mapping[str, Included]]:
        """The proofs of events of one month, and what is to be said of those that have none."""
        month = scope.month(period)
        if month is None:
            return "not_sealed", {}
        if month.checkpoint is None or month.state != "sealed":
            return ("expired" if month.state == "expired" else "broken"), {}
        try:
            return "not_sealed", await prove_each(self._shards, scope.tenant_id, period, month.checkpoint, event_ids)
        except BrokenShard as error:
            await self._ledger.broken(scope.tenant_id, period, error, request)
            return "broken", {}

    def _held_against(self, event: StoredEvent, included: Included) -> dict[str, Any]:
        """The proof of an event that is as it was sealed; of any other, what was sealed."""
        try:
            entry = entry_of(event)
        except EntryError:
            entry = b""
        if entry == included.entry.text:
            return _proof("sealed", included)
        _log.error("exported_event_changed", event_id=event["id"], tenant_id=event["tenant_id"])
        return _proof("changed", included) | {"entry": base64_text(included.entry.text)}

    async def _event(self, event: StoredEvent, scope: Scope, proof: dict[str, Any]) -> dict[str, Any]:
        personal: dict[str, Any] = {}
        salts: dict[str, str] = {}
        for subject in scope.ids:
            if subject not in event["commitments"] and subject not in boxes_of(event, event["commitments"]):
                continue
            try:
                opened = await self._opened(event, subject)
            except BoxDamaged as error:
                _log.error("personal_box_damaged", error, event_id=event["id"], tenant_id=event["tenant_id"])
                personal[subject] = {"damaged": True}
                continue
            personal[subject] = {"erased": True} if opened is None else opened.personal
            if opened is not None:
                salts[subject] = base64_text(opened.salt)
        known = {name: event.get(name) for name in ENTRY_FIELDS}
        return {"event": known, "personal": personal, "salts": salts, "proof": proof}

    async def _opened(self, event: StoredEvent, subject: str) -> Opened | None:
        """What is in a person's box; None for an erased one. BoxDamaged, also for what was not recorded so."""
        box = boxes_of(event, event["commitments"]).get(subject)
        if box is None:
            if event.get("erased_at") is None:
                await self._box.check_erased(event["tenant_id"], subject, event["id"])
            return None
        recorded = event["commitments"].get(subject, "")
        return await self._box.open(event["tenant_id"], subject, event["id"], box, recorded)


def _proof(state: ProofState, included: Included | None = None) -> dict[str, Any]:
    return {
        "state": state,
        "index": None if included is None else included.entry.index,
        "path": [] if included is None else [base64_text(each) for each in included.path],
        "entry": None,
    }
