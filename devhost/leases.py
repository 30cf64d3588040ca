"""Where triggers keep their place: documents in the `leases` container, or memory for an app without a store."""

import re
from typing import Any

from shared.core.clock import Clock, rfc3339
from shared.storage.containers import LEASES
from shared.storage.documents import DocumentStore
from shared.storage.errors import NotFound

_UNSAFE = re.compile(r"[^ -~]|[/\\?#%]")


def feed_lease_id(prefix: str, function: str) -> str:
    """The id of a feed position: `<lease prefix>|<function>`, with what an id may not hold percent-encoded."""
    return _safe(f"{prefix}|{function}")


def timer_lease_id(function: str) -> str:
    """The id of a timer's schedule status: `timer|<function>`."""
    return _safe(f"timer|{function}")


def _safe(text: str) -> str:
    return _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


class Leases:
    """Reads and writes lease documents; each is written by one trigger only."""

    def __init__(self, store: DocumentStore | None, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._memory: dict[str, dict[str, Any]] = {}

    async def read(self, lease_id: str) -> dict[str, Any] | None:
        """The document, or None when there is none yet."""
        if self._store is None:
            return self._memory.get(lease_id)
        try:
            return await self._store.read(LEASES, (lease_id,), lease_id)
        except NotFound:
            return None

    async def write(self, lease_id: str, fields: dict[str, Any]) -> None:
        """Replace the document by `fields` plus `id` and `updated_at`."""
        item = {"id": lease_id, **fields, "updated_at": rfc3339(self._clock.now())}
        if self._store is None:
            self._memory[lease_id] = item
        else:
            await self._store.upsert(LEASES, (lease_id,), item)
