"""Requests of persons as they are stored, and when they are due.

A request is an item of its tenant's partition in `identity`. It names its person by an opaque id; why it was made is in
its event, sealed under that person. Beside an open request stands a marker of the person's, so that there is one at a
time. `work_at` is when the job has to go on with it, `next_at` when the timer has to look at it: then, or when it
falls due. What is over has neither.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from shared.audit.model import PLATFORM_TENANT, StoredEvent
from shared.core.clock import months_after, rfc3339
from shared.storage.documents import Item

KIND = "subject_request"
ERASURE, EXPORT = "erasure", "export"
"""What is asked for. An export is carried out while it is asked for, part by part."""
DUE_MONTHS, EXTENDED_MONTHS = 1, 3
"""GDPR article 12(3): one month from receipt, extended by two further ones where that is needed, with the reason."""

type State = Literal["received", "cooling_off", "deferred", "running", "executed", "refused", "withdrawn"]
type Cause = Literal["legal_hold", "last_admin", "abandoned"]
WAITING = frozenset({"received", "cooling_off", "deferred"})
"""Nothing was done yet: it may be withdrawn, or refused."""
OPEN = WAITING | {"running"}
COUNTED = ("accounts", "events", "items")
"""What is counted of an erasure, or of an export; items: sessions and all else that is neither. Of an erasure at least
so many: a run that is cut off may have erased some that it could not note."""
_SHOWN = (
    *("kind", "subject", "state", "cause", "by", "received_at", "due_at", "extended", "cooling_off_until"),
    *("started_at", "executed_at", "counts"),
)

_WHILE_OPEN = frozenset({"work_at", "next_at", "keys", "pass", "place", "kept"})


@dataclass(frozen=True, slots=True)
class Person:
    """Who is erased: the id that events know the person by, and where the e-mail is known its keyed hashes: in the
    directory, in the tenant and in `platform`; several, with a space between, where versions of the index secret are
    kept beside each other. By these only what is older than `until` (RFC 3339) is the person's: who
    is invited anew, or tries the e-mail later, is not erased with it."""

    tenant_id: str
    subject: str
    directory_key: str | None = None
    email_key: str | None = None
    platform_key: str | None = None
    until: str = ""

    @classmethod
    def of(cls, item: Item) -> Self:
        """The person of a request."""
        return cls(item["tenant_id"], item["subject"], **item.get("keys", {}))

    def keys_in(self, tenant_id: str) -> tuple[str, ...]:
        """The keyed hashes of the e-mail in the events of a tenant: the person's own, or `platform`."""
        found = self.platform_key if tenant_id == PLATFORM_TENANT else None
        if tenant_id == self.tenant_id:
            found = self.email_key
        return tuple((found or "").split())


def request_key(request_id: str) -> str:
    """The id of a request's item."""
    return f"{KIND}|{request_id}"


def marker_key(subject: str) -> str:
    """The id of the item that says which erasure of a person is open."""
    return f"{ERASURE}|{subject}"


def new_request(
    tenant_id: str, subject: str, by: str | None, event: StoredEvent, request_id: str, received_at: datetime
) -> Item:
    """The stored form of a new request to erase a person; `by`: the user who made it, None for the operator."""
    again = rfc3339(received_at)
    return _request(tenant_id, subject, by, event, request_id, received_at) | {"work_at": again, "next_at": again}


def new_export(
    tenant_id: str, subject: str, by: str, event: StoredEvent, request_id: str, received_at: datetime
) -> Item:
    """The stored form of a new request for a person's data, of which the first part is handed out now."""
    now = rfc3339(received_at)
    begun = {"about": EXPORT, "state": "running", "started_at": now}
    return _request(tenant_id, subject, by, event, request_id, received_at) | begun


def _request(
    tenant_id: str, subject: str, by: str | None, event: StoredEvent, request_id: str, received_at: datetime
) -> Item:
    return {
        "id": request_key(request_id),
        "tenant_id": tenant_id,
        "kind": KIND,
        "request_id": request_id,
        "about": ERASURE,
        "subject": subject,
        "state": "received",
        "cause": None,
        "by": by,
        "event_id": event["id"],
        "created_at": rfc3339(received_at),
        "due_at": rfc3339(months_after(received_at, DUE_MONTHS)),
        "extended": False,
        "cooling_off_until": None,
        "counts": dict.fromkeys(COUNTED, 0),
    }


def marker(item: Item) -> Item:
    """The marker of a request."""
    subject = item["subject"]
    return {
        "id": marker_key(subject),
        "tenant_id": item["tenant_id"],
        "kind": ERASURE,
        "request_id": item["request_id"],
    }


def is_overdue(item: Item, now: datetime) -> bool:
    """Whether a request should have been answered by now."""
    return item["state"] in OPEN and item["due_at"] <= rfc3339(now)


def look_again(item: Item, at: str) -> Item:
    """The request with the time (RFC 3339) at which the job goes on; the timer looks when it falls due, too, once."""
    return {**item, "work_at": at, "next_at": at if "overdue_at" in item else min(at, item["due_at"])}


def over(item: Item) -> Item:
    """The request, of which nothing more is to be done."""
    return {name: value for name, value in item.items() if name not in _WHILE_OPEN}


def shown(item: Item, now: datetime) -> dict[str, Any]:
    """A request as the API shows it."""
    told = {**item, "kind": item["about"], "received_at": item["created_at"]}
    return {
        "id": item["request_id"],
        **{name: told.get(name) for name in _SHOWN},
        "overdue": is_overdue(item, now),
    }
