"""The ledger does not hold: what is stored is not what was sealed. Order-free by construction: every finding crosses.

Not one of the eight threat patterns, which watch what people do: it turns what the ledger's own check found into an
alert like theirs (docs/adr/0028).
"""

from collections.abc import Iterator, Sequence

from pydantic import Field

from shared.detection.engine import crossing, target_of, windows
from shared.detection.model import Crossing, Observed, Parameters, Pattern
from shared.storage.documents import Item


class LedgerIntegrityParameters(Parameters):
    """Every finding about a month raises an alert; findings less than `window_seconds` apart are one."""

    window_seconds: int = Field(default=3600, ge=60, le=86_400)


def _matches(_event: Item) -> bool:
    return True


def _crossings(observed: Sequence[Observed], parameters: LedgerIntegrityParameters) -> Iterator[Crossing]:
    for position, since, _ in windows(observed, parameters.window):
        yield crossing(observed, since, position, "critical")


PATTERN = Pattern(
    id="ledger_integrity",
    title="The audit trail was tampered with",
    severity="critical",
    attack=("T1565.001", "T1070"),
    description="The check of the ledger found that stored events, or the ledger itself, are not what was sealed: "
    "something was changed, deleted, moved in time or put there afterwards, past the application.",
    false_positives=(
        "A database that was set back to an older backup: what was sealed after the backup is missing.",
        "An outage of more than a day: what a crash had left unpublished is stored late (`inserted_behind`).",
        "An operator who repaired or removed items of the trail by hand.",
    ),
    runbook=(
        "See what was found: GET /events?type=ledger.verify_failed, with from and to around first_seen and last_seen. "
        "`what` says what does not hold, `period` and `index` where.",
        "Keep evidence before anything is repaired: GET /ledger/bundle for the month, the database's own log, and the "
        "checkpoints that others hold. Check the bundle with tools/verify_evidence.py and --since.",
        "Find who can write to the database and did: its diagnostic log, and the keys and roles that are allowed to.",
        "Take their access away, rotate the keys of the store, and record the incident: PUT /alerts/{id}/incident.",
    ),
    parameters=LedgerIntegrityParameters,
    selectors=(("ledger.verify_failed", "failure"),),
    key_path="target.id",
    fields=("target",),
    matches=_matches,
    key=target_of,
    crossings=_crossings,
    settable=False,  # whoever tampers could otherwise hide that it was found
)
