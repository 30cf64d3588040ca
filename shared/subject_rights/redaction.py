"""What of a finished event is a person's, and the event without it. Pure functions.

Sealed boxes go, and of the keyed hashes those that are the person's: `target_key` is the target's, the other three are
of whoever made the request: the actor, or where nobody was known the user whose account was tried. Commitments stay,
and so does everything else that the ledger covers: its entry is the same before and after.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.audit.formed import boxes_of
from shared.audit.model import StoredEvent
from shared.subject_rights.model import Person

INVITATION, STRANGER = "invitation", "stranger-"
"""Of whom there is an e-mail in the trail and no user: who was invited, and who tried an e-mail that has no account."""
_OF_WHOEVER_ASKED = ("actor_key", "ip_key", "ua_key")


@dataclass(frozen=True, slots=True)
class Redaction:
    """An event that holds something of a person, and the ids that stand for the person in it."""

    event: StoredEvent
    persons: frozenset[str]

    def event_without(self, now: str) -> StoredEvent:
        """The event without what is theirs, marked as erased `now` (RFC 3339)."""
        return {**_without(self.event, self.persons), "erased_at": now}


def redactions(events: Iterable[StoredEvent], person: Person) -> Iterator[Redaction]:
    """Of some events those that hold something of a person."""
    for event in events:
        found = Redaction(event, _persons(event, person))
        if found.persons and _without(event, found.persons) != event:
            yield found


def _persons(event: StoredEvent, person: Person) -> frozenset[str]:
    """The ids that stand for a person in an event: the own one; by the e-mail, invitations and strangers."""
    found = {person.subject} if event["tenant_id"] == person.tenant_id else set[str]()
    keys, target = person.keys_in(event["tenant_id"]), event["target"]
    if not keys or event["recorded_at"] >= person.until:
        return frozenset(found)
    if event["target_key"] in keys and target is not None and target["kind"] == INVITATION:
        found.add(target["id"])
    if event["actor_key"] in keys:
        found |= {each for each in event["commitments"] if each.startswith(STRANGER)}
    return frozenset(found)


def _without(event: StoredEvent, persons: frozenset[str]) -> StoredEvent:
    kept = {subject: box for subject, box in boxes_of(event, {}).items() if subject not in persons}
    changed = {**event, "personal": kept} if len(kept) < len(boxes_of(event, {})) else dict(event)
    if _asker(event) in persons:
        changed |= dict.fromkeys(_OF_WHOEVER_ASKED)
    if event["target"] is not None and event["target"]["id"] in persons:
        changed["target_key"] = None
    return changed


def _asker(event: StoredEvent) -> str | None:
    """Whose address, user agent and typed e-mail an event was made with."""
    actor, target = event["actor"]["id"], event["target"]
    if actor is not None:
        return str(actor)
    if target is not None and target["kind"] == "user":
        return str(target["id"])
    return next((each for each in event["commitments"] if each.startswith(STRANGER)), None)
