"""Which versions of the `index` secret the store's keyed hashes are under, as the store itself says (docs/adr/0052).

One item of `directory` names them, each with a value that only the right secret gives. An instance asks for it again
after ASK_AFTER, and is at most FRESH_FOR behind it: so a version that was added SETTLING ago is known to all of them.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.privacy.secrets import SecretVersion, derive
from shared.storage.containers import DIRECTORY
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import PreconditionFailed, StoreError
from shared.telemetry import get_log

ITEM = "key_check|index"
ASK_AFTER = timedelta(seconds=60)
FRESH_FOR = timedelta(minutes=5)
SETTLING = timedelta(minutes=15)
"""After this time every instance knows of a change, and no call that began before it is under way."""
LOADED = timedelta(seconds=150)
"""After this time every instance has loaded a secret that was added (docs/adr/0011)."""
OVERLAP = timedelta(days=30)
"""How long an older version stays at least: guards and signals of it have ended by then."""
_RACES = 10

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """One version. `value`: what only the right secret gives. `added_at`: None for the oldest, which was always there.

    `indexed_at`: since when the directory is complete under it; `swept_at`: and holds nothing under older ones.
    """

    version: str
    value: str = ""
    added_at: datetime | None = None
    indexed_at: datetime | None = None
    swept_at: datetime | None = None

    @property
    def begins_at(self) -> datetime | None:
        """When values begin to be written under it; None: it always was."""
        return None if self.added_at is None else self.added_at + SETTLING


@dataclass(frozen=True, slots=True)
class Ring:
    """All versions that values are looked for under, oldest first; at least one."""

    kept: tuple[KeptVersion, ...]

    @classmethod
    def of(cls, item: Item) -> Self:
        """From the item of the store."""
        later = (
            KeptVersion(
                each["version"],
                each["value"],
                parse_rfc3339(each["added_at"]),
                *(parse_rfc3339(each[name]) if each[name] else None for name in ("indexed_at", "swept_at")),
            )
            for each in item.get("later", [])
        )
        return cls((KeptVersion(item["version"], item["value"]), *later))

    def item(self) -> Item:
        """As the store keeps it. Whoever knows nothing of rotations finds the oldest version in its old place."""
        later = [
            {
                "version": each.version,
                "value": each.value,
                **{
                    name: moment and rfc3339(moment)
                    for name, moment in (
                        ("added_at", each.added_at),
                        ("indexed_at", each.indexed_at),
                        ("swept_at", each.swept_at),
                    )
                },
            }
            for each in self.kept[1:]
        ]
        first: Item = {"id": ITEM, "version": self.kept[0].version, "value": self.kept[0].value}
        return {**first, "later": later} if later else first

    def known(self, now: datetime) -> Self:
        """Without a version that some instance may not have loaded yet."""
        return type(self)(tuple(each for each in self.kept if each.added_at is None or each.added_at + LOADED <= now))

    @property
    def newest(self) -> KeptVersion:
        """The one that was added last."""
        return self.kept[-1]

    @property
    def versions(self) -> tuple[str, ...]:
        """Their names, oldest first."""
        return tuple(each.version for each in self.kept)

    @property
    def directory(self) -> tuple[str, ...]:
        """Those that the directory is kept under, oldest first: the last complete one, and what came after."""
        complete = [number for number, each in enumerate(self.kept) if each.indexed_at is not None]
        return self.versions[complete[-1] if complete else 0 :]

    def written(self, at: datetime) -> str:
        """The version that values are written under at a moment."""
        begun = [each for each in self.kept if each.begins_at is None or each.begins_at <= at]
        return begun[-1].version

    def turns(self, start: datetime, end: datetime) -> list[datetime]:
        """When `written` changes, after `start` and up to `end`."""
        begins = [each.begins_at for each in self.kept if each.begins_at is not None]
        return [each for each in begins if start < each <= end]

    def why_not_rotated(self) -> str | None:
        """Why no version may be added now; None: one may be."""
        if len(self.kept) > 1 and self.newest.swept_at is None:
            return f"the rotation to {self.newest.version} is not over: run reindex"
        return None

    def why_not_dropped(self, version: str, now: datetime) -> str | None:
        """Why the oldest version may not be dropped now; None: it may be."""
        if len(self.kept) == 1 or version != self.kept[0].version:
            return f"only the oldest of several versions can be dropped; there are {', '.join(self.versions)}"
        if self.newest.swept_at is None:
            return "the directory is not rid of it: run reindex"
        begins_at = self.kept[1].begins_at
        if begins_at is not None and now < begins_at + OVERLAP:
            return f"it was written under until {rfc3339(begins_at)}: it stays for {OVERLAP.days} days at least"
        return None


class IndexVersions:
    """The versions of one store, read again as the module says. They change by a command of the operator's only."""

    def __init__(self, store: DocumentStore, clock: Clock, ring: Ring) -> None:
        self._store = store
        self._clock = clock
        self._ring = ring
        self._asked_at = clock.now()
        self._asking = False

    def now(self) -> datetime:
        """The time by which versions begin."""
        return self._clock.now()

    @property
    def named(self) -> tuple[str, ...]:
        """Names of all versions that this instance heard of, those not in use yet included."""
        return self._ring.versions

    @property
    def held(self) -> Ring:
        """The versions in use, as this instance last heard."""
        return self._ring.known(self._clock.now())

    async def ring(self) -> Ring:
        """The versions that are in use. StoreError when nobody could tell for FRESH_FOR."""
        await self._keep_fresh()
        return self._ring if len(self._ring.kept) == 1 else self.held

    async def _keep_fresh(self) -> None:
        age = abs(self._clock.now() - self._asked_at)
        if age <= ASK_AFTER or (self._asking and age <= FRESH_FOR):
            return
        self._asking = True
        try:
            await self.reread()
        except StoreError as error:
            if age > FRESH_FOR:
                raise
            _log.warning("index_versions_not_read", error_type=type(error).__qualname__)
        finally:
            self._asking = False

    async def reread(self) -> Ring:
        """The versions as they are now, also those that are not in use yet."""
        asked_at = self._clock.now()
        ring = Ring.of(await self._store.read(DIRECTORY, (ITEM,), ITEM))
        if ring != self._ring:
            _log.info("index_versions_changed", count=len(ring.kept), newest=ring.newest.version)
        self._ring, self._asked_at = ring, asked_at
        return ring

    async def add(self, root: SecretVersion) -> Ring:
        """Keep one more version, the newest from now on. ValueError, saying why, while a rotation is under way."""

        def added(ring: Ring, now: datetime) -> Ring:
            if ring.newest.version == root.version:
                return ring
            _refuse(ring.why_not_rotated())
            return Ring((*ring.kept, KeptVersion(root.version, check_value(root), added_at=now)))

        return await self._change(added)

    async def indexed(self, version: str) -> Ring:
        """The directory is complete under the newest version. ValueError when another one is the newest by now."""
        return await self._mark(version, lambda newest, now: replace(newest, indexed_at=now))

    async def swept(self, version: str) -> Ring:
        """The directory holds nothing under older versions. ValueError as for `indexed`."""
        return await self._mark(version, lambda newest, now: replace(newest, swept_at=now))

    async def drop(self, version: str) -> Ring:
        """Keep the oldest version no longer. ValueError, saying why, when it may not be dropped."""

        def dropped(ring: Ring, now: datetime) -> Ring:
            _refuse(ring.why_not_dropped(version, now))
            first = ring.kept[1]
            return Ring((KeptVersion(first.version, first.value), *ring.kept[2:]))

        return await self._change(dropped)

    async def _mark(self, version: str, mark: Callable[[KeptVersion, datetime], KeptVersion]) -> Ring:
        def marked(ring: Ring, now: datetime) -> Ring:
            if ring.newest.version != version or len(ring.kept) == 1:
                raise ValueError(f"{version} is not the version to change to any more")
            return Ring((*ring.kept[:-1], mark(ring.newest, now)))

        return await self._change(marked)

    async def _change(self, change: Callable[[Ring, datetime], Ring]) -> Ring:
        for _ in range(_RACES):
            held = await self._store.read(DIRECTORY, (ITEM,), ITEM)
            ring = change(Ring.of(held), self._clock.now())
            try:
                await self._store.replace(DIRECTORY, (ITEM,), ring.item(), if_match=held["_etag"])
            except PreconditionFailed:
                continue
            return await self.reread()
        raise PreconditionFailed


def check_value(root: SecretVersion) -> str:
    """What only this secret gives under its name."""
    return hmac.digest(derive(root.value, "key-check"), root.version.encode(), hashlib.sha256).hex()


def _refuse(why: str | None) -> None:
    if why is not None:
        raise ValueError(why)
