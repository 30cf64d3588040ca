"""What was done with data in the care of the organization's systems: by whom, of which class, about how many people."""

from __future__ import annotations

import base64
import heapq
import re
from collections.abc import Iterable
from typing import Any

from shared.audit.values import HIGHEST_NUMBER
from shared.compliance.facts.parts import HASH_BYTES, Entry, Marks, hash_of, lines_of, most_of, ref_of, second_of

MOST_USES, MOST_ACTORS, MOST_PERSONS = 250, 40, 300
MOST_TOUCHED = 10_000
MOST_ERASED, MOST_CONSENTS = 2000, 5000
MOST_ROLES = 250
"""Roles in which data was used, with their classes."""
LEAST_BULK = 10
AFTER_WITHDRAWAL, DOUBTED = "after_withdrawal", "doubted"
"""Uses after a consent was withdrawn: on that consent, or on who knows what."""
SLOT_SECONDS = 1800
"""Working hours are told apart by half hours: there are time zones of such offsets."""
ERASED = ("executed", "replayed")
"""Reasons of an erasure that was done, be it once more after a restore."""
_CONSENT = ("consent", "explicit consent")
"""How bases that are a person's consent begin."""
_ARTICLE = r"(?:art(?:icle|\.)? ?)?6 ?\(1\) ?\([b-f]\)(?: gdpr)?"
_BASIS = (
    r"(?:performance of a )?contract|(?:compliance with a )?legal obligation|vital interests?|public (?:task|interest)"
    r"|official authority|legitimate interests?"
)
_OTHER = re.compile(
    rf"(?:{_BASIS})(?:,? {_ARTICLE}|,? ?\({_ARTICLE}\))?|{_ARTICLE}(?:,?:? (?:{_BASIS})| ?\((?:{_BASIS})\))?"
)
"""The bases of Article 6(1)(b) to (f) GDPR, by name, by letter, or by both: nothing else is clearly another basis."""
_BETWEEN = re.compile(r"[\s_-]+")
_ROLE = re.compile(r"[A-Za-z0-9._:-]{1,64}")
LEAST_SAID = 2
"""Letters and digits without which a text says nothing."""


