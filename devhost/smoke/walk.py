"""What the steps of the run share: what they know of each other, and calls that several of them make."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from devhost.smoke.deployment import Deployment, field_of, json_of, require
from devhost.smoke.people import Made, Person, Token

_NOTE = "A smoke run raised it; the account is gone."


@dataclass(slots=True)
class Walk:
    """What the steps share. `tell` is told what is waited for; `kept` is the administrator of an organization that is
    kept for smoke runs."""

    at: Deployment
    token: Token
    tell: Callable[[str], None]
    kept: Person | None = None
    made: Made = field(default_factory=Made)
    version: str = ""
    founder: Person = field(init=False)
    member: Person = field(init=False)
    key: str = field(default="", repr=False)
    key_id: str = ""
    event_id: str = ""
    alert_id: str = ""
    guesses: list[str] = field(default_factory=list)
    """Request ids of the wrong passwords."""

    def __post_init__(self) -> None:
        self.founder, self.member = self.kept or Person.new(self.token), Person.new(self.token)

    @property
    def is_kept(self) -> bool:
        """Whether the organization is one that is kept for smoke runs, and not thrown away."""
        return self.kept is not None


class Partly(str):
    """What a step saw that could not do all that it is for, through no fault of the deployment."""

    __slots__ = ()


def take(person: Person, answer: httpx.Response) -> None:
    """Tokens, id and organization of whoever has just registered."""
    take_tokens(person, answer)
    person.id, person.tenant_id = field_of(answer, "user.id"), field_of(answer, "user.tenant_id")


def has_account(at: Deployment, person: Person) -> bool:
    """Sign a person in who may have an account already; False when not, or with another password."""
    answer = at.ask("POST", "login", body=person.credentials, expected=(200, 401))
    if answer.status_code == 401:
        return False
    take_tokens(person, answer)
    own = at.ask("GET", "profile", token=person.access)
    person.id, person.tenant_id = field_of(own, "id"), field_of(own, "tenant_id")
    require(field_of(own, "role") == "tenant_admin", "the account of SMOKE_EMAIL is not a tenant_admin")
    return True


def sign_in(at: Deployment, person: Person) -> None:
    """Begin a session, and end the one before: a run never has two of a person."""
    before = person.access
    take_tokens(person, at.ask("POST", "login", body=person.credentials))
    at.ask("POST", "logout", token=before, expected=(204, 401))


def take_tokens(person: Person, answer: httpx.Response) -> None:
    """The tokens of an answer."""
    found = json_of(answer)
    require(not isinstance(found, dict) or "mfa_required" not in found, "POST login: it asks for a second factor")
    person.access, person.refresh = field_of(answer, "access_token"), field_of(answer, "refresh_token")


def sign_out(at: Deployment, person: Person) -> None:
    """End the session, if there is one."""
    if person.access:
        at.ask("POST", "logout", token=person.access, expected=(204, 401))


def delete(at: Deployment, by: Person, path: str) -> None:
    """Delete what the administrator made."""
    at.ask("DELETE", path, token=by.access, expected=204)


def delete_member(at: Deployment, by: Person, member: Person) -> None:
    """Delete an account, with a reason."""
    body = {"reason": "The smoke run is over."}
    at.ask("DELETE", f"admin/users/{member.id}", token=by.access, body=body, expected=204)


def dismiss_alert(at: Deployment, by: Person, alert_id: str) -> None:
    """Close an alert, with a note."""
    body = {"status": "dismissed", "note": _NOTE}
    answer = at.ask("PATCH", f"alerts/{alert_id}", token=by.access, body=body)
    require(field_of(answer, "status") == "dismissed", "PATCH alerts/{id}: it is not dismissed")


def items(answer: httpx.Response) -> list[dict[str, Any]]:
    """The objects of a list. Wrong unless it is one."""
    found: list[Any] = field_of(answer, "items", list)
    require(all(isinstance(each, dict) for each in found), "the answer's items are no objects")
    return found


def awaited(walk: Walk, what: str, look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """What `look` finds, as soon as it does. Wrong when the time is over."""
    attempt = 0
    while (found := look()) is None:
        walk.tell(f"waiting for {what}")
        require(walk.at.deadline.pause(attempt), f"{what} did not come in time")
        attempt += 1
    return found
