"""Ingest: events of other services enter the trail, each once, and durable before the answer.

What may have to be repeated is written first: under the request's Idempotency-Key the whole plan (which items are
refused, and the finished events, ids included), under each producer_id its finished event. Whoever comes again, after
a crash, a lost answer or at the same moment, finds these guards and writes the same events: those that are there
already are left as they are.
"""

import asyncio
import base64
import hashlib
import json
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from shared.audit.entries import MAX_ENTRY_BYTES, EntryError, entry_of
from shared.audit.model import Actor, Draft, RequestContext, StoredEvent, Target
from shared.audit.producer import Produced, read_event
from shared.audit.recorder import Recorder, audit_unavailable
from shared.core.clock import Clock
from shared.core.errors import FieldError, Invalid, TooLargeBody
from shared.core.text import address
from shared.privacy.guards import Guards
from shared.storage.errors import StoreError, TooLarge

KEY_SECONDS = 86_400
PRODUCER_ID_SECONDS = 7 * 86_400
_CLAIMS_AT_ONCE = 64
_SURELY_SMALL = 4_000
"""Characters of attributes and ids below which an entry cannot be too large, however they are escaped."""

type Status = Literal["created", "duplicate", "rejected"]
type Counted = Callable[[str, int], None]
"""Told how many items of a request were created, duplicates or rejected."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends events: the tenant they go to, and the caller within it."""

    tenant_id: str
    caller: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request brings: JSON values, each to be an event. `suspicious`: see `read_event`."""

    values: Sequence[Any]
    suspicious: bool = True
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one item. `id`: of the event that stands for it; None: there is none, for these reasons."""

    id: str | None
    status: Status
    errors: tuple[FieldError, ...] = ()


@dataclass(slots=True)
class _Plan:
    """What is to be done with a request: a finished event, the place of the item it repeats, or faults, for each item.
    `producer_ids`: those of the events."""

    events: list[StoredEvent | None]
    producer_ids: list[str | None]
    repeats: list[int | None]
    faults: list[list[list[str]]]

    def packed(self) -> str:
        """The plan as text, for a guard: what a store holds of a large request stays small."""
        text = json.dumps([self.events, self.producer_ids, self.repeats, self.faults], separators=(",", ":"))
        return base64.b64encode(zlib.compress(text.encode(), level=1)).decode()

    @classmethod
    def unpacked(cls, packed: str) -> "_Plan":
        """The plan that a guard holds."""
        return cls(*json.loads(zlib.decompress(base64.b64decode(packed))))


class Ingest:
    """Takes producers' events."""

    def __init__(self, recorder: Recorder, guards: Guards, clock: Clock, counted: Counted) -> None:
        self._recorder = recorder
        self._guards = guards
        self._clock = clock
        self._counted = counted

    async def accept(self, source: Source, batch: Batch, request: RequestContext) -> list[Result]:
        """Write a request's events; what became of each, in their order.

        All that are created or duplicates are durable. Unready (503): some may be, too; the same request under the same
        key, or with the same producer ids, does the rest and nothing twice. Invalid (422 idempotency_key_reused) for a
        key that came with another body. TooLargeBody (413) for a request whose plan fits into no guard.
        """
        plan = await self._plan(source, batch, request)
        key = batch.idempotency_key
        try:
            if key is not None and any(event is not None for event in plan.events):
                plan = await self._held(source, batch, key, plan)
            elif key is not None:
                plan = await self._kept(source, batch, key) or plan
            events = await self._settled(source, plan)
            late = await self._late(source, batch, plan)
            await self._publish(plan, events, list(late.values()))
        except StoreError as error:
            raise audit_unavailable(error) from error
        results = _results(plan, events, late)
        for status in ("created", "duplicate", "rejected"):
            number = sum(each.status == status for each in results)
            if number:
                self._counted(status, number)
        return results

    async def _plan(self, source: Source, batch: Batch, request: RequestContext) -> _Plan:
        """Check every item and finish the events of those that pass."""
        now = self._clock.now()
        bare = replace(request, ip=None, user_agent=None)  # the producer's own, not of whoever its events tell of
        plan, seen = _Plan([], [], [], []), dict[str, int]()
        read = [read_event(value, now, suspicious=batch.suspicious) for value in batch.values]
        persons = [person for found in read if isinstance(found, Produced) for person in found.persons]
        await self._recorder.prepare(source.tenant_id, persons)
        for place, found in enumerate(read):
            event, producer_id, repeats, faults = None, None, None, list[FieldError]()
            if isinstance(found, Produced):
                producer_id = found.given.producer_id
                repeats = seen.setdefault(producer_id, place) if producer_id is not None else place
                repeats = None if repeats == place else repeats
                if repeats is None:
                    event = await self._recorder.finish(_draft(source.tenant_id, found, bare))
                    faults = _entry_faults(event)
                    if faults:
                        event = None
                        seen.pop(producer_id or "", None)
            else:
                faults = found
            plan.events.append(event)
            plan.producer_ids.append(producer_id if event else None)
            plan.repeats.append(repeats)
            plan.faults.append([[each.field, each.code, each.message] for each in faults])
        return plan

    async def _held(self, source: Source, batch: Batch, key: str, plan: _Plan) -> _Plan:
        """The plan that holds for a key: this one, if it is the first."""
        value = {"digest": _digest(batch), "plan": plan.packed()}
        try:
            held = await self._guards.claim("ingest_key", _scope(source, key), value, KEY_SECONDS)
        except TooLarge:
            detail = "These events are too large together under an Idempotency-Key; send fewer at once."
            raise TooLargeBody("body_too_large", detail) from None
        return plan if held.mine else _same(batch, held.value)

    async def _kept(self, source: Source, batch: Batch, key: str) -> _Plan | None:
        """The plan that an earlier request left under a key, when nothing of this one would pass any more."""
        held = await self._guards.held("ingest_key", _scope(source, key), KEY_SECONDS)
        return None if held is None else _same(batch, held)

    async def _late(self, source: Source, batch: Batch, plan: _Plan) -> dict[int, StoredEvent]:
        """By its place in the request, the event of a producer_id that was taken in time and now comes again too late:
        whoever had no answer then has to hear of it."""
        asked: dict[int, str] = {}
        for place, faults in enumerate(plan.faults):
            if [code for _, code, _ in faults] == ["too_far_behind"] and batch.values[place].get("producer_id"):
                asked[place] = batch.values[place]["producer_id"]
        held = await _each(self._first(source, producer_id) for producer_id in asked.values())
        return {place: event for place, event in zip(asked, held, strict=True) if event is not None}

    async def _settled(self, source: Source, plan: _Plan) -> list[StoredEvent | None]:
        """The events that stand for the plan's: of each producer_id the one that was first."""

        async def settle(event: StoredEvent | None, producer_id: str | None) -> StoredEvent | None:
            if event is None or producer_id is None:
                return event
            scope = _of_producer(source, producer_id)
            held = await self._guards.claim("producer_id", scope, event, PRODUCER_ID_SECONDS)
            first: StoredEvent = held.value
            return first

        if not any(plan.producer_ids):
            return plan.events
        return await _each(settle(*pair) for pair in zip(plan.events, plan.producer_ids, strict=True))

    async def _first(self, source: Source, producer_id: str) -> StoredEvent | None:
        """The event that was the first under a producer_id, or None."""
        found: StoredEvent | None = await self._guards.held(
            "producer_id", _of_producer(source, producer_id), PRODUCER_ID_SECONDS
        )
        return found

    async def _publish(self, plan: _Plan, events: Sequence[StoredEvent | None], late: Sequence[StoredEvent]) -> None:
        """Make the events durable; also those that an earlier request was first with, should it have crashed."""
        pairs = [(own, event) for own, event in zip(plan.events, events, strict=True) if own and event]
        await self._recorder.publish_all([event for own, event in pairs if own["id"] == event["id"]])
        await self._recorder.publish_each([*(event for own, event in pairs if own["id"] != event["id"]), *late])


