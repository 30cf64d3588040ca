"""How wide the columns of a set table are, and where words that are too long for theirs may be broken.

Widths are estimates from the letters' usual widths, a little on the safe side: a table must never leave its page.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from shared.compliance.render.blocks import Grid, Kind

BREAK: Final = "\u200b"
"""A place where a line may end, of no width."""
CLIPPED: Final = " […]"
"""What stands behind a text of which there is more."""
_PADDING: Final = 9.0
_MOST_WANTED: Final = 220.0
_MOST_NEEDED: Final = 64.0
_CODE_NEEDED: Final = 162.0
_MOST_CODES: Final = 0.65
"""Of a table's width, for ids and times at most."""
_MONO: Final = 0.49
_WORD = re.compile(r"\s+|\S+")
_PIECE = re.compile(r"[^-]*-?")


def widths(grid: Grid, total: float, size: float) -> list[float]:
    """The widths of a table's columns, in points; together `total`. `size`: of its letters."""
    needed, wanted = _needed(grid, size), []
    for at, kind in enumerate(grid.kinds):
        cells = {row[at] for row in grid.rows}
        most = max((min(_width(cell, kind, size), _MOST_WANTED) for cell in cells), default=0.0) + _PADDING
        wanted.append(max(needed[at], most))
    spare = total - sum(needed)
    if spare <= 0:
        return _squeezed(grid, needed, total)
    if sum(wanted) <= total:
        return [each * total / sum(wanted) for each in wanted]
    share = spare / (sum(wanted) - sum(needed))
    return [least + (most - least) * share for least, most in zip(needed, wanted, strict=True)]


def _needed(grid: Grid, size: float) -> list[float]:
    """The widths below which a table's columns break words, or ids and times, that need not be broken."""
    needed = []
    for at, kind in enumerate(grid.kinds):
        cells = {row[at] for row in grid.rows}
        if kind == "code":
            longest = min(max((_width(cell, kind, size) for cell in cells), default=0.0), _CODE_NEEDED)
        else:
            longest = min(max((_longest(cell, kind, size) for cell in cells), default=0.0), _MOST_NEEDED)
        needed.append(max(_longest(grid.columns[at], "text", size) * 1.2, longest) + _PADDING)
    return needed


def _squeezed(grid: Grid, needed: list[float], total: float) -> list[float]:
    """The widths of columns that need more than there is. Ids and times stay whole as long as others have some room."""
    codes = sum(each for each, kind in zip(needed, grid.kinds, strict=True) if kind == "code")
    if codes > total * _MOST_CODES:
        return [each * total / sum(needed) for each in needed]
    share = (total - codes) / (sum(needed) - codes)
    return [each if kind == "code" else each * share for each, kind in zip(needed, grid.kinds, strict=True)]


def size_of(grid: Grid, total: float, sizes: Sequence[float]) -> float:
    """The first of some sizes of letters at which a table has the room that it needs; else the last one."""
    return next((size for size in sizes if sum(_needed(grid, size)) <= total), sizes[-1])


def clipped(text: str, width: float, size: float, lines: int, kind: Kind = "text") -> str:
    """The text, or as much of it as `lines` lines of a column have room for, and an ellipsis."""
    room = max(width - _PADDING, size)
    if len(text) * size <= room * lines and "\n" not in text:
        return text
    used, left = 0.0, room * lines
    for at, char in enumerate(text):
        used += room - used % room if char == "\n" else _letter(char, kind) * size
        if used > left:
            return f"{text[:at].rstrip()}{CLIPPED}"
    return text


def broken(text: str, width: float, size: float, kind: Kind = "text") -> str:
    """The text, with places to break in words that are wider than `width` points."""
    room = max(width - _PADDING, size)
    if len(text) * size <= room:
        return text
    return "".join(_broken(word, room, size, kind) for word in _WORD.findall(text))


def _broken(word: str, room: float, size: float, kind: Kind) -> str:
    if _width(word, kind, size) <= room:
        return word
    pieces = [each for each in _PIECE.findall(word) if each]  # between a hyphen and a digit a line would not end
    return BREAK.join(_chopped(each, room, size, kind) for each in pieces)


def _chopped(piece: str, room: float, size: float, kind: Kind) -> str:
    if _width(piece, kind, size) <= room:
        return piece
    done, used = [], 0.0
    for char in piece:
        step = _letter(char, kind) * size
        if used + step > room and not unicodedata.combining(char):
            done.append(BREAK)
            used = 0.0
        done.append(char)
        used += step
    return "".join(done)


def _longest(text: str, kind: Kind, size: float) -> float:
    pieces = (piece for word in text.split() for piece in _PIECE.findall(word))
    return max((_width(piece, kind, size) for piece in pieces), default=0.0)


@lru_cache(maxsize=16384)
def _width(text: str, kind: Kind, size: float) -> float:
    return sum(_letter(char, kind) for char in text) * size


def _letter(char: str, kind: Kind) -> float:
    """The width of a letter, in sizes of the font."""
    if kind in ("code", "spark"):
        return _MONO
    if not char.isascii():
        return 0.7 if char.islower() else 1.0
    if char in "mwMW@%":
        return 0.84 if char in "mw" else 1.02
    return 0.77 if char.isupper() or char in "&+=<>~^" else 0.56
