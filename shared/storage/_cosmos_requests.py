"""One call to Cosmos DB: its deadline, its retries, what it was charged, and what its failure means to the port.

The SDK waits out throttling (429) by itself; everything else that passes is tried again here, because only the adapter
knows which writes may be. A failure after which nobody can tell whether a write took effect makes the call *unsure*:
from then on a refusal may be the echo of our own write, so the caller is asked to look for it (`recognize`).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import ClientConnectorError
from azure.core.exceptions import AzureError
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError

from shared.core.deadline import remaining
from shared.storage.errors import (
    Conflict,
    NotFound,
    PreconditionFailed,
    StoreError,
    Throttled,
    TooLarge,
    Unavailable,
)

MAX_ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.05
OWNER_MISSING = 1003  # the sub-status of a 404 that means the container, not the item
PASSING = frozenset({408, 410, 449, 500, 502, 503, 504})
NOT_DONE = frozenset({410, 429, 449})  # passing, and certain to have changed nothing

type Hooks = dict[str, Any]
"""Keyword arguments for any call of the SDK."""


class Charged(Protocol):
    """Whoever wants to know what calls cost: told of each answer's request units."""

    def __call__(self, container: str, operation: str, ru: float, status: int, /) -> None:
        """`ru`: the request units of one answer of HTTP status `status`, also of a refusal."""
        ...


class NotOursError(Exception):
    """What stands in the store is not the write in question."""


class ResentError(Exception):
    """The SDK was about to send again, on its own, what may have been done already and must not be done twice."""


@dataclass(slots=True)
class Watch:
    """What is known about one call while it runs. `unsure`: something was sent that may have taken effect unnoticed."""

    container: str
    operation: str
    charged: Charged
    repeatable: bool
    unsure: bool = False
    pending: bool = False
    last: StoreError = field(default_factory=lambda: Unavailable("the store did not answer in time"))

    def hooks(self) -> Hooks:
        """What the SDK calls around each HTTP request."""
        return {"raw_request_hook": self._sent, "raw_response_hook": self._answered}

    def _sent(self, request: Any) -> None:
        writes = request.http_request.method != "GET"
        self.unsure = self.unsure or self.pending
        if writes and self.unsure and not self.repeatable:
            raise ResentError
        self.pending = writes

    def _answered(self, response: Any) -> None:
        answer = response.http_response
        self.pending = False
        self.unsure = self.unsure or answer.status_code in PASSING - NOT_DONE
        charge = float(answer.headers.get("x-ms-request-charge", 0))
        self.charged(self.container, self.operation, charge, answer.status_code)
        if answer.status_code == 429:
            self.last = Throttled("the store asks to slow down", retry_after_seconds=_retry_after(answer.headers))

    def out_of_time(self) -> StoreError:
        """Throttled only if the store said so last and nothing can have been written."""
        if self.pending or self.unsure or not isinstance(self.last, Throttled):
            return Unavailable("the store did not answer in time")
        return self.last


class Requests:
    """Runs calls within `deadline_seconds` each, less where the request around has less, and tells `charged`."""

    def __init__(self, deadline_seconds: float, charged: Charged) -> None:
        self._deadline = deadline_seconds
        self._charged = charged

    async def run[T](
        self,
        container: str,
        operation: str,
        send: Callable[[Hooks], Awaitable[T]],
        *,
        repeatable: bool = True,
        recognize: Callable[[Hooks], Awaitable[T]] | None = None,
    ) -> T:
        """The answer to `send`, tried again where that is safe. Raises the port's errors and nothing else of the SDK's.

        `repeatable`: a second `send` cannot do harm after a first one took effect. `recognize`: the answer of a write
        that took effect unnoticed, or NotOursError.
        """
        watch = Watch(container, operation, self._charged, repeatable)
        seconds = remaining(self._deadline)
        if seconds <= 0:
            raise Unavailable("the request's time is over")
        try:
            async with asyncio.timeout(seconds):
                return await _attempts(watch, send, recognize)
        except TimeoutError:
            raise watch.out_of_time() from None


async def _attempts[T](
    watch: Watch, send: Callable[[Hooks], Awaitable[T]], recognize: Callable[[Hooks], Awaitable[T]] | None
) -> T:
    for attempt in range(MAX_ATTEMPTS):
        if attempt:
            await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**attempt * (0.5 + random.random()))  # noqa: S311 - jitter
        try:
            return await send(watch.hooks())
        except ResentError:
            break
        except AzureError as error:
            meaning, passing, never_sent = meaning_of(error, patching=watch.operation == "patch")
        watch.unsure = watch.unsure or (watch.pending and not never_sent)
        watch.pending = False
        if not passing:
            return await _recognized(watch, meaning, recognize)
        watch.last = meaning
        if watch.unsure and not watch.repeatable:
            break
    last = Unavailable("the outcome of a write is unknown") if watch.unsure else watch.last
    return await _recognized(watch, last, recognize)


async def _recognized[T](watch: Watch, failure: StoreError, recognize: Callable[[Hooks], Awaitable[T]] | None) -> T:
    """What the call did after all, if it was unsure and finds its own write; else the failure."""
    if watch.unsure and recognize is not None:
        try:
            return await recognize(watch.hooks())
        except NotOursError:
            pass
        except AzureError:
            raise Unavailable("the outcome of a write is unknown") from None
    raise failure


def meaning_of(error: AzureError, *, patching: bool) -> tuple[StoreError, bool, bool]:
    """The port's error, whether it may pass by itself, and whether the last request cannot have been received."""
    if not isinstance(error, CosmosHttpResponseError | CosmosBatchOperationError):
        never_sent = isinstance(getattr(error, "inner_exception", None), ClientConnectorError)
        return Unavailable(f"not reached: {type(error).__name__}"), True, never_sent
    status: int = error.status_code or 0
    if status == 429:
        throttled = Throttled("the store asks to slow down", retry_after_seconds=_retry_after(error.headers or {}))
        return throttled, isinstance(error, CosmosBatchOperationError), False
    if status in PASSING:
        return Unavailable(f"the store answered {status}"), True, False
    if status == 400 and (patching or isinstance(error, CosmosBatchOperationError)):
        return PreconditionFailed("a path of the patch leads nowhere"), False, False
    return _refusal(error, status), False, False


def _refusal(error: CosmosHttpResponseError | CosmosBatchOperationError, status: int) -> StoreError:
    index = error.error_index if isinstance(error, CosmosBatchOperationError) else None
    if status == 404 and error.sub_status != OWNER_MISSING:
        return NotFound("no such item")
    if status == 409:
        return Conflict("an item of that id exists", index=index)
    if status == 412:
        return PreconditionFailed("the item changed since it was read")
    if status == 413:
        return TooLarge("the store takes no request of that size")
    return Unavailable(f"the store refused with {status}/{error.sub_status or 0}")


def _retry_after(headers: Any) -> float:
    return max(float(headers.get("x-ms-retry-after-ms", 1000)) / 1000, 0.001)
