"""The steps of the run, in their order: each calls the deployment, looks at what comes back, and says what it saw."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx

from devhost.smoke.deployment import Unreachable, Wrong, field_of, json_of, require
from devhost.smoke.people import new_password
from devhost.smoke.proof import check_checkpoint, check_proof
from devhost.smoke.walk import (
    Partly,
    Walk,
    awaited,
    delete,
    delete_member,
    dismiss_alert,
    has_account,
    items,
    sign_in,
    sign_out,
    take,
    take_tokens,
)

GUESSES = 6
"""Wrong passwords: enough for an alert (five), too few for a lock (ten), in the defaults."""
PATTERN = "brute_force"
FRAMEWORK = "soc2"
_EVENT = {"type": "custom.smoke_run", "actor": {"kind": "service", "id": "smoke"}}


type Run = Callable[[Walk], str]
STEPS: list[tuple[str, Run]] = []


def _step(name: str) -> Callable[[Run], Run]:
    def add(run: Run) -> Run:
        STEPS.append((name, run))
        return run

    return add


# ---- there, and closed --------------------------------------------------------------------------------------------


@_step("GET /health/ready")
def ready(walk: Walk) -> str:
    """Wait for a deployment that has just been made, or sleeps. Unreachable when nothing ever answered."""
    answered, attempt = False, 0
    while True:
        answer, fault = walk.at.once("health/ready")
        answered = answered or answer is not None
        if answer is not None:
            try:
                require(answer.status_code == 200, f"{answer.status_code}")
                require(field_of(answer, "status") == "ok", "it does not say that it is well")
                walk.version = field_of(answer, "version")
                return f"version {walk.version}, {_checks(answer)}"
            except Wrong as wrong:
                fault = str(wrong)
        walk.tell(f"waiting for the deployment to be ready: {fault}")
        if not walk.at.deadline.pause(attempt):
            raise (Wrong if answered else Unreachable)(f"GET health/ready: {fault}")
        attempt += 1


def _checks(answer: httpx.Response) -> str:
    checks = field_of(answer, "checks", dict)
    for name in ("store", "secrets", "keys", "feed"):
        require(isinstance(checks.get(name), dict), f"GET health/ready: the answer has no checks.{name}")
    return ", ".join(f"{name} {each.get('status')}" for name, each in checks.items() if isinstance(each, dict))


@_step("GET /profile without a token")
def closed(walk: Walk) -> str:
    """Nobody gets in without a token."""
    answer = walk.at.ask("GET", "profile", expected=401)
    require(answer.headers.get("www-authenticate", "").startswith("Bearer"), "401 without WWW-Authenticate: Bearer")
    return f"401 {field_of(answer, 'code')}"


# ---- an organization and its two people ---------------------------------------------------------------------------


@_step("POST /register")
def register(walk: Walk) -> str:
    """An organization of the run's own; or the one that is kept for it, which is made at its first run."""
    founder = walk.founder
    walk.made.add("the administrator's session", lambda at: sign_out(at, founder))
    if walk.is_kept and has_account(walk.at, founder):
        return f"not needed: organization {founder.tenant_id} is kept for this"
    body = founder.registration(organization="Smoke run")
    answer = walk.at.ask("POST", "register", body=body, expected=201)
    take(founder, answer)
    require(field_of(answer, "user.role") == "tenant_admin", "whoever founds an organization is its tenant_admin")
    return f"organization {founder.tenant_id}"


@_step("POST /login")
def login(walk: Walk) -> str:
    """Sign in with the password."""
    sign_in(walk.at, walk.founder)
    return "200, tokens"


@_step("GET /profile")
def profile(walk: Walk) -> str:
    """The own account."""
    answer = walk.at.ask("GET", "profile", token=walk.founder.access)
    require(field_of(answer, "id") == walk.founder.id, "GET profile: it is somebody else's")
    require(field_of(answer, "email") == walk.founder.email, "GET profile: the e-mail is another one")
    return "the own account"


@_step("PUT /profile")
def change_profile(walk: Walk) -> str:
    """Change a field, and find it changed."""
    title = f"Smoke {walk.token(4)}"
    walk.at.ask("PUT", "profile", token=walk.founder.access, body={"job_title": title})
    answer = walk.at.ask("GET", "profile", token=walk.founder.access)
    require(field_of(answer, "job_title") == title, "PUT profile: what was changed is not there")
    return "changed, and read back"


