"""What the figures are held to: every aim once, by the figure that tells whether it is met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench._history import Figure, Run
from bench.mixed import LEAK_MIB_PER_MINUTE, MIX, P99_AIMS_MS, RATE_AIM

COMMONEST = ("newest", "type", "actor", "e-mail", "address", "failed sign-ins of 100 days")


@dataclass(frozen=True, slots=True)
class Aim:
    """An aim on figures of one program: each of them is to be at least or at most a bound.

    `labels`: which of the metric's figures are meant, by label and value, or values.
    """

    text: str
    program: str
    metric: str
    labels: Mapping[str, str | int | Sequence[str | int]] = field(default_factory=dict)
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"{self.text}: an aim has one bound")

    def figures(self, run: Run) -> list[Figure]:
        """The figures of a run that are meant."""
        return [each for each in run.figures if each.metric == self.metric and self._is_meant(each)]

    def _is_meant(self, figure: Figure) -> bool:
        for name, wanted in self.labels.items():
            values = (wanted,) if isinstance(wanted, str | int) else wanted
            if figure.labels.get(name) not in values:
                return False
        return True

    def farthest(self, figures: Sequence[Figure]) -> Figure:
        """Of the figures that are meant the one that is the worst."""
        return (max if self.at_least is None else min)(figures, key=lambda each: each.value)

    def is_met(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0.0)


AIMS: tuple[Aim, ...] = (
    Aim(
        "audited `GET /profile` at least 0.5 of a bare function, 32 connections",
        "requests",
        "share_of_bare",
        {"call": "profile"},
        at_least=0.5,
    ),
    Aim("its p99 at most 50 ms", "requests", "latency_p99", {"call": "profile"}, at_most=50),
    Aim(
        f"mixed traffic for five minutes at least {RATE_AIM:,.0f} requests a second",
        "mixed",
        "requests_per_second",
        at_least=RATE_AIM,
    ),
    Aim("without an error", "mixed", "error_rate", at_most=0),
    *(
        Aim(
            f"p99 of each {what} of it at most {bound:,.0f} ms",
            "mixed",
            "latency_p99",
            {"kind": tuple(kind for kind in MIX if kind.startswith(what))},
            at_most=bound,
        )
        for what, bound in P99_AIMS_MS.items()
    ),
    Aim(
        f"its server grows by at most {LEAK_MIB_PER_MINUTE:g} MiB a minute",
        "mixed",
        "server_rss_growth",
        at_most=LEAK_MIB_PER_MINUTE,
    ),
    Aim("importing the app at most 1.3 of its unavoidable imports", "cold_start", "ratio_to_floor", at_most=1.3),
    Aim(
        "p50 of a search at most doubles from 10,000 events to 1,000,000, the six commonest",
        "search",
        "growth",
        {"filter": COMMONEST, "level": "domain"},
        at_most=2,
    ),
    Aim("so does its CPU", "search", "growth_cpu", {"filter": COMMONEST, "level": "domain"}, at_most=2),
    Aim(
        "their p99 at most 30 ms at 1,000,000",
        "search",
        "latency_p99",
        {"filter": COMMONEST, "level": "domain"},
        at_most=30,
    ),
    Aim(
        "a search, proof, report, detection or batch to seal asks the store at most 1.5 times as often as in a trail a "
        "hundredth as long",
        "scale",
        "growth_calls",
        at_most=1.5,
    ),
    Aim(
        "and takes at most twice the CPU, by that of a fixed piece of work",
        "scale",
        "growth_cpu_to_reference",
        at_most=2,
    ),
    Aim("the memory of a process that does all of it at most 1.5 times", "scale", "growth_peak_rss", at_most=1.5),
    Aim(
        "peak memory of an export's server at most 1.25 times for ten times the events",
        "export",
        "server_peak_rss_growth",
        at_most=1.25,
    ),
    Aim(
        "p99 of `GET /profile` beside 8 sign-ins at most 3 times what it is alone",
        "sign_in",
        "profile_p99_ratio",
        at_most=3,
    ),
    Aim("single events at least 2,000 a second", "ingest", "events_per_second", {"batch": "1"}, at_least=2_000),
    Aim("in batches of 500 at least 10,000 a second", "ingest", "events_per_second", {"batch": "500"}, at_least=10_000),
    Aim(
        "sealing a box at most 3 times bare AES-GCM of the same bytes",
        "privacy",
        "box_seal_to_raw",
        {"of": "sign-in"},
        at_most=3,
    ),
    Aim("opening one at most 3 times", "privacy", "box_open_to_raw", {"of": "sign-in"}, at_most=3),
    Aim("ingest with sealing at least 0.8 of ingest without", "privacy", "ingest_sealed_to_unsealed", at_least=0.8),
    Aim(
        "appending to the ledger's tree at least 0.6 of what plain hashlib does",
        "ledger",
        "append_to_floor",
        at_least=0.6,
    ),
    Aim("with root and tiles for every hundred at least 0.6", "ledger", "seal_to_floor", at_least=0.6),
    Aim("the engine of detection at least 100,000 events a second of CPU", "detection", "engine", at_least=100_000),
    Aim("5 failures over 14 minutes are always caught", "detection", "low_and_slow", at_least=100),
    Aim("a report at most 200 ms", "compliance", "report", at_most=200),
    Aim("its CPU at most doubles from 10,000 events of a month to 100,000", "compliance", "report_growth", at_most=2),
)
"""Every aim, in the order of the page."""
