"""The state against trail and log: what changed is what the events say, and nothing is left to be done."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tests.chaos.checks.fields import PASSWORD, follow, value_of
from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.chaos.journal import Attempt


def check_state(snapshot: Snapshot, attempts: Sequence[Attempt]) -> list[Finding]:
    """All of it."""
    return [
        *_accounts(snapshot, attempts),
        *_keys(snapshot),
        *_fields(snapshot, attempts),
        *_alerts(snapshot),
        *_reports(snapshot, attempts),
        *_leftovers(snapshot),
    ]


def _targets(snapshot: Snapshot, kind: str, outcome: str = "success") -> list[str]:
    return [event["target"]["id"] for event in snapshot.events if (event["type"], event["outcome"]) == (kind, outcome)]


def _same(what: str, there: set[str], told: Sequence[str], gone: Sequence[str]) -> Iterator[Finding]:
    for each in sorted(there - set(told)):
        yield Finding("change_without_event", f"{what} {each} is there, and no event says so")
    for each in sorted(there & set(gone)):
        yield Finding("event_without_change", f"{what} {each} is there, and an event says that it went")
    for each in sorted(set(told) - set(gone) - there):
        yield Finding("event_without_change", f"{what} {each} is not there, and its event is")


def _accounts(snapshot: Snapshot, attempts: Sequence[Attempt]) -> Iterator[Finding]:
    users = {each["user_id"]: each for each in snapshot.of("identity", "user")}
    gone = _targets(snapshot, "user.delete")
    yield from _same("user", set(users), _targets(snapshot, "auth.register"), gone)
    for each in attempts:
        if each.call == "register" and each.acknowledged and each.seen["user"] not in gone:
            user = users.get(each.seen["user"])
            if user is None or user["email"] != each.told["email"]:
                yield Finding("acknowledged_and_lost", f"the account of {each.told['email']}")


def _keys(snapshot: Snapshot) -> Iterator[Finding]:
    keys = {each["key_id"] for each in snapshot.of("identity", "api_key")}
    yield from _same("API key", keys, _targets(snapshot, "apikey.create"), _targets(snapshot, "apikey.revoke"))


def _fields(snapshot: Snapshot, attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """Each field has the value of the last change that took effect: that was acknowledged, or has its event. Where none
    did, it is as it was in the beginning."""
    owners: dict[str, Item] = {each["user_id"]: each for each in snapshot.of("identity", "user")}
    owners |= {each["tenant_id"]: each.get("settings", {}) for each in snapshot.of("identity", "tenant")}
    for place, change in follow(snapshot.events, attempts).last.items():
        owner, field = place
        if owner not in owners:
            continue
        was_set, by = value_of(place, change), "nobody" if change is None else change.id
        if field == PASSWORD:
            if was_set is not None and not _is_hash_of(owners[owner]["password_hash"], was_set):
                yield Finding("change_without_event", f"the password of {owner} is not what it is after {by}")
            continue
        is_value = owners[owner].get(field, value_of(place, None))
        if is_value != was_set:
            yield Finding("change_without_event", f"{field} of {owner} is {is_value!r}, after {was_set!r} ({by})")


def _is_hash_of(encoded: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(encoded, password)
    except (VerificationError, InvalidHashError):
        return False


def _alerts(snapshot: Snapshot) -> Iterator[Finding]:
    """An alert began open, and left each status as often as it came to it, but for the one that it has. The order of
    the updates is not asked for: clocks differ."""
    moves: dict[str, Counter[str]] = defaultdict(Counter)
    for event in snapshot.events:
        if event["type"] == "alert.update":
            moves[event["target"]["id"]].update([event["attributes"]["new_status"]])
            moves[event["target"]["id"]].subtract([event["attributes"]["old_status"]])
    for alert in snapshot.of("alerts", "alert"):
        status = alert["status"] if alert.get("superseded_by") is None else "superseded"
        wanted = Counter([status])
        wanted.subtract(["open"])
        told = moves[alert["id"]]
        if told != wanted:
            said = ", ".join(f"{number:+} {name}" for name, number in sorted(told.items())) or "nothing"
            yield Finding("change_without_event", f"alert {alert['id']} is {status}, and its updates say: {said}")


def _reports(snapshot: Snapshot, attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """What was ordered is there, and made once; a day's activity is told anew only when there is more of it."""
    made = Counter(
        (event["target"]["id"], event["attributes"]["digest"] if event["attributes"]["framework"] == "activity" else "")
        for event in snapshot.events
        if (event["type"], event["outcome"]) == ("report.generate", "success")
    )
    there = {report for report, _ in made}
    for each in attempts:
        if each.call == "report_order" and each.acknowledged and each.seen["id"] not in there:
            yield Finding("acknowledged_and_lost", f"report {each.seen['id']} was ordered, and never made")
    for (report, _), number in made.items():
        if number > 1:
            yield Finding("event_doubled", f"report {report} was made {number} times")


def _leftovers(snapshot: Snapshot) -> Iterator[Finding]:
    for container in ("identity", "alerts", "reports"):
        for entry in snapshot.of(container, "outbox"):
            yield Finding("outbox_not_empty", f"{container}: {entry['id']}")
    for letter in snapshot.of("dead_letters", "dead_letter"):
        yield Finding("dead_letter", f"{letter.get('consumer')} of {letter.get('tenant_id')}: {letter.get('error')}")
