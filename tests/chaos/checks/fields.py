"""What the log and the trail together say of values: who had set which field to what when an attempt was made."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.checks.model import Item
from tests.chaos.journal import Attempt

PASSWORD = "password"
CHANGES = {
    "profile_update": "profile.update",
    "user_update": "user.update",
    "user_role": "user.role_change",
    "settings": "config.change",
    "password": "auth.password_change",
}
"""The calls that set a field, and the event that says so. An account begins with the password of its registration."""
DEFAULTS = {"time_zone": "UTC", "role": "user"}
"""What holds where nothing was set: to set just that changes nothing. Roles are changed of those alone who were invited
as users."""
ORDERS = ("report.order", "report.generate")

type Field = tuple[str, str]
"""Whose field (a user or a tenant), and its name."""


@dataclass(frozen=True, slots=True)
class Course:
    """`changes`: of each field that somebody tried to change the values that it was set to, in order, by attempts that
    were acknowledged or have their event. `before`: by such an attempt, what its field was. `idle`: attempts that had
    nothing to change: they set what held already, or ordered a report that an earlier one had ordered."""

    changes: Mapping[Field, Sequence[Any]]
    before: Mapping[str, Any]
    idle: frozenset[str]


def follow(events: Sequence[Item], attempts: Sequence[Attempt]) -> Course:
    """Go through all attempts in their order. Nobody asks for a change of a field before the last one was answered."""
    done: dict[str, list[Item]] = defaultdict(list)
    for event in events:
        if event["outcome"] == "success" and event["context"]["trace_id"] is not None:
            done[event["context"]["trace_id"]].append(event)
    changes: dict[Field, list[Any]] = defaultdict(list)
    values: dict[str, Any] = {}
    idle: set[str] = set()
    ordered: set[str] = set()
    for each in sorted(attempts, key=lambda each: each.number):
        mine = done.get(each.id, [])
        for field in _fields_of(each, mine):
            if not _took_effect(each, mine):
                continue
            values[each.id] = changes[field][-1] if changes[field] else DEFAULTS.get(field[1])
            changes[field].append(each.told["value"])
            if each.told["value"] == values[each.id]:
                idle.add(each.id)
        if each.call == "report_order":
            if each.seen.get("id") in ordered:
                idle.add(each.id)
            ordered |= {event["target"]["id"] for event in mine if event["type"] in ORDERS}
    return Course(changes, values, frozenset(idle))


def _fields_of(each: Attempt, events: Sequence[Item]) -> list[Field]:
    """The field that an attempt is about, if it is about one."""
    if each.call == "register":
        return [(event["target"]["id"], PASSWORD) for event in events if event["type"] == "auth.register"]
    if each.call not in CHANGES:
        return []
    owner = each.told["tenant"] if each.call == "settings" else each.told.get("target") or each.told["user"]
    return [(str(owner), each.told["field"])]


def _took_effect(each: Attempt, events: Sequence[Item]) -> bool:
    wanted = "auth.register" if each.call == "register" else CHANGES[each.call]
    return each.acknowledged or any(event["type"] == wanted for event in events)
