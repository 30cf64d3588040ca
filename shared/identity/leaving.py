"""How an account leaves its tenant: the steps that deletion by an administrator and erasure of the person share.

How many active tenant_admins there are stands on the tenant's own item, and changes in the batch of whatever changes
it, with if_match: of two who remove each other at once, the second finds that the other was the last.
"""

from shared.audit.events.user import UserDelete
from shared.audit.model import PLATFORM_TENANT, SYSTEM, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.errors import Unready
from shared.identity.factors import factor_key
from shared.identity.model import TENANT_ITEM, Role, admins_of, attempts_key, is_active_admin, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Eq, Item, Query, delete, replace
from shared.storage.errors import NotFound, PreconditionFailed

_RACES = 20


class LastAdmin(Exception):
    """The change would leave an organization without an active tenant_admin."""


async def recounted(store: DocumentStore, tenant_id: str, by: int) -> list[BatchOperation]:
    """The step that counts `by` active tenant_admins more or less. LastAdmin for one too few; the platform's own tenant
    needs none, for it has its system_admins."""
    if by == 0:
        return []
    tenant = await store.read(IDENTITY, (tenant_id,), TENANT_ITEM)
    admins = admins_of(tenant) + by
    if admins < 1 and tenant_id != PLATFORM_TENANT:
        raise LastAdmin
    return [replace({**tenant, "admins": admins}, if_match=tenant["_etag"])]


async def removed(store: DocumentStore, user: Item) -> list[BatchOperation]:
    """The steps that remove a user with the count of failures and the second factor, where there are any. LastAdmin."""
    tenant_id, user_id = user["tenant_id"], user["user_id"]
    steps = [delete(user["id"], if_match=user["_etag"])]
    steps += await recounted(store, tenant_id, -is_active_admin(user))
    for beside in (attempts_key(user_id), factor_key(user_id)):
        try:
            steps.append(delete((await store.read(IDENTITY, (tenant_id,), beside))["id"]))
        except NotFound:
            continue
    return steps


class Leaving:
    """Removes the accounts of persons who are erased."""

    def __init__(self, store: DocumentStore, recorder: Recorder, outbox: Outbox) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox

    async def user(self, tenant_id: str, user_id: str) -> Item | None:
        """A user of a tenant, or None."""
        try:
            found = await self._store.read(IDENTITY, (tenant_id,), user_key(user_id))
        except NotFound:
            return None
        return found if found["kind"] == "user" else None

    async def is_last_admin(self, user: Item) -> bool:
        """Whether a user is the only active tenant_admin of an organization, or the only active system_admin."""
        if user["role"] == Role.SYSTEM_ADMIN:
            return user["status"] == "active" and await self._is_last(user)
        try:
            await recounted(self._store, user["tenant_id"], -is_active_admin(user))
        except LastAdmin:
            return True
        return False

    async def _is_last(self, user: Item) -> bool:
        where = (Eq("kind", "user"), Eq("role", user["role"]), Eq("status", "active"))
        query = Query(where, order_by="created_at", descending=True, limit=2)
        found = (await self._store.query(IDENTITY, (user["tenant_id"],), query)).items
        return all(each["user_id"] == user["user_id"] for each in found)

    async def remove(self, tenant_id: str, user_id: str, request: RequestContext) -> bool:
        """Remove an account, with its event; False when there is none. LastAdmin. Sessions die with the account; the
        directory is the caller's to release."""
        draft = Draft(tenant_id, UserDelete(), request, reason="erasure", actor=SYSTEM, target=Target("user", user_id))
        for _ in range(_RACES):
            user = await self.user(tenant_id, user_id)
            if user is None:
                return False
            try:
                steps = await removed(self._store, user)
                await self._outbox.commit(IDENTITY, tenant_id, steps, [await self._recorder.finish(draft)])
            except (PreconditionFailed, NotFound):
                continue  # the user, or the number of administrators, changed meanwhile
            return True
        raise Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)
