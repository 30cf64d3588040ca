"""Settings of reports: when a tenant works, what it wants reported when, and what does not apply to it."""

import re
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from functions._api import Body, Shape, absent, given
from shared.core.clock import rfc3339
from shared.core.errors import FieldError, Invalid
from shared.core.text import Moment, Opaque, not_blank, printable

if TYPE_CHECKING:  # cold start
    from shared.storage.documents import Item

type Framework = Literal["gdpr", "soc2", "hipaa", "pci_dss", "iso_27001"]
type Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
type Control = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.()_-]{0,63}$")]
type Reason = Annotated[
    str, StringConstraints(min_length=3, max_length=300), AfterValidator(printable), AfterValidator(not_blank)
]

MOST_SCHEDULES = 15
MOST_DECLARATIONS = 100
MOST_ON_CALL, MOST_SOURCES, MOST_ROLES = 200, 100, 50
LONGEST = timedelta(days=366)
_ZONE = re.compile(r"UTC|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z0-9_+-]*){1,2}")
"""Names of places, and UTC; not the aliases of old systems, nor whatever else lies beside them."""


def _zone(name: str) -> str:
    try:
        known = bool(_ZONE.fullmatch(name)) and ZoneInfo(name) is not None
    except (KeyError, ValueError, OSError):
        known = False
    if not known:
        raise PydanticCustomError("time_zone", "must be a time zone of the IANA database, such as Europe/Warsaw")
    return name


type TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_zone)]
"""A time zone of the IANA database."""


class WorkingHoursBody(Body):
    """When people work, in the tenant's time zone: on these days from one time of the day to another."""

    days: Annotated[list[Weekday], Field(min_length=1, max_length=7)]
    from_: str = Field(alias="from", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["07:00"])
    to: str = Field(
        pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        examples=["19:00"],
        description="Later on the same day; 24:00 is its end.",
    )


class ScheduleBody(Body):
    """A report to be made by itself."""

    framework: Framework
    every: Literal["daily", "weekly", "monthly"] = Field(description="Of the day, the week, or the month before.")
    hour: int = Field(
        ge=0,
        le=23,
        description="From then on, in the tenant's time zone: of every day, of Mondays, or of a month's first.",
    )


class NotApplicableBody(Body):
    """A control that does not apply to the tenant. Who says so, and when, is kept with it."""

    framework: Framework
    control: Control = Field(description="The control's id in reports of the framework.")
    reason: Reason = Field(description="Why: auditors read it.")


class ReportThresholdsBody(Body):
    """What reports take for too late, too long or too much, where no framework sets it."""

    alert_ack_hours: int = Field(
        default_factory=absent, ge=1, le=720, description="Until a high or critical alert is acknowledged. Default: 24."
    )
    alert_resolve_days: int = Field(
        default_factory=absent, ge=1, le=365, description="Until an alert is resolved or dismissed. Default: 7."
    )
    offboarding_hours: int = Field(
        default_factory=absent, ge=0, le=720, description="Until who left cannot act any more. Default: 24."
    )
    ingest_delay_minutes: int = Field(
        default_factory=absent, ge=1, le=1440, description="Between an event and its recording. Default: 5."
    )
    source_silence_hours: int = Field(
        default_factory=absent, ge=1, le=720, description="That an API key sends no events. Default: 24."
    )
    failure_burst: int = Field(
        default_factory=absent, ge=2, le=100, description="Failures before a success that need an alert. Default: 5."
    )
    bulk_export_records: int = Field(
        default_factory=absent,
        ge=1,
        le=1_000_000,
        description="Of one export, above which it needs a reason. Default: 1000.",
    )
    idle_minutes: int = Field(
        default_factory=absent,
        ge=5,
        le=1440,
        description="That a session may lie without a call. Default: 15, the most for PCI DSS.",
    )
    inactive_account_days: int = Field(
        default_factory=absent,
        ge=1,
        le=365,
        description="That an active account may not be signed in to. Default: 90, the most for PCI DSS.",
    )
    access_review_months: int = Field(
        default_factory=absent,
        ge=1,
        le=24,
        description="From one access review to the next. Default: 6, the most for PCI DSS.",
    )
    concurrent_sessions: int = Field(
        default_factory=absent, ge=3, le=100, description="Of one account at one time that are too many. Default: 3."
    )
    sample_size: int = Field(
        default_factory=absent, ge=1, le=32, description="Events that are drawn for each control. Default: 25."
    )


type Roles = Annotated[list[Opaque], Field(max_length=MOST_ROLES)]


class DataRolesBody(Body):
    """Which roles of the tenant's own systems may use which class of data; none: nobody may. A class that is not there
    is not looked at. An event names the role as its attribute `role`; without one it is its actor's kind."""

    personal: Roles = Field(default_factory=absent)
    confidential: Roles = Field(default_factory=absent)
    phi: Roles = Field(default_factory=absent)
    cardholder: Roles = Field(default_factory=absent)


