"""What a rule is, and how its findings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from shared.compliance.evidence import Evidence, midnight_of
from shared.compliance.facts.named import Extract, Mark
from shared.compliance.report_model import EventRef, Severity

MOST_FINDINGS = 20
"""Of a rule, by what they are about; the rest is one."""
MOST_EVENTS = 10


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule found about one thing: how often, when first and last, and the first events."""

    text: str
    count: int
    first_seen: str
    last_seen: str
    events: tuple[EventRef, ...] = ()
    owner: str | None = None
    response: str | None = None
    remedied_at: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of running a rule. `missing`: gaps for which it could not be run, or not wholly."""

    found: tuple[Found, ...] = ()
    missing: tuple[str, ...] = ()


NOTHING = Result()

type Run = Callable[[Evidence], Result]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: what it looks for, how bad that is, by which thresholds, and the pure function that looks."""

    id: str
    severity: Severity
    text: str
    run: Run
    parameters: tuple[str, ...] = ()


def rule(rule_id: str, severity: Severity, text: str, *parameters: str) -> Callable[[Run], Rule]:
    """Make a rule of a function. Where it read facts of which something that could matter was left out, it was not run
    wholly, whatever the function makes of it."""

    def made(run: Run) -> Rule:
        def whole(evidence: Evidence) -> Result:
            with evidence.facts.noting() as cut:
                result = run(evidence)
            return replace(result, missing=(*result.missing, "facts")) if cut else result

        return Rule(rule_id, severity, text, whole, parameters)

    return made


def missing(*gaps: str) -> Result:
    """The result of a rule that cannot be run."""
    return Result((), gaps)


def of_marks(count: int, marks: Sequence[Mark], text: str) -> tuple[Found, ...]:
    """Findings of marked events, one for each thing that they are about, as `text` tells (`{about}`, `{of}`, `{size}`:
    of the largest). What is counted but not named is one more."""
    groups: dict[tuple[str, str], list[Mark]] = {}
    for mark in marks:
        groups.setdefault((mark.about, mark.of), []).append(mark)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    found = []
    for (about, of), own in ordered[:MOST_FINDINGS]:
        shown = text.format(about=about or "unnamed", of=of, size=max(mark.size for mark in own))
        found.append(_of(own, shown, len(own)))
    rest = [mark for _, own in ordered[MOST_FINDINGS:] for mark in own]
    left = count - sum(each.count for each in found)
    if left > 0:
        found.append(_of(rest or list(marks), text.format(about="others", of="others", size="various"), left))
    return tuple(found)


def _of(marks: Sequence[Mark], text: str, count: int) -> Found:
    times = [mark.ref.recorded_at if mark.ref else midnight_of(mark.day) for mark in marks]
    refs = tuple(mark.ref for mark in marks if mark.ref)[:MOST_EVENTS]
    return Found(text, count, min(times), max(times), refs)


def of_extracts(extracts: Iterable[Extract], text: Callable[[Extract], str]) -> tuple[Found, ...]:
    """Findings of rare events, one for each text."""
    groups: dict[str, list[Extract]] = {}
    for each in extracts:
        groups.setdefault(text(each), []).append(each)
    found = [
        Found(
            told,
            len(own),
            own[0].at,
            own[-1].at,
            tuple(each.ref for each in own)[:MOST_EVENTS],
            owner=own[0].actor[1],
        )
        for told, own in groups.items()
    ]
    return bounded(found)


def bounded(found: Sequence[Found]) -> tuple[Found, ...]:
    """Findings, the first of them each, the others as one."""
    if len(found) <= MOST_FINDINGS:
        return tuple(found)
    rest = found[MOST_FINDINGS:]
    events = tuple(ref for each in rest for ref in each.events)[:MOST_EVENTS]
    first, last = min(each.first_seen for each in rest), max(each.last_seen for each in rest)
    return (*found[:MOST_FINDINGS], Found("others of the same kind", sum(e.count for e in rest), first, last, events))


def whole_period(evidence: Evidence, text: str, count: int = 1, *, remedied_at: str | None = None) -> tuple[Found, ...]:
    """A finding about the period as a whole."""
    return (Found(text, count, evidence.period.start, evidence.period.end, remedied_at=remedied_at),)


def approval(attributes: Mapping[str, object]) -> bool:
    """Whether a change says who approved it, or by which ticket."""
    return bool(attributes.get("approved_by") or attributes.get("ticket"))
