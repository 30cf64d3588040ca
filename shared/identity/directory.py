"""The directory: which tenant and user an e-mail belongs to, and which tenant a user id belongs to.

An e-mail is reserved before its account is committed and confirmed after. Reservations do not expire; whoever meets
an unconfirmed one older than a minute looks whether its account is there, and confirms it or takes it over.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.ids import time_of
from shared.identity.model import TENANT_ITEM, user_key
from shared.privacy.blind_index import BlindIndex
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, IDENTITY, TENANTS
from shared.storage.documents import MAX_PAGE, Cursor, DocumentStore, Item, Query, pages
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.telemetry import get_log

_log = get_log(__name__)

_PATIENCE = timedelta(minutes=1)
_ABANDONED = timedelta(days=1)
_VOID = "void_tenant"
_VOID_USER = "void_user"
_VOID_SECONDS = 7 * 86_400
TENANT_SHARDS = tuple(f"{number:02d}" for number in range(16))


@dataclass(frozen=True, slots=True)
class Entry:
    """Whose an e-mail is."""

    tenant_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """An enrolled tenant."""

    id: str
    enrolled_at: datetime


class EmailTaken(Exception):
    """The e-mail has an account, or is being registered right now; `entry` says whose."""

    def __init__(self, entry: Entry) -> None:
        super().__init__("email_taken")
        self.entry = entry


class TakenOver(Exception):
    """A reservation that was to be confirmed belongs to somebody else by now."""


class Directory:
    """Reserves, confirms, frees and finds."""

    def __init__(self, store: DocumentStore, index: BlindIndex, clock: Clock) -> None:
        self._store = store
        self._index = index
        self._clock = clock

    async def key(self, email: str) -> str:
        """The directory id of an e-mail, the same for every spelling of its normal form."""
        return f"email|{await self._index.for_directory(email)}"

    async def find(self, email: str) -> Entry | None:
        """Whose account an e-mail names, confirmed or not; the caller reads the user to be sure."""
        key = await self.key(email)
        try:
            item = await self._store.read(DIRECTORY, (key,), key)
        except NotFound:
            return None
        return Entry(item["tenant_id"], item["user_id"])

    async def set_apart(
        self, tenant_id: str, person: str | None, name: str, filters: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """The filters of a search by `person`, without the one of that name if it is somebody else's e-mail; and that,
        by whose it is: in the event it is sealed under them, so that it goes with them. Who has no account in the
        tenant is nobody, and a program (None) keeps no such filter at all."""
        value = filters.get(name)
        if person is not None and isinstance(value, str) and "@" in value:
            try:
                entry = await self.find(value)
            except ValueError:  # no e-mail
                entry = None
            if entry is not None and entry.tenant_id == tenant_id and entry.user_id != person:
                return {each: filters[each] for each in filters if each != name}, {entry.user_id: {name: value}}
        return dict(filters), {}

    async def reserve(self, email: str, entry: Entry) -> str:
        """Reserve an e-mail for a user to be; its directory id. EmailTaken when somebody has it."""
        key = await self.key(email)
        mine: Item = {
            "id": key,
            "state": "reserved",
            "tenant_id": entry.tenant_id,
            "user_id": entry.user_id,
            "reserved_at": rfc3339(self._clock.now()),
        }
        while True:
            try:
                await self._store.create(DIRECTORY, (key,), mine)
            except Conflict:
                if not await self._take_over(key, mine):
                    continue
            return key

    async def _take_over(self, key: str, mine: Item) -> bool:
        """Write over an abandoned reservation. False when it was freed meanwhile; EmailTaken when it holds."""
        try:
            held = await self._store.read(DIRECTORY, (key,), key)
        except NotFound:
            return False
        taken = EmailTaken(Entry(held["tenant_id"], held["user_id"]))
        age = self._clock.now() - parse_rfc3339(held["reserved_at"])
        if held["state"] == "confirmed" or age < _PATIENCE:
            raise taken
        if await self._exists(taken.entry):
            await self.confirm(key, taken.entry)
            raise taken
        try:
            await self._store.replace(DIRECTORY, (key,), mine, if_match=held["_etag"])
        except (PreconditionFailed, NotFound):
            raise taken from None
        return True

    async def _exists(self, entry: Entry) -> bool:
        try:
            held = await self._store.read(IDENTITY, (entry.tenant_id,), user_key(entry.user_id))
        except NotFound:
            return False
        return bool(held["kind"] != _VOID_USER)

    async def confirm(self, key: str, entry: Entry) -> None:
        """Make a reservation final, and the user id known. TakenOver when it is somebody else's. Idempotent."""
        try:
            held = await self._store.read(DIRECTORY, (key,), key)
        except NotFound:
            raise TakenOver from None
        if held["user_id"] != entry.user_id:
            raise TakenOver
        if held["state"] != "confirmed":
            try:
                await self._store.replace(DIRECTORY, (key,), {**held, "state": "confirmed"}, if_match=held["_etag"])
            except (PreconditionFailed, NotFound):
                await self.confirm(key, entry)
                return
        by_id: Item = {"id": user_key(entry.user_id), "tenant_id": entry.tenant_id}
        try:
            await self._store.create(DIRECTORY, (by_id["id"],), by_id)
        except Conflict:
            return  # a second confirmation of the same user

    async def free(self, key: str, entry: Entry) -> None:
        """Give back a reservation that is still this user's; any other is left alone."""
        try:
            held = await self._store.read(DIRECTORY, (key,), key)
            if held["user_id"] == entry.user_id:
                await self._store.delete(DIRECTORY, (key,), key, if_match=held["_etag"])
        except (NotFound, PreconditionFailed):
            return  # gone or somebody else's by now: nothing to free

    async def release(self, key: str, entry: Entry) -> None:
        """Forget a user that is gone: the e-mail is free, the id unknown. Idempotent."""
        await self.free(key, entry)
        by_id = user_key(entry.user_id)
        try:
            await self._store.delete(DIRECTORY, (by_id,), by_id)
        except NotFound:
            return  # released before, or never confirmed

    async def is_of(self, key: str, user_id: str) -> bool:
        """Whether an e-mail, by its directory id, is a user's."""
        try:
            return bool((await self._store.read(DIRECTORY, (key,), key))["user_id"] == user_id)
        except NotFound:
            return False

    async def void_user(self, entry: Entry) -> bool:
        """Make sure that a user who is not there never comes to be; False when it is there. As `void_tenant`."""
        void: Item = {"id": user_key(entry.user_id), "tenant_id": entry.tenant_id, "kind": _VOID_USER}
        try:
            await self._store.create(IDENTITY, (entry.tenant_id,), {**void, "ttl": _VOID_SECONDS})
        except Conflict:
            return not await self._exists(entry)
        return True

    async def tenant_of(self, user_id: str) -> str | None:
        """The tenant of a user id, or None."""
        key = user_key(user_id)
        try:
            found: dict[str, Any] = await self._store.read(DIRECTORY, (key,), key)
        except NotFound:
            return None
        return str(found["tenant_id"])

    async def enroll_tenant(self, tenant_id: str) -> None:
        """Write a tenant into the registry, before its first batch: that is how timers find tenants."""
        shard = shard_of(tenant_id)
        item: Item = {"id": tenant_id, "shard": shard, "enrolled_at": rfc3339(self._clock.now())}
        await self._store.create(TENANTS, (shard,), item)

    async def enroll_again(self, tenant_id: str) -> None:
        """Put a tenant back that was struck off past the app, as of the time that its id tells. Idempotent."""
        shard, enrolled_at = shard_of(tenant_id), _registered_at(tenant_id) or self._clock.now()
        item: Item = {"id": tenant_id, "shard": shard, "enrolled_at": rfc3339(enrolled_at)}
        try:
            await self._store.create(TENANTS, (shard,), item)
        except Conflict:
            return  # by another run

    async def withdraw_tenant(self, tenant_id: str) -> None:
        """Take a tenant that never came to be out of the registry."""
        try:
            await self._store.delete(TENANTS, (shard_of(tenant_id),), tenant_id)
        except NotFound:
            return  # its enrollment had failed

    async def void_tenant(self, tenant_id: str) -> bool:
        """Make sure that a tenant which is not there never comes to be; False when it is there.

        An item takes the place of the tenant's own, so that a registration still under way fails as a whole. It stays
        for longer than any request lives.
        """
        void: Item = {"id": TENANT_ITEM, "tenant_id": tenant_id, "kind": _VOID, "ttl": _VOID_SECONDS}
        try:
            await self._store.create(IDENTITY, (tenant_id,), void)
        except Conflict:
            held = await self._store.read(IDENTITY, (tenant_id,), TENANT_ITEM)
            return bool(held["kind"] == _VOID)
        return True

    async def tidy(self, tenant_id: str) -> bool:
        """Withdraw a tenant whose registration failed, if it is a day old and left nothing; whether it was withdrawn.

        What has an event or an item stays: whatever looks after them finds the tenant through the registry.
        """
        if await self.is_there(tenant_id) or not await self._is_old(tenant_id):
            return False
        for container in (IDENTITY, AUDIT_EVENTS):
            page = await self._store.query(container, (tenant_id,), Query(limit=2, fields=("id", "kind")))
            if any(item.get("kind") != _VOID for item in page.items):
                return False
        if not await self.void_tenant(tenant_id):
            return False
        await self.withdraw_tenant(tenant_id)
        _log.info("tenant_withdrawn", tenant_id=tenant_id)
        return True

    async def is_there(self, tenant_id: str) -> bool:
        """Whether a tenant came to be, and is."""
        try:
            return bool((await self._store.read(IDENTITY, (tenant_id,), TENANT_ITEM)).get("kind") != _VOID)
        except NotFound:
            return False

    async def _is_old(self, tenant_id: str) -> bool:
        try:
            entry = await self._store.read(TENANTS, (shard_of(tenant_id),), tenant_id)
        except NotFound:
            return False  # withdrawn by another run
        return self._clock.now() - parse_rfc3339(entry["enrolled_at"]) >= _ABANDONED

    async def enrolled(self) -> AsyncIterator[tuple[str, set[str]]]:
        """Each shard of the registry, and the ids of the tenants in it."""
        query = Query(limit=MAX_PAGE, fields=("id",))
        for shard in TENANT_SHARDS:
            yield shard, {item["id"] async for page in pages(self._store, TENANTS, (shard,), query) for item in page}

    def shard_of(self, tenant_id: str) -> str:
        """The registry shard of a tenant. ValueError for what is no tenant's id."""
        return shard_of(tenant_id)

    async def tenants(self, after: str | None = None, until: str | None = None) -> AsyncIterator[Tenant]:
        """Every enrolled tenant once, shard by shard: behind one id, up to and with another; they need not be there.

        A tenant whose first batch failed is among them, and empty. ValueError for what is no tenant's id.
        """
        first = TENANT_SHARDS.index(shard_of(after)) if after is not None else 0
        last = TENANT_SHARDS.index(shard_of(until)) if until is not None else len(TENANT_SHARDS) - 1
        for number in range(first, last + 1):
            begin = Cursor(after, after) if after is not None and number == first else None
            query = Query(limit=MAX_PAGE, after=begin)
            async for items in pages(self._store, TENANTS, (TENANT_SHARDS[number],), query):
                for item in items:
                    if until is not None and number == last and item["id"] > until:
                        return
                    yield Tenant(item["id"], parse_rfc3339(item["enrolled_at"]))


def _registered_at(tenant_id: str) -> datetime | None:
    """When a tenant registered, as its id tells; None where it does not."""
    try:
        return time_of(tenant_id)
    except ValueError:
        return None


def shard_of(tenant_id: str) -> str:
    """The registry shard of a tenant, one of 16 by the last hex digit of its id. ValueError for what is none."""
    try:
        return TENANT_SHARDS[int(tenant_id[-1:], 16)]
    except ValueError:
        raise ValueError("no tenant has such an id") from None
