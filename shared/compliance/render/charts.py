"""The charts of a report as SVG: pure text, the same for the same chart, legible without color.

Series are told apart by pattern, by dashes and marks, and by a legend that says their totals; color only helps. Text
is escaped; there is no script, no style and nothing from outside. Both HTML and the PDF show these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from shared.compliance.render.blocks import cell
from shared.compliance.report_model import Chart, Series

WIDTH: Final = 720
_LEFT, _RIGHT, _TOP = 64, 16, 12
_PLOT_HEIGHT: Final = 190
_ROW: Final = 26
_LEGEND_ROW: Final = 20
_SIZE: Final = 12
_MOST_SERIES: Final = 8
_MOST_MARKS: Final = 62
_INK, _GRID = "#1a1a1a", "#d0d0d0"
_COLORS: Final = ("#1f3a5f", "#e8a33d", "#9cc5e8", "#7a1f3d", "#d9d9d9", "#3f7d5a", "#f3d9b1", "#5b5b5b")
_DASHES: Final = ("", "7 3", "2 3", "9 3 2 3", "", "7 3", "2 3", "9 3 2 3")
_LINE_COLORS: Final = ("#1f3a5f", "#b3541e", "#2f6b4f", "#7a1f3d", "#444444", "#1f6f8b", "#8a6d1b", "#5b3a8c")
_STROKES: Final = (  # what is drawn over the color of a series, in a square of 8
    "",
    '<path d="M0 8L8 0" stroke="#1a1a1a" stroke-width="1.2"/>',
    '<circle cx="4" cy="4" r="1.4" fill="#1a1a1a"/>',
    '<path d="M0 4H8" stroke="#ffffff" stroke-width="1.6"/>',
    '<path d="M0 0L8 8M0 8L8 0" stroke="#1a1a1a" stroke-width="0.9"/>',
    '<path d="M4 0V8" stroke="#ffffff" stroke-width="1.6"/>',
    '<path d="M0 0L8 8" stroke="#1a1a1a" stroke-width="1.2"/>',
    '<circle cx="4" cy="4" r="1.6" fill="#ffffff"/>',
)


def svg(chart: Chart, number: int, font: str = "") -> str:
    """A chart as one SVG element. `number`: tells its patterns from those of others in the document. `font`: a family,
    where the document around does not set one."""
    series = _folded(chart)
    if not chart.labels or not series:
        body, height = _text(_RIGHT, 20, "There is nothing to show."), 30.0
    else:
        body, height = _DRAW[chart.kind](chart, series, f"c{number}")
        if chart.kind != "bar" or len(series) > 1:  # what one row of bars is, the unit says
            body += _legend(series, chart, height, f"c{number}")
            height += _LEGEND_ROW * -(-len(series) // 3) + 6
    family = f' font-family="{escape(font)}"' if font else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {_n(height)}" width="{WIDTH}" '
        f'height="{_n(height)}" role="img" aria-labelledby="c{number}t c{number}d" font-size="{_SIZE}"{family} '
        f'fill="{_INK}"><title id="c{number}t">{escape(chart.title)}</title>'
        f'<desc id="c{number}d">{escape(description(chart))}</desc>{_patterns(chart, series, f"c{number}")}{body}</svg>'
    )


def description(chart: Chart) -> str:
    """What the chart shows, in words."""
    if not chart.labels or not chart.series:
        return "A chart without data."
    kind = {"stacked": "Stacked columns", "line": "Lines", "bar": "Horizontal bars"}[chart.kind]
    span = chart.labels[0] if len(chart.labels) == 1 else f"{chart.labels[0]} to {chart.labels[-1]}"
    each = "; ".join(f"{s.name}: {_summed(s)}" for s in chart.series)
    return f"{kind}, in {chart.unit}, {span} ({len(chart.labels)} values). {each}."


def _summed(series: Series) -> str:
    values = [_value(each) for each in series.values]
    return f"sum {_shown(sum(values))}, most {_shown(max(values, default=0.0))}"


def _folded(chart: Chart) -> tuple[Series, ...]:
    """The series, those beyond the eighth in one. What they lack in values is 0."""
    width = len(chart.labels)
    series = [Series(s.name, (*s.values, *[0.0] * width)[:width]) for s in chart.series]
    if len(series) <= _MOST_SERIES:
        return tuple(series)
    rest = series[_MOST_SERIES - 1 :]
    pick: Callable[[Sequence[float]], float] = max if chart.kind == "line" else sum
    how = "highest of" if chart.kind == "line" else "sum of"
    values = tuple(pick([_value(each.values[at]) for each in rest]) for at in range(width))
    return (*series[: _MOST_SERIES - 1], Series(f"{how} {len(rest)} others", values))


def _stacked(chart: Chart, series: tuple[Series, ...], key: str) -> tuple[str, float]:
    sums = [sum(_value(each.values[at]) for each in series) for at in range(len(chart.labels))]
    top, frame = _frame(chart, max(sums))
    step = _plot_width() / len(chart.labels)
    gap = step * 0.2 if step > 4 else 0
    parts = [frame]
    for at in range(len(chart.labels)):
        base = 0.0
        for index, each in enumerate(series):
            value = _value(each.values[at])
            if value > 0:
                y = _y(base + value, top)
                outline = f' stroke="{_INK}" stroke-width="0.6"' if step > 6 else ""
                parts.append(
                    f'<rect x="{_n(_LEFT + at * step + gap / 2)}" y="{_n(y)}" width="{_n(step - gap)}" '
                    f'height="{_n(_y(base, top) - y)}" fill="{_fill(key, index)}"{outline}/>'
                )
            base += value
    return "".join(parts), _TOP + _PLOT_HEIGHT + 34


def _lines(chart: Chart, series: tuple[Series, ...], key: str) -> tuple[str, float]:
    del key
    top, frame = _frame(chart, max(_value(value) for each in series for value in each.values))
    step = _plot_width() / len(chart.labels)
    parts = [frame]
    for index, each in enumerate(series):
        points = [(_LEFT + (at + 0.5) * step, _y(_value(value), top)) for at, value in enumerate(each.values)]
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        dash = f' stroke-dasharray="{_DASHES[index]}"' if _DASHES[index] else ""
        color = _LINE_COLORS[index]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8"{dash}/>')
        every = max(1, len(points) // _MOST_MARKS)
        parts += [_mark(x, y, index) for x, y in points[::every]]
    return "".join(parts), _TOP + _PLOT_HEIGHT + 34


def _bars(chart: Chart, series: tuple[Series, ...], key: str) -> tuple[str, float]:
    left = min(260.0, 20 + 6.6 * max(map(_columns, chart.labels)))
    sums = [sum(_value(each.values[at]) for each in series) for at in range(len(chart.labels))]
    most = max(sums) or 1.0
    room = WIDTH - left - 90
    parts = []
    for at, label in enumerate(chart.labels):
        y = _TOP + at * _ROW
        x = left
        parts.append(_text(left - 6, y + 14, _short(label, int((left - 14) / 6.4)), "end"))
        for index, each in enumerate(series):
            width = _value(each.values[at]) / most * room
            if width > 0:
                parts.append(
                    f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="18" fill="{_fill(key, index)}" '
                    f'stroke="{_INK}" stroke-width="0.6"/>'
                )
            x += width
        parts.append(_text(x + 6, y + 14, f"{_shown(sums[at])} {chart.unit}" if at == 0 else _shown(sums[at])))
    height = _TOP + len(chart.labels) * _ROW
    axis = f'<path d="M{_n(left)} {_TOP - 4}V{_n(height)}" stroke="{_INK}" stroke-width="1"/>'
    return "".join((*parts, axis)), height + 8.0


_DRAW: Final[dict[str, Callable[[Chart, tuple[Series, ...], str], tuple[str, float]]]] = {
    "stacked": _stacked,
    "line": _lines,
    "bar": _bars,
}


def _frame(chart: Chart, most: float) -> tuple[float, str]:
    """Axes with their labels; what the highest line of the grid stands for."""
    tick = _tick(most)
    steps = max(1, -(-most // tick)) if most > 0 else 1
    top = tick * steps
    parts = []
    for number in range(int(steps) + 1):
        y = _y(number * tick, top)
        parts.append(f'<path d="M{_LEFT} {_n(y)}H{WIDTH - _RIGHT}" stroke="{_INK if number == 0 else _GRID}"/>')
        parts.append(_text(_LEFT - 6, y + 4, _shown(number * tick), "end"))
    step = _plot_width() / len(chart.labels)
    most_labels = max(1, int(_plot_width() / (8 + 6.6 * max(map(_columns, chart.labels)))))
    every = -(-len(chart.labels) // most_labels)
    for at in range(0, len(chart.labels), every):
        room = int(_plot_width() / 6.6) if len(chart.labels) == 1 else max(3, int(step * every / 6.6))
        x = _LEFT + (at + 0.5) * step
        parts.append(f'<path d="M{_n(x)} {_TOP + _PLOT_HEIGHT}v4" stroke="{_INK}"/>')
        parts.append(_text(x, _TOP + _PLOT_HEIGHT + 18, _short(chart.labels[at], room), "middle"))
    middle = _TOP + _PLOT_HEIGHT / 2
    turned = f' transform="rotate(-90 12 {_n(middle)})"'
    parts.append(_text(12, middle, _short(chart.unit, 28), "middle", turned))
    return top, "".join(parts)


def _legend(series: tuple[Series, ...], chart: Chart, top: float, key: str) -> str:
    parts = []
    for index, each in enumerate(series):
        x, y = _RIGHT + (index % 3) * (WIDTH - 2 * _RIGHT) / 3, top + (index // 3) * _LEGEND_ROW
        if chart.kind == "line":
            dash = f' stroke-dasharray="{_DASHES[index]}"' if _DASHES[index] else ""
            line = f'<path d="M{_n(x)} {_n(y + 6)}h26" stroke="{_LINE_COLORS[index]}" stroke-width="1.8"{dash}/>'
            parts += [line, _mark(x + 13, y + 6, index)]
        else:
            parts.append(
                f'<rect x="{_n(x)}" y="{_n(y)}" width="26" height="12" fill="{_fill(key, index)}" stroke="{_INK}" '
                f'stroke-width="0.6"/>'
            )
        total = "" if chart.kind == "line" else f" ({_shown(sum(map(_value, each.values)))})"
        parts.append(_text(x + 32, y + 10, f"{_short(each.name, 28 - len(total))}{total}"))
    return "".join(parts)


def _patterns(chart: Chart, series: tuple[Series, ...], key: str) -> str:
    if chart.kind == "line" or not chart.labels:
        return ""
    patterns = "".join(
        f'<pattern id="{key}p{at}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<rect width="8" height="8" fill="{_COLORS[at]}"/>{_STROKES[at]}</pattern>'
        for at in range(len(series))
        if _STROKES[at]
    )
    return f"<defs>{patterns}</defs>" if patterns else ""


def _fill(key: str, index: int) -> str:
    return f"url(#{key}p{index})" if _STROKES[index] else _COLORS[index]


def _mark(x: float, y: float, index: int) -> str:
    """A mark on a line: one shape for each series."""
    color = _LINE_COLORS[index]
    fill = color if index < 4 else "#ffffff"
    match index % 4:
        case 0:
            shape = f"M{_n(x - 3)} {_n(y)}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z"
        case 1:
            shape = f"M{_n(x - 3)} {_n(y - 3)}h6v6h-6z"
        case 2:
            shape = f"M{_n(x)} {_n(y - 4)}l4 7h-8z"
        case _:
            shape = f"M{_n(x)} {_n(y - 4)}l4 4l-4 4l-4 -4z"
    return f'<path d="{shape}" fill="{fill}" stroke="{color}" stroke-width="1.2"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _plot_width() -> int:
    return WIDTH - _LEFT - _RIGHT


def _y(value: float, top: float) -> float:
    return _TOP + _PLOT_HEIGHT * (1 - value / top)


def _tick(most: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides an axis in four or five."""
    size = 1.0
    while size * 5 < most:
        size *= 10
    while size > 1 and size * 0.5 > most:
        size /= 10
    steps = (size * 0.1, size * 0.2, size * 0.5, size, size * 2)
    found = next(step for step in steps if most <= step * 5 or step > size)
    return max(1.0, found) if most == int(most) else found


def _value(value: float) -> float:
    """A value that can be drawn."""
    return float(value) if 0 < value < float("inf") else 0.0


def _shown(value: float) -> str:
    return cell(int(value) if value == int(value) else round(value, 2))


def _columns(text: str) -> int:
    """How wide a text is, in letters."""
    return sum(2 if ord(char) >= 0x1100 else 1 for char in text)


def _short(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis."""
    most = max(2, most)
    if _columns(text) <= most:
        return text
    kept, width = "", 1
    for char in text:
        width += _columns(char)
        if width > most:
            break
        kept += char
    return f"{kept}…"


def _n(value: float) -> str:
    """A number as SVG writes it, to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
