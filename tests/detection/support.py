"""A tenant under attack: stored events, consumers over them, and stores that get in the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field

from shared.audit.dead_letters import DeadLetters
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import parse_rfc3339, period_of, rfc3339
from shared.core.ids import IdFactory
from shared.detection import AlertService, DetectionService, Pattern, all_patterns
from shared.detection.history import Limits
from shared.detection.patterns.brute_force import BruteForceParameters
from shared.detection.rules import NO_RULES, NoRules, Rules, RulesSource
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import ALERTS, AUDIT_EVENTS, CONTAINERS, DEAD_LETTERS, Container
from shared.storage.documents import (
    BatchOperation,
    DocumentStore,
    Eq,
    Item,
    Page,
    Partition,
    Patch,
    Query,
)
from shared.storage.errors import Conflict
from shared.storage.sqlite import SqliteStore
from tests.fakes import ClearBox, ManualClock

TENANT = "0195c000-0000-7000-8000-0000000000aa"
ACCOUNT = "0195c000-0000-7000-8000-00000000a0a0"
START = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
NOW = datetime(2026, 4, 15, 12, 0, tzinfo=UTC)


class CoarseParameters(BruteForceParameters):
    """Few events make a long attack: what is tested about days does not need thousands."""

    threshold: int = Field(default=3, ge=3, le=100)
    window_seconds: int = Field(default=3600, ge=60, le=3600)
    critical_from: int = Field(default=8, ge=3, le=500)


BRUTE_FORCE: Pattern[Any] = all_patterns()["brute_force"]
COARSE: Pattern[Any] = replace(BRUTE_FORCE, parameters=CoarseParameters)


def seconds(value: float) -> timedelta:
    return timedelta(microseconds=round(value * 1_000_000))


def stored_event(event_id: str, at: datetime, recorded_at: datetime | None = None, **fields: Any) -> Item:
    """A stored event, a failed login of the account unless `fields` say otherwise."""
    recorded = recorded_at or at
    return {
        "id": event_id,
        "tenant_id": TENANT,
        "period": period_of(recorded),
        "type": "auth.login",
        "outcome": "failure",
        "reason": "bad_credentials",
        "recorded_at": rfc3339(recorded),
        "occurred_at": rfc3339(at),
        "actor": {"kind": "anonymous", "id": None, "role": None},
        "target": {"kind": "user", "id": ACCOUNT},
        "attributes": {"attempt_count": 1},
        **fields,
    }


def failures(*offsets: float, prefix: str = "e", start: datetime = START, **fields: Any) -> list[Item]:
    """Failed logins at seconds after the start, ids in that order."""
    return [stored_event(f"{prefix}{n:04}", start + seconds(at), **fields) for n, at in enumerate(offsets)]


class Same:
    """The same rules for everyone who has any."""

    def __init__(self, rules: Rules, tenant_id: str = TENANT) -> None:
        self.rules = rules
        self.tenant_id = tenant_id

    async def rules_of(self, tenant_id: str) -> Rules:
        return self.rules if tenant_id == self.tenant_id else NO_RULES


class World:
    """One embedded store with consumers over it."""

    def __init__(self, store: SqliteStore, clock: ManualClock, limits: Limits) -> None:
        self.store = store
        self.clock = clock
        self.limits = limits
        self.rules: RulesSource = NoRules()
        ids = IdFactory(clock)
        recorder = Recorder(store, clock, ids, ClearBox(), BlindIndex(MemorySecrets(), "v1"))
        self.alerts = AlertService(store, Outbox(store, recorder, clock, ids), recorder, clock)

    def consumer(
        self, patterns: Sequence[Pattern[Any]] = (BRUTE_FORCE,), store: DocumentStore | None = None
    ) -> DetectionService:
        """A consumer of its own, as another instance of the app has one."""
        through = store or self.store
        ids = IdFactory(self.clock)
        recorder = Recorder(through, self.clock, ids, ClearBox(), BlindIndex(MemorySecrets(), "v1"))
        outbox = Outbox(through, recorder, self.clock, ids)
        letters = DeadLetters(through, self.clock)
        chosen = {each.id: each for each in patterns}
        return DetectionService(
            through, outbox, recorder, letters, self.clock, ids, patterns=chosen, rules=self.rules, limits=self.limits
        )

    def outbox(self) -> Outbox:
        """What drains after a crash."""
        ids = IdFactory(self.clock)
        recorder = Recorder(self.store, self.clock, ids, ClearBox(), BlindIndex(MemorySecrets(), "v1"))
        return Outbox(self.store, recorder, self.clock, ids)

    async def keep(self, events: Sequence[Item]) -> None:
        """Store events; those that are there already stay."""
        await asyncio.gather(*(self._keep(event) for event in events))

    async def _keep(self, event: Item) -> None:
        try:
            await self.store.create(AUDIT_EVENTS, (event["tenant_id"], event["period"]), event)
        except Conflict:
            return

    async def deliver(self, events: Sequence[Item], pattern: Pattern[Any] = BRUTE_FORCE) -> None:
        """Store events and let one consumer have them in one batch."""
        await self.keep(events)
        await self.consumer((pattern,)).consume(events)

    async def all_alerts(self, tenant_id: str = TENANT) -> list[Item]:
        """Every alert document, superseded ones included, oldest first."""
        page = await self.alerts.list(tenant_id, superseded=True, limit=1000)
        return page.items[::-1]

    async def current(self, tenant_id: str = TENANT) -> list[Item]:
        """The alerts that count, oldest first."""
        return (await self.alerts.list(tenant_id, limit=1000)).items[::-1]

    async def events(self, kind: str, tenant_id: str = TENANT) -> list[Item]:
        """Stored events of a type."""
        query = Query((Eq("type", kind),), order_by="recorded_at", limit=1000)
        return (await self.store.query(AUDIT_EVENTS, (tenant_id,), query)).items

    async def dead(self, tenant_id: str = TENANT) -> list[Item]:
        """What went to the dead letters."""
        query = Query((Eq("kind", "dead_letter"),), order_by="created_at")
        return (await self.store.query(DEAD_LETTERS, (tenant_id,), query)).items

    async def close_alert(self, alert: Item, at: datetime, status: str = "dismissed") -> None:
        """What closing an alert comes to, as far as detection can see."""
        changed = {**alert, "status": status, "closed_at": rfc3339(at)}
        await self.store.replace(ALERTS, (alert["tenant_id"],), changed, if_match=alert["_etag"])

    async def position(self) -> dict[str, int]:
        """How far each container's feed has come: unchanged means that nothing was written."""
        return {name: await self.store.last_position(each) for name, each in CONTAINERS.items()}


