"""A store with a count of what it is asked, which takes next to no time (`bench._metered` weighs the calls, too)."""

from collections import Counter
from typing import Any

from shared.storage.documents import Page
from shared.storage.sqlite import SqliteStore


class CountedStore:
    """A store that counts what it is asked, and the items that it gives."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()
        self.items = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            found = await method(*args, **kwargs)
            self.items += len(found.items) if isinstance(found, Page) else name == "read"
            return found

        return counted

    @property
    def reads(self) -> int:
        """Calls that only read."""
        return self.calls["read"] + self.calls["query"]
