"""Invitations to a tenant: made, listed and revoked by its administrators. How one is accepted is in joining.py.

An invitation is there while it is open: used or revoked it is deleted, and it expires with its TTL. It is as good as
whoever sent it: once that administrator is gone, suspended or could not send it any more, it opens nothing.
"""

from datetime import timedelta
from typing import Any

from shared.audit.events.user import UserInvite, UserInviteRevoke
from shared.audit.model import Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Clash
from shared.core.ids import IdFactory
from shared.identity.access import Access
from shared.identity.approvals import NOT_SAID, Approval, check_approval
from shared.identity.directory import Directory
from shared.identity.model import Principal, Role, user_key
from shared.identity.ranks import may_grant
from shared.identity.secret_links import INVITATION, new_secret
from shared.storage.containers import IDENTITY
from shared.storage.documents import Cursor, DocumentStore, Eq, Item, Page, Query, Range, create, delete
from shared.storage.errors import NotFound

KIND = "invitation"
LIFETIME = timedelta(days=7)


def invitation_key(invitation_id: str) -> str:
    """The id of an invitation's item in its tenant's partition."""
    return f"{KIND}|{invitation_id}"


def shown_invitation(item: Item) -> dict[str, Any]:
    """An invitation as the API shows it: never its secret."""
    names = ("email", "role", "invited_by", "created_at", "expires_at")
    return {"id": item["invitation_id"], **{name: item[name] for name in names}}


class Invitations:
    """The invitations of the caller's tenant."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        directory: Directory,
        access: Access,
        clock: Clock,
        ids: IdFactory,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._directory = directory
        self._access = access
        self._clock = clock
        self._ids = ids

    async def invite(
        self, principal: Principal, email: str, role: Role, request: RequestContext, approval: Approval = NOT_SAID
    ) -> tuple[Item, str]:
        """Invite someone to a role; the invitation and its secret, which nobody can see again. Invalid (422) for an
        approver who cannot be one.

        Forbidden (403) by rank, audited. Clash (409 email_taken) for a user of this tenant. Whether another tenant has
        the e-mail is not told.
        """
        invitation_id, now = self._ids.new(), self._clock.now()
        target = Target(KIND, invitation_id, email)
        if not may_grant(principal.role, role):
            required = next((each for each in Role if may_grant(each, role)), None)
            raise await self._access.refused(
                principal, target, "role", {"role": role.value}, request, required=required
            )
        await check_approval(self._store, principal, approval)
        if await self._is_member(principal.tenant_id, email):
            raise Clash("email_taken", "This e-mail has an account in the organization.")
        text, secret_hash = new_secret(INVITATION, principal.tenant_id, invitation_id)
        item: Item = {
            "id": invitation_key(invitation_id),
            "tenant_id": principal.tenant_id,
            "kind": KIND,
            "invitation_id": invitation_id,
            "email": email,
            "role": role.value,
            "invited_by": principal.user_id,
            "secret_hash": secret_hash,
            "created_at": rfc3339(now),
            "expires_at": rfc3339(now + LIFETIME),
            "ttl": int(LIFETIME.total_seconds()),
        }
        draft = Draft(
            principal.tenant_id,
            UserInvite(role=role.value, **approval.attributes),
            request,
            actor=principal.actor,
            target=target,
            person=principal.person,
        )
        await self._outbox.commit(IDENTITY, principal.tenant_id, [create(item)], [await self._recorder.finish(draft)])
        return item, text

    async def page(self, tenant_id: str, *, limit: int, after: Cursor | None) -> Page:
        """One page of the open invitations, newest first."""
        open_since = rfc3339(self._clock.now() - LIFETIME)
        where = (Eq("kind", KIND), Range("created_at", gt=open_since))
        query = Query(where, order_by="created_at", descending=True, limit=limit, after=after)
        return await self._store.query(IDENTITY, (tenant_id,), query)

    async def revoke(self, principal: Principal, invitation_id: str, request: RequestContext) -> None:
        """Take an open invitation back. NotFoundError (404), audited, for one that is not open, or not there."""
        draft = Draft(
            principal.tenant_id,
            UserInviteRevoke(),
            request,
            actor=principal.actor,
            target=Target(KIND, invitation_id),
            person=principal.person,
        )
        event = await self._recorder.finish(draft)
        try:
            await self._outbox.commit(IDENTITY, principal.tenant_id, [delete(invitation_key(invitation_id))], [event])
        except NotFound:
            raise await self._access.unknown_id(principal, KIND, invitation_id, request) from None

    async def _is_member(self, tenant_id: str, email: str) -> bool:
        entry = await self._directory.find(email)
        if entry is None or entry.tenant_id != tenant_id:
            return False
        try:
            return bool((await self._store.read(IDENTITY, (tenant_id,), user_key(entry.user_id)))["kind"] == "user")
        except NotFound:
            return False
