"""Successful logins of a day, and which of them showed a second factor: told in one place, for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from shared.compliance.facts.parts import Entry, lines_of, most_of, second_of, told

FACTORS = ("mfa.challenge", "mfa.recovery_used")
"""Events of a second factor that was shown, or refused, for a login."""
UNSURE_SECONDS = 60
"""So long after midnight the factor of a login may have been shown before it: longer than a request lasts."""
MOST_SINGLE = 1000
"""Accounts that signed in with one factor."""


class Logins:
    """Collects logins, and factors that were shown. A factor and its login are of one request."""

    def __init__(self) -> None:
        self._shown: set[str] = set()
        self._logins: list[tuple[str, str, float]] = []
        self._changed: dict[str, float] = {}

    def add(self, entry: Entry) -> None:
        """Look at one event of the day."""
        self.pass_by(entry)
        if entry["outcome"] != "success" or entry["target"] is None:
            return
        account, at = entry["target"]["id"], second_of(entry)
        if entry["type"] == "auth.login":
            self._logins.append((account, entry["context"]["request_id"], at))
        elif entry["type"] == "auth.password_change":
            self._changed[account] = min(at, self._changed.get(account, at))

    def pass_by(self, entry: Entry) -> None:
        """Look at an event of any day: a factor may be shown just before midnight, and its login come after."""
        if entry["type"] in FACTORS and entry["outcome"] == "success":
            self._shown.add(entry["context"]["request_id"])

    def told(self) -> Iterator[tuple[str, float, bool | None]]:
        """Account, second of the day, and whether there were two factors, of each login: once the day is over. None:
        nobody can tell, for a factor shown before midnight may lie in another month, or be sealed later."""
        for account, request, at in self._logins:
            yield account, at, True if request in self._shown else None if at < UNSURE_SECONDS else False

    def document(self) -> dict[str, Any]:
        """Accounts that signed in with one factor, or perhaps so: as `OneFactor` has it."""
        found: dict[str, list[float | str]] = {}
        for account, at, both in self.told():
            if both:
                continue
            row, place = found.setdefault(account, [0, "", 0, ""]), 0 if both is False else 2
            row[place] = int(row[place]) + 1
            if at < self._changed.get(account, at + 1):
                row[place + 1] = max(at, float(row[place + 1] or 0))
        named, left = most_of(found, MOST_SINGLE, lambda row: row[0])
        return {
            "single_factor": {
                "n": sum(int(row[0]) for row in found.values()),
                "accounts": lines_of([name] for name in named),
                "logins": lines_of(named.values()),
                "left": left,
            }
        }


class OneFactor(NamedTuple):
    """Logins of an account on a day: how many with one factor alone, and how many of which nobody can tell; of either
    the second of the last one before the password was changed on that day (None: there was none)."""

    day: str
    logins: int
    last: float | None
    unsure: int
    last_unsure: float | None


def one_factor(days: Sequence[Mapping[str, Any]]) -> dict[str, list[OneFactor]]:
    """Logins with one factor alone, or perhaps so, by account and in order of the days."""
    found: dict[str, list[OneFactor]] = {}
    for day in days:
        for account, row in told(day["single_factor"]["accounts"], day["single_factor"]["logins"]).items():
            logins, last, unsure, last_unsure = row.split("\t")
            seconds = (float(last) if last else None, float(last_unsure) if last_unsure else None)
            own = OneFactor(day["day"], int(logins), seconds[0], int(unsure), seconds[1])
            found.setdefault(account, []).append(own)
    return found
