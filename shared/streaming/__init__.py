"""Streaming out: each tenant's sealed events to the webhook that it chose (docs/streaming.md)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # cold start
    from shared.streaming.delivery import Delivery
    from shared.streaming.runner import Runner
    from shared.streaming.service import Webhooks


@dataclass(frozen=True, slots=True)
class Streaming:
    """What the app streams with: what administrators set, what runs streams, and what delivers one."""

    webhooks: "Webhooks"
    runner: "Runner"
    delivery: "Delivery"
