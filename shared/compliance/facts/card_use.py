"""Who used card data, and by which login; which accounts signed in at all, and which systems acted.

A login covers what its account does later on its day and on the next one. A day knows its own logins: uses before any
of them with two factors are held against the logins of the day before when days are put together.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.compliance.facts.data_use import Touched
from shared.compliance.facts.gone import Hashes, number_of
from shared.compliance.facts.logins import Logins, one_factor
from shared.compliance.facts.midnight import Day, follows
from shared.compliance.facts.parts import Entry, lines_of, rows_of, second_of

if TYPE_CHECKING:
    from shared.compliance.facts.merged import Facts

MOST_CARD_USERS, MOST_SYSTEMS = 300, 500
SERVICE = "service"
_CARD = "cardholder"


class CardUse:
    """Collects the people who used card data, and the systems that acted."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._users: dict[str, array[float]] = {}
        self._systems: set[str] = set()

    def add(self, entry: Entry, index: int) -> None:
        """Look at one event."""
        del index
        actor = entry["actor"]
        if entry["outcome"] != "success":
            return
        if actor["kind"] == SERVICE and actor["id"] is not None:
            self._systems.add(actor["id"])
        if entry["type"].startswith("data.") and entry["data_class"] == _CARD and actor["kind"] == "user":
            self._users.setdefault(actor["id"] or actor["kind"], array("d")).append(second_of(entry))

    def document(self) -> dict[str, Any]:
        """Users of card data, those whom no login of the day covers first: how often, and how often after a login with
        one factor alone, before any login, and after one of which nobody can tell. Who signed in, and who with two
        factors; which systems acted."""
        first: dict[tuple[str, bool | None], float] = {}
        signed_in, two_factors = Touched(), Touched()
        for account, at, both in self._logins.told():
            signed_in.add(account)
            first[account, both] = min(at, first.get((account, both), at))
            if both:
                two_factors.add(account)
        found = [(who, len(times), *_uncovered(who, times, first)) for who, times in self._users.items()]
        found.sort(key=lambda row: (not any(row[2:]), row[0]))
        return {
            "card_users": lines_of(found[:MOST_CARD_USERS]),
            "card_users_left": max(0, len(found) - MOST_CARD_USERS),
            "signed_in": signed_in.document(),
            "two_factors": two_factors.document(),
            "systems": lines_of([name] for name in sorted(self._systems)[:MOST_SYSTEMS]),
            "systems_left": max(0, len(self._systems) - MOST_SYSTEMS),
        }


def _uncovered(who: str, times: array[float], first: Mapping[tuple[str, bool | None], float]) -> tuple[int, int, int]:
    both, one, unsure = (first.get((who, each), math.inf) for each in (True, False, None))
    open_ones = [at for at in times if at < both]
    after_unsure = sum(at >= unsure for at in open_ones)
    alone = sum(one <= at < unsure for at in open_ones)
    return alone, len(open_ones) - alone - after_unsure, after_unsure


@dataclass(frozen=True, slots=True)
class CardUsers:
    """People who used card data: all who are named with how often; uses by day that a login with one factor alone
    covers; and those of whom some use no login covers, as far as can be told. `left`: how many more there were, on some
    days twice. `is_cut`: a login of the day before may not be among the facts."""

    named: Mapping[str, int]
    alone: Mapping[str, Mapping[str, int]]
    uncovered: frozenset[str]
    left: int
    is_cut: bool

    @property
    def total(self) -> int:
        """How many there were, at least."""
        return len(self.named) or self.left


class _DayBefore:
    """How people signed in on the day before another one. None: there is none."""

    def __init__(self, day: Day | None) -> None:
        self._both = Hashes(day["two_factors"]["hashes"] if day else "")
        self._is_whole = day is None or day["two_factors"]["whole"]
        self._others = one_factor([day] if day else [])
        self._left = day["single_factor"]["left"] if day else 0

    def login(self, who: str) -> str:
        """`both`, `one`, `unsure` or `none`; `cut` where it could be among what is left out."""
        number = number_of(who)
        if self._both.has(number):
            return "both"
        own = self._others.get(who)
        if (not self._is_whole and not self._both.reach(number)) or (own is None and self._left):
            return "cut"
        return "none" if own is None else "unsure" if own[0].unsure else "one"


def card_users(facts: Facts) -> CardUsers:
    """The people who used card data in a period."""
    named: dict[str, int] = {}
    alone: dict[str, dict[str, int]] = {}
    uncovered: set[str] = set()
    left, is_cut, before = 0, False, facts.lead[-1] if facts.lead else None
    for day in facts.documents:
        rows = [(who, [int(each) for each in counts]) for who, *counts in rows_of(day["card_users"])]
        has_open = any(any(counts[1:]) for _, counts in rows)
        is_known = facts.is_lead_whole or day["day"] != facts.days[0]
        logins = _DayBefore(before if has_open and follows(day, before) else None)
        for who, (n, own, none, unsure) in rows:
            named[who] = named.get(who, 0) + n
            login = logins.login(who) if is_known else "cut"
            if not (own or none or unsure) or login == "both":
                continue
            is_cut = is_cut or login == "cut"
            counted = {"one": own + none, "none": own}.get(login, 0)
            if counted:
                alone.setdefault(who, {})[day["day"]] = counted
            if login != "cut" and counted < own + none + unsure:
                uncovered.add(who)
        left += day["card_users_left"]
        before = day
    return CardUsers(named, alone, frozenset(uncovered), left, is_cut)


@dataclass(frozen=True, slots=True)
class SystemLogins:
    """Ids under which both a system acted and somebody signed in. `gaps`: for which there may be more."""

    names: tuple[str, ...]
    gaps: tuple[str, ...]


def systems_signed_in(facts: Facts) -> SystemLogins:
    """Ids under which both a system acted and somebody signed in: one of the two in the period, the other in it or in
    the week before."""
    own, lead = facts.documents, facts.lead
    acted = {name for day in own for (name,) in rows_of(day["systems"])}
    acted_before = {name for day in lead for (name,) in rows_of(day["systems"])}
    signed, signed_before = _signed_in(own), _signed_in(lead)
    found = [
        name
        for name in sorted(acted | acted_before)
        if _has(signed, number_of(name)) or (name in acted and _has(signed_before, number_of(name)))
    ]
    days = (*own, *lead) if acted or signed else own
    gaps = [] if all(day["signed_in"]["whole"] for day in days) else ["logins"]
    if any(day["systems_left"] for day in days) or (not facts.is_lead_whole and (acted or signed)):
        gaps.append("facts")
    return SystemLogins(tuple(found), tuple(gaps))


def _signed_in(days: Sequence[Day]) -> list[Hashes]:
    """Who signed in on each of some days, those on which nobody did left out."""
    return [Hashes(text) for day in days if (text := day["signed_in"]["hashes"])]


def _has(days: Sequence[Hashes], number: int) -> bool:
    return any(each.has(number) for each in days)
