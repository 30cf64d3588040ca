"""The pages for operators against what they speak of: links, messages, parameters, files, providers."""

import ast
import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from functions import ENDPOINTS
from functions.change_feed import CONSUMERS
from functions.timers import OF_ERASURE, TIMERS, of_role
from tests.app import ROOT
from tools._links import CODE, LINK, broken_links, is_there, named_files, pages

DOCS = ROOT / "docs"
PAGES = pages(ROOT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in DOCS.glob("*.md") if f"](docs/{page.name})" not in text} == set()


def test_there_are_links_and_a_broken_one_is_found() -> None:
    assert sum(len(LINK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 200
    text = (
        "# A `b`: c, d\n# A b c d\n[x](#a-b-c-d) [y](#a-b-c-d-1) [z](#no) [u](no.md) [w](operations.md#no) `[c](no)`\n"
    )
    assert broken_links(DOCS / "page.md", text) == ["#no", "no.md", "operations.md#no"]


def rows(page: str) -> Iterator[list[str]]:
    """The cells of every row of every table of a page, heads and rules left out."""
    lines = [*(DOCS / page).read_text(encoding="utf-8").splitlines(), ""]
    for line, after in itertools.pairwise(lines):
        if line.startswith("|") and not line.startswith("|---") and not after.startswith("|---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def first_cells(page: str) -> list[str]:
    return [cells[0] for cells in rows(page)]


@cache
def texts() -> frozenset[str]:
    """Every text in the program but its docstrings; of one that is put together `…` stands for what is put in."""
    found: set[str] = set()
    for folder in ("shared", "functions", "devhost", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                    node.value.value = ""
                elif isinstance(node, ast.JoinedStr):
                    found.add("".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    for path in (ROOT / "infra").rglob("*"):
        found |= {path.read_text(encoding="utf-8")} if path.is_file() else set()
    return frozenset(found)


def is_said(message: str) -> bool:
    return any(message in text for text in texts())


def test_every_message_that_is_explained_is_one_of_the_programs() -> None:
    """What stands in parentheses behind a message is an example of it."""
    cells = [re.sub(r"\(`[^`]*`\)", "", cell) for cell in first_cells("troubleshooting.md")]
    messages = {message for cell in cells for message in CODE.findall(cell)}
    assert len(messages) > 90
    assert {message for message in messages if not is_said(message)} == set()


@pytest.mark.parametrize("page", ["troubleshooting.md", "rollback.md", "disaster-recovery.md"])
def test_every_name_of_a_log_event_code_or_container_is_one_of_the_programs(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    names = {each for each in CODE.findall(text) if re.fullmatch(r"[a-z]+(?:_[a-z]+)+", each)}
    assert len(names) > 3
    assert {name for name in names if not is_said(name)} == set()


def test_a_message_that_nobody_says_is_found() -> None:
    assert is_said("must be set in Azure")
    assert not is_said("must be set in Azure, please")


def test_every_code_of_an_error_that_an_operator_has_to_mend_is_explained() -> None:
    told = " ".join(first_cells("troubleshooting.md"))
    codes = {
        "ledger_broken",
        "audit_unavailable",
        "store_unavailable",
        "secrets_unavailable",
        "not_ready",
        "internal_error",
    }
    assert {code for code in codes if f"`{code}`" not in told} == set()


def test_every_refusal_of_a_setting_is_explained() -> None:
    """What `shared/core/settings.py` and the endpoints' checks say of a value."""
    told = " ".join(first_cells("troubleshooting.md"))
    said = set()
    for name in ("settings", "endpoints"):
        tree = ast.parse((ROOT / f"shared/core/{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                parts = [
                    p for p in ast.walk(node.exc.args[0]) if isinstance(p, ast.Constant) and isinstance(p.value, str)
                ]
                said |= {max((str(p.value) for p in parts), key=len, default="").rpartition(": ")[2].strip()}
    said = {each for each in said if len(each) > 8}
    assert len(said) > 8
    assert {each for each in said if each not in told} == set()


def test_the_architecture_names_every_trigger() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for module, names in (("change_feed", CONSUMERS), ("timers", TIMERS)):
        shown = re.search(rf"functions/{module}<br/>([^\"]+)", text)
        assert shown
        assert sorted(shown[1].split(" · ")) == sorted(names)


def test_the_timers_that_walk_the_tenants_are_named() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    told = re.search(r"^## Reconciliation.*\n((?:.*\n)+?).* walk the registry of tenants", page, re.MULTILINE)
    assert told
    named = set(CODE.findall(told[0])) - {"platform"}
    walk = {name for name, (_, job) in TIMERS.items() if "rounds" in job.__code__.co_names}
    assert len(walk) > 10
    assert named == walk


def variables() -> dict[str, str | None]:
    """Every variable of the templates' parameters, and its default; None where it has none."""
    given = json.loads((ROOT / "infra/main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    found = (re.fullmatch(r"\$\{([A-Z_]+)(?:=(.*))?\}", each["value"]) for each in given.values())
    return {match[1]: match[2] for match in found if match}


def test_the_variables_of_a_deployment_are_those_of_the_templates() -> None:
    known = variables()
    table = {cells[0].strip("`"): cells[1] for cells in rows("deployment.md") if cells[0].strip("`") in known}
    assert len(known) > 15
    assert table.keys() == known.keys()
    for name, default in known.items():
        if default:
            assert f"`{default}`" in table[name], name
        elif default == "":
            assert table[name].startswith("empty"), name
    assert table["LEDGER_ORIGIN"] == "**required**"


def test_the_providers_to_register_are_those_of_the_templates() -> None:
    text = (DOCS / "deployment.md").read_text(encoding="utf-8")
    named = set(
        re.findall(r"`(Microsoft\.\w+)`", text[text.index("**Resource providers**") : text.index("**A region**")])
    )
    templates = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "infra").rglob("*.bicep"))
    used = set(re.findall(r"'(Microsoft\.\w+)/[^']*@", templates)) | {"Microsoft.App"}  # the subnets' delegation
    assert "Microsoft.App/environments" in templates
    assert named == used
    listed = re.search(r"for each in ([\w ]+); do", text)
    assert listed
    always = {"Authorization", "Resources"}
    assert set(listed[1].split()) == {name.removeprefix("Microsoft.") for name in used} - always


def test_no_page_asks_for_fewer_rights_than_the_templates_need() -> None:
    """They make locks unless told otherwise, which the administrator of role assignments may not."""
    assert "Microsoft.Authorization/locks" in (ROOT / "infra/modules/vault.bicep").read_text(encoding="utf-8")
    named = 0
    for page in ("deployment.md", "delivery.md"):
        for paragraph in re.split(r"\n(?:\n|- )", (DOCS / page).read_text(encoding="utf-8")):
            if re.search(r"\bContributor\b", paragraph):
                named += 1
                assert "User Access Administrator" in paragraph, f"{page}: {paragraph}"
            assert "Role Based Access Control Administrator" not in paragraph or "LOCKED=false" in paragraph, page
    assert named >= 2


def test_what_is_deployed_by_hand_is_the_package() -> None:
    """What azd packs by itself depends on its version."""
    text = (DOCS / "deployment.md").read_text(encoding="utf-8")
    assert re.findall(r"^ +(azd deploy.*)$", text, re.MULTILINE) == []
    assert re.search(r"^ +make package\n +sh scripts/deploy_package.sh dist$", text, re.MULTILINE)


def test_the_functions_that_a_deployment_lists() -> None:
    text = (DOCS / "deployment.md").read_text(encoding="utf-8")
    assert f"it is {len(OF_ERASURE)} ({', '.join(f'`{name}`' for name in sorted(OF_ERASURE))})" in text
    assert "is above 80" in text
    of_app = len(ENDPOINTS) + len({"zz_not_found"}) + len(CONSUMERS) + len(set(of_role("app")))
    assert of_app > 80


@pytest.mark.parametrize(
    "page", ["deployment.md", "rollback.md", "disaster-recovery.md", "troubleshooting.md", "security.md"]
)
def test_operators_commands_that_are_named_are_there(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    source = (ROOT / "tools/operator.py").read_text(encoding="utf-8")
    for command in re.findall(r"tools\.operator(?: --operator \S+)? ([a-z-]+)", text):
        assert f'"{command}"' in source, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    """Every file, folder and test."""
    assert {each for each in named_files(page.read_text(encoding="utf-8")) if not is_there(ROOT, each)} == set()


def test_the_threat_model_names_what_proves_it_and_what_is_missing_is_found() -> None:
    assert len(named_files((DOCS / "security.md").read_text(encoding="utf-8"))) > 30
    text = "`tests/app.py` `tests/none.py` `tests/test_docs.py::test_no` `python tests/x.py`, `shared/*/x.py`"
    missing = {"tests/none.py", "tests/test_docs.py::test_no"}
    assert {each for each in named_files(text) if not is_there(ROOT, each)} == missing
    assert named_files(text) == {"tests/app.py"} | missing
