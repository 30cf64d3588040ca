"""How far an export is: a bar where somebody looks, and one line at the end."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from shared.core.ids import time_of

_WIDTH = 30
_PAUSE = 0.2


class Progress:
    """Shows how much was received, and how far in time that reaches: how many events there are, nobody knows before."""

    def __init__(self, stream: TextIO, until: datetime, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._until = until
        self._now = now
        self._began = now()
        self._shown_at: float | None = None
        self._first: datetime | None = None
        self._had: int | None = None

    def show(self, rows: int, size: int, last_id: str | None) -> None:
        """Draw the bar, not too often."""
        if self._had is None:
            self._had = size
        if not self._stream.isatty() or last_id is None:
            return
        reached = time_of(last_id)
        if self._first is None:
            self._first = reached
        now = self._now()
        if self._shown_at is not None and now - self._shown_at < _PAUSE:
            return
        self._shown_at = now
        whole = (self._until - self._first).total_seconds()
        share = min(1.0, max(0.0, (reached - self._first).total_seconds() / whole)) if whole > 0 else 1.0
        bar = "#" * round(share * _WIDTH)
        self._stream.write(f"\r[{bar:.<{_WIDTH}}] {share:4.0%} {self._amount(rows, size)}\x1b[K")
        self._stream.flush()

    def say(self, text: str) -> None:
        """A line of its own."""
        self._clear()
        self._stream.write(f"export: {text}\n")

    def done(self, rows: int, size: int) -> None:
        """The last line."""
        self._clear()
        self._stream.write(f"export: {self._amount(rows, size)}, {self._now() - self._began:.1f} s\n")

    def _clear(self) -> None:
        if self._stream.isatty():
            self._stream.write("\r\x1b[K")

    def _amount(self, rows: int, size: int) -> str:
        seconds = max(self._now() - self._began, 0.001)
        return f"{rows:,} events, {size / 1e6:,.1f} MB, {size / 1e6 / seconds:,.1f} MB/s"
