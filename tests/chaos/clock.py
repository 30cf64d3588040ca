"""A clock that runs, and steps when it is told to: what NTP, a suspended machine or an operator does to a real one."""

from datetime import datetime, timedelta

from shared.core.clock import SystemClock


class SteppedClock:
    """The machine's time, `offset` away from it."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset
        self._machine = SystemClock()

    def now(self) -> datetime:
        """The present moment in UTC, as this process has it."""
        return self._machine.now() + self.offset