@_step("POST /token/refresh")
def refresh(walk: Walk) -> str:
    """A new pair of tokens."""
    old = walk.founder.refresh
    answer = walk.at.ask("POST", "token/refresh", body={"refresh_token": old})
    take_tokens(walk.founder, answer)
    require(walk.founder.refresh != old, "POST token/refresh: the refresh token did not change")
    return "new tokens"


@_step("POST /admin/invitations")
def invite(walk: Walk) -> str:
    """A second person, who joins by invitation."""
    founder, member = walk.founder, walk.member
    asked = {"email": member.email, "role": "viewer"}
    answer = walk.at.ask("POST", "admin/invitations", token=founder.access, body=asked, expected=201)
    invitation_id, invitation = field_of(answer, "id"), field_of(answer, "invitation")
    name = "the invitation"
    walk.made.add(name, lambda at: delete(at, founder, f"admin/invitations/{invitation_id}"))
    joined = walk.at.ask("POST", "register", body=member.registration(invitation=invitation), expected=201)
    walk.made.gone(name)
    take(member, joined)
    walk.made.add("the second account", lambda at: delete_member(at, founder, member))
    require(member.tenant_id == founder.tenant_id, "POST register: the invited person is in another organization")
    return "invited as viewer, and joined"


@_step("POST /password")
def change_password(walk: Walk) -> str:
    """A new password of the second account, under which it signs in; the old one is none any more."""
    member, old = walk.member, walk.member.password
    new = new_password(walk.token)
    body = {"current_password": old, "new_password": new}
    walk.at.ask("POST", "password", token=member.access, body=body, expected=204)
    member.password = new
    walk.at.ask("POST", "login", body={"email": member.email, "password": old}, expected=401)
    sign_in(walk.at, member)
    return "the old one is refused, the new one signs in"


@_step("GET /admin/users")
def users(walk: Walk) -> str:
    """The newest of them, and by its e-mail nobody else."""
    token = walk.founder.access
    found = items(walk.at.ask("GET", "admin/users", token=token))
    require(walk.member.id in [each.get("id") for each in found], "GET admin/users: the new account is not there")
    sought = items(walk.at.ask("GET", "admin/users", token=token, params={"q": walk.member.email}))
    require([each.get("id") for each in sought] == [walk.member.id], "GET admin/users?q=: not the one account")
    return "the second account; by its e-mail it alone"


@_step("GET /admin/users/{id}")
def user(walk: Walk) -> str:
    """One of them."""
    answer = walk.at.ask("GET", f"admin/users/{walk.member.id}", token=walk.founder.access)
    require(field_of(answer, "id") == walk.member.id, "GET admin/users/{id}: it is somebody else")
    require(field_of(answer, "role") == "viewer", "GET admin/users/{id}: not with the role of the invitation")
    return "the second account, a viewer"


@_step("PUT /admin/users/{id}")
def change_user(walk: Walk) -> str:
    """Another role; it ends the sessions of whoever has it."""
    path = f"admin/users/{walk.member.id}"
    answer = walk.at.ask("PUT", path, token=walk.founder.access, body={"role": "user"})
    require(field_of(answer, "role") == "user", "PUT admin/users/{id}: the role is not the new one")
    walk.at.ask("GET", "profile", token=walk.member.access, expected=401)
    return "viewer to user; the old session is over"


# ---- the trail ----------------------------------------------------------------------------------------------------


@_step("POST /login, wrong passwords")
def guess(walk: Walk) -> str:
    """An attack on the second account."""
    for _ in range(GUESSES):
        body = {"email": walk.member.email, "password": new_password(walk.token)}
        answer = walk.at.ask("POST", "login", body=body, expected=401)
        require(field_of(answer, "code") == "invalid_credentials", "POST login: 401 for another reason")
        walk.guesses.append(answer.headers.get("x-request-id", ""))
    return f"{GUESSES} times 401 invalid_credentials"


