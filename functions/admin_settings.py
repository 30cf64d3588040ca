"""The settings of a tenant."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, IPvAnyAddress

from functions._api import Answer, Api, Body, Call, Nothing, Shape, absent
from functions._approvals import ApprovalFields, approval_of, changes_of
from functions._report_settings import (
    LONGEST,
    MOST_DECLARATIONS,
    MOST_ON_CALL,
    MOST_SCHEDULES,
    MOST_SOURCES,
    AcceptedRiskBody,
    AcceptedRiskShape,
    DataRolesBody,
    NotApplicableBody,
    NotApplicableShape,
    ReportThresholdsBody,
    ScheduleBody,
    ScheduleShape,
    TimeZone,
    WorkingHoursBody,
    WorkingHoursShape,
    store_report_settings,
)
from shared.core.clock import rfc3339
from shared.core.errors import FieldError, Invalid
from shared.core.text import Line, Moment, Opaque
from shared.identity.model import ADMINS

if TYPE_CHECKING:  # cold start
    from shared.storage.documents import Item

api = Api("administration")

type RequireMfa = Literal["off", "admins", "all"]
type Reason = Annotated[Line, Field(min_length=3, max_length=300, description="Why: for whoever wonders later.")]

MOST_ENTRIES = 100


class MuteBody(Body):
    """A pattern that raises no alerts until then."""

    pattern: Opaque
    reason: Reason
    until: Moment = Field(description="In the future, at most a year ahead.")


class AddressBody(Body):
    """An address whose events no pattern looks at until then."""

    value: IPvAnyAddress
    reason: Reason
    until: Moment = Field(description="In the future, at most a year ahead.")


class AccountBody(Body):
    """The id of a user or an API key whose events no pattern looks at until then."""

    value: Opaque
    reason: Reason
    until: Moment = Field(description="In the future, at most a year ahead.")


class AllowListsBody(Body):
    """What the threat patterns leave alone, by the time at which events happen."""

    addresses: list[AddressBody] = Field(default=[], max_length=MOST_ENTRIES)
    accounts: list[AccountBody] = Field(default=[], max_length=MOST_ENTRIES)


class HoldBody(Body):
    """Whom nothing is erased of until then: a person, or everybody where none is named."""

    subject: Opaque | None = None
    reason: Reason
    until: Moment = Field(description="At most a year ahead; set it again for longer.")


class PurposeBody(Body):
    """What users are asked to agree to. Whoever agreed to another version is asked again."""

    purpose: Opaque = Field(description="`terms`, `privacy`, `marketing`, or one of your own.")
    version: Opaque = Field(description="Of the text that holds now.")
    required: bool = Field(default=False, description="`terms` and `privacy` always are.")


class SettingsBody(ApprovalFields):
    """The settings to change; those that are not given stay."""

    require_mfa: RequireMfa = Field(default_factory=absent, description="Who needs a second factor.")
    thresholds: dict[str, dict[str, Annotated[int, Field(ge=0, le=999_999_999)]]] = Field(
        default_factory=absent, description="Parameters of threat patterns, by pattern and name; see /alert-patterns."
    )
    allow_lists: AllowListsBody = Field(default_factory=absent)
    mutes: list[MuteBody] = Field(default_factory=absent, max_length=MOST_ENTRIES)
    legal_hold: list[HoldBody] = Field(default_factory=absent, max_length=MOST_ENTRIES)
    consents: list[PurposeBody] = Field(
        default_factory=absent,
        max_length=MOST_ENTRIES,
        description="Purposes; `terms`, `privacy` and `marketing` have the service's versions where they are not here.",
    )
    time_zone: TimeZone = Field(default_factory=absent, description="Of working hours and schedules; default: UTC.")
    working_hours: WorkingHoursBody = Field(default_factory=absent)
    schedules: list[ScheduleBody] = Field(default_factory=absent, max_length=MOST_SCHEDULES)
    not_applicable: list[NotApplicableBody] = Field(default_factory=absent, max_length=MOST_DECLARATIONS)
    report_thresholds: ReportThresholdsBody = Field(default_factory=absent)
    on_call: list[Opaque] | None = Field(
        default_factory=absent,
        max_length=MOST_ON_CALL,
        description="Ids of those, also of programs, who may use sensitive data outside working hours, as events name "
        "them; null: not said.",
    )
    expected_sources: list[Opaque] | None = Field(
        default_factory=absent,
        max_length=MOST_SOURCES,
        description="Ids of API keys that are to send events; null: not said.",
    )
    data_roles: DataRolesBody = Field(default_factory=absent)
    accepted_risks: list[AcceptedRiskBody] = Field(default_factory=absent, max_length=MOST_DECLARATIONS)


class MuteShape(Shape):
    """A muted pattern."""

    pattern: str
    reason: str
    since: str
    until: str


class EntryShape(Shape):
    """An entry of an allow-list."""

    value: str
    reason: str
    since: str
    until: str


class HoldShape(Shape):
    """A legal hold."""

    subject: str | None
    reason: str
    since: str
    until: str


class PurposeShape(Shape):
    """What users are asked to agree to."""

    purpose: str
    version: str
    required: bool


class AllowListsShape(Shape):
    """What the threat patterns leave alone."""

    addresses: list[EntryShape]
    accounts: list[EntryShape]


class SettingsShape(Shape):
    """The settings of a tenant."""

    require_mfa: RequireMfa
    thresholds: dict[str, dict[str, int]]
    allow_lists: AllowListsShape
    mutes: list[MuteShape]
    legal_hold: list[HoldShape]
    consents: list[PurposeShape]
    time_zone: str
    working_hours: WorkingHoursShape
    schedules: list[ScheduleShape]
    not_applicable: list[NotApplicableShape]
    report_thresholds: dict[str, int]
    on_call: list[str] | None
    expected_sources: list[str] | None
    data_roles: dict[str, list[str]]
    accepted_risks: list[AcceptedRiskShape]


@api.endpoint("GET", "v1/admin/settings", who=ADMINS, response=SettingsShape)
async def get_settings(call: Call[Nothing, Nothing]) -> Answer:
    """The tenant's settings. `ETag` names their version."""
    return _answer(call.principal.tenant)


