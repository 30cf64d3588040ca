"""Evidence: all that a report is made from. Facts of the sealed trail, and what is known beside it through ports.

What a port cannot tell is None, never a guess: the rules that need it are then not run, and the report says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from shared.compliance.report_model import Gate, Shard
from shared.compliance.thresholds import WorkingHours
from shared.core.clock import parse_rfc3339, rfc3339

if TYPE_CHECKING:  # cold start: wiring imports this module
    from shared.compliance.facts.merged import Facts


LEAD_DAYS = 7
"""Days before a period in which what goes on in it may have begun: a run of failures, a session, a silence."""
SETTLED = timedelta(days=2)
"""So long after the end of a period its report may take, whatever its hour and time zone."""


@lru_cache(maxsize=16)
def _days(first: date, end: date) -> tuple[str, ...]:
    return tuple((first + timedelta(days=number)).isoformat() for number in range((end - first).days))


@dataclass(frozen=True, slots=True)
class Period:
    """Whole UTC days of recorded_at, `to` excluded."""

    from_day: date
    to_day: date

    @property
    def days(self) -> tuple[str, ...]:
        """Its days, YYYY-MM-DD."""
        return _days(self.from_day, self.to_day)

    @property
    def lead(self) -> tuple[str, ...]:
        """The days before it that are looked at for what went on in it, YYYY-MM-DD."""
        return _days(self.from_day - timedelta(days=LEAD_DAYS), self.from_day)

    @property
    def months(self) -> tuple[str, ...]:
        """The months that its days are of, YYYY-MM."""
        return tuple(dict.fromkeys(day[:7] for day in self.days))

    @property
    def start(self) -> str:
        """Its first moment, RFC 3339."""
        return midnight_of(self.from_day.isoformat())

    @property
    def end(self) -> str:
        """The first moment after it, RFC 3339."""
        return midnight_of(self.to_day.isoformat())


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert as people left it. Times RFC 3339; None: it did not happen."""

    id: str
    pattern: str
    severity: str
    key: str
    raised_at: str
    first_seen: str
    last_seen: str
    acknowledged_at: str | None
    closed_at: str | None
    closed_note: bool
    event_ids: frozenset[str] = frozenset()
    incident: Mapping[str, Any] | None = None

    def is_open_at(self, moment: str) -> bool:
        """Whether nobody had closed it at a moment."""
        return self.closed_at is None or self.closed_at > moment


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request of a person: of which kind, of whom, when it came, until when it was to be answered, what became of it.

    `state`: as the register has it; `answered_at` None: not yet. `extended`: its time was, within the first month.
    """

    id: str
    kind: str
    subject: str
    state: str
    received_at: str
    due_at: str
    answered_at: str | None
    extended: bool


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is. Times RFC 3339. `last_login_at` None: further back than was looked.

    `passwords`: when they were set, in order, not further back than was looked. `is_unknown`: nobody looked for its
    last login, for there were too many accounts to.
    """

    id: str
    role: str
    status: str
    mfa: bool
    created_at: str
    last_login_at: str | None = None
    passwords: tuple[str, ...] = ()
    is_unknown: bool = False

    def password_at(self, moment: str) -> str:
        """When the password was set that held at a moment: at the latest with the account."""
        place = bisect_right(self.passwords, moment)
        return self.passwords[place - 1] if place else self.created_at


@dataclass(frozen=True, slots=True)
class Declaration:
    """That a control does not apply: by whom, when and why. Never inferred."""

    control: str
    reason: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """That the organization takes what a rule finds for a framework upon itself: by whom, when, until when and why."""

    framework: str
    rule: str
    reason: str
    by: str
    at: str
    until: str


@dataclass(frozen=True, slots=True)
class Regular:
    """A report that is due regularly: of a framework, `daily`, `weekly` or `monthly`."""

    framework: str
    every: str


