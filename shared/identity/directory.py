"""The directory: which tenant and user an e-mail belongs to, and which tenant a user id belongs to.

An e-mail is reserved before its account is committed and confirmed after. Reservations do not expire; whoever meets
an unconfirmed one older than a minute looks whether its account is there, and confirms it or takes it over.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.ids import time_of
from shared.identity.model import TENANT_ITEM, user_key
from shared.privacy.blind_index import BlindIndex
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, IDENTITY, TENANTS
from shared.storage.documents import MAX_PAGE, Cursor, DocumentStore, Item, Query, find_item, pages
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.telemetry import get_log

_log = get_log(__name__)

_PATIENCE = timedelta(minutes=1)
_ABANDONED = timedelta(days=1)
_VOID = "void_tenant"
_VOID_USER = "void_user"
_VOID_SECONDS = 7 * 86_400
_EMAIL = "email|"
TENANT_SHARDS = tuple(f"{number:02d}" for number in range(16))


type Adopted = Literal["moved", "current", "contended", "gone"]


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
        """The directory ids that an e-mail may stand under, the same for every spelling of its normal form.

        Almost always one. While a version of the index secret is kept beside another, one for each, oldest first, with
        a space between them: `release` and `free` look at all of them.
        """
        return _joined(reversed(await self._index.every_directory(email)))

    async def stranger_id(self, email: str) -> str:
        """The id of an e-mail that has no account."""
        return f"{_EMAIL}{await self._index.for_directory(email)}"

    async def find(self, email: str) -> Entry | None:
        """Whose account an e-mail names, confirmed or not; the caller reads the user to be sure."""
        ids = _joined(await self._index.in_directory(email)).split()
        found = await asyncio.gather(*(self._read(each) for each in reversed(ids)))
        held = [each for each in found if each is not None]
        for item in sorted(held, key=lambda each: each["state"] != "confirmed"):  # of the like, that of the newest
            return Entry(item["tenant_id"], item["user_id"])
        return None

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
        """Reserve an e-mail for a user to be; its directory key. EmailTaken when somebody has it.

        Under every version that counts, from the oldest on: whoever does not know the newest one yet meets the same
        reservation, and so does who does not ask the oldest any more.
        """
        mine: list[str] = []
        for each in _joined(await self._index.in_directory(email)).split():
            try:
                await self._reserve(each, entry)
            except EmailTaken:
                await self.free(" ".join(mine), entry)
                raise
            mine.append(each)
        return " ".join(mine)

    async def _reserve(self, key: str, entry: Entry) -> None:
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
            return

    async def _take_over(self, key: str, mine: Item) -> bool:
        """Write over an abandoned reservation. False when it was freed meanwhile; EmailTaken when it holds."""
        held = await self._read(key)
        if held is None:
            return False
        taken = EmailTaken(Entry(held["tenant_id"], held["user_id"]))
        age = self._clock.now() - parse_rfc3339(held["reserved_at"])
        if held["state"] == "confirmed" or age < _PATIENCE:
            raise taken
        if await self._exists(taken.entry):
            await self._confirm(key, taken.entry)
            await self._know(taken.entry)
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
        """Make a reservation final, and the user id known. TakenOver when it is somebody else's. Idempotent.

        Under a version that counts no more there is nothing to confirm: `adopt` saw to the account.
        """
        counts = tuple(f"{_EMAIL}{version}:" for version in (await self._index.ring()).directory)
        try:
            for each in key.split():
                if each.startswith(counts):
                    await self._confirm(each, entry)
        except TakenOver:
            await self.free(key, entry)
            raise
        await self._know(entry)

    async def _confirm(self, key: str, entry: Entry) -> None:
        held = await self._read(key)
        if held is None or held["user_id"] != entry.user_id:
            raise TakenOver
        if held["state"] != "confirmed":
            try:
                await self._store.replace(DIRECTORY, (key,), {**held, "state": "confirmed"}, if_match=held["_etag"])
            except (PreconditionFailed, NotFound):
                await self._confirm(key, entry)

    async def _know(self, entry: Entry) -> None:
        by_id: Item = {"id": user_key(entry.user_id), "tenant_id": entry.tenant_id}
        try:
            await self._store.create(DIRECTORY, (by_id["id"],), by_id)
        except Conflict:
            return  # a second confirmation of the same user

    async def adopt(self, email: str, entry: Entry) -> Adopted:
        """Give an account's e-mail its entry under every version that counts. Idempotent, whatever cuts it off.

        `contended`: somebody else holds it, or its own reservation is not there: nothing is changed, look again later.
        `gone`: the account was removed meanwhile, and nothing of it stays.
        """
        ids = _joined(await self._index.in_directory(email)).split()
        before = [await self._read(each) for each in ids]
        if before[0] is None or before[0]["user_id"] != entry.user_id:
            return "contended" if await self._exists(entry) else "gone"
        if all(
            each is not None and (each["user_id"], each["state"]) == (entry.user_id, "confirmed") for each in before
        ):
            return "current"
        try:
            for each, there in zip(ids, before, strict=True):
                if there is None or there["user_id"] != entry.user_id:
                    await self._reserve(each, entry)
            if not await self._exists(entry):  # its removal may have looked for an entry that was not there yet
                await self.free(" ".join(ids), entry)
                return "gone"
            for each in ids:
                await self._confirm(each, entry)
        except (EmailTaken, TakenOver):
            return "contended"
        await self._know(entry)
        return "moved"

    async def sweep(self, email: str, entry: Entry) -> int:
        """Remove an account's entries under versions that count no more; how many there were."""
        counting = await self._index.in_directory(email)
        older = [each for each in await self._index.every_directory(email) if each not in counting]
        return sum([await self._free(each, entry) for each in _joined(older).split()])

    async def free(self, key: str, entry: Entry) -> None:
        """Give back a reservation that is still this user's; any other is left alone.

        From the newest version to the oldest: as long as one is left, whoever asks finds the e-mail taken.
        """
        for each in reversed(key.split()):
            await self._free(each, entry)

    async def _free(self, key: str, entry: Entry) -> bool:
        held = await self._read(key)
        if held is None or held["user_id"] != entry.user_id:
            return False
        try:
            await self._store.delete(DIRECTORY, (key,), key, if_match=held["_etag"])
        except (NotFound, PreconditionFailed):
            return False  # gone or somebody else's by now: nothing to free
        return True

    async def release(self, key: str, entry: Entry) -> None:
        """Forget a user that is gone: the e-mail is free, the id unknown. Idempotent."""
        await self.free(key, entry)
        by_id = user_key(entry.user_id)
        try:
            await self._store.delete(DIRECTORY, (by_id,), by_id)
        except NotFound:
            return  # released before, or never confirmed

    async def is_of(self, key: str, user_id: str) -> bool:
        """Whether an e-mail, by its directory key, is a user's."""
        held = [await self._read(each) for each in key.split()]
        return any(each is not None and each["user_id"] == user_id for each in held)

    async def _read(self, key: str) -> Item | None:
        return await find_item(self._store, DIRECTORY, (key,), key)

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


def _joined(values: Iterable[str]) -> str:
    return " ".join(f"{_EMAIL}{each}" for each in values)


def shard_of(tenant_id: str) -> str:
    """The registry shard of a tenant, one of 16 by the last hex digit of its id. ValueError for what is none."""
    try:
        return TENANT_SHARDS[int(tenant_id[-1:], 16)]
    except ValueError:
        raise ValueError("no tenant has such an id") from None
