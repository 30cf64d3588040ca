"""Signs of life over the days of a period and those before it: when sources were heard, and checkpoints signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Any, NamedTuple

from shared.compliance.evidence import hours_between, midnight_of
from shared.compliance.facts.midnight import Day
from shared.compliance.facts.named import extract_from
from shared.compliance.facts.parts import DAY_SECONDS

_OF_KEYS = ("apikey.create", "apikey.revoke")

type Span = tuple[float, float]
type Source = tuple[int, float, Span]
"""Events of a source, when it was last heard, and its longest silence; in seconds since the first day of the period."""


class Heard(NamedTuple):
    """What there is to tell of sources by name; in seconds since the first day of the period.

    `silences`: those of an hour and more between two events, and the longest of each day, that ended in the period, in
    order. `before`: when those of the days before were last heard. `first`: when those of the period were first heard
    in it. `made`: when API keys were; `ended`: when they were revoked or expired, as far as that is known. `since`:
    from when on it is known what was heard. `hidden`: so many seconds silences may have lasted that are not kept.
    """

    sources: dict[str, Source]
    silences: dict[str, list[Span]]
    before: dict[str, float]
    first: dict[str, float]
    made: dict[str, float]
    ended: dict[str, float]
    since: float
    hidden: float

    def again(self, name: str, after: float) -> float | None:
        """When a source that was silent at a moment was heard again, at the latest; None: not in the period."""
        if name not in self.sources:
            return None
        times = [self.first[name], *(at for span in self.silences[name] for at in span), self.sources[name][1]]
        return min((at for at in times if at > after), default=None)


def heard(
    lead: Sequence[Day],
    days: Sequence[Day],
    place: Mapping[str, int],
    expiring: Mapping[str, str],
    *,
    is_lead_whole: bool,
) -> Heard:
    """When sources were heard, in the days of a period and in those before it. `expiring`: when API keys expire that
    were made before the period (RFC 3339), by id."""
    before, silences = _at(lead, place, 2), dict[str, list[Span]]()
    counts, last = dict[str, int](), dict(before)
    for day in days:
        start = place[day["day"]] * DAY_SECONDS
        for name, (n, first, until, *told) in day["sources"].items():
            own = [(start + a, start + b) for a, b in batched(told, 2, strict=True)]
            if name in last:
                own.append((last[name], start + first))
            silences.setdefault(name, []).extend(sorted(own))
            counts[name] = counts.get(name, 0) + n
            last[name] = start + until
    made, ended = _keys((*lead, *days), place, expiring)
    return Heard(
        sources={name: (n, last[name], max(silences[name], key=_length)) for name, n in counts.items()},
        silences=silences,
        before=before,
        first=_at(days[::-1], place, 1),
        made=made,
        ended=ended,
        since=min(place.values(), default=0) * DAY_SECONDS if is_lead_whole else 0,
        hidden=max((day["silence_left"] for day in days), default=0),
    )


def _length(span: Span) -> float:
    return span[1] - span[0]


def _keys(
    days: Sequence[Day], place: Mapping[str, int], expiring: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, float]]:
    """By source when API keys were made, and when they were revoked or expired, whichever was first."""
    made, ended = dict[str, float](), dict[str, float]()
    for day in days:
        for each in (extract_from(day["day"], row) for kind in _OF_KEYS for row in _rows(day, kind)):
            if each.ref.outcome != "success":
                continue
            name, at = f"api_key:{each.target}", _moment(day["day"], place, each.at)
            if each.ref.type == "apikey.create":
                made[name] = at
                if each.attributes.get("expires_at"):
                    ended[name] = _moment(day["day"], place, str(each.attributes["expires_at"]))
            else:
                ended[name] = min(at, ended.get(name, at))
    some = next(iter(place), "")
    for key, expires_at in expiring.items() if some else ():
        expires = _moment(some, place, expires_at)
        ended[f"api_key:{key}"] = min(expires, ended.get(f"api_key:{key}", expires))
    return made, ended


def _rows(day: Day, kind: str) -> Sequence[Sequence[Any]]:
    rows: Sequence[Sequence[Any]] = day["extracts"].get(kind, {"rows": ()})["rows"]
    return rows


def _moment(day: str, place: Mapping[str, int], at: str) -> float:
    """A time (RFC 3339) as `Heard` has it, told by a day of which the place is known."""
    return place[day] * DAY_SECONDS + hours_between(midnight_of(day), at) * 3600


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
