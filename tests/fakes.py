"""Small stand-ins that tests share: they keep the contract of the thing they stand for, and nothing is recorded."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class ManualClock:
    """A clock that stands still until a test moves it. `followers` are told of each move."""

    def __init__(self, start: datetime = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)) -> None:
        self._now = start.astimezone(UTC)
        self.followers: list[Callable[[datetime], None]] = []

    def now(self) -> datetime:
        """The moment that the test set."""
        return self._now

    def set(self, moment: datetime) -> None:
        """Jump to an aware moment, forward or back."""
        self._now = moment.astimezone(UTC)
        for follower in self.followers:
            follower(self._now)

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """Move forward (or back, when negative); returns the new present."""
        self.set(self._now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))
        return self._now
