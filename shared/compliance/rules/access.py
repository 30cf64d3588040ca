"""Rules on who may do what: leavers, privileges, reviews, roles, other tenants, and who reads the trail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from shared.compliance.evidence import Evidence, hours_between
from shared.compliance.facts.card_use import systems_signed_in
from shared.compliance.facts.data_use import SLOT_SECONDS
from shared.compliance.facts.named import Extract, Mark
from shared.compliance.rules.model import (
    NOTHING,
    Found,
    Result,
    approval,
    bounded,
    missing,
    of_extracts,
    of_marks,
    rule,
    whole_period,
)
from shared.core.clock import months_after, parse_rfc3339

_RANKS = {"viewer": 10, "user": 20, "auditor": 30, "tenant_admin": 40, "system_admin": 50}
PRIVILEGED = 30
"""Rank from which a role is privileged: auditors read everything."""
_REFUSED = frozenset({"unauthorized_access", "privilege_escalation"})
"""Patterns of alerts that refusals raise."""
_SENSITIVE = ("cardholder", "confidential", "personal", "phi")
_OF_FRAMEWORK = {"pci_dss": ("cardholder",), "hipaa": ("phi",)}
"""Classes of data that a framework is about; all others are about all of them."""
_SLOTS = 86_400 // SLOT_SECONDS


@rule("ACC-01", "critical", "Somebody acted after leaving, or was ended too late", "offboarding_hours")
def ended(evidence: Evidence) -> Result:
    """Successes of accounts that were suspended or deleted, and time between leaving and that."""
    count, marks = evidence.facts.after_exit
    allowed = evidence.at_least("offboarding_hours")
    late = [
        each
        for each in evidence.facts.extracts("user.status_change")
        if each.attributes.get("left_at") and hours_between(str(each.attributes["left_at"]), each.at) > allowed
    ]
    acted = of_marks(count, marks, "Account {about} acted after it was ended")
    return Result((*acted, *of_extracts(late, lambda each: f"Account {each.target} was ended too late")))


def rises(each: Extract) -> bool:
    """Whether a change of role gives more than there was."""
    old, new = (_RANKS.get(str(each.attributes.get(name)), 0) for name in ("old_role", "new_role"))
    return new > old


def given_role(each: Extract) -> str | None:
    """The privileged role that a change or an invitation gives; None where it gives none."""
    invited = each.ref.type == "user.invite"
    role = str(each.attributes.get("role" if invited else "new_role"))
    return role if _RANKS.get(role, 0) >= PRIVILEGED and (invited or rises(each)) else None


@rule("ACC-02", "high", "A privileged role was given with no approval and no acknowledged alert", "alert_ack_hours")
def approved(evidence: Evidence) -> Result:
    """Roles from auditor up, given to somebody or with an invitation, without approver or ticket, of which no alert was
    acknowledged in time."""
    hours, escalated = evidence.at_least("alert_ack_hours"), {"privilege_escalation"}
    given = [
        each
        for each in evidence.facts.extracts("user.role_change", "user.invite")
        if given_role(each)
        and not (approval(each.attributes) and each.attributes.get("approved_by") != each.actor[1])
        and not evidence.is_alerted(escalated, {each.ref.event_id}, seen_within=hours)
    ]
    return Result(of_extracts(given, lambda each: f"{given_role(each)} given to {each.target}"))


@rule("ACC-03", "critical", "Somebody raised the own role")
def not_self(evidence: Evidence) -> Result:
    """Role changes whose actor is their target."""
    own = [e for e in evidence.facts.extracts("user.role_change") if rises(e) and e.actor[1] == e.target]
    return Result(of_extracts(own, lambda each: f"{each.target} became {each.attributes.get('new_role')} by itself"))


@rule("ACC-04", "medium", "An active account that nobody signs in to", "inactive_account_days")
def in_use(evidence: Evidence) -> Result:
    """Active accounts without a login for too long."""
    if evidence.accounts is None:
        return missing("accounts")
    allowed, end = evidence.at_least("inactive_account_days") * 24, evidence.period.end
    idle = [
        each
        for each in evidence.accounts
        if each.status == "active"
        and not each.is_unknown
        and hours_between(each.last_login_at or each.created_at, end) > allowed
    ]
    told = [
        Found(
            f"Account {each.id}: no login since {(each.last_login_at or each.created_at)[:10]}",
            1,
            evidence.period.start,
            end,
        )
        for each in idle
    ]
    return Result(bounded(told), ("last_logins",) if any(each.is_unknown for each in evidence.accounts) else ())


@rule("ACC-05", "medium", "Access was not reviewed for too long", "access_review_months")
def reviewed(evidence: Evidence) -> Result:
    """From the last completed review before the period, or the organization's beginning, to the first one within it,
    from one to the next, and from the last one, whenever it was, to the end of the period: calendar months."""
    allowed, period, began = (
        evidence.at_least("access_review_months"),
        evidence.period,
        evidence.organization.enrolled_at,
    )
    reviews = [each.at for each in evidence.facts.extracts("review.complete")]
    found = [
        Found(f"No review from {since[:10]} to {until[:10]}", 1, since, until, remedied_at=until)
        for since, until in pairwise([evidence.review_before or began, *reviews])
        if _is_over(since, allowed, until)
    ]
    if _is_over(evidence.last_review_at or began, allowed, period.end):
        found += whole_period(evidence, f"The last review was {(evidence.last_review_at or 'never')[:10]}")
    return Result(bounded(found))


def _is_over(since: str, months: int, until: str) -> bool:
    return months_after(parse_rfc3339(since), months) < parse_rfc3339(until)


@rule("ACC-06", "high", "A person caused it, and nobody can tell who")
def attributed(evidence: Evidence) -> Result:
    """Events of people without an actor."""
    return Result(of_marks(*evidence.facts.marked("unattributed"), "Events of type {of} that name nobody"))


@rule("ACC-07", "low", "Sensitive data was used outside working hours by somebody who is not on call")
def in_hours(evidence: Evidence) -> Result:
    """Uses outside working hours by others than the organization said may."""
    on_call, uses = evidence.policies.on_call, off_hours(evidence)
    if on_call is None:
        return missing("on_call") if uses else NOTHING
    marks = [Mark(day, None, n, who) for day, who, n in uses if who is not None and who not in on_call]
    found = of_marks(len(marks), marks, "{about}: up to {size} uses a day outside working hours")
    return Result(found, ("many_actors",) if any(who is None for _, who, _ in uses) else ())


def off_hours(evidence: Evidence) -> list[tuple[str, str | None, int]]:
    """Uses of sensitive data outside working hours: day, actor (None: of all whom the day does not name), how many; to
    the half hour."""
    zone, hours = ZoneInfo(evidence.organization.time_zone), evidence.policies.working_hours
    found, known = [], dict[tuple[object, ...], set[str]]()
    for day in evidence.facts.documents:
        if not day["half_hours"]:
            continue
        start = datetime.fromisoformat(day["day"]).replace(tzinfo=UTC)
        moments = [start + timedelta(seconds=slot * SLOT_SECONDS) for slot in range(_SLOTS)]
        edges = (start.weekday(), *(moment.astimezone(zone).utcoffset() for moment in (moments[0], moments[-1])))
        if edges not in known or edges[1] != edges[2]:  # where clocks change within a day it is looked at by itself
            known[edges] = {str(slot) for slot, moment in enumerate(moments) if not hours.hold(moment, zone)}
        free = known[edges]
        for who, slots in (*day["half_hours"].items(), (None, day["half_hours_others"])):
            parts = slots.replace(":", " ").split()
            outside = sum(int(n) for slot, n in zip(parts[::2], parts[1::2], strict=True) if slot in free)
            if outside:
                found.append((day["day"], who, outside))
    return found


@rule("ACC-08", "high", "Something was done that the role of then did not permit")
def permitted(evidence: Evidence) -> Result:
    """What only administrators may and others did, and uses of data against what the organization declared. Of a class
    that was used, and of which it declared nothing, nothing can be told."""
    found = list(of_marks(*evidence.facts.marked("role"), "{about} did as {of}"))
    declared, unknown = evidence.policies.data_roles or {}, False
    for name, count in sorted(evidence.facts.summed("data_roles").items()):
        data_class, _, role = name.partition("|")
        if data_class not in declared:
            unknown |= data_class in _OF_FRAMEWORK.get(evidence.framework, _SENSITIVE)
        elif role not in declared[data_class]:
            found += whole_period(evidence, f"{data_class} data was used as {role}", count)
    return Result(tuple(found), ("data_roles",) if unknown else ())


@rule("ACC-09", "critical", "Several attempts to reach another organization, and no alert", "cross_tenant_burst")
def apart(evidence: Evidence) -> Result:
    """Bursts of attempts across tenants. A success cannot be recorded: no call of the store leaves its partition."""
    return _bursts(evidence, "cross_burst", "cross_tenant_burst", "{about}: {size} attempts within an hour")


@rule("ACC-10", "high", "Somebody read the trail whose role may not")
def readers(evidence: Evidence) -> Result:
    """Searches, exports and reports by other roles than auditors and administrators."""
    return Result(of_marks(*evidence.facts.marked("log_view"), "{about} read the trail as {of}"))


@rule("ACC-11", "medium", "Many refusals of one actor within ten minutes, and no alert", "failure_burst")
def refusals(evidence: Evidence) -> Result:
    """Bursts of refusals that nothing alerted of."""
    return _bursts(evidence, "denied_burst", "failure_burst", "{about}: {size} refusals within ten minutes")


def _bursts(evidence: Evidence, kind: str, threshold: str, text: str) -> Result:
    marks = evidence.facts.each_marked(kind, evidence.at_least(threshold))
    if not marks:
        return NOTHING
    if evidence.alerts is None:
        return missing("alerts")
    silent = [
        mark
        for mark in marks
        if not (mark.ref and evidence.is_alerted(_REFUSED, {mark.ref.event_id}, mark.about, mark.ref.recorded_at))
    ]
    return Result(of_marks(len(silent), silent, text + ", and no alert"))


@rule("ACC-12", "high", "A system's account was signed in to as people sign in")
def not_interactive(evidence: Evidence) -> Result:
    """Logins of accounts under whose id a system acts: in the period, or in the week before either of the two."""
    found = systems_signed_in(evidence.facts)
    start, end = evidence.period.start, evidence.period.end
    return Result(bounded([Found(f"{name} signed in", 1, start, end) for name in found.names]), found.gaps)


RULES = (
    *(ended, approved, not_self, in_use, reviewed, attributed, in_hours, permitted, apart, readers, refusals),
    not_interactive,
)
