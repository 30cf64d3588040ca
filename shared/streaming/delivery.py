"""Delivering one tenant's stream: under a lease, message after message, until it is caught up or something fails."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

from shared.audit.events.webhook import WebhookPause
from shared.audit.model import SYSTEM, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.ids import IdFactory
from shared.privacy.secret_boxes import SecretBoxes
from shared.storage.containers import IDENTITY
from shared.storage.errors import NotFound, PreconditionFailed
from shared.streaming.backlog import Backlog
from shared.streaming.messages import Message, Placed, compose
from shared.streaming.model import MOST_EVENTS, PAUSE_AFTER, Attempt, PauseReason, Position, Progress, Webhook
from shared.streaming.sender import Answer, Line, Sender, Undelivered
from shared.streaming.signing import headers, read_secret
from shared.streaming.state import LEASE, Streams, attempt_steps, leased
from shared.telemetry import get_log

_log = get_log(__name__)

CONSUMER = "stream_events"
SLICE = timedelta(seconds=30)
"""How long one run goes on, so that many tenants get their turn."""
BUSY = timedelta(seconds=2)
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)
LEAST_FAILURES = 10
"""Attempts that must have failed, too, before a stream pauses: there may be a day in which nobody tried."""
_MORE_EVENTS = 5
"""By which messages grow again after a 413: the next one costs a pause."""
_GONE, _TOO_LARGE = 410, 413

type IsActive = Callable[[str], Awaitable[bool]]
"""Whether a tenant may do anything now: one that is suspended may not."""
type Random = Callable[[], float]
"""A number from 0 to 1, by chance."""


class Told(Protocol):
    """Told of each attempt, for telemetry: its outcome, the events of a message that was delivered, and the seconds
    since the first of them was recorded; and of each stream that paused."""

    def __call__(self, outcome: Literal["delivered", "failed", "paused"], events: int, lag_seconds: float, /) -> None:
        """Hear of it."""


def unheard(_outcome: str, _events: int, _lag_seconds: float, /) -> None:
    """Nobody asked."""


@dataclass(slots=True)
class _Run:
    """One run: what it delivers through, and when it began and last wrote."""

    line: Line
    owner: str
    began: datetime
    wrote: datetime


class Delivery:
    """Delivers streams of any tenants. Runs may overlap, here and on other instances."""

    def __init__(
        self,
        *,
        streams: Streams,
        backlog: Backlog,
        sender: Sender,
        boxes: SecretBoxes,
        outbox: Outbox,
        recorder: Recorder,
        clock: Clock,
        ids: IdFactory,
        is_active: IsActive,
        random: Random,
        told: Told = unheard,
    ) -> None:
        self.sender = sender
        self._streams = streams
        self._backlog = backlog
        self._boxes = boxes
        self._outbox = outbox
        self._recorder = recorder
        self._clock = clock
        self._ids = ids
        self._is_active = is_active
        self._random = random
        self._told = told

    async def run(self, tenant_id: str) -> timedelta | None:
        """Deliver what a tenant's webhook has not got. When to come again, None: when there is something new.

        StoreError, SecretsError: what was delivered is kept, and the rest goes on once the lease is over.
        """
        webhook = await self._streams.webhook(tenant_id)
        progress = await self._streams.progress(tenant_id) if webhook and webhook.enabled else None
        if progress is None or progress.paused is not None:
            return None
        now = self._clock.now()
        if progress.retry_at is not None and progress.retry_at > rfc3339(now):
            return parse_rfc3339(progress.retry_at) - now
        if progress.is_leased(now):
            return BUSY
        behind = await self._backlog.behind(progress)
        if not behind or not await self._is_active(tenant_id):
            return None
        owner = self._ids.new(now)
        try:
            progress = await self._streams.lease(progress, owner, now)
            async with self.sender.open() as line:
                return await self._deliver(_Run(line, owner, now, now), progress, behind)
        except (PreconditionFailed, NotFound):
            _log.info("stream_taken_over", tenant_id=tenant_id)
            return BUSY

    async def _deliver(self, run: _Run, progress: Progress, behind: dict[str, int]) -> timedelta | None:
        tenant_id = progress.tenant_id
        for period, size in behind.items():
            start = progress.next.get(period, 0)
            while start < size:
                if self._clock.now() - run.began > SLICE:
                    await self._streams.save(leased(progress, None, run.wrote))
                    return timedelta(0)
                webhook = await self._streams.webhook(tenant_id)  # anew: it may have another address by now, or secret
                if webhook is None or not webhook.enabled:
                    await self._streams.save(leased(progress, None, run.wrote))
                    return None
                end = min(start + progress.limit, size)
                placed, end = await self._backlog.page(webhook, period, start, end)
                if end == start:
                    break
                if placed:
                    progress, again = await self._send(run, webhook, progress, placed, Position(period, end))
                    if again is not None:
                        return again
                else:
                    progress = await self._passed(run, _at(progress, Position(period, end)))
                start = progress.next[period]
        await self._streams.save(leased(progress, None, run.wrote))
        return None

    async def _passed(self, run: _Run, progress: Progress) -> Progress:
        """Entries that the webhook does not want are behind it: kept from time to time."""
        now = self._clock.now()
        if now - run.wrote < LEASE / 4:
            return progress
        run.wrote = now
        return await self._streams.lease(progress, run.owner, now)

    async def _send(
        self, run: _Run, webhook: Webhook, progress: Progress, placed: list[Placed], after: Position
    ) -> tuple[Progress, timedelta | None]:
        """Send the first of these events; the stream behind them. Or the stream as it is, and when to try again."""
        message = compose(webhook.tenant_id, after.period, placed, webhook.format, progress.generation)
        attempt, answer = await self.send(run.line, webhook, message)
        now = run.wrote = self._clock.now()
        if attempt.reason is not None:
            return await self._failed(progress, attempt, answer, now)
        behind = after if message.used == len(placed) else replace(after, index=message.last.index + 1)
        moved = replace(
            _at(progress, behind),
            limit=min(MOST_EVENTS, progress.limit + _MORE_EVENTS),
            failures=0,
            failing_since=None,
            retry_at=None,
            delivered_at=rfc3339(now),
        )
        kept = await self._streams.attempted(leased(moved, run.owner, now), attempt, now)
        self._told("delivered", message.used, (now - parse_rfc3339(message.oldest)).total_seconds())
        return kept, None

    async def send(self, line: Line, webhook: Webhook, message: Message) -> tuple[Attempt, Answer | None]:
        """Send one message, signed with the secrets that are valid now; what came of it. Nothing is kept."""
        now, tenant_id = self._clock.now(), webhook.tenant_id
        url = await self._boxes.open("webhook", tenant_id, "url", dict(webhook.address))
        keys = [
            read_secret(await self._boxes.open("webhook", tenant_id, each.id, dict(each.box)))
            for each in webhook.valid_secrets(now)
        ]
        signed = headers(keys, message.id, int(now.timestamp()), message.body)
        began, answer, reason = time.monotonic(), None, None
        try:
            answer = await line.post(url, signed, message.body, packed=webhook.gzip)
            reason = None if answer.accepted else "status"
        except Undelivered as error:
            reason = error.reason
        attempt = Attempt(
            message_id=message.id,
            first=message.first,
            last=message.last,
            events=message.used,
            size=len(message.body),
            milliseconds=round((time.monotonic() - began) * 1000),
            status=answer.status if answer else None,
            reason=reason,
        )
        return attempt, answer

    async def _failed(
        self, progress: Progress, attempt: Attempt, answer: Answer | None, now: datetime
    ) -> tuple[Progress, timedelta]:
        """Keep a failure: when the next attempt is due, or that there is none any more."""
        since = progress.failing_since or rfc3339(now)
        chance = self._random()
        pause = pause_after(progress.failures + 1, chance)
        status = answer.status if answer else None
        if answer is not None and answer.retry_after is not None:
            later = 1 + chance / 10  # or all whom a receiver sent away come back at once
            pause = max(pause, timedelta(seconds=answer.retry_after * later))
        limit = max(1, min(progress.limit, attempt.events) // 2) if status == _TOO_LARGE else progress.limit
        tried = replace(
            leased(progress, None, now),
            failures=progress.failures + 1,
            failing_since=since,
            retry_at=rfc3339(now + pause),
            limit=limit,
        )
        _log.warning(
            "webhook_failed",
            tenant_id=progress.tenant_id,
            reason=attempt.reason,
            status=status,
            failures=tried.failures,
        )
        self._told("failed", attempt.events, 0.0)
        is_over = now - parse_rfc3339(since) >= PAUSE_AFTER and tried.failures >= LEAST_FAILURES
        if status == _GONE or is_over:
            await self._pause(tried, attempt, "gone" if status == _GONE else "failing", now)
        else:
            await self._streams.attempted(tried, attempt, now)
        return tried, pause

    async def _pause(self, progress: Progress, attempt: Attempt, cause: PauseReason, now: datetime) -> None:
        paused = replace(progress, paused=cause, paused_at=rfc3339(now), retry_at=None)
        tenant_id = progress.tenant_id
        event = WebhookPause(
            cause=cause,
            failures=progress.failures,
            failing_since=progress.failing_since or rfc3339(now),
            position=str(attempt.first),
        )
        draft = Draft(
            tenant_id,
            event,
            RequestContext(self._ids.new(now), f"stream/{CONSUMER}", CONSUMER, now),
            outcome="failure",
            reason=cause,
            actor=SYSTEM,
            target=Target("webhook", tenant_id),
        )
        finished = await self._recorder.finish(draft)
        await self._outbox.commit(IDENTITY, tenant_id, attempt_steps(paused, attempt, now), [finished])
        _log.error("webhook_paused", tenant_id=tenant_id, reason=cause, failures=progress.failures)
        self._told("paused", 0, 0.0)


def pause_after(failures: int, chance: float) -> timedelta:
    """How long to wait after so many failures in a row: twice as long each time, cut by chance to half at most."""
    longest = min(FIRST_PAUSE * (1 << min(failures - 1, 16)), LONGEST_PAUSE)
    return longest * (1 - chance / 2)


def _at(progress: Progress, position: Position) -> Progress:
    return replace(progress, next={**progress.next, position.period: position.index})
