"""Hostile text on its way into documents: nothing is dropped, nothing is hidden."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.compliance.render.blocks import Grid, Kind, cell, kinds_of, spark
from shared.compliance.render.columns import BREAK, CLIPPED, broken, clipped, widths
from shared.compliance.render.text import ascii_only, marked, typeset, visible, whole, with_text
from tests.compliance.reports import LONG, ORGANIZATION, SCRIPTS, TURNED, report


def test_what_nobody_would_see_is_shown() -> None:
    assert visible(TURNED) == (
        "user[U+202E]gnp.exe[U+202C] [U+2066]x[U+2069] bell[U+0007] nul[U+0000] zero[U+200B]width [U+FEFF] \ufffd lone"
    )


def test_what_is_part_of_a_script_stays() -> None:
    assert visible(SCRIPTS) == SCRIPTS
    assert visible("one\r\ntwo\tthree\n") == "one\ntwo three\n"


def test_what_no_font_has_is_marked_and_what_one_has_is_not() -> None:
    assert typeset(ORGANIZATION) == (
        "Organization Ω «Łódź» مثال [U+4F8B U+306E U+7D44 U+7E54] [U+0909 U+0926 U+093E U+0939 U+0930 U+0923] [U+1F600]"
    )
    assert typeset("e\u0301") == "é"
    assert typeset("שלום Ελληνικά Кириллица ქართული") == "שלום Ελληνικά Кириллица ქართული"


def test_a_mark_that_its_letters_font_lacks_is_marked_with_it() -> None:
    assert (typeset("\u0645"), typeset("x\u0345")) == ("\u0645", "x\u0345")  # each is in a font, in different ones
    assert typeset("\u0645\u0345") == marked("\u0645\u0345")
    assert typeset("a\u20d2") == "[U+0061 U+20D2]"


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_has_each_form(text: str) -> None:
    for change in (visible, typeset, ascii_only):
        shown = change(text)
        shown.encode()
        assert change(shown) == shown
    assert ascii_only(text).isascii()
    assert whole(text).encode()[:0] == b""


def test_every_text_of_a_model_is_changed_and_nothing_else() -> None:
    made = report(controls=2)
    upper = with_text(made, str.upper)
    assert upper.controls[0].question == made.controls[0].question.upper()
    assert upper.tables[0].rows[0][0] == str(made.tables[0].rows[0][0]).upper()
    assert upper.tables[0].rows[0][7:9] == made.tables[0].rows[0][7:9]
    assert with_text(made, lambda text: text) == made


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (False, "no"), (0, "0"), (1234567, "1,234,567"), (-5, "-5"), ("", ""), ("=x", "=x")],
)
def test_values_as_readers_see_them(value: str | int | None, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (100.0, "100"), (1234.567, "1,234.57"), (1e300, "1e+300"), (-0.25, "-0.25")]
)
def test_fractions(value: float, text: str) -> None:
    assert cell(value) == text


def test_kinds_of_columns() -> None:
    rows = [(1, "a", "0195c000-0000-7000-8000-0000000000aa", None), (2.5, None, "x" * 16, None), (3, "b", None)]
    assert kinds_of(("a", "b", "c", "d"), rows) == ("number", "text", "code", "text")


def test_sparks() -> None:
    assert spark(()) == ""
    assert spark((0, 0)) == "▁▁"
    assert spark((0, 1, 100)) == "▁▂█"
    assert len(spark(tuple(range(366)))) <= 31


def test_long_words_are_broken_and_come_back_whole() -> None:
    text = f"{LONG} short 2026-03-01T00:00:00.000000Z"
    parts = broken(text, 60, 9)
    assert parts.replace(BREAK, "") == text
    assert max(len(run) for run in parts.replace(" ", BREAK).replace("-", BREAK).split(BREAK)) <= 12
    assert broken("short", 60, 9) == "short"
    assert broken("e\u0301" * 40, 60, 9).count(f"{BREAK}\u0301") == 0


@given(st.text(max_size=400), st.floats(30, 300), st.integers(1, 16))
def test_what_is_clipped_is_a_beginning_with_a_mark(text: str, width: float, lines: int) -> None:
    found = clipped(text, width, 9.0, lines)
    if found != text:
        assert found.endswith(CLIPPED)
        kept = found.removesuffix(CLIPPED)
        assert text.startswith(kept)
        assert kept.count("\n") <= lines
        assert len(kept) * 0.49 * 9.0 <= max(width, 18.0) * lines
    assert clipped("short", 60, 9.0, 1) == "short"
    assert clipped("a\nb\nc", 60, 9.0, 2) == f"a\nb{CLIPPED}"


TEXT: Kind = "text"


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.lists(st.lists(st.text(max_size=80), min_size=n, max_size=n).map(tuple), max_size=4).map(
            lambda rows: Grid("t", ("column",) * n, (TEXT,) * n, tuple(rows))
        )
    )
)
def test_columns_fill_the_page_and_no_more(grid: Grid) -> None:
    found = widths(grid, 493.0, 9.0)
    assert sum(found) == pytest.approx(493.0)
    assert min(found) > 0