@_step("POST /events")
def write_event(walk: Walk) -> str:
    """An event of another service, by an API key of its own."""
    founder = walk.founder
    asked = {"name": "smoke run", "scopes": ["events:write", "events:read"]}
    answer = walk.at.ask("POST", "admin/api-keys", token=founder.access, body=asked, expected=201)
    walk.key, walk.key_id = field_of(answer, "key"), field_of(answer, "id")
    walk.made.add("the API key", lambda at: delete(at, founder, f"admin/api-keys/{walk.key_id}"))
    answer = walk.at.ask("POST", "events", token=walk.key, body=_EVENT, expected=201)
    found = items(answer)
    require([each.get("status") for each in found] == ["created"], "POST events: the event was not created")
    walk.event_id = str(found[0].get("id"))
    return f"event {walk.event_id}"


@_step("GET /events/{id}")
def read_event(walk: Walk) -> str:
    """The event, as it was written."""
    event = _event(walk)
    require(event.get("type") == _EVENT["type"], "GET events/{id}: it is of another type")
    require(event.get("tenant_id") == walk.founder.tenant_id, "GET events/{id}: it is another organization's")
    return "as it was written"


@_step("GET /admin/logs/authorization")
def authorization_log(walk: Walk) -> str:
    """Every one of the wrong passwords, by the id of its request."""
    answer = walk.at.ask("GET", "admin/logs/authorization", token=walk.founder.access, params={"limit": "200"})
    failed = {
        str(each["context"].get("request_id"))
        for each in items(answer)
        if each.get("type") == "auth.login"
        and each.get("outcome") == "failure"
        and isinstance(each.get("context"), dict)
    }
    lacking = len(set(walk.guesses) - failed) + GUESSES - len(set(walk.guesses))
    require(not lacking, f"GET admin/logs/authorization: {lacking} failed sign-ins are not in the trail")
    return f"the {GUESSES} failed sign-ins"


@_step("GET /alerts")
def alert(walk: Walk) -> str:
    """The alert on the attack, once detection has seen it."""
    found = awaited(walk, "the alert on the wrong passwords", lambda: _alert_of(walk))
    walk.alert_id = found["id"]
    walk.made.add("the alert", lambda at: dismiss_alert(at, walk.founder, walk.alert_id))
    return f"{PATTERN}, {found.get('severity')}, {found.get('count')} events"


@_step("GET /ledger/proof")
def proof(walk: Walk) -> str:
    """The proof that the event is sealed, checked offline under the published key."""
    sought = {"event_id": walk.event_id}
    proven = awaited(walk, "the event to be sealed", lambda: _sealed(walk, sought))
    period = {"period": str(proven.get("period"))}
    vkey = walk.at.ask("GET", "ledger/key", token=walk.founder.access, params=period, accept="text/plain").text.strip()
    sealed = check_proof(_event(walk), proven, vkey)
    require(walk.founder.tenant_id in sealed.origin, "GET ledger/key: the key is of another organization's ledger")
    checkpoint = walk.at.ask("GET", "ledger/checkpoint", token=walk.founder.access, params=period, accept="text/plain")
    check_checkpoint(checkpoint.text, vkey)
    return f"entry {sealed.index} of {sealed.size}, verified offline"


@_step("POST /reports")
def report(walk: Walk) -> str:
    """A report on a day that is over, read once it is ready; its digest is computed again. An organization that began
    today has no such day: then, that the order is refused for this reason."""
    token, (period, is_over) = walk.founder.access, _day_over(walk)
    controls = items(walk.at.ask("GET", "controls", token=token, params={"framework": FRAMEWORK}))
    body = {"framework": FRAMEWORK, **period}
    if not is_over:
        refused = walk.at.ask("POST", "reports", token=token, body=body, expected=422)
        fields = [each.get("field") for each in field_of(refused, "errors", list) if isinstance(each, dict)]
        require(fields == ["to"], "POST reports: refused for another reason than that no day is over")
        return Partly(f"refused, as no day of the organization is over; {len(controls)} controls are there")
    ordered = walk.at.ask("POST", "reports", token=token, body=body, expected=(201, 202))
    report_id = field_of(ordered, "id")
    path = f"reports/{report_id}"
    head = awaited(walk, "the report", lambda: _ready_report(walk, path))
    whole = walk.at.ask("GET", path, token=token, params={"format": "json"})
    require(hashlib.sha256(whole.content).hexdigest() == head.get("digest"), "GET reports/{id}: another digest")
    require(field_of(whole, "id") == report_id, "GET reports/{id}: it is another report")
    told = field_of(whole, "controls", list)
    require(len(told) == len(controls), "GET reports/{id}: not on all controls of the framework")
    return f"{FRAMEWORK} for {period['from']}: {len(told)} controls, digest as told"


