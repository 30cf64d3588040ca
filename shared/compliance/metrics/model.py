"""What a metric is, and what several of them reckon with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from shared.compliance.evidence import Evidence
from shared.compliance.report_model import Cell, Metric

type Measure = Callable[[Evidence], Cell]


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric: what it is called, its unit, and the pure function that has it. None: it could not be had."""

    id: str
    title: str
    unit: str
    measure: Measure

    def of(self, evidence: Evidence) -> Metric:
        """The figure for a report."""
        return Metric(self.id, self.title, self.measure(evidence), self.unit)


def counted(metric_id: str, title: str, selectors: str) -> Measured:
    """How many events some selectors mean."""
    return Measured(metric_id, title, "events", lambda evidence: evidence.facts.count(selectors))


def marked(metric_id: str, title: str, kind: str, threshold: str | None = None, least: int = 1) -> Measured:
    """How many events are marked so, by a threshold where there is one."""

    def measure(evidence: Evidence) -> Cell:
        size = least if threshold is None else evidence.at_least(threshold)
        return evidence.facts.marked(kind, size)[0]

    return Measured(metric_id, title, "events", measure)


def shown(value: float) -> int | float:
    """A figure to two digits, as a whole number where it is one."""
    rounded = round(value, 2)
    return int(rounded) if rounded == int(rounded) else rounded


def spread(values: Sequence[float]) -> Cell:
    """Median, 95th percentile and largest of some values; None without any."""
    if not values:
        return None
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"median {shown(median(ordered))}, p95 {shown(high)}, max {shown(ordered[-1])}"


def told(counts: dict[str, int]) -> Cell:
    """Counts by name, as one text."""
    return ", ".join(f"{name}: {n}" for name, n in sorted(counts.items())) or "none"
