"""data.*: what other services did with the data in their care. Written by producers, through POST /events.

The envelope carries what was touched: `data_class` (phi, cardholder, personal, confidential) and `record_count`; old
and new values belong into `personal`. The attributes are the producer's own.
"""

from shared.audit.model import FreeEvent
from shared.audit.registry import event_type


@event_type("data.read", outcomes=("success", "failure", "denied"))
class DataRead(FreeEvent):
    """Records were read, or were to be. The target is the record, or the set of records."""


@event_type("data.create", outcomes=("success", "failure", "denied"))
class DataCreate(FreeEvent):
    """A record was made, or was to be. The target is the record."""


@event_type("data.update", outcomes=("success", "failure", "denied"))
class DataUpdate(FreeEvent):
    """A record was changed, or was to be. Old and new values are sealed under the person whose they are."""


@event_type("data.delete", outcomes=("success", "failure", "denied"), severity="medium")
class DataDelete(FreeEvent):
    """A record was deleted, or was to be. The target is the record."""


@event_type("data.export", outcomes=("success", "failure", "denied"), severity="medium")
class DataExport(FreeEvent):
    """Records left the system as a file or a message, or were to. `record_count` says how many."""
