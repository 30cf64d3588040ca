"""The proof that an event is sealed, wherever it is asked for."""

from typing import TYPE_CHECKING, Any

from functions._api import Call
from shared.core.errors import Clash

if TYPE_CHECKING:  # cold start
    from shared.ledger.service import Proven


async def proof_of(call: Call[Any, Any], event_id: str) -> "Proven":
    """The proof of an event of the caller's tenant. 404, audited, when there is no such event; 409 `not_sealed`."""
    tenant_id = call.known.tenant_id
    proven = await call.services.ledger.prove(tenant_id, event_id, call.request)
    if proven is not None:
        return proven
    if await call.services.search.read(tenant_id, event_id) is None:
        raise await call.services.access.unknown_id(call.known, "event", event_id, call.request)
    raise Clash("not_sealed", "The event is not sealed yet; it will be in some seconds.", retry_after_seconds=1)
