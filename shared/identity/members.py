"""The users of a tenant, as its administrators see and change them."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.audit.events.user import (
    UserDelete,
    UserList,
    UserRoleChange,
    UserStatusChange,
    UserUnlock,
    UserUpdate,
    UserView,
)
from shared.audit.model import AuditEvent, Draft, RequestContext, Target
from shared.audit.outbox import FollowUp, Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Clash, Forbidden, Unready
from shared.core.text import folded
from shared.identity.access import Access
from shared.identity.approvals import NOT_SAID, Approval, check_approval
from shared.identity.directory import Directory, Entry
from shared.identity.leaving import LastAdmin, recounted, removed
from shared.identity.model import (
    SEARCHED,
    Principal,
    Role,
    attempts_key,
    is_active_admin,
    search_fields,
    shown_user,
    user_key,
)
from shared.identity.ranks import Change, refusal, sufficient
from shared.identity.sessions import ended_before
from shared.storage.containers import IDENTITY
from shared.storage.documents import (
    AnyOf,
    BatchOperation,
    Cursor,
    DocumentStore,
    Eq,
    Filter,
    Item,
    Page,
    Prefix,
    Query,
    delete,
    replace,
)
from shared.storage.errors import NotFound, PreconditionFailed
from shared.storage.versions import check_version, entity_tag

RELEASE = "directory.release"
_RACES = 20


@dataclass(frozen=True, slots=True)
class MemberFilter:
    """Filters of the list of users, all of which must hold. `q`: how a name, a last name or an e-mail begins."""

    role: str | None = None
    status: str | None = None
    q: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """The filters that were used."""
        named = {"role": self.role, "status": self.status, "q": self.q}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Said:
    """What an administrator says of a change: who approved it; why, and since when the user has been gone (RFC 3339),
    for one of the status."""

    approval: Approval = NOT_SAID
    reason_text: str | None = field(default=None, repr=False)
    left_at: str | None = None


NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True)
class _Act:
    """Who does something to whom, in which request."""

    principal: Principal
    user: Item
    request: RequestContext

    def draft(self, event: AuditEvent, **more: Any) -> Draft:
        """An event of it."""
        principal = self.principal
        who: dict[str, Any] = {"actor": principal.actor, "person": principal.person, "target": self.target}
        return Draft(principal.tenant_id, event, self.request, **who, **more)

    @property
    def target(self) -> Target:
        """The user as the target of events."""
        return Target("user", self.user["user_id"], self.user["email"])

    @property
    def role(self) -> Role:
        """The user's role, as it is."""
        return Role(self.user["role"])

    @property
    def oneself(self) -> bool:
        """Whether both are one person."""
        return bool(self.user["user_id"] == self.principal.user_id)


