"""The storage port's own errors: adapters raise nothing else for what a store can do to a caller.

    StoreError
    ├── NotFound             no item of that id in that partition
    ├── Conflict             an item of that id is there already
    ├── PreconditionFailed   the item changed since its etag was read
    ├── TooLarge             an item, batch or page above the documented limits
    ├── Throttled            slow down; `retry_after_seconds` says for how long
    └── Unavailable          the store did not answer; the outcome of a write is unknown
        └── NotProvisioned   the store answers, but is not what the app needs; the message says what to do
Their texts name containers, fields of the program and codes, never what an item holds: they may be logged.
A misuse (item outside its partition, unknown operator) is a ValueError: a defect of ours, not of the store. One of them
has a name, UnknownPosition, because a reader of the change feed has to tell its operator.
"""


class StoreError(Exception):
    """Base of what a store can do to a caller."""


class NotFound(StoreError):
    """No item of that id in that partition."""


class Conflict(StoreError):
    """An item of that id is there already. In a batch, `index` names the operation."""

    def __init__(self, message: str = "", *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class PreconditionFailed(StoreError):
    """The item changed since its etag was read."""


class TooLarge(StoreError):
    """An item, batch or page above the documented limits."""


class Throttled(StoreError):
    """The store asks to slow down."""

    def __init__(self, message: str = "", *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(StoreError):
    """The store did not answer in time; a write may or may not have happened."""


class NotProvisioned(Unavailable):
    """The store answers, but is not set up as the app needs it. The message says what to do, and may be logged."""


class UnknownPosition(ValueError):
    """Not a position of this container's change feed: to read on from it, or from the start, would be a guess."""
