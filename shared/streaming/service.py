"""What administrators do with their tenant's webhook. Each change and its event are one; no secret is in either."""

from __future__ import annotations

import math
import secrets as random_source
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.audit.events.config import ConfigChange
from shared.audit.model import Actor, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.audit.registry import all_types
from shared.core.clock import Clock, period_of, rfc3339
from shared.core.errors import FieldError, Invalid, NotFoundError, TooMany, Unready
from shared.core.ids import IdFactory
from shared.privacy.guards import Guards
from shared.privacy.secret_boxes import SecretBoxes
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, Cursor, Page, create, delete
from shared.storage.documents import replace as replaced
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.storage.versions import check_version, entity_tag
from shared.streaming.addresses import shown_url
from shared.streaming.backlog import Backlog
from shared.streaming.delivery import Delivery
from shared.streaming.messages import TEST, Placed, compose
from shared.streaming.model import (
    OVERLAP,
    STREAM,
    WEBHOOK,
    Format,
    HeldSecret,
    Personal,
    Position,
    Progress,
    Webhook,
    shown,
)
from shared.streaming.sample import sample_event
from shared.streaming.signing import new_secret, read_secret
from shared.streaming.state import Streams

TESTS_PER_MINUTE = 10
"""Samples that a tenant may send: each is a request to wherever its administrators like."""
_RACES = 20
_SHOWN_CHARACTERS = 500
_SETTINGS = ("types", "format", "personal", "gzip", "enabled")

type Wake = Callable[[str], object]
"""Has a tenant's stream run soon."""


@dataclass(frozen=True, slots=True)
class By:
    """The administrator who does it. `approval`: `approved_by` and `ticket`, where they were said."""

    tenant_id: str
    actor: Actor
    person: str
    approval: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a webhook is to be. `secret`: the one to sign with; None keeps the current one, unless `new_secret`."""

    url: str = field(repr=False)
    types: tuple[str, ...]
    format: Format
    personal: Personal
    gzip: bool
    enabled: bool
    secret: str | None = field(default=None, repr=False)
    new_secret: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A webhook as the API shows it, its version, and a secret that was made just now."""

    body: dict[str, Any]
    tag: str
    secret: str | None = field(default=None, repr=False)


