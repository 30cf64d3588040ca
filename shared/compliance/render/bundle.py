"""A report in all its forms, as files of an evidence bundle (docs/evidence-format.md): the deliverable.

The bundle holds the months that the report stands on, whole; its manifest has the SHA-256 of every file and is signed
by the ledger's key; the offline verifier checks that report and months belong together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.compliance.render.csv import REFERENCE, csv_files, file_name, reference, table
from shared.compliance.render.html import report_html
from shared.compliance.render.json import report_json
from shared.compliance.render.oscal import oscal_files
from shared.compliance.render.pdf import report_pdf
from shared.compliance.report_model import Cell, ControlResult, EventRef, Finding, Report
from shared.ledger.bundle import Attached
from shared.ledger.merkle import leaf_hash

type Place = tuple[str, int]
"""Where an entry is in the ledger: month and index."""

_DETAILS: Final = ("actor_kind", "actor_id", "role", "origin_kind", "origin_id", "resource_kind", "resource_id", "hash")
COLUMNS: Final = ("shown_for", *REFERENCE, *_DETAILS)
"""The columns of a control's file: what the event is shown for, the event, and what its sealed entry says."""


def attached(report: Report, entries: Mapping[Place, bytes] | None = None) -> Attached:
    """What goes with the months of a report into a bundle. `entries`: sealed entries, as many of `places` as are to be
    shown with their details; `hash` is the leaf's, in hexadecimal."""
    about = {"id": report.id, "framework": report.framework.id, "generated_at": report.generated_at}
    return Attached(about, report_files(report, entries or {}))


def places(report: Report) -> list[Place]:
    """Where the events are that the files of controls show, ascending."""
    found = {each.id: each for each in report.exceptions}
    shown = (event for control in report.controls for _, event in _shown(control, found))
    return sorted({(event.period, event.index) for event in shown})


def report_files(report: Report, entries: Mapping[Place, bytes]) -> dict[str, bytes]:
    """A report in every form, by the name of the file."""
    return {
        "report.json": report_json(report),
        "report.html": report_html(report),
        "report.pdf": report_pdf(report),
        **oscal_files(report),
        **{f"csv/{name}": content for name, content in csv_files(report).items()},
        **dict(_control_files(report, entries)),
    }


def _control_files(report: Report, entries: Mapping[Place, bytes]) -> Iterator[tuple[str, bytes]]:
    found = {each.id: each for each in report.exceptions}
    taken: set[str] = set()
    for control in report.controls:
        rows = [
            (why, *reference(event), *_details(entries.get((event.period, event.index))))
            for why, event in _shown(control, found)
        ]
        yield f"controls/{file_name(control.oscal_id, taken)}.csv", table(COLUMNS, rows)


def _shown(control: ControlResult, found: Mapping[str, Finding]) -> Iterator[tuple[str, EventRef]]:
    """The events of a control's findings and sample, and what each is shown for."""
    for finding_id in control.findings:
        if finding_id in found:
            for event in found[finding_id].events:
                yield finding_id, event
    if control.samples is not None:
        for event in control.samples.events:
            yield "sample", event


def _details(entry: bytes | None) -> tuple[Cell, ...]:
    """What a sealed entry says of who, from where and on what."""
    if entry is None:
        return (None,) * len(_DETAILS)
    event: dict[str, Any] = json.loads(entry)
    actor, source, target = event["actor"], event["source"], event["target"] or {}
    return (
        *(actor["kind"], actor["id"], actor["role"]),
        *(source["kind"], source["id"]),
        *(target.get("kind"), target.get("id")),
        leaf_hash(entry).hex(),
    )
