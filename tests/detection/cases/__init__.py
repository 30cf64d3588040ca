"""Samples of every pattern: `cases/<pattern id>.py` holds CASES, of all three kinds."""

from dataclasses import dataclass
from typing import Any, Literal

type Sample = tuple[float, dict[str, Any]]
"""Seconds after the case's start, and the fields of the stored event."""


@dataclass(frozen=True)
class Expected:
    """One alert. Times are seconds after the case's start."""

    severity: str
    count: int
    first_seen: float
    last_seen: float


@dataclass(frozen=True)
class Case:
    """Events in the order of the trail, and the alerts that they raise on their one key."""

    name: str
    kind: Literal["firing", "quiet", "boundary"]
    events: list[Sample]
    expected: tuple[Expected, ...] = ()
