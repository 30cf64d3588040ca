"""Signs of life over the days of a period and those before it: when sources were heard, and checkpoints signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.compliance.facts.midnight import Day
from shared.compliance.facts.parts import DAY_SECONDS

type Source = tuple[int, float, tuple[float, float]]
"""Events of a source, when it was last heard, and its longest silence; in seconds since the first day of the period."""


def sources(lead: Sequence[Day], days: Sequence[Day], place: Mapping[str, int]) -> dict[str, Source]:
    """The sources of days by name. A silence that began in the days before and ended in these is told whole."""
    found: dict[str, Source] = {}
    earlier = {
        name: place[day["day"]] * DAY_SECONDS + last
        for day in lead
        for name, (_, _, last, *_) in day["sources"].items()
    }
    for day in days:
        start = place[day["day"]] * DAY_SECONDS
        for name, (n, first, last, gap_from, gap_to) in day["sources"].items():
            before = found.get(name)
            gaps = [(start + gap_from, start + gap_to)]
            if before is not None:
                gaps += [before[2], (before[1], start + first)]
            elif name in earlier:
                gaps.append((earlier[name], start + first))
            longest = max(gaps, key=lambda gap: gap[1] - gap[0])
            found[name] = (n + (before[0] if before else 0), start + last, longest)
    return found


def signed_last(days: Sequence[Day]) -> str | None:
    """When the last checkpoint of days was signed (RFC 3339); None where none was."""
    signed = [day["checkpoints"]["last"] for day in days if day.get("checkpoints", {}).get("n")]
    return str(signed[-1]) if signed else None


def checkpoint_gaps(last: str | None, days: Sequence[Day]) -> list[tuple[str, str]]:
    """The longer times between two checkpoints (RFC 3339), also from one day to another, and from the `last` one before
    them."""
    gaps: list[tuple[str, str]] = []
    for day in days:
        signed = day.get("checkpoints")
        if signed is None or not signed["n"]:
            continue
        if last is not None and signed["first"] > last:
            gaps.append((last, signed["first"]))
        gaps += [(since, until) for since, until in signed["gaps"]]
        last = signed["last"]
    return gaps
