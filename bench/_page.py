"""docs/benchmarks.md: what is written by hand, with its tables made anew from the history between the marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench._aims import AIMS, Aim
from bench._curve import scale_svg
from bench._history import ROOT, Figure, Record, Run, newest, read
from bench._programs import PROGRAMS, Program
from tools._marks import filled

PAGE = ROOT / "docs" / "benchmarks.md"
CURVE = ROOT / "docs" / "images" / "scale.svg"
_NOT_YET = "It has not been run yet.\n"

type Runs = Mapping[str, tuple[Record, Run]]
type Row = tuple[str, str]
"""What a figure is of, and its unit."""


def benchmarks_page(records: Sequence[Record] | None = None, text: str | None = None) -> str:
    """The page as it should be. ValueError when the marks in it are not those of its tables."""
    runs = newest(read() if records is None else records)
    tables = {"aims": lambda: aims_table(runs), "runs": lambda: runs_list(runs)}
    tables |= {each.name: _table_of(each, runs) for each in PROGRAMS}
    return filled(PAGE.read_text(encoding="utf-8") if text is None else text, tables, "docs/benchmarks.md")


def scale_curve() -> str:
    """The picture of `bench.scale`, from its last run."""
    runs = newest(read())
    return scale_svg(runs["scale"][1].figures if "scale" in runs else ())


PAGES: Mapping[Path, Callable[[], str]] = {PAGE: benchmarks_page, CURVE: scale_curve}
"""What a run writes: path and what makes its text."""


def _table_of(program: Program, runs: Runs) -> Callable[[], str]:
    return lambda: program_tables(program, *runs[program.name]) if program.name in runs else _NOT_YET


def aims_table(runs: Runs) -> str:
    """Every aim, the figure that is farthest from it, and whether it is met."""
    return "| aim | figure | |\n|---|---:|---|\n" + "".join(_aim(aim, runs) for aim in AIMS)


def _aim(aim: Aim, runs: Runs) -> str:
    figures = aim.figures(runs[aim.program][1]) if aim.program in runs else []
    if not figures:
        return f"| {aim.text} | | not measured yet |\n"
    worst = aim.farthest(figures)
    missed = sum(not aim.is_met(each.value) for each in figures)
    word = "met" if not missed else "**missed**" if len(figures) == 1 else f"**missed** by {missed} of {len(figures)}"
    return f"| {aim.text} | {shown(worst.value)} {_unit(worst.unit)} | {word} |\n".replace("  |", " |")


def runs_list(runs: Runs) -> str:
    """What the figures are of, the newest first: version, commit and machine, and the programs that ran there."""
    found: dict[str, list[str]] = {}
    names = [program.name for program in PROGRAMS if program.name in runs]
    for name in sorted(names, key=lambda name: runs[name][0].at, reverse=True):
        found.setdefault(_place(runs[name][0]), []).append(name)
    lines = [f"- {place}: {', '.join(sorted(those, key=names.index))}.\n" for place, those in found.items()]
    return "".join(lines) or _NOT_YET


def _place(record: Record) -> str:
    of = record.machine
    return (
        f"Version {record.version} at `{record.commit}`, on {of['cores']} cores of {of['cpu']} with {of['memory']}, "
        f"{of['os']}, {of['kernel']}, Python {of['python']}, SQLite {of['sqlite']}"
    )


def program_tables(program: Program, record: Record, run: Run) -> str:
    """Every figure of a run: a table for each label across, and one of the rest."""
    common = _common(run.figures)
    arguments = f" with `{' '.join(run.arguments)}`" if run.arguments else ""
    labels = f" Of all: {_labels(common)}." if common else ""
    head = (
        f"{record.at}{arguments}, {run.seconds:,.0f} s; load {run.load[0]:g} before and {run.load[1]:g} after."
        f"{labels}\n"
    )
    if program.elsewhere is not None:
        return f"{head}\nIts {len(run.figures)} figures are those of [{program.elsewhere}]({program.elsewhere}).\n"
    tables = []
    left = list(run.figures)
    for label in program.across:
        having = [each for each in left if label == "metric" or (label in each.labels and label not in common)]
        left = [each for each in left if each not in having]
        if having:
            tables.append(_pivot(having, label, common))
    if left:
        rows = [(*_row(each, common), shown(each.value)) for each in left]
        tables.append(_markdown(("", "", "unit"), [(name, value, unit) for name, unit, value in rows]))
    return "\n".join((head, *tables))


def _common(figures: Sequence[Figure]) -> dict[str, str | int]:
    """The labels that all figures have alike."""
    first = figures[0].labels
    return {
        name: value
        for name, value in first.items()
        if len(figures) > 1 and all(each.labels.get(name) == value for each in figures)
    }


def _row(figure: Figure, common: Mapping[str, str | int], *, without: str = "") -> Row:
    """How a figure's row begins: its metric and labels, but for those of all and the one across; and its unit."""
    left = {name: value for name, value in figure.labels.items() if name not in common and name != without}
    metric = "" if without == "metric" else figure.metric.replace("_", " ")
    named = _labels(left)
    return f"{metric}: {named}" if metric and named else metric or named, _unit(figure.unit)


def _pivot(figures: Sequence[Figure], across: str, common: Mapping[str, str | int]) -> str:
    """A table with a column for each value of a label, or for each metric. Rows of one metric stand together."""
    columns = list(dict.fromkeys(_column(each, across) for each in _by_number(figures, across)))
    metrics = list(dict.fromkeys(each.metric for each in figures))
    cells: dict[Row, dict[str, str]] = {}
    for each in sorted(figures, key=lambda each: metrics.index(each.metric)):
        name, unit = _row(each, common, without=across)
        row = (name, "" if across == "metric" else unit)
        cells.setdefault(row, {})[_column(each, across)] = shown(each.value)
    rows = [(name, *(found.get(column, "") for column in columns), unit) for (name, unit), found in cells.items()]
    if across == "metric":  # units are in the columns' names
        return _markdown(("", *columns), [row[:-1] for row in rows])
    return _markdown((across.replace("_", " "), *columns, "unit"), rows)


def _column(figure: Figure, across: str) -> str:
    if across == "metric":
        return f"{figure.metric.replace('_', ' ')}, {_unit(figure.unit)}".rstrip(", ")
    value = figure.labels[across]
    return f"{value:,}" if isinstance(value, int) else value


def _by_number(figures: Sequence[Figure], across: str) -> Sequence[Figure]:
    """By what is across, where that is a number; else as they come."""
    values = [each.labels.get(across) for each in figures]
    if not all(isinstance(value, int) for value in values):
        return figures
    return sorted(figures, key=lambda each: int(each.labels[across]))


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; what is a number stands at the right."""
    is_number = [column and all(_is_number(row[column]) for row in rows) for column in range(len(heads))]
    lines: Iterator[Sequence[str]] = iter((heads, ["---:" if each else "---" for each in is_number], *rows))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _is_number(text: str) -> bool:
    return not text.strip("0123456789.,-")


def _labels(labels: Mapping[str, str | int]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:,}" if isinstance(value, int) else f"{value}"
        for name, value in labels.items()
    )


def _unit(unit: str) -> str:
    return "" if unit in ("1", "ratio") else unit


def shown(value: float) -> str:
    """A value with as many digits as tell something."""
    size = abs(value)
    if value == int(value) or size >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size < 1 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
