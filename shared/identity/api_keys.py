"""API keys: how programs call, and which calls they may make.

A key belongs to its tenant, not to whoever made it, and does what its scopes say and nothing else. It is shown once and
stored as a hash; revoked it is deleted.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from shared.audit.events.apikey import ApiKeyCreate, ApiKeyRevoke
from shared.audit.model import AuditEvent, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import FieldError, Forbidden, Invalid
from shared.core.ids import IdFactory
from shared.identity.access import Access
from shared.identity.approvals import NOT_SAID, Approval, check_approval
from shared.identity.attempted import Attempt, nothing
from shared.identity.model import TENANT_ITEM, Principal, ServicePrincipal
from shared.identity.secret_links import API_KEY, new_secret, read_secret
from shared.identity.tokens import TokenRejected
from shared.storage.containers import IDENTITY
from shared.storage.documents import Cursor, DocumentStore, Eq, Item, Page, PatchSet, Query, create, delete
from shared.storage.errors import NotFound, PreconditionFailed
from shared.telemetry import get_log

_log = get_log(__name__)

KIND = "api_key"
EVENTS_WRITE = "events:write"
"""The scope of keys that send events."""
_USED_EVERY = timedelta(hours=1)


def api_key_key(key_id: str) -> str:
    """The id of an API key's item in its tenant's partition."""
    return f"{KIND}|{key_id}"


def shown_api_key(item: Item) -> dict[str, Any]:
    """An API key as the API shows it: never its secret."""
    names = ("name", "scopes", "created_at", "expires_at", "last_used_at")
    of_events = {name: item.get(name) for name in ("last_sent_at", "silent_since")}
    return {"id": item["key_id"], **{name: item[name] for name in names}, **of_events}


class ApiKeys:
    """Makes, lists, revokes and checks API keys."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        access: Access,
        clock: Clock,
        ids: IdFactory,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._access = access
        self._clock = clock
        self._ids = ids

    async def make(
        self,
        principal: Principal,
        name: str,
        scopes: Sequence[str],
        expires_at: datetime | None,
        request: RequestContext,
        approval: Approval = NOT_SAID,
    ) -> tuple[Item, str]:
        """A new key and its secret, which nobody can see again. Invalid (422) for one that has expired already, and
        for an approver who cannot be one."""
        key_id, now = self._ids.new(), self._clock.now()
        if expires_at is not None and expires_at <= now:
            past = FieldError("expires_at", "past", "must be in the future")
            raise Invalid("invalid_request", "Some fields are not as they must be.", errors=(past,))
        await check_approval(self._store, principal, approval)
        text, secret_hash = new_secret(API_KEY, principal.tenant_id, key_id)
        expires = None if expires_at is None else rfc3339(expires_at)
        item: Item = {
            "id": api_key_key(key_id),
            "tenant_id": principal.tenant_id,
            "kind": KIND,
            "key_id": key_id,
            "name": name,
            "scopes": sorted(set(scopes)),
            "secret_hash": secret_hash,
            "created_by": principal.user_id,
            "created_at": rfc3339(now),
            "expires_at": expires,
            "last_used_at": None,
            "last_sent_at": None,
            "silent_since": None,
        }
        event = ApiKeyCreate(scopes=tuple(item["scopes"]), expires_at=expires, **approval.attributes)
        finished = await self._recorder.finish(_by(principal, event, key_id, request))
        await self._outbox.commit(IDENTITY, principal.tenant_id, [create(item)], [finished])
        return item, text

    async def page(self, tenant_id: str, *, limit: int, after: Cursor | None) -> Page:
        """One page of a tenant's keys, newest first; expired ones are among them until they are revoked."""
        query = Query((Eq("kind", KIND),), order_by="created_at", descending=True, limit=limit, after=after)
        return await self._store.query(IDENTITY, (tenant_id,), query)

    async def revoke(self, principal: Principal, key_id: str, request: RequestContext) -> None:
        """End a key at once. NotFoundError (404), audited."""
        try:
            held = await self._store.read(IDENTITY, (principal.tenant_id,), api_key_key(key_id))
            event = ApiKeyRevoke(scopes=tuple(held["scopes"]))
            finished = await self._recorder.finish(_by(principal, event, key_id, request))
            await self._outbox.commit(IDENTITY, principal.tenant_id, [delete(held["id"])], [finished])
        except NotFound:
            raise await self._access.unknown_id(principal, KIND, key_id, request) from None

    async def authenticate(self, text: str, request: RequestContext) -> ServicePrincipal:
        """The program behind a key. Unauthenticated (401), counted, for one that does not hold."""
        try:
            return await self._check(text)
        except TokenRejected as rejected:
            raise await self._access.rejected(rejected.reason, request) from None

    async def _check(self, text: str) -> ServicePrincipal:
        link = read_secret(API_KEY, text)
        if link is None:
            raise TokenRejected("malformed")
        partition, now = (link.tenant_id,), self._clock.now()
        try:
            held = await self._store.read(IDENTITY, partition, api_key_key(link.record_id))
            if not link.opens(held):
                raise TokenRejected("api_key_unknown")
            if held["expires_at"] is not None and held["expires_at"] <= rfc3339(now):
                raise TokenRejected("expired")
            tenant = await self._store.read(IDENTITY, partition, TENANT_ITEM)
            if tenant["status"] != "active":
                raise TokenRejected("tenant_suspended")
            await self._used(held, now)
        except NotFound:
            raise TokenRejected("api_key_unknown") from None
        return ServicePrincipal(
            held["key_id"],
            link.tenant_id,
            frozenset(held["scopes"]),
            last_sent_at=held.get("last_sent_at"),
            silent=held.get("silent_since") is not None,
        )

    async def _used(self, held: Item, now: datetime) -> None:
        """Note that the key is in use, to the hour: a write per call would cost more than the call."""
        last = held["last_used_at"]
        if last is not None and last > rfc3339(now - _USED_EVERY):
            return
        used = [PatchSet("last_used_at", rfc3339(now))]
        try:
            await self._store.patch(IDENTITY, (held["tenant_id"],), held["id"], used, if_match=held["_etag"])
        except PreconditionFailed:
            _log.info("api_key_use_noted_by_another_call", key_id=held["key_id"])

    async def require_scope(
        self, caller: ServicePrincipal, scope: str | None, request: RequestContext, attempt: Attempt = nothing
    ) -> None:
        """Forbidden (403), audited as access.denied, unless the key may do what needs `scope`; None: no key may."""
        if scope is not None and scope in caller.scopes:
            return
        await self._access.denied(caller, "scope", request, attempt(), required_scope=scope)
        needed = f"This call needs the scope {scope}." if scope else "This call is not for API keys."
        raise Forbidden("forbidden", needed)


def _by(principal: Principal, event: AuditEvent, key_id: str, request: RequestContext) -> Draft:
    target = Target(KIND, key_id)
    return Draft(principal.tenant_id, event, request, actor=principal.actor, target=target, person=principal.person)
