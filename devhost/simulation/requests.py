"""How actions look on the wire, and what their answers tell: ids, tokens, keys."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from devhost.simulation.actions import Call, Record, Verb
from devhost.simulation.people import Client, Person, Tenant, password
from shared.core.clock import rfc3339

type Json = dict[str, Any]


class SimulationError(Exception):
    """The simulation cannot go on; the message is one line, for the person at the terminal."""


@dataclass(slots=True)
class Session:
    """The tokens of one sign-in, and when the access token was issued by the time of the simulation."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    issued_at: datetime


@dataclass(slots=True)
class Known:
    """What the server told so far."""

    seed: int
    tenants: tuple[Tenant, ...]
    user_ids: dict[Person, str] = field(default_factory=dict)
    tenant_ids: dict[int, str] = field(default_factory=dict)
    key_ids: dict[int, str] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict, repr=False)
    invitations: dict[Person, str] = field(default_factory=dict, repr=False)
    sessions: dict[tuple[Person, str], Session] = field(default_factory=dict, repr=False)

    def take(self, call: Call, answer: Json, now: datetime) -> None:
        """Remember what the answer to a call that succeeded tells."""
        person = call.who
        if "access_token" in answer:
            session = Session(answer["access_token"], answer["refresh_token"], now)
            self.sessions[person, call.session] = session
        if call.verb in ("found", "join"):
            self.user_ids[person] = answer["user"]["id"]
            self.tenant_ids[person.tenant] = answer["user"]["tenant_id"]
        elif call.verb == "make_key":
            self.key_ids[person.tenant], self.keys[person.tenant] = answer["id"], answer["key"]
        elif call.verb == "invite" and call.target is not None:
            self.invitations[call.target] = answer["invitation"]
        elif call.verb == "logout":
            self.sessions.pop((person, call.session), None)


type Body = Callable[[Call, Known], Json]


def headers_of(client: Client, token: str | None = None) -> dict[str, str]:
    """What every call carries. The server has to trust one front end more than it has, for the address to count."""
    headers = {"X-Forwarded-For": client.address, "User-Agent": client.agent}
    return headers if token is None else {**headers, "Authorization": f"Bearer {token}"}


def request_of(call: Call, known: Known) -> tuple[str, str, Json | None]:
    """Method, path and body of a call."""
    method, path, body = _ROUTES[call.verb]
    target = known.user_ids.get(call.target or call.who, "")
    return method, path.format(target=target, limit=call.text or 10), body(call, known) if body else None


def _typed(call: Call, known: Known) -> str:
    right = password(known.seed, call.who, call.password or 0)
    return f"{right}x" if call.password is None else right


def _registration(call: Call, known: Known) -> Json:
    who = call.who
    body: Json = {
        "email": who.email,
        "password": _typed(call, known),
        "first_name": "Test",
        "last_name": f"User {who.number}",
        "accept_terms": True,
        "accept_privacy": True,
    }
    if call.verb == "join":
        return {**body, "invitation": known.invitations[who]}
    return {**body, "organization": known.tenants[who.tenant].name}


def _invitation(call: Call, _: Known) -> Json:
    return {"email": call.target.email if call.target else "", "role": call.text}


def _login(call: Call, known: Known) -> Json:
    return {"email": call.text or call.who.email, "password": _typed(call, known)}


def _new_password(call: Call, known: Known) -> Json:
    new = password(known.seed, call.who, 1 if call.password is None else call.password + 1)
    return {"current_password": _typed(call, known), "new_password": new}


def _field(name: str) -> Body:
    return lambda call, _: {name: call.text}


_USER = "v1/admin/users/{target}"
_ROUTES: Mapping[Verb, tuple[str, str, Body | None]] = {
    "found": ("POST", "v1/register", _registration),
    "make_key": ("POST", "v1/admin/api-keys", lambda *_: {"name": "Services", "scopes": ["events:write"]}),
    "invite": ("POST", "v1/admin/invitations", _invitation),
    "join": ("POST", "v1/register", _registration),
    "login": ("POST", "v1/login", _login),
    "logout": ("POST", "v1/logout", None),
    "view_profile": ("GET", "v1/profile", None),
    "update_profile": ("PUT", "v1/profile", _field("location")),
    "change_password": ("POST", "v1/password", _new_password),
    "list_users": ("GET", "v1/admin/users?limit={limit}", None),
    "view_user": ("GET", _USER, None),
    "update_user": ("PUT", _USER, _field("job_title")),
    "change_role": ("PUT", _USER, _field("role")),
    "suspend_user": ("PUT", _USER, lambda *_: {"status": "suspended"}),
    "delete_user": ("DELETE", _USER, _field("reason")),
    "search_log": ("GET", "v1/admin/logs/authorization?limit=20", None),
    "search_trail": ("GET", "v1/events?limit=20", None),
    "list_alerts": ("GET", "v1/alerts?limit=20", None),
}


def event_of(record: Record, known: Known, at: datetime) -> Json:
    """A record as POST /events takes it."""
    actor, client = known.user_ids[record.who], record.client
    event: Json = {
        "type": record.type,
        "actor": {"kind": "user", "id": actor},
        "occurred_at": rfc3339(at),
        "attributes": dict(record.attributes),
        "personal": {actor: {"email": record.who.email, "ip": client.address, "user_agent": client.agent}},
    }
    if record.target is not None:
        event["target"] = {"kind": "record", "id": record.target}
    if record.data_class is not None:
        event["data_class"] = record.data_class
    if record.count is not None:
        event["record_count"] = record.count
    return event
