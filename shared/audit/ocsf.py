"""An event of the trail as an OCSF event (Open Cybersecurity Schema Framework, see `ocsf_map.py` for the version).

Takes the event as the API shows it, so personal data is in it exactly where the reader may see it. Nothing is left out:
what OCSF has no place for stands in `unmapped`, under our own names.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from shared.audit import ocsf_map as data
from shared.audit.ocsf_map import OcsfClass
from shared.core.clock import parse_rfc3339
from shared.core.version import VERSION

type Shown = dict[str, Any]
type Ocsf = dict[str, Any]

PRODUCT = {"name": "Kraftd Audit", "vendor_name": "Kraftd", "version": VERSION}
_EPOCH = parse_rfc3339("1970-01-01T00:00:00Z")
_MILLISECOND = timedelta(milliseconds=1)
_ROUTE = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/\S+)")
_EMAIL = re.compile(r"[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+")
"""What OCSF takes for an e-mail address; any other (internationalized) one is a name to it."""
_UNMAPPED = (
    *("outcome", "actor", "target", "subjects", "source", "context", "data_class", "record_count", "attributes"),
    *("personal", "commitments", "actor_key", "target_key", "ip_key", "ua_key", "erased_at"),
)


def to_ocsf(event: Shown) -> Ocsf:
    """The OCSF event of a shown event."""
    kind = data.EVENT_TYPES.get(event["type"], data.UNKNOWN)
    activity, caption = _activity(event, kind)
    of_class = kind.ocsf
    severity_id, severity = data.SEVERITIES.get(event["severity"], (99, event["severity"]))
    status_id, status = _status(event, of_class)
    made: Ocsf = {
        "activity_id": activity,
        "activity_name": caption,
        "category_uid": of_class.category_uid,
        "category_name": of_class.category,
        "class_uid": of_class.uid,
        "class_name": of_class.name,
        "type_uid": of_class.uid * 100 + activity,
        "type_name": f"{of_class.name}: {caption}",
        "time": _milliseconds(event["occurred_at"]),
        "duration": event["context"]["duration_ms"],
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": f"{event['type']} {event['outcome']}",
        "metadata": _metadata(event),
    }
    if event["reason"] is not None:
        made["status_code"] = event["reason"]
    made |= _PARTS[of_class.uid](event)
    seen = list(_observables(event))
    if seen:
        made["observables"] = seen
    made["unmapped"] = {name: event[name] for name in _UNMAPPED if event.get(name) is not None}
    return made


def _activity(event: Shown, kind: data.Mapped) -> tuple[int, str]:
    number = kind.activity
    if kind.by is not None:
        decides = _method(event) if kind.by == "method" else _attribute(event, kind.by)
        number = kind.values.get(decides, number)
    return number, kind.ocsf.activities.get(number) or kind.named or event["type"]


def _status(event: Shown, of_class: OcsfClass) -> tuple[int, str]:
    if of_class is data.DETECTION_FINDING:
        return data.FINDING_STATUSES.get(_attribute(event, "new_status") or "open", (99, "Other"))
    return data.STATUSES.get(event["outcome"], (99, event["outcome"]))


def _metadata(event: Shown) -> Ocsf:
    context = event["context"]
    return {
        "version": data.OCSF_VERSION,
        "product": PRODUCT,
        "uid": event["id"],
        "tenant_uid": event["tenant_id"],
        "event_code": event["type"],
        "log_name": "audit_events",
        "log_version": str(event["schema"]),
        "logged_time": _milliseconds(event["recorded_at"]),
        "original_time": event["occurred_at"],
        "correlation_uid": context["trace_id"] or context["request_id"],
    }


def _authentication(event: Shown) -> Ocsf:
    made = {**_common(event), "user": _subject(event), "service": {"name": PRODUCT["name"]}}
    if event["context"]["session_id"] is not None:
        made["session"] = {"uid": event["context"]["session_id"]}
    factor = data.FACTORS.get(_attribute(event, "factor"))
    if factor is not None:
        made |= {"auth_factors": [factor], "is_mfa": True}
    return made


def _account_change(event: Shown) -> Ocsf:
    return {**_common(event), "user": _subject(event)}


def _entity_management(event: Shown) -> Ocsf:
    return {**_common(event), "entity": _entity(event)}


def _api_activity(event: Shown) -> Ocsf:
    context = event["context"]
    made = {**_common(event), "api": {"operation": context["route"], "request": {"uid": context["request_id"]}}}
    target = event["target"]
    if target is not None:
        made["resources"] = [{"uid": target["id"], "type": target["kind"]}]
    return made


def _detection_finding(event: Shown) -> Ocsf:
    target, pattern = event["target"], _attribute(event, "pattern") or event["type"]
    return {
        "is_alert": True,
        "finding_info": {
            "uid": target["id"] if target else event["id"],
            "title": pattern,
            "analytic": {"uid": pattern, "name": pattern, "type_id": 1, "type": "Rule"},
        },
    }


_PARTS = {
    data.AUTHENTICATION.uid: _authentication,
    data.ACCOUNT_CHANGE.uid: _account_change,
    data.ENTITY_MANAGEMENT.uid: _entity_management,
    data.API_ACTIVITY.uid: _api_activity,
    data.DETECTION_FINDING.uid: _detection_finding,
}


def _common(event: Shown) -> Ocsf:
    """Who did it, where from, by which call."""
    made: Ocsf = {"actor": _actor(event), "src_endpoint": _endpoint(event)}
    route = _ROUTE.fullmatch(event["context"]["route"])
    if route is not None:
        made["http_request"] = {
            "uid": event["context"]["request_id"],
            "http_method": route[1],
            "url": {"path": f"/api{route[2]}"},
        }
        user_agent = _first(event, "user_agent")
        if user_agent is not None:
            made["http_request"]["user_agent"] = user_agent
    return made


def _actor(event: Shown) -> Ocsf:
    actor, session = event["actor"], event["context"]["session_id"]
    made: Ocsf = {"user": _user(event, actor["id"], actor["kind"], actor["role"])}
    if actor["kind"] == "system":
        made = {"app_name": PRODUCT["name"], "app_uid": event["source"]["id"], "invoked_by": event["source"]["id"]}
    return made if session is None else {**made, "session": {"uid": session}}


def _subject(event: Shown) -> Ocsf:
    """Whose account or session it is about: the target where that is a person, else whoever acts."""
    target, actor = event["target"], event["actor"]
    if target is None or target["kind"] != "user":
        return _user(event, actor["id"], actor["kind"], actor["role"])
    role = actor["role"] if target["id"] == actor["id"] else None
    return _user(event, target["id"], "user", role)


def _user(event: Shown, user_id: str | None, kind: str, role: str | None) -> Ocsf:
    type_id, caption = data.USER_TYPES.get(kind) or data.USER_TYPES.get(role or "") or (1, "User")
    made: Ocsf = {"type_id": type_id, "type": caption}
    email = _email(event, user_id)
    if user_id is not None:
        made["uid"] = user_id
    if email is not None:
        made["name"] = email
        if _EMAIL.fullmatch(email):
            made["email_addr"] = email
    if user_id is None and email is None:
        made["name"] = kind
    return made


def _entity(event: Shown) -> Ocsf:
    target = event["target"] or {"kind": "event", "id": event["id"]}
    kind = target["kind"]
    type_id, caption = data.ENTITY_TYPES.get(kind, (data.OTHER, kind))
    made: Ocsf = {"uid": target["id"], "type_id": type_id, "type": caption}
    name = _attribute(event, "purpose") or _attribute(event, "key") or _email(event, target["id"])
    if name:
        made["name"] = name
    if kind == "user":
        made["user"] = _subject(event)
    return made


def _endpoint(event: Shown) -> Ocsf:
    """Where it came from: the address, where it may be seen, else its keyed hash; else what wrote the event."""
    ip = _first(event, "ip")
    if ip is not None:
        return {"ip": ip}
    if event["ip_key"] is not None:
        return {"uid": event["ip_key"]}
    return {"uid": event["source"]["id"], "name": event["source"]["kind"]}


def _observables(event: Shown) -> Iterator[Ocsf]:
    """What a SIEM correlates by; of persons only what the reader may see."""
    for person in event["personal"]:
        yield _observable("unmapped.subjects", data.USER_UID, person)
        email = _email(event, person)
        if email is not None and _EMAIL.fullmatch(email):
            yield _observable("unmapped.personal", data.EMAIL, email)
    for name, number, path in (
        ("ip", data.ADDRESS, "src_endpoint.ip"),
        ("user_agent", data.USER_AGENT, "http_request.user_agent"),
    ):
        value = _first(event, name)
        if value is not None:
            yield _observable(path, number, value)


def _observable(name: str, number: int, value: str) -> Ocsf:
    return {"name": name, "type_id": number, "type": data.OBSERVABLE_NAMES[number], "value": value}


def _persons(event: Shown) -> list[str]:
    """The persons of whom an address or an e-mail can be that of the call: who acts, then who is acted upon."""
    ids = (event["actor"]["id"], event["target"] and event["target"]["id"])
    return [each for each in ids if each in event["personal"]]


def _email(event: Shown, person: str | None) -> str | None:
    return _personal(event, person, "email") if person is not None else None


def _first(event: Shown, name: str) -> str | None:
    """A personal field of the call: one person of the event has it."""
    return next(filter(None, (_personal(event, person, name) for person in _persons(event))), None)


def _personal(event: Shown, person: str, name: str) -> str | None:
    """A personal field that is text; of an address, only one that is one: producers give what they like."""
    value = event["personal"].get(person, {}).get(name)
    if not isinstance(value, str) or not value or (name == "ip" and not _is_address(value)):
        return None
    return value


@lru_cache(maxsize=1024)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _attribute(event: Shown, name: str) -> str:
    """An attribute that is text; empty without one."""
    value = event["attributes"].get(name)
    return value if isinstance(value, str) else ""


def _method(event: Shown) -> str:
    route = _ROUTE.fullmatch(event["context"]["route"])
    return route[1] if route else ""


def _milliseconds(text: str) -> int:
    return (parse_rfc3339(text) - _EPOCH) // _MILLISECOND
