"""Runs an invocation under its function's retry policy, as the host does for every trigger but HTTP."""

import logging
from collections.abc import Awaitable, Callable
from enum import Enum

from devhost.bindings import Function
from devhost.runtime import Datum, Invocation, Worker

_log = logging.getLogger("devhost")

type Sleep = Callable[[float], Awaitable[None]]
type Attempt = Callable[[int], Awaitable[Invocation]]
"""Invokes a function, and is told how often that was tried before."""


class Outcome(Enum):
    """How it ended: done, given up for good (the host moves on), or left for later by the caller's own limit."""

    DONE = "done"
    LOST = "lost"
    POSTPONED = "postponed"


def attempts(worker: Worker, function: Function, parameter: str, payload: Datum) -> Attempt:
    """Invocations of a function with what triggers it."""

    async def attempt(retry_count: int) -> Invocation:
        return await worker.invoke(function, ((parameter, payload),), retry_count=retry_count)

    return attempt


async def run_with_retries(
    function: Function,
    attempt: Attempt,
    sleep: Sleep | None,
    *,
    attempts_limit: int | None = None,
) -> Outcome:
    """Call `attempt(retry_count)` until it succeeds or the policy runs out.

    `sleep` None does not wait between attempts; `attempts_limit` bounds them whatever the policy says (POSTPONED).
    """
    policy = function.retry
    count = 0
    while True:
        result = await attempt(count)
        if result.ok:
            return Outcome.DONE
        count += 1
        _log.error("function_failed function=%s error=%s attempt=%d", function.name, result.error, count)
        if policy is None or (not policy.unlimited and count > policy.max_retry_count):
            return Outcome.LOST
        if attempts_limit is not None and count >= attempts_limit:
            return Outcome.POSTPONED
        if sleep is not None:
            await sleep(policy.delay_seconds(count))
