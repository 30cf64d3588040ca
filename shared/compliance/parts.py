"""Reports as they are stored: a head that tells of them, and their JSON in parts that every store takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from uuid import UUID, uuid5

from pydantic import TypeAdapter

from shared.compliance.kinds import COMPLIANCE as KIND
from shared.compliance.render.json import FORMAT
from shared.compliance.report_model import Report
from shared.core.canonical import canonical
from shared.storage.documents import Item

PART_KIND = "report_part"
PART_BYTES = 700_000
"""Of text in one part: with every character escaped it stays below 1.5 MB."""
_NAMES = UUID("5d7d0b0e-9a50-5f0e-8e43-6a5d35a1c402")
_REPORT: TypeAdapter[Report] = TypeAdapter(Report)


def report_id(tenant_id: str, framework: str, from_day: str, to_day: str, *, edition: int = 0) -> str:
    """The id of the report of a framework and period: the same for whoever builds it. `edition`: how many there were
    before, each of which could not be relied on for want of a check."""
    named = (tenant_id, framework, from_day, to_day, *([str(edition)] if edition else []))
    return str(uuid5(_NAMES, "\n".join(named)))


def encode(report: Report) -> bytes:
    """A report as its published JSON (`render/json.py`), several times as quickly; a test holds the two together."""
    told = {"format": FORMAT, **_REPORT.dump_python(report, mode="json")}
    for chart in told["charts"]:
        for series in chart["series"]:  # whole numbers as such, as the canonical form has them: that is the quicker way
            series["values"] = [int(each) if each.is_integer() else each for each in series["values"]]
    return canonical(told)


def decode(text: bytes | str) -> Report:
    """The inverse of `encode`. ValidationError for anything else."""
    return _REPORT.validate_json(text)


def digest_of(text: bytes) -> str:
    """SHA-256 of a report's JSON, hex."""
    return hashlib.sha256(text).hexdigest()


def part_prefix(wanted: str) -> str:
    """What the ids of all parts of a report begin with."""
    return f"part|{wanted}|"


def part_id(wanted: str, digest: str, number: int) -> str:
    """The id of a part; each build has parts of its own, so that of two at once none mixes with the other."""
    return f"{part_prefix(wanted)}{digest[:16]}|{number:04}"


def parts_of(tenant_id: str, wanted: str, text: bytes) -> Iterator[Item]:
    """The parts of a report's JSON, cut between characters."""
    digest = digest_of(text)
    start = number = 0
    while start < len(text):
        end = min(start + PART_BYTES, len(text))
        while end < len(text) and text[end] & 0xC0 == 0x80:
            end -= 1
        yield {
            "id": part_id(wanted, digest, number),
            "tenant_id": tenant_id,
            "kind": PART_KIND,
            "text": text[start:end].decode(),
        }
        start, number = end, number + 1


def head_of(report: Report, text: bytes, parts: int) -> Item:
    """What is told of a report without reading it."""
    summary = report.summary
    return {
        "id": report.id,
        "tenant_id": report.tenant_id,
        "kind": KIND,
        "framework": report.framework.id,
        "from": report.from_day,
        "to": report.to_day,
        "created_at": report.generated_at,
        "generated_at": report.generated_at,
        "generated_by": report.generated_by,
        "status": "ready",
        "gate_passed": report.gate.passed,
        "gate_failed": [check.id for check in report.gate.checks if not check.passed],
        "events_in_period": report.events_in_period,
        "summary": {
            "satisfied": summary.satisfied,
            "exception": summary.exception,
            "not_evidenced": summary.not_evidenced,
            "not_applicable": summary.not_applicable,
        },
        "exceptions": [each.oscal_id for each in report.controls if each.status == "exception"],
        "digest": digest_of(text),
        "parts": parts,
        "bytes": len(text),
    }
