"""Who used card data, and whether a login with two factors came before; and which accounts signed in at all.

A login covers what its account does later on its day and on the next one. A day knows its own logins: whoever used
card data before any of them, or without one, is held against the logins of the day before when days are put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.compliance.facts.data_use import Touched
from shared.compliance.facts.gone import Hashes, number_of
from shared.compliance.facts.logins import Logins
from shared.compliance.facts.midnight import follows
from shared.compliance.facts.parts import Entry, lines_of, rows_of, second_of

if TYPE_CHECKING:
    from shared.compliance.facts.merged import Facts

MOST_CARD_USERS = 300
SERVICE = "service"
_CARD = "cardholder"


class CardUse:
    """Collects the people who used card data."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._users: dict[str, list[float]] = {}

    def add(self, entry: Entry, index: int) -> None:
        """Look at one event."""
        del index
        kind, actor = entry["type"], entry["actor"]
        is_use = kind.startswith("data.") and entry["outcome"] == "success"
        if is_use and entry["data_class"] == _CARD and actor["kind"] == "user":
            at = second_of(entry)
            use = self._users.setdefault(actor["id"] or actor["kind"], [0, at])
            use[0] += 1
            use[1] = min(use[1], at)

    def document(self) -> dict[str, Any]:
        """Users of card data with how often, and whether a login came first (1); who signed in, and who with two
        factors. Of the users those are named first whom no login of the day covers."""
        first: dict[str, float] = {}
        signed_in, two_factors = Touched(), Touched()
        for account, at, both in self._logins.told():
            signed_in.add(account)
            if both:
                two_factors.add(account)
                first[account] = min(at, first.get(account, at))
        found = [(int(first.get(who, use[1] + 1) <= use[1]), who, int(use[0])) for who, use in self._users.items()]
        found.sort()
        return {
            "card_users": lines_of((who, n, covered) for covered, who, n in found[:MOST_CARD_USERS]),
            "card_users_left": max(0, len(found) - MOST_CARD_USERS),
            "signed_in": signed_in.document(),
            "two_factors": two_factors.document(),
        }


@dataclass(frozen=True, slots=True)
class CardUsers:
    """People who used card data: all who are named with how often, and those whom no login with two factors covers.
    `left`: how many more there were, on some days twice."""

    named: Mapping[str, int]
    uncovered: frozenset[str]
    left: int

    @property
    def total(self) -> int:
        """How many there were, at least."""
        return len(self.named) or self.left


def card_users(facts: Facts) -> CardUsers:
    """The people who used card data in a period."""
    named: dict[str, int] = {}
    uncovered: set[str] = set()
    left, before = 0, facts.lead[-1] if facts.lead else None
    for day in facts.documents:
        logins = Hashes(before["two_factors"]["hashes"] if before and follows(day, before) else "")
        for who, n, covered in rows_of(day["card_users"]):
            named[who] = named.get(who, 0) + int(n)
            if covered == "0" and not logins.has(number_of(who)):
                uncovered.add(who)
        left += day["card_users_left"]
        before = day
    return CardUsers(named, frozenset(uncovered), left)


def systems_signed_in(facts: Facts) -> list[str] | None:
    """Ids under which both a system acted and somebody signed in; None where too many signed in to tell."""
    systems = {name for name, kind in facts.actors.items() if kind == SERVICE}
    systems |= {use[1] for use in facts.uses if use[2] == SERVICE}
    seen = {each for day in facts.documents for each in Hashes(day["signed_in"]["hashes"])}
    found = sorted(name for name in systems if number_of(name) in seen)
    return found if found or all(day["signed_in"]["whole"] for day in facts.documents) else None
