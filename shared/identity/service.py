"""Accounts: register, login, logout, the own profile. Every outcome leaves its event."""

from dataclasses import dataclass, field
from typing import Any

from shared.audit.events.auth import AuthLogin, AuthLogout, AuthRegister
from shared.audit.events.consent import ConsentGrant
from shared.audit.events.profile import ProfileView
from shared.audit.events.user import UserDelete
from shared.audit.model import PLATFORM_TENANT, SYSTEM, Actor, Draft, RequestContext, StoredEvent, Target
from shared.audit.outbox import FollowUp, Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, period_of
from shared.core.errors import Clash, Unauthenticated, Unready
from shared.core.ids import IdFactory
from shared.identity.challenges import Challenge, Challenges
from shared.identity.directory import Directory, EmailTaken, Entry, TakenOver
from shared.identity.factor_policy import factor_due
from shared.identity.model import (
    TENANT_ITEM,
    Principal,
    Registration,
    Role,
    Tokens,
    attempts_key,
    new_tenant,
    new_user,
    session_key,
    user_key,
)
from shared.identity.passwords import Passwords
from shared.identity.sessions import Sessions
from shared.identity.tokens import TokenRejected
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, delete, replace
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, StoreError
from shared.telemetry import get_log

_log = get_log(__name__)

CONFIRM = "directory.confirm"
_ATTEMPTS_TTL_SECONDS = 86_400
_RACES = 20


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user and the tokens of a new session; `enrollment_only`: they serve to enroll a second factor, no more."""

    user: Item = field(repr=False)
    tokens: Tokens
    enrollment_only: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say of consents."""

    terms_version: str
    privacy_version: str


