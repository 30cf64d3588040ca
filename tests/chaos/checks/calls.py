"""Each event belongs to the call that caused it: by whom, on what, of which organization, in which session, by which
route; and what it says in clear of the change is what was asked for. What is sealed in it is not looked at."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tests.chaos.checks.fields import Course, follow
from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.chaos.checks.rules import AWAKE, LOCKED, REJECTED
from tests.chaos.journal import Attempt

type Wanted = dict[str, Any]
"""What an event has to say, by the path of each field."""
type Person = tuple[str, str]
"""A user and the organization."""

PLATFORM = "platform"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ON_A_USER = frozenset({"user_view", "user_update", "user_role", "user_delete", "cross_tenant", "unknown_id", "denied"})
ON_ONESELF = frozenset({"profile", "profile_update", "password", "wrong_password", "refresh"})
ON_A_THING = {"key_revoke": "api_key", "alert_update": "alert", "report_read": "report"}
MADE = {"key_create": "api_key", "invite": "invitation", "report_order": "report"}
"""What a call makes: its id is in the answer."""
REASONS = {
    ("denied", 403): "role",
    ("unknown_id", 404): "unknown_id",
    ("cross_tenant", 404): "cross_tenant",
    ("wrong_password", 403): "wrong_password",
    ("wrong_password", 423): "locked",
}
SCOPES = ["events:read", "events:write"]
SAID: Mapping[str, Callable[[Attempt], Wanted]] = {
    "user.role_change": lambda each: {"new_role": each.told["value"]},
    "user.update": lambda each: {"changed_fields": [each.told["field"]]},
    "user.invite": lambda each: {"role": each.told["role"]},
    "profile.update": lambda each: {"changed_fields": [each.told["field"]]},
    "config.change": lambda each: {"key": "settings", "changed_fields": [each.told["field"]]},
    "apikey.create": lambda each: {"scopes": sorted(each.told["scopes"]), "expires_at": None},
    "apikey.revoke": lambda _: {"scopes": SCOPES},
    "alert.update": lambda _: {"new_status": "acknowledged"},
    "audit.search": lambda each: {"log": "authorization" if "/logs/authorization" in each.told["asked"] else "events"},
    "audit.export": lambda each: {"format": "bundle" if each.call == "bundle" else "jsonl"},
    "report.order": lambda each: _of_report(each.told),
    "report.generate": lambda each: _of_report(each.told),
    "report.read": lambda _: {"format": "json"},
    "auth.register": lambda each: {"organization": each.told["organization"] is not None},
}
"""What an event says of what was asked for: some of its attributes."""


def _of_report(told: Mapping[str, Any]) -> Wanted:
    return {"framework": told["framework"], "period_from": told["from"], "period_to": told["to"]}


def check_calls(snapshot: Snapshot, attempts: Sequence[Attempt]) -> list[Finding]:
    """All of it."""
    events: dict[str, list[Item]] = defaultdict(list)
    for event in snapshot.events:
        events[event["context"]["trace_id"]].append(event)
    persons = {
        each.told["email"]: (event["target"]["id"], event["tenant_id"])
        for each in attempts
        if each.call == "register"
        for event in events.get(each.id, ())
        if (event["type"], event["outcome"]) == ("auth.register", "success")
    }
    course = follow(snapshot.events, attempts)
    roles = _roles(persons, attempts, course)
    findings = [
        Finding("event_otherwise", f"{event['type']} {event['id']} of {each.call} ({each.id}): {wrong}")
        for each in attempts
        for event in events.get(each.id, ())
        for wrong in _wrong(event, {**_wanted(each, event, persons), **_old_role(each, event, course)})
    ]
    findings += [
        Finding("event_otherwise", f"{event['type']} {event['id']}: {event['actor']} never had that role")
        for event in snapshot.events
        if event["actor"]["id"] in roles and event["actor"]["role"] not in roles[event["actor"]["id"]]
    ]
    return [*findings, *_deliveries(events, [each for each in attempts if each.call == "ingest"])]


def _wrong(event: Item, wanted: Wanted) -> Iterator[str]:
    for path, value in wanted.items():
        held: Any = event
        for name in path.split("."):
            held = held.get(name) if isinstance(held, dict) else None
        if held != value:
            yield f"{path} is {held!r}, not {value!r}"


def _roles(persons: Mapping[str, Person], attempts: Sequence[Attempt], course: Course) -> dict[str, set[str]]:
    """The roles that each user ever had: the one of the invitation, and those that were set."""
    invited = {each.told["email"]: each.told["role"] for each in attempts if each.call == "invite"}
    return {
        user: {invited.get(email, "tenant_admin"), *course.changes.get((user, "role"), ())}
        for email, (user, _) in persons.items()
    }


def _old_role(each: Attempt, event: Item, course: Course) -> Wanted:
    return {"attributes.old_role": course.before.get(each.id)} if event["type"] == "user.role_change" else {}


def _wanted(each: Attempt, event: Item, persons: Mapping[str, Person]) -> Wanted:
    method, _, path = each.told["asked"].partition(" ")
    route = f"{method} /v1{_ID.sub('{id:guid}', path.partition('?')[0])}"
    wanted: Wanted = {"context.route": route}
    if each.seen.get("request_id") is not None:
        wanted["context.request_id"] = each.seen["request_id"]
    if (event["type"], event["outcome"]) == REJECTED:
        return {**wanted, **_anonymous(None, PLATFORM)}
    if each.call == "ingest":
        return {**wanted, "tenant_id": each.told["tenant"], "source": {"kind": "api_key", "id": each.told["key"]}}
    says = SAID.get(event["type"])
    said = {} if says is None or event["outcome"] != "success" else says(each)
    wanted |= {f"attributes.{name}": value for name, value in said.items()}
    return {**wanted, **_by(each, event, persons)}


def _by(each: Attempt, event: Item, persons: Mapping[str, Person]) -> Wanted:
    """Who it was, and what it was about."""
    if each.call in ("login", "register"):
        return _at_the_door(each, event, persons.get(each.told["email"]))
    user, tenant = each.told.get("user"), each.told.get("tenant")
    if user is None:  # who asked who they are
        user, tenant = persons.get(each.told["email"], ("", ""))
    session, reason = each.told["session"], REASONS.get((each.call, each.status))
    kind = (event["type"], event["outcome"])
    return {
        "tenant_id": tenant,
        **({"actor.kind": "user", "actor.id": user} if kind != LOCKED else _anonymous(user, tenant)),
        "source": {"kind": "session", "id": session},
        "context.session_id": session,
        **_about(each, event, user),
        **({"reason": reason} if reason is not None and event["outcome"] in ("denied", "failure") else {}),
    }


def _about(each: Attempt, event: Item, user: str) -> Wanted:
    if each.call in ON_ONESELF:
        return _target("user", user)
    if each.call in ON_A_USER and "target" in each.told:
        return _target("user", each.told["target"])
    if each.call == "settings":
        return _target("tenant", each.told["tenant"])
    if each.call in ON_A_THING:
        return _target(ON_A_THING[each.call], each.told["target"])
    if each.call in MADE:
        return {"target.kind": MADE[each.call], **({"target.id": each.seen["id"]} if each.acknowledged else {})}
    return {"target": None}


def _target(kind: str, name: str) -> Wanted:
    return {"target.kind": kind, "target.id": name}


def _at_the_door(each: Attempt, event: Item, person: Person | None) -> Wanted:
    """Of somebody without a session: the account that there is, or was; or nobody's, of an address without one."""
    kind = (event["type"], event["outcome"])
    if event["outcome"] == "success" and kind != LOCKED:
        user, tenant = person or ("", "")
        user, tenant = each.seen.get("user", user), each.told.get("tenant") or each.seen.get("tenant", tenant)
        return {"tenant_id": tenant, "actor.kind": "user", "actor.id": user, **_target("user", user)}
    if each.call == "register":  # in the trail of whose invitation it was, or of nobody's
        tenant = PLATFORM if event["tenant_id"] == PLATFORM else each.told["tenant"]
        return {"actor.kind": "anonymous", "actor.id": None, "tenant_id": tenant}
    return _anonymous(None, PLATFORM) if person is None or event["tenant_id"] == PLATFORM else _anonymous(*person)


