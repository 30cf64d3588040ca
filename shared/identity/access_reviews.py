"""Access reviews: administrators look at what each of some users may do, and decide whether that stays so.

A review is recorded, not carried out: whose access changes is changed by its own calls, with events of their own. The
trail keeps how many there were; the review beside it keeps each decision, its note sealed under the person.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.audit.events.review import ReviewComplete
from shared.audit.model import Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.canonical import canonical
from shared.core.clock import Clock, rfc3339
from shared.core.errors import FieldError, Invalid
from shared.core.ids import IdFactory
from shared.identity.model import Principal, user_key
from shared.privacy.boxes import KeyOfBoxDamaged, PersonalBox
from shared.privacy.guards import Guards
from shared.privacy.secrets import SecretsError
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore, In, Item, Query, create, find_item
from shared.storage.errors import Conflict

KIND = "access_review"
KEY_SECONDS = 86_400
MOST_FAULTS = 20
_AT_ONCE = 100

type Decided = Literal["keep", "change", "remove"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one user's access."""

    user_id: str
    decision: Decided
    note: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Review:
    """Whose access was looked at, and what was decided."""

    population: Sequence[str]
    decisions: Sequence[Decision]

    @property
    def digest(self) -> str:
        """SHA-256, hex, of the canonical JSON `[{"decision": …, "user_id": …}]`, by user id: what does not depend on
        the order in which anybody wrote it down, nor on notes, which can be erased."""
        told = [{"user_id": each.user_id, "decision": each.decision} for each in self._sorted()]
        return hashlib.sha256(canonical(told)).hexdigest()

    @property
    def whole_digest(self) -> str:
        """SHA-256, hex, of everything, notes and order included: whether two requests say the same."""
        told = [[each.user_id, each.decision, each.note] for each in self.decisions]
        return hashlib.sha256(canonical([list(self.population), told])).hexdigest()

    def _sorted(self) -> list[Decision]:
        return sorted(self.decisions, key=lambda each: each.user_id)


def access_review_key(review_id: str) -> str:
    """The id of a review's item in its tenant's partition."""
    return f"{KIND}|{review_id}"


def shown_access_review(item: Item) -> dict[str, Any]:
    """A review as the API shows it: without what was decided about whom."""
    names = ("completed_by", "population", "keep", "change", "remove", "digest")
    return {"id": item["review_id"], "completed_at": item["created_at"], **{name: item[name] for name in names}}


