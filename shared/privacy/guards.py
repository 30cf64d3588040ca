"""Guards: markers that are set once, and rate limits, kept in the store so that all instances share them.

What a guard is about (an address, an e-mail, a key that a client chose) never stands in the store: ids are keyed
hashes, and their key changes with the month. Near the turn of a month both keys are looked at, so that nothing is let
go early; clocks of instances may differ by `SKEW`. Every item carries a `ttl` that outlives its purpose. A StoreError
passes through: the caller decides, and as a rule refuses. The root of the keys is the version of the `index` secret
that the store writes under at a moment, whatever versions there are besides: instances that see different ones agree
all the same. When it rotates, both are looked at as at the turn of a month.
"""

import hashlib
import hmac
import math
import re
import secrets as random_source
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.core.clock import Clock, parse_rfc3339, period_of, rfc3339
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import derive
from shared.storage.containers import GUARDS
from shared.storage.documents import DocumentStore, Item, PatchIncrement, find_item
from shared.storage.errors import Conflict, NotFound, StoreError, Unavailable
from shared.telemetry import get_log

_log = get_log(__name__)

SKEW = timedelta(minutes=5)
LONGEST_CLAIM_SECONDS = 14 * 86_400
LONGEST_WINDOW_SECONDS = 86_400
HIGHEST_LIMIT = 1_000_000
MARGIN_SECONDS = 60
"""How long an item may be there beyond its purpose."""
_RACES = 200
_REMEMBERED = 10_000
_KIND = re.compile(r"[a-z][a-z_]{0,39}")
_LONGEST_WINDOW = timedelta(seconds=LONGEST_WINDOW_SECONDS)
_EPOCH = parse_rfc3339("1970-01-01T00:00:00Z")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whether the marker is this call's own, and the value that holds."""

    mine: bool
    value: Any


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether one more is allowed; if not, the seconds after which one may be."""

    allowed: bool
    retry_after_seconds: float = 0


class Guards:
    """Markers and rate limits. `kind` is a name of the program, `key` any text at all.

    SecretsError (503) from every call while the version of `index` is not to be had.
    """

    def __init__(self, store: DocumentStore, index: BlindIndex, clock: Clock) -> None:
        self._store = store
        self._index = index
        self._clock = clock
        self._refused: OrderedDict[tuple[str, bytes, int, int], datetime] = OrderedDict()

    async def claim(self, kind: str, key: str, value: Any, ttl_seconds: int) -> Claimed:
        """Set a marker, or find the one that is there: of all who try, one is first, and its value holds for all.

        It holds for `ttl_seconds` at least (up to 14 days; the same for all of a kind). `value`: JSON; TooLarge where
        the marker would be above 2 MB. A call that ended in a StoreError may have set it: then the next call is told
        that value, as somebody else's.
        """
        _check(kind, ttl_seconds, LONGEST_CLAIM_SECONDS)
        until = self._clock.now() + timedelta(seconds=ttl_seconds)
        own: Item = {"value": value, "by": random_source.token_hex(16), "until": rfc3339(until)}
        held = own
        # From the older key to the newer: whoever knows both makes them agree, and the newer one decides.
        for guard_id in await self._ids(kind, key, timedelta(seconds=ttl_seconds)):
            held = await self._held(guard_id, held)
        return Claimed(held["by"] == own["by"], held["value"])

    async def held(self, kind: str, key: str, ttl_seconds: int) -> Any:
        """The value of a marker that is there, or None; `ttl_seconds` as for `claim`."""
        _check(kind, ttl_seconds, LONGEST_CLAIM_SECONDS)
        value = None
        for guard_id in await self._ids(kind, key, timedelta(seconds=ttl_seconds)):
            found = await self._read(guard_id)
            value = value if found is None else found["value"]
        return value

    async def _held(self, guard_id: str, wanted: Item) -> Item:
        """What the marker of that id says: `wanted` if it is the first."""
        left = parse_rfc3339(wanted["until"]) - self._clock.now()
        ttl = max(0, math.ceil(left.total_seconds())) + MARGIN_SECONDS
        found: Item | None = None
        for _ in range(_RACES):
            unsure: Unavailable | None = None
            try:
                found = await self._store.create(GUARDS, (guard_id,), {"id": guard_id, **wanted, "ttl": ttl})
            except Unavailable as error:
                unsure = error  # perhaps it was done: what is there tells
            except Conflict:
                pass  # somebody was first
            found = found or await self._read(guard_id)
            if found is not None:
                return {name: found[name] for name in wanted}
            if unsure is not None:
                raise unsure
        raise Unavailable("a marker came and went too often")

    async def take(self, kind: str, key: str, limit: int, window_seconds: int) -> Taken:
        """Take one of `limit` per `window_seconds` (up to a day), if there is one left.

        Windows stand on the clock; what was taken in the one before weighs as much as that one still reaches into the
        `window_seconds` that end now. One round trip to the store, three for the first of a window. A refusal counts
        for nothing and is remembered here: until more may be allowed, the next ones do not reach the store. Never more
        than `limit` in one window; at its edge, what is under way in the one before (or on an instance whose clock is
        behind) may not weigh in the next. A call that ended in a StoreError may have taken one.
        """
        _check(kind, window_seconds, LONGEST_WINDOW_SECONDS)
        if not 1 <= limit <= HIGHEST_LIMIT:
            raise ValueError(f"a limit is 1 to {HIGHEST_LIMIT}")
        now = self._clock.now()
        length = timedelta(seconds=window_seconds)
        known = (kind, hashlib.sha256(_bytes(key)).digest(), limit, window_seconds)
        until = self._refused.get(known)
        if until is not None and now < until <= now + 2 * length:
            return Taken(False, (until - now).total_seconds())
        number, elapsed = divmod(now - _EPOCH, length)
        ids = [await self._window_id(kind, key, length, each) for each in (number, number - 1)]
        count, before = await self._count(ids[0], ids[1], 2 * window_seconds + MARGIN_SECONDS)
        wait = _wait(count, min(before, limit), limit, elapsed // _MICROSECOND, length // _MICROSECOND)
        if wait == 0:
            return Taken(True)
        self._remember(known, now + wait * _MICROSECOND)
        await self._give_back(ids[0])
        return Taken(False, wait / 1_000_000)

    async def _window_id(self, kind: str, key: str, length: timedelta, number: int) -> str:
        """The id of one window: its key is that of the moment at which it begins, whoever asks, and when."""
        return await self._id(kind, _EPOCH + number * length, f"{length // _MICROSECOND}|{number}|{key}")

    async def _count(self, current: str, before: str, ttl: int) -> tuple[int, int]:
        """Count one more in a window: how many there are now, and how many the window before it had."""
        for _ in range(_RACES):
            try:
                item = await self._store.patch(GUARDS, (current,), current, [PatchIncrement("count")])
            except NotFound:
                last = await self._read(before)
                item = {"id": current, "count": 1, "before": last["count"] if last else 0, "ttl": ttl}
                try:
                    await self._store.create(GUARDS, (current,), item)
                except Conflict:
                    continue  # another one was the first of the window
            return item["count"], item["before"]
        raise Unavailable("a count came and went too often")

    async def _give_back(self, current: str) -> None:
        """Take a refused call out of the count. Where that fails the count stays too high, which allows too little."""
        try:
            await self._store.patch(GUARDS, (current,), current, [PatchIncrement("count", -1)])
        except StoreError as error:
            _log.warning("refusal_stays_counted", error_type=type(error).__qualname__)

    def _remember(self, known: tuple[str, bytes, int, int], until: datetime) -> None:
        self._refused[known] = until
        self._refused.move_to_end(known)
        if len(self._refused) > _REMEMBERED:
            self._refused.popitem(last=False)

    async def _read(self, guard_id: str) -> Item | None:
        return await find_item(self._store, GUARDS, (guard_id,), guard_id)

    async def _ids(self, kind: str, key: str, reach: timedelta) -> list[str]:
        """The ids that a key may have had within `reach`, the newest last: one, or more around the turn of a month or
        of the index secret."""
        now = self._clock.now()
        start = now - reach - SKEW
        turns = [each for each in (_month_of(now),) if each > start] + (await self._index.ring()).turns(start, now)
        ids = [await self._id(kind, moment, key) for moment in sorted([start, *turns, now])]
        return list(dict.fromkeys(ids))

    async def _id(self, kind: str, moment: datetime, text: str) -> str:
        root, month = await self._index.root(moment), period_of(moment)
        digest = hmac.digest(derive(root.value, f"guard/{kind}/{month}"), _bytes(text), hashlib.sha256)
        return f"{kind}|{digest.hex()}"


def _month_of(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _check(kind: str, seconds: int, longest: int) -> None:
    if not _KIND.fullmatch(kind):
        raise ValueError("a kind of guard is a name in lower case")
    if not 1 <= seconds <= longest:
        raise ValueError(f"a guard holds for 1 to {longest} seconds")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _wait(count: int, before: int, limit: int, elapsed: int, length: int) -> int:
    """Microseconds until the last of `count` would be allowed; 0: it is. `before` is at most `limit`."""
    if before * (length - elapsed) + count * length <= limit * length:
        return 0
    if count <= limit:  # in this window, once the one before weighs less
        return length - (limit - count) * length // before - elapsed
    return length - elapsed - (-length // limit)  # in the next one, once this one weighs less
