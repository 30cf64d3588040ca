"""What a changelog has to be in the form of Keep a Changelog 1.1.0 when a version is released."""

import re
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from typing import NamedTuple

HEADINGS = frozenset({"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"})
_ENTRY = re.compile(r"^## +(.*?) *$", re.MULTILINE)
_TITLE = re.compile(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d{2}-\d{2})")
_ODD_HEADING = re.compile(r"^(?!#{2,} )[ \t]*(#{2,}.*)$", re.MULTILINE)
"""What Markdown, or a reader, takes for a heading, and what is none of the form that is looked for here."""
_HEADING = re.compile(r"^### +(.*?) *$", re.MULTILINE)


class Entry(NamedTuple):
    """One release: what stands behind `## `, the text below; version and day, None where they are not of the form."""

    title: str
    text: str
    version: tuple[int, int, int] | None
    day: date | None


def entries(text: str) -> list[Entry]:
    """The entries of a changelog as they stand there."""
    _, *parts = _ENTRY.split(text)
    return [_entry(title, below) for title, below in zip(parts[::2], parts[1::2], strict=True)]


def _entry(title: str, below: str) -> Entry:
    match = _TITLE.fullmatch(title)
    if match is None:
        return Entry(title, below, None, None)
    major, minor, patch, day = match.groups()
    try:
        return Entry(title, below, (int(major), int(minor), int(patch)), date.fromisoformat(day))
    except ValueError:
        return Entry(title, below, (int(major), int(minor), int(patch)), None)


def against(text: str, version: str, today: date, begun: date | None) -> Iterator[str]:
    """What is wrong with a changelog when a version is released. `begun`: the day of the project's first commit, where
    that is known."""
    for line in _ODD_HEADING.finditer(text):
        yield f"{line[0].rstrip()}: a heading is ## or ### and a space, from the margin on"
    found = entries(text)
    if not found or not found[0].title.startswith(f"[{version}]"):
        yield f"the top entry is {found[0].title if found else 'not there'}, the version {version}"
        return
    for each in found:
        if each.version is None or each.day is None:
            yield f"{each.title}: not of the form [X.Y.Z] - YYYY-MM-DD, with a day that there is"
    yield from _out_of_order(found)
    top = found[0]
    if top.day is not None and top.day > today:
        yield f"{top.title}: its day is not there yet"
    if top.day is not None and begun is not None and top.day < begun:
        yield f"{top.title}: its day is before the first commit ({begun})"
    yield from _content(top)


def _out_of_order(found: list[Entry]) -> Iterator[str]:
    for later, earlier in pairwise([each for each in found if each.version is not None]):
        if (later.version or ()) <= (earlier.version or ()):
            yield f"{earlier.title}: is below {later.title}"
        elif later.day is not None and earlier.day is not None and later.day < earlier.day:
            yield f"{later.title}: its day is before that of {earlier.title}"


def _content(entry: Entry) -> Iterator[str]:
    before, *parts = _HEADING.split(entry.text)
    names, texts = parts[::2], parts[1::2]
    if before.strip():
        yield f"{entry.title}: begins without a heading"
    if not names:
        yield f"{entry.title}: says nothing"
    for name, text in zip(names, texts, strict=True):
        if name not in HEADINGS or names.count(name) > 1:
            yield f"{entry.title}: {name} is no heading of a changelog, or not the only one"
        if not re.search(r"^- +\S", text, re.MULTILINE):
            yield f"{entry.title}: nothing is {name.lower()}"
