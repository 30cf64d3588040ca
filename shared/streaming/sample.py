"""What POST /webhook/test sends: an event of no trail, formed like one."""

from datetime import datetime
from typing import Any

from shared.audit.model import RequestContext
from shared.core.clock import period_of, rfc3339


def sample_event(tenant_id: str, event_id: str, now: datetime, request: RequestContext) -> dict[str, Any]:
    """A sample as the API shows events, of the type `custom.webhook_test`; nothing personal is in it."""
    at = rfc3339(now)
    context = {"request_id": request.request_id, "trace_id": None, "session_id": None, "route": request.route}
    return {
        "schema": 1,
        "id": event_id,
        "tenant_id": tenant_id,
        "period": period_of(now),
        "type": "custom.webhook_test",
        "outcome": "success",
        "reason": None,
        "severity": "info",
        "recorded_at": at,
        "occurred_at": at,
        "actor": {"kind": "system", "id": None, "role": None},
        "target": {"kind": "webhook", "id": tenant_id},
        "subjects": [],
        "source": {"kind": "function", "id": request.function},
        "context": {**context, "duration_ms": 0},
        "data_class": "none",
        "record_count": 0,
        "attributes": {"sample": True},
        "commitments": {},
        "personal": {},
        **dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key")),
    }
