"""Rules on data: what left, what was used after erasure or withdrawal, what changed without a trace, and requests."""

from __future__ import annotations

from math import inf

from shared.compliance.evidence import Evidence, RequestRow
from shared.compliance.facts.data_use import AFTER_WITHDRAWAL, DOUBTED
from shared.compliance.rules.model import NOTHING, Found, Result, bounded, missing, of_marks, rule

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
    """Requests that were due and open, or answered too late; the register keeps when each is due."""
    if evidence.requests is None:
        return missing("requests")
    late = [each for each in evidence.requests if is_late(each, evidence.period.end)]
    return Result(bounded([_late(each) for each in late]))


def is_late(request: RequestRow, end: str) -> bool:
    """Whether a request was answered after it was due, or should have been by then."""
    return request.state != "withdrawn" and request.due_at < (request.answered_at or end)


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
    """Executed requests of which the trail has no erasure or export."""
    if evidence.requests is None:
        return missing("requests")
    acts = evidence.facts.extracts("privacy.erasure", "privacy.export")
    if evidence.facts.lacks("privacy.erasure", "privacy.export"):
        return NOTHING  # what was done may be among what is not kept: that it was read is a gap of its own
    acted = {
        each.attributes.get("request_id")
        for each in acts
        if each.ref.type == "privacy.export" or each.reason in ("executed", "replayed")
    }
    start, end = evidence.period.start, evidence.period.end
    empty = [
        each
        for each in evidence.requests
        if each.state == "executed"
        and start <= (each.answered_at or "") < end
        and each.id not in acted
        and each.subject not in {act.target for act in acts}
    ]
    return Result(
        bounded([Found(f"Request {e.id} was closed, and nothing was done", 1, e.received_at, e.due_at) for e in empty])
    )


RULES = (exports, erased, withdrawn, told_whom, told_change, answered, done)