# ---- and away with it ---------------------------------------------------------------------------------------------


@_step("PATCH /alerts/{id}")
def dismiss(walk: Walk) -> str:
    """The alert is nothing that anybody has to look at."""
    dismiss_alert(walk.at, walk.founder, walk.alert_id)
    walk.made.gone("the alert")
    return "dismissed, with a note"


@_step("DELETE /admin/api-keys/{id}")
def revoke(walk: Walk) -> str:
    """The key is one no more."""
    delete(walk.at, walk.founder, f"admin/api-keys/{walk.key_id}")
    walk.made.gone("the API key")
    walk.at.ask("GET", f"events/{walk.event_id}", token=walk.key, expected=401)
    return "revoked, and refused"


@_step("DELETE /admin/users/{id}")
def delete_user(walk: Walk) -> str:
    """The second account is gone."""
    delete_member(walk.at, walk.founder, walk.member)
    walk.made.gone("the second account")
    walk.at.ask("GET", f"admin/users/{walk.member.id}", token=walk.founder.access, expected=404)
    return "deleted, and not found any more"


@_step("POST /logout")
def logout(walk: Walk) -> str:
    """The session dies at once."""
    walk.at.ask("POST", "logout", token=walk.founder.access, expected=204)
    walk.made.gone("the administrator's session")
    walk.at.ask("GET", "profile", token=walk.founder.access, expected=401)
    return "signed out; the token is refused"


def _event(walk: Walk) -> dict[str, Any]:
    answer = walk.at.ask("GET", f"events/{walk.event_id}", token=walk.key)
    require(field_of(answer, "id") == walk.event_id, "GET events/{id}: it is another event")
    event: dict[str, Any] = json_of(answer)
    return event


def _alert_of(walk: Walk) -> dict[str, Any] | None:
    """The open alert about the second account, when it counts every guess."""
    sought = {"pattern": PATTERN, "status": "open", "limit": "200"}
    for each in items(walk.at.ask("GET", "alerts", token=walk.founder.access, params=sought)):
        require(each.get("pattern") == PATTERN, "GET alerts: an alert of another pattern")
        if each.get("key") == walk.member.id and isinstance(each.get("count"), int) and each["count"] >= GUESSES:
            require(isinstance(each.get("id"), str), "GET alerts: an alert has no id")
            return each
    return None


def _sealed(walk: Walk, sought: dict[str, str]) -> dict[str, Any] | None:
    answer = walk.at.ask("GET", "ledger/proof", token=walk.founder.access, params=sought, expected=(200, 409))
    if answer.status_code == 409:
        require(field_of(answer, "code") == "not_sealed", "GET ledger/proof: 409 for another reason")
        return None
    require(field_of(answer, "event_id") == sought["event_id"], "GET ledger/proof: it is of another event")
    proven: dict[str, Any] = json_of(answer)
    return proven


def _day_over(walk: Walk) -> tuple[dict[str, str], bool]:
    """A day that is over by the deployment's own clock, and whether the organization was there on it: the day before
    yesterday, for yesterday can still get events for an hour; else yesterday."""
    own = walk.at.ask("GET", "profile", token=walk.founder.access)
    try:
        began, now = (datetime.fromisoformat(field_of(own, name)) for name in ("created_at", "updated_at"))
    except ValueError:
        raise Wrong("GET profile: created_at or updated_at is not a time") from None
    today, day = now.date(), timedelta(days=1)
    last = today - day if began.date() < today - day or now.hour < 1 else today
    return {"from": str(last - day), "to": str(last)}, began.date() < last


def _ready_report(walk: Walk, path: str) -> dict[str, Any] | None:
    answer = walk.at.ask("GET", path, token=walk.founder.access)
    status = field_of(answer, "status")
    require(status in ("queued", "building", "ready"), "GET reports/{id}: the report failed")
    head: dict[str, Any] = json_of(answer)
    return head if status == "ready" else None
