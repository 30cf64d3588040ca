"""Each form of a report: the same bytes for the same report, valid, complete, and safe whatever the text in it."""

import base64
import csv
import hashlib
import io
import itertools
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import Any, Literal, get_args
from xml.etree import ElementTree

import jsonschema
import pytest

from shared.compliance import render as package
from shared.compliance.parts import encode
from shared.compliance.render import FORMATS, Format, render
from shared.compliance.render.charts import WIDTH, svg
from shared.compliance.render.csv import csv_files, file_name
from shared.compliance.render.html import report_html
from shared.compliance.render.json import FORMAT, report_json, schema
from shared.compliance.report_model import Chart, Report, Series, Table
from tests.compliance.reports import FORMULAS, HOSTILE, MARKUP, ORGANIZATION, TURNED, bare, charts, report

MADE = report()
HTML = report_html(MADE).decode()


# ---- all forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_equal_reports_give_equal_bytes_and_a_plain_name(form: Format) -> None:
    one, two = render(report(controls=3, rows=3), form), render(report(controls=3, rows=3), form)
    assert one == two
    assert one.file_name.startswith("pci-dss-2026-03-01-2026-04-01")
    assert render(report(controls=3, rows=3, id="other"), form).body != one.body


@pytest.mark.parametrize("form", FORMATS)
def test_a_report_of_nothing_has_every_form(form: Format) -> None:
    assert render(bare(), form).body


def test_the_cover_names_the_digest_that_the_trail_has_whoever_signed() -> None:
    """And the report that it replaces. What `report.generate` names is the digest of the parts that are stored."""
    made = report(controls=1, rows=1, replaces="0195c000-0000-7000-8000-00000000beef")
    digest = hashlib.sha256(encode(replace(made, sign_offs=()))).hexdigest()
    for body in (report_html(made).decode(), csv_files(made)["report.csv"].decode()):
        assert digest in body
        assert "0195c000-0000-7000-8000-00000000beef" in body
    assert digest not in report_html(replace(made, id="other")).decode()
    assert "Replaces" not in HTML
    assert made.sign_offs
    for as_whom in ("prepared", "reviewed", "approved"):
        signed = replace(made, sign_offs=(replace(made.sign_offs[0], signed_as=as_whom),))
        assert f">{as_whom.capitalize()}</th>" in report_html(signed).decode()


def test_a_form_is_imported_only_when_used() -> None:
    code = "import sys, shared.compliance.render; sys.exit(any(m in sys.modules for m in ('typst', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


def test_formats_are_those_that_are_published() -> None:
    assert set(package._FORMS) == set(get_args(Format.__value__)) == {"json", "html", "pdf", "csv", "oscal"}


# ---- JSON -----------------------------------------------------------------------------------------------------------


def closed() -> dict[str, Any]:
    """The published schema, which moreover allows no field that it does not name."""
    made = schema()
    for each in (made, *made["$defs"].values()):
        if each.get("type") == "object":
            each["additionalProperties"] = False
    return made


@pytest.mark.parametrize("made", [MADE, bare(), report(149, 0)], ids=["usual", "bare", "all controls"])
def test_json_is_canonical_and_follows_its_schema(made: Report) -> None:
    data = report_json(made)
    value = json.loads(data)
    jsonschema.Draft202012Validator(closed()).validate(value)
    assert value["format"] == FORMAT
    assert list(value) == sorted(value)
    assert b"\n" not in data


def test_json_holds_every_field_of_the_model_under_its_name() -> None:
    def same(value: Any, read: Any) -> None:
        if is_dataclass(value):
            names = {each.name for each in fields(value)}
            assert set(read) - {"format"} == names
            for name in names:
                same(getattr(value, name), read[name])
        elif isinstance(value, tuple):
            assert len(value) == len(read)
            for one, two in zip(value, read, strict=True):
                same(one, two)
        else:
            assert read == (value.replace("\ud800", "\ufffd") if isinstance(value, str) else value)

    same(MADE, json.loads(report_json(MADE)))


def test_a_number_that_json_has_not_is_refused() -> None:
    wrong = replace(MADE, charts=(Chart("x", "x", "line", ("a",), (Series("s", (float("nan"),)),), "u"),))
    with pytest.raises(ValueError, match="nan"):
        report_json(wrong)


# ---- CSV ------------------------------------------------------------------------------------------------------------


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


def test_every_table_is_a_file_and_every_row_is_as_long_as_its_header() -> None:
    files = csv_files(MADE)
    assert {"tables/access_log.csv", "tables/empty.csv", "charts/logins.csv", "controls.csv"} <= set(files)
    for name, data in files.items():
        header, *rows = read(data)
        assert {len(row) for row in rows} <= {len(header)}, name
    assert len(read(files["controls.csv"])) == 1 + len(MADE.controls)
    assert len(read(files["tables/access_log.csv"])) == 1 + 30
    assert read(files["tables/empty.csv"]) == [["At", "What"]]