async def _each(claims: Iterable[Awaitable[StoredEvent | None]]) -> list[StoredEvent | None]:
    """What each comes to, some at a time; all are done when the first error of any is raised."""
    at_once = asyncio.Semaphore(_CLAIMS_AT_ONCE)

    async def one(claim: Awaitable[StoredEvent | None]) -> StoredEvent | None:
        async with at_once:
            return await claim

    found: list[StoredEvent | None] = []
    for each in await asyncio.gather(*map(one, claims), return_exceptions=True):
        if isinstance(each, BaseException):
            raise each
        found.append(each)
    return found


def _of_producer(source: Source, producer_id: str) -> str:
    return f"{source.tenant_id}|{producer_id}"


def _scope(source: Source, key: str) -> str:
    return f"{source.tenant_id}|{source.caller}|{key}"


def _digest(batch: Batch) -> str:
    text = json.dumps(batch.values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _same(batch: Batch, held: dict[str, str]) -> _Plan:
    """The plan that is held under a key. Invalid (422) when it is that of another body."""
    if held["digest"] != _digest(batch):
        detail = "This Idempotency-Key came with another body within the last 24 hours."
        raise Invalid("idempotency_key_reused", detail)
    return _Plan.unpacked(held["plan"])


def _results(plan: _Plan, events: Sequence[StoredEvent | None], late: Mapping[int, StoredEvent]) -> list[Result]:
    results: list[Result] = []
    for own, event, repeats, faults in zip(plan.events, events, plan.repeats, plan.faults, strict=True):
        if repeats is not None:
            results.append(Result(results[repeats].id, "duplicate"))
        elif len(results) in late:
            results.append(Result(late[len(results)]["id"], "duplicate"))
        elif own is None or event is None:
            results.append(Result(None, "rejected", tuple(FieldError(*each) for each in faults)))
        else:
            results.append(Result(event["id"], "created" if event["id"] == own["id"] else "duplicate"))
    return results


def _draft(tenant_id: str, produced: Produced, request: RequestContext) -> Draft:
    given, of_actor = produced.given, produced.of_actor
    ip, agent = of_actor.get("ip"), of_actor.get("user_agent")
    if ip or agent:
        request = replace(request, ip=address(ip) if ip else None, user_agent=agent)
    target = given.target
    return Draft(
        tenant_id,
        produced.event,
        request,
        outcome=given.outcome,
        actor=Actor(given.actor.kind, given.actor.id, None, of_actor.get("email")),
        target=Target(target.kind, target.id, produced.of_target.get("email")) if target else None,
        data_class=given.data_class,
        record_count=produced.record_count,
        occurred_at=given.occurred_at,
        personal=given.personal,
        subjects=tuple(given.subjects),
    )


def _entry_faults(event: StoredEvent) -> list[FieldError]:
    """What could not be sealed is refused now: later nobody could tell the producer."""
    length = 0
    for key, value in event["attributes"].items():
        length += len(key) + (len(value) if type(value) is str else _SURELY_SMALL if type(value) is list else 0)
    if length < _SURELY_SMALL:
        return []
    try:
        entry_of(event)
    except EntryError as error:
        if error.code != "too_large":
            raise
    else:
        return []
    message = f"the event has at most {MAX_ENTRY_BYTES} bytes without its personal data; send less in it"
    return [FieldError("attributes", "too_large", message)]
