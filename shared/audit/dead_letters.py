"""Events that a consumer could not handle: kept with the error's place, so that the rest of the batch goes on.

A letter names the event and holds nothing of it. A timer hands the event to its consumer again, at growing intervals,
until it is handled or gone: no letter is given up. Both put and retry may run twice, or side by side. A letter that
somebody else wrote to and left without sense is written anew: it stops neither the feed nor the other letters.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from shared.audit.model import PLATFORM_TENANT, StoredEvent
from shared.core.clock import Clock, parse_rfc3339, rfc3339
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
    find_item,
    is_usable_id,
    pages,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, StoreError, Throttled, TooLarge, Unavailable
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
_MAX_COUNT = 1 << 53
_REASONS = ("no_usable_id", "no_usable_tenant", "no_usable_period")
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
        told: Item = {"error": type(error).__qualname__[:_MAX_NAME], "error_at": place_of(error)[-_MAX_NAME:]}
        letter = self._letter(consumer, item) | told
        partition = (letter["tenant_id"],)
        _log.error("dead_lettered", error, consumer=consumer, letter_id=letter["id"])
        for _ in range(_RACES):
            try:
                await self._store.create(DEAD_LETTERS, partition, letter)
            except Conflict:
                try:
                    await self._again(letter)
                except (NotFound, PreconditionFailed):
                    continue  # a retry closed or changed it in between: this failure is a new one
            self._counted(consumer, "put")
            return
        raise Unavailable("a dead letter came and went too often")

    async def _again(self, letter: Item) -> None:
        """Count one more failure on a letter that is there. NotFound, PreconditionFailed: it changed meanwhile."""
        partition, letter_id = (letter["tenant_id"],), letter["id"]
        again: list[Patch] = [
            PatchIncrement("failures"),
            *(PatchSet(name, letter[name]) for name in ("last_failed_at", "error", "error_at")),
        ]
        try:
            held = await self._store.patch(DEAD_LETTERS, partition, letter_id, again)
            makes_sense = _makes_sense(held)
        except (PreconditionFailed, TooLarge) as error:  # its failures are no number; or somebody filled it up
            held = await self._store.read(DEAD_LETTERS, partition, letter_id)
            makes_sense = False
            if isinstance(error, PreconditionFailed) and _makes_sense(held):
                raise
        if makes_sense:
            _log.info("dead_letter_known", consumer=letter["consumer"], letter_id=letter_id)
            return
        _log.error("dead_letter_broken", letter_id=letter_id, tenant_id=letter["tenant_id"])
        await self._store.replace(DEAD_LETTERS, partition, letter, held["_etag"])

    def _letter(self, consumer: str, item: Item) -> Item:
        """A new letter, but for the error."""
        item_id, tenant_id, period = _text(item, "id"), _text(item, "tenant_id"), _text(item, "period")
        has_period = period is not None and bool(_PERIOD.fullmatch(period))
        usable = zip(_REASONS, (item_id is not None, tenant_id is not None, has_period), strict=True)
        missing = [reason for reason, is_usable in usable if not is_usable]
        now = self._clock.now()
        letter: Item = {
            "id": f"{consumer}|{item_id or _digest(item)}",
            "tenant_id": tenant_id or PLATFORM_TENANT,
            "kind": KIND,
            "created_at": rfc3339(now),
            "last_failed_at": rfc3339(now),
            "consumer": consumer,
            "item_id": item_id,
            "period": period if has_period else None,
            "failures": 1,
            "attempts": 0,
        }
        return letter | self._state(missing[0] if missing else None)

    def _state(self, reason: str | None) -> Item:
        if reason is not None:
            return {"state": "unretryable", "reason": reason}
        return {"state": "waiting", "retry_at": rfc3339(self._clock.now() + FIRST_PAUSE)}

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
                    await self._write_anew(letter, error)
            seen += len(letters)
            if seen >= MOST_PER_RUN:
                break
        return closed

    async def _retry(self, letter: Item) -> bool:
        """Hand one letter's event to its consumer; whether the letter is closed."""
        if not _makes_sense(letter):
            raise ValueError("not a letter as we write them")
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
        return await find_item(self._store, AUDIT_EVENTS, (letter["tenant_id"], letter["period"]), letter["item_id"])

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

    async def _write_anew(self, letter: Item, error: Exception) -> None:
        """Make a letter again of what is certain: its id, and a period if it has one. It goes behind the others."""
        letter_id, tenant_id = letter["id"], letter["tenant_id"]
        _log.error("dead_letter_broken", error, letter_id=letter_id, tenant_id=tenant_id)
        consumer, _, item_id = letter_id.partition("|")
        anew = self._letter(consumer, {"id": item_id, "tenant_id": tenant_id, "period": letter.get("period")})
        anew |= {"id": letter_id, "error": "unknown", "error_at": "?"}
        if letter.get("reason") in _REASONS:
            anew.pop("retry_at", None)
            anew |= self._state(letter["reason"])
        try:
            await self._store.replace(DEAD_LETTERS, (tenant_id,), anew, letter["_etag"])
        except (NotFound, PreconditionFailed):
            _log.info("dead_letter_changed_meanwhile", letter_id=letter_id)

    async def _out_of_the_way(self, letter: Item) -> None:
        """Behind the others, if the store lets us: should it be this event that the store cannot bear, they go on."""
        try:
            await self._postpone(letter, FIRST_PAUSE)
        except StoreError as error:
            _log.info("dead_letter_left", letter_id=letter["id"], error_type=type(error).__qualname__)


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many failed retries: twice as long each time, up to the longest pause."""
    return min(FIRST_PAUSE * (1 << min(attempts, 16)), LONGEST_PAUSE)


def _makes_sense(letter: Item) -> bool:
    """Whether a stored letter is as this module writes them; what it holds beyond that does not matter."""
    consumer, _, item_id = letter["id"].partition("|")
    retryable = "retry_at" in letter
    times = ("created_at", "last_failed_at", *(("retry_at",) if retryable else ()))
    return (
        (letter.get("kind"), letter.get("consumer")) == (KIND, consumer)
        and all(isinstance(letter.get(name), str) for name in ("error", "error_at"))
        and all(_is_time(letter.get(name)) for name in times)
        and all(_is_count(letter.get(name)) for name in ("failures", "attempts"))
        and (_is_retryable(letter, item_id) if retryable else _is_unretryable(letter))
    )


def _is_retryable(letter: Item, item_id: str) -> bool:
    period = _text(letter, "period")
    named = _text(letter, "item_id") == item_id and period is not None and bool(_PERIOD.fullmatch(period))
    return named and letter.get("state") in ("waiting", "stuck")


def _is_unretryable(letter: Item) -> bool:
    return letter.get("state") == "unretryable" and letter.get("reason") in _REASONS


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and parse_rfc3339(value) is not None
    except ValueError:
        return False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT


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
