"""Rules on data: what left, what was used after erasure or withdrawal, what changed without a trace, and requests."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from shared.compliance.evidence import Act, Evidence, RequestRow
from shared.compliance.facts.data_use import AFTER_WITHDRAWAL, DOUBTED, ERASED
from shared.compliance.rules.model import Found, Result, bounded, missing, of_marks, rule

ANSWERS = _ERASURE, _EXPORT = "privacy.erasure", "privacy.export"
_BULK = frozenset({"bulk_data_access"})


@rule("DATA-01", "high", "A large export with no reason and no acknowledged alert", "bulk_export_records")
def exports(evidence: Evidence) -> Result:
    """Exports above the threshold without purpose, reason or ticket."""
    marks = evidence.facts.each_marked("bulk", evidence.at_least("bulk_export_records"))
    told = [
        each for each in marks if not (each.ref and evidence.is_alerted(_BULK, {each.ref.event_id}, seen_within=inf))
    ]
    return Result(of_marks(len(told), told, "{about} exported {size} records"))


@rule("DATA-02", "high", "Data of somebody was used after the person was erased")
def erased(evidence: Evidence) -> Result:
    """Reads and changes of erased persons' data."""
    return Result(of_marks(*evidence.facts.used_after("erased", "touched", "after_erasure"), "Used after an erasure"))


@rule("DATA-03", "high", "Data was used on a consent that had been withdrawn")
def withdrawn(evidence: Evidence) -> Result:
    """Uses whose legal basis is consent. Where no use says so there is nothing to look at. Uses for what was withdrawn,
    after it was, whose basis is not said or not known, may have been on just that."""
    facts = evidence.facts
    if not facts.total("based_on_consent"):
        return missing("G11")
    found = of_marks(*facts.used_after("withdrawn", "relied", AFTER_WITHDRAWAL), "Used after a withdrawal")
    doubted, _ = facts.used_after("withdrawn", "doubtful", DOUBTED)
    return Result(found, ("basis",) if doubted else ())


@rule("DATA-04", "medium", "An export without recipient or purpose")
def told_whom(evidence: Evidence) -> Result:
    """Exports that do not say to whom or what for."""
    return Result(of_marks(*evidence.facts.marked("without_purpose"), "{about} exported {of} data, and not what for"))


@rule("DATA-05", "medium", "A change of a sensitive record without before and after, or a reason")
def told_change(evidence: Evidence) -> Result:
    """Updates and deletions that carry neither sealed values nor a reason."""
    return Result(of_marks(*evidence.facts.marked("without_change"), "{about} changed {of} records without a trace"))


@rule(
    "DSR-01", "high", "A request of a person was not answered in time", "gdpr_response_months", "gdpr_extension_months"
)
def answered(evidence: Evidence) -> Result:
    """Requests that were due and open, or answered too late; the register keeps when each is due. One that was taken
    back once it was overdue was late all the same."""
    if evidence.requests is None:
        return missing("requests")
    late = [each for each in evidence.requests if is_late(each, evidence.period.end)]
    return Result(bounded([_late(each) for each in late]))


def is_late(request: RequestRow, end: str) -> bool:
    """Whether a request was answered, or withdrawn, after it was due, or should have been answered by then."""
    if request.state == "withdrawn" and request.answered_at is None:
        return False
    return request.due_at < (request.answered_at or end)


def _late(request: RequestRow) -> Found:
    until = request.answered_at or request.due_at
    return Found(
        f"Request {request.id} ({request.kind}) was due on {request.due_at[:10]}",
        1,
        request.due_at,
        until,
        response=request.state,
        remedied_at=request.answered_at,
    )


@rule("DSR-02", "high", "A request was closed as done, and nothing was done")
def done(evidence: Evidence) -> Result:
    """Executed requests of which the trail has no erasure, or export, of that person since."""
    if evidence.requests is None:
        return missing("requests")
    told = [
        Found(f"Request {e.id} was closed, and nothing was done", 1, e.received_at, e.due_at) for e in undone(evidence)
    ]
    return Result(bounded(told))


def undone(evidence: Evidence) -> list[RequestRow]:
    """The requests that were closed as done in the period, and for which nothing is known to have been done. None where
    what was done may be among what is not kept: that this was read is a gap of its own."""
    told = [
        (each.ref.type, each.attributes.get("request_id"), each.target, each.at)
        for each in evidence.facts.extracts(*ANSWERS)
        if was_done(each.ref.type, each.ref.outcome, each.reason)
    ]
    if evidence.facts.lacks(*ANSWERS):
        return []
    requests, persons = _done_of((*told, *evidence.acts_around))
    start, end = evidence.period.start, evidence.period.end
    return [
        each
        for each in evidence.requests or ()
        if each.state == "executed"
        and start <= (each.answered_at or "") < end
        and (answer_to(each), each.id) not in requests
        and persons.get((answer_to(each), each.subject), "") < each.received_at
    ]


def answer_to(request: RequestRow) -> str:
    """The type of the event by which a request is done."""
    return _ERASURE if request.kind == "erasure" else _EXPORT


def was_done(kind: str, outcome: str, reason: str | None) -> bool:
    """Whether an event of this kind is what a person asked for, and not a step on the way, or a failure."""
    return outcome == "success" and (kind == _EXPORT or reason in ERASED)


def _done_of(acts: Iterable[Act]) -> tuple[set[tuple[str, object]], dict[tuple[str, str | None], str]]:
    """What was done, as types of events: for which requests, and for whom, with the last time."""
    requests, persons = set[tuple[str, object]](), dict[tuple[str, str | None], str]()
    for kind, request_id, person, at in acts:
        requests.add((kind, request_id))
        persons[kind, person] = max(at, persons.get((kind, person), ""))
    return requests, persons


RULES = (exports, erased, withdrawn, told_whom, told_change, answered, done)
