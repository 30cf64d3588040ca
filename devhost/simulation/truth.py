"""The ground truth: what was done and what is to be found of it, as JSON. The form is in docs/simulation.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from devhost.simulation.driver import Trace
from devhost.simulation.people import Person, Tenant
from devhost.simulation.plan import Plan
from devhost.simulation.requests import Known
from devhost.simulation.scene import Case
from shared.core.clock import rfc3339

FORMAT = 1
NOT_WHEN_FRESH = frozenset({"suspicious_password_change"})
"""What a password change from a new place does not meet on the day of the registration, on which a real clock stays."""


def ground_truth(
    plan: Plan,
    known: Known,
    traces: Mapping[int, Sequence[Trace]],
    *,
    clock: str,
    calls: Mapping[str, int],
    events: int,
) -> dict[str, Any]:
    """Everything that a judge of the alerts needs. `clock`: simulated or real."""
    options = plan.options
    return {
        "format": FORMAT,
        "options": {
            "seed": options.seed,
            "tenants": options.tenants,
            "users": options.users,
            "days": options.days,
            "attacks": sorted(options.attacks),
        },
        "clock": clock,
        "period": {"from": rfc3339(options.start), "to": rfc3339(options.end)} if clock == "simulated" else None,
        "tenants": [_tenant(each, known) for each in plan.tenants],
        "cases": [_case(each, plan, known, traces.get(each.number, ())) for each in plan.cases],
        "left_out": list(plan.left_out),
        "calls": dict(sorted(calls.items())),
        "events_reported": events,
    }


def _tenant(tenant: Tenant, known: Known) -> dict[str, Any]:
    return {
        "name": tenant.name,
        "id": known.tenant_ids.get(tenant.index),
        "clean": tenant.clean,
        "time_zone": tenant.zone,
        "api_key_id": known.key_ids.get(tenant.index),
        "users": [_person(each, known) | {"role": each.role} for each in tenant.people],
    }


def _person(person: Person, known: Known) -> dict[str, Any]:
    return {"name": person.name, "id": known.user_ids.get(person), "email": person.email}


def _case(case: Case, plan: Plan, known: Known, traces: Sequence[Trace]) -> dict[str, Any]:
    affected = sorted({each.tenant for each in case.accounts} or {case.tenant.index})
    tenants: list[str | None] = [known.tenant_ids.get(index) for index in affected]
    if case.attack and case.pattern == "credential_stuffing":
        tenants.append("platform")
    times = [each.at for each in traces]
    also = [each for each in case.also if not (plan.options.live and each in NOT_WHEN_FRESH)]
    return {
        "number": case.number,
        "pattern": case.pattern,
        "name": case.name,
        "told": case.told,
        "attack": case.attack,
        "alert_expected": case.attack,
        "also": also,
        "tenants": tenants,
        "account": _person(case.account, known) if case.account else None,
        "actor": _person(case.actor, known) if case.actor else None,
        "address": case.address,
        "accounts": [_person(each, known) for each in case.accounts],
        "first": rfc3339(min(times)) if times else None,
        "last": rfc3339(max(times)) if times else None,
        "events": len(traces),
        "request_ids": [each.request_id for each in traces if each.request_id],
        "event_ids": [each.event_id for each in traces if each.event_id],
    }
