"""The outbox: a change and its finished audit events commit in one batch, so a crash can part them no more.

After the commit the events are published, the follow-ups run and the entry is deleted. Whatever a crash leaves is
drained by a change-feed trigger on the container, and by a timer sweep as a backstop. All of it may run twice.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.audit.model import StoredEvent
from shared.audit.recorder import Recorder
from shared.audit.writing import Writing
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.errors import KraftdError, Unready
from shared.core.ids import IdFactory
from shared.storage.containers import Container
from shared.storage.documents import BatchOperation, DocumentStore, Eq, Item, Query, Range, create, pages
from shared.storage.errors import NotFound, StoreError, Throttled, Unavailable
from shared.telemetry import get_log

_log = get_log(__name__)

OUTBOX_KIND = "outbox"
MOST_PER_SWEEP = 2000
"""Entries of one tenant and container that one sweep drains: one with very many does not hold up the others."""

type FollowUpHandler = Callable[[dict[str, Any]], Awaitable[None]]
type Counted = Callable[[str, str, float], None]
"""Told of each entry that its request did not deliver: its container, what became of it, its age in seconds."""


def _uncounted(_container: str, _outcome: str, _age: float) -> None:
    """Nobody asked."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Work that has to happen after the commit, outside its partition. Handlers are idempotent."""

    kind: str
    arguments: dict[str, Any]


def is_entry(item: Item) -> bool:
    """Whether an item of a container is an outbox entry."""
    return item.get("kind") == OUTBOX_KIND


class Outbox:
    """Commits changes with their events, and drains what is left."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        clock: Clock,
        ids: IdFactory,
        counted: Counted = _uncounted,
        writing: Writing | None = None,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._counted = counted
        self._clock = clock
        self._ids = ids
        self._writing = writing or Writing(clock)
        self._handlers: dict[str, FollowUpHandler] = {}

    def on(self, kind: str, handler: FollowUpHandler) -> None:
        """Register the handler of a kind of follow-up. ValueError for a second one."""
        if kind in self._handlers:
            raise ValueError(f"follow-up {kind} has a handler already")
        self._handlers[kind] = handler

    async def commit(
        self,
        container: Container,
        tenant_id: str,
        operations: Sequence[BatchOperation],
        events: Sequence[StoredEvent],
        follow_ups: Sequence[FollowUp] = (),
    ) -> None:
        """Commit a change of one tenant with its events, then publish and follow up.

        StoreErrors of the batch pass through: nothing was done (Unavailable: or all of it, to be drained).
        A KraftdError is a follow-up's verdict on the change. What is not ready after the commit (StoreError, Unready)
        is no error to the caller: entry and events are durable and get drained.
        """
        for follow_up in follow_ups:
            if follow_up.kind not in self._handlers:
                raise ValueError(f"follow-up {follow_up.kind} has no handler")
        now = self._clock.now()
        entry: Item = {
            "id": f"{OUTBOX_KIND}|{self._ids.new(now)}",
            "tenant_id": tenant_id,
            "kind": OUTBOX_KIND,
            "created_at": rfc3339(now),
            "events": list(events),
            "follow_ups": [{"kind": f.kind, "arguments": f.arguments} for f in follow_ups],
        }
        with self._writing.watched():
            await self._store.batch(container, (tenant_id,), [*operations, create(entry)])
        try:
            await self._deliver(container, entry)
        except (StoreError, Unready) as error:
            self._left(container, entry, error)

    async def drain(self, container: Container, entry: Item) -> bool:
        """Deliver an entry that the feed or the sweep brought, if it is still there. StoreError, Unready: try again."""
        try:
            current = await self._store.read(container, (entry["tenant_id"],), entry["id"])
        except NotFound:
            return False
        try:
            await self._deliver(container, current)
        except Unready:
            raise
        except KraftdError as verdict:
            _log.warning("outbox_follow_up_refused", entry_id=entry["id"], code=verdict.code)
        _log.info("outbox_drained", entry_id=entry["id"], container=container.name)
        self._count(container, current, "drained")
        return True

    async def sweep_tenant(self, containers: Sequence[Container], tenant_id: str, older_than: str) -> int:
        """Sweep a tenant's containers; what is stuck in one holds up no other, and is raised at the end."""
        drained = 0
        first: Exception | None = None
        for container in containers:
            try:
                drained += await self.sweep(container, tenant_id, older_than)
            except (Unavailable, Throttled, Unready):
                raise
            except Exception as error:  # noqa: BLE001 - raised at the end
                first = first or error
        if first is not None:
            raise first
        return drained

    async def sweep(self, container: Container, tenant_id: str, older_than: str) -> int:
        """Drain a tenant's entries created before an RFC 3339 time; how many there were.

        An entry that cannot be drained (a defect, or a follow-up of a newer version) does not hold up the others: the
        first such error is raised at the end. A store that does not answer ends the sweep at once. Of very many the
        oldest are drained, and the next sweep goes on.
        """
        query = Query((Eq("kind", OUTBOX_KIND), Range("created_at", lt=older_than)), order_by="created_at")
        drained = 0
        first: Exception | None = None
        async for entries in pages(self._store, container, (tenant_id,), query):
            done, stuck = await self.drain_each(container, entries)
            drained += done
            first = first or stuck
            if drained >= MOST_PER_SWEEP:
                break
        if first is not None:
            raise first
        return drained

    async def drain_each(self, container: Container, entries: Iterable[Item]) -> tuple[int, Exception | None]:
        """Drain entries one by one: how many were still there, and the first error of one that is stuck.

        A stuck entry stays where it is, its own dead letter, for the next sweep. StoreError, Unready: try again.
        """
        drained = 0
        first: Exception | None = None
        for entry in entries:
            try:
                drained += await self.drain(container, entry)
            except (Unavailable, Throttled, Unready):
                raise
            except Exception as error:  # noqa: BLE001 - the others must not be held up
                _log.error("outbox_entry_stuck", error, entry_id=entry["id"], container=container.name)
                self._count(container, entry, "stuck")
                first = first or error
        return drained, first

    def _left(self, container: Container, entry: Item, error: Exception) -> None:
        _log.error("outbox_left_for_drain", error, entry_id=entry["id"], container=container.name)
        self._count(container, entry, "left_for_drain")

    def _count(self, container: Container, entry: Item, outcome: str) -> None:
        age = self._clock.now() - parse_rfc3339(entry["created_at"])
        self._counted(container.name, outcome, age.total_seconds())

    async def _deliver(self, container: Container, entry: Item) -> None:
        verdict: KraftdError | None = None
        for event in entry["events"]:
            await self._recorder.publish(event)
        for follow_up in entry["follow_ups"]:
            try:
                await self._handlers[follow_up["kind"]](follow_up["arguments"])
            except Unready:  # no verdict: the follow-up was not done, so the entry stays
                raise
            except KraftdError as error:
                verdict = error
        try:
            await self._store.delete(container, (entry["tenant_id"],), entry["id"])
        except NotFound:
            _log.info("outbox_entry_gone", entry_id=entry["id"])
        except StoreError as error:
            if verdict is None:
                raise
            self._left(container, entry, error)
        if verdict is not None:
            raise verdict
