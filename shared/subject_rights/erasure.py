"""The job that erases a person (docs/adr/0031).

First the key becomes a tombstone: from then on nothing personal is sealed about the person, but by instances that still
have the key in memory. Then the account goes, and what of the person is in every copy that we know (`copies.py`). Once
those memories are over a second pass erases what was written meanwhile, and a check finds nothing; then the request is
executed. A last pass follows when nothing finished before can be written any more. A pass may be cut off anywhere: what
it did is not done again, and the request says from which event to go on.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from shared.audit.events.privacy import PrivacyErasure
from shared.audit.model import PLATFORM_TENANT, SYSTEM, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.audit.search import EventFilter, EventSearch
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.errors import Unready
from shared.identity.directory import Directory, Entry
from shared.identity.leaving import LastAdmin, Leaving
from shared.identity.model import user_key
from shared.identity.tenant_settings import read_settings
from shared.privacy.blind_index import BlindIndex
from shared.privacy.person_keys import CACHE_FOR, PersonKeys
from shared.storage.containers import IDENTITY
from shared.storage.documents import Cursor, DocumentStore, Eq, Item, Query, Range, delete, pages, replace
from shared.storage.errors import NotFound, PreconditionFailed, Throttled, Unavailable
from shared.subject_rights.copies import Copies, Trail, walks
from shared.subject_rights.export_register import ExportRegister
from shared.subject_rights.holds import held_until, holds_at
from shared.subject_rights.model import ERASURE, EXPORT, KIND, WAITING, Cause, Person, look_again, marker_key, over
from shared.subject_rights.redaction import STRANGER
from shared.subject_rights.service import SubjectRequests
from shared.telemetry import get_log

_log = get_log(__name__)

SETTLED = CACHE_FOR + timedelta(minutes=10)
"""After this time no instance has the key in memory, and no request of then is under way any more."""
LAST = timedelta(days=8)
"""After this time no retry of a producer finds an event that was finished before (seven days, and a margin)."""
RUN = timedelta(minutes=2)
"""How long one tenant's persons are erased in one run, before the others have their turn."""
AGAIN = timedelta(days=1)
"""How long what is deferred is left alone at most."""
_SOON = timedelta(minutes=5)


class _Interrupted(Exception):
    """The time of the run is over; the request says where to go on."""


