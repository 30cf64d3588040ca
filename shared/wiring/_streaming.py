"""Putting the services of webhooks together."""

import random
from typing import TYPE_CHECKING, Any

from shared.core.ids import IdFactory
from shared.core.settings import Settings

if TYPE_CHECKING:  # cold start
    from shared.privacy.guards import Guards
    from shared.privacy.person_keys import PersonKeys
    from shared.privacy.secrets import SecretsPort
    from shared.streaming import Streaming


def streaming_services(
    settings: Settings,
    trail: dict[str, Any],
    ids: IdFactory,
    person_keys: "PersonKeys",
    secrets: "SecretsPort",
    ledger: dict[str, Any],
    guards: "Guards",
) -> "Streaming":
    """What streams. `trail` and `ledger`: services of those, by their names."""
    from shared.identity.model import TENANT_ITEM
    from shared.privacy.secret_boxes import SecretBoxes
    from shared.storage.containers import IDENTITY
    from shared.storage.errors import NotFound
    from shared.streaming import Streaming
    from shared.streaming.backlog import Backlog
    from shared.streaming.delivery import Delivery
    from shared.streaming.runner import Runner
    from shared.streaming.sender import Sender
    from shared.streaming.service import Webhooks
    from shared.streaming.state import Streams
    from shared.telemetry.metrics import WebhookCounts

    store = trail["store"]

    async def is_erased(tenant_id: str, person: str) -> bool:
        return await person_keys.stored(tenant_id, person) == "tombstone"

    async def is_active(tenant_id: str) -> bool:
        try:
            return bool((await store.read(IDENTITY, (tenant_id,), TENANT_ITEM))["status"] == "active")
        except NotFound:
            return False

    private = settings.webhook_allow_private
    sender = Sender(allow_private=private, allow_http=private and settings.website_site_name is None)
    shared: dict[str, Any] = {
        "streams": Streams(store),
        "backlog": Backlog(store, ledger["shards"], trail["search"], is_erased, ledger["ledger"].is_over),
        "boxes": SecretBoxes(secrets, trail["index"]),
        "outbox": trail["outbox"],
        "recorder": trail["recorder"],
        "clock": trail["clock"],
        "ids": ids,
    }
    delivery = Delivery(sender=sender, is_active=is_active, random=random.random, told=WebhookCounts(), **shared)
    runner = Runner(delivery.run)
    return Streaming(Webhooks(delivery=delivery, guards=guards, wake=runner.wake, **shared), runner, delivery)
