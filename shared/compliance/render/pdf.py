"""A report as PDF/A-3: set by Typst, tagged, with its JSON and its tables attached.

Typst gets the report as JSON in a file that exists in memory only, and sets every string in it as text: nothing a user
wrote is read as markup. Fonts are the ones that come with the `typst` package, whatever the machine has, so the
same report gives the same bytes. What those fonts lack is shown by code point; the attached report.json has it
as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.compliance.render.blocks import Block, Bullets, Facts, Figure, Grid, Heading, Paragraph, is_wide, sections
from shared.compliance.render.charts import description, svg
from shared.compliance.render.columns import CLIPPED, broken, clipped, size_of, widths
from shared.compliance.render.content import document, period_of, title_of
from shared.compliance.render.csv import csv_files
from shared.compliance.render.json import digest_of, report_json
from shared.compliance.render.text import ascii_only, settled, typeset, with_text
from shared.compliance.report_model import Report
from shared.core.clock import parse_rfc3339
from shared.telemetry import get_log

if TYPE_CHECKING:  # 34 MB that only a PDF needs
    import typst

_log = get_log(__name__)

STANDARDS: Final = ("a-3a", "ua-1")
"""PDF/A-3 with structure (ISO 19005-3), and PDF/UA-1 (ISO 14289-1)."""
_TEMPLATE: Final = Path(__file__).with_name("report.typ")
_FONT: Final = "Libertinus Serif"
_PORTRAIT, _LANDSCAPE, _VALUES = 493.0, 740.0, 380.0
"""Points that text, text of wide sections, and values beside their names have."""
_SIZE, _SMALL = 10.0, 9.0
_SIZES: Final = (9.0, 8.25, 7.5)
"""Of letters in tables: the first at which nothing need be broken."""
_REPLACED: Final = (
    "Characters that the fonts of this document lack, or that would change how the text around them reads, are shown "
    "by their code points, as [U+0041]. The attached report.json has them as they are."
)
_LINES: Final = {False: 16, True: 8}
"""Of a cell at most, in upright tables and in wide ones: whatever a text is, there are several rows on a page."""
_CUT: Final = f"Texts that end with{CLIPPED} go on: the attached files have them whole."
_GENERATIONS: Final = 11
"""Typst keeps what it computed for so many documents; nothing of one report serves another, so empty ones follow."""
_MOST_ROWS: Final = 250
"""Of a table, in the PDF: it is for reading, and its attachments are for counting."""


def report_pdf(report: Report) -> bytes:
    """The PDF of a report. It is the same for the same report."""
    import typst

    try:
        return _compiled(report, typeset)
    except typst.TypstError as error:
        _log.error("report_not_typeset", error, report_id=report.id, tenant_id=report.tenant_id)
        return _compiled(report, ascii_only)  # what is left to go wrong is a glyph
    finally:
        for _ in range(_GENERATIONS):
            typst.compile(b"", format="svg", font_paths=_fonts(), ignore_system_fonts=True)


def _compiled(report: Report, change: Callable[[str], str]) -> bytes:
    import typst

    attached = {"report.json": report_json(report), **csv_files(report)}
    shown = with_text(report, change)
    data = _data(shown, digest_of(report), attached, is_replaced=shown != with_text(report, settled))
    files = {
        "main.typ": _TEMPLATE.read_bytes(),
        "data.json": json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(),
        **attached,
    }
    compile_files: Any = typst.compile  # which takes files by name, though its types do not say so
    made: bytes = compile_files(
        files,
        format="pdf",
        font_paths=_fonts(),
        ignore_system_fonts=True,
        pdf_standards=list(STANDARDS),
        timestamp=int(parse_rfc3339(report.generated_at).timestamp()),
    )
    return made


@lru_cache(maxsize=1)
def _fonts() -> typst.Fonts:
    import typst

    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True)


def _data(shown: Report, digest: str, attached: Iterable[str], *, is_replaced: bool) -> dict[str, Any]:
    """What the template sets. `is_replaced`: the reader is told that some characters are."""
    at = parse_rfc3339(shown.generated_at)
    return {
        "title": title_of(shown),
        "subtitle": broken(f"{shown.organization} · {period_of(shown)}", _PORTRAIT, 12.0),
        "period": f"{shown.from_day} to {shown.to_day}",
        "id": shown.id,
        "generated_at": [at.year, at.month, at.day, at.hour, at.minute, at.second],
        "note": _REPLACED if is_replaced else "",
        "files": [_file(name) for name in attached],
        "sections": [_section(each) for each in sections(document(shown, digest))],
    }


def _file(name: str) -> dict[str, str]:
    if name.endswith(".json"):
        about = {"relationship": "source", "type": "application/json", "description": "The report, for programs"}
    else:
        about = {"relationship": "data", "type": "text/csv", "description": "A table of the report"}
    return {"name": name, **about}


def _section(blocks: list[Block]) -> dict[str, Any]:
    first, wide = blocks[0], is_wide(blocks)
    is_page = isinstance(first, Heading) and first.page
    width = _LANDSCAPE if wide else _PORTRAIT
    return {"wide": wide, "page": is_page, "blocks": [_block(each, width) for each in blocks]}


def _block(block: Block, width: float) -> dict[str, Any]:
    match block:
        case Heading():
            return {"block": "heading", "level": block.level, "text": broken(block.text, width * 0.8, 11.5)}
        case Paragraph():
            lead, text = broken(block.lead, width * 0.9, _SIZE), broken(block.text, width * 0.95, _SIZE)
            return {"block": "paragraph", "kind": block.kind, "lead": lead, "text": text}
        case Facts():
            rows = [[name, broken(value, width - (_PORTRAIT - _VALUES), _SIZE)] for name, value in block.rows]
            return {"block": "facts", "rows": rows}
        case Bullets():
            return {"block": "bullets", "items": [broken(each, width * 0.9, _SIZE) for each in block.items]}
        case Figure():
            chart = block.chart
            image = {"svg": svg(chart, block.number, _FONT), "alt": description(chart)}
            return {"block": "figure", "caption": broken(chart.title, width * 0.9, _SMALL), **image}
        case Grid():
            return _grid(block, width)


def _grid(grid: Grid, width: float) -> dict[str, Any]:
    wide, kept, note = is_wide([grid]), grid.rows[:_MOST_ROWS], grid.note
    if len(kept) < len(grid.rows):
        note = f"Shown here: {len(kept)} of {len(grid.rows):,} rows; the attached CSV has the others. {note}"
    shown = replace(grid, rows=kept)
    size = size_of(shown, width, _SIZES[1:] if wide else _SIZES)
    columns = widths(shown, width, size)
    cut = [
        [
            clipped(text, room, size, _LINES[wide], kind)
            for text, room, kind in zip(row, columns, grid.kinds, strict=True)
        ]
        for row in kept
    ]
    if any(
        text != whole for row, wholes in zip(cut, kept, strict=True) for text, whole in zip(row, wholes, strict=True)
    ):
        note = f"{_CUT} {note}"
    rows = [
        [broken(text, room, size, kind) for text, room, kind in zip(row, columns, grid.kinds, strict=True)]
        for row in cut
    ]
    return {
        "block": "grid",
        "caption": broken(grid.caption, width * 0.9, _SMALL),
        "columns": [broken(name, room / 1.1, size) for name, room in zip(grid.columns, columns, strict=True)],
        "kinds": grid.kinds,
        "widths": columns,
        "size": size,
        "rows": rows,
        "note": broken(note, width * 0.95, _SMALL),
    }
