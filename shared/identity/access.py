"""Who is calling, and may they: tokens, sessions and roles checked on every call, every refusal audited."""

from collections.abc import Sequence
from typing import Any

from shared.audit.events.access import AccessCrossTenantDenied, AccessDenied
from shared.audit.model import AuditEvent, Draft, RequestContext, Target
from shared.audit.recorder import Recorder
from shared.core.clock import Clock
from shared.core.errors import Forbidden, NotFoundError, Unauthenticated
from shared.identity.attempted import Attempt, Attempted, known_role, nothing
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

    async def require_role(
        self, principal: Principal, allowed: Sequence[Role], request: RequestContext, attempt: Attempt = nothing
    ) -> None:
        """Forbidden (403), audited as access.denied, unless the caller's role is one of `allowed`."""
        if principal.role in allowed:
            return
        lowest = min(allowed, key=lambda role: role.rank)
        await self.denied(principal, "role", request, attempt(), required_role=lowest.value)
        raise Forbidden("forbidden", f"This call needs the role {lowest.value} or above.")

    async def require_factor(
        self,
        principal: Principal,
        request: RequestContext,
        attempt: Attempt = nothing,
        *,
        enrollment: bool,
        step_up: bool,
    ) -> None:
        """Forbidden (403), audited, where a second factor is due (`enrollment`: unless the call serves to enroll one),
        or where the organization's policy asks for a fresh one before a call like this (`step_up`)."""
        due = principal.session["enrollment_only"] or factor_due(principal.tenant, principal.user)
        if due and not enrollment:
            await self.denied(principal, "mfa_enrollment", request, attempt())
            raise Forbidden("mfa_enrollment_required", "Enroll a second factor first.")
        if step_up and requires_factor(principal.tenant, principal.role):
            await self.require_fresh_factor(principal, request, attempt)

    async def require_fresh_factor(
        self, principal: Principal, request: RequestContext, attempt: Attempt = nothing
    ) -> None:
        """Forbidden (403 step_up_required), audited, unless the factor was shown in this session of late."""
        if is_fresh(principal.session, self._clock.now()):
            return
        await self.denied(principal, "step_up", request, attempt())
        raise Forbidden("step_up_required", "Show your second factor again first.")

    async def denied(
        self, caller: Caller, reason: str, request: RequestContext, attempt: Attempted | None, **needed: str | None
    ) -> None:
        """Audit a call that was refused before anybody looked at what it is about. `needed`: what would have done."""
        target, target_role = (None, None) if attempt is None else await self._about(caller, attempt)
        event = AccessDenied(held_role=caller.power, **{**needed, **_tried(attempt, target_role)})
        await self._record(caller, event, reason, request, target)

    async def _about(self, caller: Caller, attempt: Attempted) -> tuple[Target | None, str | None]:
        """What an attempt is about, and its role if that is a user. None for what is not the caller's tenant's."""
        if attempt.oneself and isinstance(caller, Principal):
            return Target("user", caller.user_id, caller.email), caller.role.value
        kind, wanted = attempt.kind, attempt.target_id
        if kind is None or wanted is None:
            return None, None
        try:
            found = await self._store.read(IDENTITY, (caller.tenant_id,), f"{kind}|{wanted}")
        except NotFound:
            return None, None
        if found["kind"] != kind:
            return None, None
        return Target(kind, wanted, found.get("email")), found.get("role") if kind == "user" else None

    async def refused(
        self,
        principal: Principal,
        target: Target,
        reason: str,
        attempted: dict[str, Any],
        request: RequestContext,
        *,
        target_role: str | None = None,
        required: Role | None = None,
    ) -> Forbidden:
        """The 403 for a change that a caller may not make, after auditing it with what was attempted.

        `required`: the lowest role that might have made it.
        """
        tried = Attempted(
            fields=tuple(sorted(attempted)), role=known_role(attempted.get("role")), values=dict(attempted)
        )
        needed = None if required is None else required.value
        event = AccessDenied(held_role=principal.role.value, required_role=needed, **_tried(tried, target_role))
        await self._record(principal, event, reason, request, target)
        return Forbidden("forbidden", "The caller's role does not allow this change.")

    async def unknown_id(self, principal: Caller, kind: str, wanted: str, request: RequestContext) -> NotFoundError:
        """The 404 for an id that is not in the caller's tenant, after auditing it: across tenants or simply unknown."""
        owner = await self._directory.tenant_of(wanted)
        foreign = owner is not None and owner != principal.tenant_id
        event = AccessCrossTenantDenied() if foreign else AccessDenied(held_role=principal.power)
        reason = "cross_tenant" if foreign else "unknown_id"
        await self._record(principal, event, reason, request, Target(kind, wanted))
        return NotFoundError("not_found", "There is nothing of that id.")

    async def _record(
        self, caller: Caller, event: AuditEvent, reason: str, request: RequestContext, target: Target | None
    ) -> None:
        await self._recorder.record(
            Draft(
                caller.tenant_id,
                event,
                request,
                outcome="denied",
                reason=reason,
                actor=caller.actor,
                target=target,
                person=caller.person,
            )
        )


def _tried(attempt: Attempted | None, target_role: str | None) -> dict[str, Any]:
    """What access.denied says of the change."""
    if attempt is None:
        return {}
    return {
        "attempted_fields": attempt.fields,
        "attempted_role": None if attempt.role is None else attempt.role.value,
        "target_role": target_role,
        "attempted": dict(attempt.values) or None,
    }