class Erasures:
    """Carries out what was requested."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        search: EventSearch,
        directory: Directory,
        index: BlindIndex,
        keys: PersonKeys,
        leaving: Leaving,
        requests: SubjectRequests,
        exports: ExportRegister,
        clock: Clock,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._search = search
        self._directory = directory
        self._index = index
        self._keys = keys
        self._leaving = leaving
        self._requests = requests
        self._exports = exports
        self._clock = clock
        self._trail = Trail(store, clock)
        self._copies = Copies(store, index, clock)

    async def run(self, tenant_id: str, request: RequestContext) -> int:
        """Go on with a tenant's requests that are due to be looked at; how many.

        One that fails holds up no other; the first such error is raised at the end. Unavailable, Throttled, Unready:
        the store does not answer, and the run is over.
        """
        now = self._clock.now()
        due = Query((Eq("kind", KIND), Range("next_at", le=rfc3339(now))), order_by="created_at")
        count, first = 0, None
        async for items in pages(self._store, IDENTITY, (tenant_id,), due):
            for item in items:
                try:
                    await self._look_at(item, now + RUN, request)
                    count += 1
                except _Interrupted:
                    return count + 1
                except (PreconditionFailed, NotFound):
                    _log.info("erasure_changed_meanwhile", request_id=item["request_id"], tenant_id=tenant_id)
                except (Unavailable, Throttled, Unready):
                    raise
                except Exception as error:  # noqa: BLE001 - raised at the end
                    _log.error("erasure_failed", error, request_id=item["request_id"], tenant_id=tenant_id)
                    first = first or error
        if first is not None:
            raise first
        return count

    async def check(self, person: Person) -> list[str]:
        """Where something of a person is left, in every copy that we know; nothing after an erasure."""
        return [each async for each in self._left(person)]

    async def person(self, tenant_id: str, subject: str, email: str | None = None) -> Person:
        """Whom to check for: with the keyed hashes of `email`, of the account's if it is there, or those that a request
        keeps until its last pass. Without any (`email_key` None) nothing can be looked for that only they lead to."""
        newest = Query((Eq("kind", KIND), Eq("subject", subject)), order_by="created_at", descending=True, limit=20)
        found = (await self._store.query(IDENTITY, (tenant_id,), newest)).items
        started = next((each for each in found if each["about"] == ERASURE and each.get("started_at")), {})
        user = await self._leaving.user(tenant_id, subject)
        known = email or (user["email"] if user is not None else None)
        if known is None:
            return Person(tenant_id, subject, **started.get("keys", {}))
        until = {"until": started["started_at"]} if started and user is None else {}
        return Person(tenant_id, subject, **(await self._keyed(tenant_id, known) | until))

    async def _look_at(self, item: Item, until: datetime, request: RequestContext) -> None:
        """Whatever is to be done about a request now. PreconditionFailed, NotFound: somebody else is at it."""
        if item["about"] == EXPORT:
            await self._exports.tidy(item, request)
            return
        item = await self._requests.tell_overdue(item, request)
        if item["work_at"] > rfc3339(self._clock.now()):
            return
        if item["state"] in WAITING:
            begun = await self._begin(item, request)
            if begun is None:
                return
            item = begun
        try:
            item = await self._pass(item, until, request)
        except LastAdmin:  # made so since it began: everything else waits until there is another one
            _log.warning("erasure_waits_for_an_admin", request_id=item["request_id"], tenant_id=item["tenant_id"])
            await self._save(look_again(item, rfc3339(self._clock.now() + _SOON)))
            return
        await self._next(item, request)

    async def _begin(self, item: Item, request: RequestContext) -> Item | None:
        """The request under way; None when it has to wait."""
        tenant_id, subject, now = item["tenant_id"], item["subject"], self._clock.now()
        user = await self._leaving.user(tenant_id, subject)
        if not item.get("replayed"):
            until = held_until(holds_at(await read_settings(self._store, tenant_id), now), subject)
            if until is not None:
                await self._defer(item, "legal_hold", min(parse_rfc3339(until), now + AGAIN), request)
                return None
        if user is not None and await self._leaving.is_last_admin(user):
            await self._defer(item, "last_admin", now + AGAIN, request)
            return None
        email = user["email"] if user is not None else await self._last_email(tenant_id, subject)
        keys = item.get("keys", {}) if email is None else await self._keyed(tenant_id, email)
        begun = {"state": "running", "cause": None, "started_at": rfc3339(now), "keys": keys}
        return await self._save(look_again({**item, **begun, "pass": 1, "place": None}, rfc3339(now)))

    async def _keyed(self, tenant_id: str, email: str) -> dict[str, str]:
        """What finds a person's e-mail once the account is gone: see `Person`."""
        return {
            "directory_key": await self._directory.key(email),
            "email_key": " ".join(await self._index.every_email(tenant_id, email)),
            "platform_key": " ".join(await self._index.every_email(PLATFORM_TENANT, email)),
            "until": rfc3339(self._clock.now()),
        }

    async def _last_email(self, tenant_id: str, subject: str) -> str | None:
        """The e-mail of an account that was deleted: its last profile is sealed in the event."""
        wanted = EventFilter(types=("user.delete",), target=subject)
        found = await self._search.page(tenant_id, wanted, limit=1)
        for event in await self._search.shown_all(found.items):
            email: str | None = (event["personal"].get(subject, {}).get("last_profile") or {}).get("email")
            return email
        return None

    async def _defer(self, item: Item, cause: Cause, again: datetime, request: RequestContext) -> None:
        deferred = look_again({**item, "state": "deferred", "cause": cause}, rfc3339(again))
        if item["cause"] == cause:
            await self._save(deferred)
        else:
            await self._commit(item, deferred, "failure", cause, request)

    async def _pass(self, item: Item, until: datetime, request: RequestContext) -> Item:
        """Erase whatever there is, from where the last run got to. LastAdmin; _Interrupted."""
        person, counts = Person.of(item), dict(item["counts"])
        if item["place"] is None:
            item = await self._with_account_entries(item)
            person = Person.of(item)
            await self._keys.erase(person.tenant_id, person.subject)
            counts["accounts"] += await self._account(person, request)
            await self._others(person, counts)
            item = await self._save({**item, "counts": counts, "place": {"walk": 0}})
        place = item["place"]
        after = Cursor(place["value"], place["id"]) if "id" in place else None
        for number, walk in enumerate(walks(person)):
            if number < place["walk"]:
                continue
            while True:
                found, after = await self._trail.page(walk, person, after)
                for each in found:
                    await self._tombstones(person, each.persons)
                counts["events"] += await self._trail.erase(found, person)
                reached = {"walk": number, "value": after.value, "id": after.id} if after else {"walk": number + 1}
                cut_off = self._clock.now() >= until
                if found or after is not None or cut_off:
                    item = await self._save({**item, "counts": counts, "place": reached})
                if cut_off:
                    raise _Interrupted
                if after is None:
                    break
        return item

    async def _with_account_entries(self, item: Item) -> Item:
        """The request with all entries of an account that is still there: a rotation may have added one since."""
        rotating = len((await self._index.ring()).kept) > 1
        user = await self._leaving.user(item["tenant_id"], item["subject"]) if rotating and item["keys"] else None
        if user is None:
            return item
        key = await self._directory.key(user["email"])
        if key == item["keys"]["directory_key"]:
            return item
        return await self._save({**item, "keys": {**item["keys"], "directory_key": key}})

    async def _tombstones(self, person: Person, persons: frozenset[str]) -> None:
        """An invitation's key goes with its event; a stranger's is everybody's of that month."""
        for each in persons:
            if each != person.subject and not each.startswith(STRANGER):
                await self._keys.erase(person.tenant_id, each)

    async def _account(self, person: Person, request: RequestContext) -> bool:
        removed = await self._leaving.remove(person.tenant_id, person.subject, request)
        if person.directory_key is not None:
            await self._directory.release(person.directory_key, Entry(person.tenant_id, person.subject))
        return removed

    async def _others(self, person: Person, counts: dict[str, int]) -> None:
        async for item_id in self._copies.of_account(person):
            await self._copies.remove(person, item_id)
            counts["items"] += 1
        async for held in self._copies.held(person):
            counts["items"] += await self._copies.write(held)

    async def _next(self, item: Item, request: RequestContext) -> None:
        """After a pass: when the next one is, or that it was the last."""
        now, number, person = self._clock.now(), item["pass"], Person.of(item)
        if number == 1:
            await self._save(look_again({**item, "pass": 2, "place": None}, rfc3339(now + SETTLED)))
            return
        left = await self.check(person)
        if left:
            _log.error("erasure_incomplete", request_id=item["request_id"], tenant_id=item["tenant_id"], left=len(left))
            await self._save(look_again({**item, "place": None}, rfc3339(now + _SOON)))
        elif number == 2:
            last = rfc3339(now + LAST)
            done = {**item, "state": "executed", "executed_at": rfc3339(now), "pass": 3, "place": None}
            done |= {"work_at": last, "next_at": last}
            await self._commit(item, done, "success", "executed", request)
        else:
            steps = [replace(over(item), if_match=item["_etag"]), delete(marker_key(item["subject"]))]
            await self._store.batch(IDENTITY, (item["tenant_id"],), steps)

    async def _left(self, person: Person) -> AsyncIterator[str]:
        tenant_id, subject = person.tenant_id, person.subject
        if await self._keys.stored(tenant_id, subject) != "tombstone":
            yield f"subject_keys: the key of {subject}"
        if await self._leaving.user(tenant_id, subject) is not None:
            yield f"identity: {user_key(subject)}"
        if await self._directory.tenant_of(subject) == tenant_id:
            yield f"directory: {user_key(subject)}"
        if person.directory_key is not None and await self._directory.is_of(person.directory_key, subject):
            yield f"directory: {person.directory_key}"
        async for item_id in self._copies.of_account(person):
            yield f"identity: {item_id}"
        async for held in self._copies.held(person):
            yield f"{held.container.name}: {held.item['id']}"
        async for event_id in self._trail.left(person):
            yield f"audit_events: {event_id}"

    async def _save(self, item: Item) -> Item:
        return await self._store.replace(IDENTITY, (item["tenant_id"],), item, if_match=item["_etag"])

    async def _commit(self, before: Item, after: Item, outcome: str, reason: str, request: RequestContext) -> None:
        event = PrivacyErasure(request_id=before["request_id"], counts=after["counts"], due_at=after["due_at"])
        draft = Draft(
            before["tenant_id"],
            event,
            request,
            outcome="success" if outcome == "success" else "failure",
            reason=reason,
            actor=SYSTEM,
            target=Target("user", before["subject"]),
        )
        steps = [replace(after, if_match=before["_etag"])]
        await self._outbox.commit(IDENTITY, before["tenant_id"], steps, [await self._recorder.finish(draft)])
