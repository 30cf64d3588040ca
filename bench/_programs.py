"""The benchmarks that there are, in the order of a run, and how their figures are shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """One program, `bench/<name>.py`.

    `across`: labels whose values become columns, the first that a figure has; `metric`: what is measured does.
    `standard`: it is part of a run of all. `elsewhere`: the page below docs/ that shows all of its figures.
    """

    name: str
    across: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    standard: bool = True
    elsewhere: str | None = None


PROGRAMS: tuple[Program, ...] = (
    Program("storage"),
    Program("cosmos", across=("metric",)),
    Program("store_budget", elsewhere="scaling.md"),
    Program("requests", across=("call",)),
    Program("mixed", across=("metric",)),
    Program("ingest", across=("batch",)),
    Program("sign_in"),
    Program("ledger", across=("size", "entries", "entry_bytes")),
    Program("privacy"),
    Program("webhooks"),
    Program("proofs"),
    Program("search", across=("metric",)),
    Program("detection", across=("events", "batch")),
    Program("render", across=("metric",)),
    Program("cold_start", across=("imports",)),
    Program("compliance", across=("events",)),
    Program("export", across=("events",), arguments=("--events", "10000", "100000", "--formats", "jsonl")),
    Program("scale", across=("events", "metric"), standard=False),
)
"""Every program of bench/."""
