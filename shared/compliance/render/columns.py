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
_PADDING: Final = 9.0
_MOST_WANTED: Final = 220.0
_MOST_NEEDED: Final = 64.0
_CODE_NEEDED: Final = 162.0
_MONO: Final = 0.49
_WORD = re.compile(r"\s+|\S+")
_PIECE = re.compile(r"[^-]*-?")


def widths(grid: Grid, total: float, size: float) -> list[float]:
    """The widths of a table's columns, in points; together `total`. `size`: of its letters."""
    needed, wanted = [], []
    for at, kind in enumerate(grid.kinds):
        header = grid.columns[at]
        cells = [row[at] for row in grid.rows]
        longest = max((_longest(cell, kind, size) for cell in {*cells}), default=0.0)
        if kind == "code":
            longest = max((_width(cell, kind, size) for cell in {*cells}), default=0.0)
        most_needed = _CODE_NEEDED if kind == "code" else _MOST_NEEDED
        least = max(_longest(header, "text", size) * 1.2, min(longest, most_needed)) + _PADDING
        most = max((min(_width(cell, kind, size), _MOST_WANTED) for cell in {*cells}), default=0.0) + _PADDING
        needed.append(least)
        wanted.append(max(least, most))
    spare = total - sum(needed)
    if spare <= 0 or sum(wanted) <= total:
        base = needed if spare <= 0 else wanted
        return [each * total / sum(base) for each in base]
    share = spare / (sum(wanted) - sum(needed))
    return [least + (most - least) * share for least, most in zip(needed, wanted, strict=True)]


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


def is_tall(rows: Sequence[Sequence[str]], most: int) -> bool:
    """Whether a cell of a table has a text longer than `most`."""
    return any(len(text) > most for row in rows for text in row)
