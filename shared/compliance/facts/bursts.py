"""Bursts: how many came together of what somebody did, within a time. One that midnight may cut is kept open.

A burst goes on as long as no more than that time lies between two of its events; its size is the most that came within
the time. A day keeps those that touch midnight with the moments near to it, so that two days together give what one
fold over both would (`midnight.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.compliance.facts.parts import DAY_SECONDS, Marks, Ref, hash_of, lines_of

MOST_EDGES, MOST_MOMENTS = 150, 60
"""Bursts at either edge of a day that are kept open, and moments of each."""
DENIED, CROSS, CONCURRENT = "denied_burst", "cross_burst", "concurrent"
WITHIN_SECONDS = {DENIED: 600, CROSS: 3600, CONCURRENT: 900}
"""By kind: refusals, attempts to reach another organization, and sessions of one account that are in use at a time."""
LEAST = 2


class _Burst:
    __slots__ = ("first", "head", "last", "recent", "ref", "size")

    def __init__(self, at: int, ref: Ref) -> None:
        self.first, self.last, self.size, self.ref = at, at, 0, ref
        self.recent: dict[Any, int] = {}
        self.head: dict[Any, int] = {}


class Bursts:
    """Collects the bursts of one kind."""

    def __init__(self, kind: str, marks: Marks) -> None:
        self._kind, self._within, self._marks = kind, WITHIN_SECONDS[kind], marks
        self._open: dict[str, _Burst] = {}
        self._edges: list[tuple[str, _Burst]] = []
        self._number = 0

    def add(self, who: str, at: int, ref: Ref, what: str | None = None) -> None:
        """Take one in. `at`: whole second of the day. `what`: the same counts once within the time; None: each does."""
        burst = self._open.get(who)
        if burst is not None and at - burst.last > self._within:
            self._close(who, burst)
            burst = None
        if burst is None:
            burst = self._open[who] = _Burst(at, ref)
        self._number += 1
        key: Any = self._number if what is None else what
        burst.recent.pop(key, None)
        burst.recent[key] = at
        burst.first, burst.last = min(burst.first, at), max(burst.last, at)
        if at < self._within:
            burst.head.setdefault(key, at)
        for old, moment in list(burst.recent.items()):
            if moment > at - self._within:
                break
            del burst.recent[old]
        if len(burst.recent) > burst.size:
            burst.size, burst.ref = len(burst.recent), ref

    def _close(self, who: str, burst: _Burst) -> None:
        if burst.head:
            self._edges.append((who, burst))
        else:
            self._mark(who, burst)

    def _mark(self, who: str, burst: _Burst) -> None:
        if burst.size >= LEAST:
            self._marks.add(self._kind, burst.ref, burst.size, about=who)

    def document(self) -> dict[str, Any]:
        """The open ones as lines: who, size, first and last second, moments near the midnight before and the one after,
        and the event by which it was largest. `most`: of all of them the largest size and most moments at either edge;
        `left`: the same of those that are not among the lines, whose size within the day is marked."""
        edge = DAY_SECONDS - self._within
        rows = []
        for who, burst in (*self._edges, *self._open.items()):
            tail = {key: at for key, at in burst.recent.items() if at > edge}
            if burst.head or burst.last >= edge:
                rows.append((who, burst, tail))
            else:
                self._mark(who, burst)
        rows.sort(key=lambda row: (-row[1].size, -max(len(row[1].head), len(row[2])), row[0], row[1].first))
        for who, burst, _ in rows[MOST_EDGES:]:
            self._mark(who, burst)
        kept = sorted(rows[:MOST_EDGES], key=lambda row: (row[0], row[1].first))
        return {
            "lines": lines_of(
                (who, burst.size, burst.first, burst.last, _moments(burst.head), _moments(tail), *self._place(burst))
                for who, burst, tail in kept
            ),
            "most": _most(rows),
            "left": _most(rows[MOST_EDGES:]),
        }

    def _place(self, burst: _Burst) -> Ref:
        """The event of a burst. Somebody who is in one session at midnight is nothing to name."""
        return burst.ref if burst.size >= LEAST or self._kind != CONCURRENT else [""] * len(burst.ref)


def _most(rows: Sequence[tuple[str, _Burst, dict[Any, int]]]) -> list[int]:
    return [
        max((burst.size for _, burst, _ in rows), default=0),
        max((len(burst.head) for _, burst, _ in rows), default=0),
        max((len(tail) for *_, tail in rows), default=0),
    ]


def _moments(found: dict[Any, int]) -> str:
    """Moments near midnight, each with a short name of what it was where that counts once."""
    near = [*found.items()][:MOST_MOMENTS]
    return " ".join(f"{at}:{hash_of(key).hex()[:8]}" if isinstance(key, str) else str(at) for key, at in near)
