"""Successful logins of a day, and which of them showed a second factor: told in one place, for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator

from shared.compliance.facts.parts import Entry, second_of

FACTORS = ("mfa.challenge", "mfa.recovery_used")
"""Events of a second factor that was shown, or refused, for a login."""


class Logins:
    """Collects logins, and factors that were shown. A factor and its login are of one request."""

    def __init__(self) -> None:
        self._shown: set[str] = set()
        self._logins: list[tuple[str, str, float]] = []

    def add(self, entry: Entry) -> None:
        """Look at one event of the day."""
        self.pass_by(entry)
        if entry["type"] == "auth.login" and entry["outcome"] == "success" and entry["target"] is not None:
            self._logins.append((entry["target"]["id"], entry["context"]["request_id"], second_of(entry)))

    def pass_by(self, entry: Entry) -> None:
        """Look at an event of any day: a factor may be shown just before midnight, and its login come after."""
        if entry["type"] in FACTORS and entry["outcome"] == "success":
            self._shown.add(entry["context"]["request_id"])

    def told(self) -> Iterator[tuple[str, float, bool]]:
        """Account, second of the day, and whether there were two factors, of each login: once the day is over."""
        for account, request, at in self._logins:
            yield account, at, request in self._shown
