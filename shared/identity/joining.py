"""Registration by invitation: an account in the tenant that invited, with the role that the invitation carries.

The order is that of every registration: reserve the e-mail, commit the account with its events, confirm the e-mail. The
commit deletes the invitation with if_match, so it makes one account at most, and none once it was revoked.
"""

from dataclasses import dataclass, field

from shared.audit.model import PLATFORM_TENANT, RequestContext
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Clash, FieldError, Invalid, Unready
from shared.core.ids import IdFactory
from shared.identity.confirmation import confirm_member
from shared.identity.consents import granted
from shared.identity.directory import Directory, EmailTaken, Entry
from shared.identity.invitations import invitation_key
from shared.identity.model import (
    TENANT_ITEM,
    Acceptance,
    Role,
    admins_of,
    is_active_admin,
    new_user,
    user_key,
)
from shared.identity.passwords import Passwords
from shared.identity.ranks import may_grant
from shared.identity.secret_links import INVITATION, read_secret
from shared.identity.service import Identity, SignedIn
from shared.identity.sessions import Sessions
from shared.privacy.emails import normal_email
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, delete, replace
from shared.storage.errors import NotFound, PreconditionFailed, StoreError
from shared.telemetry import get_log

_log = get_log(__name__)

_RACES = 20


class _Refused(Exception):
    """The invitation opens nothing, for whatever reason; `tenant_id` says whose trail has to know."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__("invalid_invitation")
        self.tenant_id = tenant_id


@dataclass(frozen=True, slots=True)
class _Open:
    """An invitation that opens its tenant now, and that tenant."""

    tenant: Item
    invitation: Item

    @property
    def role(self) -> Role:
        """The role that it carries."""
        return Role(self.invitation["role"])


@dataclass(frozen=True, slots=True)
class _Joiner:
    """Who joins: what was given, who it will be, the directory id of the e-mail, and the password's hash."""

    acceptance: Acceptance
    entry: Entry
    key: str
    password_hash: str = field(repr=False)


class Joining:
    """Accepts invitations."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        directory: Directory,
        passwords: Passwords,
        sessions: Sessions,
        identity: Identity,
        clock: Clock,
        ids: IdFactory,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._directory = directory
        self._passwords = passwords
        self._sessions = sessions
        self._identity = identity
        self._clock = clock
        self._ids = ids

    async def join(self, acceptance: Acceptance, request: RequestContext) -> SignedIn:
        """Open an account by invitation, signed in.

        Invalid (422 invalid_invitation), the same whatever is wrong with it, and Clash (409 email_taken): audited.
        """
        try:
            found = await self._find(acceptance)
            known = (acceptance.email, acceptance.first_name, acceptance.last_name, found.tenant["name"])
            await self._passwords.screen(acceptance.password, known)
            password_hash = await self._passwords.hash(acceptance.password)
            entry = Entry(found.tenant["tenant_id"], self._ids.new())
            key = await self._directory.reserve(acceptance.email, entry)
            return await self._commit(_Joiner(acceptance, entry, key, password_hash), request)
        except EmailTaken as taken:
            await self._identity.audit_email_taken(acceptance, taken.entry, request)
            raise Clash("email_taken", "This e-mail has an account.") from None
        except _Refused as refused:
            await self._identity.audit_refused(acceptance, refused.tenant_id, "invalid_invitation", request)
            wrong = FieldError("invitation", "invalid_invitation", "opens nothing, or not for this e-mail")
            raise Invalid("invalid_invitation", "This invitation does not hold.", errors=(wrong,)) from None

    async def _find(self, acceptance: Acceptance) -> _Open:
        """The invitation, if it holds for this e-mail now. _Refused otherwise."""
        link = read_secret(INVITATION, acceptance.invitation)
        if link is None:
            raise _Refused(PLATFORM_TENANT)
        partition = (link.tenant_id,)
        try:
            tenant = await self._store.read(IDENTITY, partition, TENANT_ITEM)
        except NotFound:
            raise _Refused(PLATFORM_TENANT) from None
        if tenant["kind"] != "tenant":
            raise _Refused(PLATFORM_TENANT)
        try:
            invitation = await self._store.read(IDENTITY, partition, invitation_key(link.record_id))
            inviter = await self._store.read(IDENTITY, partition, user_key(invitation["invited_by"]))
        except NotFound:
            raise _Refused(link.tenant_id) from None
        found = _Open(tenant, invitation)
        holds = (
            link.opens(invitation)
            and invitation["expires_at"] > rfc3339(self._clock.now())
            and normal_email(invitation["email"]) == normal_email(acceptance.email)
            and tenant["status"] == "active"
            and inviter["status"] == "active"
            and may_grant(Role(inviter["role"]), found.role)
        )
        if not holds:
            raise _Refused(link.tenant_id)
        return found

    async def _commit(self, joiner: _Joiner, request: RequestContext) -> SignedIn:
        """Make the account with the e-mail reserved. After a failure the e-mail is given back."""
        try:
            return await self._race(joiner, request)
        except _Refused:
            await self._directory.free(joiner.key, joiner.entry)
            raise
        except (StoreError, Unready):
            await self._give_back(joiner.key, joiner.entry)
            raise

    async def _race(self, joiner: _Joiner, request: RequestContext) -> SignedIn:
        for _ in range(_RACES):
            found = await self._find(joiner.acceptance)
            try:
                return await self._commit_once(found, joiner, request)
            except (NotFound, PreconditionFailed):
                continue  # the invitation is used up, or the number of administrators changed meanwhile
        raise Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)

    async def _commit_once(self, found: _Open, joiner: _Joiner, request: RequestContext) -> SignedIn:
        acceptance, entry = joiner.acceptance, joiner.entry
        tenant, invitation, role = found.tenant, found.invitation, found.role
        user = new_user(entry.user_id, entry.tenant_id, acceptance, role, joiner.password_hash, self._clock.now())
        user["invitation_id"] = invitation["invitation_id"]  # its events are about the same person
        consents = self._identity.consents(acceptance, tenant)
        user["consents"] = granted(consents, self._clock.now())
        session, tokens = await self._sessions.draft(user)
        steps: list[BatchOperation] = [
            delete(invitation["id"], if_match=invitation["_etag"]),
            create(user),
            create(session),
        ]
        if is_active_admin(user):
            steps.append(replace({**tenant, "admins": admins_of(tenant) + 1}, if_match=tenant["_etag"]))
        await self._outbox.commit(
            IDENTITY,
            entry.tenant_id,
            steps,
            await self._identity.registration_events(acceptance, entry, role, consents, request),
            [confirm_member(joiner.key, entry)],
        )
        return SignedIn(user, tokens)

    async def _give_back(self, key: str, entry: Entry) -> None:
        """After a commit whose outcome is not known: free the e-mail, unless the account is there after all."""
        try:
            if await self._directory.void_user(entry):
                await self._directory.free(key, entry)
        except StoreError as error:
            _log.error("reservation_left", error, user_id=entry.user_id)
