"""What only the operator of a deployment may do: system administrators, and the life of tenants."""

from dataclasses import dataclass, field

from shared.audit.events.auth import AuthRegister
from shared.audit.events.config import ConfigChange
from shared.audit.model import PLATFORM_TENANT, SYSTEM, Draft, RequestContext, Target
from shared.audit.outbox import FollowUp, Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock
from shared.core.errors import Clash, NotFoundError
from shared.core.ids import IdFactory
from shared.identity.directory import Directory, Entry
from shared.identity.joining import CONFIRM_JOINED
from shared.identity.model import TENANT_ITEM, Registration, Role, new_tenant, new_user
from shared.identity.passwords import Passwords
from shared.identity.service import Policy
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, replace
from shared.storage.errors import NotFound, PreconditionFailed, StoreError

_RACES = 10
_PLATFORM_NAME = "Platform"


@dataclass(frozen=True, slots=True)
class NewAdmin:
    """Who is to be a system administrator."""

    email: str = field(repr=False)
    password: str = field(repr=False)
    first_name: str = field(repr=False)
    last_name: str = field(repr=False)


class Operations:
    """The operator's changes, audited like everybody's."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        directory: Directory,
        passwords: Passwords,
        clock: Clock,
        ids: IdFactory,
        policy: Policy,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._directory = directory
        self._passwords = passwords
        self._clock = clock
        self._ids = ids
        self._policy = policy

    def request(self, command: str) -> RequestContext:
        """What stands in the events of one command."""
        return RequestContext(self._ids.new(), f"operator {command}", "operator", self._clock.now())

    async def make_system_admin(self, admin: NewAdmin) -> str:
        """A new account with the role system_admin in the tenant `platform`; its id. EmailTaken; Invalid (422) for the
        password."""
        await self._passwords.screen(admin.password, (admin.email, admin.first_name, admin.last_name))
        password_hash = await self._passwords.hash(admin.password)
        entry = Entry(PLATFORM_TENANT, self._ids.new())
        key = await self._directory.reserve(admin.email, entry)
        try:
            await self._commit_admin(admin, entry, key, password_hash)
        except StoreError:
            await self._directory.free(key, entry)
            raise
        return entry.user_id

    async def _commit_admin(self, admin: NewAdmin, entry: Entry, key: str, password_hash: str) -> None:
        now = self._clock.now()
        registration = Registration(
            email=admin.email,
            password=admin.password,
            first_name=admin.first_name,
            last_name=admin.last_name,
            organization=_PLATFORM_NAME,
            marketing_opt_in=False,
        )
        user = new_user(entry.user_id, PLATFORM_TENANT, registration, Role.SYSTEM_ADMIN, password_hash, now)
        operations: list[BatchOperation] = [create(user)]
        if await self._tenant(PLATFORM_TENANT) is None:
            operations.append(create({**new_tenant(PLATFORM_TENANT, _PLATFORM_NAME, now), "admins": 0}))
        event = AuthRegister(
            organization=False,
            terms_version=self._policy.terms_version,
            privacy_version=self._policy.privacy_version,
            first_name=admin.first_name,
            last_name=admin.last_name,
        )
        draft = Draft(
            PLATFORM_TENANT,
            event,
            self.request("system-admin"),
            reason="system_admin",
            actor=SYSTEM,
            target=Target("user", entry.user_id, admin.email),
            person=entry.user_id,
            severity="high",
        )
        follow_up = FollowUp(CONFIRM_JOINED, {"key": key, "tenant_id": entry.tenant_id, "user_id": entry.user_id})
        await self._outbox.commit(
            IDENTITY, PLATFORM_TENANT, operations, [await self._recorder.finish(draft)], [follow_up]
        )

    async def set_tenant_status(self, tenant_id: str, status: str) -> bool:
        """Suspend a tenant (nobody of it can act any more, at once) or let it act again; False when it is so already.

        NotFoundError for no tenant of that id, Clash for the platform's own.
        """
        if tenant_id == PLATFORM_TENANT:
            raise Clash("platform", "The platform's own tenant cannot be suspended: its users suspend others.")
        command = "suspend-tenant" if status == "suspended" else "resume-tenant"
        for _ in range(_RACES):
            held = await self._tenant(tenant_id)
            if held is None or held["kind"] != "tenant":
                raise NotFoundError("not_found", "There is no tenant of that id.")
            if held["status"] == status:
                return False
            event = ConfigChange(
                key="tenant",
                changed_fields=("status",),
                old_values={"status": held["status"]},
                new_values={"status": status},
            )
            draft = Draft(
                tenant_id,
                event,
                self.request(command),
                reason=status,
                actor=SYSTEM,
                target=Target("tenant", tenant_id),
                severity="high",
            )
            step = replace({**held, "status": status}, if_match=held["_etag"])
            try:
                await self._outbox.commit(IDENTITY, tenant_id, [step], [await self._recorder.finish(draft)])
            except PreconditionFailed:
                continue
            return True
        raise PreconditionFailed

    async def record_rotation(self, root: str, version: str) -> None:
        """Audit that a version of a root secret was added. Its name is no secret."""
        event = ConfigChange(key=f"secrets.{root}", changed_fields=("version",), old_values={}, new_values={})
        await self._recorder.record(
            Draft(
                PLATFORM_TENANT,
                event,
                self.request("rotate-keys"),
                reason="rotated",
                actor=SYSTEM,
                target=Target("secret", f"{root}:{version}"),
                severity="medium",
            )
        )

    async def _tenant(self, tenant_id: str) -> Item | None:
        try:
            return await self._store.read(IDENTITY, (tenant_id,), TENANT_ITEM)
        except NotFound:
            return None
