"""The picture of `bench.scale`: what things cost by the size of the trail, as an SVG that needs no color and no script.

Both axes of a panel are logarithmic; a gray line shows how steep what grows with the trail itself would be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from xml.sax.saxutils import escape

from bench._history import Figure

WIDTH, LEFT, RIGHT, TOP = 840, 70, 250, 64
PANEL, GAP = 220, 62
_INK, _FAINT = "#1a1a1a", "#c4c4c4"
_DASHES = ("", "7 4", "2 3", "10 3 2 3", "4 4", "12 5")
_LABEL_SPACE = 15

type Points = Mapping[int, float]
"""A value for each number of events."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: lines by their names."""

    title: str
    lines: Mapping[str, Points]


_OPERATIONS = {
    "search, first page": "search: ",
    "inclusion proof": "inclusion proof",
    "detection, one event": "detection: ",
    "sealing 90 events": "sealing ",
    "report of 7 days": "report of 7 ",
    "report of 28 days": "report of 28 ",
}
"""Names of lines, and how the operations begin that they are the mean of."""


def scale_svg(figures: Sequence[Figure]) -> str:
    """The picture of a run; of none the frame alone, which says so."""
    panels = [
        Panel(
            "CPU of one, by that of a fixed piece of work (a millisecond)", _by_operation(figures, "cpu_to_reference")
        ),
        Panel("Calls of the store for one", _by_operation(figures, "calls")),
        Panel("Memory of the process, MiB", _memory(figures)),
    ]
    drawn = [panel for panel in panels if panel.lines]
    height = TOP + len(drawn) * (PANEL + GAP) + (0 if drawn else 20)
    sizes = sorted({size for panel in drawn for line in panel.lines.values() for size in line})
    told = f"From {sizes[0]:,} to {sizes[-1]:,} events. {_told(drawn)}" if sizes else "It has not been measured yet."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title desc" font-family="sans-serif" font-size="13">',
        '<title id="title">What things cost, by how many events are stored</title>',
        f'<desc id="desc">{escape(told)}</desc>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(20, 28, "What one more costs, by how many events are stored", size=17),
        _text(
            20,
            48,
            "Both axes are logarithmic. The gray line grows as the trail does."
            if sizes
            else "It has not been measured yet.",
        ),
    ]
    for number, panel in enumerate(drawn):
        parts += _panel(panel, sizes, TOP + number * (PANEL + GAP) + 26)
    return "\n".join([*parts, "</svg>", ""])


def _by_operation(figures: Sequence[Figure], metric: str) -> dict[str, Points]:
    found: dict[str, Points] = {}
    for name, beginning in _OPERATIONS.items():
        values: dict[int, list[float]] = {}
        for each in figures:
            if each.metric == metric and str(each.labels.get("operation", "")).startswith(beginning):
                values.setdefault(int(each.labels["events"]), []).append(each.value)
        if values:
            found[name] = {size: fmean(those) for size, those in values.items()}
    return found


def _memory(figures: Sequence[Figure]) -> dict[str, Points]:
    found: dict[str, dict[int, float]] = {}
    for name, metric in (("measuring, peak", "peak_rss"), ("loading", "rss")):
        for each in figures:
            if each.metric == metric:
                found.setdefault(name, {})[int(each.labels["events"])] = each.value
    return dict(found)


def _told(panels: Sequence[Panel]) -> str:
    """The picture in words, for those who do not see it."""
    told = []
    for panel in panels:
        ends = [f"{name} {line[min(line)]:.1f} to {line[max(line)]:.1f}" for name, line in panel.lines.items()]
        told.append(f"{panel.title}: {', '.join(ends)}.")
    return " ".join(told)


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic axis from one value to another, on so many pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        """1, 2 and 5 of each power of ten that lies on it."""
        for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1):
            for each in (1, 2, 5):
                if self.low <= each * 10**power <= self.high:
                    yield each * 10**power


def _panel(panel: Panel, sizes: Sequence[int], top: float) -> Iterator[str]:
    values = [value for line in panel.lines.values() for value in line.values()]
    x = _Axis(min(sizes), max(*sizes, 2 * sizes[0]), LEFT, WIDTH - RIGHT)
    y = _Axis(min(values) / 1.6, max(values) * 1.6, top + PANEL, top)
    yield _text(LEFT, top - 10, panel.title, weight="bold")
    yield f'<rect x="{LEFT}" y="{top}" width="{x.end - LEFT}" height="{PANEL}" fill="none" stroke="{_INK}"/>'
    for tick in y.ticks():
        at = y.at(tick)
        yield f'<line x1="{LEFT}" x2="{x.end}" y1="{at:.1f}" y2="{at:.1f}" stroke="{_FAINT}" stroke-width="0.7"/>'
        yield _text(LEFT - 7, at + 4, f"{tick:g}", anchor="end")
    for tick in x.ticks():
        at = x.at(tick)
        yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{top + PANEL}" stroke="{_FAINT}" stroke-width="0.7"/>'
        yield _text(at, top + PANEL + 17, _short(tick), anchor="middle")
    factor = min(x.high / x.low, y.high / y.low)
    yield (
        f'<line x1="{LEFT}" x2="{x.at(x.low * factor):.1f}" y1="{y.start:.1f}" y2="{y.at(y.low * factor):.1f}" '
        f'stroke="{_FAINT}" stroke-width="4"/>'
    )
    yield from _lines(panel, x, y)


def _lines(panel: Panel, x: _Axis, y: _Axis) -> Iterator[str]:
    """Each line with its own dashes and marks, and its name at its end, where the names leave each other room."""
    ends = sorted((y.at(line[max(line)]), name) for name, line in panel.lines.items())
    places: dict[str, float] = {}
    lowest = 0.0
    for at, name in ends:
        lowest = places[name] = max(at, lowest + _LABEL_SPACE)
    for number, (name, line) in enumerate(panel.lines.items()):
        points = [(x.at(size), y.at(line[size])) for size in sorted(line)]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        dashes = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ""
        yield f'<polyline points="{path}" fill="none" stroke="{_INK}" stroke-width="1.6"{dashes}/>'
        for across, down in points:
            yield _mark(number, across, down)
        across, down = points[-1]
        label = WIDTH - RIGHT + 34
        yield (
            f'<path d="M{across + 5:.1f},{down:.1f} L{label - 6},{places[name]:.1f}" fill="none" stroke="{_FAINT}"/>'
        )
        yield _mark(number, label, places[name])
        yield _text(label + 10, places[name] + 4, f"{name}: {line[max(line)]:,.3g}")


def _mark(number: int, x: float, y: float) -> str:
    """One of six marks: filled or hollow disk, square, diamond."""
    fill = _INK if number % 2 == 0 else "#ffffff"
    paint = f'fill="{fill}" stroke="{_INK}" stroke-width="1.3"'
    if number // 2 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.8" {paint}/>'
    if number // 2 == 1:
        return f'<rect x="{x - 3.4:.1f}" y="{y - 3.4:.1f}" width="6.8" height="6.8" {paint}/>'
    corners = ((0, -5), (5, 0), (0, 5), (-5, 0))
    path = " ".join(f"{x + across:.1f},{y + down:.1f}" for across, down in corners)
    return f'<polygon points="{path}" {paint}/>'


def _short(number: float) -> str:
    """A number of events, in thousands or millions."""
    return f"{number / 1e6:g} M" if number >= 1e6 else f"{number / 1e3:g} k" if number >= 1e3 else f"{number:g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{_INK}">{escape(text)}</text>'
    )
