"""Rules on the trail itself: whole, in time, from every source, never silent, kept as long as it has to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shared.compliance.evidence import Evidence, hours_between, moment_after
from shared.compliance.facts.signs import Heard, Span
from shared.compliance.rules.model import (
    NOTHING,
    Found,
    Result,
    bounded,
    missing,
    of_extracts,
    of_marks,
    rule,
    whole_period,
)
from shared.core.clock import period_end

_DAYS_OF_YEAR = 366
_OWN_STATES = frozenset({"checkpoint", "unbroken"})
_COMPLETENESS = frozenset({"counted", "facts", "chained"})


def _failed(evidence: Evidence, checks: frozenset[str]) -> list[str]:
    return [f"{each.title}: {each.detail}" for each in evidence.gate.checks if each.id in checks and not each.passed]


@rule("INT-01", "critical", "A check of the ledger failed in the period, or fails now")
def verified(evidence: Evidence) -> Result:
    """Recorded failures, and what the gate finds."""
    recorded = of_extracts(
        evidence.facts.extracts("ledger.verify_failed"),
        lambda each: f"A check failed: {each.attributes.get('what')} in {each.attributes.get('period')}",
    )
    now = [found for text in _failed(evidence, _OWN_STATES) for found in whole_period(evidence, text)]
    return Result((*recorded, *now))


@rule("INT-02", "critical", "The sealed sequence is not whole: what is sealed, counted and folded differs")
def whole(evidence: Evidence) -> Result:
    """What the gate finds about completeness."""
    return Result(tuple(f for text in _failed(evidence, _COMPLETENESS) for f in whole_period(evidence, text)))


@rule(
    "INT-03",
    "high",
    "Longer than allowed between two signed checkpoints while events were sealed",
    "checkpoint_max_interval_minutes",
)
def signed_often(evidence: Evidence) -> Result:
    """Times without a checkpoint in which there were hours with events: between two, and before the first of the
    period and after its last one. What was sealed at the very end is signed after it."""
    allowed = timedelta(minutes=evidence.at_least("checkpoint_max_interval_minutes"))
    end = evidence.period.end
    found = [
        Found(
            f"No checkpoint for {int(hours_between(since, until) * 60)} minutes",
            1,
            max(since, evidence.period.start),
            until,
            remedied_at=until if until < end else None,
        )
        for since, until in (*_at_the_edges(evidence), *evidence.facts.checkpoint_gaps)
        if _moment(until) - _moment(since) > allowed
        and evidence.facts.has_events_between(_moment(since), _moment(until) - allowed)
    ]
    return Result(bounded(found))


def _at_the_edges(evidence: Evidence) -> list[tuple[str, str]]:
    """From the last checkpoint before the period, or from its beginning, to its first one, and from its last one to its
    end. The first of these is among the gaps where there is one before."""
    signed = [each["checkpoints"] for each in evidence.facts.documents if each.get("checkpoints", {}).get("n")]
    before, start, end = evidence.facts.signed_before, moment_after(evidence.period.start, -1), evidence.period.end
    if not signed:
        return [(before or start, end)]
    last = (signed[-1]["last"], end)
    return [last] if before else [(start, signed[0]["first"]), last]


@rule("INT-04", "high", "An entry lacks who, what, when, how it ended, from where, or what it was about")
def complete(evidence: Evidence) -> Result:
    """Incomplete entries."""
    return Result(of_marks(*evidence.facts.marked("incomplete"), "Incomplete entries of type {of}"))


@rule("INT-05", "medium", "Recorded much later than it happened, or out of order", "ingest_delay_minutes")
def in_time(evidence: Evidence) -> Result:
    """Late entries, and recorded times that run backwards."""
    late = of_marks(
        *evidence.facts.marked("late", evidence.at_least("ingest_delay_minutes")), "Recorded {size} minutes late"
    )
    return Result((*late, *of_marks(*evidence.facts.marked("backwards"), "Recorded time goes back by {size} seconds")))


@rule("INT-06", "high", "An expected source was silent for too long", "source_silence_hours")
def heard(evidence: Evidence) -> Result:
    """Silences of the sources that are expected: those that the organization named. Where it said nothing, API keys
    that sent events are looked at until they end, and that says nothing of those that were never heard."""
    seen, named = evidence.facts.heard, evidence.policies.sources
    unknown = ("sources",) if named is None else ()
    keys = (name for name in sorted({*seen.sources, *seen.before}) if name.startswith("api_key:"))
    silences = {name: _silences(evidence, name, seen) for name in (keys if named is None else named)}
    found = [_silence(evidence, name, span, seen) for name, spans in silences.items() for span in spans]
    found += _told(evidence, seen, silences)
    if not silences and not found:  # the service itself is the only source, and its own signs of life are looked at
        return missing("sources") if evidence.operations is None else Result((), unknown)
    found.sort(key=lambda each: each.remedied_at is not None)  # what goes on is named first
    is_cut = any(_is_silence_cut(evidence, name, seen) for name in silences) or seen.hidden > _bounds(evidence)[0]
    return Result(bounded(found), (*unknown, "facts") if is_cut else unknown)


def _bounds(evidence: Evidence) -> tuple[float, float, float]:
    """How long a silence may be, when the organization began, and when the period ends; the latter in seconds since its
    start."""
    start = _moment(evidence.period.start)
    began, end = (_moment(at) - start for at in (evidence.organization.enrolled_at, evidence.period.end))
    return evidence.at_least("source_silence_hours") * 3600, began.total_seconds(), end.total_seconds()


def _is_silence_cut(evidence: Evidence, name: str, seen: Heard) -> bool:
    """Whether a silence may be too long that began before anything is known of: so long a one is allowed."""
    if evidence.policies.sources is None or name in seen.before or name in seen.made or seen.since >= 0:
        return False
    allowed, began, end = _bounds(evidence)
    return began < seen.since and seen.first.get(name, end) - seen.since <= allowed


def _silences(evidence: Evidence, name: str, seen: Heard) -> list[Span]:
    """Of a source the silences that are too long, of which some is in the period. Before a source was first heard it
    is silent since the organization began, or its key was made, or from when on it is known."""
    allowed, began, end = _bounds(evidence)
    since = seen.before.get(name, max(began, seen.since, seen.made.get(name, seen.since)))
    is_named = evidence.policies.sources is not None
    if not is_named:  # once the key has ended nobody expects it any more
        end = min(end, seen.ended.get(name, end))
    if end <= 0:
        return []
    last = seen.sources[name][1] if name in seen.sources else since
    spans = [*seen.silences.get(name, ()), (last, end)]
    if is_named and name in seen.first and name not in seen.before:
        spans.insert(0, (since, seen.first[name]))
    return [span for span in spans if span[1] - span[0] > allowed]


def _silence(evidence: Evidence, name: str, span: Span, seen: Heard) -> Found:
    start, end = evidence.period.start, evidence.period.end
    silent, until = span
    first, back = moment_after(start, max(0, silent)), moment_after(start, until)
    if name not in seen.sources and name not in seen.before:
        return Found(f"Source {name} was not heard at all", 1, first, back)
    least = "at least " if silent == seen.since > _bounds(evidence)[1] else ""
    text = f"Source {name} was silent for {least}{int((until - silent) // 3600)} hours"
    return Found(text, 1, first, back, remedied_at=back if back < end else None)


def _told(evidence: Evidence, seen: Heard, silences: Mapping[str, Sequence[Span]]) -> Iterator[Found]:
    """What the service itself said of sources that fell silent, where that is not among their silences: of those that
    are expected, or of any, where the organization said nothing."""
    is_named = evidence.policies.sources is not None
    for each in evidence.facts.extracts("system.error"):
        name = f"{each.attributes.get('source')}:{each.target}"
        if each.attributes.get("error_code") != "source_silent" or (is_named and name not in silences):
            continue
        at = (_moment(each.at) - _moment(evidence.period.start)).total_seconds()
        if any(silent <= at <= until for silent, until in silences.get(name, ())):
            continue
        times = (seen.again(name, at), None if is_named else seen.ended.get(name))
        over = min((time for time in times if time is not None and time > at), default=None)
        remedied = None if over is None else moment_after(evidence.period.start, over)
        if remedied is not None and remedied >= evidence.period.end:
            remedied = None
        text = f"Source {name} fell silent"
        yield Found(text, 1, each.at, each.at, (each.ref,), owner=each.actor[1], remedied_at=remedied)


@rule("INT-07", "critical", "The trail could not be written for a time")
def never_off(evidence: Evidence) -> Result:
    """Outages of the writer; alerts tell operators of them, and leave nothing in the trail."""
    if evidence.operations is None:
        return missing("operations")
    found = [
        Found(f"{each.source}: the trail could not be written", 1, each.since, each.until, remedied_at=each.until)
        for each in evidence.operations.outages
    ]
    return Result(bounded(found))


@rule("INT-08", "critical", "A check of the ledger failed and no alert tells of it")
def alerted(evidence: Evidence) -> Result:
    """Failures without an alert."""
    failures = evidence.facts.extracts("ledger.verify_failed")
    if not failures:
        return NOTHING
    if evidence.alerts is None:
        return missing("alerts")
    silent = [each for each in failures if not evidence.is_alerted({"ledger_integrity"}, {each.ref.event_id})]
    return Result(of_extracts(silent, lambda each: f"No alert: {each.attributes.get('what')}"))


@rule(
    "RET-01",
    "critical",
    "Less is kept than has to be",
    "pci_log_retention_months",
    "hipaa_documentation_years",
)
def kept(evidence: Evidence) -> Result:
    """The retention in force against what the framework asks for, and the oldest month that is there."""
    state, found = evidence.ledger, list[Found]()
    wanted = {
        "pci_dss": evidence.at_least("pci_log_retention_months") * 31,
        "hipaa": evidence.at_least("hipaa_documentation_years") * _DAYS_OF_YEAR,
    }.get(evidence.framework, 0)
    if state.retention_days < wanted:
        found += whole_period(evidence, f"{state.retention_days} days are kept, {wanted} are asked for")
    due = max(evidence.organization.enrolled_at[:7], _oldest(evidence))
    if state.oldest_month is None or state.oldest_month > due:
        found += whole_period(evidence, f"The oldest month is {state.oldest_month}, and should be {due}")
    return Result(tuple(found))


def _oldest(evidence: Evidence) -> str:
    """The first month that should be kept at the end of the period."""
    month = evidence.end.date().replace(day=1)
    end = evidence.end.timestamp()
    while period_end(month.isoformat()[:7]) + evidence.ledger.retention_days * 86_400 > end:
        month = (month - timedelta(days=1)).replace(day=1)
        if month.year < 2000:
            break
    return (month + timedelta(days=32)).isoformat()[:7]


@rule("RET-02", "high", "Events were gone before their retention was over")
def not_removed(evidence: Evidence) -> Result:
    """What the continuous check found deleted."""
    gone = [e for e in evidence.facts.extracts("ledger.verify_failed") if e.attributes.get("what") == "deleted"]
    return Result(of_extracts(gone, lambda each: f"Events of {each.attributes.get('period')} were deleted"))


@rule("RET-03", "medium", "Events are kept past their retention, and no hold says why")
def let_go(evidence: Evidence) -> Result:
    """Months that are over their retention and still there."""
    months = () if evidence.policies.legal_hold else evidence.ledger.kept_past
    return Result(tuple(f for month in months for f in whole_period(evidence, f"{month} is kept past its retention")))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


RULES = (
    *(verified, whole, signed_often, complete, in_time, heard, never_off, alerted),
    *(kept, not_removed, let_go),
)