class AcceptedRiskBody(Body):
    """What a rule finds for a framework, taken upon itself by the tenant: it stays an exception, and reports say who
    accepted it. Who that is, and when, is kept with it."""

    framework: Framework
    rule: str = Field(pattern=r"^[A-Z]{3,4}-[0-9]{2}$", description="The rule's id in reports.")
    reason: Reason = Field(description="Why: auditors read it.")
    until: Moment = Field(description="For what begins before that; in the future, at most a year ahead.")


class WorkingHoursShape(Shape):
    """When people work, in the tenant's time zone."""

    days: list[Weekday]
    from_: str = Field(alias="from")
    to: str


class ScheduleShape(Shape):
    """A report that is made by itself."""

    framework: Framework
    every: Literal["daily", "weekly", "monthly"]
    hour: int


class NotApplicableShape(Shape):
    """A control that was declared not to apply: why, by whom (a user's id) and when."""

    framework: Framework
    control: str
    reason: str
    declared_by: str
    declared_at: str


class AcceptedRiskShape(Shape):
    """A risk that was accepted: why, by whom (a user's id), when and until when."""

    framework: Framework
    rule: str
    reason: str
    until: str
    accepted_by: str
    accepted_at: str


def store_report_settings(wanted: dict[str, Any], held: dict[str, Any], by: str, now: datetime) -> None:
    """Put the given settings of reports into the form in which they are kept. Invalid (422) for what is there twice,
    and for what cannot be so. A declaration or an acceptance that was held already stays whose it was."""
    if "working_hours" in wanted:
        wanted["working_hours"] = _working_hours(wanted["working_hours"])
    if "schedules" in wanted:
        schedules: list[ScheduleBody] = wanted["schedules"]
        _check_once(schedules, "schedules", lambda each: (each.framework, each.every))
        wanted["schedules"] = [each.model_dump() for each in schedules]
    if "not_applicable" in wanted:
        declared: list[NotApplicableBody] = wanted["not_applicable"]
        _check_once(declared, "not_applicable", lambda each: (each.framework, each.control))
        wanted["not_applicable"] = _declarations(declared, held["not_applicable"], by, now)
    if "report_thresholds" in wanted:
        wanted["report_thresholds"] = given(wanted["report_thresholds"])
    for name in ("on_call", "expected_sources"):
        _check_once(wanted.get(name) or (), name, lambda each: each)
    if "data_roles" in wanted:
        wanted["data_roles"] = given(wanted["data_roles"])
        for name, roles in wanted["data_roles"].items():
            _check_once(roles, f"data_roles.{name}", lambda each: each)
    if "accepted_risks" in wanted:
        risks: list[AcceptedRiskBody] = wanted["accepted_risks"]
        _check_once(risks, "accepted_risks", lambda each: (each.framework, each.rule))
        wanted["accepted_risks"] = _risks(risks, held["accepted_risks"], by, now)


def _working_hours(body: WorkingHoursBody) -> "Item":
    if body.from_ >= body.to:
        raise _invalid("working_hours.to", "too_early", "must be later than from")
    if len(set(body.days)) != len(body.days):
        raise _invalid("working_hours.days", "repeated", "names a day twice")
    week: tuple[str, ...] = Weekday.__value__.__args__
    return {"days": sorted(body.days, key=week.index), "from": body.from_, "to": body.to}


def _declarations(declared: list[NotApplicableBody], held: "list[Item]", by: str, now: datetime) -> "list[Item]":
    known = {(each["framework"], each["control"], each["reason"]): each for each in held}
    new = {"declared_by": by, "declared_at": rfc3339(now)}
    found = [each.model_dump() for each in declared]
    return [known.get((each["framework"], each["control"], each["reason"]), each | new) for each in found]


def _risks(accepted: list[AcceptedRiskBody], held: "list[Item]", by: str, now: datetime) -> "list[Item]":
    from shared.compliance.rules import RULES

    names = ("framework", "rule", "reason", "until")
    known = {tuple(each[name] for name in names): each for each in held}
    found = []
    for place, each in enumerate(accepted):
        entry = each.model_dump() | {"until": rfc3339(each.until)}
        if each.rule not in RULES:
            raise _invalid(f"accepted_risks.{place}.rule", "unknown", "is no rule of reports")
        if each.until > now + LONGEST:
            raise _invalid(f"accepted_risks.{place}.until", "too_far", "is more than a year ahead")
        before = known.get(tuple(entry[name] for name in names))
        if before is None and each.until <= now:
            raise _invalid(f"accepted_risks.{place}.until", "past", "must be in the future")
        found.append(before or entry | {"accepted_by": by, "accepted_at": rfc3339(now)})
    return found


def _check_once[T](entries: Sequence[T], field: str, key: Callable[[T], Hashable]) -> None:
    seen: set[Hashable] = set()
    for place, each in enumerate(entries):
        if key(each) in seen:
            raise _invalid(f"{field}.{place}", "repeated", "is there twice")
        seen.add(key(each))


def _invalid(field: str, code: str, message: str) -> Invalid:
    fault = FieldError(field, code, message)
    return Invalid("invalid_request", "Some fields are not as they must be.", errors=(fault,))
