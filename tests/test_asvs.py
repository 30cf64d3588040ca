"""docs/security-asvs.md: no requirement lacks, and what it names as proof is there."""

import ast
import csv
import re

import pytest

from functions import ENDPOINTS
from functions._http import SECURITY_HEADERS
from functions._openapi import document
from tests.app import ROOT, App

PAGE = (ROOT / "docs" / "security-asvs.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| V(\d+\.\d+\.\d+) \| ([12]) \| (\S.*?) \| (met|\*\*not met\*\*|not applicable) \| (\S.*?) \|$", re.MULTILINE
)
ROWS = ROW.findall(PAGE)
STATUSES = ("met", "**not met**", "not applicable")
NAMED = re.compile(r"`((?:tests|functions|shared|infra|docs|scripts)/[^`:\s]+|pyproject\.toml)(?:::(\w+))?`")


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


@pytest.mark.parametrize("status", ["met", "**not met**"])
def test_what_is_met_is_shown_and_what_is_not_says_what_is_missing(status: str) -> None:
    for name, _, _, found, how in ROWS:
        if found == "**not met**" and status == found:
            assert "**missing" in how or "**but" in how, name
        if found == "met" and status == found:
            assert NAMED.search(how) or "](#" in how or name in PLAIN, name


PLAIN = {"1.4.1", "3.5.2", "7.6.2", "11.2.1", "11.4.1", "12.2.2", "12.3.3", "12.3.4", "13.2.3"}
"""Of these the page says what is used, and there is nothing that a name would add."""


def test_every_test_and_file_that_is_named_is_there() -> None:
    named = set(NAMED.findall(PAGE))
    assert len(named) > 100
    for path, test in named:
        assert (ROOT / path).exists(), path
        if test:
            assert re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), test


def test_every_chapter_that_it_links_to_is_there() -> None:
    headings = {
        re.sub(r"[^a-z -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^## (.*)$", PAGE, re.M)
    }
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) <= headings


async def test_headers_for_browsers(app: App) -> None:
    """That every route sends them is asked elsewhere."""
    answer = await app.client.get("/v1/health/live", headers={"Origin": "https://example.com"})
    sent = {name: answer.headers[name] for name in SECURITY_HEADERS}
    age = re.match(r"max-age=(\d+); includeSubDomains", sent["Strict-Transport-Security"])
    assert age is not None
    assert int(age[1]) >= 365 * 86_400
    policy = sent["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert sent["X-Content-Type-Options"] == "nosniff"
    assert sent["Referrer-Policy"] == "no-referrer"
    assert sent["Cache-Control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith(("access-control-", "set-cookie"))]


async def test_nothing_redirects_and_nothing_traces(app: App) -> None:
    paths = document(ENDPOINTS)["paths"].values()
    answers = {status for path in paths for operation in path.values() for status in operation["responses"]}
    assert {status for status in answers if status.startswith("3")} <= {"304"}
    for path in ("/v1/profile", "/v1/health/live", "/v1/nowhere"):
        answer = await app.client.request("TRACE", path, headers={"X-Secret": "echo me"})
        assert answer.status_code in (404, 405)
        assert "echo me" not in answer.text


def test_the_app_starts_no_process_and_reads_no_code() -> None:
    """What comes in is JSON; nothing of it is run, and no parser of XML, pickles or YAML is there to be given it."""
    modules = {"subprocess", "pickle", "marshal", "shelve", "xml", "yaml", "lxml", "pty", "ctypes"}
    found = []
    for path in (each for folder in ("functions", "shared") for each in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names if alias.name.split(".")[0] in modules]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in modules:
                found.append(node.module or "")
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"eval", "exec", "os.system", "os.popen"}:
                found.append(f"{path}: {ast.unparse(node)}")
    assert not found