@asynccontextmanager
async def new_world(now: datetime = NOW, limits: Limits | None = None) -> AsyncIterator[World]:
    """A world of its own; the clock stands at `now`."""
    clock = ManualClock(now)
    store = await SqliteStore.open(None, clock=clock)
    try:
        yield World(store, clock, limits or Limits())
    finally:
        await store.close()


def compared(alerts: Sequence[Item]) -> set[tuple[Any, ...]]:
    """The compared set: ids, members and severities (and the times, which follow)."""
    names = ("id", "severity", "count", "first_seen", "last_seen")
    return {(*(alert[name] for name in names), tuple(alert["event_ids"])) for alert in alerts}


class Bystander:
    """A store that lets `before` interfere with every call."""

    def __init__(self, store: DocumentStore, before: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._before = before

    async def create(self, container: Container, partition: Partition, item: Item) -> Item:
        await self._before("create")
        return await self._store.create(container, partition, item)

    async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
        await self._before("read")
        return await self._store.read(container, partition, item_id)

    async def replace(
        self, container: Container, partition: Partition, item: Item, if_match: str | None = None
    ) -> Item:
        await self._before("replace")
        return await self._store.replace(container, partition, item, if_match)

    async def upsert(self, container: Container, partition: Partition, item: Item) -> Item:
        await self._before("upsert")
        return await self._store.upsert(container, partition, item)

    async def delete(
        self, container: Container, partition: Partition, item_id: str, if_match: str | None = None
    ) -> None:
        await self._before("delete")
        await self._store.delete(container, partition, item_id, if_match)

    async def patch(
        self,
        container: Container,
        partition: Partition,
        item_id: str,
        patches: Sequence[Patch],
        if_match: str | None = None,
    ) -> Item:
        await self._before("patch")
        return await self._store.patch(container, partition, item_id, patches, if_match)

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        await self._before("batch")
        done = await self._store.batch(container, partition, operations)
        await self._before("batch done")
        return done

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        await self._before("query")
        return await self._store.query(container, partition, query)

    async def ping(self) -> None:
        await self._before("ping")

    async def close(self) -> None:
        await self._store.close()


class FailsAt:
    """A `before` that raises at the k-th call, once: also after a batch has been applied."""

    def __init__(self, k: int, error: Exception) -> None:
        self._left = k
        self._error = error
        self.raised = False

    async def __call__(self, _call: str) -> None:
        self._left -= 1
        if self._left == 0:
            self.raised = True
            raise self._error


def times_of(alert: Item) -> tuple[datetime, datetime]:
    return parse_rfc3339(alert["first_seen"]), parse_rfc3339(alert["last_seen"])
