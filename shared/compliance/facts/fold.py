"""Folding a day: its sealed entries, in the order of the ledger, become one bounded document. Pure."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable
from typing import Any

from shared.compliance.facts.card_use import CardUse
from shared.compliance.facts.data_use import DataUse
from shared.compliance.facts.logins import Logins
from shared.compliance.facts.parts import FACTS_VERSION, Chosen, Entry, Extracts, Marks
from shared.compliance.facts.presence import Presence
from shared.compliance.facts.quality import Quality
from shared.compliance.facts.relevance import matters
from shared.compliance.facts.signing_in import SigningIn
from shared.compliance.selectors import row_name
from shared.ledger.rollups import DayRollup, day_of, rolled_type

MOST_CANDIDATES, MOST_OF_A_ROW = 3600, 32
_RARE = frozenset(
    {
        *("user.role_change", "user.status_change", "user.delete", "user.unlock", "user.update", "user.invite"),
        *("user.invite_revoke", "auth.register", "auth.account_locked", "auth.password_change", "config.change"),
        *("incident.record", "review.complete", "audit.export", "access.cross_tenant_denied", "data.export"),
        *("mfa.enroll", "mfa.disable", "mfa.recovery_used", "report.generate", "report.sign_off"),
    }
)
MOST_LISTED = 40
_LISTED = frozenset({"phi", "cardholder"})
"""Classes of which uses are listed with all their fields, so many a day."""
_RARE_FAMILIES = ("alert.", "apikey.", "consent.", "ledger.", "privacy.", "system.")


class Candidates:
    """Events from which samples are drawn: of each row of the counts those whose entries have the smallest hashes, so
    that nobody chooses them and every event had the same chance."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[int, int, str]]] = {}

    def add(self, entry: Entry, index: int, order: int) -> None:
        """Take an event in, or not. `order`: a hash of its entry."""
        kind = entry["type"]
        name = row_name((rolled_type(kind), entry["outcome"], entry["data_class"], entry["reason"]))
        rows = self._rows.setdefault(name, [])
        if len(rows) == MOST_OF_A_ROW and -order <= rows[0][0]:
            return
        told = f"{entry['id']} {entry['recorded_at'][11:-1]}"
        row = (-order, index, f"{told} {kind}" if rolled_type(kind) != kind else told)
        (heapq.heappush if len(rows) < MOST_OF_A_ROW else heapq.heapreplace)(rows, row)

    def document(self) -> str:
        """A line for each row: its name, a tab, and `index id time` of each, the smallest hash first. One text, for it
        is read of few days and rows only."""
        most = max(1, min(MOST_OF_A_ROW, MOST_CANDIDATES // max(1, len(self._rows))))
        lines = []
        for name, rows in sorted(self._rows.items())[:MOST_CANDIDATES]:
            lines.append(f"{name}\t" + ",".join(f"{i} {told}" for _, i, told in sorted(rows, reverse=True)[:most]))
        return "\n".join(lines)


class DayFold:
    """Folds the entries of one day. Of those of others the times are looked at, and second factors that were shown."""

    def __init__(self, day: str) -> None:
        self.day = day
        self.rollup = DayRollup(day)
        self._marks, self._extracts, self._candidates = Marks(), Extracts(), Candidates()
        self._logins, self._quality = Logins(), Quality(self._marks)
        self._parts = (
            SigningIn(self._marks),
            Presence(self._marks),
            DataUse(self._marks),
            self._quality,
            CardUse(self._logins),
        )
        self._listed = Chosen(MOST_LISTED)
        self._statuses: dict[str, int] = {}

    def add(self, index: int, text: bytes) -> None:
        """Fold one entry in, as it was sealed at `index`; one of another day is passed by."""
        entry: Entry = json.loads(text)
        if day_of(entry) != self.day:
            self._pass_by(entry)
            return
        self.rollup.add(entry, index)
        order = int.from_bytes(hashlib.sha256(text).digest()[:8])
        self._candidates.add(entry, index, order)
        self._logins.add(entry)
        for part in self._parts:
            part.add(entry, index)
        kind = entry["type"]
        if kind.startswith("data.") and entry["data_class"] in _LISTED:
            self._listed.add(entry["data_class"], entry, index, order)
        if kind == "alert.update":
            status = str(entry["attributes"].get("new_status"))
            self._statuses[status] = self._statuses.get(status, 0) + 1
        if kind in _RARE or kind.startswith(_RARE_FAMILIES):
            self._extracts.add(entry, index, matters=matters(entry))

    def pass_by(self, text: bytes) -> bool:
        """Look at an entry that was sealed near to those of the day, and is not folded; whether it is of the day."""
        entry: Entry = json.loads(text)
        self._pass_by(entry)
        return day_of(entry) == self.day

    def _pass_by(self, entry: Entry) -> None:
        self._quality.pass_by(entry)
        self._logins.pass_by(entry)

    def document(self) -> dict[str, Any]:
        """The facts of the day."""
        totals = self.rollup.totals()
        facts: dict[str, Any] = {
            "version": FACTS_VERSION,
            "day": self.day,
            **{name: totals[name] for name in ("events", "first", "last", "counts", "hours", "distinct_actors")},
            "statuses": dict(sorted(self._statuses.items())),
        }
        for part in (self._logins, *self._parts):
            facts |= part.document()
        facts["marks"] = self._marks.document()
        facts["extracts"] = self._extracts.document()
        facts["listed"] = self._listed.document()
        facts["candidates"] = self._candidates.document()
        return facts


def fold(day: str, entries: Iterable[tuple[int, bytes]]) -> dict[str, Any]:
    """The facts of a day (YYYY-MM-DD) from entries and their indexes in the ledger."""
    folded = DayFold(day)
    for index, text in entries:
        folded.add(index, text)
    return folded.document()
