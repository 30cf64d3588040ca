"""The recorder: finishes drafts into stored events and makes them durable. There is no other way into the trail."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from shared.audit.model import SCHEMA, Draft, StoredEvent
from shared.audit.registry import EventType, type_of
from shared.audit.writing import Writing
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Unready
from shared.core.ids import IdFactory
from shared.privacy.blind_index import BlindIndex
from shared.privacy.boxes import KeyOfBoxDamaged, Personal, PersonalBox, Sealed
from shared.privacy.secrets import SecretsError
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import MAX_BATCH_OPERATIONS, DocumentStore, Partition, create
from shared.storage.errors import Conflict, StoreError, Throttled, TooLarge
from shared.telemetry import Timed, get_log, untimed

_log = get_log(__name__)

_CHUNKS_AT_ONCE = 4
_EVENTS_AT_ONCE = 32
_PERSONS = frozenset({"user", "invitation"})
"""Kinds of targets that are people: an invitation stands for somebody who is no user yet."""
_WITHOUT_BOXES = ("access.", "auth.", "consent.", "mfa.", "privacy.", "session.", "user.delete")
"""Types that are recorded even if a person's key is damaged, and then hold nothing personal of them: nobody is locked
out by it, and everybody can be deleted and erased. What a producer tells of a person is never left out so."""


type Counted = Callable[[str, str, str], None]
"""Told of each event that was written: its type, outcome and severity."""


def _uncounted(_type_name: str, _outcome: str, _severity: str) -> None:
    """Nobody asked."""


class Recorder:
    """Finishes and writes events. `timed` measures writes (`create`, `batch`); `counted` is told of what they wrote."""

    def __init__(
        self,
        store: DocumentStore,
        clock: Clock,
        ids: IdFactory,
        box: PersonalBox,
        index: BlindIndex,
        writing: Writing | None = None,
        *,
        timed: Timed = untimed,
        counted: Counted = _uncounted,
    ) -> None:
        self._timed = timed
        self._counted = counted
        self._store = store
        self._clock = clock
        self._ids = ids
        self._box = box
        self._index = index
        self._writing = writing or Writing(clock)

    async def prepare(self, tenant_id: str, persons: Iterable[str]) -> None:
        """Have ready what finishing events about many persons needs. Unready, StoreError."""
        await self._box.prepare(tenant_id, persons, sealing=True)

    async def finish(self, draft: Draft) -> StoredEvent:
        """The stored form of a draft, with its id, times, sealed boxes and index values; not written yet."""
        kind = type_of(draft.event)
        if draft.outcome not in kind.outcomes:
            raise ValueError(f"{kind.name} cannot have the outcome {draft.outcome}")
        now = self._clock.now()
        recorded_at = rfc3339(now)
        event_id = self._ids.new(now)
        personal = _personal_of(draft, kind)
        boxes = await self._seal(draft, kind, event_id, personal)
        return {
            "id": event_id,
            "tenant_id": draft.tenant_id,
            "period": recorded_at[: len("YYYY-MM")],
            "type": draft.event.type_name(kind.name),
            "outcome": draft.outcome,
            "reason": draft.reason,
            "severity": draft.severity or kind.severity_of(draft.outcome),
            "recorded_at": recorded_at,
            "occurred_at": recorded_at if draft.occurred_at is None else rfc3339(draft.occurred_at),
            "actor": {"kind": draft.actor.kind, "id": draft.actor.id, "role": draft.actor.role},
            "target": draft.target and {"kind": draft.target.kind, "id": draft.target.id},
            "subjects": _subjects_of(draft, personal),
            "source": _source_of(draft),
            "context": {
                "request_id": draft.request.request_id,
                "trace_id": draft.request.trace_id,
                "session_id": draft.request.session_id,
                "route": draft.request.route,
                "duration_ms": max(0, round((now - draft.request.started_at).total_seconds() * 1000)),
            },
            "data_class": draft.data_class or kind.data_class,
            "record_count": draft.record_count,
            "attributes": draft.event.stored_attributes(kind.personal),
            "personal": {subject: sealed.box for subject, sealed in boxes.items()},
            "commitments": {subject: sealed.commitment for subject, sealed in boxes.items()},
            **await self._index_values(draft, frozenset(personal.keys() - boxes.keys())),
            "schema": SCHEMA,
        }

    def watch[B: PersonalBox](self, box: B) -> B:
        """Seal with boxes that record, through this recorder, what they find damaged."""
        self._box = box
        return box

    async def _seal(
        self, draft: Draft, kind: EventType, event_id: str, personal: Mapping[str, Personal]
    ) -> dict[str, Sealed]:
        """A box for each person, but for those who were erased, or whose key is damaged where that has to do.

        SecretsError where it has not: what cannot be sealed is not written at all.
        """
        boxes: dict[str, Sealed] = {}
        for subject, data in personal.items():
            try:
                sealed = await self._box.seal(draft.tenant_id, subject, event_id, data)
            except KeyOfBoxDamaged as error:
                if subject in draft.personal or not kind.name.startswith(_WITHOUT_BOXES):
                    raise SecretsError(str(error)) from None
                continue
            if sealed is not None:
                boxes[subject] = sealed
        return boxes

    async def _index_values(self, draft: Draft, erased: frozenset[str]) -> dict[str, str | None]:
        """The keyed hashes, but for those of persons of whom nothing is kept: by a hash they would be found again."""
        tenant, request, target = draft.tenant_id, draft.request, draft.target
        email = target_email = ip = user_agent = None
        if not erased or erased.isdisjoint(_askers(draft)):
            email, ip, user_agent = draft.actor.email or draft.email_typed, request.ip, request.user_agent
        if target is not None and target.id not in erased:
            target_email = target.email
        values: dict[str, str | None] = dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key"))
        if email or target_email or ip or user_agent:
            written = await self._index.written()
            values["actor_key"] = written.email(tenant, email) if email else None
            values["target_key"] = written.email(tenant, target_email) if target_email else None
            values["ip_key"] = written.address(ip) if ip else None
            values["ua_key"] = written.user_agent(tenant, user_agent) if user_agent else None
        return values

    async def record(self, draft: Draft) -> StoredEvent:
        """Finish a draft and make it durable before returning. Unready (503) when that cannot be done."""
        try:
            event = await self.finish(draft)
            await self.publish(event)
        except StoreError as error:
            raise audit_unavailable(error) from error
        return event

    async def publish(self, event: StoredEvent) -> None:
        """Write a finished event. One that is there already is the same one: ids are ours. StoreError otherwise."""
        with self._timed("create"):
            try:
                with self._writing.watched():
                    await self._store.create(AUDIT_EVENTS, (event["tenant_id"], event["period"]), event)
            except Conflict:
                _log.info("event_already_published", event_id=event["id"])
                return
        self._count(event)

    def _count(self, event: StoredEvent) -> None:
        self._counted(event["type"], event["outcome"], event["severity"])

    async def publish_all(self, events: Sequence[StoredEvent]) -> None:
        """Write finished events, in batches of one partition each. Those that are there already are the same ones.

        StoreError when some are not written, or may not be; the others are.
        """
        if len(events) == 1:
            await self.publish(events[0])
            return
        by_partition: dict[Partition, list[StoredEvent]] = defaultdict(list)
        for event in events:
            by_partition[event["tenant_id"], event["period"]].append(event)
        chunks = [
            (partition, found[start : start + MAX_BATCH_OPERATIONS])
            for partition, found in by_partition.items()
            for start in range(0, len(found), MAX_BATCH_OPERATIONS)
        ]
        await _all_of([self._publish_chunk(*chunk) for chunk in chunks], _CHUNKS_AT_ONCE)

    async def publish_each(self, events: Sequence[StoredEvent]) -> None:
        """Write finished events one by one: most of them are expected to be there already. StoreError as above."""
        await _all_of([self.publish(event) for event in events], _EVENTS_AT_ONCE)

    async def _publish_chunk(self, partition: Partition, chunk: list[StoredEvent]) -> None:
        if len(chunk) == 1:
            await self.publish(chunk[0])
            return
        refused: StoreError | None = None
        with self._timed("batch"):
            try:
                with self._writing.watched():
                    await self._store.batch(AUDIT_EVENTS, partition, [create(event) for event in chunk])
            except (Conflict, TooLarge) as error:
                refused = error
        if isinstance(refused, Conflict):  # an earlier attempt at the same request wrote some of them, or all
            await self.publish_each(chunk)
        elif refused is not None:
            middle = len(chunk) // 2
            await self._publish_chunk(partition, chunk[:middle])
            await self._publish_chunk(partition, chunk[middle:])
        else:
            for event in chunk:
                self._count(event)


async def _all_of(works: Sequence[Coroutine[Any, Any, None]], at_once: int) -> None:
    """Do everything, some at a time; the first error is raised once all have ended."""
    if not works:
        return
    free = asyncio.Semaphore(at_once)

    async def one(work: Coroutine[Any, Any, None]) -> None:
        async with free:
            await work

    for outcome in await asyncio.gather(*(one(work) for work in works), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def audit_unavailable(error: StoreError) -> Unready:
    """The answer when an event cannot be made durable: the operation is refused."""
    seconds = max(1, math.ceil(error.retry_after_seconds)) if isinstance(error, Throttled) else 5
    return Unready("audit_unavailable", "The audit trail cannot be written now.", retry_after_seconds=seconds)


def _personal_of(draft: Draft, kind: EventType) -> dict[str, Personal]:
    """Personal data by subject: e-mail, address and user agent of `person`, the target's e-mail, then the event's own
    personal fields."""
    found: dict[str, Personal] = {subject: dict(data) for subject, data in draft.personal.items()}
    if draft.person is not None:
        email = draft.actor.email or draft.email_typed
        base = {"email": email, "ip": draft.request.ip, "user_agent": draft.request.user_agent}
        found[draft.person] = {name: value for name, value in base.items() if value is not None}
    if draft.target is not None and draft.target.email is not None:
        found.setdefault(draft.target.id, {}).setdefault("email", draft.target.email)
    values: dict[str, Any] = draft.event.model_dump(mode="json", include=set(kind.personal)) if kind.personal else {}
    for name, value in values.items():
        owner = _owner(draft, kind.personal[name])
        if owner is not None and value is not None:
            found.setdefault(owner, {})[name] = value
    return {subject: data for subject, data in found.items() if data}


def _askers(draft: Draft) -> set[str | None]:
    """Whose e-mail, address and user agent an event was made with: the actor's, or the account's that was tried."""
    found = {draft.person, draft.actor.id}
    if draft.actor.id is None and draft.target is not None and draft.target.kind == "user":
        found.add(draft.target.id)
    return found


def _owner(draft: Draft, whose: str) -> str | None:
    """Whose box a personal field goes into: see `PersonalOf`."""
    target = draft.target
    if whose == "actor" or (whose == "concerned" and (target is None or target.kind not in _PERSONS)):
        return draft.person
    return target.id if target else None


def _subjects_of(draft: Draft, personal: dict[str, Personal]) -> list[str]:
    concerned = dict.fromkeys(personal)
    if draft.actor.kind == "user" and draft.actor.id:
        concerned[draft.actor.id] = None
    if draft.target is not None and draft.target.kind == "user":
        concerned[draft.target.id] = None
    return list(concerned | dict.fromkeys((*draft.personal, *draft.subjects)))


def _source_of(draft: Draft) -> dict[str, str]:
    if draft.request.session_id is not None:
        return {"kind": "session", "id": draft.request.session_id}
    if draft.request.api_key_id is not None:
        return {"kind": "api_key", "id": draft.request.api_key_id}
    return {"kind": "function", "id": draft.request.function}
