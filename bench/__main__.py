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
from collections.abc import Sequence

from bench._history import ROOT, Figure, Record, Run, append
from bench._page import PAGES
from bench._programs import PROGRAMS, Program
from shared.core.clock import SystemClock


class Failed(Exception):
    """A program did not do what it is there for."""


def run(program: Program) -> Run:
    """Run one program and show what it prints. Failed: it says so, or prints no figures."""
    before, start = os.getloadavg()[0], time.perf_counter()
    command = [sys.executable, "-m", f"bench.{program.name}", *program.arguments]
    figures: list[Figure] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our modules
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.startswith('{"bench": '):
                figures.append(_figure(program, line))
    if process.returncode:
        raise Failed(f"{program.name}: exit code {process.returncode}")
    if not figures:
        raise Failed(f"{program.name}: it printed no figures")
    took = round(time.perf_counter() - start, 1)
    load = (round(before, 1), round(os.getloadavg()[0], 1))
    return Run(program.name, program.arguments, took, load, tuple(figures))


def _figure(program: Program, line: str) -> Figure:
    told = json.loads(line)
    if told["bench"] != program.name:
        raise Failed(f"{program.name}: a figure says that it is one of {told['bench']}")
    return Figure.of(told)


def write_pages() -> None:
    """Write the tables of the page, and the pictures, again."""
    for path, make in PAGES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(make(), encoding="utf-8")


def main(arguments: Sequence[str] | None = None, programs: Sequence[Program] = PROGRAMS) -> int:
    """Run what is named, or all that is standard; exit code 1 when one failed."""
    known = {each.name: each for each in programs}
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run benchmarks and keep their figures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    done: list[Run] = []
    failed: list[str] = []
    for program in [known[name] for name in names] or [each for each in programs if each.standard]:
        print(f"== {program.name}", flush=True)
        try:
            done.append(run(program))
        except Failed as error:
            failed.append(str(error))
    if done:
        append(Record.made(done, SystemClock().now()))
        write_pages()
    for reason in failed:
        print(f"failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
