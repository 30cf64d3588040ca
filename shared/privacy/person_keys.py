"""The data keys of persons: one each, made when something personal is first kept of them, gone for good at erasure.

A key is stored wrapped (container `subject_keys`). Unwrapped keys are held in memory for CACHE_FOR, a bounded number of
them. Erasing a person turns the stored key into a tombstone, which stays: nothing personal is kept of them any more. An
instance that holds the key in memory may use it until CACHE_FOR is over; erasure takes that into account.

While nobody answers who could unwrap, a key that is in memory goes on being used, for HELD_OVER since it was unwrapped:
the store is asked after each CACHE_FOR all the same, so a tombstone ends it. A refusal (the key-encryption key is
disabled, or may not be used) is an answer, and nothing goes on.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets as random_source
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

from shared.core.clock import Clock, rfc3339
from shared.privacy.key_wrapping import KeyDamaged, KeyWrapper, Wrapped
from shared.privacy.secrets import SecretsError, SecretsUnreached
from shared.storage.containers import SUBJECT_KEYS
from shared.storage.documents import DocumentStore, Eq, Item, Query, pages
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from shared.telemetry import get_log

if TYPE_CHECKING:  # cold start
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_log = get_log(__name__)

KEY_BYTES = 32
CACHE_FOR = timedelta(minutes=5)
HELD_OVER = timedelta(hours=1)
PAUSE = timedelta(seconds=10)
"""After one that was not answered nobody is asked who has a key in memory."""
HURRY_SECONDS = 2.0
"""How long an answer is waited for where there is a key in memory."""
CACHED = 10_000
KEY = "key"
TOMBSTONE = "tombstone"
_RACES = 10
_AT_ONCE = 32
_REWRAPPED_AT_ONCE = 4  # a vault unwraps some hundred keys a second, and the app is to go on

type State = Literal["erased", "unknown"]
"""Why there is no key: the person was erased, or there never was one."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A key in memory, None for a tombstone; when the store last said so, and when the key was unwrapped."""

    cipher: AESGCM | None
    since: datetime
    unwrapped_at: datetime


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """How many keys were wrapped anew, were current already, and do not unwrap."""

    wrapped: int = 0
    current: int = 0
    damaged: int = 0

    def __add__(self, other: Rewrapped) -> Rewrapped:
        return Rewrapped(self.wrapped + other.wrapped, self.current + other.current, self.damaged + other.damaged)


