"""The own second factor: enroll, confirm, renew in a session, disable. Every outcome leaves its event."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed

from shared.audit.events.mfa import MfaChallenge, MfaDisable, MfaEnroll
from shared.audit.model import AuditEvent, Draft, RequestContext, StoredEvent, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Clash, Forbidden, Unready
from shared.identity.access import Access
from shared.identity.attempts import FailureCounter, Failures
from shared.identity.factor_policy import requires_factor
from shared.identity.factors import Confirmed, Factors, Proof, is_confirmed, written
from shared.identity.model import Principal, session_key, user_key
from shared.identity.one_time_codes import otpauth_uri
from shared.identity.passwords import Passwords
from shared.identity.session_life import SessionLife
from shared.identity.sessions import ended_before, holds
from shared.identity.tokens import TokenRejected
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, PatchSet, delete
from shared.storage.errors import Conflict, NotFound, PreconditionFailed

_RACES = 20


@dataclass(frozen=True, slots=True)
class Enrollment:
    """A secret that waits to be confirmed: in base32, and as an authenticator app scans it."""

    secret: str = field(repr=False)
    otpauth_uri: str = field(repr=False)


class Mfa:
    """The second factors of all users."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        access: Access,
        passwords: Passwords,
        sessions: SessionLife,
        factors: Factors,
        counter: FailureCounter,
        clock: Clock,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._access = access
        self._passwords = passwords
        self._sessions = sessions
        self._factors = factors
        self._counter = counter
        self._clock = clock

    async def enroll(self, principal: Principal, request: RequestContext) -> Enrollment:
        """A new secret, to be confirmed by a code within ten minutes; one that waited before is dropped.

        Who has a factor already keeps it until then, and has to have shown it in this session within 15 minutes:
        Forbidden (403 step_up_required), audited.
        """
        for _ in range(_RACES):
            held = await self._read(principal)
            if is_confirmed(held):
                await self._access.require_fresh_factor(principal, request)
            item, secret = await self._factors.begun(principal.tenant_id, principal.user_id, held)
            event = await self._finish(principal, MfaEnroll(factor="totp"), request, reason="started")
            if await self._commit(principal, [written(item)], [event]):
                return Enrollment(secret, otpauth_uri(secret, principal.email))
        raise _busy()

    async def confirm(self, principal: Principal, code: str, request: RequestContext) -> list[str]:
        """Make the pending factor count, and the session one in which it was shown; the ten recovery codes.

        All other sessions end: the factor was not shown in them.
        Clash (409 mfa_not_enrolled): nothing waits. Forbidden (403 wrong_code). TokenRejected: the session has ended.
        """
        user = principal.user
        for _ in range(_RACES):
            held = await self._read(principal)
            if held is None or not self._factors.pending(held):
                await self._record(principal, MfaEnroll(factor="totp"), "not_enrolled", request)
                raise Clash("mfa_not_enrolled", "No second factor waits to be confirmed: enroll one first.")
            done = await self._factors.confirmed(held, code)
            if not isinstance(done, Confirmed):
                failed = await self._finish(principal, MfaEnroll(factor="totp"), request, failure="wrong_code")
                if await self._commit(principal, [written(done)], [failed]):
                    raise Forbidden("wrong_code", "The code is wrong.")
                continue
            reason = "replaced" if is_confirmed(held) else "confirmed"
            others = [each async for each in self._sessions.others(changed(principal, user=user))]
            enrolled = MfaEnroll(factor="totp", sessions_ended=len(others))
            event = await self._finish(principal, enrolled, request, reason=reason)
            now = self._clock.now()
            epoch = ended_before(user, now)
            session = _patched(
                session_key(principal.session_id), mfa_at=rfc3339(now), enrollment_only=False, epoch=epoch
            )
            flagged = self._flagged(user, has=True, sessions_valid_from=epoch)
            if await self._commit(principal, [written(done.item), flagged, session], [event]):
                return done.recovery_codes
            user = await self._still_there(principal)
        raise _busy()

    async def disable(self, principal: Principal, password: str, code: str, request: RequestContext) -> None:
        """Remove the own factor. Forbidden (403 wrong_password, wrong_code), counted like a failed sign-in.

        Clash (409): mfa_required where the organization's policy asks for one, mfa_not_enrolled where there is none.
        TokenRejected: the session has ended.
        """
        event = MfaDisable(factor="totp")
        if requires_factor(principal.tenant, principal.role):
            await self._record(principal, event, "required", request)
            raise Clash("mfa_required", "Your organization requires a second factor.")
        user, right = principal.user, await self._passwords.verify(principal.user["password_hash"], password)
        for _ in range(_RACES):
            failures = await self._counter.read(user, request)
            held = await self._confirmed(principal, event, request)
            verdict = await self._factors.judge(held, Proof("totp", code))
            wrong = verdict.reason if right else "wrong_password"
            if wrong is not None:
                await self._fail(principal, event, wrong, failures, request)
                continue
            done = await self._finish(principal, event, request)
            session = _patched(session_key(principal.session_id), mfa_at=None)
            removed = delete(held["id"], if_match=held["_etag"])
            steps = [removed, self._flagged(user, has=False), session, *self._counter.unchanged(user, failures)]
            if await self._commit(principal, steps, [done]):
                return
            user = await self._still_there(principal)
        raise _busy()

    async def step_up(self, principal: Principal, code: str, request: RequestContext) -> None:
        """Renew the time at which the factor was shown in this session. Forbidden (403 wrong_code), counted.

        Clash (409 mfa_not_enrolled): there is none. TokenRejected: the session has ended.
        """
        event = MfaChallenge(factor="totp")
        for _ in range(_RACES):
            failures = await self._counter.read(principal.user, request)
            held = await self._confirmed(principal, event, request)
            verdict = await self._factors.judge(held, Proof("totp", code))
            if verdict.reason is not None:
                await self._fail(principal, event, verdict.reason, failures, request)
                continue
            done = await self._finish(principal, event, request)
            session = _patched(session_key(principal.session_id), mfa_at=rfc3339(self._clock.now()))
            steps = [written(verdict.item), session, *self._counter.unchanged(principal.user, failures)]
            if await self._commit(principal, steps, [done]):
                return
            await self._still_there(principal)
        raise _busy()

    async def _read(self, principal: Principal) -> Item | None:
        return await self._factors.read(principal.tenant_id, principal.user_id)

    async def _confirmed(self, principal: Principal, event: AuditEvent, request: RequestContext) -> Item:
        """The caller's factor. Clash (409 mfa_not_enrolled), audited, without one."""
        held = await self._read(principal)
        if held is None or not is_confirmed(held):
            await self._record(principal, event, "not_enrolled", request)
            raise Clash("mfa_not_enrolled", "You have no second factor.")
        return held

    async def _fail(
        self, principal: Principal, event: AuditEvent, reason: str, failures: Failures, request: RequestContext
    ) -> None:
        """Count a failure and raise the error of it; returns when another one was counted meanwhile."""
        counted = await self._counter.counted(principal.user, failures, request)
        failed = await self._finish(principal, event, request, failure=reason)
        if await self._commit(principal, counted.operations, [failed, *counted.events]):
            if reason == "wrong_password":
                raise Forbidden("wrong_password", "The password is wrong.")
            raise Forbidden("wrong_code", "The code is wrong.")

    def _flagged(self, user: Item, *, has: bool, **more: str) -> BatchOperation:
        """The step that shows on the user whether there is a factor, unless the user was changed meanwhile."""
        now = rfc3339(self._clock.now())
        return _patched(user["id"], if_match=user["_etag"], mfa=has, updated_at=now, **more)

    async def _still_there(self, principal: Principal) -> Item:
        """The user as stored now. TokenRejected when the session has ended since the token was checked."""
        partition = (principal.tenant_id,)
        try:
            session = await self._store.read(IDENTITY, partition, session_key(principal.session_id))
            user = await self._store.read(IDENTITY, partition, user_key(principal.user_id))
        except NotFound:
            raise TokenRejected("session_ended") from None
        if not holds(session, user, self._clock.now()) or user["status"] != "active":
            raise TokenRejected("session_ended")
        return user

    async def _finish(
        self,
        principal: Principal,
        event: AuditEvent,
        request: RequestContext,
        *,
        reason: str | None = None,
        failure: str | None = None,
    ) -> StoredEvent:
        return await self._recorder.finish(_draft(principal, event, request, reason, failure))

    async def _record(self, principal: Principal, event: AuditEvent, failure: str, request: RequestContext) -> None:
        await self._recorder.record(_draft(principal, event, request, None, failure))

    async def _commit(
        self, principal: Principal, steps: Sequence[BatchOperation], events: Sequence[StoredEvent]
    ) -> bool:
        """Whether it was done; False when another call changed something of it meanwhile."""
        try:
            await self._outbox.commit(IDENTITY, principal.tenant_id, steps, events)
        except (Conflict, PreconditionFailed, NotFound):
            return False
        return True


def _draft(
    principal: Principal, event: AuditEvent, request: RequestContext, reason: str | None, failure: str | None
) -> Draft:
    return Draft(
        principal.tenant_id,
        event,
        request,
        outcome="success" if failure is None else "failure",
        reason=failure or reason,
        actor=principal.actor,
        target=Target("user", principal.user_id, principal.email),
        person=principal.user_id,
    )


def _patched(item_id: str, if_match: str | None = None, **fields: object) -> BatchOperation:
    return BatchOperation(
        "patch", id=item_id, if_match=if_match, patches=tuple(PatchSet(name, value) for name, value in fields.items())
    )


def _busy() -> Unready:
    return Unready("store_unavailable", "Too many calls on this account at once.", retry_after_seconds=1)
