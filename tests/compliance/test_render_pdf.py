"""The PDF: PDF/A-3 and PDF/UA, complete, with its evidence attached, and nothing that a user wrote is markup."""

import csv
import io
import logging
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pypdf
import pytest

from shared.compliance.render import pdf
from shared.compliance.render.csv import csv_files
from shared.compliance.render.glyphs import MONO, SERIF, code_points
from shared.compliance.render.json import report_json
from shared.compliance.render.text import typeset
from shared.compliance.report_model import Report, Table
from tests.app import ROOT
from tests.compliance.reports import HOSTILE, SCRIPTS, TYPST, bare, report


@lru_cache(maxsize=1)
def made() -> tuple[Report, pypdf.PdfReader]:
    """A report with hostile text in every place, and its PDF."""
    rows = tuple((text, number) for number, text in enumerate(HOSTILE))
    whole = report(controls=14, rows=12, tables=(*report(rows=12).tables, Table("h", TYPST, ("Text", "N"), rows, 99)))
    return whole, pypdf.PdfReader(io.BytesIO(pdf.report_pdf(whole)))


@lru_cache(maxsize=1)
def pages() -> list[str]:
    """The text of each page. Where text begins, it begins on the page, inside the margins."""
    texts = []
    for page in made()[1].pages:
        width, height = float(page.mediabox.width), float(page.mediabox.height)

        def inside(
            text: str, cm: list[float], tm: list[float], *_: object, w: float = width, h: float = height
        ) -> None:
            x, y = tm[4] * cm[0] + tm[5] * cm[2] + cm[4], tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
            assert not text.strip() or (40 <= x <= w - 40 and 20 <= y <= h - 20), text

        texts.append(page.extract_text(visitor_text=inside))
    return texts


@lru_cache(maxsize=1)
def text_of() -> str:
    """The text of all pages, without spaces: lines and words may break anywhere."""
    return squeezed("".join(pages()))


def squeezed(text: str) -> str:
    return "".join(text.replace("\u200b", "").split())


def test_every_control_finding_and_table_is_in_it() -> None:
    whole, _ = made()
    for control in whole.controls:
        assert squeezed(f"{control.id}  {control.title}"[:30]) in text_of() or not control.title.isascii(), (
            control.title
        )
        assert control.id in text_of()
    for finding in whole.exceptions:
        assert finding.id in text_of()
    for table in whole.tables:
        assert squeezed(typeset(table.title)) in text_of()


@pytest.mark.parametrize("text", [text for text in HOSTILE if typeset(text).isascii()])
def test_no_text_is_markup(text: str) -> None:
    assert squeezed(typeset(text)) in text_of()


def test_scripts_that_no_font_has_are_shown_by_code_point_and_the_reader_is_told() -> None:
    assert squeezed("[U+4F8B U+306E U+7D44 U+7E54]") in text_of()
    assert "[U+202E]" in text_of()
    assert squeezed("are shown by their code points") in text_of()
    assert squeezed("Ελληνικά Кириллица") in text_of()


@pytest.mark.parametrize(("text", "is_told"), [("Cafe\u0301\tΩ\r\nline", False), ("a\u202eb", True), ("漢", True)])
def test_the_reader_is_told_only_where_something_is_replaced(text: str, is_told: bool) -> None:
    reader = pypdf.PdfReader(io.BytesIO(pdf.report_pdf(replace(bare(), organization=text))))
    assert (squeezed("are shown by their code points") in squeezed(reader.pages[0].extract_text())) == is_told


def test_the_evidence_is_attached() -> None:
    whole, reader = made()
    attached = {name: content for name, [content] in reader.attachments.items()}
    assert attached == {"report.json": report_json(whole), **csv_files(whole)}


def test_it_says_that_it_is_pdf_a_and_pdf_ua_and_when_it_was_made() -> None:
    _, reader = made()
    metadata = reader.xmp_metadata
    assert metadata is not None
    raw = metadata.stream.get_data().decode()
    assert "<pdfaid:part>3</pdfaid:part>" in raw
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in raw
    assert "<pdfuaid:part>1</pdfuaid:part>" in raw
    assert reader.metadata is not None
    assert str(reader.metadata.creation_date) == "2026-04-01 00:10:00+00:00"
    assert reader.metadata.title == "PCI DSS compliance report"
    root: Any = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"


