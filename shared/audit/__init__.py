"""The audit trail: event types, the recorder that writes them, the outbox that loses none, and search."""
