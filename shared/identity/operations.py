"""What only the operator of a deployment may do: system administrators, and the life of tenants."""

from dataclasses import dataclass, field

from shared.audit.events.auth import AuthRegister
from shared.audit.events.config import ConfigChange
from shared.audit.model import PLATFORM_TENANT, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock
from shared.core.errors import Clash, NotFoundError
from shared.core.ids import IdFactory
from shared.identity.confirmation import confirm_member
from shared.identity.consents import Policy
from shared.identity.directory import Directory, Entry
from shared.identity.index_rotation import IndexRotation
from shared.identity.model import TENANT_ITEM, Registration, Role, new_tenant, new_user
from shared.identity.operator_trail import OperatorTrail, changed
from shared.identity.passwords import Passwords
from shared.ledger.recount import Recount
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secret_boxes import SecretBoxes
from shared.privacy.secrets import RootName, RotatableSecrets, SecretsPort
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, find_item, replace
from shared.storage.errors import PreconditionFailed, StoreError

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
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        directory: Directory,
        passwords: Passwords,
        clock: Clock,
        ids: IdFactory,
        policy: Policy,
        index: BlindIndex,
        secrets: SecretsPort,
        boxes: SecretBoxes,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._directory = directory
        self._passwords = passwords
        self._clock = clock
        self._ids = ids
        self._policy = policy
        self._secrets = secrets
        self._trail = OperatorTrail(clock, ids, index)
        self.index_rotation = IndexRotation(
            store=store, recorder=recorder, directory=directory, boxes=boxes, index=index, clock=clock, ids=ids
        )

    async def make_system_admin(self, admin: NewAdmin, *, operator: str | None = None) -> str:
        """A new account with the role system_admin in the tenant `platform`; its id. EmailTaken; Invalid (422) for the
        password."""
        await self._passwords.screen(admin.password, (admin.email, admin.first_name, admin.last_name))
        password_hash = await self._passwords.hash(admin.password)
        entry = Entry(PLATFORM_TENANT, self._ids.new())
        key = await self._directory.reserve(admin.email, entry)
        try:
            await self._commit_admin(admin, entry, key, password_hash, operator)
        except StoreError:
            await self._directory.free(key, entry)
            raise
        return entry.user_id

    async def _commit_admin(
        self, admin: NewAdmin, entry: Entry, key: str, password_hash: str, operator: str | None
    ) -> None:
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
        made = ConfigChange(
            key="system_admin",
            changed_fields=("role",),
            old_values={},
            new_values={"role": Role.SYSTEM_ADMIN.value},
            operator=operator,
        )
        target, command = Target("user", entry.user_id, admin.email), "system-admin"
        drafts = (
            await self._trail.draft(
                PLATFORM_TENANT, event, command, operator, target, person=entry.user_id, reason="system_admin"
            ),
            await self._trail.draft(PLATFORM_TENANT, made, command, operator, target, reason="system_admin"),
        )
        follow_up = confirm_member(key, entry)
        await self._outbox.commit(
            IDENTITY, PLATFORM_TENANT, operations, [await self._recorder.finish(each) for each in drafts], [follow_up]
        )

    async def set_tenant_status(self, tenant_id: str, status: str, *, operator: str | None = None) -> bool:
        """Suspend a tenant (nobody of it can act any more, at once) or let it act again; False when it is so already.

        The event is in the tenant's trail without the operator's name, which is not the tenant's to know, and in that
        of `platform` with it. NotFoundError for no tenant of that id, Clash for the platform's own.
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
            event = changed("tenant", "status", held["status"], status)
            named = event.model_copy(update={"operator": operator})
            target = Target("tenant", tenant_id)
            drafts = [
                await self._trail.draft(trail, told, command, operator, target, reason=status)
                for trail, told in ((tenant_id, event), (PLATFORM_TENANT, named))
            ]
            finished = [await self._recorder.finish(each) for each in drafts]
            step = replace({**held, "status": status}, if_match=held["_etag"])
            try:
                await self._outbox.commit(IDENTITY, tenant_id, [step], finished)
            except PreconditionFailed:
                continue
            return True
        raise PreconditionFailed

    async def rotate(self, root: RootName, *, operator: str | None = None) -> str:
        """Add a version of a root secret; its name. ValueError, saying why, for one that cannot be rotated.

        That it is begun is in the trail before anything is done: a crash may leave a version that nobody reported, and
        never one that nobody asked for. SecretsError when the version could not be written. What goes with a version of
        `index` is the matter of `index_rotation`.
        """
        if not isinstance(self._secrets, RotatableSecrets):
            raise ValueError("secrets in memory cannot be rotated")  # noqa: TRY004 - a matter of settings
        if root == "index":
            await self.index_rotation.check()
        await self._record_rotation(root, root, "rotation_begun", operator)
        version = await self._secrets.rotate(root)
        if root == "index":
            await self.index_rotation.begin(version)
        await self._record_rotation(root, f"{root}:{version}", "rotated", operator)
        return version

    async def _record_rotation(self, root: RootName, what: str, reason: str, operator: str | None) -> None:
        """Names of secrets and of their versions are no secrets."""
        event = ConfigChange(
            key=f"secrets.{root}", changed_fields=("version",), old_values={}, new_values={}, operator=operator
        )
        target = Target("secret", what)
        draft = await self._trail.draft(
            PLATFORM_TENANT, event, "rotate-keys", operator, target, reason=reason, severity="medium"
        )
        await self._recorder.record(draft)

    async def recount_rollups(self, tenant_id: str, period: str, *, operator: str | None = None) -> list[str]:
        """Put the stored counts of a month's days right, counted again from the sealed entries; which days were wrong.

        What is about to be done is in the tenant's trail, and with the operator's name in that of `platform`, before it
        is. BrokenShard when the entries cannot be counted. StoreError.
        """
        recount = Recount(self._store)
        days = await recount.shard(tenant_id, period)
        if not days:
            return []
        event = ConfigChange(key="ledger.rollups", changed_fields=tuple(days), old_values={}, new_values={})
        named = event.model_copy(update={"operator": operator})
        for trail, told in {tenant_id: event, PLATFORM_TENANT: named}.items():
            target = Target("ledger", period)
            draft = await self._trail.draft(trail, told, "recount-rollups", operator, target, reason="recounted")
            await self._recorder.record(draft)
        return await recount.shard(tenant_id, period, write=True)

    async def _tenant(self, tenant_id: str) -> Item | None:
        return await find_item(self._store, IDENTITY, (tenant_id,), TENANT_ITEM)
