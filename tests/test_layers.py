"""Imports go one way: the layers of docs/architecture.md, proved over the whole tree."""

import tomllib
from pathlib import Path

import pytest
from importlinter import cli

from tests.app import ROOT

CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def test_the_layers_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.lint_imports(config_filename="pyproject.toml", no_cache=True) == cli.EXIT_STATUS_SUCCESS


def test_every_package_of_shared_has_a_layer() -> None:
    """`exhaustive` makes the linter refuse a package that nobody placed."""
    contract = next(c for c in CONFIG["contracts"] if c.get("containers") == ["shared"])
    assert contract["exhaustive"] is True
    assert "exhaustive_ignores" not in contract


def test_a_wrong_import_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof can fail: a copy of the tree with one import against the layers is refused."""
    import shutil
    import subprocess
    import sys

    for folder in ("functions", "shared", "devhost"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "shared/core/clock.py").open("a", encoding="utf-8") as file:
        file.write("\nfrom shared.identity import model\n")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    assert "shared.core is not allowed to import shared.identity" in done.stdout
