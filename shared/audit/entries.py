"""The entry of an event: the part that the ledger seals, as the bytes that a leaf hashes."""

from shared.audit.model import StoredEvent

ENTRY_FIELDS = (
    *("schema", "id", "tenant_id", "period", "type", "outcome", "reason", "severity", "recorded_at", "occurred_at"),
    *("actor", "target", "subjects", "source", "context", "data_class", "record_count", "attributes", "commitments"),
)
MAX_ENTRY_BYTES = 65_535


def entry_of(event: StoredEvent) -> bytes:
    """RFC 8785 canonical JSON of the sealed fields. ValueError when they have none."""
    import rfc8785

    return rfc8785.dumps({name: event[name] for name in ENTRY_FIELDS})
