"""The state against trail and log: what changed is what the events say, and nothing is left to be done."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.checks.accounts import check_accounts
from tests.chaos.checks.kinds import check_kinds
from tests.chaos.checks.model import Finding, Snapshot
from tests.chaos.checks.reports import check_reports
from tests.chaos.checks.sessions import check_sessions
from tests.chaos.journal import Attempt


def check_state(snapshot: Snapshot, attempts: Sequence[Attempt]) -> list[Finding]:
    """All of it."""
    return [
        *check_kinds(snapshot),
        *check_accounts(snapshot, attempts),
        *check_sessions(snapshot, attempts),
        *check_reports(snapshot, attempts),
        *_alerts(snapshot),
        *_leftovers(snapshot),
    ]


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


def _leftovers(snapshot: Snapshot) -> Iterator[Finding]:
    for container in ("identity", "alerts", "reports"):
        for entry in snapshot.of(container, "outbox"):
            yield Finding("outbox_not_empty", f"{container}: {entry['id']}")
    for letter in snapshot.of("dead_letters", "dead_letter"):
        yield Finding("dead_letter", f"{letter.get('consumer')} of {letter.get('tenant_id')}: {letter.get('error')}")
