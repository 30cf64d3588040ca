"""The state against trail and log: what changed is what the events say, and nothing is left to be done."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.chaos.journal import Attempt

CHANGES = {
    "profile_update": "profile.update",
    "user_update": "user.update",
    "user_role": "user.role_change",
    "settings": "config.change",
}
"""The calls that set a field, and the event that says so."""
DEFAULTS = {"time_zone": "UTC"}
"""What holds where nothing was set: to set just that changes nothing."""


def check_state(snapshot: Snapshot, attempts: Sequence[Attempt]) -> list[Finding]:
    """All of it."""
    return [
        *_accounts(snapshot, attempts),
        *_keys(snapshot),
        *_fields(snapshot, attempts),
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
    """Each field has the value of the last change that took effect: that was acknowledged, or has its event."""
    told = {(event["context"]["trace_id"], event["type"]) for event in snapshot.events if event["outcome"] == "success"}
    owners: dict[str, Item] = {each["user_id"]: each for each in snapshot.of("identity", "user")}
    owners |= {each["tenant_id"]: each.get("settings", {}) for each in snapshot.of("identity", "tenant")}
    last: dict[tuple[str, str], Attempt] = {}
    for each in attempts:
        if each.call in CHANGES and (each.acknowledged or (each.id, CHANGES[each.call]) in told):
            last[_owner(each), each.told["field"]] = each
    for (owner, field), each in last.items():
        if owner not in owners:
            continue
        is_value, was_set = owners[owner].get(field, DEFAULTS.get(field)), each.told["value"]
        if is_value != was_set:
            yield Finding("change_without_event", f"{field} of {owner} is {is_value!r}, after {was_set!r} ({each.id})")


def _owner(each: Attempt) -> str:
    if each.call == "settings":
        return str(each.told["tenant"])
    return str(each.told.get("target") or each.told["user"])


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
