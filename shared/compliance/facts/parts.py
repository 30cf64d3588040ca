"""What facts are made of: references to sealed events, extracts of rare ones, and marks of what a rule looks for."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

type Entry = Mapping[str, Any]
"""A sealed entry, parsed."""
type Ref = list[Any]
"""A sealed event: its index, id, recorded_at, type and outcome."""

FACTS_VERSION = 8
"""Raised when the document of a day changes its meaning: days of another version are folded again."""
DAY_SECONDS = 86_400
HASH_BYTES = 8
MOST_MARKS = 30
"""Of one kind and day that are named; all are counted."""
MOST_EXTRACTS, MOST_OF_A_TYPE = 400, 60
MOST_SUBJECTS = 20
"""Persons of an event: as many as one may name."""
_LONGEST_TEXT, _LONGEST_WITHIN, _MOST_VALUES = 200, 60, 20
_PRODUCERS_OWN = frozenset(
    {"purpose", "recipient", "recipient_address", "description", "legal_basis", "reason", "approved_by", "ticket"}
)
"""Attributes of producers' events that reports know: the rest of them is the producers' own."""


def hash_of(text: str) -> bytes:
    """By which somebody, or a person and a purpose, are known among very many: the first bytes of SHA-256."""
    return hashlib.sha256(text.encode()).digest()[:HASH_BYTES]


def second_of(entry: Entry) -> float:
    """When it was recorded, in seconds since midnight."""
    return seconds(entry["recorded_at"])


def seconds(text: str) -> float:
    """The time of day of an RFC 3339 text in UTC, in seconds."""
    return int(text[11:13]) * 3600 + int(text[14:16]) * 60 + float(text[17:-1])


def whole_second(entry: Entry) -> int:
    """The same in whole seconds: what is measured over midnight is measured so within a day, too."""
    return int(second_of(entry))


def ref_of(entry: Entry, index: int) -> Ref:
    """The reference to an entry."""
    return [index, entry["id"], entry["recorded_at"], entry["type"], entry["outcome"]]


def extract_of(entry: Entry, index: int) -> list[Any]:
    """What facts keep of a rare event: never more than some hundred bytes, and nothing personal.

    In order: reference, reason, kind, id and role of the actor, kind and id of the target, subjects, class of the data,
    records, kind and id of the source, whether something of it is sealed, attributes.
    """
    actor, target = entry["actor"], entry["target"] or {}
    return [
        ref_of(entry, index),
        entry["reason"],
        *(actor["kind"], actor["id"], actor["role"]),
        *(target.get("kind"), target.get("id")),
        entry["subjects"][:MOST_SUBJECTS],
        entry["data_class"],
        entry["record_count"],
        f"{entry['source']['kind']} {entry['source']['id']}",
        bool(entry["commitments"]),
        _attributes(entry),
    ]


def _attributes(entry: Entry) -> dict[str, Any]:
    given: Mapping[str, Any] = entry["attributes"]
    if entry["type"].startswith(("data.", "custom.")):
        given = {name: value for name, value in given.items() if name in _PRODUCERS_OWN}
    return {name: _bounded(value) for name, value in given.items()}


def _bounded(value: Any, longest: int = _LONGEST_TEXT) -> Any:
    if isinstance(value, str):
        return value[:longest]
    if isinstance(value, list | tuple):
        return [_bounded(each, _LONGEST_WITHIN) for each in value[:_MOST_VALUES]]
    if isinstance(value, dict):
        return {
            str(name)[:_LONGEST_WITHIN]: _bounded(value[name], _LONGEST_WITHIN) for name in [*value][: 2 * _MOST_VALUES]
        }
    return value


class Extracts:
    """Extracts by type: all counted, those kept first that a rule could find something in, then the first others."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._mattering: dict[str, int] = {}
        self._rows: dict[tuple[str, bool], list[tuple[int, list[Any]]]] = {}
        self._order = 0

    def add(self, entry: Entry, index: int, *, matters: bool) -> None:
        """Count an event, and keep it where there is room. `matters`: as `relevance.matters` has it."""
        kind = entry["type"]
        self._order += 1
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._mattering[kind] = self._mattering.get(kind, 0) + matters
        rows = self._rows.setdefault((kind, matters), [])
        if len(rows) < MOST_OF_A_TYPE:
            rows.append((self._order, extract_of(entry, index)))

    def document(self) -> dict[str, Any]:
        """By type: how many there were, how many of these matter, and those that are kept, in order."""
        kept = self._fitting(True, {})
        rest = self._fitting(False, kept)
        return {
            kind: {
                "n": n,
                "matter": self._mattering[kind],
                "rows": [
                    row for _, row in sorted((*kept.get(kind, ()), *rest.get(kind, ())), key=lambda each: each[0])
                ],
            }
            for kind, n in sorted(self._counts.items())
        }

    def _fitting(self, matters: bool, taken: Mapping[str, Sequence[Any]]) -> dict[str, list[tuple[int, list[Any]]]]:
        """Of those that matter, or of the others, as many as there is room for beside those that are kept already."""
        found = {
            kind: rows[: MOST_OF_A_TYPE - len(taken.get(kind, ()))]
            for (kind, own), rows in self._rows.items()
            if own == matters
        }
        room = max(0, MOST_EXTRACTS - sum(len(rows) for rows in taken.values()))
        most = _level([len(rows) for rows in found.values()], room)
        return {kind: rows[:most] for kind, rows in found.items()}