@api.endpoint(
    "PUT",
    "v1/admin/settings",
    who=ADMINS,
    body=SettingsBody,
    response=SettingsShape,
    errors=(412,),
    step_up=True,
    told=tuple(SettingsBody.model_fields),
)
async def update_settings(call: Call[SettingsBody, Nothing]) -> Answer:
    """Change settings of the tenant. `If-Match` guards against lost updates."""
    wanted = await _stored(call)
    changed = await call.services.tenant_settings.change(
        call.principal, wanted, call.if_match, call.request, approval_of(call.body)
    )
    return _answer(changed)


async def _stored(call: Call[SettingsBody, Nothing]) -> dict[str, Any]:
    """The given settings as they are kept. Invalid (422) for what the patterns do not take."""
    from shared.detection.rules import check_thresholds, since, standing
    from shared.identity.tenant_settings import settings_of

    wanted, held, now = changes_of(call.body), settings_of(call.principal.tenant), call.services.clock.now()
    store_report_settings(wanted, held, call.principal.user_id, now)
    if "thresholds" in wanted:
        check_thresholds(wanted["thresholds"])
        _check_settable(wanted["thresholds"], "thresholds.{}")
    if "mutes" in wanted:
        mutes: list[MuteBody] = wanted["mutes"]
        _check_patterns(mutes)
        _check_settable([each.pattern for each in mutes], "mutes.pattern")
        entries = [{"pattern": each.pattern, **_until(each, "mutes", now)} for each in mutes]
        wanted["mutes"] = _dated(entries, held["mutes"], "mutes", now)
    if "legal_hold" in wanted:
        holds: list[HoldBody] = wanted["legal_hold"]
        found = [{"subject": each.subject, **_until(each, "legal_hold", now)} for each in holds]
        wanted["legal_hold"] = standing(since(found, held["legal_hold"], now))  # a hold that is lifted is over
    if "consents" in wanted:
        purposes: list[PurposeBody] = wanted["consents"]
        if len({each.purpose for each in purposes}) < len(purposes):
            raise _invalid("consents.purpose", "duplicate", "is named twice")
        wanted["consents"] = [each.model_dump() for each in purposes]
    if "allow_lists" in wanted:
        lists: AllowListsBody = wanted["allow_lists"]
        accounts = [{"value": each.value, **_until(each, "allow_lists.accounts", now)} for each in lists.accounts]
        addresses = []
        for each in lists.addresses:
            value = str(each.value)
            key = await call.services.index.for_address(value)
            addresses.append({"value": value, "key": key, **_until(each, "allow_lists.addresses", now)})
        wanted["allow_lists"] = {
            "addresses": _dated(addresses, held["allow_lists"]["addresses"], "allow_lists.addresses", now),
            "accounts": _dated(accounts, held["allow_lists"]["accounts"], "allow_lists.accounts", now),
        }
    return wanted


def _until(entry: MuteBody | AddressBody | AccountBody | HoldBody, field: str, now: datetime) -> dict[str, str]:
    if entry.until > now + LONGEST:
        raise _invalid(f"{field}.until", "too_far", "is more than a year ahead")
    return {"reason": entry.reason, "until": rfc3339(entry.until)}


def _dated(entries: list["Item"], held: list["Item"], field: str, now: datetime) -> list["Item"]:
    """Entries with the time from when they hold. One that was held already may be over, a new one may not."""
    from shared.detection.rules import since, standing

    dated = since(entries, held, now)
    if any(each["until"] <= each["since"] for each in standing(dated)):
        raise _invalid(f"{field}.until", "past", "must be in the future")
    return dated


def _check_settable(patterns: Iterable[str], field: str) -> None:
    from shared.detection import all_patterns

    for name in patterns:
        if not all_patterns()[name].settable:
            raise _invalid(field.format(name), "not_settable", "always holds as it is: nobody can mute or set it")


def _check_patterns(mutes: Sequence[MuteBody]) -> None:
    from shared.detection import all_patterns

    if any(each.pattern not in all_patterns() for each in mutes):
        raise _invalid("mutes.pattern", "unknown", "is no pattern")


def _invalid(field: str, code: str, message: str) -> Invalid:
    fault = FieldError(field, code, message)
    return Invalid("invalid_request", "Some fields are not as they must be.", errors=(fault,))


def _answer(tenant: "Item") -> Answer:
    from shared.detection.rules import standing
    from shared.identity.tenant_settings import settings_of, settings_tag

    settings = settings_of(tenant)
    lists = settings["allow_lists"]
    addresses = [
        {name: value for name, value in each.items() if name != "key"} for each in standing(lists["addresses"])
    ]
    shown_lists = {"addresses": addresses, "accounts": standing(lists["accounts"])}
    shown = {**settings, "allow_lists": shown_lists, "mutes": standing(settings["mutes"])}
    return Answer(shown, headers={"ETag": settings_tag(tenant)})
