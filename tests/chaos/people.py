"""People of the fleet: what they know of themselves, and how they get and keep a session whatever happens."""

from dataclasses import dataclass, field

import httpx

from tests.chaos.client import Caller, Json, session_of

NAMES = {"first_name": "Some", "last_name": "Body"}
PASSWORD = "a long way from here to the sea"


@dataclass
class Person:
    """An account. `passwords`: those that it may have, the likeliest last: a change may have been lost on the way."""

    email: str
    passwords: list[str] = field(default_factory=lambda: [PASSWORD])
    tenant: str = ""
    id: str = ""
    token: str | None = None
    refresh_token: str | None = None
    session: str | None = None

    def take(self, answer: httpx.Response | None) -> bool:
        """Keep the tokens that an answer gives, and who it says one is; whether it gives any."""
        if answer is None or answer.status_code not in (200, 201):
            return False
        body = answer.json()
        self.token, self.refresh_token = body["access_token"], body["refresh_token"]
        self.session = session_of(body["refresh_token"])
        if "user" in body:
            self.id, self.tenant = body["user"]["id"], body["user"]["tenant_id"]
        return True


async def register(caller: Caller, person: Person, **how: str) -> bool:
    """Get an account, with `organization` or `invitation`; True once there is one, perhaps of an earlier try."""
    body = {
        "email": person.email,
        "password": person.passwords[-1],
        **NAMES,
        "accept_terms": True,
        "accept_privacy": True,
        **how,
    }
    told: Json = {"email": person.email, "value": person.passwords[-1], "tenant": person.tenant, **NAMES}
    told |= {"organization": how.get("organization")}
    answer = await caller.attempt("register", "POST", "/register", body, told=told)
    if answer is not None and answer.status_code in (409, 422):  # 422: the invitation was used, by an earlier try
        return await sign_in(caller, person)
    return person.take(answer)


async def sign_in(caller: Caller, person: Person) -> bool:
    """Sign in, with whatever password holds."""
    for password in reversed(person.passwords):
        told = {"email": person.email, "user": person.id}
        answer = await caller.attempt(
            "login", "POST", "/login", {"email": person.email, "password": password}, told=told
        )
        if person.take(answer):
            person.passwords = [password]
            return bool(person.id) or await _who_am_i(caller, person)
        if answer is None or answer.status_code != 401:
            return False
    return False


async def _who_am_i(caller: Caller, person: Person) -> bool:
    """Learn the id that a lost answer to the registration would have told."""
    told = {"email": person.email, "session": person.session}
    answer = await caller.attempt("profile", "GET", "/profile", None, person.token, told)
    if answer is None or answer.status_code != 200:
        person.token = None
        return False
    person.id, person.tenant = answer.json()["id"], answer.json()["tenant_id"]
    return True


async def call_as(
    caller: Caller,
    person: Person,
    call: str,
    method: str,
    path: str,
    body: Json | None = None,
    told: Json | None = None,
) -> httpx.Response | None:
    """A call with the person's session; None without an answer, or without a session. A session that ended is left."""
    if person.token is None and not await sign_in(caller, person):
        return None
    told = {"user": person.id, "tenant": person.tenant, "session": person.session, **(told or {})}
    answer = await caller.attempt(call, method, path, body, person.token, told)
    if answer is not None and answer.status_code == 401:
        person.token = person.refresh_token = None
    return answer
