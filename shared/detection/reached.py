"""How far detection has come in a tenant's trail.

The feed brings a tenant's events of a month in the order in which they were stored. So whatever was stored before a
heartbeat has been delivered, and was handled or is a dead letter, once that heartbeat was: the daily one of each tenant
is the mark. Around the turn of a month two partitions of the store are concerned, whose order is not promised.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from shared.audit.dead_letters import KIND as LETTER
from shared.audit.heartbeats import POLICY, Detected
from shared.core.clock import period_of, rfc3339
from shared.detection.evaluation import CONSUMER
from shared.detection.registry import all_patterns
from shared.ledger.shards import BrokenShard, Shards
from shared.storage.containers import ALERTS, DEAD_LETTERS
from shared.storage.documents import DocumentStore, Eq, Item, Query
from shared.storage.errors import NotFound

MARK = "reached"
"""Id and kind of the item of the mark, beside the tenant's alerts."""
MOST_WAITING = 1000


async def note_reached(store: DocumentStore, items: Sequence[Item]) -> None:
    """Note the newest mark among events that were handled; nothing where there is none, or a newer one was noted."""
    newest: dict[str, str] = {}
    for item in filter(_is_mark, items):
        newest[item["tenant_id"]] = max(item["recorded_at"], newest.get(item["tenant_id"], ""))
    for tenant_id, at in newest.items():
        if at > await _reached(store, tenant_id):
            await store.upsert(ALERTS, (tenant_id,), {"id": MARK, "tenant_id": tenant_id, "kind": MARK, "at": at})


def _is_mark(item: Item) -> bool:
    """Whether an item of the feed is a tenant's daily heartbeat, formed as we form it."""
    attributes, texts = item.get("attributes"), (item.get("tenant_id"), item.get("recorded_at"))
    if item.get("type") != "system.heartbeat" or not all(isinstance(each, str) and each for each in texts):
        return False
    return isinstance(attributes, dict) and attributes.get("source") == POLICY


async def _reached(store: DocumentStore, tenant_id: str) -> str:
    try:
        found: str = (await store.read(ALERTS, (tenant_id,), MARK))["at"]
    except NotFound:
        return ""
    return found


class Reached:
    """Tells which days detection has worked through."""

    def __init__(self, store: DocumentStore, shards: Shards) -> None:
        self._store = store
        self._shards = shards

    async def of(self, tenant_id: str, day: date) -> Detected | None:
        """What detection made of a day; None while it may not have seen all of it."""
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if await _reached(self._store, tenant_id) < rfc3339(start + timedelta(days=1)):
            return None
        try:
            rollups = await self._shards.rollups(tenant_id, period_of(start), [day.isoformat()])
        except BrokenShard:
            return None  # the check of the ledger says so; nothing is told of the day until it is counted again
        events = sum(item["events"] for item in rollups.values())
        query = Query((Eq("kind", LETTER),), order_by="created_at", limit=MOST_WAITING, fields=("consumer",))
        letters = (await self._store.query(DEAD_LETTERS, (tenant_id,), query)).items
        waiting = sum(each["consumer"] == CONSUMER for each in letters)
        return Detected(events, len(all_patterns()), waiting)
