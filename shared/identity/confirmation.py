"""The last step of every registration, as a follow-up of its commit: the e-mail becomes the account's for good, or the
account is taken back, because somebody else took the e-mail over before it was confirmed."""

from collections.abc import Awaitable, Callable
from typing import Any

from shared.audit.events.user import UserDelete
from shared.audit.model import SYSTEM, Draft, RequestContext, Target
from shared.audit.outbox import FollowUp, Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock
from shared.core.errors import Clash, Unready
from shared.core.ids import IdFactory
from shared.identity.directory import Directory, Entry, TakenOver
from shared.identity.model import TENANT_ITEM, admins_of, is_active_admin, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, delete, replace
from shared.storage.errors import NotFound, PreconditionFailed
from shared.telemetry import get_log

_log = get_log(__name__)

_FOUNDED, _JOINED = "directory.confirm", "directory.confirm_joined"
_RACES = 20


def confirm_founder(key: str, entry: Entry) -> FollowUp:
    """Confirm the e-mail of an account that came with its tenant, or take both back."""
    return FollowUp(_FOUNDED, _arguments(key, entry))


def confirm_member(key: str, entry: Entry) -> FollowUp:
    """Confirm the e-mail of an account in a tenant that was there, or take the account back."""
    return FollowUp(_JOINED, _arguments(key, entry))


def _arguments(key: str, entry: Entry) -> dict[str, Any]:
    return {"key": key, "tenant_id": entry.tenant_id, "user_id": entry.user_id}


class Confirmation:
    """Runs these follow-ups."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        directory: Directory,
        clock: Clock,
        ids: IdFactory,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._directory = directory
        self._clock = clock
        self._ids = ids
        outbox.on(_FOUNDED, self._handler(self._without_tenant))
        outbox.on(_JOINED, self._handler(self._without_member))

    def _handler(
        self, removal: Callable[[Entry], Awaitable[list[BatchOperation]]]
    ) -> Callable[[dict[str, Any]], Awaitable[None]]:
        async def confirm(arguments: dict[str, Any]) -> None:
            entry = Entry(arguments["tenant_id"], arguments["user_id"])
            try:
                await self._directory.confirm(arguments["key"], entry)
            except TakenOver:
                await self._take_back(entry, removal)
                raise Clash("email_taken", "This e-mail has an account.") from None

        return confirm

    async def _take_back(self, entry: Entry, removal: Callable[[Entry], Awaitable[list[BatchOperation]]]) -> None:
        request = RequestContext(self._ids.new(), "outbox", "outbox", self._clock.now())
        target = Target("user", entry.user_id)
        draft = Draft(entry.tenant_id, UserDelete(), request, reason="email_taken", actor=SYSTEM, target=target)
        for _ in range(_RACES):
            try:
                steps = await removal(entry)
                await self._outbox.commit(IDENTITY, entry.tenant_id, steps, [await self._recorder.finish(draft)])
            except PreconditionFailed:
                continue
            except NotFound:
                _log.info("account_taken_back_already", user_id=entry.user_id)
            return
        raise Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)

    async def _without_tenant(self, entry: Entry) -> list[BatchOperation]:
        return [delete(user_key(entry.user_id)), delete(TENANT_ITEM)]

    async def _without_member(self, entry: Entry) -> list[BatchOperation]:
        """The tenant stays, and has one administrator less where the account was one."""
        user = await self._store.read(IDENTITY, (entry.tenant_id,), user_key(entry.user_id))
        steps = [delete(user["id"], if_match=user["_etag"])]
        if is_active_admin(user):
            tenant = await self._store.read(IDENTITY, (entry.tenant_id,), TENANT_ITEM)
            steps.append(replace({**tenant, "admins": admins_of(tenant) - 1}, if_match=tenant["_etag"]))
        return steps
