"""Events that a consumer could not handle: kept with the error's place, so that the rest of the batch goes on."""

from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import Clock, rfc3339
from shared.storage.containers import DEAD_LETTERS
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import Conflict
from shared.telemetry import get_log

_log = get_log(__name__)


class DeadLetters:
    """Keeps what a consumer could not handle. The same event of the same consumer is kept once."""

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def put(self, consumer: str, item: Item, error: Exception) -> None:
        """Keep `item` under its tenant (`platform` when it names none). StoreError when that fails too."""
        tenant_id = item.get("tenant_id")
        letter: Item = {
            "id": f"{consumer}|{item.get('id')}",
            "tenant_id": tenant_id if isinstance(tenant_id, str) and tenant_id else PLATFORM_TENANT,
            "kind": "dead_letter",
            "created_at": rfc3339(self._clock.now()),
            "consumer": consumer,
            "error": type(error).__qualname__,
            "item_id": item.get("id"),
            "period": item.get("period"),
        }
        _log.error("dead_lettered", error, consumer=consumer, item_id=str(item.get("id")))
        try:
            await self._store.create(DEAD_LETTERS, (letter["tenant_id"],), letter)
        except Conflict:
            _log.info("dead_letter_known", consumer=consumer, item_id=str(item.get("id")))
