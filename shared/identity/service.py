"""Accounts: register, login, logout. Every outcome leaves its event."""

import asyncio
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from shared.audit.events.auth import AuthLogin, AuthLogout, AuthRegister
from shared.audit.events.consent import ConsentGrant
from shared.audit.model import PLATFORM_TENANT, Actor, Draft, RequestContext, StoredEvent, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, period_of
from shared.core.errors import Clash, Unauthenticated, Unready
from shared.core.ids import IdFactory
from shared.identity.attempts import Failures
from shared.identity.challenges import Challenge, Challenges
from shared.identity.confirmation import confirm_founder
from shared.identity.consents import PRIVACY, TERMS, Policy, granted
from shared.identity.directory import Directory, EmailTaken, Entry
from shared.identity.factor_policy import factor_due
from shared.identity.lockout import LOCKED, STRANGER, Lockout, MakeDraft, failed_login
from shared.identity.model import (
    TENANT_ITEM,
    Applicant,
    Principal,
    Registration,
    Role,
    Tokens,
    new_tenant,
    new_user,
    session_key,
    user_key,
)
from shared.identity.passwords import Passwords
from shared.identity.sessions import Sessions
from shared.identity.tokens import TokenRejected
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, PatchSet, create, delete, find_item
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, StoreError
from shared.telemetry import get_log

_log = get_log(__name__)

_RACES = 20
_STRANGERS = 256
_CHECKED = ("password_hash", "status", "sessions_valid_from", "mfa")
"""Of a user, what says whether its password alone may open a session."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user and the tokens of a new session; `enrollment_only`: they serve to enroll a second factor, no more."""

    user: Item = field(repr=False)
    tokens: Tokens
    enrollment_only: bool = False


