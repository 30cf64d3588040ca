"""Imports go one way: the layers of docs/architecture.md, proved over the whole tree."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.app import ROOT

CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """The linter as a process of its own: in ours it would turn off every log that is there already."""
    linter = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([linter, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False)  # noqa: S603


def test_the_layers_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_the_one_exception_is_a_program_that_nobody_imports() -> None:
    contract = next(c for c in CONFIG["contracts"] if c.get("containers") == ["shared"])
    assert contract["ignore_imports"] == ["shared.compliance.report -> shared.wiring"]
    sources = [path for folder in ("functions", "shared", "devhost") for path in (ROOT / folder).rglob("*.py")]
    named = re.compile(r"shared\.compliance\.report\b(?!_)|from shared\.compliance import .*\breport\b")
    found = [path for path in sources if named.search(path.read_text(encoding="utf-8"))]
    assert [path.relative_to(ROOT).as_posix() for path in found] == ["shared/compliance/report.py"]


def test_every_package_of_shared_has_a_layer() -> None:
    """`exhaustive` makes the linter refuse a package that nobody placed."""
    contract = next(c for c in CONFIG["contracts"] if c.get("containers") == ["shared"])
    assert contract["exhaustive"] is True
    assert "exhaustive_ignores" not in contract


def test_a_wrong_import_is_noticed(tmp_path: Path) -> None:
    """The proof can fail: a copy of the tree with one import against the layers is refused."""
    for folder in ("functions", "shared", "devhost"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "shared/core/clock.py").open("a", encoding="utf-8") as file:
        file.write("\nfrom shared.identity import model\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "shared.core is not allowed to import shared.identity" in done.stdout
