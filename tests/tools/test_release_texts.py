"""What a changelog and the reports of a release have to say."""

from datetime import date

import pytest

from tests.app import ROOT
from tests.mutation.scopes import SCOPES
from tools import _changelog, _reports

TODAY, BEGUN = date(2026, 3, 20), date(2026, 3, 1)
TOP = "## [1.0.0] - 2026-03-15"
ADDED = "### Added\n- Something.\n"
BEFORE = f"## [0.9.0] - 2026-03-10\n\n{ADDED}"


def against(*parts: str) -> list[str]:
    text = "\n\n".join(("# Changelog", *parts)) + "\n"
    return [each.removeprefix("[1.0.0] - ") for each in _changelog.against(text, "1.0.0", TODAY, BEGUN)]


@pytest.mark.parametrize(
    "parts",
    [
        (TOP, ADDED),
        (TOP, ADDED, BEFORE),
        (TOP, ADDED, "### Fixed\n\n- An error.\n", BEFORE),
        ("## [1.0.0] - 2026-03-20", ADDED, BEFORE),
        ("## [1.0.0] - 2026-03-10", ADDED, BEFORE),
        (TOP, ADDED, "## [0.10.0] - 2026-03-12", ADDED, BEFORE),
        (TOP, ADDED, "## [0.9.0] - 2026-03-10\n\n### Known limits\n- Some.\n"),
    ],
)
def test_changelogs_that_will_do(parts: tuple[str, ...]) -> None:
    assert against(*parts) == []


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((), "the top entry is not there, the version 1.0.0"),
        (("## [0.9.0] - 2026-03-10", ADDED), "the top entry is [0.9.0] - 2026-03-10, the version 1.0.0"),
        (("## [Unreleased]", ADDED, TOP, ADDED), "the top entry is [Unreleased], the version 1.0.0"),
        (("## [1.0.01] - 2026-03-15", ADDED), "the top entry is [1.0.01] - 2026-03-15, the version 1.0.0"),
        (
            (TOP, ADDED, "## [Unreleased]", ADDED, BEFORE),
            "[Unreleased]: not of the form [X.Y.Z] - YYYY-MM-DD, with a day that there is",
        ),
        *(
            ((heading, ADDED, TOP, ADDED, BEFORE), f"{heading}: a heading is ## or ### and a space, from the margin on")
            for heading in ("##[Unreleased]", "##\t[Unreleased]", "  ## [Unreleased]", "##[1.0.0] - 2026-03-16")
        ),
        ((TOP, ADDED, "###Fixed\n- It.", BEFORE), "###Fixed: a heading is ## or ### and a space, from the margin on"),
        (("## [1.0.0]", ADDED), "[1.0.0]: not of the form [X.Y.Z] - YYYY-MM-DD, with a day that there is"),
        *(
            ((f"## [1.0.0] - {day}", ADDED), f"{day}: not of the form [X.Y.Z] - YYYY-MM-DD, with a day that there is")
            for day in ("soon", "20260315", "2026-3-15", "15.03.2026", "2026-02-30", "2026-03-15 YANKED")
        ),
        (("## [1.0.0] - 0001-01-01", ADDED), "0001-01-01: its day is before the first commit (2026-03-01)"),
        (("## [1.0.0] - 2026-03-21", ADDED), "2026-03-21: its day is not there yet"),
        (("## [1.0.0] - 2026-03-09", ADDED, BEFORE), "2026-03-09: its day is before that of [0.9.0] - 2026-03-10"),
        ((TOP, ADDED, TOP, ADDED), "2026-03-15: is below [1.0.0] - 2026-03-15"),
        (
            (TOP, ADDED, "## [0.9.0] - 2026-03-10", ADDED, "## [0.10.0] - 2026-03-10", ADDED),
            "[0.10.0] - 2026-03-10: is below [0.9.0] - 2026-03-10",
        ),
        ((TOP, BEFORE), "2026-03-15: says nothing"),
        ((TOP, "### Added", BEFORE), "2026-03-15: nothing is added"),
        ((TOP, "### Added\nA lot.", BEFORE), "2026-03-15: nothing is added"),
        ((TOP, ADDED, "### Added", BEFORE), "2026-03-15: nothing is added"),
        ((TOP, "### News\n- Some.", BEFORE), "2026-03-15: News is no heading of a changelog, or not the only one"),
        ((TOP, ADDED, ADDED, BEFORE), "2026-03-15: Added is no heading of a changelog, or not the only one"),
        ((TOP, "- Something.", ADDED, BEFORE), "2026-03-15: begins without a heading"),
    ],
)
def test_changelogs_that_will_not_do(parts: tuple[str, ...], reason: str) -> None:
    assert reason in against(*parts)


