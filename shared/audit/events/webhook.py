"""webhook.*: the stream of events to a tenant's own receiver."""

from typing import Literal

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type


@event_type("webhook.pause", outcomes=("failure",), severity="high")
class WebhookPause(AuditEvent):
    """The webhook gets no more events until an administrator sets it again; they wait, none is lost. Reason `failing`:
    for a day every attempt failed; `gone`: the receiver answered 410. `failures`: attempts since the last success;
    `position`: where the stream stands, month and index in the ledger."""

    cause: Literal["failing", "gone"]
    failures: int
    failing_since: str
    position: str
