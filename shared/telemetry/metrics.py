"""Metrics through OpenTelemetry. The worker's own set-up exports them; where nobody does, recording costs nothing.

Names and attributes are those of OpenTelemetry's semantic conventions (database client, Azure Cosmos DB) where they
have one, else begin with `kraftd.`. Attributes are names of the program and codes: never a tenant, a person or an id.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics

STORE_CHARGE = "azure.cosmosdb.client.operation.request_charge"
DEAD_LETTERS = "kraftd.dead_letters"
OUTBOX_ENTRIES = "kraftd.outbox.entries"
INGEST_EVENTS = "kraftd.ingest.events"
SEALED_EVENTS = "kraftd.ledger.sealed"
SEAL_LAG = "kraftd.ledger.lag"
WITNESS_OFFERS = "kraftd.ledger.witness"
VERIFIED_ENTRIES = "kraftd.ledger.verified"
RECONCILED_EVENTS = "kraftd.ledger.reconciled"
AUDIT_WRITE = "kraftd.audit.write.duration"
AUDIT_EVENTS = "kraftd.audit.events"
OUTBOX_AGE = "kraftd.outbox.age"
REPORT_BUILD = "kraftd.report.duration"
FUNCTION_RUN = "kraftd.function.duration"
WEBHOOK_MESSAGES = "kraftd.webhook.messages"
WEBHOOK_EVENTS = "kraftd.webhook.events"
WEBHOOK_LAG = "kraftd.webhook.lag"


class Durations:
    """How long something of the program takes, and how often it fails: a `Timed` (`timing.py`).

    `metric` is a histogram in seconds; `attribute` is what the name of what is measured is called in it.
    """

    def __init__(self, metric: str, attribute: str, description: str) -> None:
        self._seconds = metrics.get_meter("kraftd").create_histogram(metric, unit="s", description=description)
        self._attribute = attribute

    @contextmanager
    def __call__(self, name: str, /) -> Iterator[None]:
        """Measure one."""
        began, outcome = time.perf_counter(), "failed"
        try:
            yield
            outcome = "done"
        finally:
            attributes = {self._attribute: name, "kraftd.outcome": outcome}
            self._seconds.record(time.perf_counter() - began, attributes)


def audit_writes() -> Durations:
    """Writes of events to the trail: `create` of one, `batch` of many."""
    return Durations(AUDIT_WRITE, "db.operation.name", "A write of events to the trail")


def report_builds() -> Durations:
    """Reports that are built, by framework."""
    return Durations(REPORT_BUILD, "kraftd.framework", "Building a report")


def function_runs() -> Durations:
    """Runs of functions that nobody calls: timers and change feeds."""
    return Durations(FUNCTION_RUN, "faas.name", "A run of a timer or of a delivery of the change feed")


class EventCounts:
    """Events that were written to the trail, by type, outcome and severity. Types of producers count as `custom`."""

    def __init__(self) -> None:
        self._events = metrics.get_meter("kraftd").create_counter(
            AUDIT_EVENTS, unit="{event}", description="Events written to the trail"
        )

    def __call__(self, type_name: str, outcome: str, severity: str, /) -> None:
        """Count one event."""
        known = "custom" if type_name.startswith("custom.") else type_name
        self._events.add(1, {"kraftd.type": known, "kraftd.outcome": outcome, "kraftd.severity": severity})


class StoreCharges:
    """What each answer of Cosmos DB cost, by container, operation and status."""

    def __init__(self) -> None:
        self._charge = metrics.get_meter("kraftd").create_histogram(
            STORE_CHARGE, unit="{request_unit}", description="Request units of one answer of Cosmos DB"
        )

    def __call__(self, container: str, operation: str, ru: float, status: int, /) -> None:
        """Count one answer; a refusal (429) too, at what it cost."""
        attributes = {
            "db.system.name": "azure.cosmosdb",
            "db.collection.name": container,
            "db.operation.name": operation,
            "db.response.status_code": str(status),
        }
        self._charge.record(ru, attributes)


class DeadLetterCounts:
    """What became of dead letters, by consumer: `put`, `recovered`, `failed`, `stuck`, `closed`."""

    def __init__(self) -> None:
        self._letters = metrics.get_meter("kraftd").create_counter(
            DEAD_LETTERS, unit="{letter}", description="Dead letters put and retried"
        )

    def __call__(self, consumer: str, outcome: str, /) -> None:
        """Count one letter."""
        self._letters.add(1, {"kraftd.consumer": consumer, "kraftd.outcome": outcome})


class OutboxCounts:
    """Outbox entries that their request did not deliver, by container: `left_for_drain`, `drained`, `stuck`; and how
    old they are then."""

    def __init__(self) -> None:
        meter = metrics.get_meter("kraftd")
        self._entries = meter.create_counter(
            OUTBOX_ENTRIES, unit="{entry}", description="Outbox entries left by their request, drained or stuck"
        )
        self._age = meter.create_histogram(OUTBOX_AGE, unit="s", description="Age of an outbox entry that is met")

    def __call__(self, container: str, outcome: str, age_seconds: float, /) -> None:
        """Count one entry."""
        attributes = {"db.collection.name": container, "kraftd.outcome": outcome}
        self._entries.add(1, attributes)
        self._age.record(max(0.0, age_seconds), attributes)


class IngestCounts:
    """Events that producers sent, by what became of them: `created`, `duplicate`, `rejected`."""

    def __init__(self) -> None:
        self._events = metrics.get_meter("kraftd").create_counter(
            INGEST_EVENTS, unit="{event}", description="Events that producers sent"
        )

    def __call__(self, outcome: str, number: int, /) -> None:
        """Count the events of one request that had the same outcome."""
        self._events.add(number, {"kraftd.outcome": outcome})


class SealCounts:
    """Events sealed into the ledger, and how long the oldest of a chunk had waited for it."""

    def __init__(self) -> None:
        meter = metrics.get_meter("kraftd")
        self._events = meter.create_counter(SEALED_EVENTS, unit="{event}", description="Events sealed into the ledger")
        self._lag = meter.create_histogram(SEAL_LAG, unit="s", description="From an event's recording to its sealing")

    def __call__(self, events: int, lag_seconds: float, /) -> None:
        """Count the events of one chunk."""
        self._events.add(events)
        self._lag.record(max(0.0, lag_seconds))


class WitnessCounts:
    """Checkpoints offered to the witness, by what came of it: `cosigned`, `refused`, `silent`."""

    def __init__(self) -> None:
        self._offers = metrics.get_meter("kraftd").create_counter(
            WITNESS_OFFERS, unit="{checkpoint}", description="Checkpoints offered to the witness"
        )

    def __call__(self, outcome: str, /) -> None:
        """Count one offer."""
        self._offers.add(1, {"kraftd.outcome": outcome})


class VerifyCounts:
    """Entries of the ledger that were compared with their events."""

    def __init__(self) -> None:
        self._entries = metrics.get_meter("kraftd").create_counter(
            VERIFIED_ENTRIES, unit="{entry}", description="Entries of the ledger compared with their events"
        )

    def __call__(self, entries: int, /) -> None:
        """Count the entries of one page."""
        self._entries.add(entries)


class ReconcileCounts:
    """Events that the change feed did not deliver to the sealer, and that were sealed all the same."""

    def __init__(self) -> None:
        self._events = metrics.get_meter("kraftd").create_counter(
            RECONCILED_EVENTS, unit="{event}", description="Events sealed that the change feed had not delivered"
        )

    def __call__(self) -> None:
        """Count one event."""
        self._events.add(1)


class WebhookCounts:
    """Messages to webhooks, by what came of them: `delivered`, `failed`, `paused` (the stream: no further attempts);
    events delivered, and how long the first of a message had waited since its recording."""

    def __init__(self) -> None:
        meter = metrics.get_meter("kraftd")
        self._messages = meter.create_counter(
            WEBHOOK_MESSAGES, unit="{message}", description="Messages to webhooks, and streams that paused"
        )
        self._events = meter.create_counter(WEBHOOK_EVENTS, unit="{event}", description="Events delivered to webhooks")
        self._lag = meter.create_histogram(
            WEBHOOK_LAG, unit="s", description="From an event's recording to its delivery to a webhook"
        )

    def __call__(self, outcome: str, events: int, lag_seconds: float, /) -> None:
        """Count one message, or one stream that paused."""
        self._messages.add(1, {"kraftd.outcome": outcome})
        if outcome == "delivered":
            self._events.add(events)
            self._lag.record(max(0.0, lag_seconds))