class Webhooks:
    """The webhook of a tenant, one at most."""

    def __init__(
        self,
        *,
        streams: Streams,
        backlog: Backlog,
        delivery: Delivery,
        boxes: SecretBoxes,
        outbox: Outbox,
        recorder: Recorder,
        clock: Clock,
        ids: IdFactory,
        guards: Guards,
        wake: Wake,
        random_bytes: Callable[[int], bytes] = random_source.token_bytes,
    ) -> None:
        self._streams = streams
        self._backlog = backlog
        self._delivery = delivery
        self._boxes = boxes
        self._outbox = outbox
        self._recorder = recorder
        self._clock = clock
        self._ids = ids
        self._guards = guards
        self._wake = wake
        self._random_bytes = random_bytes

    async def get(self, tenant_id: str) -> Found:
        """The webhook and how far it is. NotFoundError."""
        webhook, progress = await self._held(tenant_id)
        return await self._found(webhook, progress)

    async def put(self, by: By, wanted: Wanted, if_match: frozenset[str] | None, request: RequestContext) -> Found:
        """Make or change the webhook; a paused one goes on. A new one begins with what is sealed from now on.

        Invalid (422) for a URL or secret that will not do; VersionConflict (412).
        """
        self._check(wanted)
        for _ in range(_RACES):
            held, progress = await self._streams.webhook(by.tenant_id), await self._streams.progress(by.tenant_id)
            check_version(_tag(held), if_match)
            made, secret, changed = await self._made(by.tenant_id, wanted, held)
            going = await self._going(by.tenant_id, progress, made)
            if progress is not None and progress.paused:
                changed = [*changed, "state"]
            if held is not None and progress is not None and not changed:
                return await self._found(held, progress)
            old = {} if held is None else _told(held, changed)
            steps = [_step(made.item(), None if held is None else held.etag)]
            if progress is None or going != progress:  # one that is well is not disturbed
                steps.append(_step(going.item(), going.etag))
            event = ConfigChange(
                key="webhook",
                changed_fields=tuple(sorted(changed)),
                old_values=old,
                new_values=_told(made, changed),
                **by.approval,
            )
            if await self._committed(by, steps, event, request):
                self._wake(by.tenant_id)
                return replace(await self.get(by.tenant_id), secret=secret)
        raise _contended()

    async def delete(self, by: By, if_match: frozenset[str] | None, request: RequestContext) -> None:
        """Take the webhook away, and how far it was. NotFoundError, VersionConflict."""
        for _ in range(_RACES):
            webhook, _ = await self._held(by.tenant_id)
            check_version(_tag(webhook), if_match)
            steps = [delete(WEBHOOK, webhook.etag), delete(STREAM)]
            event = ConfigChange(
                key="webhook",
                changed_fields=("url",),
                old_values={"url": webhook.url},
                new_values={"url": None},
                **by.approval,
            )
            if await self._committed(by, steps, event, request):
                return
        raise _contended()

    async def replay(self, by: By, text: str, request: RequestContext) -> Found:
        """Go back (or on) to a position: that month from this index on, and every later month whole.

        NotFoundError; Invalid (422) for a position that the tenant's ledger does not have.
        """
        for _ in range(_RACES):
            _, progress = await self._held(by.tenant_id)
            sizes = await self._backlog.sizes(by.tenant_id)
            position = self._position(text, sizes)
            moved = moved_to(progress, sizes, position)
            event = ConfigChange(
                key="webhook.replay",
                changed_fields=("position",),
                old_values={"positions": [str(Position(*each)) for each in sorted(progress.next.items())]},
                new_values={"from_position": str(position)},
                **by.approval,
            )
            if await self._committed(by, [replaced(moved.item(), progress.etag)], event, request):
                self._wake(by.tenant_id)
                return await self.get(by.tenant_id)
        raise _contended()

    async def test(self, by: By, request: RequestContext) -> dict[str, Any]:
        """Send a sample, recorded beforehand, and tell what came back. The stream does not move.

        NotFoundError; TooMany (429 rate_limited) above TESTS_PER_MINUTE, on all instances together.
        """
        webhook, _ = await self._held(by.tenant_id)
        taken = await self._guards.take("webhook_tests", by.tenant_id, TESTS_PER_MINUTE, 60)
        if not taken.allowed:
            seconds = max(1, math.ceil(taken.retry_after_seconds))
            raise TooMany("rate_limited", "Too many samples of this organization.", retry_after_seconds=seconds)
        event = ConfigChange(key="webhook.test", changed_fields=(), old_values={}, new_values={"url": webhook.url})
        await self._recorder.record(_draft(by, event, request))
        now = self._clock.now()
        sample = Placed.of(0, sample_event(by.tenant_id, self._ids.new(now), now, request), webhook.format)
        generation = int(now.timestamp() * 1000)  # so that its id is new
        message = compose(by.tenant_id, period_of(now), [sample], webhook.format, generation, kind=TEST)
        sender = self._delivery.sender
        async with sender.open() as line:
            attempt, answer = await self._delivery.send(line, webhook, message)
        beginning = answer.beginning if answer and not sender.allow_private else b""
        return {
            "delivered": attempt.reason is None,
            "message_id": attempt.message_id,
            "status": attempt.status,
            "reason": attempt.reason,
            "milliseconds": attempt.milliseconds,
            "media_type": answer.media_type if answer else None,
            "beginning": beginning.decode("ascii", "replace")[:_SHOWN_CHARACTERS],
        }

    async def renew(self, tenant_id: str) -> int:
        """Seal address and secrets under the current key, if they are not; 1 when there was something to seal."""
        for _ in range(_RACES):
            held = await self._streams.webhook(tenant_id)
            if held is None:
                return 0
            address = await self._boxes.renewed("webhook", tenant_id, "url", dict(held.address))
            boxes = [await self._boxes.renewed("webhook", tenant_id, each.id, dict(each.box)) for each in held.secrets]
            secrets = tuple(replace(each, box=box) for each, box in zip(held.secrets, boxes, strict=True))
            renewed = replace(held, address=address, secrets=secrets)
            if renewed == held:
                return 0
            if await self._streams.renewed(renewed):
                return 1
        raise _contended()

    async def attempts(self, tenant_id: str, *, limit: int, after: Cursor | None) -> Page:
        """A page of the last attempts, newest first."""
        return await self._streams.attempts(tenant_id, limit, after)

    def _check(self, wanted: Wanted) -> None:
        try:
            self._delivery.sender.check(wanted.url)
        except ValueError as error:
            raise _invalid("url", "address", str(error)) from None
        for number, each in enumerate(wanted.types):
            if not _is_known(each):
                raise _invalid(f"types.{number}", "type", "is no event type, nor a family of them")
        if wanted.secret is None:
            return
        if wanted.new_secret:
            raise _invalid("new_secret", "both", "goes without a secret")
        try:
            read_secret(wanted.secret)
        except ValueError as error:
            raise _invalid("secret", "secret", str(error)) from None

    def _position(self, text: str, sizes: dict[str, int]) -> Position:
        try:
            position = Position.parse(text)
        except ValueError as error:
            raise _invalid("from_position", "position", str(error)) from None
        begun = {period_of(self._clock.now()): 0} | sizes
        if position.index > begun.get(position.period, -1):
            raise _invalid("from_position", "range", "is not in the ledger of that month, or its retention is over")
        return position

    async def _held(self, tenant_id: str) -> tuple[Webhook, Progress]:
        webhook, progress = await self._streams.webhook(tenant_id), await self._streams.progress(tenant_id)
        if webhook is None or progress is None:
            raise NotFoundError("not_found", "There is no webhook.")
        return webhook, progress

    async def _found(self, webhook: Webhook, progress: Progress) -> Found:
        sizes = await self._backlog.sizes(webhook.tenant_id)
        return Found(shown(webhook, progress, sizes, self._clock.now()), _tag(webhook))

    async def _made(
        self, tenant_id: str, wanted: Wanted, held: Webhook | None
    ) -> tuple[Webhook, str | None, list[str]]:
        """The webhook as it is to be, a secret that was made for it, and what changes."""
        now = self._clock.now()
        changed = [name for name in _SETTINGS if held is None or getattr(held, name) != getattr(wanted, name)]
        old_url = None if held is None else await self._open(held, "url", dict(held.address))
        if old_url != wanted.url:
            changed.append("url")
        signs = None if held is None else next(each for each in held.secrets if each.until is None)
        secret, generated = wanted.secret, None
        if wanted.new_secret or (signs is None and secret is None):
            secret = generated = new_secret(self._random_bytes)
        secrets = () if held is None else held.valid_secrets(now)
        is_new = secret is not None
        if is_new and held is not None and signs is not None:
            is_new = secret != await self._open(held, signs.id, dict(signs.box))
        if is_new and secret is not None:
            changed.append("secret")
            secrets = (await self._sealed(tenant_id, secret, now), *_ending(signs, now))
        made = Webhook(
            tenant_id=tenant_id,
            url=shown_url(wanted.url),
            address=await self._boxes.seal("webhook", tenant_id, "url", wanted.url),
            secrets=secrets,
            created_at=held.created_at if held else rfc3339(now),
            updated_at=rfc3339(now),
            **{name: getattr(wanted, name) for name in _SETTINGS},
        )
        return made, generated, changed

    async def _open(self, webhook: Webhook, owner: str, box: dict[str, str]) -> str:
        return await self._boxes.open("webhook", webhook.tenant_id, owner, box)

    async def _sealed(self, tenant_id: str, secret: str, now: datetime) -> HeldSecret:
        secret_id = self._ids.new(now)
        return HeldSecret(secret_id, await self._boxes.seal("webhook", tenant_id, secret_id, secret), rfc3339(now))

    async def _going(self, tenant_id: str, progress: Progress | None, webhook: Webhook) -> Progress:
        """The stream of a changed webhook: it tries at once; a new one begins behind what is sealed."""
        if progress is None:
            sizes = await self._backlog.sizes(tenant_id)
            born = int(self._clock.now().timestamp())  # no message of a webhook before has an id of this one's
            return Progress(tenant_id=tenant_id, next=sizes, created_at=webhook.updated_at, generation=born)
        return replace(progress, failures=0, failing_since=None, retry_at=None, paused=None, paused_at=None)

    async def _committed(
        self, by: By, steps: list[BatchOperation], event: ConfigChange, request: RequestContext
    ) -> bool:
        """Commit a change with its event; False when another one was quicker."""
        finished = await self._recorder.finish(_draft(by, event, request))
        try:
            await self._outbox.commit(IDENTITY, by.tenant_id, steps, [finished])
        except (PreconditionFailed, NotFound, Conflict):
            return False
        return True


