"""docs/security-asvs.md: no requirement lacks, and what it names as proof is there."""

import ast
import csv
import functools
import re
from pathlib import Path

import pytest

from tests.app import ROOT
from tools._links import anchors

PAGE = (ROOT / "docs" / "security-asvs.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| V(\d+\.\d+\.\d+) \| ([12]) \| (\S.*?) \| (met|\*\*not met\*\*|not applicable) \| (\S.*?) \|$", re.MULTILINE
)
ROWS = ROW.findall(PAGE)
STATUSES = ("met", "**not met**", "not applicable")
MET = [(name, how) for name, _, _, found, how in ROWS if found == "met"]
TEST = re.compile(r"`(tests/[^`:\s]+\.py)::(test_\w+)`")
LINK = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
DOCUMENTED = [
    *("2.1.1", "2.1.2", "2.1.3", "6.1.2", "6.1.3", "7.1.1", "7.1.2", "8.1.1", "8.1.2", "11.1.1", "11.1.2", "13.1.1"),
    *("14.1.1", "14.1.2", "15.1.1", "15.1.2", "15.1.3", "16.1.1"),
]
"""Requirements of documentation."""
OF_ANOTHER_KIND = {"1", "4", "9", "12"}
"""Chapters whose first section is of the program: encoding, web services, tokens, TLS."""
NAMED = re.compile(r"`((?:tests|functions|shared|infra|docs|scripts)/[^`:\s]+|pyproject\.toml)(?:::(\w+))?`")


@functools.cache
def functions(path: Path) -> dict[str, list[str]]:
    """The test functions of a module, each with what it is decorated with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name: [ast.unparse(each) for each in node.decorator_list] for node in found}


def requirements() -> dict[str, int]:
    """Level by id, of all levels: ids of a section count up, a digit for each in `levels`."""
    with (ROOT / "tests" / "asvs_5.0.0.csv").open(encoding="utf-8", newline="") as file:
        sections = [(row["section"], row["levels"]) for row in csv.DictReader(file)]
    return {f"{section}.{at}": int(level) for section, levels in sections for at, level in enumerate(levels, 1)}


def test_the_list_of_requirements_is_whole() -> None:
    """As the standard counts them: 70 of level 1, 183 of level 2, 92 of level 3."""
    levels = list(requirements().values())
    assert [levels.count(level) for level in (1, 2, 3)] == [70, 183, 92]


def test_every_requirement_of_both_levels_has_its_row_and_none_has_two() -> None:
    wanted = [(name, str(level)) for name, level in requirements().items() if level < 3]
    assert [(name, level) for name, level, *_ in ROWS] == wanted
    assert len(ROWS) == len(re.findall(r"^\| V\d", PAGE, re.MULTILINE))


def test_the_page_counts_what_it_says() -> None:
    met, not_met, without = ([row[3] for row in ROWS].count(status) for status in STATUSES)
    assert f"**{met} met, {without} not applicable**" in PAGE
    assert f"**{not_met} not met**" in PAGE


def test_what_is_not_met_says_what_is_missing() -> None:
    for name, _, _, found, how in ROWS:
        assert ("**missing" in how or "**but" in how) == (found == "**not met**"), name


@pytest.mark.parametrize(("name", "how"), MET, ids=[name for name, _ in MET])
def test_what_is_met_is_shown_by_a_test(name: str, how: str) -> None:
    """By functions that are there and are not skipped; whole files and source files show nothing by themselves."""
    named = TEST.findall(how)
    assert named, "a met row names a test function"
    assert not re.findall(r"`tests/[^`:]*`", how), "which function of that file?"
    for path, test in named:
        decorated = functions(ROOT / path)
        assert test in decorated, f"{path}::{test}"
        assert not [each for each in decorated[test] if "skip" in each or "xfail" in each], test


@pytest.mark.parametrize("name", DOCUMENTED)
def test_what_asks_for_documentation_names_the_section_that_says_it(name: str) -> None:
    (how,) = [how for each, how in MET if each == name]
    links = LINK.findall(how)
    assert links
    for path, anchor in links:
        page = (ROOT / "docs" / path).resolve() if path else ROOT / "docs" / "security-asvs.md"
        assert anchor in anchors(page.read_text(encoding="utf-8")), f"{path}#{anchor}"


def test_what_asks_for_documentation_is_what_the_standard_has_as_such() -> None:
    """The first section of a chapter, but for chapters whose first is about something else."""
    first = [name for name, _ in MET if name.split(".")[1] == "1" and name.split(".")[0] not in OF_ANOTHER_KIND]
    assert first == DOCUMENTED


@pytest.mark.parametrize(
    ("cell", "is_shown"),
    [
        ("`tests/test_asvs.py::test_the_list_of_requirements_is_whole`", True),
        ("`tests/test_asvs.py`", False),
        ("`functions/_http.py`", False),
        ("`tests/test_asvs.py::test_nothing_of_that_name`", False),
        ("[below](#sessions)", False),
        ("Python", False),
        ("`tests/test_asvs.py::test_the_list_of_requirements_is_whole`, `tests/test_docs.py`", False),
    ],
)
def test_what_shows_nothing_is_seen(cell: str, is_shown: bool) -> None:
    if is_shown:
        test_what_is_met_is_shown_by_a_test("1.1.1", cell)
        return
    with pytest.raises(AssertionError):
        test_what_is_met_is_shown_by_a_test("1.1.1", cell)


def test_every_file_that_is_named_is_there() -> None:
    named = set(NAMED.findall(PAGE))
    assert len(named) > 100
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or test in functions(ROOT / path), test