def test_every_page_is_numbered_and_wide_tables_lie_on_their_side() -> None:
    _, reader = made()
    assert len(reader.outline) > 5
    turned = [page for page in reader.pages if page.mediabox.width > page.mediabox.height]
    assert turned
    assert "Recorded at" in turned[0].extract_text()
    for number, text in enumerate(pages(), 1):
        assert f"{number} of {len(reader.pages)}" in text


def test_a_long_table_is_cut_for_reading_and_attached_whole() -> None:
    whole = report(controls=0, rows=260)
    reader = pypdf.PdfReader(io.BytesIO(pdf.report_pdf(whole)))
    text = squeezed("".join(page.extract_text() for page in reader.pages))
    assert squeezed("Shown here: 250 of 260 rows; the attached CSV has the others.") in text
    assert reader.attachments["tables/access_log.csv"][0].count(b"\r\n") == 261


def test_hostile_text_in_narrow_columns_leaves_several_rows_on_a_page() -> None:
    """It ends with a mark, the reader is told, and the attached CSV has it whole. Times and ids are never broken."""
    columns = ("Person", "Date", "Recipient", "Address", "Description", "Purpose", "Class", "N", "Month", "Event")
    texts = (("W" * 200), (SCRIPTS * 4)[:200], (TYPST * 3)[:200], "two\n" * 50)
    rows = tuple(
        (
            *(f"p{number}", f"2026-03-{number + 1:02}T12:00:00.123456Z", *texts, "phi", number),
            *("2026-03", f"0195c000-0000-7000-8000-{number:012x}"),
        )
        for number in range(20)
    )
    whole = report(controls=1, rows=0, tables=(Table("accounting", "Disclosures", columns, rows, 20),))
    reader = pypdf.PdfReader(io.BytesIO(pdf.report_pdf(whole)))
    turned = [page.extract_text() for page in reader.pages if page.mediabox.width > page.mediabox.height]
    assert len(turned) <= 6
    for row in rows:
        assert any(str(row[1]) in text and str(row[9]) in text for text in turned), row[1]
    assert "[…]" in turned[0]
    assert squeezed("Texts that end with […] go on: the attached files have them whole.") in squeezed(turned[-1])
    attached = reader.attachments["tables/accounting.csv"][0].decode()
    assert [row[2:6] for row in csv.reader(io.StringIO(attached, newline=""))][1:] == [list(texts)] * 20
    sample = "".join(page.extract_text() for page in reader.pages if page.mediabox.width < page.mediabox.height)
    for event in whole.controls[0].samples.events if whole.controls[0].samples else ():
        assert event.recorded_at in sample
        assert event.event_id in sample
    assert "[…]" not in sample


def test_every_glyph_that_the_tables_promise_can_be_set() -> None:
    """PDF/A refuses a document in which a glyph is missing. Titles are set in bold, cells are not."""
    texts = ["".join(map(chr, sorted(points))) for points in (code_points(SERIF), code_points(MONO))]
    lines = [text[at : at + 90] for text in texts for at in range(0, len(text), 90)]
    tables = tuple(Table(f"{number}", line, ("Text",), ((line,),), 1) for number, line in enumerate(lines))
    assert pdf._compiled(replace(bare(), tables=tables), lambda text: text)


def test_what_cannot_be_set_is_set_in_ascii(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Should a table of glyphs promise too much, the report comes out all the same, and says so in the log."""
    monkeypatch.setattr(pdf, "typeset", lambda text: text)
    whole = report(controls=1, rows=1, organization="漢字 Ω")
    with caplog.at_level(logging.ERROR):
        reader = pypdf.PdfReader(io.BytesIO(pdf.report_pdf(whole)))
    assert "[U+6F22 U+5B57] [U+03A9]" in reader.pages[0].extract_text()
    assert "report_not_typeset" in caplog.text


def test_the_template_and_style_sheet_go_to_azure() -> None:
    ignored = set((ROOT / ".funcignore").read_text(encoding="utf-8").split())
    assert not {"*.typ", "*.css", "shared"} & ignored
