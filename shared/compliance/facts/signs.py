"""Signs of life over the days of a period and those before it: when sources were heard, and checkpoints signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from shared.compliance.evidence import hours_between, midnight_of
from shared.compliance.facts.midnight import Day
from shared.compliance.facts.named import extract_from
from shared.compliance.facts.parts import DAY_SECONDS

type Source = tuple[int, float, tuple[float, float]]
"""Events of a source, when it was last heard, and its longest silence; in seconds since the first day of the period."""


def sources(lead: Sequence[Day], days: Sequence[Day], place: Mapping[str, int]) -> dict[str, Source]:
    """The sources of days by name. A silence that began in the days before and ended in these is told whole."""
    found: dict[str, Source] = {}
    earlier = _at(lead, place, 2)
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


class Heard(NamedTuple):
    """What there is to tell of sources by name; in seconds since the first day of the period.

    `before`: when those of the days before were last heard. `first`: when those of the period were first heard in it.
    `made`, `revoked`: when API keys were. `since`: from when on it is known what was heard.
    """

    sources: dict[str, Source]
    before: dict[str, float]
    first: dict[str, float]
    made: dict[str, float]
    revoked: dict[str, float]
    since: float


def heard(lead: Sequence[Day], days: Sequence[Day], place: Mapping[str, int], *, is_lead_whole: bool) -> Heard:
    """When sources were heard, in the days of a period and in those before it."""
    return Heard(
        sources(lead, days, place),
        _at(lead, place, 2),
        _at(days[::-1], place, 1),
        _keys((*lead, *days), place, "apikey.create"),
        _keys((*lead, *days), place, "apikey.revoke"),
        min(place.values(), default=0) * DAY_SECONDS if is_lead_whole else 0,
    )


def _keys(days: Sequence[Day], place: Mapping[str, int], kind: str) -> dict[str, float]:
    """When something was done to API keys, by source."""
    told = [(day["day"], day["extracts"].get(kind, {"rows": ()})) for day in days]
    return {
        f"api_key:{each.target}": place[day] * DAY_SECONDS + hours_between(midnight_of(day), each.at) * 3600
        for day, held in told
        for each in (extract_from(day, row) for row in held["rows"])
        if each.ref.outcome == "success"
    }


def _at(days: Sequence[Day], place: Mapping[str, int], which: int) -> dict[str, float]:
    """When sources were heard first (1) or last (2), of several days as the last of them tells."""
    return {
        name: place[day["day"]] * DAY_SECONDS + told[which] for day in days for name, told in day["sources"].items()
    }


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