def _is_known(kind: str) -> bool:
    """Whether there are events of a type, or family: a mistyped one would leave the receiver without, unnoticed."""
    if kind.startswith("custom."):
        return True
    known = all_types()
    return kind in known or (kind.endswith(".*") and any(each.startswith(kind[:-1]) for each in known))


def moved_to(progress: Progress, sizes: dict[str, int], position: Position) -> Progress:
    """A stream that was moved: to an index of a month, and to the beginning of every later one."""
    later = {period: 0 for period in {*sizes, *progress.next} if period > position.period}
    return replace(
        progress,
        next={**progress.next, **later, position.period: position.index},
        generation=progress.generation + 1,
    )


def _ending(secret: HeldSecret | None, now: datetime) -> tuple[HeldSecret, ...]:
    """The secret before a new one: it signs beside it for a while."""
    return () if secret is None else (replace(secret, until=rfc3339(now + OVERLAP)),)


def _told(webhook: Webhook, changed: list[str]) -> dict[str, Any]:
    """What the trail keeps of the changed settings: never a secret, and of the URL what may be shown."""
    kept = {name: getattr(webhook, name) for name in (*_SETTINGS, "url") if name in changed}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def _step(item: dict[str, Any], etag: str | None) -> BatchOperation:
    return create(item) if etag is None else replaced(item, etag)


def _tag(webhook: Webhook | None) -> str:
    """The version of a webhook as an entity tag; one that no webhook has where there is none."""
    return '""' if webhook is None or webhook.etag is None else entity_tag({"_etag": webhook.etag})


def _draft(by: By, event: ConfigChange, request: RequestContext) -> Draft:
    target = Target("webhook", by.tenant_id)
    return Draft(by.tenant_id, event, request, actor=by.actor, target=target, person=by.person)


def _invalid(name: str, code: str, message: str) -> Invalid:
    fault = FieldError(name, code, message)
    return Invalid("invalid_request", "Some fields are not as they must be.", errors=(fault,))


def _contended() -> Unready:
    return Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)
