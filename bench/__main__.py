"""`python -m bench [NAME ...]`: run benchmarks one after the other, keep their figures, write docs/benchmarks.md.

Without names all that are standard (`bench/_programs.py`). What they print is shown; their figures become one line of
`bench/history.jsonl`, and the tables of the page. Of a program that fails none are kept: the others run all the same,
and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench._history import HISTORY, ROOT, Figure, Record, Run, append
from bench._page import PAGES
from bench._programs import PROGRAMS, Program
from shared.core.clock import SystemClock


class Failed(Exception):
    """A program did not do what it is there for."""


def run(program: Program, package: str = "bench") -> Run:
    """Run one program and show what it prints. Failed: it says so, or prints no figures, or somebody else's."""
    before, start = os.getloadavg()[0], time.perf_counter()
    command = [sys.executable, "-m", f"{package}.{program.name}", *program.arguments]
    told: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our modules
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.startswith('{"bench": '):
                told.append(line)
    if process.returncode:
        raise Failed(f"{program.name}: exit code {process.returncode}")
    if not told:
        raise Failed(f"{program.name}: it printed no figures")
    took = round(time.perf_counter() - start, 2)
    load = (round(before, 1), round(os.getloadavg()[0], 1))
    return Run(program.name, program.arguments, took, load, tuple(_figure(program, line) for line in told))


def _figure(program: Program, line: str) -> Figure:
    try:
        found = json.loads(line)
        if found["bench"] != program.name:
            raise Failed(f"{program.name}: a figure says that it is one of {found['bench']}")
        return Figure.of(found)
    except (ValueError, KeyError) as error:
        raise Failed(f"{program.name}: {error!r} of {line.strip()}") from None


def main(
    arguments: Sequence[str] | None = None,
    programs: Sequence[Program] = PROGRAMS,
    package: str = "bench",
    history: Path = HISTORY,
    pages: Mapping[Path, Callable[[], str]] = PAGES,
) -> int:
    """Run what is named, or all that is standard; exit code 1 when one failed. `pages`: what is written after that."""
    known = {each.name: each for each in programs}
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run benchmarks and keep their figures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    done: list[Run] = []
    failed: list[str] = []
    for program in programs:
        if program.name not in names if names else not program.standard:
            continue
        print(f"== {program.name}", flush=True)
        try:
            done.append(run(program, package))
        except Failed as error:
            failed.append(str(error))
    if done:
        append(Record.made(done, SystemClock().now()), history)
        for path, make in pages.items():
            path.write_text(make(), encoding="utf-8")
    for reason in failed:
        print(f"failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
