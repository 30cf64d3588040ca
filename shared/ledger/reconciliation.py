"""The other way around: every event of the trail is sealed. What the change feed lost is handed to the sealer here.

Events are walked in the order of their ids, which is that of their recording. Those that were stored a short while ago
are left to the feed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from shared.core.clock import Clock
from shared.ledger.findings import UNREADABLE, Findings
from shared.ledger.progress import LAG
from shared.ledger.sealer import Sealer
from shared.ledger.shards import ENTRY, BrokenShard
from shared.ledger.walk import leaf_of
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import DocumentStore, In, Item, Partition, Query, Range
from shared.storage.errors import NotFound
from shared.telemetry import get_log

_log = get_log(__name__)

PAGE = 256

type Reconciled = Callable[[], None]
"""Told of each event that was sealed although the feed had not delivered it."""


def _unheard() -> None:
    """Nobody asked."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Some events of a shard, as they are stored, in the order of their ids.

    `times`: when each was stored (Unix time). `leaves`: of those that were read whole. `last`: the id to go on from.
    `more`: others may follow.
    """

    times: Mapping[str, int]
    leaves: Mapping[str, bytes]
    last: str
    more: bool


class Reconciliation:
    """Walks the events of a shard."""

    def __init__(self, store: DocumentStore, sealer: Sealer, clock: Clock, reconciled: Reconciled = _unheard) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._reconciled = reconciled

    async def read(self, partition: Partition, after: str, before: str | None = None, *, whole: bool = False) -> Stored:
        """The next events behind one id, and before another. `whole`: with their leaves. StoreError."""
        fields = None if whole else ("id", "_ts")
        query = Query((Range("id", gt=after, lt=before),), limit=PAGE, fields=fields)
        page = await self._store.query(AUDIT_EVENTS, partition, query)
        times = {item["id"]: item["_ts"] for item in page.items}
        leaves = _leaves(page.items) if whole else {}
        return Stored(times, leaves, page.items[-1]["id"] if page.items else after, page.next is not None)

    async def compare(
        self, partition: Partition, stored: Stored, findings: Findings, *, covered: int, sealed: Collection[str] = ()
    ) -> None:
        """Whether each of some events has an entry.

        `covered`: Unix time. An earlier walk saw to it that all events are sealed that were stored before. One that
        claims to be of those and has no entry was put there since, or its entry was taken away: it is reported and not
        sealed. `sealed`: ids of which an entry was just read. StoreError.
        """
        latest = (self._clock.now() - LAG).timestamp()
        times = {each: time for each, time in stored.times.items() if time <= latest and each not in sealed}
        if not times:
            return
        known = Query((In("id", tuple(times)),), limit=PAGE, fields=("id", "kind"))
        found = (await self._store.query(LEDGER, partition, known)).items
        for event_id in sorted(times.keys() - {item["id"] for item in found if item.get("kind") == ENTRY}):
            if not await self._without_entry(partition, event_id, findings, is_covered=times[event_id] < covered):
                break

    async def _without_entry(
        self, partition: Partition, event_id: str, findings: Findings, *, is_covered: bool
    ) -> bool:
        """Seal an event that has no entry, or say that it should have one.

        False: nothing can be sealed in this shard now, and it is recorded why. The next lap seals what it finds then.
        """
        tenant_id, period = partition
        try:
            event = await self._store.read(AUDIT_EVENTS, partition, event_id)
            if is_covered:
                await self._sealer.pending(event)
                await findings.add(period, "not_sealed", event_id)
                return True
        except NotFound:
            return True  # it expired meanwhile
        except ValueError as error:
            return self._not_reconciled(tenant_id, event_id, findings, error)
        try:
            await self._sealer.handle(event)
        except ValueError as error:
            return self._not_reconciled(tenant_id, event_id, findings, error)
        _log.warning("event_reconciled", tenant_id=tenant_id, event_id=event_id)
        self._reconciled()
        return True

    def _not_reconciled(self, tenant_id: str, event_id: str, findings: Findings, error: ValueError) -> bool:
        """Count what the sealer has recorded, of the event or of its shard; whether others may be sealed."""
        _log.warning("event_not_reconciled", tenant_id=tenant_id, event_id=event_id, reason=type(error).__name__)
        findings.number += 1
        return not (isinstance(error, BrokenShard) and error.what == "head")


def _leaves(events: Collection[Item]) -> dict[str, bytes]:
    """What each gives now. What somebody planted and gives nothing is left out: whoever needs it asks for it."""
    found = {}
    for event in events:
        try:
            found[event["id"]] = leaf_of(event)
        except UNREADABLE:
            continue
    return found
