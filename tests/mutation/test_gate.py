"""Mutation testing is held to what it says: every scope is there, and what was not noticed counts as missed."""

import json
import tomllib
from pathlib import Path

import pytest

from tests.app import ROOT
from tests.mutation.__main__ import Tally, again, chosen_by, main, settings_of
from tests.mutation.scopes import SCOPES, Scope

RESULTS = {
    "killed": 85,
    "timeout": 4,
    "survived": 6,
    "no_tests": 3,
    "suspicious": 1,
    "segfault": 1,
    "skipped": 0,
    "total": 100,
    "check_was_interrupted_by_user": 0,
}


@pytest.mark.parametrize("name", SCOPES)
def test_every_scope_names_what_is_there(name: str) -> None:
    scope = SCOPES[name]
    for pattern in scope.modules:
        assert [path for path in ROOT.glob(pattern) if path.suffix == ".py"], pattern
    for test in scope.tests:
        assert (ROOT / test).exists(), test
    for test in scope.without:
        file, _, function = test.partition("::")
        assert (ROOT / file).is_file(), test
        assert not function or f"def {function}" in (ROOT / file).read_text(encoding="utf-8"), test


NO_CODE = {"shared/ledger/__init__.py", "shared/privacy/__init__.py", "shared/privacy/public_attributes.py"}
AT_IMPORT = {"shared/privacy/inventory.py"}
"""Its functions run when it is imported, before a mutant is chosen."""


@pytest.mark.parametrize("package", ["ledger", "privacy"])
def test_every_module_is_in_one_scope(package: str) -> None:
    there = {f"shared/{package}/{path.name}" for path in (ROOT / "shared" / package).glob("*.py")}
    named = [module for scope in SCOPES.values() for module in scope.modules if module in there]
    assert sorted(named) == sorted(there - NO_CODE - AT_IMPORT)


def test_what_is_neither_killed_nor_timed_out_is_missed() -> None:
    tally = Tally.of(RESULTS)
    assert tally == Tally(total=100, killed=85, timeout=4)
    assert tally.missed == 11
    assert tally.percent == pytest.approx(89)
    assert tally.line("ledger").split() == ["ledger", "100", "85", "4", "11", "89.0%"]


def test_of_a_sample_those_count_that_were_tried() -> None:
    assert Tally.of(RESULTS | {"total": 500, "not_checked": 400}, sampled=True) == Tally(100, 85, 4)
    with pytest.raises(ValueError, match="nothing to mutate"):
        Tally.of(dict.fromkeys(RESULTS, 0) | {"total": 500}, sampled=True)


@pytest.mark.parametrize(
    "change", [{"check_was_interrupted_by_user": 1}, {"total": 0}, {"not_checked": 1, "killed": 84}]
)
def test_a_run_that_did_not_end_gives_no_figures(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^the run did not end, or there is nothing to mutate$"):
        Tally.of(RESULTS | change)


def test_mutmut_reads_what_a_scope_says() -> None:
    scope = Scope(("shared/a/*",), ("tests/a",), ("tests/a/test_b.py::test_c",))
    read = tomllib.loads(settings_of(scope, ["functions", "shared", "tests"]))["tool"]["mutmut"]
    assert read["only_mutate"] == ["shared/a/*"]
    assert read["source_paths"] == ["functions", "shared"]
    assert read["also_copy"] == ["tests"]
    assert read["pytest_add_cli_args_test_selection"] == ["tests/a"]
    assert "--deselect=tests/a/test_b.py::test_c" in read["pytest_add_cli_args"]


def test_what_was_noticed_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "mutants" / "shared").mkdir(parents=True)
    path = tmp_path / "mutants" / "shared" / "a.py.meta"
    path.write_text(json.dumps({"exit_code_by_key": {"killed": 1, "survived": 0, "timeout": 36, "none": 33}}))
    statistics = tmp_path / "mutants" / "mutmut-stats.json"
    statistics.write_text(json.dumps({"config_fingerprint": {"test_selection": "old"}, "stats_time": 1}))
    again(tmp_path)
    assert json.loads(path.read_text())["exit_code_by_key"] == {
        "killed": 1,
        "survived": None,
        "timeout": None,
        "none": None,
    }
    assert json.loads(statistics.read_text()) == {"config_fingerprint": {}, "stats_time": 1}


def test_scopes_are_chosen_by_name_or_by_how_they_begin() -> None:
    assert chosen_by("ledger-proofs") == ["ledger-proofs"]
    assert chosen_by("ledger") == [name for name in SCOPES if name.startswith("ledger-")] != []
    assert chosen_by("led") == chosen_by("") == []


def test_a_scope_that_is_none_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ledger-proofs", "nonsense"])
    assert ended.value.code == 2
    assert "no such scope: nonsense" in capsys.readouterr().err
