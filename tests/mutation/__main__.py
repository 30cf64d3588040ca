"""`python -m tests.mutation [SCOPE…]`: mutmut on each scope, in a copy of what is here (.tools/mutants).

Prints for each scope how many mutants there are and what became of them, and the names of those that no test noticed
(`--show`: what they change). Exit code: 1 where less than LEAST_NOTICED were noticed, 2 for bad arguments.
scripts/mutation.sh installs mutmut and calls this.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.app import ROOT
from tests.mutation.scopes import SCOPES, Scope
from tools._reports import LEAST_NOTICED

WORKERS = 2
_PLUGINS = ("pytest_asyncio.plugin", "_hypothesis_pytestplugin", "tests.mutation.plugin", "no:cacheprovider")
_SOURCES = ("functions", "shared")
_WITHOUT = "not cosmos"
"""The emulator is a process of its own, and slow: the embedded store has to do."""
_START = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
"""mutmut brings libraries that .venv has too: .venv's come first. `tests` is to be that beside the mutants."""
_ENDS = ("killed", "timeout", "survived", "no_tests", "suspicious", "segfault", "skipped")


@dataclass(frozen=True)
class Tally:
    """What became of the mutants of a scope. What is neither killed nor timed out counts as missed."""

    total: int
    killed: int
    timeout: int

    @classmethod
    def of(cls, statistics: dict[str, Any], *, sampled: bool = False) -> Self:
        """From what `mutmut export-cicd-stats` writes; `sampled`: of those that were tried. ValueError where some were
        not tried that should have been, or there are none."""
        tried = sum(statistics[name] for name in _ENDS)
        if statistics["check_was_interrupted_by_user"] or not tried or not (sampled or tried == statistics["total"]):
            raise ValueError("the run did not end, or there is nothing to mutate")
        return cls(tried, statistics["killed"], statistics["timeout"])

    @property
    def missed(self) -> int:
        """Mutants that no test noticed."""
        return self.total - self.killed - self.timeout

    @property
    def percent(self) -> float:
        """Of all mutants, how many were noticed."""
        return 100 * (self.killed + self.timeout) / self.total

    def line(self, name: str) -> str:
        """The row of a table."""
        return f"{name:<12} {self.total:>7} {self.killed:>7} {self.timeout:>7} {self.missed:>7} {self.percent:>7.1f}%"


def settings_of(scope: Scope, top: Sequence[str]) -> str:
    """The section of mutmut in pyproject.toml; `top`: names of what else is copied."""
    plugins = [argument for name in _PLUGINS for argument in ("-p", name)]
    without = [f"--deselect={each}" for each in scope.without]
    values: dict[str, Any] = {
        "source_paths": list(_SOURCES),
        "only_mutate": list(scope.modules),
        "also_copy": [each for each in top if each not in _SOURCES],
        "pytest_add_cli_args": [*plugins, "--hypothesis-profile=mutation", "-k", _WITHOUT, *without],
        "pytest_add_cli_args_test_selection": list(scope.tests),
        "process_isolation": "forkserver",
        "timeout_multiplier": 4.0,
        "timeout_constant": 4.0,
        "track_dependencies": False,
        "use_git_change_detection": False,
        "on_dependency_change": "ignore",
    }
    return "\n[tool.mutmut]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def copied(name: str, *, anew: bool) -> Path:
    """The folder in which a scope's mutants live: a copy of every file of the project, with mutmut's settings."""
    folder = ROOT / ".tools" / "mutants" / name
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    git = shutil.which("git") or "git"
    listed = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")  # noqa: S603
    files = [each for each in names if each and (ROOT / each).is_file()]
    for each in files:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / each, folder / each)
    top = sorted({each.partition("/")[0] for each in files if not each.startswith(".")})
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as settings:
        settings.write(settings_of(SCOPES[name], top))
    return folder


def mutmut(folder: Path, *arguments: str, quiet: bool = True) -> str:
    """Run mutmut, niced; what it printed, where it is to be quiet. CalledProcessError where it fails."""
    library, runner = str(ROOT / ".tools/mutation"), str(ROOT / "tests/mutation/runner.py")
    command = ["nice", "-n", "10", sys.executable, "-c", _START, library, runner, *arguments]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        command, cwd=folder, stdout=subprocess.PIPE if quiet else None, text=True, check=True
    )
    return done.stdout or ""


def again(folder: Path) -> None:
    """Have the mutants tried again that no test noticed the last time; what was noticed stays noticed."""
    for path in folder.glob("mutants/**/*.meta"):
        meta = json.loads(path.read_text(encoding="utf-8"))
        codes = meta["exit_code_by_key"]
        meta["exit_code_by_key"] = {key: code if code == 1 else None for key, code in codes.items()}
        path.write_text(json.dumps(meta), encoding="utf-8")
    statistics = folder / "mutants/mutmut-stats.json"
    timed = json.loads(statistics.read_text(encoding="utf-8"))
    statistics.write_text(json.dumps(timed | {"config_fingerprint": {}}), encoding="utf-8")  # whose change ends all


def run(name: str, *, anew: bool, workers: int, digits: str = "") -> tuple[Tally, list[str]]:
    """Mutate a scope; what became of the mutants, and the names of those that were missed.

    `digits`: those alone whose number ends with one of them.
    """
    folder = copied(name, anew=anew)
    if not anew:
        again(folder)
    mutmut(folder, "run", "--max-children", str(workers), *(f"*{digit}" for digit in digits), quiet=False)
    mutmut(folder, "export-cicd-stats")
    statistics = json.loads((folder / "mutants/mutmut-cicd-stats.json").read_text(encoding="utf-8"))
    results = [line.strip() for line in mutmut(folder, "results").splitlines()]
    missed = [line for line in results if line and not line.endswith((": timeout", ": killed", ": not checked"))]
    return Tally.of(statistics, sampled=bool(digits)), missed


def chosen_by(text: str) -> list[str]:
    """The scopes that are meant: the one of that name, or all whose names begin so (`ledger`)."""
    return [name for name in SCOPES if name == text or name.startswith(f"{text}-")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scopes that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Which mutants no test notices.")
    parser.add_argument("scope", nargs="*", help=f"of {', '.join(SCOPES)}, or how several begin (default: all)")
    parser.add_argument("--again", action="store_true", help="try those alone that were missed the last time")
    parser.add_argument("--show", action="store_true", help="print what each of those changes")
    parser.add_argument("--digits", default="", help="a sample: those alone whose number ends with one of these (37)")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"how many at once (default: {WORKERS})")
    asked = parser.parse_args(arguments)
    chosen = {each: chosen_by(each) for each in asked.scope} or {"": list(SCOPES)}
    if unknown := [each for each, names in chosen.items() if not names]:
        parser.error(f"no such scope: {', '.join(unknown)}")
    if not set(asked.digits) <= set("0123456789"):
        parser.error("--digits: digits")
    tallies = {}
    for name in dict.fromkeys(name for names in chosen.values() for name in names):
        tallies[name], missed = run(name, anew=not asked.again, workers=asked.workers, digits=asked.digits)
        for each in missed:
            sys.stdout.write(f"{each}\n")
            if asked.show:
                folder = ROOT / ".tools" / "mutants" / name
                sys.stdout.write(mutmut(folder, "show", each.partition(":")[0]) + "\n")
    sys.stdout.write(f"{'scope':<12} {'mutants':>7} {'killed':>7} {'timeout':>7} {'missed':>7} {'noticed':>8}\n")
    sys.stdout.writelines(f"{tally.line(name)}\n" for name, tally in tallies.items())
    return int(any(tally.percent < LEAST_NOTICED for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
