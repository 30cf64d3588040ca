"""Events that a consumer could not handle: kept with the error's place, so that the rest of the batch goes on.

A letter names the event and holds nothing of it. A timer hands the event to its consumer again, at growing intervals,
until it is handled or gone: no letter is given up. Both put and retry may run twice, or side by side.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

from shared.audit.model import PLATFORM_TENANT, StoredEvent
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Unready
from shared.storage.containers import AUDIT_EVENTS, DEAD_LETTERS
from shared.storage.documents import (
    DocumentStore,
    Eq,
    Item,
    Patch,
    PatchIncrement,
    PatchSet,
    Query,
    Range,
    is_usable_id,
    pages,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, StoreError, Throttled, Unavailable
from shared.telemetry import get_log, place_of

_log = get_log(__name__)

KIND = "dead_letter"
STUCK_AFTER = 10
"""Failed retries after which a letter is called stuck: with these pauses, after some fifteen hours."""
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)
MOST_PER_RUN = 200
"""Letters of one tenant that one run retries: a tenant with very many does not hold up the others."""
_RACES = 20
_MAX_NAME = 100
_PERIOD = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])", re.ASCII)

type Handler = Callable[[StoredEvent], Awaitable[None]]
type Counted = Callable[[str, str], None]
"""Told of each letter: its consumer, and what became of it."""


def _uncounted(_consumer: str, _outcome: str) -> None:
    """Nobody asked."""


class DeadLetters:
    """Keeps what a consumer could not handle, once per consumer and event, and has it tried again."""

    def __init__(self, store: DocumentStore, clock: Clock, counted: Counted = _uncounted) -> None:
        self._store = store
        self._clock = clock
        self._counted = counted
        self._handlers: dict[str, Handler] = {}

    def on(self, consumer: str, handler: Handler) -> None:
        """Register what handles one event for a consumer; it raises what it cannot handle. ValueError for a second."""
        if consumer in self._handlers:
            raise ValueError(f"consumer {consumer} has a handler already")
        self._handlers[consumer] = handler

    async def put(self, consumer: str, item: Item, error: Exception) -> None:
        """Keep `item` under its tenant (`platform` when it names none that is usable). StoreError when that fails too.

        An event that failed before raises the count of its letter. What cannot be read again by tenant, period and id
        is kept without a time to retry it.
        """
        letter = self._letter(consumer, item, error)
        partition = (letter["tenant_id"],)
        again: list[Patch] = [
            PatchIncrement("failures"),
            *(PatchSet(name, letter[name]) for name in ("last_failed_at", "error", "error_at")),
        ]
        _log.error("dead_lettered", error, consumer=consumer, letter_id=letter["id"])
        for _ in range(_RACES):
            try:
                await self._store.create(DEAD_LETTERS, partition, letter)
            except Conflict:
                try:
                    await self._store.patch(DEAD_LETTERS, partition, letter["id"], again)
                except NotFound:
                    continue  # a retry closed it in between: this failure is a new one
                _log.info("dead_letter_known", consumer=consumer, letter_id=letter["id"])
            self._counted(consumer, "put")
            return
        raise Unavailable("a dead letter came and went too often")

    def _letter(self, consumer: str, item: Item, error: Exception) -> Item:
        item_id, tenant_id, period = _text(item, "id"), _text(item, "tenant_id"), _text(item, "period")
        missing = [
            name
            for name, usable in (
                ("no_usable_id", item_id is not None),
                ("no_usable_tenant", tenant_id is not None),
                ("no_usable_period", period is not None and _PERIOD.fullmatch(period)),
            )
            if not usable
        ]
        now = self._clock.now()
        letter: Item = {
            "id": f"{consumer}|{item_id or _digest(item)}",
            "tenant_id": tenant_id or PLATFORM_TENANT,
            "kind": KIND,
            "state": "unretryable" if missing else "waiting",
            "created_at": rfc3339(now),
            "last_failed_at": rfc3339(now),
            "consumer": consumer,
            "error": type(error).__qualname__[:_MAX_NAME],
            "error_at": place_of(error)[-_MAX_NAME:],
            "item_id": item_id,
            "period": None if "no_usable_period" in missing else period,
            "failures": 1,
            "attempts": 0,
        }
        return letter | ({"reason": missing[0]} if missing else {"retry_at": rfc3339(now + FIRST_PAUSE)})

    async def retry(self, tenant_id: str) -> int:
        """Retry a tenant's letters that are due, longest due first; how many are closed.

        A letter whose event fails again, or cannot be retried, holds up no other. Unavailable, Throttled, Unready: the
        store does not answer, and the run is over.
        """
        closed = seen = 0
        due = (Eq("kind", KIND), Range("retry_at", le=rfc3339(self._clock.now())))
        async for letters in pages(self._store, DEAD_LETTERS, (tenant_id,), Query(due, order_by="retry_at")):
            for letter in letters:
                try:
                    closed += await self._retry(letter)
                except (Unavailable, Throttled, Unready):
                    await self._out_of_the_way(letter)
                    raise
                except (NotFound, PreconditionFailed):
                    _log.info("dead_letter_changed_meanwhile", letter_id=letter["id"])
                except Exception as error:  # noqa: BLE001 - a letter that nobody can read holds up no other
                    _log.error("dead_letter_broken", error, letter_id=letter["id"], tenant_id=tenant_id)
                    await self._out_of_the_way(letter)
            seen += len(letters)
            if seen >= MOST_PER_RUN:
                break
        return closed

    async def _retry(self, letter: Item) -> bool:
        """Hand one letter's event to its consumer; whether the letter is closed."""
        handler = self._handlers.get(letter["consumer"])
        if handler is None:  # of a newer version of the app, or an older one
            _log.warning("dead_letter_without_consumer", letter_id=letter["id"], tenant_id=letter["tenant_id"])
            await self._postpone(letter, LONGEST_PAUSE)
            return False
        event = await self._event(letter)
        if event is None:
            _log.warning("dead_letter_event_gone", letter_id=letter["id"], tenant_id=letter["tenant_id"])
            return await self._close(letter, "closed")
        try:
            await handler(event)
        except (Unavailable, Throttled, Unready):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the letter stays
            await self._failed_again(letter, error)
            return False
        _log.info("dead_letter_recovered", letter_id=letter["id"], tenant_id=letter["tenant_id"])
        return await self._close(letter, "recovered")

    async def _event(self, letter: Item) -> StoredEvent | None:
        try:
            return await self._store.read(AUDIT_EVENTS, (letter["tenant_id"], letter["period"]), letter["item_id"])
        except NotFound:
            return None

    async def _close(self, letter: Item, outcome: str) -> bool:
        """Delete a letter, unless its event failed somewhere else meanwhile: then it stays for the next run."""
        await self._store.delete(DEAD_LETTERS, (letter["tenant_id"],), letter["id"], letter["_etag"])
        self._counted(letter["consumer"], outcome)
        return True

    async def _failed_again(self, letter: Item, error: Exception) -> None:
        attempts = letter["attempts"] + 1
        stuck = attempts >= STUCK_AFTER
        now = self._clock.now()
        named: Item = {"letter_id": letter["id"], "tenant_id": letter["tenant_id"], "attempts": attempts}
        _log.error("dead_letter_stuck" if stuck else "dead_letter_failed_again", error, **named)
        await self._postpone(
            letter,
            pause_after(attempts),
            PatchSet("attempts", attempts),
            PatchSet("state", "stuck" if stuck else "waiting"),
            PatchSet("last_failed_at", rfc3339(now)),
            PatchSet("error", type(error).__qualname__[:_MAX_NAME]),
            PatchSet("error_at", place_of(error)[-_MAX_NAME:]),
            PatchIncrement("failures"),
        )
        self._counted(letter["consumer"], "stuck" if stuck else "failed")

    async def _postpone(self, letter: Item, pause: timedelta, *more: Patch) -> None:
        patches = [PatchSet("retry_at", rfc3339(self._clock.now() + pause)), *more]
        await self._store.patch(DEAD_LETTERS, (letter["tenant_id"],), letter["id"], patches, letter["_etag"])

    async def _out_of_the_way(self, letter: Item) -> None:
        """Behind the others, if the store lets us: should it be this event that the store cannot bear, they go on."""
        try:
            await self._postpone(letter, FIRST_PAUSE)
        except StoreError as error:
            _log.info("dead_letter_left", letter_id=letter["id"], error_type=type(error).__qualname__)


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many failed retries: twice as long each time, up to the longest pause."""
    return min(FIRST_PAUSE * (1 << min(attempts, 16)), LONGEST_PAUSE)


def _text(item: Item, name: str) -> str | None:
    """A field that can name something in every store, or None. A leading `~` is ours: see `_digest`."""
    value = item.get(name)
    usable = isinstance(value, str) and len(value) <= _MAX_NAME and is_usable_id(value) and not value.startswith("~")
    return value if usable else None


def _digest(item: Item) -> str:
    """What stands for an id that cannot be one: the same for the same item, so that it is kept once."""
    own = item.get("id")
    told = own if isinstance(own, str) else repr({k: v for k, v in item.items() if not str(k).startswith("_")})
    return f"~{hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()}"