class Touched:
    """A set of names that stays small: all of up to MOST_TOUCHED (or that divided by `part`), then those with the
    smallest hashes."""

    def __init__(self, part: int = 1) -> None:
        self._most = MOST_TOUCHED // part
        self._kept: set[bytes] = set()
        self._largest: list[int] = []
        self._left = False

    def add(self, name: str) -> None:
        """Take a name in."""
        value = hash_of(name)
        if value in self._kept:
            return
        number = -int.from_bytes(value)
        if len(self._kept) < self._most:
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
        self._touched, self._relied, self._doubtful = Touched(), Touched(), Touched(part=2)
        self._based = 0
        self._purposes = 0
        self._erased: dict[str, float] = {}
        self._consents: dict[str, _Consent] = {}
        self._seen: dict[str, set[bytes]] = {AFTER_WITHDRAWAL: set(), DOUBTED: set()}
        self._hits: dict[str, set[bytes]] = {"after_erasure": set(), AFTER_WITHDRAWAL: set(), DOUBTED: set()}
        self._disclosed_n = 0
        self._disclosures: dict[str, int] = {}
        self._roles: dict[str, int] = {}

    def add(self, entry: Entry, index: int) -> None:
        """Look at one event."""
        kind, outcome = entry["type"], entry["outcome"]
        if kind.startswith("data."):
            if outcome == "success":
                self._use(entry, index)
        elif kind == "privacy.erasure" and entry["reason"] in ERASED and entry["target"] is not None:
            self._erased.setdefault(entry["target"]["id"], second_of(entry))
        elif kind in ("consent.withdraw", "consent.grant"):
            for person in entry["subjects"]:
                for relied in given_for(person, entry["attributes"].get("purpose")):
                    found = self._consents.get(relied)
                    if found is None:
                        own = hash_of(relied)
                        before = frozenset(kind for kind, seen in self._seen.items() if own in seen)
                        found = self._consents[relied] = _Consent(before)
                    found.withdrawn_at = second_of(entry) if kind == "consent.withdraw" else None

    def _use(self, entry: Entry, index: int) -> None:
        actor, given, op = entry["actor"], entry["attributes"], entry["type"].partition(".")[2]
        data_class, records = entry["data_class"], max(1, entry["record_count"])
        who = actor["id"] or actor["kind"]
        role = actor["role"] or _role(given.get("role"))
        use = self._uses.setdefault((who, actor["kind"], role, op, data_class), [0, 0])
        use[0] += 1
        use[1] = min(use[1] + records, HIGHEST_NUMBER)
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
        based = is_consent(given.get("legal_basis"))
        doubted = changes and not based and not is_other_basis(given.get("legal_basis"))
        self._based += based
        for person in persons:
            if changes:
                self._touched.add(person)
                if self._erased.get(person, at) < at:
                    self._hit("after_erasure", person, person, ref)
            if based or doubted:
                kind, among = (AFTER_WITHDRAWAL, self._relied) if based else (DOUBTED, self._doubtful)
                relied = relied_on(person, given.get("purpose"))
                among.add(relied)
                self._seen[kind].add(hash_of(relied))
                consent = self._consents.get(relied)
                if consent is not None and consent.withdrawn_at is not None and consent.withdrawn_at < at:
                    self._hit(kind, relied, person, ref)

    def _hit(self, kind: str, name: str, person: str, ref: list[Any]) -> None:
        """Mark the first use of what was erased or withdrawn: persons are counted, and not events."""
        value = hash_of(name)
        if value not in self._hits[kind]:
            self._hits[kind].add(value)
            self._marks.add(kind, ref, about=person)

    def _export(self, entry: Entry, persons: list[str], ref: list[Any]) -> None:
        given, who = entry["attributes"], entry["actor"]["id"] or entry["actor"]["kind"]
        if not (is_said(given.get("recipient")) and is_said(given.get("purpose"))):
            self._marks.add("without_purpose", ref, about=who, of=entry["data_class"])
        for person in persons:
            self._disclosed[person] = self._disclosed.get(person, 0) + 1
        self._disclosed_n += len(persons)
        data_class = entry["data_class"]
        self._disclosures[data_class] = self._disclosures.get(data_class, 0) + max(1, len(persons))

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
        withdrawn = {name: each for name, each in self._consents.items() if each.withdrawn_at is not None}
        slots, others = self._half_hours()
        disclosed, disclosed_left = most_of(self._disclosed, MOST_PERSONS, lambda n: n)
        return {
            "uses": lines_of((*use, *counts) for use, counts in uses.items()),
            "uses_left": uses_left,
            "half_hours": slots,
            "half_hours_others": others,
            "disclosed": disclosed,
            "disclosed_left": disclosed_left,
            "disclosed_n": self._disclosed_n,
            "disclosures": dict(sorted(self._disclosures.items())),
            "touched": self._touched.document(),
            "relied": self._relied.document(),
            "based_on_consent": self._based,
            "doubtful": self._doubtful.document(),
            "with_purpose": self._purposes,
            "erased": sorted(self._erased)[:MOST_ERASED],
            "erased_left": max(0, len(self._erased) - MOST_ERASED),
            "withdrawn": _packed(withdrawn),
            "granted": _packed(self._consents.keys() - withdrawn.keys()),
            **{
                f"before_{kind}": _packed(name for name, each in self._consents.items() if kind in each.used_before)
                for kind in self._seen
            },
            "consents_left": max(0, len(self._consents) - MOST_CONSENTS),
            **{kind: _packed_hashes(found) for kind, found in self._hits.items()},
            "data_roles": dict(sorted(self._roles.items())[:MOST_ROLES]),
            "data_roles_left": max(0, len(self._roles) - MOST_ROLES),
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


class _Consent:
    """What became of a consent on a day. `withdrawn_at`: when, if it is withdrawn. `used_before`: the kinds of uses
    before that."""

    __slots__ = ("used_before", "withdrawn_at")

    def __init__(self, used_before: frozenset[str]) -> None:
        self.used_before = used_before
        self.withdrawn_at: float | None = None


def _packed(names: Iterable[str]) -> str:
    return _packed_hashes(map(hash_of, names))


def _packed_hashes(found: Iterable[bytes]) -> str:
    """Hashes in order, as one text; no more than MOST_CONSENTS."""
    return base64.b64encode(b"".join(sorted(found)[:MOST_CONSENTS])).decode()


def is_consent(basis: Any) -> bool:
    """Whether a legal basis is a person's consent, in whatever spelling."""
    text = _word(basis)
    return text.startswith(_CONSENT) or "6(1)(a)" in text.replace(" ", "")


def is_other_basis(basis: Any) -> bool:
    """Whether a legal basis is clearly another than consent: one of those of Article 6(1)(b) to (f), and nothing else
    beside it. What is said in other words, or not at all, may be a consent."""
    return _OTHER.fullmatch(_BETWEEN.sub(" ", _word(basis))) is not None


def relied_on(person: str, purpose: Any) -> str:
    """A person and a purpose, however it is written; where none is named it is any."""
    return f"{person}\n{_word(purpose)}"


def given_for(person: str, purpose: Any) -> tuple[str, str]:
    """What a consent for a purpose, or its withdrawal, is about: uses for that purpose, and those that name none."""
    return relied_on(person, purpose), relied_on(person, None)
