"""Time, always passed in: the wall clock is one implementation among others."""

import calendar
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_PERIOD = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
"""Of months: Unix time begins with the first, and what follows on the last is a date still."""


class Clock(Protocol):
    """Whatever tells the time. Returns an aware UTC datetime."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place that asks the machine


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with six digits: fixed width, so that text order is time order. ValueError without an offset."""
    return _utc(moment).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """The inverse of `rfc3339`; also takes any RFC 3339 offset. ValueError for any other text, or without an offset."""
    if not _RFC3339.fullmatch(text):
        raise ValueError("a time is RFC 3339 and needs an offset, such as Z")
    return _utc(datetime.fromisoformat(text.upper()))


def period_of(moment: datetime) -> str:
    """The month that a moment belongs to, `YYYY-MM` in UTC: second level of the audit partition key.

    ValueError without an offset: a guess at the zone could put an event into the wrong partition.
    """
    return _utc(moment).date().isoformat()[:7]


@lru_cache(maxsize=512)
def period_end(period: str) -> int:
    """The Unix second at which the month `YYYY-MM` is over. ValueError for any other text.

    Months are those of the years 1970 to 9998: each of them has an end, and nothing else has.
    """
    matched = _PERIOD.fullmatch(period)
    if not matched or not _FIRST_YEAR <= int(matched[1]) <= _LAST_YEAR:
        raise ValueError("a period is YYYY-MM")
    year, month = int(matched[1]), int(matched[2])
    return int(datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())


def _utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("a time needs an offset, such as Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time within the years 1 to 9999 in UTC") from None


def months_after(moment: datetime, months: int) -> datetime:
    """The same day and time so many calendar months later; where that month has no such day, its last one."""
    month = moment.month - 1 + months
    year, month = moment.year + month // 12, month % 12 + 1
    return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))