class PersonKeys:
    """Finds, makes, re-wraps and erases the keys of persons. SecretsError, StoreError: they cannot be had now."""

    def __init__(
        self,
        store: DocumentStore,
        wrapper: KeyWrapper,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = random_source.token_bytes,
        cached: int = CACHED,
    ) -> None:
        self._store = store
        self._wrapper = wrapper
        self._clock = clock
        self._random_bytes = random_bytes
        self._most = cached
        self._cache: OrderedDict[tuple[str, str], _Held] = OrderedDict()
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._unreached_at: datetime | None = None
        self.hits = 0
        self.misses = 0

    async def for_sealing(self, tenant_id: str, subject: str) -> AESGCM | None:
        """The key to seal with, made if there is none yet; None: the person was erased. KeyDamaged."""
        found = await self._find(tenant_id, subject)
        if found == "unknown":
            found = await self._make(tenant_id, subject)
        return None if isinstance(found, str) else found

    def held(self, tenant_id: str, subject: str) -> AESGCM | None:
        """The key if it is in memory and may be used at once; None: ask `for_sealing` or `for_opening`."""
        found = self._fresh((tenant_id, subject))
        if found is None or found.cipher is None:
            return None
        self.hits += 1
        return found.cipher

    async def for_opening(self, tenant_id: str, subject: str) -> AESGCM | None:
        """The key to open with; None: the person was erased, or nothing was ever sealed. KeyDamaged."""
        found = await self._find(tenant_id, subject)
        return None if isinstance(found, str) else found

    async def prepare(self, tenant_id: str, subjects: Iterable[str], *, make: bool = False) -> None:
        """Have the keys of many persons at hand, asked for side by side. `make`: those who have none get one."""
        find = self.for_sealing if make else self._find
        wanted = [each for each in dict.fromkeys(subjects) if self._fresh((tenant_id, each)) is None][: self._most]
        free = asyncio.Semaphore(_AT_ONCE)

        async def one(subject: str) -> None:
            async with free:
                try:
                    await find(tenant_id, subject)
                except KeyDamaged as error:  # which shows where the key is used
                    _log.error("person_key_damaged", error, tenant_id=tenant_id)

        if len(wanted) > 1:
            await asyncio.gather(*(one(each) for each in wanted))

    async def erase(self, tenant_id: str, subject: str) -> bool:
        """Turn a person's key into a tombstone, for good; False when it was one. Whoever had no key has none to be."""
        tombstone = _item(tenant_id, subject, TOMBSTONE) | {"erased_at": rfc3339(self._clock.now())}
        for _ in range(_RACES):
            try:
                held = await self._store.read(SUBJECT_KEYS, (tenant_id,), key_id(subject))
            except NotFound:
                held = None
            try:
                if held is None:
                    await self._store.create(SUBJECT_KEYS, (tenant_id,), tombstone)
                elif held["kind"] == TOMBSTONE:
                    return False
                else:
                    await self._store.replace(SUBJECT_KEYS, (tenant_id,), tombstone, held["_etag"])
            except (Conflict, NotFound, PreconditionFailed):
                continue
            finally:
                self._cache.pop((tenant_id, subject), None)
            return True
        raise Unavailable("the key of a person is contended")

    async def stored(self, tenant_id: str, subject: str) -> Literal["key", "tombstone"] | None:
        """What there is of a person's key, by the store and no cache."""
        try:
            found = await self._store.read(SUBJECT_KEYS, (tenant_id,), key_id(subject))
        except NotFound:
            return None
        return "tombstone" if found["kind"] == TOMBSTONE else "key"

    async def rewrap(self, tenant_id: str, *, verify: bool = False) -> Rewrapped:
        """Wrap the keys of a tenant's persons under the current key-encryption key, some side by side. `verify`: those
        that are wrapped under it already are unwrapped all the same, to see whether they can be.

        SecretsError, StoreError: it is to be begun again, and passes over what is done. What does not unwrap is left
        as it is, logged and counted. Keys that are made, or erased, meanwhile are left to whoever does that.
        """
        await self._try_wrapping()
        total = Rewrapped()
        async for page in pages(self._store, SUBJECT_KEYS, (tenant_id,), Query((Eq("kind", KEY),), limit=100)):
            for chunk in batched(page, _REWRAPPED_AT_ONCE, strict=False):
                done = await asyncio.gather(
                    *(self._rewrap(tenant_id, item, verify=verify) for item in chunk), return_exceptions=True
                )
                for outcome in done:
                    if isinstance(outcome, BaseException):
                        raise outcome
                    total += outcome
        return total

    async def _try_wrapping(self) -> None:
        """SecretsError unless what is wrapped now unwraps: otherwise every key would be lost."""
        key = self._random_bytes(KEY_BYTES)
        try:
            is_same = await self._wrapper.unwrap(await self._wrapper.wrap(key)) == key
        except KeyDamaged:
            is_same = False
        if not is_same:
            raise SecretsError("persons' keys: what was wrapped does not unwrap")

    async def _rewrap(self, tenant_id: str, item: Item, *, verify: bool) -> Rewrapped:
        try:
            held = _wrapped(item)
            if await self._wrapper.is_current(held.kek):
                if verify:
                    await self._wrapper.unwrap(held)
                return Rewrapped(current=1)
            wrapped = await self._wrapper.wrap(await self._wrapper.unwrap(held))
        except KeyDamaged as error:
            _log.error("person_key_damaged", error, tenant_id=tenant_id)
            return Rewrapped(damaged=1)
        try:
            await self._store.replace(SUBJECT_KEYS, (tenant_id,), item | _fields(wrapped), item["_etag"])
        except (NotFound, PreconditionFailed):
            return Rewrapped()  # erased meanwhile, or wrapped anew by somebody else
        return Rewrapped(wrapped=1)

    async def _find(self, tenant_id: str, subject: str) -> AESGCM | State:
        """The key, from memory or the store; of those who ask for the same one at a time, one asks the store."""
        place = (tenant_id, subject)
        held = self._fresh(place)
        if held is None:
            lock = self._locks.setdefault(place, asyncio.Lock())
            async with lock:  # let go of by whoever gives up
                held = self._fresh(place)
                if held is None:
                    self.misses += 1
                    return await self._load(tenant_id, subject)
        self.hits += 1
        return "erased" if held.cipher is None else held.cipher

    def _fresh(self, place: tuple[str, str]) -> _Held | None:
        held = self._cache.get(place)
        if held is None or abs(self._clock.now() - held.since) >= CACHE_FOR:
            return None
        self._cache.move_to_end(place)
        return held

    async def _load(self, tenant_id: str, subject: str) -> AESGCM | State:
        since = self._clock.now()
        try:
            item = await self._store.read(SUBJECT_KEYS, (tenant_id,), key_id(subject))
        except NotFound:
            return "unknown"
        if item["kind"] == TOMBSTONE:
            self._hold(tenant_id, subject, None, since)
            return "erased"
        spare = self._spare((tenant_id, subject))
        if spare is None:
            return self._hold(tenant_id, subject, await self._unwrap(_wrapped(item)), since)
        try:
            return self._hold(tenant_id, subject, await self._unwrap_soon(_wrapped(item)), since)
        except SecretsUnreached:
            self._cache[tenant_id, subject] = replace(spare, since=since)
            return spare.cipher  # type: ignore[return-value] # a spare has one

    def _spare(self, place: tuple[str, str]) -> _Held | None:
        """What may be used when nobody unwraps."""
        held = self._cache.get(place)
        if held is None or held.cipher is None or abs(self._clock.now() - held.unwrapped_at) >= HELD_OVER:
            return None
        return held

    async def _unwrap(self, wrapped: Wrapped) -> bytes:
        try:
            return await self._wrapper.unwrap(wrapped)
        except SecretsUnreached:
            self._unreached_at = self._clock.now()
            raise

    async def _unwrap_soon(self, wrapped: Wrapped) -> bytes:
        """As `_unwrap`, where there is a way out: it does not wait long, and does not ask again at once."""
        asked_at = self._unreached_at
        if asked_at is not None and abs(self._clock.now() - asked_at) < PAUSE:
            raise SecretsUnreached("persons' keys: nobody answered a moment ago")
        try:
            async with asyncio.timeout(HURRY_SECONDS):
                return await self._unwrap(wrapped)
        except TimeoutError:
            self._unreached_at = self._clock.now()
            error = SecretsUnreached("persons' keys: no answer in time")
        except SecretsUnreached as unreached:
            error = unreached
        _log.warning("person_keys_held_over", why=str(error))
        raise error

    async def _make(self, tenant_id: str, subject: str) -> AESGCM | State:
        since = self._clock.now()
        key = self._random_bytes(KEY_BYTES)
        wrapped = await self._wrapper.wrap(key)
        item = _item(tenant_id, subject, KEY) | {"created_at": rfc3339(since)} | _fields(wrapped)
        try:
            await self._store.create(SUBJECT_KEYS, (tenant_id,), item)
        except Conflict:  # somebody else made one, or the person was erased
            return await self._load(tenant_id, subject)
        return self._hold(tenant_id, subject, key, since)

    def _hold(self, tenant_id: str, subject: str, key: bytes | None, since: datetime) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        cipher = None if key is None else AESGCM(key)
        self._cache[tenant_id, subject] = _Held(cipher, since, since)
        self._cache.move_to_end((tenant_id, subject))
        while len(self._cache) > self._most or (self._cache and self._is_old(next(iter(self._cache.values())))):
            self._cache.popitem(last=False)
        return cipher  # type: ignore[return-value] # only asked for where there is a key

    def _is_old(self, held: _Held) -> bool:
        """Whether the one that was used least lately is of no more use."""
        return abs(self._clock.now() - held.since) >= HELD_OVER


def key_id(subject: str) -> str:
    """The id of a person's key."""
    return f"subject|{subject}"


def _item(tenant_id: str, subject: str, kind: str) -> Item:
    return {"id": key_id(subject), "tenant_id": tenant_id, "kind": kind, "subject": subject}


def _fields(wrapped: Wrapped) -> Item:
    return {"kek": wrapped.kek, "wrapped": base64.b64encode(wrapped.key).decode()}


def _wrapped(item: Item) -> Wrapped:
    try:
        return Wrapped(str(item["kek"]), base64.b64decode(item["wrapped"], validate=True))
    except (KeyError, TypeError, binascii.Error):
        raise KeyDamaged("a person's key is not as it was stored") from None
