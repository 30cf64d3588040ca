"""Boxes that are watched: one that does not open, although its person's key is there, is a finding of the ledger.

It was changed, moved or taken out, past the application; so was a person's key that does not unwrap. Whoever reads
gets no data, the trail a `ledger.verify_failed`: once for each box, or each key and month, however often it is read.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from shared.audit.model import RequestContext
from shared.core.clock import Clock, period_of
from shared.core.ids import IdFactory, time_of
from shared.ledger.statements import Statements
from shared.privacy.boxes import BoxDamaged, KeyOfBoxDamaged, Opened, Personal, PersonalBox, Sealed

KNOWN = 10_000
"""Boxes of which an instance remembers that they were told; of others the store says so."""
MOST, MOST_WITHIN = 100, timedelta(minutes=1)
"""So many findings are recorded at a time: of a trail that was overwritten the rest is told by later reads."""


class WatchedBoxes:
    """Boxes as others keep them."""

    def __init__(self, boxes: PersonalBox, statements: Statements, clock: Clock, ids: IdFactory) -> None:
        self._boxes = boxes
        self._statements = statements
        self._clock = clock
        self._ids = ids
        self._known: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self._recent: deque[datetime] = deque(maxlen=MOST)

    async def seal(self, tenant_id: str, subject: str, event_id: str, personal: Personal) -> Sealed | None:
        """As the boxes do. A KeyOfBoxDamaged is recorded before it is raised; StoreError when that could not be."""
        try:
            return await self._boxes.seal(tenant_id, subject, event_id, personal)
        except KeyOfBoxDamaged:
            await self._tell(tenant_id, subject, event_id, of_key=True)
            raise

    async def prepare(self, tenant_id: str, subjects: Iterable[str], *, sealing: bool = False) -> None:
        """As the boxes do."""
        await self._boxes.prepare(tenant_id, subjects, sealing=sealing)

    async def open(
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any], commitment: str | None = None
    ) -> Opened | None:
        """As the boxes do. A BoxDamaged is recorded before it is raised; StoreError when that could not be."""
        try:
            return await self._boxes.open(tenant_id, subject, event_id, box, commitment)
        except BoxDamaged as error:
            await self._tell(tenant_id, subject, event_id, of_key=isinstance(error, KeyOfBoxDamaged))
            raise

    async def check_erased(self, tenant_id: str, subject: str, event_id: str) -> None:
        """As the boxes do; told of like a box that does not open."""
        try:
            await self._boxes.check_erased(tenant_id, subject, event_id)
        except BoxDamaged:
            await self._tell(tenant_id, subject, event_id, of_key=False)
            raise

    async def _tell(self, tenant_id: str, subject: str, event_id: str, *, of_key: bool) -> None:
        now = self._clock.now()
        try:
            period = period_of(time_of(event_id))
        except ValueError:
            period = period_of(now)  # no id of ours
        key = (tenant_id, period, subject) if of_key else (tenant_id, event_id, subject)
        if key in self._known or self._is_busy(now):
            return
        self._recent.append(now)
        await self._statements.found(
            tenant_id,
            period,
            "person_key" if of_key else "box",
            subject if of_key else f"{event_id}|{subject}",
            RequestContext(self._ids.new(now), "boxes", "boxes", now),
            event_id=None if of_key else event_id,
            subjects=(subject,),
        )
        self._known[key] = None
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)

    def _is_busy(self, now: datetime) -> bool:
        return len(self._recent) == MOST and abs(now - self._recent[0]) < MOST_WITHIN
