"""Accounts, organizations and keys: each is what the events, from its creation on, and what was asked for make of it.

Every field of every item is looked at, whether or not some call was about it, but for those that are times, and for
what the store adds. The hash of a password has to be of the last one that was set.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tests.chaos.checks.fields import PASSWORD, Course, follow
from tests.chaos.checks.model import Finding, Item, Snapshot, email_id
from tests.chaos.journal import Attempt

NEW = {
    **{"status": "active", "mfa": False},
    **dict.fromkeys(("phone", "company", "job_title", "location", "website", "bio")),
}
"""A new account, beside what its registration says."""
TIMES = frozenset(
    {"created_at", "updated_at", "sessions_valid_from", "last_used_at", "last_sent_at", "expires_at", "ttl"}
)
FORMER = 3
"""So many passwords before the last one are kept."""
UNKNOWN: Any = object()
"""The value of a field that nobody but the app can know."""


def check_accounts(snapshot: Snapshot, attempts: Sequence[Attempt]) -> list[Finding]:
    """All of it."""
    course = follow(snapshot.events, attempts)
    known = Known(snapshot, attempts)
    users = {each["user_id"]: each for each in snapshot.of("identity", "user")}
    tenants = {each["tenant_id"]: each for each in snapshot.of("identity", "tenant")}
    keys = {each["key_id"]: each for each in snapshot.of("identity", "api_key")}
    return [
        *_same("user", users, _users(known, course), known.gone("user.delete")),
        *_passwords(users, course),
        *_same("tenant", tenants, _tenants(known, course), set()),
        *_same("API key", keys, _keys(known), known.gone("apikey.revoke")),
        *_entries(snapshot, users, tenants),
        *_acknowledged(users, known, attempts),
    ]


class Known:
    """What trail and log say was done, or went wrong: each event, with the attempt that it is of."""

    def __init__(self, snapshot: Snapshot, attempts: Sequence[Attempt]) -> None:
        asked = {each.id: each for each in attempts}
        self._made: dict[str, list[tuple[Item, Attempt | None]]] = defaultdict(list)
        for event in snapshot.events:
            if event["outcome"] in ("success", "error"):
                self._made[event["type"]].append((event, asked.get(event["context"]["trace_id"])))
        self.invited = {
            each.told["email"]: (event, each) for event, each in self.made("user.invite") if each is not None
        }

    def made(self, kind: str) -> list[tuple[Item, Attempt | None]]:
        """The events of a kind, each with its attempt."""
        return self._made[kind]

    def gone(self, kind: str) -> set[str]:
        """What events of a kind say went."""
        return {event["target"]["id"] for event, _ in self.made(kind)}


def _same(what: str, there: Mapping[str, Item], made: Mapping[str, Item | None], gone: set[str]) -> Iterator[Finding]:
    """What is there is what was made and did not go, and each of it is as it has to be. None: nobody can know how."""
    for each in sorted(there.keys() - made.keys()):
        yield Finding("change_without_event", f"{what} {each} is there, and no event says so")
    for each in sorted(there.keys() & gone):
        yield Finding("event_without_change", f"{what} {each} is there, and an event says that it went")
    for each in sorted(made.keys() - gone - there.keys()):
        yield Finding("event_without_change", f"{what} {each} is not there, and its event is")
    for each in sorted((made.keys() & there.keys()) - gone):
        wanted = made[each]
        yield from () if wanted is None else different(what, each, there[each], wanted)


def different(what: str, name: str, held: Item, wanted: Item) -> Iterator[Finding]:
    """Each field that is not as it has to be, or is nothing that anybody set."""
    if "consents" in held:  # when somebody agreed is a time as well
        held = held | {"consents": {of: {**how, "at": None} for of, how in held["consents"].items()}}
    for field in sorted({*held, *wanted} - TIMES):
        if not field.startswith("_") and wanted.get(field) not in (UNKNOWN, held.get(field)):
            now, before = repr(held.get(field)), repr(wanted.get(field))
            yield Finding("change_without_event", f"{field} of {what} {name} is {now}, after {before}")


def _users(known: Known, course: Course) -> dict[str, Item | None]:
    consents: dict[str, dict[str, Any]] = defaultdict(dict)
    for event, _ in known.made("consent.grant"):
        said = event["attributes"]
        consents[event["target"]["id"]][said["purpose"]] = {"granted": True, "version": said["version"], "at": None}
    made: dict[str, Item | None] = {}
    for event, asked in known.made("auth.register"):
        user = event["target"]["id"]
        made[user] = None if asked is None or "first_name" not in asked.told else _user(event, asked, known)
        wanted = made[user]
        if wanted is not None:
            wanted["consents"] = consents[user]
            wanted |= _set(user, course)
    return made


def _user(event: Item, asked: Attempt, known: Known) -> Item:
    told, user = asked.told, event["target"]["id"]
    invitation, invite = known.invited.get(told["email"], (None, None))
    name = f"{told['first_name']} {told['last_name']}"
    return {
        **NEW,
        **{"id": f"user|{user}", "kind": "user", "user_id": user, "tenant_id": event["tenant_id"]},
        **{field: told[field] for field in ("email", "first_name", "last_name")},
        **{"search_email": told["email"].lower(), "search_name": name.lower()},
        "search_last_name": told["last_name"].lower(),
        **{"password_hash": UNKNOWN, "password_history": UNKNOWN},  # see `_passwords`
        "role": "tenant_admin" if invite is None else invite.told["role"],
        **({} if invitation is None else {"invitation_id": invitation["target"]["id"]}),
    }


def _set(owner: str, course: Course) -> Item:
    """The fields that changes have set, of those that are not a password's."""
    return {
        field: values[-1] for (whose, field), values in course.changes.items() if whose == owner and field != PASSWORD
    }


