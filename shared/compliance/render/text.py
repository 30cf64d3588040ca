"""Text of others on its way into a document: what cannot be shown is shown by its code point, never dropped.

A name, a reason or a user agent may hold anything. Controls and characters that turn the direction of what follows
could make a line read as another one; they, and what a document has no glyph for, become `[U+202E]`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, cast

from shared.compliance.render.glyphs import MONO, SERIF, code_points

_JOINERS = frozenset("\u200c\u200d")
_SEEN = _JOINERS | frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u08e2\n")
"""Of categories that nobody sees, but part of how some scripts are written."""
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"))
_PLAIN = frozenset(map(chr, range(0x20, 0x7F))) | {"\n"}


def whole(text: str) -> str:
    """The text with U+FFFD for every surrogate that lacks its other half: what has a form in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def marked(text: str) -> str:
    """Code points in brackets, as a document shows what it cannot show."""
    return f"[{' '.join(f'U+{ord(char):04X}' for char in text)}]" if text else ""


def settled(text: str) -> str:
    """The text as `typeset` begins with it, nothing marked yet: whole, composed (NFC), ends of lines as line feeds."""
    return unicodedata.normalize("NFC", _spaced(text))


def _spaced(text: str) -> str:
    return whole(text.replace("\r\n", "\n").replace("\t", " "))


@lru_cache(maxsize=8192)
def visible(text: str) -> str:
    """The text with everything marked that nobody would see or that moves what is around it. Line feeds stay."""
    if _PLAIN.issuperset(text):
        return text
    return _replaced(_spaced(text), _is_seen)


def _is_seen(cluster: str) -> bool:
    return all(char in _SEEN or unicodedata.category(char) not in _HIDDEN for char in cluster)


@lru_cache(maxsize=8192)
def typeset(text: str) -> str:
    """`visible`, with what the fonts of the PDF have no glyph for marked as well."""
    if _PLAIN.issuperset(text):
        return text
    return _replaced(unicodedata.normalize("NFC", visible(text)), _has_glyphs)


def _has_glyphs(cluster: str) -> bool:
    """Whether one font has all of it: a character and its marks are taken from one font."""
    points = {ord(char) for char in cluster if char not in _JOINERS}
    return cluster == "\n" or points <= code_points(SERIF) or points <= code_points(MONO)


@lru_cache(maxsize=8192)
def ascii_only(text: str) -> str:
    """Printable ASCII, everything else marked: what no font lacks."""
    return _replaced(visible(text), _PLAIN.issuperset)


def _replaced(text: str, is_good: Callable[[str], bool]) -> str:
    """The text with its bad clusters marked, those that follow each other in one pair of brackets."""
    done: list[str] = []
    bad = ""
    for cluster in _clusters(text):
        if is_good(cluster):
            done += (marked(bad), cluster)
            bad = ""
        else:
            bad += cluster
    return "".join((*done, marked(bad)))


def _clusters(text: str) -> Iterator[str]:
    """Each character with the marks and joiners behind it."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not (text[at] in _JOINERS or unicodedata.category(text[at]).startswith("M")):
            yield text[start:at]
            start = at


def with_text[T](value: T, change: Callable[[str], str]) -> T:
    """A value of the report's model, with every text in it changed."""
    result: Any = value
    if isinstance(value, str):
        result = change(value)
    elif isinstance(value, tuple):
        result = tuple(with_text(each, change) for each in value)
    elif is_dataclass(value) and not isinstance(value, type):
        result = replace(value, **{each.name: with_text(getattr(value, each.name), change) for each in fields(value)})
    return cast("T", result)
