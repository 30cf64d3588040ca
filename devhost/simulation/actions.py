"""What a plan is made of: calls of the API, and events that other services report."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from devhost.simulation.people import Client, Person

type Verb = Literal[
    "found",
    "make_key",
    "invite",
    "join",
    "login",
    "logout",
    "view_profile",
    "update_profile",
    "change_password",
    "list_users",
    "view_user",
    "update_user",
    "change_role",
    "suspend_user",
    "delete_user",
    "search_log",
    "search_trail",
    "list_alerts",
]

SETUP: frozenset[Verb] = frozenset(("found", "make_key", "invite", "join"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. `target`: the other user whom it is about; `text`: the role, e-mail or value that it gives.

    `password`: the version that is typed, None for a wrong one. `session`: which of the person's sessions it is made
    in. `expected`: the statuses that are right. `case`: the case of the ground truth that it counts for. `exact`: it is
    made at its very moment, alone; other calls may be made together with those of the same few minutes.
    """

    at: datetime
    who: Person
    verb: Verb
    client: Client
    session: str = "own"
    target: Person | None = None
    text: str = ""
    password: int | None = None
    expected: tuple[int, ...] = (200,)
    case: int | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One event of another service about what a person did there, reported through POST /events."""

    at: datetime
    who: Person
    type: str
    client: Client
    target: str | None
    data_class: str | None = None
    count: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    case: int | None = None


type Action = Call | Record
