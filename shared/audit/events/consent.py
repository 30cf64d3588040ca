"""consent.*: what a person agreed to, and no longer agrees to."""

from typing import Annotated

from pydantic import StringConstraints

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type

type Purpose = Annotated[str, StringConstraints(min_length=1, max_length=100)]


@event_type("consent.grant")
class ConsentGrant(AuditEvent):
    """A person agreed to a purpose (terms, privacy, marketing, or one of the producer's), in the version that was
    shown."""

    purpose: Purpose
    version: Purpose


@event_type("consent.withdraw")
class ConsentWithdraw(AuditEvent):
    """A person no longer agrees to a purpose; `version` is that of the text that was agreed to."""

    purpose: Purpose
    version: Purpose
