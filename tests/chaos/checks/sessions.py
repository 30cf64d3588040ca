"""Sessions and invitations: those that were given and did not end are there, and nobody has another one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from tests.chaos.checks.accounts import UNKNOWN, Known, different
from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.chaos.journal import Attempt

LIVES = timedelta(days=30)
OPEN = timedelta(days=7)
SIGNED_IN = ("login", "register", "refresh")


def check_sessions(snapshot: Snapshot, attempts: Sequence[Attempt]) -> list[Finding]:
    """All of it."""
    times = [datetime.fromisoformat(event["recorded_at"]) for event in snapshot.events if "recorded_at" in event]
    lasted = max(times) - min(times) if times else timedelta()
    known = Known(snapshot, attempts)
    sessions = {each["session_id"]: each for each in snapshot.of("identity", "session")}
    ended = _ended(snapshot.events)
    return [
        *(_given(sessions, ended, attempts) if lasted < LIVES else ()),
        *_secrets(sessions, known, attempts),
        *(
            Finding("event_without_change", f"session {each} is there, and ended")
            for each in sorted(sessions.keys() & ended.keys())
        ),
        *_explained(sessions, ended, known),
        *(_invitations(snapshot, known) if lasted < OPEN else ()),
    ]


def _ended(events: Sequence[Item]) -> dict[str, tuple[str, str]]:
    """Those that whoever had one ended, or that ended because a refresh token was shown twice; whose each was."""
    ways = (("auth.logout", "success", None), ("auth.token_refresh", "failure", "reused"))
    told = (event for event in events if (event["type"], event["outcome"], event.get("reason")) in ways)
    return {event["context"]["session_id"]: (event["tenant_id"], event["actor"]["id"]) for event in told}


def _given(
    sessions: Mapping[str, Item], ended: Mapping[str, tuple[str, str]], attempts: Sequence[Attempt]
) -> Iterator[Finding]:
    """What somebody was signed in with is there, and theirs; so is what they went on with."""
    for each in attempts:
        name = each.seen.get("session")
        if each.call in SIGNED_IN and each.acknowledged and name is not None and name not in ended:
            user = each.told.get("user") or each.seen.get("user")
            if name not in sessions:
                yield Finding("acknowledged_and_lost", f"session {name} ({each.call} {each.id})")
            elif user and sessions[name]["user_id"] != user:
                yield Finding("change_without_event", f"session {name} is another one's than {user}'s")


def _secrets(sessions: Mapping[str, Item], known: Known, attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """A session goes on with the token that was given last; unless one was made that nobody got."""
    doubtful = {
        each.told.get("session") for _, each in known.made("auth.token_refresh") if each and not each.acknowledged
    }
    given = {each.seen["session"]: each.seen["secret_hash"] for each in attempts if "session" in each.seen}
    for name in sorted(sessions.keys() & given.keys() - doubtful):
        if sessions[name]["refresh_hash"] != given[name]:
            yield Finding("change_without_event", f"session {name} has another token than was given last")


def _explained(sessions: Mapping[str, Item], ended: Mapping[str, tuple[str, str]], known: Known) -> Iterator[Finding]:
    """Nobody has more sessions than they opened and did not end, and each is as one begins."""
    entered = Counter(
        (event["tenant_id"], event["target"]["id"])
        for kind in ("auth.login", "auth.register")
        for event, _ in known.made(kind)
    )
    held = Counter((each["tenant_id"], each["user_id"]) for each in sessions.values())
    for (_, user), number in (held - (entered - Counter(ended.values()))).items():
        yield Finding("change_without_event", f"{user} has {number} sessions that nobody signed in for")
    for name, each in sessions.items():
        if each["id"] != f"session|{name}" or each["enrollment_only"] or each["mfa_at"] is not None:
            yield Finding("change_without_event", f"session {name} is not as one begins")


def _invitations(snapshot: Snapshot, known: Known) -> Iterator[Finding]:
    """Those that nobody took are there, as they were made."""
    there = {each["invitation_id"]: each for each in snapshot.of("identity", "invitation")}
    taken = {each.told["email"] for _, each in known.made("auth.register") if each is not None and "email" in each.told}
    for event, each in known.invited.values():
        name, held = event["target"]["id"], there.pop(event["target"]["id"], None)
        if each.told["email"] in taken:
            if held is not None:
                yield Finding("event_without_change", f"invitation {name} is there, and somebody took it")
        elif held is None:
            yield Finding("event_without_change", f"invitation {name} is not there, and its event is")
        else:
            wanted = {
                **{"id": f"invitation|{name}", "kind": "invitation", "invitation_id": name},
                **{"tenant_id": event["tenant_id"], "email": each.told["email"], "role": each.told["role"]},
                **{"invited_by": each.told["user"], "secret_hash": each.seen.get("secret_hash", UNKNOWN)},
            }
            yield from different("invitation", name, held, wanted)
    for name in there:
        yield Finding("change_without_event", f"invitation {name} is there, and no event says so")
