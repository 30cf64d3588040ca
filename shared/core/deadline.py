"""How long the work at hand may still take: set once where a request comes in, asked wherever it waits for others."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float, now: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """What runs inside, its tasks included, has so many seconds; an earlier deadline around it still holds."""
    before, ends = _ends.get(), now() + seconds
    token = _ends.set(ends if before is None else min(before, ends))
    try:
        yield
    finally:
        _ends.reset(token)


def remaining(most: float, now: Callable[[], float] = time.monotonic) -> float:
    """The seconds that a call may take: `most`, or what the deadline leaves of it; zero or less when it has passed."""
    ends = _ends.get()
    return most if ends is None else min(most, ends - now())
