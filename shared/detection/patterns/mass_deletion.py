"""Many different things deleted by one actor. Order-free by construction: a count of distinct targets."""

from collections.abc import Iterable, Sequence

from pydantic import Field

from shared.detection.engine import actor_of, crossings_by_distinct
from shared.detection.model import AlertSeverity, Crossing, Observed, Parameters, Pattern
from shared.storage.documents import Item


class MassDeletionParameters(Parameters):
    """`threshold` different targets deleted within `window_seconds` raise an alert, `critical_from` a critical one."""

    threshold: int = Field(default=10, ge=3, le=200)
    window_seconds: int = Field(default=1800, ge=60, le=7200)
    critical_from: int = Field(default=50, ge=3, le=500)


def _matches(_event: Item) -> bool:
    return True


def _fact(event: Item) -> tuple[str, str]:
    """What was deleted. An event that names nothing stands for something of its own."""
    target = event.get("target")
    return (target["kind"], target["id"]) if target else ("", event["id"])


def _crossings(observed: Sequence[Observed], parameters: MassDeletionParameters) -> Iterable[Crossing]:
    def severity_of(distinct: int) -> AlertSeverity:
        return "critical" if distinct >= parameters.critical_from else "high"

    return crossings_by_distinct(
        observed, threshold=parameters.threshold, window=parameters.window, severity_of=severity_of
    )


PATTERN = Pattern(
    id="mass_deletion",
    title="One actor deletes very much",
    severity="high",
    attack=("T1485", "T1531"),
    description="One person or program deleted many accounts or records within half an hour: sabotage, or a "
    "script gone "
    "wrong.",
    false_positives=(
        "A retention job, or a clean-up of test data that was announced.",
        "An administrator who removes the accounts of a department that left.",
    ),
    runbook=(
        "Stop it first: suspend the actor (PUT /admin/users/<key> with status suspended), or revoke the API key.",
        "List what is gone: GET /events?actor=<key>&type=user.delete&type=data.delete, with from=<first_seen>.",
        "Ask the actor's owner who ordered it. If nobody did, restore from backup what the list names.",
        "Let the actor work again, or not, and close the alert with a note of what was restored.",
    ),
    parameters=MassDeletionParameters,
    selectors=(("user.delete", "success"), ("data.delete", "success")),
    key_path="actor.id",
    fields=("actor", "target"),
    matches=_matches,
    key=actor_of,
    crossings=_crossings,
    fact=_fact,
)
