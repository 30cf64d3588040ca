"""The register of requests: taken, withdrawn, refused, extended, listed, and told of when they are overdue.

What was requested is carried out by `erasure.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from shared.audit.events.alert import AlertRaise
from shared.audit.events.privacy import PrivacyErasure
from shared.audit.model import SYSTEM, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, months_after, parse_rfc3339, rfc3339
from shared.core.errors import Clash, Unready, VersionConflict
from shared.core.ids import IdFactory
from shared.detection.alerts import OVERDUE, overdue_alert
from shared.identity.access import Access
from shared.identity.leaving import Leaving
from shared.identity.model import ADMINS, Principal, Role
from shared.identity.own_account import OwnAccount
from shared.identity.ranks import refusal, sufficient
from shared.privacy.person_keys import PersonKeys
from shared.storage.containers import ALERTS, IDENTITY
from shared.storage.documents import (
    BatchOperation,
    Cursor,
    DocumentStore,
    Eq,
    Filter,
    Item,
    Page,
    Query,
    create,
    delete,
    find_item,
    replace,
    upsert,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.storage.versions import check_version, entity_tag
from shared.subject_rights.model import (
    DUE_MONTHS,
    ERASURE,
    EXTENDED_MONTHS,
    KIND,
    OPEN,
    WAITING,
    State,
    is_overdue,
    look_again,
    marker,
    marker_key,
    new_request,
    over,
    request_key,
    shown,
)
from shared.telemetry import get_log

_log = get_log(__name__)

_RACES = 20
_LAST = (
    "You are the last active tenant_admin: make another one first, or have the operator close the tenant.",
    "You are the last active system_admin: have the operator make another one first.",
)

type Decision = Literal["extended", "refused"]
type _Changed = tuple[Item, list[BatchOperation]]
"""A request as it is to be, and the steps beside it."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request to be: whose it is, who makes it, and why."""

    principal: Principal
    target: Target
    reason: str | None
    request: RequestContext
    request_id: str

    def draft(self, outcome: str, reason: str, due_at: str | None = None) -> Draft:
        """Its event."""
        event = PrivacyErasure(request_id=self.request_id, counts={}, due_at=due_at, reason_text=self.reason)
        return Draft(
            self.principal.tenant_id,
            event,
            self.request,
            outcome="success" if outcome == "success" else "failure",
            reason=reason,
            actor=self.principal.actor,
            target=self.target,
            person=self.principal.person,
        )


