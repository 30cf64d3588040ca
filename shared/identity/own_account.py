"""What a user may change of the own account: the profile, and the password."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from shared.audit.events.auth import AuthPasswordChange
from shared.audit.events.profile import ProfileUpdate, ProfileView
from shared.audit.model import Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Forbidden, Invalid, Unready, VersionConflict
from shared.identity.lockout import LOCKED, Lockout
from shared.identity.model import Principal, search_fields
from shared.identity.password_policy import refused
from shared.identity.passwords import Passwords
from shared.identity.session_life import SessionLife
from shared.identity.sessions import ended_before, holds
from shared.identity.tokens import TokenRejected
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, replace
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.storage.versions import entity_tag

_RACES = 10
KEPT_PASSWORDS = 4
"""How many of the last passwords, the present one included, cannot be set again."""


async def still_there(store: DocumentStore, principal: Principal, now: datetime) -> Item:
    """The caller's user as it is now, if the session still holds. TokenRejected otherwise."""
    try:
        user = await store.read(IDENTITY, (principal.tenant_id,), principal.user["id"])
    except NotFound:
        raise TokenRejected("session_ended") from None
    if user["status"] != "active" or not holds(principal.session, user, now):
        raise TokenRejected("session_ended")
    return user


class OwnAccount:
    """Changes of users to themselves."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        lockout: Lockout,
        passwords: Passwords,
        sessions: SessionLife,
        clock: Clock,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._lockout = lockout
        self._passwords = passwords
        self._sessions = sessions
        self._clock = clock

    async def view_profile(self, principal: Principal, request: RequestContext) -> Item:
        """The caller's own account, as it was when the token was checked."""
        await self._recorder.record(
            Draft(
                principal.tenant_id,
                ProfileView(),
                request,
                actor=principal.actor,
                target=Target("user", principal.user_id, principal.actor.email),
                person=principal.user_id,
                data_class="personal",
                record_count=1,
            )
        )
        return principal.user

    async def update_profile(
        self, principal: Principal, fields: Mapping[str, Any], if_match: frozenset[str] | None, request: RequestContext
    ) -> Item:
        """Change the given profile fields. VersionConflict (412), audited, when the user is no longer what `if_match`
        names. Unready (503) when others change it all the time."""
        user = principal.user
        for _ in range(_RACES):
            if if_match is not None and entity_tag(user) not in if_match:
                raise await self._conflict(principal, fields, request)
            new = {name: value for name, value in fields.items() if user[name] != value}
            old = {name: user[name] for name in new}
            event = ProfileUpdate(changed_fields=sorted(new), old_values=old, new_values=new)
            draft = _by_oneself(principal, event, request)
            if not new:
                await self._recorder.record(draft)
                return user
            changed = {**user, **new, "updated_at": rfc3339(self._clock.now())}
            changed |= search_fields(changed)
            step = replace(changed, if_match=user["_etag"])
            try:
                await self._outbox.commit(IDENTITY, principal.tenant_id, [step], [await self._recorder.finish(draft)])
            except (PreconditionFailed, NotFound):
                user = await still_there(self._store, principal, self._clock.now())
                continue
            return await self._store.read(IDENTITY, (principal.tenant_id,), user["id"])
        raise Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)

    async def _conflict(
        self, principal: Principal, fields: Mapping[str, Any], request: RequestContext
    ) -> VersionConflict:
        event = ProfileUpdate(changed_fields=sorted(fields), new_values=dict(fields))
        await self._recorder.record(
            _by_oneself(principal, event, request, outcome="failure", reason="version_conflict")
        )
        return VersionConflict("version_conflict", "It was changed since you read it.")

    async def change_password(self, principal: Principal, current: str, new: str, request: RequestContext) -> None:
        """Set a new password and end all other sessions.

        Forbidden (403 wrong_password) for a wrong current one, which counts toward the lockout; AccountLocked (423);
        Invalid (422) naming `new_password` when it may not be set. All audited.
        """
        unchanged = await self.prove(principal, current, partial(_failed, principal, request=request), request)
        try:
            await self._check_new(principal, new)
        except Invalid:
            await self._recorder.record(_failed(principal, "refused", request))
            raise
        await self._commit_password(principal, await self._passwords.hash(new), unchanged, request)

    async def prove(
        self, principal: Principal, password: str, failed: Callable[[str], Draft], request: RequestContext
    ) -> Sequence[BatchOperation]:
        """Check the caller's own password again; the steps that fail when another attempt is counted meanwhile.

        Forbidden (403 wrong_password), which counts toward the lockout; AccountLocked (423). `failed`: the event of
        either, by its reason.
        """
        user = principal.user
        failures = await self._lockout.failures(principal.tenant_id, principal.user_id)
        until = self._lockout.until(failures)
        right = await self._passwords.verify(user["password_hash"], password)
        if until is not None:
            raise await self._lockout.refuse(until, failed(LOCKED))
        if not right:
            await self._lockout.failed(user, failures, lambda _, other: failed(other or "wrong_password"), request)
            raise Forbidden("wrong_password", "The current password is wrong.")
        return self._lockout.unchanged(user, failures)

    async def _check_new(self, principal: Principal, new: str) -> None:
        user = principal.user
        known = (user["email"], user["first_name"], user["last_name"], principal.tenant["name"])
        await self._passwords.screen(new, known, field="new_password")
        for held in (user["password_hash"], *user.get("password_history", [])):
            if await self._passwords.verify(held, new):
                raise refused("new_password", "reused", f"is one of the last {KEPT_PASSWORDS} passwords")

    async def _commit_password(
        self, principal: Principal, fresh: str, unchanged: Sequence[BatchOperation], request: RequestContext
    ) -> None:
        user, now = principal.user, self._clock.now()
        epoch = ended_before(user, now)
        held = [user["password_hash"], *user.get("password_history", [])][: KEPT_PASSWORDS - 1]
        changed = {
            **user,
            "password_hash": fresh,
            "password_history": held,
            "sessions_valid_from": epoch,
            "updated_at": rfc3339(now),
        }
        others = [each async for each in self._sessions.others(principal)]
        event = AuthPasswordChange(sessions_ended=len(others))
        operations = [
            replace(changed, if_match=user["_etag"]),
            replace({**principal.session, "epoch": epoch}, if_match=principal.session["_etag"]),
            *unchanged,
        ]
        draft = _by_oneself(principal, event, request)
        try:
            await self._outbox.commit(IDENTITY, principal.tenant_id, operations, [await self._recorder.finish(draft)])
        except (Conflict, PreconditionFailed, NotFound):
            until = self._lockout.until(await self._lockout.failures(principal.tenant_id, principal.user_id))
            if until is not None:
                raise await self._lockout.refuse(until, _failed(principal, LOCKED, request)) from None
            await self._recorder.record(_failed(principal, "version_conflict", request))
            raise VersionConflict("version_conflict", "The account was changed at the same moment.") from None


def _failed(principal: Principal, reason: str, request: RequestContext) -> Draft:
    event = AuthPasswordChange(sessions_ended=0)
    return _by_oneself(principal, event, request, outcome="failure", reason=reason)


def _by_oneself(principal: Principal, event: Any, request: RequestContext, **more: Any) -> Draft:
    return Draft(
        principal.tenant_id,
        event,
        request,
        actor=principal.actor,
        target=Target("user", principal.user_id, principal.email),
        person=principal.user_id,
        **more,
    )
