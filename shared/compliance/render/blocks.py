"""The blocks that a document is made of, and how values read in them.

Cells are text already; a column's kind says how it is set: `text`, `number` (to the right), `code` (ids, hashes) or
`spark` (a row of small columns, for the eye alone: the figures stand beside it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from shared.compliance.report_model import Cell, Chart, Reason, Status

type Kind = Literal["text", "number", "code", "spark"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a level from 2 on; `id` can be linked to. `page`: it begins one."""

    level: int
    text: str
    id: str
    page: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph. `kind`: what it is to the reader. `lead`: words in bold before it."""

    text: str
    kind: Literal["plain", "note", "warning", "status"] = "plain"
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. `kinds`: one for each column."""

    caption: str
    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart; its number is unique in the document."""

    chart: Chart
    number: int


type Block = Heading | Paragraph | Facts | Bullets | Grid | Figure

WIDE: Final = 7
"""So many columns make a table a wide one: its section is set on landscape pages."""

STATUS: Final[dict[Status, str]] = {
    "satisfied": "Satisfied",
    "exception": "Exception",
    "not-evidenced": "Not evidenced",
    "not-applicable": "Not applicable",
}
REASON: Final[dict[Reason, str]] = {
    "no-occurrence": "no occurrence: the source was alive, and nothing of the kind happened",
    "not-exercised": "not exercised: nothing reached the limit that the control sets",
    "no-source": "no source: nothing that could have told was connected or alive",
    "data-missing": "data missing: the trail does not hold what the control needs",
    "gate-failed": "gate failed: the trail cannot be relied on for this period",
    "manual-only": "manual only: evidence of this is not found in an audit trail",
}
_CODES: Final = range(16, 90)
_SPARKS: Final = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH: Final = 31


def cell(value: Cell) -> str:
    """A value as readers see it: thousands apart, yes and no, a dash for none."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else repr(value)
    return value


def kinds_of(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> tuple[Kind, ...]:
    """What columns hold: numbers where nothing else is, codes where every text has the length of an id, a time or a
    hash, and no space."""
    return tuple(
        _kind([row[at] for row in rows if at < len(row) and row[at] is not None]) for at in range(len(columns))
    )


def _kind(values: list[Cell]) -> Kind:
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "number"
    is_code = all(isinstance(v, str) and len(v) in _CODES and v.isascii() and " " not in v for v in values)
    return "code" if values and is_code else "text"


def spark(values: Sequence[int]) -> str:
    """A day's values as small columns, at most 31 of them: more days are added up, as many as needed for each."""
    if not values:
        return ""
    days = -(-len(values) // _SPARK_WIDTH)
    sums = [sum(values[at : at + days]) for at in range(0, len(values), days)]
    most = max(sums)
    return "".join(_SPARKS[-(-max(0, each) * 7 // most) if most > 0 else 0] for each in sums)


def sections(blocks: Iterable[Block]) -> list[list[Block]]:
    """The blocks, divided before every heading of level 2. The first section may have none."""
    found: list[list[Block]] = []
    for block in blocks:
        if not found or (isinstance(block, Heading) and block.level == 2):
            found.append([])
        found[-1].append(block)
    return found


def is_wide(section: Iterable[Block]) -> bool:
    """Whether a section has a wide table."""
    return any(isinstance(block, Grid) and len(block.columns) >= WIDE for block in section)


def fitted(row: Sequence[str], width: int) -> tuple[str, ...]:
    """A row with as many cells as there are columns."""
    return (*row, *[""] * width)[:width]


def pairs(values: Iterable[tuple[str, Cell]]) -> str:
    """Names and values on one line."""
    return "; ".join(f"{name} = {cell(value)}" for name, value in values) or "–"


def listed(values: Sequence[str]) -> str:
    """Texts on one line."""
    return ", ".join(values) or "none"
