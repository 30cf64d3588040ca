"""Somebody reaches for what is not theirs: many refusals, one of another tenant's data, or one of the audit log.

Order-free by construction: some refusals cross by themselves, the rest is a count.
"""

from collections.abc import Iterator, Sequence

from pydantic import Field

from shared.detection.engine import actor_of, crossing, windows
from shared.detection.model import Crossing, Observed, Parameters, Pattern
from shared.storage.documents import Item

_AUDIT_LOG = ("GET /v1/events", "GET /v1/admin/logs/")
"""How the routes begin that read the trail."""


class UnauthorizedAccessParameters(Parameters):
    """`threshold` refusals of one actor within `window_seconds` raise an alert; so does a single one across tenants, or
    of the audit log."""

    threshold: int = Field(default=5, ge=3, le=100)
    window_seconds: int = Field(default=600, ge=60, le=3600)


def _matches(_event: Item) -> bool:
    return True


def _fact(event: Item) -> str | None:
    """What crosses by itself, by its severity; None for what only counts."""
    if event["type"] == "access.cross_tenant_denied":
        return "critical"
    route = (event.get("context") or {}).get("route") or ""
    # An id that leads nowhere was not refused: whoever asked for it may read the log.
    return "high" if route.startswith(_AUDIT_LOG) and event.get("reason") != "unknown_id" else None


def _crossings(observed: Sequence[Observed], parameters: UnauthorizedAccessParameters) -> Iterator[Crossing]:
    denied: list[int] = [0]
    """How many refusals within the tenant there are before each position."""
    for position, since, event in windows(observed, parameters.window):
        denied.append(denied[-1] + (event.selector == 0))
        if event.fact is not None:
            yield crossing(observed, since, position, event.fact)
        elif denied[-1] - denied[since] >= parameters.threshold:
            yield crossing(observed, since, position, "high")


PATTERN = Pattern(
    id="unauthorized_access",
    title="Somebody reaches for what is not theirs",
    severity="high",
    attack=("T1078", "T1087"),
    description="Somebody was refused many times within a few minutes, asked for data of another organization, "
    "or tried to "
    "read the audit log without the right to.",
    false_positives=(
        "A person whose role was lowered and whose application still offers what they may do no more.",
        "A client that was set up with an API key of too narrow a scope, or with an id from another environment.",
    ),
    runbook=(
        "See what was refused: GET /events?actor=<key>&outcome=denied, with from and to around first_seen and "
        "last_seen.",
        "Look at what the same actor did with success meanwhile (the same search with outcome=success).",
        "Ask the actor's owner what they were doing. A program's key that behaves like this is revoked: "
        "DELETE /admin/api-keys/<key>.",
        "If nobody explains it, suspend the account, end its sessions, and close the alert with a note.",
    ),
    parameters=UnauthorizedAccessParameters,
    selectors=(("access.denied", "denied"), ("access.cross_tenant_denied", "denied")),
    key_path="actor.id",
    fields=("actor", "context", "reason"),
    matches=_matches,
    key=actor_of,
    crossings=_crossings,
    fact=_fact,
)
