"""Events as facts name them: those that a rule looks for, and rare ones with what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.compliance.facts.parts import Ref
from shared.compliance.report_model import EventRef


@dataclass(frozen=True, slots=True)
class Mark:
    """An event that a rule looks for. `ref` None: it is known of the day alone. `size`: what a threshold judges.

    `failure`: the id of the last failure before it.
    """

    day: str
    ref: EventRef | None
    size: int = 1
    about: str = ""
    of: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Extract:
    """A rare event as facts keep it."""

    ref: EventRef
    reason: str | None
    actor: tuple[str, str | None, str | None]
    target: str | None
    target_kind: str | None
    subjects: tuple[str, ...]
    data_class: str
    records: int
    origin: str
    is_sealed: bool
    attributes: Mapping[str, Any]

    @property
    def at(self) -> str:
        """When it was recorded."""
        return self.ref.recorded_at


def event_ref(day: str, ref: Ref) -> EventRef:
    """The reference that a report shows."""
    index, event_id, at, kind, outcome = ref
    return EventRef(day[:7], int(index), event_id, at, kind, outcome)


def mark_of(day: str, row: Sequence[Any]) -> Mark:
    """A mark, as `Marks` keeps it."""
    *ref, size, about, of, failure = row
    return Mark(day, event_ref(day, ref), size, about, of, failure)


def extract_from(day: str, row: Sequence[Any]) -> Extract:
    """An extract, as `extract_of` made it."""
    ref, reason, kind, actor_id, role, target_kind, target, subjects, data_class, records, origin, sealed, given = row
    return Extract(
        ref=event_ref(day, ref),
        reason=reason,
        actor=(kind, actor_id, role),
        target=target,
        target_kind=target_kind,
        subjects=tuple(subjects),
        data_class=data_class,
        records=records,
        origin=origin,
        is_sealed=sealed,
        attributes=given,
    )