class SubjectRequests:
    """Requests of persons."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        access: Access,
        own_account: OwnAccount,
        leaving: Leaving,
        keys: PersonKeys,
        clock: Clock,
        ids: IdFactory,
        cooling_off: timedelta,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._access = access
        self._own_account = own_account
        self._leaving = leaving
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._cooling_off = cooling_off

    async def ask_own(self, principal: Principal, reason: str, password: str, request: RequestContext) -> Item:
        """Ask to be erased; the request, the one that is open if there is one.

        Forbidden (403 wrong_password), AccountLocked (423): as for a new password. Clash (409 last_admin) for the last
        active tenant_admin, or system_admin. All audited.
        """
        target = Target("user", principal.user_id, principal.email)
        asked = _Asked(principal, target, reason, request, self._ids.new())
        unchanged = await self._own_account.prove(principal, password, lambda why: asked.draft("failure", why), request)
        if await self._leaving.is_last_admin(principal.user):
            await self._recorder.record(asked.draft("failure", "last_admin"))
            raise Clash("last_admin", _LAST[principal.role is Role.SYSTEM_ADMIN])
        return await self._open(asked, unchanged)

    async def ask_for(self, principal: Principal, user_id: str, reason: str, request: RequestContext) -> Item:
        """Ask to erase another person of the tenant, with an account, or known by its id from the trail.

        Forbidden (403) by rank, as for a deletion; NotFoundError (404) for an id that nothing personal is kept of.
        """
        user = await self._leaving.user(principal.tenant_id, user_id)
        if user is None:
            if await self._keys.stored(principal.tenant_id, user_id) != "key":
                raise await self._access.unknown_id(principal, "user", user_id, request)
            return await self._open(_Asked(principal, Target("user", user_id), reason, request, self._ids.new()))
        role, target = Role(user["role"]), Target("user", user_id, user["email"])
        oneself = user_id == principal.user_id
        refused = refusal(principal.role, role, ["deletion"], oneself=oneself)
        if refused is not None:
            required = sufficient(role, ["deletion"]) if refused == "role" else None
            tried = {"erasure": True, "reason": reason}
            raise await self._access.refused(
                principal, target, refused, tried, request, target_role=role.value, required=required
            )
        return await self._open(_Asked(principal, target, reason, request, self._ids.new()))

    async def replay(
        self, tenant_id: str, subject: str, request_id: str, received_at: str, draft: Draft, *, left: bool
    ) -> bool:
        """Keep the request of an erasure that a restore undid, to be carried out at once; False when it is there, the
        person's key is a tombstone, and nothing is `left` of them: it was not undone. `draft`: the event that says
        so."""
        held = await self._read(tenant_id, request_id)
        if held is not None and not left and await self._keys.stored(tenant_id, subject) == "tombstone":
            return False
        event = await self._recorder.finish(draft)
        item = new_request(tenant_id, subject, None, event, request_id, parse_rfc3339(received_at))
        now = rfc3339(self._clock.now())
        item |= {"replayed": True, "overdue_at": now, "work_at": now, "next_at": now}
        if held is not None and "keys" in held:  # the account is gone: nobody else knows the e-mail any more
            item["keys"] = held["keys"]
        step = create(item) if held is None else replace(item, if_match=held["_etag"])
        await self._outbox.commit(IDENTITY, tenant_id, [step, upsert(marker(item))], [event])
        return True

    async def page(self, principal: Principal, *, limit: int, after: Cursor | None) -> Page:
        """One page of requests, newest first: the tenant's for administrators, the own ones for everybody else."""
        where: list[Filter] = [Eq("kind", KIND)]
        if principal.role not in ADMINS:
            where.append(Eq("subject", principal.user_id))
        query = Query(tuple(where), order_by="created_at", descending=True, limit=limit, after=after)
        return await self._store.query(IDENTITY, (principal.tenant_id,), query)

    def shown(self, item: Item) -> dict[str, Any]:
        """A request as the API shows it."""
        return shown(item, self._clock.now())

    async def withdraw(self, principal: Principal, request_id: str, request: RequestContext) -> None:
        """Take back a request that the caller made. NotFoundError (404) for any other; Clash (409 request_running)
        once it is carried out, or over."""

        def change(item: Item) -> _Changed:
            return _closed(item, "withdrawn", rfc3339(self._clock.now()))

        await self._change(principal, request_id, change, "withdrawn", None, request)

    async def decide(
        self,
        principal: Principal,
        request_id: str,
        decision: Decision,
        reason: str,
        if_match: frozenset[str] | None,
        request: RequestContext,
    ) -> Item:
        """Refuse a request, or extend its time by two months; the request as it is then.

        NotFoundError (404); VersionConflict (412); Clash (409): request_running, request_extended, request_overdue.
        """

        def change(item: Item) -> _Changed:
            check_version(entity_tag(item), if_match)
            if decision == "refused":
                return _closed(item, "refused", rfc3339(self._clock.now()))
            return self._extended(item)

        return await self._change(principal, request_id, change, decision, reason, request)

    def _extended(self, item: Item) -> _Changed:
        if item["state"] not in OPEN or item["extended"]:
            raise Clash("request_extended", "It is over, or was extended already.")
        if is_overdue(item, self._clock.now()):
            raise Clash("request_overdue", "The person had to be told of an extension within the first month.")
        due_at = rfc3339(months_after(parse_rfc3339(item["created_at"]), EXTENDED_MONTHS))
        return look_again({**item, "extended": True, "due_at": due_at}, item["work_at"]), []

    async def tell_overdue(self, item: Item, request: RequestContext) -> Item:
        """Raise an alert, once, for a request that is overdue; the request as it is then."""
        if "overdue_at" in item or not is_overdue(item, self._clock.now()):
            return item
        tenant_id, now = item["tenant_id"], rfc3339(self._clock.now())
        alert = overdue_alert(tenant_id, item["subject"], item["event_id"], item["due_at"], now)
        event = AlertRaise(pattern=OVERDUE, severity=alert["severity"])
        target = Target("alert", alert["id"])
        draft = Draft(tenant_id, event, request, actor=SYSTEM, target=target, severity=alert["severity"])
        try:
            await self._outbox.commit(ALERTS, tenant_id, [create(alert)], [await self._recorder.finish(draft)])
        except Conflict:
            _log.info("overdue_alert_known", alert_id=alert["id"])  # of a run that did not get to note it
        told = look_again({**item, "overdue_at": now}, item["work_at"])
        return await self._store.replace(IDENTITY, (tenant_id,), told, if_match=item["_etag"])

    async def _open(self, asked: _Asked, unchanged: Sequence[BatchOperation] = ()) -> Item:
        """Keep a request with its event, unless one of the person is open: then that one."""
        principal, now = asked.principal, self._clock.now()
        tenant_id, subject = principal.tenant_id, asked.target.id
        due_at = rfc3339(months_after(now, DUE_MONTHS))
        event = await self._recorder.finish(asked.draft("success", "requested", due_at))
        item = new_request(tenant_id, subject, principal.user_id, event, asked.request_id, now)
        if self._cooling_off:
            until = now + self._cooling_off
            cooling = {**item, "state": "cooling_off", "cooling_off_until": rfc3339(until)}
            item = look_again(cooling, rfc3339(until))
        try:
            await self._outbox.commit(IDENTITY, tenant_id, [create(item), create(marker(item)), *unchanged], [event])
        except (Conflict, PreconditionFailed, NotFound):
            held = await self._open_one(tenant_id, subject)
            if held is None:  # the failures of the account changed at that moment
                raise VersionConflict("version_conflict", "The account was changed at the same moment.") from None
            return held
        return item

    async def _open_one(self, tenant_id: str, subject: str) -> Item | None:
        try:
            held = await self._store.read(IDENTITY, (tenant_id,), marker_key(subject))
        except NotFound:
            return None
        return await self._read(tenant_id, held["request_id"])

    async def _change(
        self,
        principal: Principal,
        request_id: str,
        change: Callable[[Item], _Changed],
        what: Decision | Literal["withdrawn"],
        reason: str | None,
        request: RequestContext,
    ) -> Item:
        outcome = "failure" if what == "refused" else "success"
        for _ in range(_RACES):
            item = await self._read(principal.tenant_id, request_id)
            if item is None or (what == "withdrawn" and item["by"] != principal.user_id):
                raise await self._access.unknown_id(principal, KIND, request_id, request)
            if item["about"] != ERASURE:
                raise Clash("request_running", "An export is carried out while it is asked for.")
            changed, beside = change(item)
            asked = _Asked(principal, Target("user", item["subject"]), reason, request, request_id)
            event = await self._recorder.finish(asked.draft(outcome, what, changed["due_at"]))
            steps = [replace(changed, if_match=item["_etag"]), *beside]
            try:
                await self._outbox.commit(IDENTITY, principal.tenant_id, steps, [event])
            except (PreconditionFailed, NotFound):
                continue  # the job, or somebody else, changed it meanwhile
            return await self._store.read(IDENTITY, (principal.tenant_id,), item["id"])
        raise Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)

    async def _read(self, tenant_id: str, request_id: str) -> Item | None:
        return await find_item(self._store, IDENTITY, (tenant_id,), request_key(request_id))


def _closed(item: Item, state: State, now: str) -> _Changed:
    """A request that is over without anything having been erased. Clash (409 request_running) for another one."""
    if item["state"] not in WAITING:
        raise Clash("request_running", "It is carried out already, or over.")
    closed = {**over(item), "state": state, "cause": None, "closed_at": now}
    return closed, [delete(marker_key(item["subject"]))]
