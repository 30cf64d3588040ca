"""Ids: UUIDv7 (RFC 9562), minted by the server, so that an event's id tells its period."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.core.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class IdFactory:
    """Mints UUIDv7s. The 12 bits after the version carry the microseconds (RFC 9562 §6.2, method 3)."""

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._clock = clock
        self._random_bits = random_bits

    def new(self, at: datetime | None = None) -> str:
        """A new id as canonical text, minted for `at` (default: now)."""
        micros = ((at or self._clock.now()) - _EPOCH) // _MICROSECOND
        millis, sub = divmod(micros, 1000)
        fraction = sub * 4096 // 1000
        text = f"{millis & (1 << 48) - 1:012x}{0x7 << 12 | fraction:04x}{0b10 << 62 | self._random_bits(62):016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def time_of(uuid7: str) -> datetime:
    """The moment at which a UUIDv7 was minted, to the millisecond. ValueError for any other text."""
    value = UUID(uuid7)
    if value.version != 7:
        raise ValueError("not a UUIDv7")
    try:
        return _EPOCH + timedelta(milliseconds=value.int >> 80)
    except OverflowError:
        raise ValueError("a UUIDv7 of a year after 9999") from None


def lowest_id_at(moment: datetime) -> str:
    """The smallest UUIDv7 text that a moment can have: a bound for ranges over ids."""
    millis = (moment - _EPOCH) // timedelta(milliseconds=1)
    return str(UUID(int=(millis & (1 << 48) - 1) << 80 | 0x7 << 76 | 0b10 << 62))
