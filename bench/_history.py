"""`bench/history.jsonl`: one line for each run of benchmarks, with every figure and a note on the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path

from shared.core.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ROOT / "bench" / "history.jsonl"

type Labels = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a program."""

    metric: str
    value: float
    unit: str
    labels: Labels

    @classmethod
    def of(cls, line: dict[str, str | int | float]) -> Figure:
        """The figure of a JSON line as programs print it. KeyError, ValueError: it is none."""
        value, labels = float(line["value"]), dict[str, str | int]()
        if not isfinite(value):
            raise ValueError("a value is a number")
        for name, label in line.items():
            if name not in ("bench", "metric", "value", "unit"):
                if not isinstance(label, str | int):
                    raise ValueError(f"the label {name} is text or a whole number")
                labels[name] = label
        return cls(str(line["metric"]), value, str(line["unit"]), labels)


@dataclass(frozen=True, slots=True)
class Run:
    """What one program found. `load`: of the machine before and after, over a minute (other work counts in it)."""

    program: str
    arguments: tuple[str, ...]
    seconds: float
    load: tuple[float, float]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Programs that ran one after the other. `commit`: what was checked out, with a plus where files had changed."""

    at: str
    version: str
    commit: str
    machine: dict[str, str]
    runs: tuple[Run, ...]

    @classmethod
    def made(cls, runs: Iterable[Run], at: datetime) -> Record:
        """The record of what ran here until a moment."""
        return cls(at.strftime("%Y-%m-%dT%H:%M:%SZ"), VERSION, commit(), machine(), tuple(runs))

    @classmethod
    def of(cls, line: str) -> Record:
        """The inverse of `line`."""
        told = json.loads(line)
        runs = [
            each
            | {"figures": tuple(Figure(**figure) for figure in each["figures"])}
            | {name: tuple(each[name]) for name in ("arguments", "load")}
            for each in told["runs"]
        ]
        return cls(**told | {"runs": tuple(Run(**each) for each in runs)})

    def line(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


def read(path: Path = HISTORY) -> list[Record]:
    """Every record, the oldest first; none where there is no file."""
    if not path.exists():
        return []
    return [Record.of(line) for line in path.read_text(encoding="utf-8").splitlines()]


def append(record: Record, path: Path = HISTORY) -> None:
    """Write a record behind the others."""
    with path.open("a", encoding="utf-8") as file:
        file.write(record.line())


def newest(records: Iterable[Record]) -> dict[str, tuple[Record, Run]]:
    """The last run of each program, and the record that it is part of."""
    return {run.program: (record, run) for record in records for run in record.runs}


def machine() -> dict[str, str]:
    """What this machine is, and nothing that tells whose."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = re.match(r"\d+\.\d+", platform.release())
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "cpu": _cpu(),
        "memory": f"{memory:.0f} GiB",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "os": _os(),
        "kernel": f"{platform.system()} {kernel[0] if kernel else ''}".strip(),
    }


def _cpu() -> str:
    """The processor's model, as the kernel has it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _os() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def commit() -> str:
    """What is checked out. What a run itself writes is no change."""
    head = _git("rev-parse", "--short=12", "HEAD")
    written = (":!bench/history.jsonl", ":!docs/benchmarks.md", ":!docs/images/scale.svg")
    return head + ("+" if _git("status", "--porcelain", "--", ".", *written) else "")


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
