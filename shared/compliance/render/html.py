"""A report as one HTML file: nothing from outside, no script, its one style sheet named by digest in its own policy.

Landmarks, headings in order, tables with captions and scoped headers, charts with title and description. It prints on
A4 with headers repeated on every page, wide tables on landscape pages. Text is escaped, and what nobody would see in
it is shown by code point.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Final

from shared.compliance.render.blocks import (
    Block,
    Bullets,
    Facts,
    Figure,
    Grid,
    Heading,
    Paragraph,
    is_wide,
    sections,
)
from shared.compliance.render.charts import svg
from shared.compliance.render.content import document, period_of, title_of
from shared.compliance.render.json import digest_of
from shared.compliance.render.text import visible, with_text
from shared.compliance.report_model import Report

_SHORT: Final = 12
"""A table of so few rows is not divided between pages."""
_NARROW: Final = 24
"""A table whose columns' longest words have so few letters together fits a telephone's screen."""
_MOST_CODE: Final = 100
"""Ids and times of a table that are no wider together, in letters, are not broken: a page has room for them."""
_LONG: Final = 20
"""Longer words may be broken anywhere."""
_STYLE: Final = Path(__file__).with_name("report.css")


def report_html(report: Report) -> bytes:
    """The HTML of a report, UTF-8."""
    shown = with_text(report, visible)
    blocks = document(shown, digest_of(report))
    title = escape(f"{title_of(shown)}, {shown.from_day} to {shown.to_day}")
    style = _style()
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy()}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{title}</title><style>{style}</style></head>\n<body>",
            '<a class="skip" href="#report">Skip to the report</a>\n',
            f"<header><h1>{escape(title_of(shown))}</h1><p>{escape(shown.organization)}\n{escape(period_of(shown))}</p>",
            f'</header>\n{_contents(blocks)}\n<main id="report">{_main(blocks)}</main>\n',
            f"<footer><p>Report {escape(shown.id)}, generated {escape(shown.generated_at)}.</p></footer>",
            "</body></html>\n",
        )
    ).encode()


def policy() -> str:
    """The Content-Security-Policy that is in the file: its own style sheet, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; object-src 'none'; base-uri 'none'; form-action 'none'"


@lru_cache(maxsize=1)
def _style() -> str:
    return _STYLE.read_text(encoding="utf-8")


def _contents(blocks: tuple[Block, ...]) -> str:
    links = "".join(
        f'<li><a href="#{each.id}">{escape(each.text)}</a></li>'
        for each in blocks
        if isinstance(each, Heading) and each.level == 2
    )
    return f'<nav aria-label="Contents"><ol>{links}</ol></nav>'


def _main(blocks: tuple[Block, ...]) -> str:
    """The blocks, each chapter a section that is named by its heading."""
    parts, number = [], 0
    for section in sections(blocks):
        first, inside = section[0], []
        for block in section:
            number += isinstance(block, Grid)
            inside.append(_block(block, number))
        text = "".join(inside)
        if isinstance(first, Heading):
            names = [name for name, holds in (("page", first.page), ("wide", is_wide(section))) if holds]
            text = f'\n<section aria-labelledby="{first.id}"{_named(names)}>{text}</section>\n'
        parts.append(text)
    return "".join(parts)


def _block(block: Block, number: int) -> str:
    match block:
        case Heading():
            return f'\n<h{block.level} id="{block.id}">{escape(block.text)}</h{block.level}>'
        case Paragraph():
            lead = f"<strong>{escape(block.lead)}</strong>\n" if block.lead else ""
            return f"\n<p{_named([block.kind] if block.kind != 'plain' else [])}>{lead}{escape(block.text)}</p>"
        case Facts():
            rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in block.rows)
            return f"\n<dl>{rows}</dl>"
        case Bullets():
            return f"\n<ul>{''.join(f'<li>{escape(each)}</li>' for each in block.items)}</ul>"
        case Figure():
            caption = f"<figcaption>{escape(block.chart.title)}</figcaption>"
            label = f'role="region" tabindex="0" aria-label="{escape(block.chart.title)}, chart"'
            return f'\n<figure>{caption}<div class="chart" {label}>{svg(block.chart, block.number)}</div></figure>'
        case Grid():
            return _grid(block, number)


def _grid(grid: Grid, number: int) -> str:
    key = f"table-{number}-caption"
    names = ["table", *(["short"] if len(grid.rows) <= _SHORT else [])]
    region = "" if _fits(grid) else f' role="region" tabindex="0" aria-labelledby="{key}"'
    columns = [_column(at, grid) for at in range(len(grid.columns))]
    head = "".join(
        f'<th scope="col"{_named([kind] if kind == "number" else [])}>{escape(name)}</th>'
        for name, kind in zip(grid.columns, grid.kinds, strict=True)
    )
    body = "".join(
        f"\n<tr>{''.join(f'{start}{escape(text)}{end}' for text, (start, end) in zip(row, columns, strict=True))}</tr>"
        for row in grid.rows
    )
    note = f'\n<p class="note">{escape(grid.note)}</p>' if grid.note else ""
    return (
        f'\n<div{_named(names)}{region}><table><caption id="{key}">{escape(grid.caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )


def _fits(grid: Grid) -> bool:
    """Whether a table need not be scrolled anywhere. One that may have to be is reached and scrolled by keys."""
    room = _NARROW
    for column in zip(grid.columns, *grid.rows, strict=True):
        room -= max(
            (2 * len(word) - sum(map(str.isascii, word)) for text in column for word in text.split()), default=0
        )
    return room >= 0


def _column(at: int, grid: Grid) -> tuple[str, str]:
    """What stands before and behind each cell of a column. The first one heads its row."""
    kind = grid.kinds[at]
    names: list[str] = [kind] if kind != "text" else []
    if kind == "code" and _code_letters(grid) <= _MOST_CODE:
        names.append("whole")
    elif any(len(word) > _LONG for row in grid.rows for word in row[at].split()):
        names.append("long")
    if at == 0:
        return f'<th scope="row"{_named(names)}>', "</th>"
    return f"<td{_named(names)}{' aria-hidden="true"' if kind == 'spark' else ''}>", "</td>"


def _code_letters(grid: Grid) -> int:
    """How wide the ids and times of a table are, in letters."""
    codes = [at for at, kind in enumerate(grid.kinds) if kind == "code"]
    return sum(max((len(row[at]) for row in grid.rows), default=0) for at in codes)


def _named(names: Iterable[str]) -> str:
    """The attribute of class names."""
    text = " ".join(names)
    return f' class="{text}"' if text else ""