def page(name: str) -> str:
    return (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")


def test_an_aim_without_a_figure() -> None:
    text = "| aim | figure | |\n|---|---:|---|\n| fast | 3 ms | met |\n| small | | not measured yet |\n"
    assert list(_reports.benchmarks(text, ["fast"])) == []
    assert list(_reports.benchmarks(text, ["fast", "small", "cheap"])) == [
        "no figure for the aim: small",
        "no figure for the aim: cheap",
    ]


def test_what_a_campaign_lost() -> None:
    text = page("chaos")
    assert list(_reports.chaos(text)) == []
    assert list(_reports.chaos(text.replace("**Lost: 0.**", "**Lost: 2.**", 1))) == ["embedded store: 2 lost"]
    first, second = text.index("**embedded store"), text.index("**Cosmos DB")
    assert list(_reports.chaos(text[:second])) == ["Cosmos DB: no run"]
    assert list(_reports.chaos(text[:first] + text[second:])) == ["embedded store: no run"]
    assert list(_reports.chaos(text.replace("**Lost: 0.**", "", 1))) == ["embedded store: no run"]
    assert list(_reports.chaos(f"{text}\n| kill -9 | 3 | 2 |\n| disk full | 0 | 0 |\n| gone | 1,200 | 1,199 |\n")) == [
        "kill -9: 2 of 3 survived",
        "disk full: 0 of 0 survived",
        "gone: 1,199 of 1,200 survived",
    ]


def test_scopes_of_mutation_without_a_figure() -> None:
    text = page("mutation")
    assert list(_reports.mutation(text, SCOPES)) == []


def test_scopes_of_which_too_little_is_noticed() -> None:
    rows = "| `b` | none |\n| `c` | 98.5 % | 89.9 % of 30 |\n| `e` | 3 % | |\n| `f` | 100 % | 90 % of 30 |\n"
    text = f"## A\n\n`make mutation ONLY=a`.\n\nOf 20 90.0 % were.\n\n## B\n\n{rows}"
    text += "## G\n\n`make mutation ONLY=g`.\n\nOf 20 80 % were.\n"
    assert list(_reports.mutation(text, ["a", "b", "c", "d", "e", "f", "g"])) == [
        "no figure for b",
        "89.9 % of c, less than 90 %",
        "no figure for d",
        "3 % of e, less than 90 %",
        "80 % of g, less than 90 %",
    ]


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("**98.5 %** in all. That is 97.1 % of the branches reached.", []),
        ("**95 %** in all. That is 95.0 % of the branches reached.", []),
        ("**94.9 %** in all. That is 97.1 % of the branches reached.", ["94.9 % of all, less than 95 %"]),
        ("**98.5 %** in all. That is 94.9 % of the branches reached.", ["94.9 % of branches, less than 95 %"]),
        ("# Coverage", ["no figure for all", "no figure for branches"]),
    ],
)
def test_coverage(text: str, reasons: list[str]) -> None:
    assert list(_reports.coverage(text)) == reasons


def test_threats_without_a_test() -> None:
    text = page("security")
    assert list(_reports.security(text)) == []
    begin = text.index("### Denial of service")
    cut = text[:begin] + text[begin:].partition("### Elevation")[2]
    assert list(_reports.security(cut)) == [
        "no test against: Denial of service",
        "no test against: Elevation of privilege",
    ]
    assert len(list(_reports.security(text.replace("`tests/", "`")))) == len(_reports.THREATS)
