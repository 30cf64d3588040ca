"""A session after it was opened: renewed by its refresh token, listed and ended by its user.

A refresh token is `kr_<tenant>.<session>.<family>.<secret>`. The family stays for the life of the session, the secret
is good once. So an old token is known for what it is without keeping any: its family is right, its secret is not.
"""

import hmac
import re
from collections.abc import AsyncIterator
from dataclasses import replace as changed
from datetime import datetime

from shared.audit.events.auth import AuthTokenRefresh
from shared.audit.events.session import SessionRevoke
from shared.audit.model import Actor, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock
from shared.core.errors import Unauthenticated, Unready
from shared.identity.access import Access
from shared.identity.model import TENANT_ITEM, Principal, Tokens, session_key, user_key
from shared.identity.secret_links import hash_of
from shared.identity.sessions import Sessions, holds
from shared.storage.containers import IDENTITY
from shared.storage.documents import Cursor, DocumentStore, Eq, Item, Page, Query, delete, find_item, pages, replace
from shared.storage.errors import NotFound, PreconditionFailed

MAX_TOKEN_LENGTH = 512
_RACES = 10
_FORM = re.compile(r"kr_([A-Za-z0-9-]{1,64})\.([0-9a-f-]{36})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})")


class SessionLife:
    """Renews, lists and ends sessions."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        access: Access,
        sessions: Sessions,
        clock: Clock,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._access = access
        self._sessions = sessions
        self._clock = clock

    async def refresh(self, token: str, request: RequestContext) -> Tokens:
        """New tokens for a refresh token, which is used up. Unauthenticated (401 invalid_token), audited, for any that
        does not hold; one that was used before ends its session."""
        form = _FORM.fullmatch(token) if len(token) <= MAX_TOKEN_LENGTH else None
        if form is None:
            raise await self._access.rejected("malformed", request)
        tenant_id, session_id, family, secret = form.groups()
        session = await self._read(tenant_id, session_key(session_id))
        if session is None:
            raise await self._access.rejected("session_ended", request)
        if not _is(family, session["family_hash"]):
            raise await self._access.rejected("bad_signature", request)
        request = changed(request, session_id=session_id)
        user = await self._read(tenant_id, user_key(session["user_id"]))
        tenant = await self._read(tenant_id, TENANT_ITEM)
        if user is None or tenant is None:
            raise await self._access.rejected("session_ended", request)
        if not _is(secret, session["refresh_hash"]):
            raise await self._reused(session, user, request)
        now = self._clock.now()
        if not holds(session, user, now):
            raise await self._refused(user, "expired", request)
        if not user["status"] == tenant["status"] == "active":
            raise await self._refused(user, "suspended", request)
        return await self._renewed(session, family, user, now, request)

    async def _renewed(self, session: Item, family: str, user: Item, now: datetime, request: RequestContext) -> Tokens:
        event = await self._recorder.finish(_draft(user, "success", None, request))
        for _ in range(_RACES):
            following, tokens = await self._sessions.renew(session, family, now)
            step = replace(following, if_match=session["_etag"])
            try:
                await self._outbox.commit(IDENTITY, session["tenant_id"], [step], [event])
            except (PreconditionFailed, NotFound):
                current = await self._read(session["tenant_id"], session["id"])
                if current is None:  # ended meanwhile
                    raise await self._refused(user, "expired", request) from None
                if current["refresh_hash"] != session["refresh_hash"]:  # the same token at the same moment
                    raise await self._reused(current, user, request) from None
                session = current  # a second factor was shown in it
            else:
                return tokens
        raise Unready("store_unavailable", "Too many changes of this session at once.", retry_after_seconds=1)

    async def _reused(self, session: Item, user: Item, request: RequestContext) -> Unauthenticated:
        """The 401 for a token that was exchanged before: it, or the one that came of it, is in the wrong hands."""
        event = await self._recorder.finish(_draft(user, "failure", "reused", request))
        try:
            await self._outbox.commit(IDENTITY, session["tenant_id"], [delete(session["id"])], [event])
        except NotFound:
            await self._recorder.publish(event)  # ended by another one of its kind
        return _invalid()

    async def _refused(self, user: Item, reason: str, request: RequestContext) -> Unauthenticated:
        await self._recorder.record(_draft(user, "failure", reason, request))
        return _invalid()

    async def page(self, principal: Principal, *, limit: int, after: Cursor | None) -> Page:
        """The caller's own sessions that hold, newest first."""
        found = await self._store.query(
            IDENTITY,
            (principal.tenant_id,),
            changed(_of_user(principal.user_id), limit=limit, after=after, descending=True),
        )
        now = self._clock.now()
        return Page([each for each in found.items if holds(each, principal.user, now)], found.next)

    async def revoke(self, principal: Principal, session_id: str, request: RequestContext) -> bool:
        """End one of the caller's own sessions; False when there is none of that id."""
        session = await self._read(principal.tenant_id, session_key(session_id))
        if session is None or session["user_id"] != principal.user_id:
            return False
        event = await self._recorder.finish(
            Draft(
                principal.tenant_id,
                SessionRevoke(sessions_ended=1),
                request,
                reason="by_user",
                actor=principal.actor,
                target=Target("session", session_id),
                person=principal.user_id,
            )
        )
        try:
            await self._outbox.commit(IDENTITY, principal.tenant_id, [delete(session["id"])], [event])
        except NotFound:
            return False
        return True

    async def others(self, principal: Principal) -> AsyncIterator[Item]:
        """The caller's sessions that hold, without the one that is calling."""
        now = self._clock.now()
        async for items in pages(self._store, IDENTITY, (principal.tenant_id,), _of_user(principal.user_id)):
            for each in items:
                if each["session_id"] != principal.session_id and holds(each, principal.user, now):
                    yield each

    async def _read(self, tenant_id: str, item_id: str) -> Item | None:
        return await find_item(self._store, IDENTITY, (tenant_id,), item_id)


def shown_session(session: Item, current: str) -> dict[str, object]:
    """A session as the API shows it to its user; `current`: the id of the one that asks."""
    names = ("created_at", "refreshed_at", "expires_at", "idle_expires_at", "mfa_at")
    own = session["session_id"] == current
    return {"id": session["session_id"], "current": own, **{name: session[name] for name in names}}


def _of_user(user_id: str) -> Query:
    return Query((Eq("kind", "session"), Eq("user_id", user_id)), order_by="created_at")


def _is(secret: str, held: str) -> bool:
    return hmac.compare_digest(hash_of(secret), held)


def _draft(user: Item, outcome: str, reason: str | None, request: RequestContext) -> Draft:
    return Draft(
        user["tenant_id"],
        AuthTokenRefresh(),
        request,
        outcome="success" if outcome == "success" else "failure",
        reason=reason,
        actor=Actor("user", user["user_id"], user["role"], user["email"]),
        target=Target("user", user["user_id"], user["email"]),
        person=user["user_id"],
    )


def _invalid() -> Unauthenticated:
    return Unauthenticated("invalid_token", "The token is not valid.")
