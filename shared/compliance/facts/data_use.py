"""What was done with data in the care of the organization's systems: by whom, of which class, about how many people."""

from __future__ import annotations

import base64
import hashlib
import heapq
import re
from typing import Any

from shared.compliance.facts.parts import Entry, Marks, lines_of, most_of, ref_of, second_of

MOST_USES, MOST_ACTORS, MOST_PERSONS = 250, 40, 300
MOST_TOUCHED = 2000
MOST_CONSENTS = 1000
HASH_BYTES = 8
LEAST_BULK = 10
SLOT_SECONDS = 1800
"""Working hours are told apart by half hours: there are time zones of such offsets."""
CONSENT = "consent"
_ROLE = re.compile(r"[A-Za-z0-9._:-]{1,64}")
LEAST_SAID = 2
"""Letters and digits without which a text says nothing."""


def hash_of(text: str) -> bytes:
    """By which a person, or a person and a purpose, are known among very many: the first bytes of SHA-256."""
    return hashlib.sha256(text.encode()).digest()[:HASH_BYTES]


class Touched:
    """A set of names that stays small: all of up to MOST_TOUCHED, then those with the smallest hashes."""

    def __init__(self) -> None:
        self._kept: set[bytes] = set()
        self._largest: list[int] = []
        self._left = False

    def add(self, name: str) -> None:
        """Take a name in."""
        value = hash_of(name)
        if value in self._kept:
            return
        number = -int.from_bytes(value)
        if len(self._kept) < MOST_TOUCHED:
            self._kept.add(value)
            heapq.heappush(self._largest, number)
            return
        self._left = True
        if number > self._largest[0]:
            self._kept.remove((-heapq.heapreplace(self._largest, number)).to_bytes(HASH_BYTES))
            self._kept.add(value)

    def document(self) -> dict[str, Any]:
        """The hashes in order, as one text, and whether they are all."""
        return {"hashes": base64.b64encode(b"".join(sorted(self._kept))).decode(), "whole": not self._left}


