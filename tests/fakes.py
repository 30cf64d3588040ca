"""Small stand-ins that tests share: they keep the contract of the thing they stand for, and nothing is recorded."""

import base64
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.privacy.boxes import SALT_BYTES, BoxDamaged, Opened, Personal, Sealed, commitment_of


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


class ClearBox:
    """Boxes with a glass lid: what they hold can be read in the stored event, beside the salt of its commitment.

    `erased`: persons of whom the store has a tombstone, as a test says.
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._random_bytes = random_bytes
        self.erased: set[str] = set()

    async def seal(self, tenant_id: str, subject: str, event_id: str, personal: Personal) -> Sealed:
        salt = self._random_bytes(SALT_BYTES)
        box = {"form": "clear", "salt": base64.b64encode(salt).decode(), "data": personal}
        return Sealed(box, commitment_of(salt, personal))

    async def check_erased(self, tenant_id: str, subject: str, event_id: str) -> None:
        if subject not in self.erased:
            raise BoxDamaged("a box is gone")

    async def prepare(self, tenant_id: str, subjects: Iterable[str], *, sealing: bool = False) -> None:
        """There is nothing to have ready."""

    async def open(
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any], commitment: str | None = None
    ) -> Opened:
        return Opened(box["data"], base64.b64decode(box["salt"]))
