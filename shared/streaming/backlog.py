"""What is not delivered yet: entries of the ledger from a stream's position on, as events that may leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.audit.entries import entry_of
from shared.audit.model import StoredEvent
from shared.core.clock import parse_rfc3339
from shared.ledger.shards import Entry, Shards
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import DocumentStore, In, Item, Query, Range
from shared.streaming.messages import Placed
from shared.streaming.model import Progress, Webhook
from shared.telemetry import get_log

_log = get_log(__name__)

_KEYS: dict[str, Any] = dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key"))
_PERSONS_AT_ONCE = 16
MOST_ITEMS = 1000
"""That are read at once for one message: far more than it can have, for somebody may have put others there."""

type IsErased = Callable[[str, str], Awaitable[bool]]
"""Whether a person of a tenant was erased, by the store and no cache."""
type IsOver = Callable[[str], bool]
"""Whether the retention of a month has ended."""


class Opener(Protocol):
    """What opens personal data, as the trail's search does."""

    async def shown_all(self, events: Sequence[StoredEvent], *, opened: bool = True) -> list[dict[str, Any]]:
        """Events of one tenant as the API shows them."""
        ...


class Backlog:
    """Reads what a stream has to deliver. The ledger is all of it: nothing waits anywhere else."""

    def __init__(
        self, store: DocumentStore, shards: Shards, opener: Opener, is_erased: IsErased, is_over: IsOver
    ) -> None:
        self._store = store
        self._shards = shards
        self._opener = opener
        self._is_erased = is_erased
        self._is_over = is_over

    async def sizes(self, tenant_id: str) -> dict[str, int]:
        """By month, how many entries there are; of the months that are kept."""
        sizes = await self._shards.sizes(tenant_id)
        return {period: size for period, size in sizes.items() if not self._is_over(period)}

    async def behind(self, progress: Progress) -> dict[str, int]:
        """The months that are not delivered to the end, oldest first, with their sizes."""
        return progress.behind(await self.sizes(progress.tenant_id))

    async def page(self, webhook: Webhook, period: str, start: int, end: int) -> tuple[list[Placed], int]:
        """Those of the entries `start` up to `end`, excluded, that the webhook wants, in order, as it wants them; and
        the index behind them, `start` where nothing is there although a head says so.

        What somebody made unreadable, or took away, is passed over once something is behind it: the check of the ledger
        tells of it.
        """
        tenant_id = webhook.tenant_id
        items, reached = await self._entries(tenant_id, period, start, end)
        missing = reached - start - len({item["index"] for item in items})
        if missing:
            _log.error("stream_passed_over", tenant_id=tenant_id, period=period, entries=missing)
        if reached == start:
            _log.error("stream_ends_early", tenant_id=tenant_id, period=period, index=start)
        wanted: list[_Sealed] = []
        for item in items:
            try:
                sealed = _Sealed.of(item)
                if webhook.takes(sealed.event["type"]):
                    wanted.append(sealed)
            except Exception as error:  # noqa: BLE001 - what somebody put there holds up nothing
                _unreadable(webhook, period, error)
        shown = await (self._opened(webhook, period, wanted) if webhook.personal == "opened" else _omitted(wanted))
        placed: list[Placed] = []
        for sealed, event in zip(wanted, shown, strict=True):
            try:
                placed.append(Placed.of(sealed.index, event, webhook.format))
            except Exception as error:  # noqa: BLE001 - as above
                _unreadable(webhook, period, error)
        return placed, reached

    async def _entries(self, tenant_id: str, period: str, start: int, end: int) -> tuple[list[Item], int]:
        """What is stored of the entries `start` up to `end` (excluded), in order, whatever there is; and the index up
        to which that is all: less than `end` where nothing is stored from there on, or more claims these places than
        is read at once."""
        query = Query((Range("index", ge=start, lt=end),), order_by="index", limit=MOST_ITEMS)
        page = await self._store.query(LEDGER, (tenant_id, period), query)
        items = [item for item in page.items if type(item["index"]) is int]
        last = items[-1]["index"] if items else start - 1
        if page.next is not None:
            reached = max(last, start + 1)
            return [item for item in items if item["index"] < reached], reached
        if last == end - 1:
            return items, end
        behind = Query((Range("index", ge=end),), order_by="index", limit=1, fields=("id",))
        more = (await self._store.query(LEDGER, (tenant_id, period), behind)).items
        return items, end if more else last + 1

    async def _opened(self, webhook: Webhook, period: str, wanted: Sequence[_Sealed]) -> list[dict[str, Any]]:
        """Events with the personal data of persons who were not erased; all else is as it was sealed."""
        ids = tuple(each.event["id"] for each in wanted)
        if not ids:
            return []
        tenant_id = webhook.tenant_id
        page = await self._store.query(AUDIT_EVENTS, (tenant_id, period), Query((In("id", ids),), limit=len(ids)))
        stored = {item["id"]: item for item in page.items}
        erased = await self._erased(tenant_id, wanted)
        return await self._opener.shown_all(
            [_merged(each, stored.get(each.event["id"], {}), erased) for each in wanted]
        )

    async def _erased(self, tenant_id: str, wanted: Sequence[_Sealed]) -> frozenset[str]:
        persons = sorted({who for each in wanted for who in (*each.event["commitments"], *each.event["subjects"])})
        free = asyncio.Semaphore(_PERSONS_AT_ONCE)

        async def one(person: str) -> bool:
            async with free:
                return await self._is_erased(tenant_id, person)

        found = await asyncio.gather(*(one(person) for person in persons))
        return frozenset(person for person, gone in zip(persons, found, strict=True) if gone)


@dataclass(frozen=True, slots=True)
class _Sealed:
    """What was sealed of an event."""

    index: int
    event: StoredEvent

    @classmethod
    def of(cls, item: Item) -> _Sealed:
        """An entry as it is stored. ValueError, BrokenShard and the like when it is none."""
        entry = Entry.of(item)
        event = json.loads(entry.text)
        if entry_of(event) != entry.text:
            raise ValueError("not an entry as a sealer writes it")
        parse_rfc3339(event["recorded_at"])
        if not isinstance(event["type"], str) or not isinstance(event["id"], str):
            raise TypeError("not an event")
        if (event["id"], event["tenant_id"], event["period"]) != (item["id"], item["tenant_id"], item["period"]):
            raise ValueError("not the entry of this place")
        event["commitments"].keys()
        return cls(entry.index, event)


def _unreadable(webhook: Webhook, period: str, error: Exception) -> None:
    _log.error("stream_entry_unreadable", error, tenant_id=webhook.tenant_id, period=period)


async def _omitted(wanted: Sequence[_Sealed]) -> list[dict[str, Any]]:
    """Events without anything personal: their entries."""
    return [
        {**each.event, **_KEYS, "personal": {person: {"withheld": True} for person in each.event["commitments"]}}
        for each in wanted
    ]


def _merged(sealed: _Sealed, stored: StoredEvent, erased: frozenset[str]) -> StoredEvent:
    """The sealed fields of an event, and the boxes and keyed hashes of its stored form that may be opened."""
    boxes = stored.get("personal")
    held = boxes if isinstance(boxes, dict) else {}
    open_to = {who: held[who] for who in sealed.event["commitments"] if who in held and who not in erased}
    keyed = {} if erased & set(sealed.event["subjects"]) else {name: stored.get(name) for name in _KEYS}
    marked = {"erased_at": stored["erased_at"]} if "erased_at" in stored else {}
    return {**sealed.event, **_KEYS, **keyed, **marked, "personal": open_to}
