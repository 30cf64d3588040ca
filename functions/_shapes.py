"""Shapes that several endpoints answer with."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from functions._api import Shape
from shared.core.errors import FieldError


class FieldFault(Shape):
    """What is wrong with one field."""

    field: str
    code: str
    message: str


class Problem(Shape):
    """An error (RFC 9457). `code` is stable."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldFault] | None = None


class UserShape(Shape):
    """A user."""

    id: str
    email: str
    first_name: str
    last_name: str
    role: Literal["viewer", "user", "auditor", "tenant_admin", "system_admin"]
    status: Literal["active", "suspended"]
    tenant_id: str
    created_at: str
    updated_at: str
    mfa: bool
    phone: str | None
    company: str | None
    job_title: str | None
    location: str | None
    website: str | None
    bio: str | None


class ActorShape(Shape):
    """Who did it."""

    kind: Literal["user", "service", "system", "anonymous"]
    id: str | None
    role: str | None


class ReferenceShape(Shape):
    """What it was done to, or what wrote it."""

    kind: str
    id: str


class ContextShape(Shape):
    """The request in which it happened."""

    request_id: str
    trace_id: str | None
    session_id: str | None
    route: str
    duration_ms: int


class ProofShape(Shape):
    """The proof that an event is sealed: its entry (base64) at `index` of a month's ledger, the hashes (base64) from
    its leaf's sibling upward, the signed checkpoint that they lead to, and all of that as a tlog-proof file."""

    event_id: str
    period: str
    index: int
    entry: str
    path: list[str]
    checkpoint: str
    text: str


class SealedEventShape(Shape):
    """An event as the ledger holds it: its canonical JSON (RFC 8785) is what the leaf hashes."""

    id: str
    tenant_id: str
    period: str
    type: str
    outcome: Literal["success", "failure", "denied", "error"]
    reason: str | None
    severity: Literal["info", "low", "medium", "high", "critical"]
    recorded_at: str
    occurred_at: str
    actor: ActorShape
    target: ReferenceShape | None
    subjects: list[str]
    source: ReferenceShape
    context: ContextShape
    data_class: Literal["none", "personal", "confidential", "phi", "cardholder"]
    record_count: int
    attributes: dict[str, Any]
    commitments: dict[str, str]
    schema_: int = Field(alias="schema")


class EventShape(SealedEventShape):
    """One event of the trail, its personal data opened: `{"erased": true}` in place of an erased person's, and
    `{"withheld": true}` for API keys."""

    personal: dict[str, dict[str, Any]]
    actor_key: str | None
    target_key: str | None
    ip_key: str | None
    ua_key: str | None
    erased_at: str | None = Field(default=None, description="When personal data of a person was erased from it.")
    proof: ProofShape | None = Field(default=None, description="That it is sealed, where that was asked for.")


class ListShape(Shape):
    """One page of a list; `next_cursor` is null on the last. Each list adds `items` of its own type.

    Not a generic class: pydantic builds a schema for every use of one at once, which a cold start would wait for.
    """

    next_cursor: str | None


class EventList(ListShape):
    """One page of events."""

    items: list[EventShape]


def shown_faults(errors: Iterable[FieldError]) -> list[dict[str, str]]:
    """Faults of fields, as every answer shows them."""
    return [{"field": each.field, "code": each.code, "message": each.message} for each in errors]


def page(items: list[dict[str, Any]], next_cursor: str | None) -> dict[str, Any]:
    """The envelope of every list."""
    return {"items": items, "next_cursor": next_cursor}