class Identity:
    """The accounts of all tenants; every call names or finds exactly one."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        directory: Directory,
        passwords: Passwords,
        sessions: Sessions,
        challenges: Challenges,
        clock: Clock,
        ids: IdFactory,
        policy: Policy,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._directory = directory
        self._passwords = passwords
        self._sessions = sessions
        self._challenges = challenges
        self._clock = clock
        self._ids = ids
        self._policy = policy
        outbox.on(CONFIRM, self._confirm)

    async def register(self, registration: Registration, request: RequestContext) -> SignedIn:
        """Open an organization with its first tenant_admin, signed in. Clash (409 email_taken), audited.

        Order: reserve the e-mail, enroll the tenant, commit the account with its events, confirm the e-mail. A crash
        between any two leaves an abandoned reservation at most, which the next registration takes over.
        """
        password_hash = await self._passwords.hash(registration.password)
        entry = Entry(self._ids.new(), self._ids.new())
        try:
            key = await self._directory.reserve(registration.email, entry)
        except EmailTaken as taken:
            await self._audit_email_taken(registration, taken.entry, request)
            raise Clash("email_taken", "This e-mail has an account.") from None
        try:
            await self._directory.enroll_tenant(entry.tenant_id)
            return await self._commit_account(registration, entry, key, password_hash, request)
        except (StoreError, Unready):
            await self._give_back(key, entry)
            raise

    async def _commit_account(
        self, registration: Registration, entry: Entry, key: str, password_hash: str, request: RequestContext
    ) -> SignedIn:
        now = self._clock.now()
        user = new_user(entry.user_id, entry.tenant_id, registration, Role.TENANT_ADMIN, password_hash, now)
        session, tokens = await self._sessions.draft(entry.tenant_id, entry.user_id)
        await self._outbox.commit(
            IDENTITY,
            entry.tenant_id,
            [create(new_tenant(entry.tenant_id, registration.organization, now)), create(user), create(session)],
            await self._registration_events(registration, entry, request),
            [FollowUp(CONFIRM, {"key": key, "tenant_id": entry.tenant_id, "user_id": entry.user_id})],
        )
        return SignedIn(user, tokens)

    async def _registration_events(
        self, registration: Registration, entry: Entry, request: RequestContext
    ) -> list[StoredEvent]:
        terms, privacy = self._policy.terms_version, self._policy.privacy_version
        consents = [("terms", terms), ("privacy", privacy)]
        if registration.marketing_opt_in:
            consents.append(("marketing", privacy))
        register = AuthRegister(
            organization=True,
            terms_version=terms,
            privacy_version=privacy,
            first_name=registration.first_name,
            last_name=registration.last_name,
        )
        actor = Actor("user", entry.user_id, Role.TENANT_ADMIN.value, registration.email)
        target = Target("user", entry.user_id, registration.email)
        return [
            await self._recorder.finish(
                Draft(entry.tenant_id, event, request, actor=actor, target=target, person=entry.user_id)
            )
            for event in (register, *(ConsentGrant(purpose=p, version=v) for p, v in consents))
        ]

    async def _audit_email_taken(self, registration: Registration, entry: Entry, request: RequestContext) -> None:
        event = AuthRegister(
            organization=True, terms_version=self._policy.terms_version, privacy_version=self._policy.privacy_version
        )
        known = await self._user(entry)
        await self._recorder.record(
            Draft(
                entry.tenant_id if known else PLATFORM_TENANT,
                event,
                request,
                outcome="failure",
                reason="email_taken",
                target=Target("user", entry.user_id, known["email"]) if known else None,
                person=entry.user_id if known else self._stranger(),
                email_typed=registration.email,
            )
        )

    async def _give_back(self, key: str, entry: Entry) -> None:
        """After a commit that failed: free the e-mail at once where the store lets us, after a minute where not."""
        try:
            if await self._directory.void_tenant(entry.tenant_id):
                await self._directory.free(key, entry)
                await self._directory.withdraw_tenant(entry.tenant_id)
        except StoreError as error:
            _log.error("reservation_left", error, user_id=entry.user_id)

    async def _confirm(self, arguments: dict[str, Any]) -> None:
        """Follow-up of a registration: confirm its e-mail, or take the account back if the e-mail was lost."""
        entry = Entry(arguments["tenant_id"], arguments["user_id"])
        try:
            await self._directory.confirm(arguments["key"], entry)
        except TakenOver:
            await self._take_back(entry)
            raise Clash("email_taken", "This e-mail has an account.") from None

    async def _take_back(self, entry: Entry) -> None:
        request = RequestContext(self._ids.new(), "outbox", "outbox", self._clock.now())
        event = await self._recorder.finish(
            Draft(
                entry.tenant_id,
                UserDelete(),
                request,
                reason="email_taken",
                actor=SYSTEM,
                target=Target("user", entry.user_id),
            )
        )
        try:
            await self._outbox.commit(
                IDENTITY, entry.tenant_id, [delete(user_key(entry.user_id)), delete(TENANT_ITEM)], [event]
            )
        except NotFound:
            _log.info("account_taken_back_already", user_id=entry.user_id)

    async def login(self, email: str, password: str, request: RequestContext) -> SignedIn | Challenge:
        """Sign in, or get the challenge that a second factor answers.

        Unauthenticated (401 invalid_credentials), the same for a wrong password and an unknown e-mail.
        """
        entry = await self._directory.find(email)
        user = await self._user(entry) if entry else None
        right = await self._passwords.verify(user["password_hash"] if user else None, password)
        if user is None:
            await self._audit_unknown(email, request)
        elif not right:
            await self._audit_failure(user, email, "bad_credentials", request)
        elif user["status"] != "active":
            await self._audit_failure(user, email, "suspended", request)
        else:
            return await self._challenges.after_password(user, request) or await self._sign_in(user, request)
        raise Unauthenticated("invalid_credentials", "E-mail or password is wrong.")

    async def _sign_in(self, user: Item, request: RequestContext) -> SignedIn:
        tenant_id, user_id = user["tenant_id"], user["user_id"]
        due = factor_due(await self._store.read(IDENTITY, (tenant_id,), TENANT_ITEM), user)
        for _ in range(_RACES):
            failed = await self._attempts(tenant_id, user_id)
            session, tokens = await self._sessions.draft(tenant_id, user_id, enrollment_only=due)
            operations: list[BatchOperation] = [create(session)]
            if failed:
                operations.append(delete(failed["id"], if_match=failed["_etag"]))
            email = user["email"]
            event = await self._recorder.finish(
                Draft(
                    tenant_id,
                    AuthLogin(attempt_count=failed["count"] if failed else 0),
                    request,
                    reason="mfa_enrollment" if due else None,
                    actor=Actor("user", user_id, user["role"], email),
                    target=Target("user", user_id, email),
                    person=user_id,
                )
            )
            try:
                await self._outbox.commit(IDENTITY, tenant_id, operations, [event])
            except (PreconditionFailed, NotFound):
                continue  # another attempt on this account was counted meanwhile
            return SignedIn(user, tokens, enrollment_only=due)
        raise Unready("store_unavailable", "Too many attempts on this account at once.", retry_after_seconds=1)

    async def _audit_failure(self, user: Item, email: str, reason: str, request: RequestContext) -> None:
        tenant_id, user_id = user["tenant_id"], user["user_id"]
        for _ in range(_RACES):
            failed = await self._attempts(tenant_id, user_id)
            count = 1 + (failed["count"] if failed else 0)
            counted: Item = {
                "id": attempts_key(user_id),
                "tenant_id": tenant_id,
                "kind": "attempts",
                "count": count,
                "ttl": _ATTEMPTS_TTL_SECONDS,
            }
            event = await self._recorder.finish(
                Draft(
                    tenant_id,
                    AuthLogin(attempt_count=count),
                    request,
                    outcome="failure",
                    reason=reason,
                    target=Target("user", user_id, user["email"]),
                    person=user_id,
                    email_typed=email,
                )
            )
            step = replace(counted, if_match=failed["_etag"]) if failed else create(counted)
            try:
                await self._outbox.commit(IDENTITY, tenant_id, [step], [event])
            except (Conflict, PreconditionFailed, NotFound):
                continue  # counted by another attempt meanwhile
            return
        raise Unready("store_unavailable", "Too many attempts on this account at once.", retry_after_seconds=1)

    async def _audit_unknown(self, email: str, request: RequestContext) -> None:
        await self._recorder.record(
            Draft(
                PLATFORM_TENANT,
                AuthLogin(attempt_count=0),
                request,
                outcome="failure",
                reason="unknown_account",
                person=self._stranger(),
                email_typed=email,
            )
        )

    async def logout(self, principal: Principal, request: RequestContext) -> None:
        """End the caller's session; its tokens die at once. TokenRejected when another call ended it just before."""
        lived = self._clock.now() - principal.session_started_at
        event = await self._recorder.finish(
            Draft(
                principal.tenant_id,
                AuthLogout(session_seconds=max(0, int(lived.total_seconds()))),
                request,
                actor=principal.actor,
                person=principal.user_id,
            )
        )
        try:
            await self._outbox.commit(
                IDENTITY, principal.tenant_id, [delete(session_key(principal.session_id))], [event]
            )
        except NotFound:
            raise TokenRejected("session_ended") from None

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

    async def _user(self, entry: Entry) -> Item | None:
        try:
            return await self._store.read(IDENTITY, (entry.tenant_id,), user_key(entry.user_id))
        except NotFound:
            return None

    async def _attempts(self, tenant_id: str, user_id: str) -> Item | None:
        try:
            return await self._store.read(IDENTITY, (tenant_id,), attempts_key(user_id))
        except NotFound:
            return None

    def _stranger(self) -> str:
        """The subject of what nobody here has done: one per month, so that its key can rotate."""
        return f"stranger-{period_of(self._clock.now())}"
