"""What is stored of a webhook: what its tenant wants (`webhook`), how far its stream is (`webhook_stream`), and the
last attempts (`webhook_delivery|<n>`, a ring). All of it in the tenant's partition of `identity`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from shared.core.clock import rfc3339
from shared.storage.documents import Item

WEBHOOK = "webhook"
STREAM = "webhook_stream"
DELIVERY = "webhook_delivery"
MOST_EVENTS = 100
"""Of one message."""
MOST_BYTES = 512 * 1024
"""Of the events of one message, as JSON; one event that is larger goes alone."""
ATTEMPTS_KEPT = 200
ATTEMPT_SECONDS = 7 * 86_400
PAUSE_AFTER = timedelta(hours=24)
OVERLAP = timedelta(hours=24)
"""How long the secret before signs beside a new one."""
_POSITION = re.compile(r"([2-9][0-9]{3}-(?:0[1-9]|1[0-2]))/(0|[1-9][0-9]{0,14})", re.ASCII)

type Format = Literal["native", "ocsf"]
type Personal = Literal["omitted", "opened"]
type State = Literal["active", "paused", "off"]
type PauseReason = Literal["failing", "gone"]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a tenant's ledger: month and index."""

    period: str
    index: int

    def __str__(self) -> str:
        return f"{self.period}/{self.index}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The inverse of `str`: `2026-03/17`. ValueError."""
        matched = _POSITION.fullmatch(text)
        if matched is None:
            raise ValueError("a position is YYYY-MM/<index>")
        return cls(matched[1], int(matched[2]))


@dataclass(frozen=True, slots=True)
class HeldSecret:
    """A signing secret at rest. `until`: RFC 3339 time from which it signs no more; None: the current one."""

    id: str
    box: Mapping[str, str] = field(repr=False)
    since: str
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What a tenant wants. `address`: the sealed URL; `url`: what may be shown of it; `types`: none for all."""

    tenant_id: str
    url: str
    address: Mapping[str, str] = field(repr=False)
    types: tuple[str, ...]
    format: Format
    personal: Personal
    gzip: bool
    enabled: bool
    secrets: tuple[HeldSecret, ...]
    created_at: str
    updated_at: str
    etag: str | None = None

    def item(self) -> Item:
        """What is stored."""
        return {
            "id": WEBHOOK,
            "tenant_id": self.tenant_id,
            "kind": WEBHOOK,
            "url": self.url,
            "address": dict(self.address),
            "types": list(self.types),
            "format": self.format,
            "personal": self.personal,
            "gzip": self.gzip,
            "enabled": self.enabled,
            "secrets": [
                {"id": each.id, "box": dict(each.box), "since": each.since, "until": each.until}
                for each in self.secrets
            ],
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }

    @classmethod
    def of(cls, item: Item) -> Webhook:
        """The inverse of `item`."""
        names = ("tenant_id", "url", "address", "format", "personal", "gzip", "enabled", "created_at", "updated_at")
        return cls(
            types=tuple(item["types"]),
            secrets=tuple(HeldSecret(**each) for each in item["secrets"]),
            etag=item["_etag"],
            **{name: item[name] for name in names},
        )

    def takes(self, kind: str) -> bool:
        """Whether it wants events of a type."""
        return not self.types or any(
            kind.startswith(each[:-1]) if each.endswith("*") else kind == each for each in self.types
        )

    def valid_secrets(self, now: datetime) -> tuple[HeldSecret, ...]:
        """The secrets that sign now, the current one first."""
        return tuple(each for each in self.secrets if each.until is None or each.until > rfc3339(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stream is. `next`: by month, the index of the next entry; times are RFC 3339.

    `generation`: grows when it is moved back. `attempts`: all that were made. `limit`: most events of a message, less
    after a 413. `owner`, `leased_until`: who delivers now.
    """

    tenant_id: str
    next: Mapping[str, int]
    created_at: str
    generation: int = 0
    attempts: int = 0
    limit: int = MOST_EVENTS
    failures: int = 0
    failing_since: str | None = None
    retry_at: str | None = None
    delivered_at: str | None = None
    paused: PauseReason | None = None
    paused_at: str | None = None
    owner: str | None = None
    leased_until: str | None = None
    etag: str | None = None

    def item(self) -> Item:
        """What is stored."""
        own: Item = {"id": STREAM, "kind": STREAM, "tenant_id": self.tenant_id, "created_at": self.created_at}
        return own | {name: getattr(self, name) for name in _PROGRESS} | {"next": dict(self.next)}

    @classmethod
    def of(cls, item: Item) -> Progress:
        """The inverse of `item`."""
        return cls(
            tenant_id=item["tenant_id"],
            created_at=item["created_at"],
            next=item["next"],
            etag=item["_etag"],
            **{name: item[name] for name in _PROGRESS},
        )

    def behind(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Of months with so many entries those that are not delivered to the end, oldest first, with their sizes."""
        return {period: size for period, size in sorted(sizes.items()) if self.next.get(period, 0) < size}

    def is_leased(self, now: datetime) -> bool:
        """Whether somebody delivers now."""
        return self.leased_until is not None and self.leased_until > rfc3339(now)


_PROGRESS = (
    *("generation", "attempts", "limit", "failures", "failing_since", "retry_at", "delivered_at"),
    *("paused", "paused_at", "owner", "leased_until"),
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one message. `status`: of the answer, where there was one; `reason`: why it failed."""

    message_id: str
    first: Position
    last: Position
    events: int
    size: int
    milliseconds: int
    status: int | None = None
    reason: str | None = None

    def item(self, progress: Progress, now: datetime) -> Item:
        """What is stored, in the place of the oldest of the ring."""
        return {
            "id": f"{DELIVERY}|{progress.attempts % ATTEMPTS_KEPT:03}",
            "tenant_id": progress.tenant_id,
            "kind": DELIVERY,
            "created_at": rfc3339(now),
            "message_id": self.message_id,
            "outcome": "delivered" if self.reason is None else "failed",
            "status": self.status,
            "reason": self.reason,
            "first": str(self.first),
            "last": str(self.last),
            "events": self.events,
            "bytes": self.size,
            "milliseconds": self.milliseconds,
            "failures": progress.failures,
            "ttl": ATTEMPT_SECONDS,
        }


def state_of(webhook: Webhook, progress: Progress) -> State:
    """What a stream is doing, in one word."""
    if not webhook.enabled:
        return "off"
    return "paused" if progress.paused else "active"


def shown(webhook: Webhook, progress: Progress, sizes: Mapping[str, int], now: datetime) -> dict[str, Any]:
    """A webhook as the API shows it: no secret, and of the address only what comes before its query."""
    behind = progress.behind(sizes)
    return {
        **{name: getattr(webhook, name) for name in ("url", "format", "personal", "gzip", "enabled")},
        "types": list(webhook.types),
        "state": state_of(webhook, progress),
        "paused_reason": progress.paused,
        "paused_at": progress.paused_at,
        "failures": progress.failures,
        "failing_since": progress.failing_since,
        "retry_at": progress.retry_at,
        "delivered_at": progress.delivered_at,
        "positions": [str(Position(period, index)) for period, index in sorted(progress.next.items())],
        "backlog": sum(size - progress.next.get(period, 0) for period, size in behind.items()),
        "secrets": [{"since": each.since, "until": each.until} for each in webhook.valid_secrets(now)],
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
    }
