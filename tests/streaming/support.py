"""A trail, its ledger, and streams over them to a receiver on this machine, for tests of streaming."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from shared.audit.model import Actor, RequestContext
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.audit.search import EventSearch
from shared.core.ids import IdFactory
from shared.ledger.shards import Shards
from shared.privacy.blind_index import BlindIndex
from shared.privacy.guards import Guards
from shared.privacy.secret_boxes import SecretBoxes
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS, IDENTITY
from shared.storage.documents import DocumentStore, Eq, Item, Query
from shared.streaming.backlog import Backlog
from shared.streaming.delivery import Delivery
from shared.streaming.messages import Message, Placed
from shared.streaming.model import DELIVERY, Progress, Webhook
from shared.streaming.runner import Runner
from shared.streaming.sender import Answer, Line, Sender, Times, Undelivered
from shared.streaming.service import By, Found, Wanted, Webhooks
from shared.streaming.state import Streams
from tests.app import Account, App
from tests.fakes import ClearBox, ManualClock
from tests.ledger.world import PERIOD, TENANT, World
from tools.webhook_receiver import Inbox, Receiver, Refused

SECRET = "whsec_" + "c2VjcmV0" * 4
OTHER_SECRET = "whsec_" + "b3RoZXIh" * 4
URL = "https://receiver.example.com/in"
QUICK = Times(connect=1.0, total=0.5, body=0.2)


class Scripted(Line):
    """A line to an inbox in this process: no network. `script` says how the next messages fare; then all are taken."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.script: list[int | str | Answer] = []
        self.sent: list[tuple[str, dict[str, str], bytes]] = []

    async def post(self, url: str, headers: Any, body: bytes, *, packed: bool = False) -> Answer:
        self.sent.append((url, dict(headers), body))
        step = self.script.pop(0) if self.script else 204
        if isinstance(step, str):
            raise Undelivered(step)
        answer = step if isinstance(step, Answer) else Answer(step)
        if answer.accepted:
            try:
                self.inbox.take(headers, body)
            except Refused:
                return Answer(400)
        return answer


class ScriptedSender(Sender):
    """Opens the one line that there is."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        yield self.line


class Instance:
    """One instance of what delivers, over a store; several may share it."""

    def __init__(self, world: World, sender: Sender, store: DocumentStore | None = None) -> None:
        through = store or world.store
        clock = world.clock
        self.ids = IdFactory(clock)
        index = BlindIndex(MemorySecrets(), "v1")
        self.told: list[tuple[str, int, float]] = []
        self.chance = 0.0
        self.erased: set[str] = set()
        self.active = True
        self.streams = Streams(through)
        box = ClearBox()
        box.erased = self.erased
        recorder = Recorder(through, clock, self.ids, box, index)
        search = EventSearch(through, index, box, clock)
        boxes = SecretBoxes(world.secrets, "v1")
        self.backlog = Backlog(through, Shards(through), search, self._is_erased, world.ledger().is_over)
        shared: dict[str, Any] = {
            "streams": self.streams,
            "backlog": self.backlog,
            "boxes": boxes,
            "outbox": Outbox(through, recorder, clock, self.ids),
            "recorder": recorder,
            "clock": clock,
            "ids": self.ids,
        }
        self.delivery = Delivery(
            sender=sender,
            is_active=self._is_active,
            random=lambda: self.chance,
            told=lambda *each: self.told.append(each),
            **shared,
        )
        self.runner = Runner(self.delivery.run)
        self.woken: list[str] = []
        guards = Guards(through, index, clock)
        self.webhooks = Webhooks(delivery=self.delivery, guards=guards, wake=self.woken.append, **shared)

    async def _is_erased(self, _tenant_id: str, person: str) -> bool:
        return person in self.erased

    async def _is_active(self, _tenant_id: str) -> bool:
        return self.active


class Stage:
    """A world with one instance whose messages go to an inbox."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock: ManualClock = world.clock
        self.inbox = Inbox([SECRET], now=lambda: self.clock.now().timestamp())
        self.line = Scripted(self.inbox)
        self.one = self.instance()

    def instance(self, store: DocumentStore | None = None) -> Instance:
        return Instance(self.world, ScriptedSender(self.line), store)

    @property
    def request(self) -> RequestContext:
        return self.world.request()

    async def put(self, tenant_id: str = TENANT, **wanted: Any) -> Found:
        """Set the webhook; by default all events, in our own form, without personal data."""
        full: dict[str, Any] = {"url": URL, "types": (), "format": "native", "personal": "omitted", "secret": SECRET}
        given = Wanted(**{**full, "gzip": False, "enabled": True, **wanted})
        return await self.one.webhooks.put(by(tenant_id), given, None, self.request)

    async def run(self, tenant_id: str = TENANT) -> timedelta | None:
        return await self.one.delivery.run(tenant_id)

    async def go_on(self) -> timedelta | None:
        """Another attempt, when it is due."""
        progress = await self.progress()
        if progress.retry_at is not None:
            self.clock.advance(minutes=16)
        return await self.run()

    async def progress(self, tenant_id: str = TENANT) -> Progress:
        found = await self.one.streams.progress(tenant_id)
        assert found is not None
        return found

    async def webhook(self, tenant_id: str = TENANT) -> Webhook:
        found = await self.one.streams.webhook(tenant_id)
        assert found is not None
        return found

    async def attempts(self, tenant_id: str = TENANT) -> list[Item]:
        """What the history tells, oldest first."""
        query = Query((Eq("kind", DELIVERY),), order_by="created_at", limit=1000)
        return (await self.world.store.query(IDENTITY, (tenant_id,), query)).items

    async def recorded(self, kind: str, tenant_id: str = TENANT) -> list[Item]:
        query = Query((Eq("type", kind),), order_by="recorded_at", limit=1000)
        return (await self.world.store.query(AUDIT_EVENTS, (tenant_id,), query)).items

    async def seal(self, count: int, **fields: Any) -> list[Item]:
        events = self.world.events(count, **fields)
        await self.world.seal(events)
        return events

    def received(self, tenant_id: str = TENANT, period: str = PERIOD) -> list[int]:
        """The indexes that arrived, in the order of their first coming."""
        return self.inbox.order.get((tenant_id, period), [])


def by(tenant_id: str = TENANT) -> By:
    return By(tenant_id, Actor("user", "u-admin", "tenant_admin", "admin@example.com"), "u-admin")


def message_of(count: int = 1) -> Message:
    """A message of made-up events."""
    from shared.streaming.messages import compose

    at = "2026-03-15T12:00:00.000000Z"
    placed: Sequence[Placed] = [Placed(n, at, b'{"event":{"id":"e%d"},"index":%d}' % (n, n)) for n in range(count)]
    return compose(TENANT, PERIOD, placed, "native", 0)


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - of a test


async def attached(app: App, account: Account, **options: Any) -> Receiver:
    """A receiver on this machine, which the app may send to, and the account's webhook at it."""
    sender = app.services.streaming.delivery.sender
    sender.allow_private = sender.allow_http = True
    receiver = Receiver(Inbox([SECRET], now=lambda: app.clock.now().timestamp()))
    body = {"url": await receiver.start(), "secret": SECRET, **options}
    answer = await app.client.put("/v1/webhook", json=body, headers=account.auth)
    assert answer.status_code == 200, answer.text
    return receiver
