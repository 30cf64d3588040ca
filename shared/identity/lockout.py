"""Lockout: so many bad passwords or factors within a time close an account to signing in for a while.

Failures of an account are counted in an item beside it, in the batch that holds their event. E-mails without an account
lock in the same way, by the same calls of the store, in the tenant `platform` under a keyed hash (docs/adr/0016). While
locked nothing is counted, and no answer depends on the password.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.audit.events.auth import AuthAccountLocked, AuthLogin
from shared.audit.model import Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.errors import AccountLocked, Unready
from shared.identity.attempts import Counted, Failures
from shared.identity.model import attempts_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, delete, replace
from shared.storage.errors import Conflict, NotFound, PreconditionFailed

LOCKED = "locked"
STRANGER = "stranger"
"""The kind of what stands for an e-mail without an account: `user_id`, `email`, and the `person` of its events."""
_KEPT_SECONDS = 86_400
_RACES = 20

type MakeDraft = Callable[[int, str | None], Draft]
"""The event of a failure, from the failures since the last success and the reason that goes before the event's own."""


@dataclass(frozen=True, slots=True)
class LockoutRules:
    """So many `failures` within `window` lock for `lock`."""

    failures: int
    window: timedelta
    lock: timedelta


def locked_until(attempts: Item | None, now: datetime) -> datetime | None:
    """Until when the account of these attempts is locked, or None."""
    until = attempts.get("locked_until") if attempts else None
    return parse_rfc3339(until) if until and until > rfc3339(now) else None


def after_failure(attempts: Item | None, user: Item, now: datetime, rules: LockoutRules) -> Item:
    """The attempts of a user after one more failure. `count`: since the last success; `recent`: those that may lock."""
    since = rfc3339(now - rules.window)
    recent = [at for at in (attempts or {}).get("recent", []) if at > since] + [rfc3339(now)]
    locks = len(recent) >= rules.failures
    return {
        "id": attempts_key(user["user_id"]),
        "tenant_id": user["tenant_id"],
        "kind": "attempts",
        "count": 1 + int(attempts["count"] if attempts else 0),
        "recent": [] if locks else recent,
        "locked_until": rfc3339(now + rules.lock) if locks else None,
        "ttl": max(_KEPT_SECONDS, int((rules.window + rules.lock).total_seconds())),
    }


class Lockout:
    """Counts failures and says what is locked."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        clock: Clock,
        rules: LockoutRules,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._clock = clock
        self._rules = rules

    async def failures(self, tenant_id: str, user_id: str) -> Failures:
        """The failures of a user since the last success."""
        try:
            held = await self._store.read(IDENTITY, (tenant_id,), attempts_key(user_id))
        except NotFound:
            return Failures(0, None)
        return Failures(int(held["count"]), held)

    def until(self, failures: Failures) -> datetime | None:
        """Until when the account of these failures is locked, or None."""
        return locked_until(failures.item, self._clock.now())

    async def refuse(self, until: datetime, event: Draft) -> AccountLocked:
        """The 423 for an attempt on what is locked, after auditing it."""
        await self._recorder.record(event)
        return self.refusal(until)

    def refusal(self, until: datetime) -> AccountLocked:
        """The 423 (account_locked) that says when to come back."""
        seconds = math.ceil((until - self._clock.now()).total_seconds())
        return AccountLocked("account_locked", "Too many failures.", retry_after_seconds=max(1, seconds))

    async def failed(self, user: Item, failures: Failures, make: MakeDraft, request: RequestContext) -> None:
        """Count a failure of a user, of whom so many were read before, with its event; lock if it was one too many.

        AccountLocked (423), audited, when the account was locked meanwhile. Unready (503) when too many fail at once.
        """
        tenant_id = user["tenant_id"]
        for _ in range(_RACES):
            until = self.until(failures)
            if until is not None:
                raise await self.refuse(until, make(failures.count, LOCKED))
            counted = await self.counted(user, failures, request)
            events = [await self._recorder.finish(make(counted.count, None)), *counted.events]
            try:
                await self._outbox.commit(IDENTITY, tenant_id, counted.operations, events)
            except (Conflict, PreconditionFailed, NotFound):
                failures = await self.failures(tenant_id, user["user_id"])
                continue  # counted by another attempt meanwhile
            return
        raise Unready("store_unavailable", "Too many attempts on this account at once.", retry_after_seconds=1)

    async def read(self, user: Item, request: RequestContext) -> Failures:
        """The failures of a user, for a second factor. AccountLocked (423), audited, while it is locked."""
        failures = await self.failures(user["tenant_id"], user["user_id"])
        until = self.until(failures)
        if until is not None:
            make = failed_login(user, user["email"], None, request)
            raise await self.refuse(until, make(failures.count, LOCKED))
        return failures

    def cleared(self, user: Item, failures: Failures) -> Sequence[BatchOperation]:
        """The steps that forget them, unless another attempt was counted meanwhile."""
        held = failures.item
        return self._none_since(user) if held is None else [delete(held["id"], if_match=held["_etag"])]

    def unchanged(self, user: Item, failures: Failures) -> Sequence[BatchOperation]:
        """The steps that change nothing, and fail when another attempt was counted meanwhile."""
        held = failures.item
        return self._none_since(user) if held is None else [replace(held, if_match=held["_etag"])]

    def _none_since(self, user: Item) -> Sequence[BatchOperation]:
        """Steps that fail when there are failures after all: what is not there has no version that could be named."""
        none: Item = {"id": attempts_key(user["user_id"]), "tenant_id": user["tenant_id"], "kind": "attempts", "ttl": 1}
        return [create(none), delete(none["id"])]

    async def counted(self, user: Item, failures: Failures, request: RequestContext) -> Counted:
        """One more; with the event of the lock, when this one locks the account."""
        held = failures.item
        item = after_failure(held, user, self._clock.now(), self._rules)
        step = create(item) if held is None else replace(item, if_match=held["_etag"])
        locks = [await self._recorder.finish(_locked(user, item, request))] if item["locked_until"] else []
        return Counted(item["count"], [step], locks)


def _locked(user: Item, counted: Item, request: RequestContext) -> Draft:
    event = AuthAccountLocked(attempt_count=counted["count"], locked_until=counted["locked_until"])
    if user["kind"] == STRANGER:
        return Draft(
            user["tenant_id"],
            event,
            request,
            reason="unknown_account",
            person=user["person"],
            email_typed=user["email"],
        )
    target = Target("user", user["user_id"], user["email"])
    return Draft(user["tenant_id"], event, request, target=target, person=user["user_id"])


def failed_login(user: Item, email: str, reason: str | None, request: RequestContext) -> MakeDraft:
    """How the event of a failed sign-in is made."""
    stranger = user["kind"] == STRANGER

    def make(attempt_count: int, instead: str | None) -> Draft:
        return Draft(
            user["tenant_id"],
            AuthLogin(attempt_count=attempt_count),
            request,
            outcome="failure",
            reason=instead or reason,
            target=None if stranger else Target("user", user["user_id"], user["email"]),
            person=user["person"] if stranger else user["user_id"],
            email_typed=email,
        )

    return make