def test_no_cell_is_a_formula() -> None:
    rows = tuple((text, f"{text} more", number) for number, text in enumerate((*HOSTILE, *FORMULAS)))
    made = replace(MADE, tables=(Table("t", "T", ("=1", "+2", "three"), rows, len(rows)),), organization="=1+1")
    for data in csv_files(made).values():
        for row in read(data):
            for text in row:
                number = text.replace(".", "", 1).removeprefix("-").isdigit()
                assert number or text.lstrip()[:1] not in set("=+-@＝＋－＠\t\r"), text
    assert read(csv_files(made)["report.csv"])[3] == ["organization", "'=1+1"]


def test_a_file_name_is_a_file_name_whatever_the_id_of_its_table() -> None:
    ids = ("../../etc/passwd", "a", "A", "", "..", "x" * 300, "nul\0", "ü/ü", "a")
    made = replace(MADE, tables=tuple(Table(each, "t", ("a",), (), 0) for each in ids), charts=())
    names = [name for name in csv_files(made) if name.startswith("tables/")]
    assert len({name.lower() for name in names}) == len(ids)
    for name in names:
        assert re.fullmatch(r"tables/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}", name), name
        assert ".." not in name
    with zipfile.ZipFile(io.BytesIO(render(made, "csv").body)) as packed:
        assert set(names) <= set(packed.namelist())


# ---- charts ---------------------------------------------------------------------------------------------------------

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{'x' * 79}.y", "x" * 79),
        (f".{'x' * 78}.y", "x" * 78),
        *((device, f"_{device}") for device in ("CON", "nul", "Aux.txt", "PRN.a.b", "com1", "LPT9")),
        *((plain, plain) for plain in ("console", "com", "com10", "a.con", "CC6.1")),
    ],
)
def test_a_file_name_is_one_on_windows_too(text: str, name: str) -> None:
    assert file_name(text, set()) == name
    assert file_name(text, {name.lower()}) == f"{name}-2"


@pytest.mark.parametrize("chart", charts(), ids=lambda chart: chart.id)
def test_a_chart_is_svg_with_title_and_description_and_nothing_that_runs(chart: Chart) -> None:
    root = ElementTree.fromstring(svg(chart, 7))  # noqa: S314 - our own text
    title, desc = root.find(f"{_SVG}title"), root.find(f"{_SVG}desc")
    assert title is not None
    assert desc is not None
    assert title.text == chart.title
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert {each.tag.removeprefix(_SVG) for each in root.iter()} <= {
        *("svg", "title", "desc", "defs", "pattern", "rect", "path", "circle", "polyline", "text")
    }
    for series in chart.series:
        assert series.name in (desc.text or "")


def test_series_differ_without_color() -> None:
    text = svg(charts()[0], 1)
    fills = {each.get("fill") for each in ElementTree.fromstring(text).iter(f"{_SVG}rect")}  # noqa: S314
    assert len([fill for fill in fills if fill and fill.startswith("url(#c1p")]) == 7
    lines = svg(charts()[1], 1)
    assert lines.count("stroke-dasharray") == 2  # the second line, and its sample in the legend


@pytest.mark.parametrize("kind", ["stacked", "line", "bar"])
def test_what_is_drawn_stays_inside(kind: Literal["stacked", "line", "bar"]) -> None:
    labels = tuple(f"2026-{day:03}" for day in range(366))
    many = tuple(Series(f"series {n} {'w' * 60}", tuple(float((n * d) % 97) for d in range(366))) for n in range(12))
    odd = (Series("x", (float("inf"), -5.0, float("nan"), 1e18)), Series("short", ()))
    for names, series in ((labels, many), (("a", "b", "c", "d" * 200), odd), (("one",), (Series("s", (0.0,)),))):
        root = ElementTree.fromstring(svg(Chart("c", "t", kind, names, series, "u"), 1))  # noqa: S314
        _, _, width, height = map(float, (root.get("viewBox") or "").split())
        for each in root.iter(f"{_SVG}rect"):
            if each.get("x"):
                x, y, w, h = (float(each.get(name) or "nan") for name in ("x", "y", "width", "height"))
                assert 0 <= x <= x + w <= width + 0.1
                assert 0 <= y <= y + h <= height + 0.1
        for each in root.iter(f"{_SVG}text"):
            assert 0 <= float(each.get("x") or "nan") <= width


# ---- HTML -----------------------------------------------------------------------------------------------------------


class Read(HTMLParser):
    """Collects what a test asks about."""

    VOID = frozenset(("meta", "br", "rect", "path", "circle", "polyline"))

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


PAGE = Read(HTML)


