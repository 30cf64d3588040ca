"""Time, always passed in: the wall clock is one implementation among others."""

from datetime import UTC, datetime
from typing import Protocol


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
    """RFC 3339 in UTC with six digits: fixed width, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """The inverse of `rfc3339`; also takes any RFC 3339 offset. ValueError when there is no offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    return moment.astimezone(UTC)


def period_of(moment: datetime) -> str:
    """The month that a moment belongs to, `YYYY-MM` in UTC: second level of the audit partition key."""
    return moment.astimezone(UTC).strftime("%Y-%m")
