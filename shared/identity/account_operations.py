"""What only the operator of a deployment may do to one account, whatever its role: the way back where no rank is left.

A system_admin is outranked by nobody, and a sole tenant_admin who is locked out, or has neither factor nor recovery
codes, has nobody to ask. Each command tells the account's tenant what happened and why, and `platform` who did it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.audit.events.mfa import MfaDisable
from shared.audit.events.user import UserStatusChange, UserUnlock
from shared.audit.model import PLATFORM_TENANT, AuditEvent, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Clash, NotFoundError, Unready
from shared.core.ids import IdFactory
from shared.identity.directory import Directory, Entry
from shared.identity.factors import factor_key, is_confirmed
from shared.identity.leaving import LastAdmin, recounted
from shared.identity.model import attempts_key, is_active_admin, user_key
from shared.identity.operator_trail import OperatorTrail, changed
from shared.identity.sessions import ended_before
from shared.privacy.blind_index import BlindIndex
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, delete, find_item, replace
from shared.storage.errors import Conflict, NotFound, PreconditionFailed

_RACES = 10


@dataclass(frozen=True, slots=True)
class Order:
    """A command: its name, who gave it (None: not known), and why, for those whom it is about to read."""

    command: str
    operator: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Deed:
    """What an order comes to: the steps, the event for the account's tenant, and what of it `platform` is told."""

    steps: Sequence[BatchOperation]
    event: AuditEvent
    name: str
    old: Any
    new: Any


class AccountOperations:
    """The operator's changes to accounts. `account`, everywhere: an id or an e-mail; NotFoundError for nobody's."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        directory: Directory,
        clock: Clock,
        ids: IdFactory,
        index: BlindIndex,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._directory = directory
        self._clock = clock
        self._trail = OperatorTrail(clock, ids, index)

    async def set_status(self, account: str, status: str, order: Order) -> bool:
        """Suspend an account or let it act again; False when it is so already. Its sessions end.

        Clash (last_admin) for the last active tenant_admin of an organization: who stops that stops the tenant.
        """

        async def deed(user: Item) -> _Deed | None:
            old = user["status"]
            if old == status:
                return None
            new = {**self._signed_out(user), "status": status}
            steps = [replace(new, if_match=user["_etag"])]
            steps += await self._recounted(user["tenant_id"], is_active_admin(new) - is_active_admin(user))
            event = UserStatusChange(old_status=old, new_status=status, reason_text=order.reason)
            return _Deed(steps, event, "status", old, status)

        return await self._carry_out(account, deed, order)

    async def unlock(self, account: str, order: Order) -> bool:
        """Forget an account's failed sign-ins, and the lock that they led to; False when there are none."""

        async def deed(user: Item) -> _Deed | None:
            held = await self._read(user["tenant_id"], attempts_key(user["user_id"]))
            if held is None:
                return None
            steps = [delete(held["id"], if_match=held["_etag"])]
            return _Deed(steps, UserUnlock(reason_text=order.reason), "locked_until", held.get("locked_until"), None)

        return await self._carry_out(account, deed, order)

    async def reset_factor(self, account: str, order: Order) -> bool:
        """Remove an account's second factor with its recovery codes; False when it has none. Its sessions end."""

        async def deed(user: Item) -> _Deed | None:
            held = await self._read(user["tenant_id"], factor_key(user["user_id"]))
            if not user["mfa"] and not is_confirmed(held):
                return None
            steps = [replace({**self._signed_out(user), "mfa": False}, if_match=user["_etag"])]
            if held is not None:
                steps.append(delete(held["id"], if_match=held["_etag"]))
            return _Deed(steps, MfaDisable(factor="totp", reason_text=order.reason), "mfa", True, False)

        return await self._carry_out(account, deed, order)

    async def _carry_out(self, account: str, deed_of: Callable[[Item], Awaitable[_Deed | None]], order: Order) -> bool:
        for _ in range(_RACES):
            user = await self._user(account)
            deed = await deed_of(user)
            if deed is None:
                return False
            try:
                await self._commit(user, deed, order)
            except (Conflict, PreconditionFailed, NotFound):
                continue  # somebody changed something of the account meanwhile
            return True
        raise Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)

    async def _commit(self, user: Item, deed: _Deed, order: Order) -> None:
        tenant_id, user_id = user["tenant_id"], user["user_id"]
        known = changed("user", deed.name, deed.old, deed.new, order.operator)
        drafts = [
            await self._trail.draft(trail, event, order.command, order.operator, target, reason=reason)
            for trail, event, target, reason in (
                (tenant_id, deed.event, Target("user", user_id, user["email"]), "operator"),
                (PLATFORM_TENANT, known, Target("user", user_id), order.command),
            )
        ]
        finished = [await self._recorder.finish(each) for each in drafts]
        await self._outbox.commit(IDENTITY, tenant_id, deed.steps, finished)

    def _signed_out(self, user: Item) -> Item:
        now = self._clock.now()
        return {**user, "sessions_valid_from": ended_before(user, now), "updated_at": rfc3339(now)}

    async def _recounted(self, tenant_id: str, by: int) -> list[BatchOperation]:
        try:
            return await recounted(self._store, tenant_id, by)
        except LastAdmin:
            raise Clash(
                "last_admin",
                f"This is the last active tenant_admin of the tenant {tenant_id}: make another one first, or suspend"
                " the tenant.",
            ) from None

    async def _user(self, account: str) -> Item:
        entry = await self._entry(account)
        held = None if entry is None else await self._read(entry.tenant_id, user_key(entry.user_id))
        if held is None or held["kind"] != "user":
            raise NotFoundError("not_found", "There is no account of that e-mail or id.")
        return held

    async def _entry(self, account: str) -> Entry | None:
        if "@" in account:
            return await self._directory.find(account)
        tenant_id = await self._directory.tenant_of(account)
        return None if tenant_id is None else Entry(tenant_id, account)

    async def _read(self, tenant_id: str, item_id: str) -> Item | None:
        return await find_item(self._store, IDENTITY, (tenant_id,), item_id)
