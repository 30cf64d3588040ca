"""Very many records read or exported by one actor. Order-free by construction: distinct records and what lists hold."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import Field

from shared.detection.engine import Tally, actor_of, crossing, windows
from shared.detection.model import Crossing, Observed, Parameters, Pattern
from shared.storage.documents import Item

_SENSITIVE = frozenset({"phi", "cardholder"})


class BulkDataAccessParameters(Parameters):
    """`threshold` records read or exported within `window_seconds` raise an alert."""

    threshold: int = Field(default=50, ge=5, le=500)
    window_seconds: int = Field(default=900, ge=60, le=3600)


class Access(NamedTuple):
    """One record that was read (`record`), or a number of them (`record` is None)."""

    record: tuple[str, str] | None
    records: int
    sensitive: bool


def _matches(_event: Item) -> bool:
    return True


def _fact(event: Item) -> Access:
    """An export, and a read of several records or of none that it names, is as many as it says, and one at least."""
    target, count = event.get("target"), max(1, event["record_count"])
    sensitive = event["data_class"] in _SENSITIVE
    if event["type"] == "data.export" or target is None or count > 1:
        return Access(None, count, sensitive)
    return Access((target["kind"], target["id"]), 0, sensitive)


def _crossings(observed: Sequence[Observed], parameters: BulkDataAccessParameters) -> Iterator[Crossing]:
    tally = Tally(observed, lambda each: each.fact.record)
    listed, sensitive = [0], [0]
    """How many records lists and exports held, and how many events were sensitive, before each position."""
    for position, since, event in windows(observed, parameters.window):
        tally.move(since, position)
        listed.append(listed[-1] + event.fact.records)
        sensitive.append(sensitive[-1] + event.fact.sensitive)
        distinct = len(tally.held) - (None in tally.held)
        if distinct + listed[-1] - listed[since] >= parameters.threshold:
            yield crossing(observed, since, position, "high" if sensitive[-1] > sensitive[since] else "medium")


PATTERN = Pattern(
    id="bulk_data_access",
    title="One actor reads very much",
    severity="medium",
    attack=("T1087", "T1530", "T1567"),
    description="One person or program read or exported many different records within a few minutes; high where "
    "health or "
    "cardholder data is among them.",
    false_positives=(
        "A report, a backup or an integration that reads everything as it should: put its account on the allow-list.",
        "A person who works through a list, record by record.",
    ),
    runbook=(
        "See what was read: GET /events?actor=<key>&type=data.read&type=data.export&type=user.view, with from "
        "and to around "
        "first_seen and last_seen.",
        "Ask the actor's owner what it was for. If nobody knows, suspend the account or revoke the API key.",
        "Where personal, health or cardholder data left the house, record it: PUT /alerts/{id}/incident. Deadlines of "
        "notification begin when you become aware.",
        "Close the alert with a note of the purpose, or of what was reported.",
    ),
    parameters=BulkDataAccessParameters,
    selectors=(("user.view", "success"), ("data.read", "success"), ("data.export", "success")),
    key_path="actor.id",
    fields=("actor", "target", "record_count", "data_class"),
    matches=_matches,
    key=actor_of,
    crossings=_crossings,
    fact=_fact,
)
