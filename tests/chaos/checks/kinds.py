"""What lies beside accounts: each item is there once, and there is none of a kind that nobody looks at."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.checks.model import Finding, Snapshot

NAMED = {
    "user": "user_id",
    "tenant": "tenant_id",
    "session": "session_id",
    "invitation": "invitation_id",
    "api_key": "key_id",
}
"""Kinds whose items are looked at, and the field by which: it is of one item alone."""
COUNTED = frozenset({"token_rejections", "outbox"})
"""Kinds of which other checks look at all items."""
WORKING = frozenset(
    {
        *("attempts", "pulse", "throttled_logins", "throttled_refreshes", "throttled_registrations"),
        *("void_tenant", "void_user"),
    }
)
"""What the app keeps for its own work, and no check looks at. What no client of a campaign does is not among it: second
factors, webhooks, requests of persons, reviews."""


def check_kinds(snapshot: Snapshot) -> Iterator[Finding]:
    """All of it."""
    for each in snapshot.of("identity"):
        if each.get("kind") not in NAMED.keys() | COUNTED | WORKING:
            yield Finding("change_without_event", f"{each.get('id')} is of the kind {each.get('kind')!r}: nobody's")
    for kind, field in NAMED.items():
        held = Counter(each[field] for each in snapshot.of("identity", kind))
        for name, number in held.items():
            if number > 1:
                yield Finding("change_without_event", f"{kind} {name} is there {number} times")
