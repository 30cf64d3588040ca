"""Every place that holds something of a person, found and erased. What is found again was not erased: the check of an
erasure asks the same places.

The trail is walked page by page, by the person's id and by the keyed hashes of the e-mail. Outbox entries and exports
under way hold finished events that are not in the trail yet. In `identity` are sessions, challenges and invitations;
the account itself is removed by `identity/leaving.py`. Dead letters, reports and the ledger hold nothing personal;
guards hold finished events under keys that nobody can look for, for seven days (see docs/privacy.md).
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import batched

from shared.audit.export_runs import OPEN as EXPORT
from shared.audit.model import PLATFORM_TENANT, StoredEvent
from shared.audit.outbox import OUTBOX_KIND
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.detection import all_patterns
from shared.detection.alerts import ALERT_KIND, BY_SYSTEM, OVERDUE
from shared.detection.service import SIGNAL_DAYS
from shared.identity.factors import factor_key
from shared.identity.invitations import KIND as INVITATION
from shared.identity.model import attempts_key
from shared.privacy.blind_index import BlindIndex
from shared.storage.containers import ALERTS, AUDIT_EVENTS, IDENTITY, REPORTS, SIGNALS, Container
from shared.storage.documents import (
    MAX_BATCH_OPERATIONS,
    Cursor,
    DocumentStore,
    Eq,
    Filter,
    Has,
    Item,
    Query,
    Range,
    pages,
    replace,
)
from shared.storage.errors import NotFound, PreconditionFailed, TooLarge, Unavailable
from shared.subject_rights.model import Person
from shared.subject_rights.redaction import Redaction, redactions

PAGE = 500
_RACES = 20
_OF_A_USER = ("session", "challenge")


@dataclass(frozen=True, slots=True)
class Walk:
    """One way through the events of one tenant."""

    tenant_id: str
    where: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """An item outside the trail that holds something of a person, and what has to stand in its place."""

    container: Container
    item: Item
    without: Item


def walks(person: Person) -> list[Walk]:
    """Every way to events that hold something of a person. The order is fixed: a place names one by its number."""
    found = [Walk(person.tenant_id, (Has("subjects", person.subject),))]
    for tenant_id in dict.fromkeys((person.tenant_id, PLATFORM_TENANT)):
        before = Range("recorded_at", lt=person.until)
        for key in person.keys_in(tenant_id):
            found += [Walk(tenant_id, (Eq(path, key), before)) for path in ("actor_key", "target_key")]
    return found


class Trail:
    """The events of a person."""

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def page(self, walk: Walk, person: Person, after: Cursor | None) -> tuple[list[Redaction], Cursor | None]:
        """What one page of a walk holds of a person, and where the next page begins."""
        query = Query(walk.where, order_by="recorded_at", limit=PAGE, after=after)
        found = await self._store.query(AUDIT_EVENTS, (walk.tenant_id,), query)
        return list(redactions(found.items, person)), found.next

    async def left(self, person: Person) -> AsyncIterator[str]:
        """Ids of the events that hold something of a person."""
        for walk in walks(person):
            after: Cursor | None = None
            while True:
                found, after = await self.page(walk, person, after)
                for each in found:
                    yield each.event["id"]
                if after is None:
                    break

    async def erase(self, found: Iterable[Redaction], person: Person) -> int:
        """Write events without what is the person's; how many."""
        by_partition: dict[tuple[str, str], list[Redaction]] = {}
        for each in found:
            by_partition.setdefault((each.event["tenant_id"], each.event["period"]), []).append(each)
        count = 0
        for partition, group in by_partition.items():
            for chunk in batched(group, MAX_BATCH_OPERATIONS, strict=False):
                count += await self._erase_chunk(partition, chunk, person)
        return count

    async def _erase_chunk(self, partition: tuple[str, str], chunk: Sequence[Redaction], person: Person) -> int:
        await self._erase_signals(chunk)
        now = rfc3339(self._clock.now())
        try:
            steps = [replace(each.event_without(now), if_match=each.event["_etag"]) for each in chunk]
            await self._store.batch(AUDIT_EVENTS, partition, steps)
        except (PreconditionFailed, NotFound, TooLarge):  # somebody else erases another person of one, or one expired
            return sum([await self._erase_one(partition, each, person) for each in chunk])
        return len(chunk)

    async def _erase_one(self, partition: tuple[str, str], found: Redaction, person: Person) -> bool:
        for _ in range(_RACES):
            try:
                event = await self._store.read(AUDIT_EVENTS, partition, found.event["id"])
                for each in redactions([event], person):
                    now = rfc3339(self._clock.now())
                    await self._store.replace(AUDIT_EVENTS, partition, each.event_without(now), event["_etag"])
                    return True
            except PreconditionFailed:
                continue
            except NotFound:
                return False
            return False
        raise Unavailable("an event is contended")

    async def _erase_signals(self, chunk: Iterable[Redaction]) -> None:
        """Forget the failed sign-ins that are counted by address: first, for the event says where they are."""
        since = self._clock.now() - SIGNAL_DAYS - timedelta(days=1)
        for event in (each.event for each in chunk):
            counted = (event["type"], event["outcome"]) == ("auth.login", "failure") and event["ip_key"] is not None
            if counted and parse_rfc3339(event["recorded_at"]) > since:
                try:
                    await self._store.delete(SIGNALS, (event["ip_key"],), event["id"])
                except NotFound:
                    continue


