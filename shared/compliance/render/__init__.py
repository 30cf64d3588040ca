"""Renderings of a report: every form is made from the model alone, and equal reports give equal bytes.

`render` makes the forms that are one file; `bundle` puts all of them, with the ledger's evidence, into one signed ZIP.
A rendering of a large report takes a second of one processor: call it in a thread where others wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from shared.compliance.report_model import Report

type Format = Literal["json", "html", "pdf", "csv", "oscal"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format.__value__)


@dataclass(frozen=True, slots=True)
class Rendered:
    """One form of a report: its media type, the name to save it under (letters, digits, dots, dashes), its bytes."""

    media_type: str
    file_name: str
    body: bytes


def render(report: Report, form: Format) -> Rendered:
    """A report in one form. `csv` is a ZIP of one file for each table. ValueError for a number that JSON has not."""
    media_type, ending, make = _FORMS[form]
    framework = "".join(char if char.isascii() and char.isalnum() else "-" for char in report.framework.id)
    return Rendered(media_type, f"{framework}-{report.from_day}-{report.to_day}{ending}", make()(report))


type _Make = Callable[[Report], bytes]


def _json() -> _Make:
    from shared.compliance.render.json import report_json

    return report_json


def _html() -> _Make:
    from shared.compliance.render.html import report_html

    return report_html


def _pdf() -> _Make:
    from shared.compliance.render.pdf import report_pdf

    return report_pdf


def _csv() -> _Make:
    from shared.compliance.render.csv import csv_zip

    return csv_zip


def _oscal() -> _Make:
    from shared.compliance.render.oscal import oscal_results

    return oscal_results


_FORMS: Final[dict[Format, tuple[str, str, Callable[[], _Make]]]] = {
    "json": ("application/json", ".json", _json),
    "html": ("text/html; charset=utf-8", ".html", _html),
    "pdf": ("application/pdf", ".pdf", _pdf),
    "csv": ("application/zip", "-csv.zip", _csv),
    "oscal": ("application/oscal+json", "-oscal.json", _oscal),
}
