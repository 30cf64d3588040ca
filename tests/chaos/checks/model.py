"""What the checks are about: all that is in the store at the end, and what they have to say of it."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.storage.containers import CONTAINERS

type Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. `check` is its stable name; `detail` leads whoever looks for the reason."""

    check: str
    detail: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every item of every container, as the store itself has them."""

    items: Mapping[str, list[Item]] = field(default_factory=dict)

    def of(self, container: str, kind: str | None = None) -> list[Item]:
        """The items of a container, or those of one kind."""
        return [each for each in self.items.get(container, ()) if kind is None or each.get("kind") == kind]

    @property
    def events(self) -> list[Item]:
        """The whole trail."""
        return self.of("audit_events")


def read_sqlite(path: Path) -> Snapshot:
    """The content of an embedded store's file, read by SQLite itself and not by the app's adapter."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return Snapshot(
            {
                name: [json.loads(body) for (body,) in database.execute(f"SELECT body FROM items_{name}")]  # noqa: S608
                for name in CONTAINERS
            }
        )


def named(check: str, details: Iterable[str]) -> list[Finding]:
    """A finding of one check for each of several things."""
    return [Finding(check, detail) for detail in details]
