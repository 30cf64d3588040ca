"""Somebody gains power: tries to raise a role and may not, makes an administrator, or changes many roles.

Order-free by construction: an attempt or a grant crosses by itself, the rest is a count.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import Field

from shared.detection.engine import actor_of, crossing, windows
from shared.detection.model import Crossing, Observed, Parameters, Pattern
from shared.storage.documents import Item

_RANKS = {"viewer": 10, "user": 20, "auditor": 30, "tenant_admin": 40, "system_admin": 50}
_ADMINISTRATORS = frozenset({"tenant_admin", "system_admin"})


class PrivilegeEscalationParameters(Parameters):
    """`threshold` role changes by one actor within `window_seconds` raise an alert; so does a single attempt to raise a
    role that was refused, and a single grant of tenant_admin."""

    threshold: int = Field(default=5, ge=3, le=100)
    window_seconds: int = Field(default=3600, ge=300, le=14_400)


def _matches(event: Item) -> bool:
    if event["type"] == "user.invite":  # changes nobody's role, but may make an administrator
        return event["attributes"].get("role") in _ADMINISTRATORS
    return event["type"] == "user.role_change" or _raises(event)


def _raises(event: Item) -> bool:
    """Whether what was refused would have raised a role. Where nobody knows the role that the target has, it raises
    unless it is the lowest. A role that we do not know raises."""
    wanted = event["attributes"].get("attempted_role")
    if wanted is None:
        return False
    held = event["attributes"].get("target_role") or (event["actor"]["role"] if _is_own(event) else "viewer")
    return _RANKS.get(wanted, 99) > _RANKS.get(held, 0)


def _is_own(event: Item) -> bool:
    target = event.get("target")
    return bool(target and target["id"] == event["actor"]["id"])


class Step(NamedTuple):
    """A role change, or an attempt: whether it crosses by itself, and whether it was refused or one's own."""

    alone: bool
    grave: bool


def _fact(event: Item) -> Step:
    if event["type"] == "access.denied":
        return Step(alone=True, grave=True)
    if event["type"] == "user.invite":
        return Step(alone=True, grave=False)
    return Step(alone=event["attributes"].get("new_role") in _ADMINISTRATORS, grave=_is_own(event))


def _crossings(observed: Sequence[Observed], parameters: PrivilegeEscalationParameters) -> Iterator[Crossing]:
    changes, grave = [0], [0]
    """How many role changes, and how many grave ones, there are before each position."""
    for position, since, event in windows(observed, parameters.window):
        is_change = event.selector == 0
        changes.append(changes[-1] + is_change)
        grave.append(grave[-1] + (is_change and event.fact.grave))
        many = is_change and changes[-1] - changes[since] >= parameters.threshold
        if event.fact.alone or many:
            critical = event.fact.grave or (many and grave[-1] > grave[since])
            yield crossing(observed, since, position, "critical" if critical else "high")


PATTERN = Pattern(
    id="privilege_escalation",
    title="Somebody gains power over the organization",
    severity="high",
    attack=("T1098.003", "T1078.004"),
    description="Somebody tried to raise a role, their own or another's, and was refused; made somebody a "
    "tenant_admin; "
    "or changed many roles within an hour.",
    false_positives=(
        "A new administrator who was really appointed: expect one alert for each.",
        "A reorganization in which one administrator changes many roles in a row.",
    ),
    runbook=(
        "See what was done or tried: GET /events/{id} for each of event_ids; attributes name old and new role.",
        "Ask the actor (<key>), by another channel than e-mail, who ordered it; compare with the ticket or the order.",
        "If nobody did: take the role back with PUT /admin/users/<target>, suspend the actor, and look through "
        "what both "
        "did since first_seen (GET /events?actor=<id>).",
        "Close the alert with a note that names the order, or what was undone.",
    ),
    parameters=PrivilegeEscalationParameters,
    selectors=(("user.role_change", "success"), ("user.invite", "success"), ("access.denied", "denied")),
    key_path="actor.id",
    fields=("actor", "target", "attributes"),
    matches=_matches,
    key=actor_of,
    crossings=_crossings,
    fact=_fact,
)