class Members:
    """Lists, shows, changes, unlocks and deletes the users of the caller's tenant."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        directory: Directory,
        access: Access,
        clock: Clock,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._directory = directory
        self._access = access
        self._clock = clock
        outbox.on(RELEASE, self._release)

    async def page(
        self, principal: Principal, wanted: MemberFilter, request: RequestContext, *, limit: int, after: Cursor | None
    ) -> Page:
        """One page of users, newest first, audited as user.list."""
        where: list[Filter] = [Eq("kind", "user")]
        for path, value in (("role", wanted.role), ("status", wanted.status)):
            if value is not None:
                where.append(Eq(path, value))
        if wanted.q is not None:
            begins = folded(wanted.q)
            where.append(AnyOf(tuple(Prefix(path, begins) for path in SEARCHED)))
        query = Query(tuple(where), order_by="created_at", descending=True, limit=limit, after=after)
        found = await self._store.query(IDENTITY, (principal.tenant_id,), query)
        filters, personal = await self._directory.set_apart(principal.tenant_id, principal.person, "q", wanted.given)
        await self._recorder.record(
            Draft(
                principal.tenant_id,
                UserList(filters=filters),
                request,
                actor=principal.actor,
                person=principal.person,
                data_class="personal",
                record_count=len(found.items),
                personal=personal,
            )
        )
        return found

    async def view(self, principal: Principal, user_id: str, request: RequestContext) -> Item:
        """One user, audited as user.view. NotFoundError (404), audited."""
        user = await self._user(principal, user_id, request)
        return await self._viewed(_Act(principal, user, request))

    async def update(
        self,
        principal: Principal,
        user_id: str,
        given: Mapping[str, Any],
        if_match: frozenset[str] | None,
        request: RequestContext,
        said: Said = NOTHING_SAID,
    ) -> Item:
        """Change fields of a user (role, status, names, profile); the user as it is then.

        NotFoundError (404), Forbidden (403) by rank, Clash (409 last_admin): audited. VersionConflict (412). Invalid
        (422) for an approver who cannot be one. A new role or status ends the user's sessions.
        """
        for _ in range(_RACES):
            act = _Act(principal, await self._user(principal, user_id, request), request)
            changed = {name: value for name, value in given.items() if act.user[name] != value}
            await self._check_rank(act, changed, given)
            check_version(entity_tag(act.user), if_match)
            await check_approval(self._store, principal, said.approval, user_id)
            if not changed:
                return await self._viewed(act)
            try:
                return await self._update(act, changed, said)
            except (PreconditionFailed, NotFound):
                continue  # the user, or the number of administrators, changed meanwhile
        raise _too_many()

    async def _check_rank(self, act: _Act, changed: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        changes: list[Change] = [_kind_of(name) for name in changed]
        granted = Role(changed["role"]) if "role" in changed else None
        reason = refusal(act.principal.role, act.role, changes, granted=granted, oneself=act.oneself)
        if reason is not None:
            required = sufficient(act.role, changes, granted=granted) if reason == "role" else None
            raise await self._refused(act, reason, dict(given), required)

    async def _update(self, act: _Act, changed: Mapping[str, Any], said: Said) -> Item:
        old, now = act.user, self._clock.now()
        new: Item = {**old, **changed, "updated_at": rfc3339(now)}
        new |= search_fields(new)
        if "role" in changed or "status" in changed:
            new["sessions_valid_from"] = ended_before(old, now)
        steps = [replace(new, if_match=old["_etag"])]
        counted = recounted(self._store, act.principal.tenant_id, is_active_admin(new) - is_active_admin(old))
        steps += await self._not_last(act, counted, dict(changed))
        drafts = [act.draft(event, **_personal(event)) for event in _events(old, changed, said)]
        events = [await self._recorder.finish(draft) for draft in drafts]
        await self._outbox.commit(IDENTITY, act.principal.tenant_id, steps, events)
        return await self._store.read(IDENTITY, (act.principal.tenant_id,), old["id"])

    async def _not_last(
        self, act: _Act, steps: Awaitable[list[BatchOperation]], attempted: dict[str, Any]
    ) -> list[BatchOperation]:
        """The steps of a change. Clash (409 last_admin), audited, for one that would leave no administrator."""
        try:
            return await steps
        except LastAdmin:
            await self._refused(act, "last_admin", attempted)
            raise Clash("last_admin", "A tenant keeps at least one active tenant_admin.") from None

    async def unlock(self, principal: Principal, user_id: str, request: RequestContext) -> None:
        """Forget a user's failed sign-ins. NotFoundError (404), Forbidden (403) by rank or for oneself: audited."""
        act = _Act(principal, await self._user(principal, user_id, request), request)
        await self._allow(act, "unlock", {"unlock": True})
        event = await self._recorder.finish(act.draft(UserUnlock()))
        try:
            await self._outbox.commit(IDENTITY, principal.tenant_id, [delete(attempts_key(user_id))], [event])
        except NotFound:  # nothing to forget
            await self._recorder.record(act.draft(UserUnlock()))

    async def remove(
        self,
        principal: Principal,
        user_id: str,
        reason_text: str,
        if_match: frozenset[str] | None,
        request: RequestContext,
    ) -> None:
        """Delete a user. The e-mail becomes free and all sessions die; the trail stays. Errors as of `update`."""
        for _ in range(_RACES):
            act = _Act(principal, await self._user(principal, user_id, request), request)
            await self._allow(act, "deletion", {"deletion": True, "reason": reason_text})
            check_version(entity_tag(act.user), if_match)
            try:
                await self._remove(act, reason_text)
            except (PreconditionFailed, NotFound):
                continue
            return
        raise _too_many()

    async def _remove(self, act: _Act, reason_text: str) -> None:
        user, tenant_id = act.user, act.principal.tenant_id
        attempted = {"deletion": True, "reason": reason_text}
        steps = await self._not_last(act, removed(self._store, user), attempted)
        event = UserDelete(reason_text=reason_text, last_profile=shown_user(user))
        key = await self._directory.key(user["email"])
        release = FollowUp(RELEASE, {"key": key, "tenant_id": tenant_id, "user_id": user["user_id"]})
        finished = await self._recorder.finish(act.draft(event, **_personal(event)))
        await self._outbox.commit(IDENTITY, tenant_id, steps, [finished], [release])

    async def _release(self, arguments: dict[str, Any]) -> None:
        """Follow-up of a deletion: the directory forgets the user."""
        await self._directory.release(arguments["key"], Entry(arguments["tenant_id"], arguments["user_id"]))

    async def _allow(self, act: _Act, change: Change, attempted: dict[str, Any]) -> None:
        reason = refusal(act.principal.role, act.role, [change], oneself=act.oneself)
        if reason is not None:
            required = sufficient(act.role, [change]) if reason == "role" else None
            raise await self._refused(act, reason, attempted, required)

    async def _refused(
        self, act: _Act, reason: str, attempted: dict[str, Any], required: Role | None = None
    ) -> Forbidden:
        return await self._access.refused(
            act.principal, act.target, reason, attempted, act.request, target_role=act.role.value, required=required
        )

    async def _viewed(self, act: _Act) -> Item:
        await self._recorder.record(act.draft(UserView(), data_class="personal", record_count=1))
        return act.user

    async def _user(self, principal: Principal, user_id: str, request: RequestContext) -> Item:
        try:
            found = await self._store.read(IDENTITY, (principal.tenant_id,), user_key(user_id))
        except NotFound:
            found = {"kind": "nothing"}
        if found["kind"] != "user":
            raise await self._access.unknown_id(principal, "user", user_id, request)
        return found


def _kind_of(name: str) -> Change:
    return "role" if name == "role" else "status" if name == "status" else "profile"


def _events(old: Item, changed: Mapping[str, Any], said: Said) -> list[AuditEvent]:
    """One event for each kind of change that was made."""
    approval = said.approval.attributes
    fields = sorted(set(changed) - {"role", "status"})
    found: list[AuditEvent] = []
    if fields:
        before, after = ({name: values[name] for name in fields} for values in (old, changed))
        found.append(UserUpdate(changed_fields=tuple(fields), old_values=before, new_values=after, **approval))
    if "role" in changed:
        found.append(UserRoleChange(old_role=old["role"], new_role=changed["role"], **approval))
    if "status" in changed:
        why: dict[str, Any] = {"reason_text": said.reason_text, "left_at": said.left_at, **approval}
        found.append(UserStatusChange(old_status=old["status"], new_status=changed["status"], **why))
    return found


def _personal(event: AuditEvent) -> dict[str, Any]:
    """What the envelope says of events that hold a person's data."""
    return {"data_class": "personal", "record_count": 1} if isinstance(event, UserUpdate | UserDelete) else {}


def _too_many() -> Unready:
    return Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)
