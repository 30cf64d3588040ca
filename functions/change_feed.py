"""Change-feed triggers: ledger and detection on the trail, streams on the ledger, and drains that publish what a crash
left in an outbox.

Retries are unlimited: in Azure a batch whose finite retries run out is lost.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import azure.functions as func

from shared.storage.containers import ALERTS, AUDIT_EVENTS, IDENTITY, LEDGER, REPORTS, Container
from shared.wiring import LazyServices, Services

if TYPE_CHECKING:
    from shared.storage.documents import Item

type Consumer = Callable[[Services, Sequence[Item]], Awaitable[None]]

LEASES = "leases"
BATCH = 360
"""The sealer writes some 90 entries of a ledger at once, but a delivery mixes tenants: the more there are of each, the
less of what their ledgers cost falls on one. With 90 the feed fell behind under load."""


async def detect(services: Services, items: "Sequence[Item]") -> None:
    """Run the threat patterns on new events."""
    await services.detection.consume(items)


async def seal(services: Services, items: "Sequence[Item]") -> None:
    """Seal new events into the ledger."""
    await services.sealer.consume(items)


async def stream(services: Services, items: "Sequence[Item]") -> None:
    """Wake the streams of tenants with newly sealed events."""
    await services.streaming.runner.consume(items)


async def build_reports(services: Services, items: "Sequence[Item]") -> None:
    """Build the reports that were ordered."""
    await services.framework_reports.orders.consume(items)


def drain(container: Container) -> Consumer:
    """A consumer that delivers the outbox entries of one container that are still there."""

    async def run(services: Services, items: "Sequence[Item]") -> None:
        from shared.audit.outbox import is_entry

        await services.outbox.drain_each(container, filter(is_entry, items))

    return run


CONSUMERS: dict[str, tuple[Container, Consumer]] = {
    "build_reports": (REPORTS, build_reports),
    "detect_threats": (AUDIT_EVENTS, detect),
    "drain_alerts": (ALERTS, drain(ALERTS)),
    "drain_identity": (IDENTITY, drain(IDENTITY)),
    "drain_reports": (REPORTS, drain(REPORTS)),
    "seal_ledger": (AUDIT_EVENTS, seal),
    "stream_events": (LEDGER, stream),
}
"""Every change-feed function: its container and what it does. The name is its lease prefix, too."""


def blueprint(services: LazyServices) -> func.Blueprint:
    """The change-feed functions, bound to the app's services and to the containers that its settings name."""
    made = func.Blueprint()  # type: ignore[no-untyped-call]
    database, names = services.settings.cosmos_db_name, services.container_names
    for name, (container, consumer) in CONSUMERS.items():
        called = names.get(container.name, container.name)
        _add(made, name, database, called, _function(name, consumer, services))
    return made


def _function(name: str, consumer: Consumer, services: LazyServices) -> Callable[[func.DocumentList], Awaitable[None]]:
    async def run(documents: func.DocumentList) -> None:
        from shared.storage.documents import shown

        # The Functions host delivers what is stored: Cosmos DB's own fields, and the marks of our adapter.
        ready = await services.get()
        with ready.runs(name):
            await consumer(ready, [shown(document.data) for document in documents])

    run.__name__ = name
    return run


def _add(
    blueprint: func.Blueprint,
    name: str,
    database: str,
    container: str,
    function: Callable[[func.DocumentList], Awaitable[None]],
) -> None:
    trigger = blueprint.cosmos_db_trigger(
        arg_name="documents",
        connection="COSMOS_DB",
        database_name=database,
        container_name=container,
        lease_container_name=LEASES,
        lease_container_prefix=name,
        create_lease_container_if_not_exists=False,
        max_items_per_invocation=BATCH,
        start_from_beginning=True,  # type: ignore[arg-type] # the SDK's annotation says time, its code passes a bool
        feed_poll_delay=1000,
    )
    retry = blueprint.retry(
        strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:01", maximum_interval="00:01:00"
    )
    blueprint.function_name(name)(retry(trigger(function)))