def _anonymous(user: str | None, tenant: str | None) -> Wanted:
    about = {"target": None} if user is None else _target("user", user)
    return {"tenant_id": tenant, "actor.kind": "anonymous", "actor.id": None, **about}


def _deliveries(events: Mapping[str, list[Item]], attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """What a producer reported is in the trail as it was sent."""
    left: dict[str, list[Item]] = defaultdict(list)
    sent: dict[str, Counter[str]] = {}
    for each in attempts:
        found = (
            event for event in events.get(each.id, ()) if (event["type"], event["outcome"]) not in (REJECTED, AWAKE)
        )
        left[each.told["delivery"]] += found
        sent[each.told["delivery"]] = Counter(map(_content, each.told["events"]))
    for name, wanted in sent.items():
        for more in Counter(map(_content, left[name])) - wanted:
            yield Finding("event_otherwise", f"delivery {name}: nobody sent {more}")


def _content(event: Mapping[str, Any]) -> str:
    """What a producer says, as it is sent and as it is stored: what was left out is empty."""
    of = partial(_filled, event)
    actor, target = of("actor", {}), event.get("target")
    return repr(
        (
            *(event["type"], actor.get("kind"), actor.get("id"), actor.get("role")),
            *(target and (target["kind"], target["id"]), of("data_class", "none")),
            *(sorted(of("attributes", {}).items()), of("outcome", "success"), of("reason", None)),
        )
    )


def _filled(event: Mapping[str, Any], name: str, default: Any) -> Any:
    return default if event.get(name) is None else event[name]
