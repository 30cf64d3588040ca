"""Who is calling, and may they: tokens, sessions and roles checked on every call, every refusal audited."""

from collections.abc import Sequence
from typing import Any

from shared.audit.events.access import AccessCrossTenantDenied, AccessDenied
from shared.audit.model import Draft, RequestContext, Target
from shared.audit.recorder import Recorder
from shared.core.clock import Clock
from shared.core.errors import Forbidden, NotFoundError, Unauthenticated
from shared.identity.directory import Directory
from shared.identity.factor_policy import factor_due, is_fresh, requires_factor
from shared.identity.model import TENANT_ITEM, Caller, Principal, Role, session_key, user_key
from shared.identity.rejections import Rejections
from shared.identity.sessions import holds
from shared.identity.tokens import AccessTokens, Claims, TokenRejected
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore
from shared.storage.errors import NotFound


class Access:
    """Checks callers."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        tokens: AccessTokens,
        directory: Directory,
        rejections: Rejections,
        clock: Clock,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._tokens = tokens
        self._directory = directory
        self._rejections = rejections
        self._clock = clock

    async def authenticate(self, token: str | None, request: RequestContext) -> Principal:
        """The caller behind an access token. Unauthenticated (401) without one, or for one that does not hold."""
        if token is None:
            raise Unauthenticated("missing_token", "This call needs a bearer token.")
        try:
            return await self._principal(await self._tokens.check(token))
        except TokenRejected as rejected:
            raise await self.rejected(rejected.reason, request) from None

    async def rejected(self, reason: str, request: RequestContext) -> Unauthenticated:
        """The 401 for a token that does not hold, after auditing it."""
        await self._rejections.count(reason, request)
        return Unauthenticated("invalid_token", "The token is not valid.")

    async def _principal(self, claims: Claims) -> Principal:
        partition = (claims.tenant_id,)
        try:
            session = await self._store.read(IDENTITY, partition, session_key(claims.session_id))
            user = await self._store.read(IDENTITY, partition, user_key(claims.user_id))
            tenant = await self._store.read(IDENTITY, partition, TENANT_ITEM)
        except NotFound:
            raise TokenRejected("session_ended") from None
        if not holds(session, user, self._clock.now()):
            raise TokenRejected("session_ended")
        if user["status"] != "active":
            raise TokenRejected("user_inactive")
        if tenant["status"] != "active":
            raise TokenRejected("tenant_suspended")
        return Principal(
            user_id=claims.user_id,
            tenant_id=claims.tenant_id,
            session_id=claims.session_id,
            role=Role(user["role"]),
            email=user["email"],
            user=user,
            session=session,
            tenant=tenant,
        )

    async def require_role(self, principal: Principal, allowed: Sequence[Role], request: RequestContext) -> None:
        """Forbidden (403), audited as access.denied, unless the caller's role is one of `allowed`."""
        if principal.role in allowed:
            return
        lowest = min(allowed, key=lambda role: role.rank)
        event = AccessDenied(required_role=lowest.value, held_role=principal.role.value)
        await self._denied(principal, event, "role", request)
        raise Forbidden("forbidden", f"This call needs the role {lowest.value} or above.")

    async def require_factor(
        self, principal: Principal, request: RequestContext, *, enrollment: bool, step_up: bool
    ) -> None:
        """Forbidden (403), audited, where a second factor is due (`enrollment`: unless the call serves to enroll one),
        or where the organization's policy asks for a fresh one before a call like this (`step_up`)."""
        due = principal.session["enrollment_only"] or factor_due(principal.tenant, principal.user)
        if due and not enrollment:
            event = AccessDenied(held_role=principal.role.value)
            await self._denied(principal, event, "mfa_enrollment", request)
            raise Forbidden("mfa_enrollment_required", "Enroll a second factor first.")
        if step_up and requires_factor(principal.tenant, principal.role):
            await self.require_fresh_factor(principal, request)

    async def require_fresh_factor(self, principal: Principal, request: RequestContext) -> None:
        """Forbidden (403 step_up_required), audited, unless the factor was shown in this session of late."""
        if is_fresh(principal.session, self._clock.now()):
            return
        await self._denied(principal, AccessDenied(held_role=principal.role.value), "step_up", request)
        raise Forbidden("step_up_required", "Show your second factor again first.")

    async def _denied(self, principal: Principal, event: AccessDenied, reason: str, request: RequestContext) -> None:
        await self._recorder.record(
            Draft(
                principal.tenant_id,
                event,
                request,
                outcome="denied",
                reason=reason,
                actor=principal.actor,
                person=principal.user_id,
            )
        )

    async def refused(
        self, principal: Principal, target: Target, reason: str, attempted: dict[str, Any], request: RequestContext
    ) -> Forbidden:
        """The 403 for a change that a caller may not make, after auditing it with what was attempted."""
        event = AccessDenied(held_role=principal.role.value, attempted=attempted)
        await self._recorder.record(
            Draft(
                principal.tenant_id,
                event,
                request,
                outcome="denied",
                reason=reason,
                actor=principal.actor,
                target=target,
                person=principal.person,
            )
        )
        return Forbidden("forbidden", "The caller's role does not allow this change.")

    async def unknown_id(self, principal: Caller, kind: str, wanted: str, request: RequestContext) -> NotFoundError:
        """The 404 for an id that is not in the caller's tenant, after auditing it: across tenants or simply unknown."""
        owner = await self._directory.tenant_of(wanted)
        foreign = owner is not None and owner != principal.tenant_id
        await self._recorder.record(
            Draft(
                principal.tenant_id,
                AccessCrossTenantDenied() if foreign else AccessDenied(held_role=principal.power),
                request,
                outcome="denied",
                reason="cross_tenant" if foreign else "unknown_id",
                actor=principal.actor,
                target=Target(kind, wanted),
                person=principal.person,
            )
        )
        return NotFoundError("not_found", "There is nothing of that id.")
