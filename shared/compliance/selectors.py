"""Which events speak to a control, said in a word: `data.read:phi`, `auth.login+failure`, `privacy.erasure=executed`.

A selector is a type, or a family (`data.*`), with what narrows it: `+` an outcome, `:` a class of data, `=` a reason,
`@` the status that an alert came to. Counted are rows of facts: type, outcome, class, reason and how many.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_FORM = re.compile(
    r"(?P<type>[a-z_]+\.(?:[a-z_]+|\*))(?:\+(?P<outcome>[a-z]+))?(?::(?P<data_class>[a-z]+))?"
    r"(?:=(?P<reason>[a-z_]+))?(?:@(?P<status>[a-z]+))?"
)

type Row = tuple[str, str, str, str | None]
"""Type, outcome, data class, reason."""


def row_name(row: Row) -> str:
    """A row as one word."""
    return "|".join(part or "" for part in row)


@dataclass(frozen=True, slots=True)
class Selector:
    """Which events are meant; None: any."""

    type: str
    outcome: str | None = None
    data_class: str | None = None
    reason: str | None = None
    status: str | None = None

    def names(self, event_type: str) -> bool:
        """Whether events of a type are meant, as far as the type goes."""
        family, _, own = self.type.partition(".")
        return event_type.startswith(f"{family}.") if own == "*" else event_type == self.type

    def matches(self, row: Row) -> bool:
        """Whether the events of a row are meant; what only their attributes tell does not count here."""
        event_type, outcome, data_class, reason = row
        return (
            self.names(event_type)
            and self.outcome in (None, outcome)
            and self.data_class in (None, data_class)
            and self.reason in (None, reason)
        )


@lru_cache(maxsize=1024)
def selectors(text: str) -> tuple[Selector, ...]:
    """The selectors of a text, words with spaces between them. ValueError for a word that is none."""
    found = []
    for word in text.split():
        form = _FORM.fullmatch(word)
        if form is None:
            raise ValueError(f"{word} is no selector")
        found.append(Selector(**form.groupdict()))
    return tuple(found)
