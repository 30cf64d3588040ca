"""Samples that anybody can draw again and nobody could choose.

The seed is SHA-256 of a root and the control's id: the root that the ledger of the period's last month had once the
period's last entry was in. Nobody knows it before that, and nothing after it changes it. So many places in the
population are drawn by it; each falls into the events of one day and row of its counts, and takes of the candidates
that facts keep of these (those with the smallest hashes of their entries) the next by the order of the seed.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from itertools import accumulate

from shared.compliance.facts.merged import Facts
from shared.compliance.report_model import EventRef, Sample
from shared.compliance.selectors import Row

METHOD = (
    "Simple random sample without replacement: places by SHA-256(seed, number) modulo the population, which is ordered "
    "by day, type, outcome, class and reason; within these, events by SHA-256(seed, event id) among the 32 with the "
    "smallest entry hashes"
)
SEED = (
    "SHA-256 (hexadecimal) of sampling_root, a line feed and the control's oscal_id. sampling_root is the base64 of "
    "the Merkle tree hash (RFC 6962) of the first sampling_size entries of sampling_month, of which the last is the "
    "period's last"
)


def seed_of(root: str, control: str) -> str:
    """The seed of a control's sample: hex SHA-256 of a root (base64) and the control's id."""
    return hashlib.sha256(f"{root}\n{control}".encode()).hexdigest()


def sample(facts: Facts, wanted: str, seed: str, size: int) -> Sample | None:
    """A sample of the events that some selectors mean; None where there are none."""
    rows = facts.matched(wanted)
    strata = [each for each in facts.strata if each[1] in rows]
    ends = list(accumulate(n for *_, n in strata))
    if not ends:
        return None
    counts: dict[int, int] = {}
    for place in _places(seed, ends[-1], min(size, ends[-1])):
        stratum = bisect_right(ends, place)
        counts[stratum] = counts.get(stratum, 0) + 1
    chosen = [ref for stratum, n in counts.items() for ref in _chosen(facts, *strata[stratum][:2], seed, n)]
    chosen.sort(key=lambda each: (each.recorded_at, each.event_id))
    return Sample(ends[-1], seed, METHOD, tuple(chosen))


def _places(seed: str, population: int, size: int) -> set[int]:
    if size == population:
        return set(range(population))
    found: set[int] = set()
    number = 0
    while len(found) < size:
        digest = hashlib.sha256(f"{seed}\n{number}".encode()).digest()
        found.add(int.from_bytes(digest[:16]) % population)
        number += 1
    return found


def _chosen(facts: Facts, day: str, row: Row, seed: str, count: int) -> list[EventRef]:
    keyed = []
    for told in facts.candidates(day, row):
        event_id = told.split(" ", 2)[1]
        keyed.append((hashlib.sha256(f"{seed}\n{event_id}".encode()).digest(), told))
    return [_ref(day, row, told) for _, told in sorted(keyed)[:count]]


def _ref(day: str, row: Row, told: str) -> EventRef:
    """Made of those alone that are drawn: many more are looked at."""
    index, event_id, at, *own = told.split(" ")
    return EventRef(day[:7], int(index), event_id, f"{day}T{at}Z", own[0] if own else row[0], row[1])