def _tenants(known: Known, course: Course) -> dict[str, Item | None]:
    made: dict[str, Item | None] = {}
    for event, asked in known.made("auth.register"):
        if event["attributes"].get("organization"):
            tenant, settings = event["tenant_id"], _set(event["tenant_id"], course)
            named = {"name": None if asked is None else asked.told.get("organization"), "admins": 1}
            fixed = {"id": "tenant", "kind": "tenant", "tenant_id": tenant, "status": "active"}
            made[tenant] = {**fixed, **named, **({"settings": settings} if settings else {})}
    return made


def _keys(known: Known) -> dict[str, Item | None]:
    made: dict[str, Item | None] = {}
    silent = _silent(known)
    for event, asked in known.made("apikey.create"):
        key = event["target"]["id"]
        made[key] = None
        if asked is not None and "scopes" in asked.told:
            told = asked.told
            made[key] = {
                **{"id": f"api_key|{key}", "kind": "api_key", "key_id": key, "tenant_id": event["tenant_id"]},
                **{"name": told["name"], "scopes": sorted(told["scopes"]), "created_by": told["user"]},
                **{"silent_since": silent.get(key), "secret_hash": asked.seen.get("secret_hash", UNKNOWN)},
            }
    return made


def _silent(known: Known) -> dict[str, str]:
    """The keys that were told to have fallen silent, and not to send events again; since when."""
    fell, woke = (
        {
            (event["target"]["id"], event["attributes"][since])
            for event, _ in known.made(kind)
            if event["attributes"].get("source") == "api_key"
        }
        for kind, since in (("system.error", "since"), ("system.heartbeat", "window_from"))
    )
    return dict(fell - woke)


def _passwords(users: Mapping[str, Item], course: Course) -> Iterator[Finding]:
    """The hash is of the last one that was set, and those that are kept are of the ones before, latest first."""
    for (owner, field), values in course.changes.items():
        if field == PASSWORD and owner in users:
            kept: Sequence[str] = users[owner].get("password_history", ())
            last, *former = list(reversed(values))[: 1 + FORMER]
            if not _is_hash_of(users[owner]["password_hash"], last):
                yield Finding("change_without_event", f"the password of {owner} is not the last that was set")
            if len(kept) != len(former) or not all(map(_is_hash_of, kept, former)):
                yield Finding("change_without_event", f"the passwords kept of {owner} are not the {len(former)} before")


def _is_hash_of(encoded: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(encoded, password)
    except (VerificationError, InvalidHashError):
        return False


def _entries(snapshot: Snapshot, users: Mapping[str, Item], tenants: Mapping[str, Item]) -> Iterator[Finding]:
    """Each account has its e-mail and its id in the directory, each organization its place among those that timers see
    to."""
    entries = snapshot.of("directory")
    by_email = Counter((e["id"], e["user_id"], e["tenant_id"]) for e in entries if e.get("state") == "confirmed")
    by_id = Counter((each["id"], each["tenant_id"]) for each in entries if each["id"].startswith("user|"))
    secret, there = snapshot.secret, users.values()
    wanted = Counter((email_id(secret, each["email"]), each["user_id"], each["tenant_id"]) for each in there)
    known = Counter((f"user|{each['user_id']}", each["tenant_id"]) for each in there)
    for entry in [*(by_email - wanted), *(wanted - by_email), *(by_id - known), *(known - by_id)]:
        yield Finding("change_without_event", f"the directory and the accounts differ: {entry}")
    enrolled = {each["id"] for each in snapshot.of("tenants")}
    for each in sorted(tenants.keys() - enrolled):
        yield Finding("event_without_change", f"tenant {each} is in no list")


def _acknowledged(users: Mapping[str, Item], known: Known, attempts: Sequence[Attempt]) -> Iterator[Finding]:
    gone = known.gone("user.delete")
    for each in attempts:
        if each.call == "register" and each.acknowledged and each.seen["user"] not in gone:
            user = users.get(each.seen["user"])
            if user is None or user["email"] != each.told["email"]:
                yield Finding("acknowledged_and_lost", f"the account of {each.told['email']}")