class AccessReviews:
    """Takes the access reviews of the caller's tenant."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        guards: Guards,
        box: PersonalBox,
        clock: Clock,
        ids: IdFactory,
        retention_days: int,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._guards = guards
        self._box = box
        self._clock = clock
        self._ids = ids
        self._retention_seconds = retention_days * 86_400

    async def complete(
        self, principal: Principal, review: Review, idempotency_key: str | None, request: RequestContext
    ) -> Item:
        """Record a review that is complete; it is kept for as long as the trail. Invalid (422), naming each place, for
        a population that names anybody twice or who is no user of the tenant, and for decisions that are not one for
        each of them; 422 idempotency_key_reused for a key that came with another review within 24 hours."""
        _check(review)
        scope = f"{principal.tenant_id}|{principal.user_id}|{idempotency_key}"
        if idempotency_key is not None:
            claimed = await self._guards.held("review_key", scope, KEY_SECONDS)
            held = None if claimed is None else await self._held(principal.tenant_id, _same(review, claimed))
            if held is not None:
                return held
        await self._check_population(principal.tenant_id, review.population)
        review_id = self._ids.new()
        if idempotency_key is not None:
            value = {"digest": review.whole_digest, "id": review_id}
            review_id = _same(review, (await self._guards.claim("review_key", scope, value, KEY_SECONDS)).value)
        item = await self._item(principal, review, review_id)
        event = ReviewComplete(digest=item["digest"], **{name: item[name] for name in _COUNTS})
        draft = Draft(
            principal.tenant_id,
            event,
            request,
            actor=principal.actor,
            target=Target(KIND, review_id),
            person=principal.person,
            record_count=item["population"],
        )
        finished = await self._recorder.finish(draft)
        try:
            await self._outbox.commit(IDENTITY, principal.tenant_id, [create(item)], [finished])
        except Conflict:  # the same request, under the same key, was quicker
            return await self._store.read(IDENTITY, (principal.tenant_id,), item["id"])
        return item

    async def _held(self, tenant_id: str, review_id: str) -> Item | None:
        """The review that an earlier request under the same key recorded, if it came so far."""
        return await find_item(self._store, IDENTITY, (tenant_id,), access_review_key(review_id))

    async def _check_population(self, tenant_id: str, population: Sequence[str]) -> None:
        known: set[str] = set()
        for start in range(0, len(population), _AT_ONCE):
            keys = tuple(user_key(each) for each in population[start : start + _AT_ONCE])
            query = Query((In("id", keys),), limit=_AT_ONCE, fields=("id", "kind"))
            found = await self._store.query(IDENTITY, (tenant_id,), query)
            known |= {item["id"] for item in found.items if item["kind"] == "user"}
        _refuse(
            FieldError(f"population.{place}", "unknown", "is no user of the organization")
            for place, each in enumerate(population)
            if user_key(each) not in known
        )

    async def _item(self, principal: Principal, review: Review, review_id: str) -> Item:
        now, tenant_id = self._clock.now(), principal.tenant_id
        noted = [each for each in review.decisions if each.note is not None]
        await self._box.prepare(tenant_id, [each.user_id for each in noted], sealing=True)
        notes: Item = {}
        for each in noted:
            try:
                sealed = await self._box.seal(tenant_id, each.user_id, review_id, {"note": each.note})
            except KeyOfBoxDamaged as error:
                raise SecretsError(str(error)) from None  # what cannot be sealed is not kept at all
            if sealed is not None:
                notes[each.user_id] = sealed.box
        counts = Counter(each.decision for each in review.decisions)
        return {
            "id": access_review_key(review_id),
            "tenant_id": tenant_id,
            "kind": KIND,
            "review_id": review_id,
            "completed_by": principal.user_id,
            "created_at": rfc3339(now),
            "population": len(review.population),
            "keep": counts["keep"],
            "change": counts["change"],
            "remove": counts["remove"],
            "decisions": [{"user_id": each.user_id, "decision": each.decision} for each in review.decisions],
            "notes": notes,
            "digest": review.digest,
            "ttl": self._retention_seconds,
        }


def _same(review: Review, claimed: dict[str, str]) -> str:
    """The id that is claimed under a key. Invalid (422) when it is that of another review."""
    if claimed["digest"] != review.whole_digest:
        detail = "This Idempotency-Key came with another body within the last 24 hours."
        raise Invalid("idempotency_key_reused", detail)
    return claimed["id"]


_COUNTS = ("population", "keep", "change", "remove")


def _check(review: Review) -> None:
    """That the decisions are one for each of the population, which names nobody twice."""
    places: dict[str, int] = {}
    faults = []
    for place, user_id in enumerate(review.population):
        if places.setdefault(user_id, place) != place:
            faults.append(FieldError(f"population.{place}", "repeated", "is there twice"))
    decided: set[str] = set()
    for place, each in enumerate(review.decisions):
        at = f"decisions.{place}.user_id"
        if each.user_id not in places:
            faults.append(FieldError(at, "not_in_population", "is not in the population"))
        elif each.user_id in decided:
            faults.append(FieldError(at, "repeated", "has a decision already"))
        decided.add(each.user_id)
    faults += [
        FieldError(f"population.{place}", "undecided", "has no decision")
        for user_id, place in places.items()
        if user_id not in decided
    ]
    _refuse(faults)


def _refuse(faults: Any) -> None:
    found = tuple(faults)[:MOST_FAULTS]
    if found:
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=found)