class Copies:
    """What there is of a person outside the trail."""

    def __init__(self, store: DocumentStore, index: BlindIndex, clock: Clock) -> None:
        self._store = store
        self._index = index
        self._clock = clock

    async def held(self, person: Person) -> AsyncIterator[Held]:
        """Outbox entries, exports under way, and alerts with what people wrote about the person."""
        now, tenant_id = rfc3339(self._clock.now()), person.tenant_id
        for whose in dict.fromkeys((tenant_id, PLATFORM_TENANT)):
            for container in (IDENTITY, ALERTS, REPORTS):
                async for item in self._all(container, whose, Eq("kind", OUTBOX_KIND)):
                    events = _without(item["events"], person, now)
                    if events != item["events"]:
                        yield Held(container, item, {**item, "events": events})
        async for item in self._all(REPORTS, tenant_id, Eq("kind", EXPORT)):
            (event,) = _without([item["event"]], person, now)
            if event != item["event"]:
                yield Held(REPORTS, item, {**item, "event": event})
        for series in (*all_patterns(), OVERDUE):
            of_person = Eq("series", f"{series}|{person.subject}")
            async for item in self._all(ALERTS, tenant_id, Eq("kind", ALERT_KIND), of_person, order_by="first_seen"):
                history = [each if each["by"] == BY_SYSTEM else {**each, "note": None} for each in item["history"]]
                if history != item["history"]:
                    yield Held(ALERTS, item, {**item, "history": history})

    async def write(self, found: Held) -> bool:
        """Write an item without what is the person's; False when it changed or went meanwhile: the next pass sees."""
        try:
            await self._store.replace(
                found.container, (found.item["tenant_id"],), found.without, if_match=found.item["_etag"]
            )
        except (PreconditionFailed, NotFound):
            return False
        return True

    async def of_account(self, person: Person) -> AsyncIterator[str]:
        """Ids of what an account leaves in `identity`: sessions and challenges, what a call under way at its removal
        wrote afterwards, and invitations to the e-mail."""
        partition, subject = (person.tenant_id,), person.subject
        for kind in _OF_A_USER:
            async for item in self._all(IDENTITY, person.tenant_id, Eq("kind", kind), Eq("user_id", subject)):
                yield item["id"]
        for key in (attempts_key(subject), factor_key(subject)):
            try:
                yield (await self._store.read(IDENTITY, partition, key))["id"]
            except NotFound:
                continue
        keys = person.keys_in(person.tenant_id)
        if not keys:
            return
        older = Range("created_at", lt=person.until)
        async for item in self._all(IDENTITY, person.tenant_id, Eq("kind", INVITATION), older):
            if not set(keys).isdisjoint(await self._index.every_email(person.tenant_id, item["email"])):
                yield item["id"]

    async def remove(self, person: Person, item_id: str) -> None:
        """Remove one of those."""
        try:
            await self._store.delete(IDENTITY, (person.tenant_id,), item_id)
        except NotFound:
            return  # it expired, or was used

    async def _all(
        self, container: Container, tenant_id: str, *where: Filter, order_by: str = "created_at"
    ) -> AsyncIterator[Item]:
        async for items in pages(self._store, container, (tenant_id,), Query(where, order_by=order_by)):
            for item in items:
                yield item


def _without(events: Sequence[StoredEvent], person: Person, now: str) -> list[StoredEvent]:
    found = {each.event["id"]: each.event_without(now) for each in redactions(events, person)}
    return [found.get(event["id"], event) for event in events]
