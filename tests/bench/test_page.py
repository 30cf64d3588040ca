"""The page of benchmarks: its tables are of the newest runs, and every aim is of figures that there are."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from bench._aims import AIMS, Aim
from bench._curve import scale_svg
from bench._history import Figure, Record, Run, newest, read
from bench._page import PAGE, aims_table, benchmarks_page, program_tables, shown
from bench._programs import PROGRAMS, Program
from devhost.simulation.attacks import PATTERNS
from shared.detection import all_patterns

AT = datetime(2026, 3, 1, tzinfo=UTC)
MARKED = "".join(
    f"<!-- table: {name} -->\nold\n<!-- end of table -->\n" for name in ("runs", "aims", *(e.name for e in PROGRAMS))
)


def _recorded(program: str, *figures: Figure) -> tuple[Record, Run]:
    run = Run(program, (), 61.0, (0.5, 1.25), figures)
    return Record.made([run], AT), run


MEASURED = newest(read())
"""What was never run, the page says so of."""


@pytest.mark.parametrize("aim", [aim for aim in AIMS if aim.program in MEASURED], ids=lambda aim: aim.text)
def test_every_aim_names_figures_of_the_history(aim: Aim) -> None:
    figures = aim.figures(MEASURED[aim.program][1])
    assert figures
    for name, wanted in aim.labels.items():
        assert {each.labels[name] for each in figures} == ({wanted} if isinstance(wanted, str | int) else set(wanted))


def test_an_aim_tells_the_figure_that_is_farthest_from_it() -> None:
    least, most = (
        Aim("enough", "storage", "rate", at_least=5),
        Aim("little", "storage", "took", {"of": ("a", "b")}, at_most=2),
    )
    figures = [Figure("rate", value, "1/s", {}) for value in (5, 9)]
    figures += [Figure("took", value, "ms", {"of": of}) for of, value in (("a", 1.0), ("b", 2.5), ("c", 99.0))]
    _, run = _recorded("storage", *figures)
    assert least.farthest(least.figures(run)).value == 5
    assert least.is_met(5)
    assert not least.is_met(4.9)
    assert most.farthest(most.figures(run)).value == 2.5
    assert most.is_met(2)
    assert not most.is_met(2.1)


def test_the_table_of_aims_tells_what_is_met_missed_and_not_measured() -> None:
    first = AIMS[0]
    labels = {name: value for name, value in first.labels.items() if isinstance(value, str | int)}
    for value, word in ((0.6, "| met |"), (0.12, "| **missed** |")):
        runs = {first.program: _recorded(first.program, Figure(first.metric, value, "ratio", labels))}
        assert f"{first.text} | {value} {word}" in aims_table(runs).replace(f"{value} |", f"{value} |")
    assert aims_table({}).count("not measured yet") == len(AIMS)


def test_an_aim_has_one_bound() -> None:
    for bounds in ({}, {"at_least": 1.0, "at_most": 2.0}):
        with pytest.raises(ValueError, match="one bound"):
            Aim("either", "storage", "rate", {}, **bounds)


def test_the_page_shows_the_newest_run_of_each_program_and_where_it_was() -> None:
    old, _ = _recorded("storage", Figure("rate", 1.0, "1/s", {}))
    new, _ = _recorded("storage", Figure("rate", 12_345.6, "1/s", {}))
    page = benchmarks_page([old, new], MARKED)
    assert "| rate | 12,346 | 1/s |" in page
    assert "\nold\n" not in page
    assert page.count("It has not been run yet.") == len(PROGRAMS) - 1
    assert f"- Version {new.version} at `{new.commit}`, on {new.machine['cores']} cores of " in page
    assert f"SQLite {new.machine['sqlite']}: storage.\n" in page


@pytest.mark.parametrize(
    "text", [MARKED.replace("table: aims", "table: aim"), MARKED + MARKED, MARKED.partition("<!-- table: scale")[0]]
)
def test_a_page_without_the_place_of_a_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"docs/benchmarks\.md"):
        benchmarks_page([], text)


def test_a_label_across_makes_columns_by_size_and_what_all_have_alike_is_told_once() -> None:
    figures = [
        Figure("cpu", value, "ms", {"events": events, "of": of, "connections": 32})
        for events, of, value in ((10_000, "one", 2.0), (1_000, "one", 1.25), (1_000, "two", 0.0301))
    ]
    figures.append(Figure("total", 7.0, "1", {"connections": 32}))
    text = program_tables(Program("requests", across=("events",)), *_recorded("requests", *figures))
    assert text.startswith("2026-03-01T00:00:00Z, 61 s; load 0.5 before and 1.25 after. Of all: connections 32.\n")
    assert "| events | 1,000 | 10,000 | unit |" in text
    assert "| cpu: one | 1.25 | 2 | ms |" in text
    assert "| cpu: two | 0.0301 |  | ms |" in text
    assert "| total | 7 |  |" in text


def test_what_is_measured_may_be_across_with_its_unit() -> None:
    figures = [Figure(metric, 3.0, unit, {"of": "a"}) for metric, unit in (("calls", "1"), ("took", "ms"))]
    figures.append(Figure("calls", 4.0, "1", {"of": "b"}))
    text = program_tables(Program("cosmos", across=("metric",)), *_recorded("cosmos", *figures))
    assert "| | calls | took, ms |" in text.replace("|  |", "| |")
    assert "| a | 3 | 3 |" in text
    assert "| b | 4 |  |" in text


def test_rows_of_one_metric_stand_together_and_what_has_no_such_label_follows() -> None:
    figures = [
        Figure(metric, 1.5, "", {"operation": operation, "events": events})
        for events in (10, 100)
        for operation in ("search", "proof")
        for metric in ("calls", "cpu")
    ]
    figures.append(Figure("growth_calls", 1.0, "ratio", {"operation": "search"}))
    text = program_tables(Program("scale", across=("events", "metric")), *_recorded("scale", *figures))
    names = [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.startswith("| ")]
    assert [name for name in names if name.strip("-")] == [
        *("events", "calls: search", "calls: proof", "cpu: search", "cpu: proof", "search")
    ]
    assert "|  | growth calls |" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.12345, "0.123"), (1.005, "1.00"), (12.34, "12.3"), (1234.5, "1,234"), (2.0, "2")]
)
def test_a_value_has_as_many_digits_as_tell_something(value: float, text: str) -> None:
    assert shown(value) == text


SIZES = (50_000, 500_000, 5_000_000)
SVG = "{http://www.w3.org/2000/svg}"


def _curve() -> ET.Element:
    figures = []
    for metric in ("cpu_to_reference", "calls"):
        for operation, value in (("search: a", 1.0), ("search: b", 3.0), ("inclusion proof", 2.0)):
            figures += [
                Figure(metric, value * (1 + number), "ms", {"operation": operation, "events": size})
                for number, size in enumerate(SIZES)
            ]
    figures += [Figure("peak_rss", 100.0, "MiB", {"of": "it", "events": size}) for size in SIZES]
    return ET.fromstring(scale_svg(figures))  # noqa: S314 - our own


def test_the_picture_says_in_words_what_it_shows() -> None:
    picture = _curve()
    told = [picture.findtext(f"{SVG}{name}") or "" for name in ("title", "desc")]
    assert all(told)
    assert "From 50,000 to 5,000,000 events." in told[1]
    assert "search, first page 2.0 to 6.0" in told[1]
    assert picture.get("aria-labelledby") == "title desc"


def test_lines_rise_with_their_values_and_their_names_do_not_lie_on_one_another() -> None:
    picture = _curve()
    lines = [
        [tuple(map(float, point.split(","))) for point in (each.get("points") or "").split()]
        for each in picture.iter(f"{SVG}polyline")
    ]
    assert len(lines) == 5
    for line in lines:
        assert [x for x, _ in line] == sorted({x for x, _ in line})
    search, proof = lines[:2]
    assert [y for _, y in search] == sorted((y for _, y in search), reverse=True)
    assert search[0][1] == pytest.approx(proof[0][1])  # the mean of both searches
    assert len({y for _, y in lines[4]}) == 1
    names = [each for each in picture.iter(f"{SVG}text") if ": " in (each.text or "")]
    assert [each.text for each in names] == [
        *("search, first page: 6", "inclusion proof: 6") * 2,
        "measuring, peak: 100",
    ]
    first, second = (float(each.get("y") or 0) for each in names[:2])
    assert abs(first - second) >= 15


def test_the_picture_needs_neither_color_nor_script() -> None:
    picture = _curve()
    assert {each.tag.removeprefix(SVG) for each in picture.iter()} <= {
        *("svg", "title", "desc", "rect", "text", "line", "polyline", "polygon", "circle", "path")
    }
    paints = {each.get(name) for each in picture.iter() for name in ("fill", "stroke")} - {None, "none"}
    assert all(paint and paint[1:3] == paint[3:5] == paint[5:7] for paint in paints)
    dashes = [each.get("stroke-dasharray") for each in picture.iter(f"{SVG}polyline")]
    assert dashes[0] != dashes[1]


def test_without_figures_the_picture_says_so() -> None:
    assert "It has not been measured yet." in scale_svg(())


def test_the_page_says_which_patterns_are_measured() -> None:
    text = PAGE.read_text(encoding="utf-8")
    prose = text[text.index("## Detection: ") :].partition("<!--")[0]
    words = {8: "eight", 9: "nine", 10: "ten", 11: "eleven", 12: "twelve"}
    assert f"All {words[len(all_patterns())]} patterns" in prose
    assert f"some of {words[len(PATTERNS)]} patterns" in prose
    assert {name for name in all_patterns() if f"`{name}`" in prose} == set(all_patterns()) - set(PATTERNS)
