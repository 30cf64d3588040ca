"""Rotating the index secret: accounts move to a new version while the app runs (docs/adr/0052).

`begin` adds a version. Once every instance knows it, `reindex` gives each account's e-mail its entry under it, and
seals second factors and webhooks anew; run again, it removes the entries under the version before. Events keep the
hashes that they were written with. Whatever is cut off is begun again: what is done already is passed over.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime

from shared.audit.events.config import ConfigChange
from shared.audit.model import PLATFORM_TENANT, Target
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.ids import IdFactory
from shared.identity.directory import Directory, Entry
from shared.identity.factors import factor_key
from shared.identity.operator_trail import OperatorTrail, every_trail
from shared.privacy.blind_index import BlindIndex
from shared.privacy.index_versions import SETTLING
from shared.privacy.secret_boxes import SecretBoxes
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore, Eq, Item, Query, pages
from shared.storage.errors import NotFound, PreconditionFailed
from shared.telemetry import get_log

_log = get_log(__name__)

_RACES = 10

type Renew = Callable[[str], Awaitable[int]]
"""Seals a tenant's secrets under the current key; how many were not."""


@dataclass(slots=True)
class Reindexed:
    """What a run did: it gave entries, or removed them (`is_sweep`).

    `moved`: accounts whose e-mail has an entry under the new version now; `current`: had it before.

    `contended`: e-mails that two accounts or an unfinished registration claim; while there are any, the run is not
    complete and has to be begun again. `sealed`: second factors and webhooks sealed anew; `removed`: entries under the
    old version.
    """

    is_sweep: bool
    moved: int = 0
    current: int = 0
    contended: int = 0
    sealed: int = 0
    removed: int = 0


class IndexRotation:
    """The operator's steps of a rotation. ValueError, saying why, for one whose time has not come."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        directory: Directory,
        boxes: SecretBoxes,
        index: BlindIndex,
        clock: Clock,
        ids: IdFactory,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._directory = directory
        self._boxes = boxes
        self._index = index
        self._clock = clock
        self._trail = OperatorTrail(clock, ids, index)
        self._others: list[Renew] = []

    def also(self, renew: Renew) -> None:
        """Have others seal anew what they keep of a tenant."""
        self._others.append(renew)

    async def check(self) -> None:
        """ValueError while another rotation is under way."""
        why = (await self._index.versions.reread()).why_not_rotated()
        if why is not None:
            raise ValueError(why)

    async def begin(self, version: str) -> None:
        """Keep one more version, which was added to the secrets. SecretsError when it is not to be had."""
        root = await self._index.secret(version)
        await self._index.versions.add(root)

    async def reindex(self, *, operator: str | None = None) -> Reindexed:
        """The step that is due: entries under the new version, or none under the old one any more.

        That it is begun is in the trail of `platform` before anything is done, and what was done after it.
        StoreError, SecretsError: it is to be begun again.
        """
        newest = (await self._index.versions.reread()).newest
        if newest.begins_at is None or newest.swept_at is not None:
            raise ValueError("no rotation of the index secret is under way")
        moving = newest.indexed_at is None
        since = newest.begins_at if newest.indexed_at is None else newest.indexed_at + SETTLING
        if self._clock.now() < since:
            raise ValueError(f"not before {rfc3339(since)}: every instance has to know how far the rotation is")
        await self._record(newest.version, "reindex_begun", {}, operator)
        done = Reindexed(is_sweep=not moving)
        async for tenant_id in every_trail(self._directory):
            async for user in self._users(tenant_id):
                await (self._move(user, done) if moving else self._sweep(user, done))
                done.sealed += await self._seal(user["tenant_id"], user["user_id"])  # twice: clocks may differ
            for renew in self._others:
                done.sealed += await renew(tenant_id)
        counts = asdict(done)
        counts.pop("is_sweep")
        await self._record(newest.version, "reindexed" if moving else "index_swept", counts, operator)
        if moving and not done.contended:
            await self._index.versions.indexed(newest.version)
        elif not moving:
            await self._index.versions.swept(newest.version)
        return done

    async def drop(self, version: str, needed_until: datetime | None, *, operator: str | None = None) -> None:
        """Look for nothing under the oldest version any more.

        `needed_until`: before this it is refused, for events of that version may be there. None: drop it all the same.
        """
        ring = await self._index.versions.reread()
        why = ring.why_not_dropped(version, self._clock.now())
        if why is not None:
            raise ValueError(why)
        if needed_until is not None and self._clock.now() < needed_until:
            raise ValueError(f"events that are found by it may be there until {rfc3339(needed_until)}")
        await self._record(version, "version_dropped", {}, operator)
        await self._index.versions.drop(version)

    async def written_until(self) -> datetime | None:
        """When the oldest version ceased to be written under; None while it is the only one."""
        ring = await self._index.versions.reread()
        return None if len(ring.kept) == 1 else ring.kept[1].begins_at

    async def _users(self, tenant_id: str) -> AsyncIterator[Item]:
        accounts = Query((Eq("kind", "user"),), order_by="created_at")
        async for items in pages(self._store, IDENTITY, (tenant_id,), accounts):
            for item in items:
                yield item

    async def _move(self, user: Item, done: Reindexed) -> None:
        adopted = await self._directory.adopt(user["email"], Entry(user["tenant_id"], user["user_id"]))
        if adopted == "moved":
            done.moved += 1
        elif adopted == "current":
            done.current += 1
        elif adopted == "contended":
            _log.warning("email_contended", tenant_id=user["tenant_id"], user_id=user["user_id"])
            done.contended += 1

    async def _sweep(self, user: Item, done: Reindexed) -> None:
        done.removed += await self._directory.sweep(user["email"], Entry(user["tenant_id"], user["user_id"]))

    async def _seal(self, tenant_id: str, user_id: str) -> bool:
        """Seal a second factor anew, the one that counts and one that is pending; whether there was one to seal."""
        for _ in range(_RACES):
            try:
                held = await self._store.read(IDENTITY, (tenant_id,), factor_key(user_id))
            except NotFound:
                return False
            wanted = {**held, "secret": await self._renewed(held, held["secret"])}
            if held["pending"] is not None:
                wanted["pending"] = {**held["pending"], "secret": await self._renewed(held, held["pending"]["secret"])}
            if wanted == held:
                return False
            try:
                await self._store.replace(IDENTITY, (tenant_id,), wanted, if_match=held["_etag"])
            except (PreconditionFailed, NotFound):
                continue  # used, or removed, meanwhile
            return True
        raise PreconditionFailed

    async def _renewed(self, held: Item, box: dict[str, str] | None) -> dict[str, str] | None:
        if box is None:
            return None
        return await self._boxes.renewed("mfa", held["tenant_id"], held["user_id"], box)

    async def _record(self, version: str, reason: str, counts: dict[str, int], operator: str | None) -> None:
        event = ConfigChange(
            key="secrets.index", changed_fields=("version",), old_values={}, new_values=counts, operator=operator
        )
        target = Target("secret", f"index:{version}")
        draft = await self._trail.draft(
            PLATFORM_TENANT, event, "reindex", operator, target, reason=reason, severity="medium"
        )
        await self._recorder.record(draft)