def _level(sizes: list[int], total: int) -> int:
    """How many each may have, so that all together have no more than `total`."""
    left, remaining = total, len(sizes)
    for size in sorted(sizes):
        if size * remaining > left:
            return left // remaining
        left -= size
        remaining -= 1
    return MOST_OF_A_TYPE


class Chosen:
    """Extracts of the events of each name whose entries have the smallest hashes: nobody chose them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[str, int] = {}
        self._rows: dict[str, list[tuple[int, int, list[Any]]]] = {}

    def add(self, name: str, entry: Entry, index: int, order: int) -> None:
        """Count an event, and keep it if its hash (`order`) is small enough."""
        self._counts[name] = self._counts.get(name, 0) + 1
        rows = self._rows.setdefault(name, [])
        if len(rows) < self._most:
            heapq.heappush(rows, (-order, index, extract_of(entry, index)))
        elif -order > rows[0][0]:
            heapq.heapreplace(rows, (-order, index, extract_of(entry, index)))

    def document(self) -> dict[str, Any]:
        """By name: how many there were, and those that are kept, in the order of the ledger."""
        return {
            name: {"n": n, "rows": [row for _, _, row in sorted(self._rows[name], key=lambda each: each[1])]}
            for name, n in sorted(self._counts.items())
        }


class Marks:
    """What rules look for, by kind: how many of which size there were, and the largest of them."""

    def __init__(self) -> None:
        self._sizes: dict[str, dict[int, int]] = {}
        self._rows: dict[str, list[tuple[int, int, list[Any]]]] = {}

    def add(
        self, kind: str, ref: Ref, size: int = 1, *, about: str | None = None, of: str = "", failure: str = ""
    ) -> None:
        """Mark an event. `size`: by which a threshold judges it; the others: what else a finding says."""
        sizes = self._sizes.setdefault(kind, {})
        rounded = two_digits(size)
        sizes[rounded] = sizes.get(rounded, 0) + 1
        rows = self._rows.setdefault(kind, [])
        entry = (size, -int(ref[0]), [*ref, size, about or "", of, failure])
        if len(rows) < MOST_MARKS:
            heapq.heappush(rows, entry)
        elif entry[:2] > rows[0][:2]:
            heapq.heapreplace(rows, entry)

    def document(self) -> dict[str, Any]:
        """By kind: how many of each size, and the largest, earliest first among equals."""
        return {
            kind: {
                "sizes": {str(size): sizes[size] for size in sorted(sizes)},
                "rows": [row for *_, row in sorted(self._rows[kind], key=lambda each: (-each[0], -each[1]))],
            }
            for kind, sizes in sorted(self._sizes.items())
        }


def two_digits(size: int) -> int:
    """A size rounded down to two significant digits, so that there are few different ones."""
    step = int(10 ** max(0, len(str(size)) - 2))
    return size // step * step


def lines_of(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as one text, a line each, values with tabs between: read much faster than lists, and only when needed."""
    return "\n".join("\t".join(_clean(each) for each in row) for row in rows)


def _clean(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def rows_of(text: str) -> list[list[str]]:
    """The inverse of `lines_of`, values as texts."""
    return [line.split("\t") for line in text.split("\n")] if text else []


def told(names: str, details: str) -> dict[str, str]:
    """What is told of names, from two texts of as many lines in the same order."""
    return dict(zip(names.split("\n"), details.split("\n"), strict=True)) if names else {}


def most_of[K: (str, tuple[str, str, str, str, str])](
    found: Mapping[K, Any], most: int, weight: Any
) -> tuple[dict[K, Any], int]:
    """The heaviest of what was found, by name, and how many others there are."""
    if len(found) <= most:
        return dict(sorted(found.items())), 0
    kept = sorted(found, key=lambda name: (-weight(found[name]), name))[:most]
    return {name: found[name] for name in sorted(kept)}, len(found) - most