def test_html_is_well_formed_and_holds_every_control_and_table() -> None:
    assert PAGE.open == []
    text = "".join(PAGE.text)
    for control in MADE.controls:
        assert control.id in text
        assert control.question in text
    for finding in MADE.exceptions:
        assert finding.id in text
    assert ORGANIZATION in text
    assert MARKUP in text
    assert text.count("user-6") >= 4


def test_html_names_nothing_outside_and_runs_nothing() -> None:
    assert not {tag for tag, _ in PAGE.tags} & {"script", "link", "img", "iframe", "object", "form", "base", "b"}
    for tag, attrs in PAGE.tags:
        assert not [name for name in attrs if name.startswith("on") or name in ("style", "src")], tag
        assert (attrs.get("href") or "#").startswith("#")
    assert "url(" not in HTML.partition("<body")[0]
    [policy] = [a["content"] for t, a in PAGE.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_the_policy_names_the_style_sheet_by_its_digest() -> None:
    style = HTML.partition("<style>")[2].partition("</style>")[0]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in HTML


def test_headings_are_in_order_and_ids_are_unique_and_links_lead_somewhere() -> None:
    levels = [int(tag[1]) for tag, _ in PAGE.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(two <= one + 1 for one, two in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in PAGE.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {name for _, attrs in PAGE.tags for name in (attrs.get("aria-labelledby") or "").split()}
    linked = {(attrs.get("href") or "")[1:] for tag, attrs in PAGE.tags if tag == "a"}
    assert named | linked <= set(ids)


def test_landmarks_and_tables_are_accessible() -> None:
    tags = [tag for tag, _ in PAGE.tags]
    for landmark in ("header", "nav", "main", "footer"):
        assert tags.count(landmark) == 1
    assert ("html", {"lang": "en"}) in PAGE.tags
    assert tags.count("table") == tags.count("caption") == tags.count("thead") > 20
    assert {attrs.get("scope") for tag, attrs in PAGE.tags if tag == "th"} == {"col", "row"}
    assert all(attrs.get("role") == "img" for tag, attrs in PAGE.tags if tag == "svg")


def test_what_scrolls_on_a_narrow_screen_is_reached_by_keys_and_named() -> None:
    """Every chart, which keeps a legible size there, and every table but those whose words are few and short."""
    regions = [attrs for tag, attrs in PAGE.tags if tag == "div" and attrs.get("role") == "region"]
    assert all(each["tabindex"] == "0" for each in regions)
    assert all("aria-labelledby" in each or each["aria-label"] for each in regions)
    charts_shown = [each for each in regions if each["class"] == "chart"]
    assert len(charts_shown) == [tag for tag, _ in PAGE.tags].count("svg") == len(MADE.charts)
    tables = [attrs for tag, attrs in PAGE.tags if tag == "div" and "table" in (attrs.get("class") or "").split()]
    still = [each for each in tables if "tabindex" not in each]
    assert 0 < len(still) < len(tables) / 2
    css = HTML.partition("<style>")[2].partition("</style>")[0].partition("@media print")[0]
    width = float(re.search(r"svg \{[^}]*min-width: ([0-9.]+)rem", css)[1]) * 16  # type: ignore[index]
    size = int(re.search(r'font-size="(\d+)"', HTML)[1])  # type: ignore[index]
    assert width / WIDTH * size >= 10, "pixels of letters in charts, on any screen"


def test_what_turns_text_around_is_shown_in_html() -> None:
    text = "".join(Read(report_html(replace(MADE, organization=TURNED)).decode()).text)
    assert "user[U+202E]gnp.exe" in text
    assert not set("\u202e\u2066\0\ufeff\u200b") & set(text)


@pytest.mark.parametrize(
    ("expected", "seen", "spans", "said"),
    [
        ((), ("login",), False, "No sources are expected"),
        ((), ("login",), True, "No sources are expected"),
        (("login",), ("login",), False, "No expected source was silent"),
        (("login",), ("login",), True, ""),
        (("login", "records"), ("login",), False, "Expected, and not heard at all: records."),
        (("login", "records"), ("login",), True, "Expected, and not heard at all: records."),
    ],
)
def test_what_is_said_of_silence(expected: tuple[str, ...], seen: tuple[str, ...], spans: bool, said: str) -> None:
    """That nothing was silent is said of expected sources alone, all of which were heard."""
    made = report(controls=1, rows=1)
    (shard,) = made.population
    population = (shard if spans else replace(shard, silent_spans=()),)
    scope = replace(made.scope, sources_expected=expected, sources_seen=seen)
    page = report_html(replace(made, scope=scope, population=population)).decode()
    texts = ("No sources are expected", "No expected source was silent", "Expected, and not heard at all: records.")
    assert [each for each in texts if each in page] == [said] * bool(said)
    assert ("Silent spans" in page) == spans
    assert "No source was silent" not in page
