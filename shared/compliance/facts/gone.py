"""What had ended and was used all the same: accounts, persons who were erased, consents. Also what ended before."""

from __future__ import annotations

import base64
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.compliance.facts.midnight import Day
from shared.compliance.facts.named import Mark, event_ref
from shared.compliance.facts.parts import hash_of, rows_of
from shared.compliance.facts.presence import ENDED

MOST_COUNTED_TOUCHED = 2000
"""Of so many persons of a day it is counted how many different ones there were in a period."""


@dataclass(frozen=True, slots=True)
class Before:
    """What had ended when a period began. `ended`: accounts that were suspended or deleted. `erased`: persons.
    `withdrawn`: consents, as `data_use.relied_on` names them. `unknown`: those of the three of which there are more
    than were looked at. `expiring`: when API keys that there were expire, or did (RFC 3339), by id."""

    ended: frozenset[str] = frozenset()
    erased: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    expiring: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Gone:
    """How often what had ended was used, with what is not marked within a day; and whether more could be hidden."""

    count: int = 0
    marks: list[Mark] = field(default_factory=list)
    cut: bool = False


class Hashes:
    """Hashes in order, as a day keeps them (base64)."""

    def __init__(self, text: str) -> None:
        self._values = array("Q", base64.b64decode(text))
        if sys.byteorder == "little":
            self._values.byteswap()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def has(self, wanted: int) -> bool:
        """Whether a hash is there."""
        place = bisect_left(self._values, wanted)
        return place < len(self._values) and self._values[place] == wanted

    def reach(self, wanted: int) -> bool:
        """Whether it would be there: of very many, days keep the smallest."""
        return len(self._values) > 0 and wanted <= self._values[-1]

    def first(self, most: int) -> Iterable[int]:
        """The smallest ones."""
        return self._values[:most]


def number_of(name: str) -> int:
    """The hash of a name, as `Hashes` has it."""
    return int.from_bytes(hash_of(name))


def acted_after(days: Sequence[Day], before: Before) -> Gone:
    """Accounts that acted after they were ended. Endings within a day that do not come first in it are marked there."""
    gone = Gone(cut="ended" in before.unknown)
    ended = dict.fromkeys(before.ended, False)
    for day in days:
        rows = {row[0]: row[1:] for row in rows_of(day["exits"])}
        waiting = [account for account, counted in ended.items() if not counted and account not in rows]
        if waiting:
            for account in _acted(gone, day, waiting):
                ended[account] = True
                gone.count += 1
                gone.marks.append(Mark(day["day"], None, 1, account))
        for account, row in rows.items():
            _exit(gone, ended, day, account, row)
        gone.count += sum(day["marks"].get("after_exit", {"sizes": {}})["sizes"].values())
        gone.cut = gone.cut or day["exits_left"] > 0
    return gone


def _acted(gone: Gone, day: Day, accounts: Sequence[str]) -> list[str]:
    """Who of some accounts acted on a day."""
    named = set(day["actors"].split("\n"))
    if not day["actors_left"]:
        return [account for account in accounts if account in named]
    others = Hashes(day["present"])
    hashes = {account: number_of(account) for account in accounts}
    if day["present_left"]:
        gone.cut = gone.cut or any(not others.reach(each) for name, each in hashes.items() if name not in named)
    return [account for account in accounts if account in named or others.has(hashes[account])]


def _exit(gone: Gone, ended: dict[str, bool], day: Day, account: str, row: Sequence[str]) -> None:
    """Take in what became of an account on a day (`Presence` has the fields)."""
    first, acted_before, acted, last, times, acted_since, *place = row
    counted = ended.pop(account, None)
    own = (counted is False and acted_before == "1") or (first == ENDED and acted == "1" and not counted)
    if own:
        gone.count += 1
        gone.marks.append(Mark(day["day"], event_ref(day["day"], list(place)) if place[1] else None, 1, account))
    if last == ENDED:
        is_the_same = first == ENDED and times == "1"
        ended[account] = (own or bool(counted)) if is_the_same else acted_since == "1"


def used_after(days: Sequence[Day], since: str, among: str, mark: str, before: Before) -> Gone:
    """Persons (or consents) that were used after they were erased (or withdrawn): counted once, marked each day."""
    consents = since == "withdrawn"
    gone = Gone(cut=since in before.unknown)
    lost = {number_of(name): name for name in (before.withdrawn if consents else before.erased)}
    used: set[int] = set()
    for day in days:
        used.update(Hashes(day[mark]))
        again = {each for each in Hashes(day[f"before_{mark}"]) if each in lost} if consents else set()
        asked = {each: name for each, name in lost.items() if each not in _stepped(day)} if consents else lost
        again |= _use(gone, day, among, asked)
        for each in sorted(again):
            person = lost[each].partition("\n")[0]
            gone.marks.append(Mark(day["day"], None, 1, person))
        used |= again
        if consents:
            for each in Hashes(day["granted"]):
                lost.pop(each, None)
            lost |= dict.fromkeys(Hashes(day["withdrawn"]), "")
        else:
            lost |= {number_of(name): name for name in day["erased"]}
        gone.cut = gone.cut or day["consents_left" if consents else "erased_left"] > 0
    gone.count = len(used)
    return gone


def _stepped(day: Day) -> set[int]:
    """Consents that were given or withdrawn on a day: whether they were used before that is kept by itself."""
    return {*Hashes(day["granted"]), *Hashes(day["withdrawn"])}


def _use(gone: Gone, day: Day, among: str, lost: dict[int, str]) -> set[int]:
    """Which of what is lost was used on a day."""
    if not lost or not day[among]["hashes"]:
        return set()
    held = Hashes(day[among]["hashes"])
    if not day[among]["whole"] and any(not held.reach(each) for each in lost):
        gone.cut = True
    return {each for each in lost if held.has(each)}


def persons_touched(days: Sequence[Day]) -> tuple[int, bool]:
    """How many persons data was read or changed of, and whether that is exact or the least."""
    found: set[int] = set()
    whole = True
    for day in days:
        held = Hashes(day["touched"]["hashes"])
        found.update(held.first(MOST_COUNTED_TOUCHED))
        whole = whole and day["touched"]["whole"] and len(held) <= MOST_COUNTED_TOUCHED
    return len(found), whole
