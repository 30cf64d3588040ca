"""What a run has to say: a table to read, JSON to keep."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tests.chaos.campaign import Outcome


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Everything, in plain values."""
    return {
        "format": "kraftd-chaos/1",
        "seed": outcomes[0].seed,
        "lost": sum(each.lost for each in outcomes),
        "campaigns": [_campaign(each) for each in outcomes],
    }


def _campaign(outcome: Outcome) -> dict[str, Any]:
    tally = outcome.tally
    return {
        "store": outcome.place,
        "notes": outcome.notes,
        "seconds": round(outcome.seconds, 1),
        "faults": {
            kind: {"injected": number, "survived": tally.survived[kind]}
            for kind, number in sorted(tally.faults.items())
        },
        "not_injected": outcome.not_injected,
        "calls_hit": dict(sorted(tally.calls.items())),
        "requests": dict(sorted(outcome.requests.items())),
        "starts": outcome.starts,
        "events": outcome.events,
        "alerts": outcome.alerts,
        "ledgers": outcome.ledgers,
        "lost": outcome.lost,
        "findings": [asdict(finding) for finding in outcome.findings],
    }


def as_table(outcomes: Sequence[Outcome]) -> str:
    """For people: Markdown, of fixed width where it is read on a terminal."""
    return "\n\n".join(_table(each) for each in outcomes) + "\n"


def _table(outcome: Outcome) -> str:
    tally, told = outcome.tally, outcome.requests
    rows = [(kind, str(number), str(tally.survived[kind])) for kind, number in sorted(tally.faults.items())]
    rows.append(("**all**", str(tally.faults.total()), str(tally.survived.total())))
    heading = ("fault", "injected", "survived")
    width = max(len(row[0]) for row in (*rows, heading))
    lines = [
        f"**{outcome.place}**, seed {outcome.seed}, {outcome.seconds:.0f} s; {outcome.notes}.",
        "",
        f"| {heading[0]:<{width}} | {heading[1]} | {heading[2]} |",
        f"|{'-' * (width + 2)}|---------:|---------:|",
        *(f"| {kind:<{width}} | {injected:>8} | {survived:>8} |" for kind, injected, survived in rows),
        "",
        *([f"**Not injected: {', '.join(outcome.not_injected)}.**"] if outcome.not_injected else []),
        f"Single calls and deliveries that were hit: {_listed(tally.calls)}.",
        f"Requests: {_listed(told)}; {told.total():,} in all. Starts of the app: {outcome.starts}.",
        f"In the end: {outcome.events:,} events in {outcome.ledgers} ledgers, {outcome.alerts} alerts."
        f" **Lost: {outcome.lost}.**",
        *(f"- {finding.check}: {finding.detail}" for finding in outcome.findings),
    ]
    return "\n".join(lines)


def _listed(counts: Any) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(counts.items())) or "none"