class DataUse:
    """Collects uses of data."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._uses: dict[tuple[str, str, str, str, str], list[int]] = {}
        self._slots: dict[str, dict[int, int]] = {}
        self._disclosed: dict[str, int] = {}
        self._touched, self._relied = Touched(), Touched()
        self._based = self._unsaid = 0
        self._purposes = 0
        self._erased: dict[str, float] = {}
        self._withdrawn: dict[str, float] = {}
        self._granted: set[str] = set()
        self._roles: dict[str, int] = {}

    def add(self, entry: Entry, index: int) -> None:
        """Look at one event."""
        kind, outcome = entry["type"], entry["outcome"]
        if kind.startswith("data."):
            if outcome == "success":
                self._use(entry, index)
        elif kind == "privacy.erasure" and entry["reason"] == "executed" and entry["target"] is not None:
            self._erased[entry["target"]["id"]] = second_of(entry)
        elif kind in ("consent.withdraw", "consent.grant"):
            for person in entry["subjects"]:
                for relied in (_relied(person, entry["attributes"].get("purpose")), _relied(person, None)):
                    if kind == "consent.withdraw":
                        self._withdrawn[relied] = second_of(entry)
                    else:
                        self._withdrawn.pop(relied, None)
                        self._granted.add(relied)

    def _use(self, entry: Entry, index: int) -> None:
        actor, given, op = entry["actor"], entry["attributes"], entry["type"].partition(".")[2]
        data_class, records = entry["data_class"], max(1, entry["record_count"])
        who = actor["id"] or actor["kind"]
        role = actor["role"] or _role(given.get("role"))
        use = self._uses.setdefault((who, actor["kind"], role, op, data_class), [0, 0])
        use[0] += 1
        use[1] += records
        of_role = f"{data_class}|{role or actor['kind']}"
        self._roles[of_role] = self._roles.get(of_role, 0) + 1
        at, ref = second_of(entry), ref_of(entry, index)
        if op == "export" and records >= LEAST_BULK:
            reason = any(is_said(given.get(name)) for name in ("reason", "purpose", "ticket"))
            self._marks.add("bulk_reasoned" if reason else "bulk", ref, records, about=who)
        if data_class == "none":
            return
        slots = self._slots.setdefault(who, {})
        slot = int(at // SLOT_SECONDS)
        slots[slot] = slots.get(slot, 0) + 1
        persons = [each for each in entry["subjects"] if each != actor["id"]]
        self._persons(entry, persons, at, ref)
        self._purposes += is_said(given.get("purpose"))
        if op == "export":
            self._export(entry, persons, ref)
        elif op in ("update", "delete") and not (entry["commitments"] or is_said(given.get("reason"))):
            self._marks.add("without_change", ref, about=who, of=data_class)

    def _persons(self, entry: Entry, persons: list[str], at: float, ref: list[Any]) -> None:
        given, changes = entry["attributes"], entry["type"] != "data.delete"
        based = _word(given.get("legal_basis")).startswith(CONSENT)
        self._based += based
        self._unsaid += bool(persons) and not is_said(given.get("legal_basis"))
        for person in persons:
            if changes:
                self._touched.add(person)
                if self._erased.get(person, at) < at:
                    self._marks.add("after_erasure", ref, about=person)
            if based:
                relied = _relied(person, given.get("purpose"))
                self._relied.add(relied)
                if self._withdrawn.get(relied, at) < at:
                    self._marks.add("after_withdrawal", ref, about=person)

    def _export(self, entry: Entry, persons: list[str], ref: list[Any]) -> None:
        given, who = entry["attributes"], entry["actor"]["id"] or entry["actor"]["kind"]
        if not (is_said(given.get("recipient")) and is_said(given.get("purpose"))):
            self._marks.add("without_purpose", ref, about=who, of=entry["data_class"])
        for person in persons:
            self._disclosed[person] = self._disclosed.get(person, 0) + 1

    def _half_hours(self) -> tuple[dict[str, str], str]:
        """Uses of sensitive data by half hour, `slot:n` with spaces between: of those who used most, and the others."""
        kept, _ = most_of(self._slots, MOST_ACTORS, lambda each: sum(each.values()))
        others: dict[int, int] = {}
        for who, slots in self._slots.items():
            for slot, n in slots.items() if who not in kept else ():
                others[slot] = others.get(slot, 0) + n
        return {who: _slots(each) for who, each in kept.items()}, _slots(others)

    def document(self) -> dict[str, Any]:
        """Uses by actor, class and operation; half hours of actors; persons touched and told of."""
        uses, uses_left = most_of(self._uses, MOST_USES, lambda use: use[0])
        slots, others = self._half_hours()
        disclosed, disclosed_left = most_of(self._disclosed, MOST_PERSONS, lambda n: n)
        return {
            "uses": lines_of((*use, *counts) for use, counts in uses.items()),
            "uses_left": uses_left,
            "half_hours": slots,
            "half_hours_others": others,
            "disclosed": disclosed,
            "disclosed_left": disclosed_left,
            "touched": self._touched.document(),
            "relied": self._relied.document(),
            "based_on_consent": self._based,
            "basis_unsaid": self._unsaid,
            "with_purpose": self._purposes,
            "erased": sorted(self._erased)[:MOST_PERSONS],
            "withdrawn": sorted(hash_of(each).hex() for each in self._withdrawn)[:MOST_CONSENTS],
            "granted": sorted(hash_of(each).hex() for each in self._granted)[:MOST_CONSENTS],
            "data_roles": dict(sorted(self._roles.items())[:MOST_USES]),
        }


def _role(told: Any) -> str:
    """The role that a producer names, in its own system; none where it is no word that a policy could name."""
    return told if isinstance(told, str) and _ROLE.fullmatch(told) else ""


def _slots(found: dict[int, int]) -> str:
    return " ".join(f"{slot}:{n}" for slot, n in sorted(found.items()))


def is_said(text: Any) -> bool:
    """Whether a text that a producer gave says anything."""
    if not isinstance(text, str | int) or isinstance(text, bool):
        return False
    said = str(text)
    begins = len(said) >= LEAST_SAID and said[:LEAST_SAID].isalnum()  # as texts do that say something
    return begins or sum(char.isalnum() for char in said) >= LEAST_SAID


def _word(text: Any) -> str:
    return " ".join(text.split()).casefold() if isinstance(text, str) else ""


def _relied(person: str, purpose: Any) -> str:
    """A person and a purpose, however it is written; where none is named it is any."""
    return f"{person}\n{_word(purpose)}"
