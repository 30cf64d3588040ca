"""What the page of gaps says of a report, and that too few branches fail."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools import gaps


def region(lines: list[int], branches: list[list[int]]) -> dict[str, Any]:
    return {"missing_lines": lines, "missing_branches": branches}


def report(covered: int) -> dict[str, Any]:
    two = {
        "": region([], []),
        "_two.<locals>.inner": region([3, 4, 5, 9], [[8, 10], [12, -11]]),
        "whole": region([], []),
    }
    files = {
        "shared/b.py": {**region([3, 4, 5, 9], [[8, 10], [12, -11]]), "functions": two},
        "shared/a.py": {**region([1], []), "functions": {"": region([1], [])}},
        "shared/whole.py": {**region([], []), "functions": {"": region([], [])}},
    }
    totals = {"percent_covered": 98.449, "missing_lines": 5, "num_statements": 12_345}
    return {
        "totals": totals | {"missing_branches": 100 - covered, "covered_branches": covered, "num_branches": 100},
        "files": files,
    }


def test_what_is_missing_by_function() -> None:
    page = gaps.page(report(98))
    assert "**98.4 %** in all. Of 12,345 statements 5 are not reached, and of 100 branches 2. That is 98.0 % of" in page
    assert " 1 of 3 modules are reached whole.\n" in page
    assert page.endswith(
        "|---|---|---|---|\n"
        "| `shared/a.py` |  | 1 |  |\n"
        "| `shared/b.py` | `_two.<locals>.inner` | 3-5, 9 | 8 → 10, 12 → out |\n"
    )


@pytest.mark.parametrize(("covered", "code"), [(95, 0), (94, 1)])
def test_too_few_branches_fail(
    covered: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gaps, "PAGE", tmp_path / "gaps.md")
    (tmp_path / "report.json").write_text(json.dumps(report(covered)), encoding="utf-8")
    assert gaps.main([str(tmp_path / "report.json")]) == code
    assert (tmp_path / "gaps.md").read_text(encoding="utf-8") == gaps.page(report(covered))
    assert f"{covered}.0 % of the branches" in capsys.readouterr().out


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert gaps.main([]) == 2
    assert "usage" in capsys.readouterr().err
