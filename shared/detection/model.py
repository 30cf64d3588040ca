"""What detection is made of: patterns, the events they look at, crossing points, and spans of event time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from shared.storage.documents import Item

type AlertSeverity = Literal["medium", "high", "critical"]
type Moment = tuple[datetime, str]
"""A place in the order of events: event time, then event id."""
type Selector = tuple[str, str]
"""An event type and an outcome: what is read of the trail, and what the limit per minute counts."""

SEVERITIES: tuple[AlertSeverity, ...] = ("medium", "high", "critical")


class Parameters(BaseModel):
    """Base of a pattern's typed, bounded parameters. The bounds hold for defaults and overrides alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)

    window_seconds: int = Field(ge=60, le=86_400)

    @property
    def window(self) -> timedelta:
        """The sliding window. Both its edges belong to it: an event exactly this old still counts."""
        return timedelta(seconds=self.window_seconds)


class Observed(NamedTuple):
    """One matching event as evaluation sees it. `fact` is what the pattern needs beyond time and id."""

    at: datetime
    id: str
    fact: Any = None
    selector: int = 0
    group: str = ""
    """The tenant, where a key's events are of several."""

    @property
    def moment(self) -> Moment:
        """Its place in the order of events."""
        return self.at, self.id


class Crossing(NamedTuple):
    """A position at which a pattern's condition holds: the event at `position`, its window from `since` on."""

    at: datetime
    id: str
    severity: AlertSeverity
    since: int
    position: int
    since_at: datetime

    @property
    def moment(self) -> Moment:
        """Its place in the order of events."""
        return self.at, self.id


class Span(NamedTuple):
    """A closed range of event time."""

    start: datetime
    end: datetime

    @classmethod
    def around(cls, moment: datetime, reach: timedelta) -> "Span":
        """The span of everything within `reach` of a moment. OverflowError outside the calendar."""
        return cls(moment - reach, moment + reach)

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies within it."""
        return self.start <= moment <= self.end


class Visit(NamedTuple):
    """From where somebody did something on an account; `is_new` once it is known that the account never saw it."""

    what: str
    ip_key: str | None
    ua_key: str | None
    is_new: bool = False


class Question(NamedTuple):
    """Whether the visit at `position` came from an address and a user agent that no sign-in within `span` came from.

    An account that was registered at or after `fresh_since` is told no news.
    """

    position: int
    span: Span
    fresh_since: datetime | None = None


def no_fact(_event: Item) -> Any:
    """Nothing beyond time and id."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pattern[P: Parameters]:
    """One threat pattern: its metadata and its pure functions. Every module in `patterns/` has one as `PATTERN`.

    `selectors` and `key_path` say how its events are found: types with their outcomes, and the dotted field that holds
    the key. `fields` are the top-level fields that `matches`, `key` and `fact` read, beside those that all share.
    `crossings` gets every matching event of one key in order, and returns the crossing points in order.
    `questions`: of which visits `crossings` has to know whether they are new to the account (`familiarity.py`).
    `settable`: whether an organization may mute it and set its thresholds.
    `across_tenants`: a key's events are those of all tenants, and each tenant that has one of them gets its alert.
    A pattern equals itself alone: it is part of keys that are looked up for every event.
    """

    id: str
    title: str
    severity: AlertSeverity
    attack: tuple[str, ...]
    description: str
    false_positives: tuple[str, ...]
    runbook: tuple[str, ...]
    parameters: type[P]
    selectors: tuple[Selector, ...]
    key_path: str
    fields: tuple[str, ...]
    matches: Callable[[Item], bool]
    key: Callable[[Item], str | None]
    crossings: Callable[[Sequence[Observed], P], Iterable[Crossing]]
    fact: Callable[[Item], Any] = no_fact
    questions: Callable[[Sequence[Observed], P], Iterable[Question]] | None = None
    across_tenants: bool = False
    settable: bool = True

    def __post_init__(self) -> None:
        if not 2 <= len(self.runbook) <= 4:
            raise ValueError(f"{self.id}: a runbook has two to four steps")
        if not (self.attack and self.selectors and self.false_positives and self.description):
            raise ValueError(f"{self.id}: ATT&CK ids, event types, description and false positives are all required")

    @property
    def defaults(self) -> P:
        """The parameters as they are when nobody set others."""
        return self.parameters.model_validate({})

    def described(self, parameters: P | None = None) -> dict[str, Any]:
        """The pattern as the API lists it, with the thresholds of today."""
        return {
            "id": self.id,
            "title": self.title,
            "severity": self.severity,
            "attack": list(self.attack),
            "description": self.description,
            "false_positives": list(self.false_positives),
            "runbook": list(self.runbook),
            "thresholds": (parameters or self.defaults).model_dump(),
        }


class Wanted:
    """Patterns by the events that they look at. `asking`: those that ask what is new to an account."""

    def __init__(self, patterns: Iterable[Pattern[Any]]) -> None:
        self.by_selector: dict[Selector, list[Pattern[Any]]] = {}
        self.asking: list[Pattern[Any]] = []
        for pattern in patterns:
            for selector in pattern.selectors:
                self.by_selector.setdefault(selector, []).append(pattern)
            if pattern.questions is not None:
                self.asking.append(pattern)