@dataclass(frozen=True, slots=True)
class Policies:
    """The settings in force. None: not known, or not said.

    `thresholds`: those of `thresholds.py` that the organization set. `data_roles`: which roles may touch which class of
    its own systems' data. `on_call`: ids of those who may work outside working hours. `sources`: those expected to send
    events, as facts name them. `schedules`: reports that are due regularly, `schedules_since` since when they are as
    they are now (RFC 3339; None: all along). `legal_hold`: whether something is kept beyond its retention, for good
    reason.
    """

    lockout_failures: int | None = None
    lockout_minutes: int | None = None
    password_min_length: int | None = None
    password_history: int | None = None
    session_idle_minutes: int | None = None
    require_mfa: str | None = None
    retention_days: int | None = None
    thresholds: Mapping[str, int] = field(default_factory=dict)
    data_roles: Mapping[str, Sequence[str]] | None = None
    on_call: frozenset[str] | None = None
    sources: tuple[str, ...] | None = None
    schedules: tuple[Regular, ...] = ()
    schedules_since: str | None = None
    declarations: tuple[Declaration, ...] = ()
    acceptances: tuple[Acceptance, ...] = ()
    working_hours: WorkingHours = field(default_factory=WorkingHours)
    legal_hold: bool = False


@dataclass(frozen=True, slots=True)
class Organization:
    """Whose report it is."""

    id: str
    name: str
    enrolled_at: str
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which the trail could not be written, or less was recorded. RFC 3339."""

    since: str
    until: str
    source: str


@dataclass(frozen=True, slots=True)
class Operations:
    """Signs of life of the service itself, for the days of a period. `starts`: of its instances, 1 for any number."""

    detection_days: frozenset[str]
    outages: tuple[Outage, ...]
    starts: int


type Edition = tuple[str, str, str]
"""Framework, first day and the day after the last: of these there is one report; where it was replaced, the last."""


def edition_of(given: Mapping[str, Any]) -> Edition:
    """Of what a report is that `report.generate` tells of, by its attributes."""
    return str(given.get("framework")), str(given.get("period_from"))[:10], str(given.get("period_to"))[:10]


type Act = tuple[str, object, str | None, str]
"""Something that was done for a person: the type of its event, the id of the request, the person and when."""


class Organizations(Protocol):
    """Where organizations and their settings are."""

    async def organization(self, tenant_id: str) -> Organization | None:
        """One organization; None when there is none of that id. StoreError."""
        ...

    async def policies(self, tenant_id: str) -> Policies:
        """Its settings as they are now. StoreError."""
        ...


class Accounts(Protocol):
    """Where accounts are."""

    async def accounts(self, tenant_id: str) -> Sequence[Account]:
        """All accounts, without what only the trail tells of them. StoreError."""
        ...


class AlertsOf(Protocol):
    """Where alerts are."""

    async def alerts(self, tenant_id: str, start: str, end: str) -> Sequence[AlertRow]:
        """Alerts that were first seen before `end` and were open, or raised, at `start` or later. StoreError."""
        ...


class RequestsOf(Protocol):
    """Where requests of persons are."""

    async def requests(self, tenant_id: str, start: str, end: str) -> Sequence[RequestRow]:
        """Requests received before `end` that were open at `start` or came later. StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What was found out about the ledger when the report was made.

    `oldest_month`: the first one that is kept. `kept_past`: months whose retention is over, and of which there is
    something left.
    """

    retention_days: int
    oldest_month: str | None = None
    kept_past: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seed:
    """What samples are drawn by: the root that the ledger of a month had when the last entry of the period was in.

    `size`: of the tree then, one more than that entry's index. `root`: base64. Nothing that is recorded later has a
    part in it, and nobody knows it before.
    """

    period: str
    size: int
    root: str


@dataclass(frozen=True)
class Evidence:
    """Everything that a report is made from. The same evidence gives the same report."""

    framework: str
    organization: Organization
    period: Period
    facts: Facts
    gate: Gate
    shards: tuple[Shard, ...]
    ledger: LedgerState
    policies: Policies
    thresholds: Mapping[str, int]
    alerts: tuple[AlertRow, ...] | None = None
    """Those that were raised in the period or after it, or were open when it began."""
    alerts_before: tuple[AlertRow, ...] = ()
    """Those that were closed shortly before it: what they tell of may come again, or go on."""
    requests: tuple[RequestRow, ...] | None = None
    accounts: tuple[Account, ...] | None = None
    operations: Operations | None = None
    last_review_at: str | None = None
    review_before: str | None = None
    """When access was last reviewed before the period; `last_review_at`: before its end."""
    incidents_before: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """What was recorded of incidents in the months before: the alert, and the attributes of the event with its
    `recorded_at`."""
    seed: Seed | None = None
    reports_before: tuple[tuple[Edition, str, str], ...] = ()
    """Reports that were made within `SETTLED` before the period, in order: of what, id, when."""
    reports_after: tuple[tuple[Edition, str, str], ...] = ()
    """Those that were made after it."""
    acts_around: tuple[Act, ...] = ()
    """What was done for persons before the period, or after it: looked for where a request was closed, and nothing was
    done in the period."""

    def at_least(self, name: str) -> int:
        """A threshold by its name. KeyError."""
        return self.thresholds[name]

    @cached_property
    def raised(self) -> tuple[AlertRow, ...]:
        """Alerts that were raised in the period."""
        return tuple(each for each in self.alerts or () if self.period.start <= each.raised_at < self.period.end)

    @cached_property
    def erased(self) -> frozenset[str]:
        """Persons who were erased, as far as the register and the facts of the period tell."""
        done = [each.subject for each in self.requests or () if each.state == "executed" and each.kind == "erasure"]
        return frozenset(done).union(*(day["erased"] for day in self.facts.documents))

    @cached_property
    def end(self) -> datetime:
        """The first moment after the period."""
        return datetime.fromisoformat(self.period.end)

    def is_alerted(
        self,
        patterns: AbstractSet[str],
        event_ids: AbstractSet[str],
        about: str = "",
        at: str = "",
        *,
        seen_within: float | None = None,
    ) -> bool:
        """Whether an alert of one of these patterns stands on one of these events, or is about this very somebody at
        that time (RFC 3339, an hour around it); if asked, one that somebody acknowledged or closed within so many
        hours."""
        for each in (*(self.alerts or ()), *self.alerts_before):
            if each.pattern not in patterns or (seen_within is not None and not _is_seen(each, seen_within)):
                continue
            if not event_ids.isdisjoint(each.event_ids):
                return True
            is_then = at and hour_off(each.first_seen, -1) <= at <= hour_off(each.last_seen, 1)
            if about and about == each.key and is_then:
                return True
        return False


def _is_seen(alert: AlertRow, hours: float) -> bool:
    seen = min((at for at in (alert.acknowledged_at, alert.closed_at) if at is not None), default=None)
    return seen is not None and hours_between(alert.raised_at, seen) <= hours


def hour_off(at: str, hours: int) -> str:
    """A time so many hours off."""
    return rfc3339(parse_rfc3339(at) + timedelta(hours=hours))


def midnight_of(day: str) -> str:
    """The first moment of a day (YYYY-MM-DD), RFC 3339."""
    return f"{day}T00:00:00.000000Z"


def day_after(day: str) -> str:
    """The day after one, YYYY-MM-DD."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def moment_after(start: str, seconds: float) -> str:
    """The time so many seconds after one (RFC 3339)."""
    return rfc3339(parse_rfc3339(start) + timedelta(seconds=seconds))


def hours_between(first: str, second: str) -> float:
    """Hours from one RFC 3339 time to another."""
    return (parse_rfc3339(second) - parse_rfc3339(first)).total_seconds() / 3600