class Identity:
    """The accounts of all tenants; every call names or finds exactly one."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        directory: Directory,
        lockout: Lockout,
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
        self._lockout = lockout
        self._passwords = passwords
        self._sessions = sessions
        self._challenges = challenges
        self._clock = clock
        self._ids = ids
        self._policy = policy

    async def register(self, registration: Registration, request: RequestContext) -> SignedIn:
        """Open an organization with its first tenant_admin, signed in. Clash (409 email_taken), audited.

        Order: reserve the e-mail, enroll the tenant, commit the account with its events, confirm the e-mail. A crash
        between any two leaves an abandoned reservation at most, which the next registration takes over.
        """
        known = (registration.email, registration.first_name, registration.last_name, registration.organization)
        await self._passwords.screen(registration.password, known)
        password_hash = await self._passwords.hash(registration.password)
        entry = Entry(self._ids.new(), self._ids.new())
        try:
            key = await self._directory.reserve(registration.email, entry)
        except EmailTaken as taken:
            await self.audit_email_taken(registration, taken.entry, request)
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
        consents = self.consents(registration, None)
        user["consents"] = granted(consents, now)
        session, tokens = await self._sessions.draft(user)
        await self._outbox.commit(
            IDENTITY,
            entry.tenant_id,
            [create(new_tenant(entry.tenant_id, registration.organization, now)), create(user), create(session)],
            await self.registration_events(registration, entry, Role.TENANT_ADMIN, consents, request),
            [confirm_founder(key, entry)],
        )
        return SignedIn(user, tokens)

    def consents(self, registration: Applicant, tenant: Item | None) -> dict[str, str]:
        """What a registration agrees to, in the versions of the tenant (None: one to be), by purpose."""
        return self._policy.at_registration(tenant, marketing=registration.marketing_opt_in)

    async def registration_events(
        self, registration: Applicant, entry: Entry, role: Role, consents: Mapping[str, str], request: RequestContext
    ) -> list[StoredEvent]:
        """The finished events of a new account: its registration and the consents that were given."""
        register = AuthRegister(
            organization=isinstance(registration, Registration),
            terms_version=consents[TERMS],
            privacy_version=consents[PRIVACY],
            first_name=registration.first_name,
            last_name=registration.last_name,
        )
        actor = Actor("user", entry.user_id, role.value, registration.email)
        target = Target("user", entry.user_id, registration.email)
        return [
            await self._recorder.finish(
                Draft(entry.tenant_id, event, request, actor=actor, target=target, person=entry.user_id)
            )
            for event in (register, *(ConsentGrant(purpose=p, version=v) for p, v in consents.items()))
        ]

    async def audit_email_taken(self, registration: Applicant, entry: Entry, request: RequestContext) -> None:
        """Record, where the e-mail's account is, that somebody wanted to register it again."""
        known = await self._user(entry)
        if known is None:
            await self.audit_refused(registration, PLATFORM_TENANT, "email_taken", request)
            return
        target = Target("user", entry.user_id, known["email"])
        await self._record_refused(registration, entry.tenant_id, "email_taken", request, target, entry.user_id)

    async def audit_refused(
        self, registration: Applicant, tenant_id: str, reason: str, request: RequestContext
    ) -> None:
        """Record, in the trail of a tenant, a registration that nobody whom we know was refused."""
        await self._record_refused(registration, tenant_id, reason, request, None, self._stranger(registration.email))

    async def _record_refused(
        self,
        registration: Applicant,
        tenant_id: str,
        reason: str,
        request: RequestContext,
        target: Target | None,
        person: str,
    ) -> None:
        event = AuthRegister(
            organization=isinstance(registration, Registration),
            terms_version=self._policy.terms_version,
            privacy_version=self._policy.privacy_version,
        )
        await self._recorder.record(
            Draft(
                tenant_id,
                event,
                request,
                outcome="failure",
                reason=reason,
                target=target,
                person=person,
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

    async def login(self, email: str, password: str, request: RequestContext) -> SignedIn | Challenge:
        """Sign in, or get the challenge that a second factor answers.

        Unauthenticated (401 invalid_credentials), the same for a wrong password and an unknown e-mail, at the same
        cost; AccountLocked (423) after too many of either, whatever the password.
        """
        entry = await self._directory.find(email) or Entry(PLATFORM_TENANT, await self._directory.stranger_id(email))
        user, tenant, failures = await self._attempt_on(entry)
        if user is None or tenant is None:
            user, tenant, failures = await self._stranger_of(email, entry, failures)
        until = self._lockout.until(failures)
        known = user["password_hash"] if user["kind"] == "user" else None
        reason = _reason(user, tenant, right=await self._passwords.verify(known, password))
        failure = failed_login(user, email, reason, request)
        if until is not None:
            raise await self._lockout.refuse(until, failure(failures.count, LOCKED))
        if reason is not None:
            await self._lockout.failed(user, failures, failure, request)
            raise Unauthenticated("invalid_credentials", "E-mail or password is wrong.")
        challenge = await self._challenges.after_password(user, request)
        if challenge is not None:
            await self._rehash_beside(user, password)
        due = factor_due(tenant, user)
        return challenge or await self._sign_in(user, password, failures, failure, request, due=due)

    async def _attempt_on(self, entry: Entry) -> tuple[Item | None, Item | None, Failures]:
        """A user, its tenant, and the user's failures: three reads at once, whether any of them is there or not."""
        return await asyncio.gather(
            self._user(entry), self._tenant(entry), self._lockout.failures(entry.tenant_id, entry.user_id)
        )

    async def _stranger_of(self, email: str, entry: Entry, failures: Failures) -> tuple[Item, Item, Failures]:
        """What stands for an e-mail without an account, so that it is treated as one that has one (docs/adr/0016)."""
        key = await self._directory.stranger_id(email)
        if entry.user_id != key:  # reserved, and its account is not there yet, or no more
            failures = await self._lockout.failures(PLATFORM_TENANT, key)
        stranger: Item = {
            "kind": STRANGER,
            "tenant_id": PLATFORM_TENANT,
            "user_id": key,
            "email": email,
            "person": self._stranger(email),
        }
        return stranger, stranger, failures

    async def _sign_in(
        self,
        user: Item,
        password: str,
        failures: Failures,
        failure: MakeDraft,
        request: RequestContext,
        *,
        due: bool = False,
    ) -> SignedIn:
        """Open a session for someone who showed the right password, unless the account was locked meanwhile. `due`: to
        enroll a second factor, and for nothing else."""
        tenant_id, user_id, email = user["tenant_id"], user["user_id"], user["email"]
        for _ in range(_RACES):
            until = self._lockout.until(failures)
            if until is not None:
                raise await self._lockout.refuse(until, failure(failures.count, LOCKED))
            session, tokens = await self._sessions.draft(user, enrollment_only=due)
            operations: list[BatchOperation] = [create(session), *await self._rehashed(user, password)]
            operations += self._lockout.cleared(user, failures)
            event = await self._recorder.finish(
                Draft(
                    tenant_id,
                    AuthLogin(attempt_count=failures.count),
                    request,
                    reason="mfa_enrollment" if due else None,
                    actor=Actor("user", user_id, user["role"], email),
                    target=Target("user", user_id, email),
                    person=user_id,
                )
            )
            try:
                await self._outbox.commit(IDENTITY, tenant_id, operations, [event])
            except (Conflict, PreconditionFailed, NotFound):
                failures = await self._lockout.failures(tenant_id, user_id)
                user = await self._unchanged(user, partial(failure, failures.count))
                continue  # another attempt on this account was counted meanwhile, or the user changed
            return SignedIn(user, tokens, enrollment_only=due)
        raise Unready("store_unavailable", "Too many attempts on this account at once.", retry_after_seconds=1)

    async def _rehashed(self, user: Item, password: str) -> list[BatchOperation]:
        """The step that brings an old hash up to the parameters of today, if it is one."""
        if not self._passwords.is_outdated(user["password_hash"]):
            return []
        fresh = PatchSet("password_hash", await self._passwords.hash(password))
        return [BatchOperation("patch", id=user["id"], if_match=user["_etag"], patches=(fresh,))]

    async def _rehash_beside(self, user: Item, password: str) -> None:
        """Bring an old hash up to date where no session is opened yet; a change that comes between wins."""
        for step in await self._rehashed(user, password):
            try:
                await self._store.patch(IDENTITY, (user["tenant_id"],), user["id"], step.patches, step.if_match)
            except (PreconditionFailed, NotFound):
                _log.info("hash_left_as_it_is", user_id=user["user_id"])

    async def _unchanged(self, user: Item, refused: Callable[[str], Draft]) -> Item:
        """The user as it is now, if what the password was checked against still holds. Unauthenticated, audited,
        otherwise."""
        now = await self._user(Entry(user["tenant_id"], user["user_id"]))
        if now is not None and all(now[name] == user[name] for name in _CHECKED):
            return now
        suspended = now is not None and now["status"] != user["status"]
        await self._recorder.record(refused("suspended" if suspended else "bad_credentials"))
        raise Unauthenticated("invalid_credentials", "E-mail or password is wrong.")

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

    async def _user(self, entry: Entry) -> Item | None:
        try:
            found = await self._store.read(IDENTITY, (entry.tenant_id,), user_key(entry.user_id))
        except NotFound:
            return None
        return found if found["kind"] == "user" else None

    async def _tenant(self, entry: Entry) -> Item | None:
        return await find_item(self._store, IDENTITY, (entry.tenant_id,), TENANT_ITEM)

    def _stranger(self, email: str) -> str:
        """The subject of what nobody here has done: of a month, so that its key can rotate, and one of several, so that
        a key is as seldom at hand as that of an account, and time does not tell."""
        return stranger_id(email, self._clock.now())


def stranger_id(email: str, now: datetime) -> str:
    """The subject that stands for an e-mail without an account."""
    return f"stranger-{period_of(now)}-{zlib.crc32(email.casefold().encode('utf-8', 'replace')) % _STRANGERS:03}"


def _reason(user: Item, tenant: Item, *, right: bool) -> str | None:
    """Why a sign-in with this password fails; None: it does not."""
    if user["kind"] == STRANGER:
        return "unknown_account"
    if not right:
        return "bad_credentials"
    return None if user["status"] == tenant["status"] == "active" else "suspended"
