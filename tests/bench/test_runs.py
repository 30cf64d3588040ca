"""A run of benchmarks: what it keeps, what it leaves out, and that every program is part of it."""

import json
import platform
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.__main__ import main
from bench._history import ROOT, Figure, Record, Run, newest, read
from bench._programs import PROGRAMS, Program

GOOD = """
import json
print("a table")
print(json.dumps({"bench": "good", "metric": "speed", "of": "all", "value": 1.5, "unit": "1/s"}))
"""
BAD = """
import json, sys
print(json.dumps({"bench": "bad", "metric": "speed", "value": 2, "unit": "1/s"}), flush=True)
sys.exit(3)
"""
SILENT = "print('nothing to tell')\n"
FOREIGN = """print('{"bench": "good", "metric": "speed", "value": 2, "unit": "1/s"}')\n"""
TORN = """print('{"bench": "torn", "metric": "speed", "val')\n"""
NOT_A_NUMBER = """print('{"bench": "not_a_number", "metric": "speed", "value": NaN, "unit": "1/s"}')\n"""
MODULES = {"good": GOOD, "bad": BAD, "silent": SILENT, "foreign": FOREIGN, "torn": TORN, "not_a_number": NOT_A_NUMBER}


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history yet to be begun, and programs to run, in the package `measured`."""
    package = tmp_path / "measured"
    package.mkdir()
    for name, text in MODULES.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "history.jsonl"


def _run(history: Path, *names: str, asked: tuple[str, ...] = ()) -> int:
    programs = [Program(name) for name in names]
    page = history.with_name("page.md")
    return main(asked, programs, "measured", history, {page: lambda: str(len(read(history)))})


def test_the_figures_of_a_run_are_kept_and_the_page_is_written_after_that(
    history: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(history, "good") == 0
    assert _run(history, "good") == 0
    first, second = read(history)
    assert [run.figures for run in second.runs] == [(Figure("speed", 1.5, "1/s", {"of": "all"}),)]
    assert first.runs[0].seconds > 0
    assert history.with_name("page.md").read_text(encoding="utf-8") == "2"
    assert "a table" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["bad", "silent", "foreign", "torn", "not_a_number"])
def test_of_a_program_that_fails_nothing_is_kept_and_the_others_run(
    history: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(history, name, "good") == 1
    (record,) = read(history)
    assert [run.program for run in record.runs] == ["good"]
    assert capfd.readouterr().err.startswith(f"failed: {name}: ")


def test_where_all_fail_nothing_is_written(history: Path) -> None:
    assert _run(history, "bad", "silent") == 1
    assert not history.exists()
    assert not history.with_name("page.md").exists()


def test_only_what_is_asked_for_runs(history: Path) -> None:
    assert _run(history, "bad", "good", asked=("good",)) == 0
    assert [run.program for record in read(history) for run in record.runs] == ["good"]


def test_what_is_not_standard_runs_when_it_is_asked_for_and_not_else(history: Path) -> None:
    programs = [Program("bad", standard=False), Program("good")]
    assert main([], programs, "measured", history, {}) == 0
    assert main(["bad"], programs, "measured", history, {}) == 1


def test_a_name_that_there_is_not_stops_before_anything_runs(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        _run(history, "good", asked=("good", "gone"))
    assert stopped.value.code == 2
    assert "no such benchmark: gone" in capsys.readouterr().err
    assert not history.exists()


def test_a_record_is_read_as_it_was_written_and_says_nothing_of_whose_machine_it_is() -> None:
    run = Run("good", ("--events", "5"), 1.5, (0.1, 2.0), (Figure("speed", 2.0, "1/s", {"of": "all", "events": 5}),))
    record = Record.made([run], datetime(2026, 3, 1, 12, 30, tzinfo=UTC))
    assert Record.of(record.line()) == record
    assert record.at == "2026-03-01T12:30:00Z"
    assert {name for name, value in record.machine.items() if value} == {
        *("cores", "cpu", "memory", "python", "sqlite", "os", "kernel")
    }
    for private in (platform.node(), str(ROOT), str(Path.home())):
        assert private not in record.line()


def test_the_newest_run_of_each_program_counts() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    runs = [Run(name, (), seconds, (0, 0), ()) for name, seconds in (("one", 1.0), ("two", 2.0), ("one", 3.0))]
    records = [Record.made(runs[:2], at), Record.made(runs[2:], at)]
    assert {name: (record, run.seconds) for name, (record, run) in newest(records).items()} == {
        "one": (records[1], 3.0),
        "two": (records[0], 2.0),
    }


def test_every_program_of_the_folder_is_in_the_list() -> None:
    modules = {path.stem for path in (ROOT / "bench").glob("*.py") if not path.stem.startswith("_")}
    assert sorted(each.name for each in PROGRAMS) == sorted(modules)


def test_the_history_holds_what_its_lines_say() -> None:
    lines = (ROOT / "bench" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(record.line()) for record in read()] == [json.loads(line) for line in lines]
    names = {each.name for each in PROGRAMS}
    assert {run.program for record in read() for run in record.runs} <= names
